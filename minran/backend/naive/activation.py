"""Activations: relu, sigmoid, the two other attention functions, and the gate of a mask."""

from __future__ import annotations

import math

import numpy as np

from minran.backend.naive.precision import Array, in_float64


def add(a: Array, b: Array, out: Array | None = None) -> Array:
    """Add two arrays of one shape: y = a + b. Backward hands gy to both.

    The sum is written to `out`, which may be a or b, or to a new array.
    """
    y = np.zeros(a.shape, a.dtype) if out is None else out
    for p in np.ndindex(a.shape):
        y[p] = a[p] + b[p]
    return y


@in_float64
def relu(x: Array) -> Array:
    """Cut off what is negative: y = max(x, 0), value by value; any shape."""
    y = np.zeros(x.shape)
    for p in np.ndindex(x.shape):
        # Asked this way round, a NaN stays a NaN.
        y[p] = 0.0 if x[p] < 0 else x[p]
    return y


@in_float64
def relu_backward(gy: Array, y: Array) -> Array:
    """Let gy pass where the input was positive: gx = gy where y is not 0, else 0.

    The output, which is never negative, alone says where that was. Where it is NaN, gy passes.
    """
    gx = np.zeros(y.shape)
    for p in np.ndindex(y.shape):
        if y[p] != 0:
            gx[p] = gy[p]
    return gx


def _sigmoid(value: float) -> float:
    # exp of a large positive number overflows; the two formulas are equal, and each takes
    # the exponential of a negative number only.
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))


@in_float64
def sigmoid(x: Array) -> Array:
    """Squeeze every value into (0, 1): y = 1 / (1 + exp(-x)); any shape. The paper's f1 (Eq. 4)."""
    y = np.zeros(x.shape)
    for p in np.ndindex(x.shape):
        y[p] = _sigmoid(float(x[p]))
    return y


@in_float64
def sigmoid_backward(gy: Array, y: Array) -> Array:
    """Multiply by the slope, which the output tells: gx = gy y (1 - y)."""
    gx = np.zeros(y.shape)
    for p in np.ndindex(y.shape):
        gx[p] = gy[p] * y[p] * (1 - y[p])
    return gx


@in_float64
def channel_attention(x: Array, eps: float) -> tuple[Array, Array]:
    """Divide each pixel by the length of its vector of channels; the paper's f2 (Eq. 5).

        norm[n, i, j] = sqrt(sum over c of x[n, i, j, c]^2 + eps),   y = x / norm

    x and y: (N, H, W, C), norm: (N, H, W).
    """
    y, norm = np.zeros(x.shape), np.zeros(x.shape[:3])
    for n, i, j in np.ndindex(norm.shape):
        pixel = x[n, i, j]
        norm[n, i, j] = math.sqrt(sum(value * value for value in pixel) + eps)
        for c, value in enumerate(pixel):
            y[n, i, j, c] = value / norm[n, i, j]
    return y, norm


@in_float64
def channel_attention_backward(gy: Array, y: Array, norm: Array) -> Array:
    """Drop what points along y, which only changes the length.

        gx = (gy - y sum over c of (gy y)) / norm

    x reaches y[c] directly, and every y of the pixel through norm: d norm / d x[c] = y[c].

    gy, y and gx: (N, H, W, C), norm: (N, H, W), as `channel_attention` returned it.
    """
    gx = np.zeros(y.shape)
    for n, i, j in np.ndindex(norm.shape):
        along = sum(g * v for g, v in zip(gy[n, i, j], y[n, i, j], strict=True))
        for c in range(y.shape[3]):
            gx[n, i, j, c] = (gy[n, i, j, c] - y[n, i, j, c] * along) / norm[n, i, j]
    return gx


@in_float64
def spatial_attention(x: Array, eps: float) -> tuple[Array, Array, Array]:
    """Normalise every map over its pixels, then sigmoid; the paper's f3 (Eq. 6).

        y[n, i, j, c] = sigmoid((x[n, i, j, c] - mean[n, c]) inv_std[n, c])
        inv_std = 1 / sqrt(var + eps), mean and (biased) variance over the pixels i, j

    x and y: (N, H, W, C), mean and inv_std: (N, C).
    """
    pictures, height, width, channels = x.shape
    y = np.zeros(x.shape)
    mean, inv_std = np.zeros((pictures, channels)), np.zeros((pictures, channels))
    for n, c in np.ndindex(pictures, channels):
        pixels = [x[n, i, j, c] for i, j in np.ndindex(height, width)]
        mean[n, c] = sum(pixels) / len(pixels)
        var = sum((value - mean[n, c]) ** 2 for value in pixels) / len(pixels)
        inv_std[n, c] = 1 / math.sqrt(var + eps)
        for i, j in np.ndindex(height, width):
            xhat = (x[n, i, j, c] - mean[n, c]) * inv_std[n, c]
            y[n, i, j, c] = _sigmoid(float(xhat))
    return y, mean, inv_std


@in_float64
def spatial_attention_backward(gy: Array, x: Array, y: Array, mean: Array, inv_std: Array) -> Array:
    """Through the sigmoid, then through the normalisation of each map.

        g = gy y (1 - y),   xhat = (x - mean) inv_std
        gx = inv_std (g - average(g) - xhat average(g xhat)),   averages over the pixels i, j

    The two averages are what x does through the mean and through the variance.

    gy, x, y and gx: (N, H, W, C), mean and inv_std: (N, C).
    """
    pictures, height, width, channels = x.shape
    gx = np.zeros(x.shape)
    for n, c in np.ndindex(pictures, channels):
        g, xhat = np.zeros((height, width)), np.zeros((height, width))
        average_g = average_g_xhat = 0.0
        for i, j in np.ndindex(height, width):
            p = (n, i, j, c)
            g[i, j] = gy[p] * y[p] * (1 - y[p])
            xhat[i, j] = (x[p] - mean[n, c]) * inv_std[n, c]
            average_g += g[i, j] / (height * width)
            average_g_xhat += g[i, j] * xhat[i, j] / (height * width)
        for i, j in np.ndindex(height, width):
            centred = g[i, j] - average_g - xhat[i, j] * average_g_xhat
            gx[n, i, j, c] = inv_std[n, c] * centred
    return gx


@in_float64
def gate(mask: Array, trunk: Array, residual: bool) -> Array:
    """Weigh the trunk T with the mask M.

        h = (1 + M) T  if `residual` (attention residual learning, Eq. 3),  else  h = M T  (Eq. 1)

    mask, trunk and h: (N, H, W, C).
    """
    h = np.zeros(trunk.shape)
    for p in np.ndindex(trunk.shape):
        h[p] = (1 + mask[p]) * trunk[p] if residual else mask[p] * trunk[p]
    return h


@in_float64
def gate_backward(gy: Array, mask: Array, trunk: Array, residual: bool) -> tuple[Array, Array]:
    """Send gy to both factors, each times the other one (paper section 3.2).

        gM = gy T,   gT = gy (1 + M)  if `residual`,  else  gy M

    With the 1, a trunk whose mask is 0 still learns.
    """
    gmask, gtrunk = np.zeros(mask.shape), np.zeros(trunk.shape)
    for p in np.ndindex(gy.shape):
        gmask[p] = gy[p] * trunk[p]
        gtrunk[p] = gy[p] * (1 + mask[p]) if residual else gy[p] * mask[p]
    return gmask, gtrunk
