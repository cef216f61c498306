"""Bilinear interpolation: `resize.cu`."""

from __future__ import annotations

from minran.backend.gpu.launch import Array, Program, empty, operand, piece_of, stored

_PROGRAM = Program("resize.cu")


def upsample_bilinear2d(x: Array, size: tuple[int, int], align_corners: bool) -> Array:
    """Y = R_h X R_w^T for every sample and channel: (N, h, w, C) -> (N, H, W, C)."""
    x = operand(x)
    n, height, width, channels = x.shape
    y = empty((n, *size, channels), x.dtype)
    return _launch("upsample", x, y, height, width, *size, channels, align_corners)


def upsample_bilinear2d_backward(gy: Array, x_shape: tuple[int, ...], align_corners: bool) -> Array:
    """gX = R_h^T gY R_w: (N, H, W, C) -> (N, h, w, C)."""
    gy = operand(gy)
    gx, sizes = empty(x_shape, gy.dtype), (*x_shape[1:3], *gy.shape[1:])
    return _launch("upsample_backward", gy, gx, *sizes, align_corners)


def _launch(kernel: str, x: Array, y: Array, *sizes: int) -> Array:
    piece = piece_of(x, x.shape[3])
    _PROGRAM.map(f"{kernel}<{stored(x.dtype)}, {piece}>", y.size // piece, x, y, y.size, *sizes)
    return y
