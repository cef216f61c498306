"""Element-wise kernels and the attention activations: `elementwise.cu`, `attention.cu`."""

from __future__ import annotations

from collections.abc import Sequence

from minran.backend.gpu import launch
from minran.backend.gpu.launch import Array, Program, empty, empty_like, operand, operands
from minran.errors import expect

_ELEMENTWISE, _ATTENTION = Program("elementwise.cu"), Program("attention.cu")


def _map(kernel: str, *arrays: Array) -> Array:
    """One new array out of arrays of its shape."""
    inputs = operands(*arrays)
    return _fill(kernel, empty_like(inputs[0]), inputs)


def _fill(kernel: str, y: Array, others: Sequence[Array], *numbers: int) -> Array:
    """Fill y, several neighbouring numbers at once where all arrays allow it."""
    piece = launch.piece_of(y, y.size, *others)
    return _ELEMENTWISE.fill(kernel, y, *others, y, *numbers, y.size, piece=piece)


relu, relu_backward = launch.pair_of(_map, "relu")
sigmoid, sigmoid_backward = launch.pair_of(_map, "sigmoid")


def add(a: Array, b: Array, out: Array | None = None) -> Array:
    """a + b of one shape, written to `out` (which may be a or b) or to a new array."""
    expect(a.shape == b.shape, f"add: shapes differ, {a.shape} and {b.shape}")
    a, b = operands(a, b)
    # A kernel writes contiguous arrays of the right dtype only; any other `out` takes a copy.
    direct = out is not None and out.flags.c_contiguous and out.dtype == a.dtype
    y = out if direct else empty_like(a)
    _fill("add", y, (a, b))
    if out is None or direct:
        return y
    out[...] = y
    return out


def gate(mask: Array, trunk: Array, residual: bool) -> Array:
    """Eq. 3: H = (1 + M) T when `residual`, Eq. 1: H = M T when not."""
    mask, trunk = operands(mask, trunk)
    return _fill("gate", empty_like(trunk), (mask, trunk), residual)


def gate_backward(gy: Array, mask: Array, trunk: Array, residual: bool) -> tuple[Array, Array]:
    """gM = gy T; gT = gy (1 + M) when `residual`, gy M when not."""
    gy, mask, trunk = operands(gy, mask, trunk)
    gmask, gtrunk = empty_like(gy), empty_like(gy)
    return gmask, _fill("gate_backward", gtrunk, (gy, mask, trunk, gmask), residual)


def sigmoid_gate(x: Array, trunk: Array, residual: bool) -> Array:
    """gate(sigmoid(x), trunk, residual): the mask M = sigmoid(x) is never stored."""
    x, trunk = operands(x, trunk)
    return _fill("sigmoid_gate", empty_like(trunk), (x, trunk), residual)


def sigmoid_gate_backward(gy: Array, x: Array, trunk: Array, residual: bool) -> tuple[Array, Array]:
    """gx = gy T M (1 - M), with M = sigmoid(x); gT as in `gate_backward`."""
    gy, x, trunk = operands(gy, x, trunk)
    gx, gtrunk = empty_like(gy), empty_like(gy)
    return gx, _fill("sigmoid_gate_backward", gtrunk, (gy, x, trunk, gx), residual)


def channel_attention(x: Array, eps: float) -> tuple[Array, Array]:
    """Eq. 5: y = x / norm, norm = sqrt(sum_c x^2 + eps): (N, H, W, C), (N, H, W, 1)."""
    x = operand(x)
    number = launch.weight_dtype(x.dtype)
    y, norm = empty_like(x), empty((*x.shape[:3], 1), number)
    args = x, y, norm, number.type(eps), x.shape[3]
    _ATTENTION.lines("channel_attention", x, norm.size, *args)
    return y, norm


def channel_attention_backward(gy: Array, y: Array, norm: Array) -> Array:
    """gx = (gy - y <gy, y>) / norm."""
    y, gy = operands(y, gy)
    norm = operand(norm, launch.weight_dtype(y.dtype))
    gx = empty_like(gy)
    args = gy, y, norm, gx, gy.shape[3]
    _ATTENTION.lines("channel_attention_backward", gy, norm.size, *args)
    return gx


def spatial_attention(x: Array, eps: float) -> tuple[Array, Array, Array]:
    """Eq. 6: y = sigmoid((x - mean) inv_std) with mean and std of each (n, c) map.

    Returns y (N, H, W, C), mean and inv_std (N, 1, 1, C).
    """
    x = operand(x)
    number = launch.weight_dtype(x.dtype)
    n, height, width, channels = x.shape
    y, mean = empty_like(x), empty((n, 1, 1, channels), number)
    inv_std = empty_like(mean)
    args = x, y, mean, inv_std, number.type(eps), height * width, channels
    _ATTENTION.tiles("spatial_attention", x, channels, (n,), *args)
    return y, mean, inv_std


def spatial_attention_backward(gy: Array, x: Array, y: Array, mean: Array, inv_std: Array) -> Array:
    """gx = inv_std (g - mean g - xhat mean(g xhat)) with g = gy y (1 - y); means over the map."""
    x, gy, y = operands(x, gy, y)
    mean, inv_std = operands(mean, inv_std, dtype=launch.weight_dtype(x.dtype))
    n, height, width, channels = x.shape
    gx = empty_like(x)
    args = gy, x, y, mean, inv_std, gx, height * width, channels
    _ATTENTION.tiles("spatial_attention_backward", x, channels, (n,), *args)
    return gx
