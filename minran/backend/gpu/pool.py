"""Max-pool, average-pool and global average pool: `pool.cu`."""

from __future__ import annotations

from minran.backend.geometry import Pair, pool_sizes
from minran.backend.gpu.launch import (
    TILE,
    Array,
    Program,
    ceil_divide,
    empty,
    empty_like,
    operand,
    operands,
    piece_of,
    stored,
)

Shape = tuple[int, ...]

_PROGRAM = Program("pool.cu")


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """y[n, i, j, c] = max over the real pixels of window (i, j): (N, Ho, Wo, C)."""
    x = operand(x)
    y = _windows(x, kernel, stride, padding, ceil_mode)
    piece = piece_of(x, x.shape[3])
    instance = f"max_pool<{stored(x.dtype)}, {piece}>"
    sizes = *x.shape[1:], *y.shape[1:3], *kernel, *stride, *padding
    _PROGRAM.map(instance, y.size // piece, x, y, y.size, *sizes)
    return y


def max_pool2d_backward(
    gy: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Each window hands its gradient to its first maximum in row-major order."""
    x, gy, y = operands(x, gy, y)
    gx = empty_like(x)
    piece = piece_of(x, x.shape[3], gy, y)
    instance = f"max_pool_backward<{stored(x.dtype)}, {piece}>"
    sizes = *x.shape[1:], *y.shape[1:3], *kernel, *stride, *padding
    _PROGRAM.map(instance, gx.size // piece, gy, x, y, gx, gx.size, *sizes)
    return gx


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """y[n, i, j, c] = sum over the window / (KH KW); zeros outside count: -> (N, Ho, Wo, C)."""
    x = operand(x)
    y = _windows(x, kernel, stride, padding, False)
    sizes = *x.shape[1:], *y.shape[1:3], *kernel, *stride, *padding
    _PROGRAM.map(f"avg_pool<{stored(x.dtype)}>", y.size, x, y, y.size, *sizes)
    return y


def avg_pool2d_backward(
    gy: Array, x_shape: Shape, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Every pixel of a window receives gy / (KH KW): the adjoint of `avg_pool2d`."""
    gy = operand(gy)
    gx = empty(x_shape, gy.dtype)
    sizes = *x_shape[1:], *gy.shape[1:3], *kernel, *stride, *padding
    _PROGRAM.map(f"avg_pool_backward<{stored(gy.dtype)}>", gx.size, gy, gx, gx.size, *sizes)
    return gx


def _windows(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """A new array with one number for each window and channel."""
    sizes = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode)
    return empty((len(x), *sizes, x.shape[3]), x.dtype)


def global_avg_pool(x: Array) -> Array:
    """y[n, c] = mean over the pixels of x[n, :, :, c]: (N, H, W, C) -> (N, C)."""
    x = operand(x)
    n, height, width, channels = x.shape
    y = empty((n, channels), x.dtype)
    instance, grid = f"global_avg_pool<{stored(x.dtype)}>", (ceil_divide(channels, TILE), n)
    _PROGRAM.launch(instance, grid, (TILE, TILE), x, y, height * width, channels)
    return y


def global_avg_pool_backward(gy: Array, x_shape: Shape) -> Array:
    """gx[n, i, j, c] = gy[n, c] / (H W)."""
    gy = operand(gy)
    gx = empty(x_shape, gy.dtype)
    _, height, width, channels = x_shape
    kernel = f"global_avg_pool_backward<{stored(gy.dtype)}>"
    _PROGRAM.map(kernel, gx.size, gy, gx, gx.size, height * width, channels)
    return gx
