"""Max-pool, average-pool and bilinear interpolation on NHWC blocks.

A max over a KH x KW window is a max over rows of maxima over columns, and each of the two
passes is `np.maximum` of shifted slices. Windows read only real pixels: an offset that falls
outside the image for some windows simply skips those.

A NumPy loop over few numbers costs as much as one over a thousand, so in a block of the
max-pool the samples come last but one: (H, W, N, C). Lane r holds the columns r, r + stride,
r + 2 stride, ..., or the rows; what an offset reads is a run of one lane, and one long loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import numpy as np

from minran.backend.cpu.blocks import bits_of, map_blocks, masked
from minran.backend.cpu.memory import empty, empty_like, zeros
from minran.backend.geometry import Pair, pool_sizes, resize_matrix

Array = np.ndarray
Shape = tuple[int, ...]
Lanes = list[Array]

_ROWS, _COLS, _FIRST = 0, 1, (2, 0, 1, 3)
"""Axes of (H, W, N, C), and how it is transposed to (N, H, W, C)."""

Window = tuple[int, int, int]
"""Along one axis: kernel, stride and padding."""


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """y[n, i, j, c] = max over the real pixels of window (i, j): (N, Ho, Wo, C)."""
    ho, wo = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode)
    down, across = zip(kernel, stride, padding, strict=True)
    y = empty((len(x), ho, wo, x.shape[3]), x.dtype)

    def block(samples: slice) -> None:
        inside = _max_along(_column_lanes(x[samples], stride[1]), _COLS, wo, across)
        top = _max_along(_row_lanes(inside, stride[0]), _ROWS, ho, down)
        y[samples] = top.transpose(_FIRST)

    map_blocks(block, len(x), x[:1].nbytes)
    return y


def max_pool2d_backward(
    gy: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Each window hands its gradient to its first maximum in row-major order.

    That is the first row whose row maximum equals the window's, and in it the first pixel
    that equals the row's: the two passes of forward, backward. A window with NaN hands it to the
    last of these, as PyTorch does.
    """
    down, across = zip(kernel, stride, padding, strict=True)
    gx = empty(x.shape, x.dtype)

    def block(samples: slice) -> None:
        top, gtop = _samples_inside(y[samples]), _samples_inside(gy[samples])
        missing = np.isnan(top.max(initial=-np.inf))
        columns = _column_lanes(_ranks(x[samples]) if missing else x[samples], stride[1])
        inside = _max_along(columns, _COLS, y.shape[2], across)
        gcolumns = [empty(lane.shape, x.dtype) for lane in columns]
        ginside = empty(inside.shape, x.dtype)
        rows, grows = _row_lanes(inside, stride[0]), _row_lanes(ginside, stride[0])
        if missing:
            top = _max_along(rows, _ROWS, y.shape[1], down)
        _route_along(gtop, rows, top, grows, _ROWS, down)
        _route_along(ginside, columns, inside, gcolumns, _COLS, across)
        for r, lane in enumerate(gcolumns):
            gx[samples, :, r :: stride[1]] = lane.transpose(_FIRST)

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
    x_shape: Shape, y_shape: Shape, *windows: Pair
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """For each offset in the window: the windows, as an index of y, and the pixels, of x."""
    axes = zip(x_shape[1:3], y_shape[1:3], zip(*windows, strict=True), strict=True)
    for (_, rows, pixel_rows), (_, cols, pixel_cols) in product(*(_taps(*axis) for axis in axes)):
        yield (slice(None), rows, cols), (slice(None), pixel_rows, pixel_cols)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)


def _samples_inside(x: Array) -> Array:
    """(N, H, W, C) as a new array (H, W, N, C)."""
    n, height, width, c = x.shape
    inside = empty((height, width, n, c), x.dtype)
    inside.transpose(_FIRST)[...] = x
    return inside


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


def _max_along(lanes: Lanes, axis: int, windows: int, window: Window) -> Array:
    """The maximum over windows along one axis."""
    shape = list(lanes[0].shape)
    shape[axis] = windows
    out = empty(tuple(shape), lanes[0].dtype)
    taps = list(_taps(sum(lane.shape[axis] for lane in lanes), windows, window))
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
    windows, length = y.shape[axis], sum(lane.shape[axis] for lane in lanes)
    if kernel < stride:  # some pixels belong to no window
        for lane in glanes:
            lane[...] = 0
    for pixel in range(max(0, windows * stride - padding), length):  # behind the last window
        _cells(glanes, axis, slice(pixel, pixel + 1))[...] = 0
    rest = empty_like(gy)  # what no pixel has claimed yet: once claimed it is exactly zero
    np.copyto(rest, gy)
    hit = empty(y.shape, bool)
    share = empty_like(gy)
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


def _ranks(x: Array) -> Array:
    """Numbers in the order of x; of NaN the highest, one for each, later ones higher."""
    ranks = np.unique(x, return_inverse=True)[1].reshape(x.shape)
    places = np.arange(x.size).reshape(x.shape)
    return np.where(np.isnan(x), x.size + places, ranks).astype(np.float64)


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """y[n, i, j, c] = sum over the window / (KH KW); zeros outside count: -> (N, Ho, Wo, C)."""
    sizes = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode=False)
    y = zeros((len(x), *sizes, x.shape[3]), x.dtype)
    for seen, pixels in _taps2d(x.shape, y.shape, kernel, stride, padding):
        y[seen] += x[pixels]
    y *= 1 / math.prod(kernel)
    return y


def avg_pool2d_backward(
    gy: Array, x_shape: Shape, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Every pixel of a window receives gy / (KH KW): the adjoint of `avg_pool2d`."""
    gx = zeros(x_shape, gy.dtype)
    share = gy * (1 / math.prod(kernel))
    for seen, pixels in _taps2d(x_shape, gy.shape, kernel, stride, padding):
        gx[pixels] += share[seen]
    return gx


def global_avg_pool(x: Array) -> Array:
    """y[n, c] = mean over the pixels of x[n, :, :, c]: (N, H, W, C) -> (N, C)."""
    return x.mean((1, 2))


def global_avg_pool_backward(gy: Array, x_shape: Shape) -> Array:
    """gx[n, i, j, c] = gy[n, c] / (H W)."""
    gx = empty(x_shape, gy.dtype)
    gx[...] = (gy * (1 / (x_shape[1] * x_shape[2])))[:, None, None, :]
    return gx


def upsample_bilinear2d(x: Array, size: Pair, align_corners: bool) -> Array:
    """Y = R_h X R_w^T for every sample and channel: (N, h, w, C) -> (N, H, W, C)."""
    return _apply(x, *_matrices(x.shape[1:3], size, align_corners, x.dtype.str))


def upsample_bilinear2d_backward(gy: Array, x_shape: Shape, align_corners: bool) -> Array:
    """GX = R_h^T gY R_w, the same products with the matrices transposed: -> (N, h, w, C)."""
    rows, cols = _matrices(x_shape[1:3], gy.shape[1:3], align_corners, gy.dtype.str)
    return _apply(gy, rows.T, cols.T)


@lru_cache(maxsize=128)
def _matrices(source: Shape, target: Shape, align_corners: bool, dtype: str) -> list[Array]:
    """R_h and R_w: row i says of which two source rows target row i is made, and how."""
    pairs = zip(source, target, strict=True)
    return [resize_matrix(size, wanted, align_corners, dtype) for size, wanted in pairs]


def _apply(x: Array, rows: Array, cols: Array) -> Array:
    """Rows (H, h) along the height of x, then cols (W, w) along its width; any linear map.

    The smaller intermediate comes first: down along the height before the width grows, or not.
    """
    n, h, w, c = x.shape
    height, width = len(rows), len(cols)
    y = empty((n, height, width, c), x.dtype)

    def block(samples: slice) -> None:
        part, out = np.ascontiguousarray(x[samples]), y[samples]
        count = len(part)
        tall = empty((count, height, w * c), x.dtype)
        with np.errstate(invalid="ignore"):
            np.matmul(rows, part.reshape(count, h, w * c), out=tall)
            np.matmul(cols, tall.reshape(count * height, w, c), out=out.reshape(-1, width, c))
        # Zero times infinity is NaN: one number that is not finite spoils its whole map, so that
        # one pixel tells.
        if not np.isfinite(out[:, 0, 0]).all():
            out[...] = _mix(cols, _mix(rows, part, 1), 2)

    map_blocks(block, n, max(x[:1].nbytes, y[:1].nbytes))
    return y


def _mix(matrix: Array, x: Array, axis: int) -> Array:
    """The matrix times x along one axis, without the products with zeros."""
    line = np.moveaxis(x, axis, -1)
    return np.stack([line[..., row != 0] @ row[row != 0] for row in matrix], axis)
