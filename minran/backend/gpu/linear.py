"""Matrix products that a captured step can hold.

CuPy's own products go to cuBLAS through a handle that refuses to be captured. But a product is a
1x1 convolution of pictures of one pixel, and ours can be. Features in bfloat16 become float32 here:
they are few, and scores of classes are what a loss wants digits of.
"""

from __future__ import annotations

from typing import Any

from minran.backend.gpu.conv import conv2d, conv2d_backward
from minran.backend.gpu.launch import operand, weight_dtype

Array = Any

_PLAIN = (1, 1), (0, 0), 1
"""Stride, padding and groups."""


def linear(x: Array, w: Array) -> Array:
    """y = x w: (N, D), (D, K) -> (N, K)."""
    return conv2d(_pixels(x), w[None, None], *_PLAIN)[:, 0, 0]


def linear_backward(
    gy: Array, x: Array, w: Array, need_gx: bool = True
) -> tuple[Array | None, Array]:
    """gx = gy w^T, or None unless `need_gx`, and gw = x^T gy."""
    gx, gw = conv2d_backward(_pixels(gy), _pixels(x), w[None, None], *_PLAIN, need_gx)
    return None if gx is None else operand(gx[:, 0, 0], x.dtype), gw[0, 0]


def _pixels(x: Array) -> Array:
    """(N, D) as N pictures of one pixel with D channels."""
    return operand(x, weight_dtype(x.dtype))[:, None, None, :]
