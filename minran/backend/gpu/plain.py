"""Convolution with one thread for each number (`kernels/conv_plain.cu`): to be read before `conv`.

Nothing in a network calls it. It shows on a card what tiles and tensor cores are for, and computes
what they must.
"""

from __future__ import annotations

from minran.backend.geometry import Pair, conv_sizes
from minran.backend.gpu.launch import Array, Program, empty, empty_like, operand, real

PLAIN = Program("conv_plain.cu", real)


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair, groups: int) -> Array:
    """y[n, i, j, o] = sum_abc x[n, i s - p + a, j s - p + b, c] w[a, b, c, o]."""
    x, w = operand(x), operand(w)
    sizes = conv_sizes(x.shape[1:3], w.shape[:2], stride, padding)
    y = empty((len(x), *sizes, w.shape[3]), x.dtype)
    numbers = *x.shape[1:], *y.shape[1:], *w.shape[:2], *stride, *padding, groups
    PLAIN.map(f"plain_forward<{real(x.dtype)}>", y.size, x, w, y, y.size, *numbers)
    return y


def conv2d_backward(
    gy: Array, x: Array, w: Array, stride: Pair, padding: Pair, groups: int
) -> tuple[Array, Array]:
    """gx and gw: every y[q] += x[p] w[k] gives gx[p] += gy[q] w[k], gw[k] += gy[q] x[p]."""
    gy, x, w = operand(gy), operand(x), operand(w)
    gx, gw, kind = empty_like(x), empty_like(w), real(x.dtype)
    numbers = *x.shape[1:], *gy.shape[1:], *w.shape[:2], *stride, *padding, groups
    PLAIN.map(f"plain_input<{kind}>", gx.size, gy, w, gx, gx.size, *numbers)
    PLAIN.map(f"plain_filters<{kind}>", gw.size, gy, x, gw, gw.size, len(x), *numbers)
    return gx, gw
