"""Batch norm, ReLU, convolution and addition in one pass over the memory.

The kernels are those of the convolution: they normalise what they read, add what is to be added,
and sum for the next batch norm while they hold the numbers. See `conv.cu`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minran.backend.gpu import conv
from minran.backend.gpu.launch import operand, operands, weight_dtype
from minran.backend.gpu.norm import scale_and_shift

Array = Any
Vectors = tuple[Array, Array, Array, Array]
"""gamma, beta, mean and inv_std, (C,) each."""


def norm_relu_conv2d(
    x: Array,
    norm: Vectors,
    w: Array,
    stride: int,
    padding: int,
    residual: Array | None,
    with_moments: bool,
) -> tuple[Array, tuple[Array, Array] | None]:
    """y = conv2d(max(gamma (x - mean) inv_std + beta, 0), w) + residual, and y's moments.

    x (N, H, W, C), w (K, K, C, Cout), residual like y or None -> y (N, Ho, Wo, Cout).
    """
    x, residual = operands(x, residual)
    w, gamma, beta = (operand(array, weight_dtype(x.dtype)) for array in (w, *norm[:2]))
    affine = scale_and_shift(gamma, beta, *norm[2:])
    options = (stride, stride), (padding, padding), 1
    return conv.forward(x, w, *options, affine, residual, with_moments)


def norm_relu_conv2d_backward(
    gy: Array, x: Array, norm: Vectors, w: Array, stride: int, padding: int
) -> tuple[Array, Array, Array, Array]:
    """The gradients behind the convolution: g (N, H, W, C), gw, ggamma and gbeta (float64).

    g is the gradient at the norm's result, already cut by the ReLU; `norm_backward_inplace` makes
    gx of it.
    """
    x, gy = operands(x, gy)
    w, gamma, beta = (operand(array, weight_dtype(x.dtype)) for array in (w, *norm[:2]))
    mean, inv_std = (operand(vector, np.float64) for vector in norm[2:])
    affine = scale_and_shift(gamma, beta, mean, inv_std)
    options = (stride, stride), (padding, padding), 1
    gw = conv.filter_gradient(gy, x, w, *options, affine)
    g, sums = conv.input_gradient(gy, x, w, *options, affine, (mean, inv_std))
    ggamma, gbeta = sums or (None, None)  # never None: there is a norm
    return g, gw, ggamma, gbeta
