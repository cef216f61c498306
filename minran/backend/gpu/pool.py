"""Max-pool, average-pool, global average pool: `pool.cu`; bilinear interpolation: `resize.cu`."""

from __future__ import annotations

from itertools import chain

from minran.backend.geometry import Pair, pool_sizes
from minran.backend.gpu.launch import Array, Program, empty, empty_like, operand, operands, piece_of

Shape = tuple[int, ...]

_POOL, _RESIZE = Program("pool.cu"), Program("resize.cu")


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """y[n, i, j, c] = max over the real pixels of window (i, j): (N, Ho, Wo, C)."""
    x = operand(x)
    y = _windows(x, kernel, stride, padding, ceil_mode)
    sizes, piece = _sizes(x.shape, y.shape, kernel, stride, padding), piece_of(x, x.shape[3])
    return _POOL.fill("max_pool", y, x, y, y.size, *sizes, piece=piece)


def max_pool2d_backward(
    gy: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Each window hands its gradient to its first maximum in row-major order."""
    x, gy, y = operands(x, gy, y)
    gx, piece = empty_like(x), piece_of(x, x.shape[3], gy, y)
    sizes = _sizes(x.shape, y.shape, kernel, stride, padding)
    return _POOL.fill("max_pool_backward", gx, gy, x, y, gx, gx.size, *sizes, piece=piece)


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """y[n, i, j, c] = sum over the window / (KH KW); zeros outside count: -> (N, Ho, Wo, C)."""
    x = operand(x)
    y = _windows(x, kernel, stride, padding, False)
    sizes = _sizes(x.shape, y.shape, kernel, stride, padding)
    return _POOL.fill("avg_pool", y, x, y, y.size, *sizes)


def avg_pool2d_backward(
    gy: Array, x_shape: Shape, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Every pixel of a window receives gy / (KH KW): the adjoint of `avg_pool2d`."""
    gy = operand(gy)
    gx, sizes = empty(x_shape, gy.dtype), _sizes(x_shape, gy.shape, kernel, stride, padding)
    return _POOL.fill("avg_pool_backward", gx, gy, gx, gx.size, *sizes)


def _windows(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """A new array with one number for each window and channel."""
    sizes = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode)
    return empty((len(x), *sizes, x.shape[3]), x.dtype)


def _sizes(x_shape: Shape, y_shape: Shape, *window: Pair) -> Shape:
    """H, W, C, OH, OW, KH, KW, SH, SW, PH, PW: the last arguments of the kernels with windows."""
    return (*x_shape[1:], *y_shape[1:3], *chain(*window))


def global_avg_pool(x: Array) -> Array:
    """y[n, c] = mean over the pixels of x[n, :, :, c]: (N, H, W, C) -> (N, C)."""
    x = operand(x)
    n, height, width, channels = x.shape
    y = empty((n, channels), x.dtype)
    _POOL.tiles("global_avg_pool", x, channels, (n,), x, y, height * width, channels)
    return y


def global_avg_pool_backward(gy: Array, x_shape: Shape) -> Array:
    """gx[n, i, j, c] = gy[n, c] / (H W)."""
    gy = operand(gy)
    gx = empty(x_shape, gy.dtype)
    _, height, width, channels = x_shape
    args = gy, gx, gx.size, height * width, channels
    return _POOL.fill("global_avg_pool_backward", gx, *args)


def upsample_bilinear2d(x: Array, size: Pair, align_corners: bool) -> Array:
    """Y = R_h X R_w^T for every sample and channel: (N, h, w, C) -> (N, H, W, C)."""
    x = operand(x)
    n, height, width, channels = x.shape
    y = empty((n, *size, channels), x.dtype)
    args = x, y, y.size, height, width, *size, channels, align_corners
    return _RESIZE.fill("upsample", y, *args, piece=piece_of(x, channels))


def upsample_bilinear2d_backward(gy: Array, x_shape: Shape, align_corners: bool) -> Array:
    """gX = R_h^T gY R_w: (N, H, W, C) -> (N, h, w, C)."""
    gy = operand(gy)
    gx = empty(x_shape, gy.dtype)
    args = gy, gx, gx.size, *x_shape[1:3], *gy.shape[1:], align_corners
    return _RESIZE.fill("upsample_backward", gx, *args, piece=piece_of(gy, x_shape[3]))
