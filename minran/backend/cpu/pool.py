"""Max-pool and average-pool on NHWC blocks.

A max over a KH x KW window is a max over rows of maxima over columns, and each of the two
passes is `np.maximum` of shifted, strided slices. Windows read only real pixels: an offset
that falls outside the picture for some windows simply skips those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minran.backend.cpu.blocks import map_blocks
from minran.backend.cpu.memory import empty, empty_like, zeros
from minran.backend.geometry import pool_output_size

Pair = tuple[int, int]
_ROWS, _COLS = 1, 2


def max_pool2d(
    x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> np.ndarray:
    """y[n, i, j, c] = max over the real pixels of window (i, j): (N, Ho, Wo, C)."""
    n, height, width, c = x.shape
    ho = pool_output_size(height, kernel[0], stride[0], padding[0], ceil_mode)
    wo = pool_output_size(width, kernel[1], stride[1], padding[1], ceil_mode)
    y = empty((n, ho, wo, c), x.dtype)

    def block(samples: slice) -> None:
        across = _max_along(x[samples], _COLS, wo, kernel[1], stride[1], padding[1])
        _max_along(across, _ROWS, ho, kernel[0], stride[0], padding[0], out=y[samples])

    map_blocks(block, n, x[:1].nbytes)
    return y


def max_pool2d_backward(
    gy: np.ndarray, x: np.ndarray, y: np.ndarray, kernel: Pair, stride: Pair, padding: Pair
) -> np.ndarray:
    """Each window hands its gradient to its first maximum in row-major order.

    That is the first row whose row maximum equals the window's, and in it the first pixel
    that equals the row's: the two passes of forward, backward.
    """
    wo = y.shape[2]
    gx = empty(x.shape, x.dtype)

    def block(samples: slice) -> None:
        xs, gxs = x[samples], gx[samples]
        across = _max_along(xs, _COLS, wo, kernel[1], stride[1], padding[1])
        gacross = empty_like(across)
        _route_along(
            gy[samples], across, y[samples], gacross, _ROWS, kernel[0], stride[0], padding[0]
        )
        _route_along(gacross, xs, across, gxs, _COLS, kernel[1], stride[1], padding[1])

    map_blocks(block, len(x), x[:1].nbytes)
    return gx


def _taps(
    length: int, windows: int, kernel: int, stride: int, padding: int
) -> Iterator[tuple[int, slice, slice]]:
    """Each offset in the window, the windows that see a real pixel there, and those pixels."""
    for offset in range(kernel):
        first = max(0, -((offset - padding) // stride))
        last = min(windows, (length - 1 + padding - offset) // stride + 1)
        if first < last:
            start = first * stride + offset - padding
            stop = start + (last - first - 1) * stride + 1
            yield offset, slice(first, last), slice(start, stop, stride)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)


def _max_along(
    x: np.ndarray,
    axis: int,
    windows: int,
    kernel: int,
    stride: int,
    padding: int,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The maximum over windows along one axis."""
    if out is None:
        out = empty((*x.shape[:axis], windows, *x.shape[axis + 1 :]), x.dtype)
    taps = list(_taps(x.shape[axis], windows, kernel, stride, padding))
    # An offset that every window sees starts the maximum; without one, -inf does.
    start = next((tap for tap in taps if tap[1] == slice(0, windows)), None)
    if start is None:
        out[...] = -np.inf
    else:
        taps.remove(start)
        out[...] = x[_along(axis, start[2])]
    for _, seen, pixels in taps:
        part = out[_along(axis, seen)]
        np.maximum(part, x[_along(axis, pixels)], out=part)
    return out


def _route_along(
    gy: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    gx: np.ndarray,
    axis: int,
    kernel: int,
    stride: int,
    padding: int,
) -> None:
    """gx = gy at the first pixel of each window that equals the window's maximum y, else 0.

    At offsets below the stride no two windows meet, so what they send is written; further
    offsets fall on pixels that have something already, so it is added.
    """
    windows = y.shape[axis]
    if kernel < stride:
        gx[...] = 0
    else:
        gx[_along(axis, slice(windows * stride - padding, None))] = 0
    rest = empty_like(y)  # what no pixel has claimed yet: once claimed it is exactly zero
    np.copyto(rest, gy)
    hit = np.empty(y.shape, bool)
    share = empty_like(y)
    for offset, seen, pixels in _taps(x.shape[axis], windows, kernel, stride, padding):
        at, cells = _along(axis, seen), _along(axis, pixels)
        np.equal(x[cells], y[at], out=hit[at])
        if offset < stride:
            np.multiply(rest[at], hit[at], out=gx[cells])
            sent = gx[cells]
        else:
            sent = np.multiply(rest[at], hit[at], out=share[at])
            np.add(gx[cells], sent, out=gx[cells])
        if offset < kernel - 1:
            np.subtract(rest[at], sent, out=rest[at])


def avg_pool2d(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair) -> np.ndarray:
    """y[n, i, j, c] = sum over the window / (KH KW); zeros outside count: -> (N, Ho, Wo, C)."""
    n, height, width, c = x.shape
    ho = pool_output_size(height, kernel[0], stride[0], padding[0], False)
    wo = pool_output_size(width, kernel[1], stride[1], padding[1], False)
    y = zeros((n, ho, wo, c), x.dtype)
    for _, rows, pixel_rows in _taps(height, ho, kernel[0], stride[0], padding[0]):
        for _, cols, pixel_cols in _taps(width, wo, kernel[1], stride[1], padding[1]):
            y[:, rows, cols] += x[:, pixel_rows, pixel_cols]
    y *= 1 / math.prod(kernel)
    return y


def avg_pool2d_backward(
    gy: np.ndarray, x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair
) -> np.ndarray:
    """Every pixel of a window receives gy / (KH KW): the adjoint of `avg_pool2d`."""
    _, ho, wo, _ = gy.shape
    gx = zeros(x_shape, gy.dtype)
    share = gy * (1 / math.prod(kernel))
    for _, rows, pixel_rows in _taps(x_shape[1], ho, kernel[0], stride[0], padding[0]):
        for _, cols, pixel_cols in _taps(x_shape[2], wo, kernel[1], stride[1], padding[1]):
            gx[:, pixel_rows, pixel_cols] += share[:, rows, cols]
    return gx


def global_avg_pool(x: np.ndarray) -> np.ndarray:
    """y[n, c] = mean over the pixels of x[n, :, :, c]: (N, H, W, C) -> (N, C)."""
    return x.mean((1, 2))


def global_avg_pool_backward(gy: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """gx[n, i, j, c] = gy[n, c] / (H W)."""
    gx = empty(x_shape, gy.dtype)
    gx[...] = (gy * (1 / (x_shape[1] * x_shape[2])))[:, None, None, :]
    return gx
