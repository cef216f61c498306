"""Bilinear interpolation: `resize.cu`."""

from __future__ import annotations

from typing import Any

from minran.backend.gpu.launch import Program, empty, in_pieces, operand, piece_of, stored

Array = Any
Pair = tuple[int, int]

_PROGRAM = Program("resize.cu", (), in_pieces("upsample", "upsample_backward"))


def upsample_bilinear2d(x: Array, size: Pair, align_corners: bool) -> Array:
    """Y = R_h X R_w^T for every sample and channel: (N, h, w, C) -> (N, H, W, C)."""
    x = operand(x)
    n, height, width, channels = x.shape
    y = empty((n, *size, channels), x.dtype)
    piece = piece_of(x, channels)
    _PROGRAM.map(
        f"upsample<{stored(x.dtype)}, {piece}>",
        y.size // piece,
        *(x, y, y.size, height, width, *size, channels, align_corners),
    )
    return y


def upsample_bilinear2d_backward(gy: Array, x_shape: tuple[int, ...], align_corners: bool) -> Array:
    """gX = R_h^T gY R_w: (N, H, W, C) -> (N, h, w, C)."""
    gy = operand(gy)
    gx = empty(x_shape, gy.dtype)
    piece = piece_of(gy, x_shape[3])
    _PROGRAM.map(
        f"upsample_backward<{stored(gy.dtype)}, {piece}>",
        gx.size // piece,
        *(gy, gx, gx.size, *x_shape[1:3], *gy.shape[1:3], x_shape[3], align_corners),
    )
    return gx
