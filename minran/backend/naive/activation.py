"""Activations: relu, sigmoid, the two other attention functions, and the gate of a mask."""

from __future__ import annotations

import math

import numpy as np

from minran.backend.naive.loops import Array, in_float64


def add(a: Array, b: Array, out: Array | None = None) -> Array:
    """Add two arrays of one shape: y = a + b. Backward hands gy to both.

    The sum is written to `out`, which may be a or b, or to a new array.
    """
    y = np.zeros(a.shape, a.dtype) if out is None else out
    y[...] = a + b
    return y


@in_float64
def relu(x: Array) -> Array:
    """Cut off what is negative: y = max(x, 0), value by value; any shape."""
    return np.where(x < 0, 0.0, x)  # asked this way round, a NaN stays a NaN


@in_float64
def relu_backward(gy: Array, y: Array) -> Array:
    """Let gy pass where the input was positive: gx = gy where y is not 0, else 0.

    The output, which is never negative, alone says where that was. Where it is NaN, gy passes.
    """
    return np.where(y != 0, gy, 0.0)


@in_float64
def sigmoid(x: Array) -> Array:
    """Squeeze every value into (0, 1): y = 1 / (1 + exp(-x)); any shape. The paper's f1 (Eq. 4)."""
    return 1 / (1 + np.exp(-x))  # where exp becomes infinite, y is 0


@in_float64
def sigmoid_backward(gy: Array, y: Array) -> Array:
    """Multiply by the slope, which the output tells: gx = gy y (1 - y)."""
    return gy * y * (1 - y)


@in_float64
def channel_attention(x: Array, eps: float) -> tuple[Array, Array]:
    """Divide each pixel by the length of its vector of channels; the paper's f2 (Eq. 5).

        norm[n, i, j] = sqrt(sum over c of x[n, i, j, c]^2 + eps),   y = x / norm

    x and y: (N, H, W, C), norm: (N, H, W).
    """
    y, norm = np.zeros(x.shape), np.zeros(x.shape[:3])
    for p in np.ndindex(norm.shape):
        norm[p] = math.sqrt(sum(x[p] ** 2) + eps)
        y[p] = x[p] / norm[p]
    return y, norm


@in_float64
def channel_attention_backward(gy: Array, y: Array, norm: Array) -> Array:
    """Drop what points along y, which only changes the length.

        gx = (gy - y sum over c of (gy y)) / norm

    x reaches y[c] directly, and every y of the pixel through norm: d norm / d x[c] = y[c].

    gy, y and gx: (N, H, W, C), norm: (N, H, W), as `channel_attention` returned it.
    """
    gx = np.zeros(y.shape)
    for p in np.ndindex(norm.shape):
        along = sum(g * v for g, v in zip(gy[p], y[p], strict=True))
        for c in range(y.shape[3]):
            gx[*p, c] = (gy[*p, c] - y[*p, c] * along) / norm[p]
    return gx


@in_float64
def spatial_attention(x: Array, eps: float) -> tuple[Array, Array, Array]:
    """Normalise every map over its pixels, then sigmoid; the paper's f3 (Eq. 6).

        y[n, i, j, c] = sigmoid((x[n, i, j, c] - mean[n, c]) inv_std[n, c])
        inv_std = 1 / sqrt(var + eps), mean and (biased) variance over the pixels i, j

    x and y: (N, H, W, C), mean and inv_std: (N, 1, 1, C).
    """
    mean = x.mean((1, 2), keepdims=True)
    var = ((x - mean) ** 2).mean((1, 2), keepdims=True)
    inv_std = 1 / np.sqrt(var + eps)
    return sigmoid((x - mean) * inv_std), mean, inv_std


@in_float64
def spatial_attention_backward(gy: Array, x: Array, y: Array, mean: Array, inv_std: Array) -> Array:
    """Through the sigmoid, then through the normalisation of each map.

        g = gy y (1 - y),   xhat = (x - mean) inv_std
        gx = inv_std (g - average(g) - xhat average(g xhat)),   averages over the pixels i, j

    The two averages are what x does through the mean and through the variance.

    gy, x, y and gx: (N, H, W, C), mean and inv_std: (N, 1, 1, C).
    """
    g, xhat = gy * y * (1 - y), (x - mean) * inv_std
    average_g = g.mean((1, 2), keepdims=True)
    average_g_xhat = (g * xhat).mean((1, 2), keepdims=True)
    return inv_std * (g - average_g - xhat * average_g_xhat)


@in_float64
def gate(mask: Array, trunk: Array, residual: bool) -> Array:
    """Weigh the trunk T with the mask M.

        h = (1 + M) T  if `residual` (attention residual learning, Eq. 3),  else  h = M T  (Eq. 1)

    mask, trunk and h: (N, H, W, C).
    """
    return (1 + mask) * trunk if residual else mask * trunk


@in_float64
def gate_backward(gy: Array, mask: Array, trunk: Array, residual: bool) -> tuple[Array, Array]:
    """Send gy to both factors, each times the other one (paper section 3.2).

        gM = gy T,   gT = gy (1 + M)  if `residual`,  else  gy M

    With the 1, a trunk whose mask is 0 still learns.
    """
    return gy * trunk, gy * (1 + mask) if residual else gy * mask
