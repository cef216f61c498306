"""Element-wise kernels and the attention activations: `elementwise.cu`, `attention.cu`."""

from __future__ import annotations

from typing import Any

from minran.backend.gpu.launch import (
    LINE,
    TILE,
    Array,
    Program,
    ceil_divide,
    empty,
    empty_like,
    operand,
    operands,
    stored,
    weight_dtype,
)
from minran.errors import expect

_ELEMENTWISE, _ATTENTION = Program("elementwise.cu"), Program("attention.cu")


def add(a: Array, b: Array, out: Array | None = None) -> Array:
    """a + b of one shape, written to `out` (which may be a or b) or to a new array."""
    expect(a.shape == b.shape, f"add: shapes differ, {a.shape} and {b.shape}")
    a, b = operands(a, b)
    # A kernel writes contiguous arrays of the right dtype only; any other `out` takes a copy.
    direct = out is not None and out.flags.c_contiguous and out.dtype == a.dtype
    y = out if direct else empty_like(a)
    _ELEMENTWISE.map(f"add<{stored(a.dtype)}>", a.size, a, b, y, a.size)
    if out is None or direct:
        return y
    out[...] = y
    return out


def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return _map("relu", x)


def relu_backward(gy: Array, y: Array) -> Array:
    """gx = gy where y > 0, else 0."""
    return _map("relu_backward", gy, y)


def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + exp(-x))."""
    return _map("sigmoid", x)


def sigmoid_backward(gy: Array, y: Array) -> Array:
    """gx = gy y (1 - y)."""
    return _map("sigmoid_backward", gy, y)


def _map(kernel: str, *arrays: Array) -> Array:
    """One new array out of arrays of its shape."""
    inputs = operands(*arrays)
    y = empty_like(inputs[0])
    _ELEMENTWISE.map(f"{kernel}<{stored(y.dtype)}>", y.size, *inputs, y, y.size)
    return y


def gate(mask: Array, trunk: Array, residual: bool) -> Array:
    """Eq. 3: H = (1 + M) T when `residual`, Eq. 1: H = M T when not."""
    mask, trunk = operands(mask, trunk)
    h = empty_like(trunk)
    kernel = f"gate<{stored(trunk.dtype)}>"
    _ELEMENTWISE.map(kernel, h.size, mask, trunk, h, residual, h.size)
    return h


def gate_backward(gy: Array, mask: Array, trunk: Array, residual: bool) -> tuple[Array, Array]:
    """gM = gy T; gT = gy (1 + M) when `residual`, gy M when not."""
    gy, mask, trunk = operands(gy, mask, trunk)
    gmask, gtrunk = empty_like(gy), empty_like(gy)
    kernel = f"gate_backward<{stored(gy.dtype)}>"
    _ELEMENTWISE.map(kernel, gy.size, gy, mask, trunk, gmask, gtrunk, residual, gy.size)
    return gmask, gtrunk


def channel_attention(x: Array, eps: float) -> tuple[Array, Array]:
    """Eq. 5: y = x / norm, norm = sqrt(sum_c x^2 + eps): (N, H, W, C), (N, H, W, 1)."""
    x = operand(x)
    number = weight_dtype(x.dtype)
    y, norm = empty_like(x), empty((*x.shape[:3], 1), number)
    kernel = f"channel_attention<{stored(x.dtype)}>"
    _ATTENTION.launch(kernel, (norm.size,), (LINE,), x, y, norm, number.type(eps), x.shape[3])
    return y, norm


def channel_attention_backward(gy: Array, y: Array, norm: Array) -> Array:
    """gx = (gy - y <gy, y>) / norm."""
    y, gy = operands(y, gy)
    norm = operand(norm, weight_dtype(y.dtype))
    gx = empty_like(gy)
    kernel = f"channel_attention_backward<{stored(gy.dtype)}>"
    _ATTENTION.launch(kernel, (norm.size,), (LINE,), gy, y, norm, gx, gy.shape[3])
    return gx


def spatial_attention(x: Array, eps: float) -> tuple[Array, Array, Array]:
    """Eq. 6: y = sigmoid((x - mean) inv_std) with mean and std of each (n, c) map.

    Returns y (N, H, W, C), mean and inv_std (N, 1, 1, C).
    """
    x = operand(x)
    number = weight_dtype(x.dtype)
    y, mean = empty_like(x), empty((len(x), 1, 1, x.shape[3]), number)
    inv_std = empty_like(mean)
    _launch_for_maps("spatial_attention", x, x, y, mean, inv_std, number.type(eps))
    return y, mean, inv_std


def spatial_attention_backward(gy: Array, x: Array, y: Array, mean: Array, inv_std: Array) -> Array:
    """gx = inv_std (g - mean g - xhat mean(g xhat)) with g = gy y (1 - y); means over the map."""
    x, gy, y = operands(x, gy, y)
    mean, inv_std = operands(mean, inv_std, dtype=weight_dtype(x.dtype))
    gx = empty_like(x)
    _launch_for_maps("spatial_attention_backward", x, gy, x, y, mean, inv_std, gx)
    return gx


def _launch_for_maps(kernel: str, x: Array, *args: Any) -> None:
    """Blocks for 16 maps of x (N, H, W, C) each."""
    n, height, width, channels = x.shape
    grid, sizes = (ceil_divide(channels, TILE), n), (height * width, channels)
    _ATTENTION.launch(f"{kernel}<{stored(x.dtype)}>", grid, (TILE, TILE), *args, *sizes)
