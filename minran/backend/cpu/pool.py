"""Max-pool and average-pool on NHWC blocks.

A max over a KH x KW window is a max over rows of maxima over columns, and each of the two
passes is `np.maximum` of shifted slices. Windows read only real pixels: an offset that falls
outside the picture for some windows simply skips those.

A NumPy loop over few numbers costs as much as one over a thousand, so in a block of the
max-pool the samples come last but one: (H, W, N, C). Lane r holds the columns r, r + stride,
r + 2 stride, ..., or the rows; what an offset reads is a run of one lane, and one long loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minran.backend.cpu.blocks import bits_of, map_blocks, masked
from minran.backend.cpu.memory import empty, empty_like, zeros
from minran.backend.geometry import Pair, pool_sizes

Array = np.ndarray
Lanes = list[Array]

_ROWS, _COLS = 0, 1
Window = tuple[int, int, int]
"""Along one axis: kernel, stride and padding."""


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """y[n, i, j, c] = max over the real pixels of window (i, j): (N, Ho, Wo, C)."""
    n, height, width, c = x.shape
    ho, wo = pool_sizes((height, width), kernel, stride, padding, ceil_mode)
    down, across = zip(kernel, stride, padding, strict=True)
    y = empty((n, ho, wo, c), x.dtype)

    def block(samples: slice) -> None:
        inside = _max_along(_column_lanes(x[samples], stride[1]), _COLS, wo, across)
        y[samples] = _samples_first(_max_along(_row_lanes(inside, stride[0]), _ROWS, ho, down))

    map_blocks(block, n, x[:1].nbytes)
    return y


def max_pool2d_backward(
    gy: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Each window hands its gradient to its first maximum in row-major order.

    A window with NaN hands it to the last of these, as PyTorch does: see `_route_nan`.

    That is the first row whose row maximum equals the window's, and in it the first pixel
    that equals the row's: the two passes of forward, backward.
    """
    down, across = zip(kernel, stride, padding, strict=True)
    gx = empty(x.shape, x.dtype)

    def block(samples: slice) -> None:
        columns = _column_lanes(x[samples], stride[1])
        inside = _max_along(columns, _COLS, y.shape[2], across)
        gcolumns, ginside = [empty_like(lane) for lane in columns], empty_like(inside)
        rows, grows = _row_lanes(inside, stride[0]), _row_lanes(ginside, stride[0])
        top, gtop = _samples_inside(y[samples]), _samples_inside(gy[samples])
        if np.isnan(top.max(initial=-np.inf)):
            gx[samples] = _route_nan(gy[samples], x[samples], down, across)
            return
        _route_along(gtop, rows, top, grows, _ROWS, down)
        _route_along(ginside, columns, inside, gcolumns, _COLS, across)
        for r, lane in enumerate(gcolumns):
            gx[samples, :, r :: stride[1]] = _samples_first(lane)

    map_blocks(block, len(x), x[:1].nbytes)
    return gx


def _taps(length: int, windows: int, window: Window) -> Iterator[tuple[int, slice, slice]]:
    """Each offset in the window, the windows that see a real pixel there, and those pixels."""
    kernel, stride, padding = window
    for offset in range(kernel):
        first = max(0, -((offset - padding) // stride))
        last = min(windows, (length - 1 + padding - offset) // stride + 1)
        if first < last:
            start = first * stride + offset - padding
            stop = start + (last - first - 1) * stride + 1
            yield offset, slice(first, last), slice(start, stop, stride)


def _taps2d(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], down: Window, across: Window
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """For each offset in the window: the windows, as an index of y, and the pixels, of x."""
    for _, rows, pixel_rows in _taps(x_shape[1], y_shape[1], down):
        for _, cols, pixel_cols in _taps(x_shape[2], y_shape[2], across):
            yield (slice(None), rows, cols), (slice(None), pixel_rows, pixel_cols)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)


def _samples_inside(x: Array) -> Array:
    """(N, H, W, C) as a new array (H, W, N, C)."""
    n, height, width, c = x.shape
    inside = empty((height, width, n, c), x.dtype)
    inside[...] = x.transpose(1, 2, 0, 3)
    return inside


def _samples_first(x: Array) -> Array:
    """(H, W, N, C) seen as (N, H, W, C)."""
    return x.transpose(2, 0, 1, 3)


def _row_lanes(x: Array, stride: int) -> Lanes:
    """Views of x (H, W, N, C): each has every `stride`-th row."""
    return [x[r::stride] for r in range(stride)]


def _column_lanes(x: Array, stride: int) -> Lanes:
    """Copies of x (N, H, W, C): each has every `stride`-th column, as (H, W', N, C)."""
    return [_samples_inside(x[:, :, r::stride]) for r in range(stride)]


def _cells(lanes: Lanes, axis: int, pixels: slice) -> Array:
    """The pixels start, start + stride, ... before stop: a run of one lane."""
    stride = len(lanes)
    run = slice(pixels.start // stride, (pixels.stop - 1) // stride + 1)
    return lanes[pixels.start % stride][_along(axis, run)]


def _length(lanes: Lanes, axis: int) -> int:
    return sum(lane.shape[axis] for lane in lanes)


def _max_along(lanes: Lanes, axis: int, windows: int, window: Window) -> Array:
    """The maximum over windows along one axis."""
    shape = list(lanes[0].shape)
    shape[axis] = windows
    out = empty(tuple(shape), lanes[0].dtype)
    taps = list(_taps(_length(lanes, axis), windows, window))
    # An offset that every window sees starts the maximum; without one, -inf does.
    start = next((tap for tap in taps if tap[1] == slice(0, windows)), None)
    if start is None:
        out[...] = -np.inf
    else:
        taps.remove(start)
        out[...] = _cells(lanes, axis, start[2])
    for _, seen, pixels in taps:
        part = out[_along(axis, seen)]
        np.maximum(part, _cells(lanes, axis, pixels), out=part)
    return out


def _route_along(
    gy: Array, lanes: Lanes, y: Array, glanes: Lanes, axis: int, window: Window
) -> None:
    """glanes = gy at the first pixel of each window that equals the window's maximum y, else 0.

    At offsets below the stride no two windows meet, so what they send is written; further
    offsets fall on pixels that have something already, so it is added.
    """
    kernel, stride, padding = window
    windows, length = y.shape[axis], _length(lanes, axis)
    if kernel < stride:  # some pixels belong to no window
        for lane in glanes:
            lane[...] = 0
    for pixel in range(max(0, windows * stride - padding), length):  # behind the last window
        _cells(glanes, axis, slice(pixel, pixel + 1))[...] = 0
    rest = empty_like(y)  # what no pixel has claimed yet: once claimed it is exactly zero
    np.copyto(rest, gy)
    hit = empty(y.shape, bool)
    share = empty_like(y)
    for offset, seen, pixels in _taps(length, windows, window):
        at, cells = _along(axis, seen), _cells(glanes, axis, pixels)
        np.equal(_cells(lanes, axis, pixels), y[at], out=hit[at])
        if offset < stride:
            sent = masked(rest[at], hit[at], out=cells)
        else:
            sent = masked(rest[at], hit[at], out=share[at])
            np.add(cells, sent, out=cells)
        if offset < kernel - 1:  # of an infinite number, its bits can be taken away
            np.subtract(bits_of(rest[at]), bits_of(sent), out=bits_of(rest[at]))


def _route_nan(gy: Array, x: Array, down: Window, across: Window) -> Array:
    """gx of a block with NaN: each window's pixels one after another, which takes far longer."""
    gx = np.zeros(x.shape, x.dtype)
    best, winner = np.full(gy.shape, -np.inf), np.full(gy.shape, -1)
    taps = list(_taps2d(x.shape, gy.shape, down, across))
    for k, (windows, pixels) in enumerate(taps):
        value = x[pixels]
        wins = (value > best[windows]) | np.isnan(value) | (winner[windows] < 0)
        best[windows] = np.where(wins, value, best[windows])
        winner[windows] = np.where(wins, k, winner[windows])
    for k, (windows, pixels) in enumerate(taps):
        gx[pixels] += np.where(winner[windows] == k, gy[windows], 0)
    return gx


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """y[n, i, j, c] = sum over the window / (KH KW); zeros outside count: -> (N, Ho, Wo, C)."""
    sizes = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode=False)
    y = zeros((len(x), *sizes, x.shape[3]), x.dtype)
    for windows, pixels in _taps2d(x.shape, y.shape, *zip(kernel, stride, padding, strict=True)):
        y[windows] += x[pixels]
    y *= 1 / math.prod(kernel)
    return y


def avg_pool2d_backward(
    gy: Array, x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Every pixel of a window receives gy / (KH KW): the adjoint of `avg_pool2d`."""
    gx = zeros(x_shape, gy.dtype)
    share = gy * (1 / math.prod(kernel))
    for windows, pixels in _taps2d(x_shape, gy.shape, *zip(kernel, stride, padding, strict=True)):
        gx[pixels] += share[windows]
    return gx


def global_avg_pool(x: Array) -> Array:
    """y[n, c] = mean over the pixels of x[n, :, :, c]: (N, H, W, C) -> (N, C)."""
    return x.mean((1, 2))


def global_avg_pool_backward(gy: Array, x_shape: tuple[int, ...]) -> Array:
    """gx[n, i, j, c] = gy[n, c] / (H W)."""
    gx = empty(x_shape, gy.dtype)
    gx[...] = (gy * (1 / (x_shape[1] * x_shape[2])))[:, None, None, :]
    return gx
