"""Element-wise kernels: ReLU, sigmoid, the paper's three attention activations, the gate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minran.backend.cpu.blocks import map_blocks, masked
from minran.backend.cpu.memory import empty_like

Array = np.ndarray


def add(a: Array, b: Array, out: Array | None = None) -> Array:
    """a + b of one shape, written to `out` (which may be a or b) or to a new array."""
    return _elementwise(np.add, a, b, out=out)


def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return _elementwise(lambda p, r: np.maximum(p, 0, out=r), x)


def relu_backward(gy: Array, y: Array) -> Array:
    """gx = gy where y is not 0, else 0: at the kink 0, at NaN gy, as in PyTorch."""
    return _elementwise(lambda g, q, r: masked(g, q != 0, out=r), gy, y)


def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + exp(-x)); exp overflows to infinity for very negative x, and y is 0."""

    def block(p: Array, r: Array) -> None:
        with np.errstate(over="ignore"):
            np.exp(np.negative(p, out=r), out=r)
            np.reciprocal(np.add(r, 1, out=r), out=r)

    return _elementwise(block, x)


def sigmoid_backward(gy: Array, y: Array) -> Array:
    """gx = gy y (1 - y)."""

    def block(g: Array, q: Array, r: Array) -> None:
        np.subtract(1, q, out=r)
        np.multiply(r, q, out=r)
        np.multiply(r, g, out=r)

    return _elementwise(block, gy, y)


def channel_attention(x: Array, eps: float) -> tuple[Array, Array]:
    """Eq. 5: y = x / norm, norm = sqrt(sum_c x^2 + eps): (N, H, W, C), (N, H, W, 1)."""
    norm = np.sqrt(np.einsum("nhwc,nhwc->nhw", x, x)[..., None] + x.dtype.type(eps))
    return x / norm, norm


def channel_attention_backward(gy: Array, y: Array, norm: Array) -> Array:
    """gx = (gy - y <gy, y>) / norm: the part of gy along y only changes the length."""
    along = np.einsum("nhwc,nhwc->nhw", gy, y)[..., None]
    return (gy - y * along) / norm


def spatial_attention(x: Array, eps: float) -> tuple[Array, Array, Array]:
    """Eq. 6: y = sigmoid((x - mean) inv_std) with mean and std of each (n, c) map.

    Returns y (N, H, W, C), mean and inv_std (N, 1, 1, C).
    """
    # In float64 the mean of a constant map is that constant, and nothing else is left of it.
    mean = x.mean((1, 2), np.float64, keepdims=True).astype(x.dtype)
    centred = x - mean
    inv_std = 1 / np.sqrt(np.square(centred).mean((1, 2), keepdims=True) + x.dtype.type(eps))
    return sigmoid(centred * inv_std), mean, inv_std


def spatial_attention_backward(gy: Array, x: Array, y: Array, mean: Array, inv_std: Array) -> Array:
    """gx = inv_std (g - mean g - xhat mean(g xhat)) with g = gy y (1 - y); means over the map."""
    g = sigmoid_backward(gy, y)
    normalised = (x - mean) * inv_std
    along = (g * normalised).mean((1, 2), keepdims=True)
    return inv_std * (g - g.mean((1, 2), keepdims=True) - normalised * along)


def gate(mask: Array, trunk: Array, residual: bool) -> Array:
    """Eq. 3: H = (1 + M) T when `residual`, Eq. 1: H = M T when not.

    (1 + M) T is calculated as M T + T. Of an infinite T and an M of 0 that would be NaN; the
    processor notices (an invalid operation), and the sum comes first.
    """

    def block(m: Array, t: Array, r: Array) -> None:
        try:
            with np.errstate(invalid="raise"):
                np.add(np.multiply(m, t, out=r), t, out=r)
        except FloatingPointError:
            np.multiply(np.add(m, 1, out=r), t, out=r)

    return _elementwise(block if residual else np.multiply, mask, trunk)


def gate_backward(gy: Array, mask: Array, trunk: Array, residual: bool) -> tuple[Array, Array]:
    """gM = gy T; gT = gy (1 + M) when `residual`, gy M when not."""
    return _elementwise(np.multiply, gy, trunk), gate(mask, gy, residual)


def _elementwise(
    function: Callable[..., object], *arrays: Array, out: Array | None = None
) -> Array:
    """Run `function(*blocks, out_block)` over blocks of arrays that have one shape."""
    y = empty_like(arrays[0]) if out is None else out
    if y.ndim == 0:
        function(*arrays, y)
    else:
        operands = *arrays, y
        map_blocks(lambda part: function(*(a[part] for a in operands)), len(y), y[:1].nbytes)
    return y
