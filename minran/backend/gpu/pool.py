"""Max-pool, average-pool and global average pool: `pool.cu`."""

from __future__ import annotations

from typing import Any

from minran.backend.geometry import pool_output_size
from minran.backend.gpu.activation import TILE
from minran.backend.gpu.launch import (
    Program,
    ceil_divide,
    empty,
    empty_like,
    for_maps,
    in_pieces,
    operand,
    operands,
    piece_of,
    stored,
)

Array = Any
Pair = tuple[int, int]
Shape = tuple[int, ...]

_PROGRAM = Program(
    "pool.cu",
    (),
    (
        *for_maps("avg_pool", "avg_pool_backward", "global_avg_pool", "global_avg_pool_backward"),
        *in_pieces("max_pool", "max_pool_backward"),
    ),
)


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """y[n, i, j, c] = max over the real pixels of window (i, j): (N, Ho, Wo, C)."""
    x = operand(x)
    y = _windows(x, kernel, stride, padding, ceil_mode)
    sizes = _sizes(x.shape, y.shape, kernel, stride, padding)
    piece = piece_of(x, x.shape[3])
    instance = f"max_pool<{stored(x.dtype)}, {piece}>"
    _PROGRAM.map(instance, y.size // piece, x, y, y.size, *sizes)
    return y


def max_pool2d_backward(
    gy: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Each window hands its gradient to its first maximum in row-major order."""
    x, gy, y = operands(x, gy, y)
    gx = empty_like(x)
    sizes = _sizes(x.shape, y.shape, kernel, stride, padding)
    piece = piece_of(x, x.shape[3], gy, y)
    instance = f"max_pool_backward<{stored(x.dtype)}, {piece}>"
    _PROGRAM.map(instance, gx.size // piece, gy, x, y, gx, gx.size, *sizes)
    return gx


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """y[n, i, j, c] = sum over the window / (KH KW); zeros outside count: -> (N, Ho, Wo, C)."""
    x = operand(x)
    y = _windows(x, kernel, stride, padding, False)
    sizes = _sizes(x.shape, y.shape, kernel, stride, padding)
    _PROGRAM.map(f"avg_pool<{stored(x.dtype)}>", y.size, x, y, y.size, *sizes)
    return y


def avg_pool2d_backward(
    gy: Array, x_shape: Shape, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Every pixel of a window receives gy / (KH KW): the adjoint of `avg_pool2d`."""
    gy = operand(gy)
    gx = empty(x_shape, gy.dtype)
    sizes = _sizes(x_shape, gy.shape, kernel, stride, padding)
    _PROGRAM.map(f"avg_pool_backward<{stored(gy.dtype)}>", gx.size, gy, gx, gx.size, *sizes)
    return gx


def global_avg_pool(x: Array) -> Array:
    """y[n, c] = mean over the pixels of x[n, :, :, c]: (N, H, W, C) -> (N, C)."""
    x = operand(x)
    n, height, width, channels = x.shape
    y = empty((n, channels), x.dtype)
    _PROGRAM.launch(
        f"global_avg_pool<{stored(x.dtype)}>",
        (ceil_divide(channels, TILE), n),
        (TILE, TILE),
        *(x, y, height * width, channels),
    )
    return y


def global_avg_pool_backward(gy: Array, x_shape: Shape) -> Array:
    """gx[n, i, j, c] = gy[n, c] / (H W)."""
    gy = operand(gy)
    gx = empty(x_shape, gy.dtype)
    _, height, width, channels = x_shape
    kernel = f"global_avg_pool_backward<{stored(gy.dtype)}>"
    _PROGRAM.map(kernel, gx.size, gy, gx, gx.size, height * width, channels)
    return gx


def _windows(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """A new array with one number for each window and channel."""
    n, height, width, channels = x.shape
    rows = pool_output_size(height, kernel[0], stride[0], padding[0], ceil_mode)
    columns = pool_output_size(width, kernel[1], stride[1], padding[1], ceil_mode)
    return empty((n, rows, columns, channels), x.dtype)


def _sizes(
    x_shape: Shape, y_shape: Shape, kernel: Pair, stride: Pair, padding: Pair
) -> tuple[int, ...]:
    """H, W, C, OH, OW, KH, KW, SH, SW, PH, PW: the last arguments of the window kernels."""
    return (*x_shape[1:], *y_shape[1:3], *kernel, *stride, *padding)
