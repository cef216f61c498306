"""Arithmetic on tensors: + - * / ** @, reductions, reshape, transpose, concat, indexing.

The element-wise operators broadcast as NumPy does; the backward pass of a broadcast is the
sum over the axes along which a value was repeated (`_unbroadcast`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minran import backend
from minran.autograd import Array, Axis, Op, Tensor
from minran.errors import ShapeError, expect


def _unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum `grad` over the axes that broadcasting from `shape` added or stretched."""
    if tuple(grad.shape) == shape:
        return grad
    added = grad.ndim - len(shape)
    stretched = tuple(
        added + axis
        for axis, size in enumerate(shape)
        if size == 1 and grad.shape[added + axis] != 1
    )
    return grad.sum((*range(added), *stretched), keepdims=True).reshape(shape)


def _expect_broadcastable(op: str, a: Array, b: Array) -> None:
    for m, n in zip(reversed(a.shape), reversed(b.shape), strict=False):
        if m != n and m != 1 and n != 1:
            raise ShapeError(
                f"{op}: shapes {tuple(a.shape)} and {tuple(b.shape)} do not broadcast together"
            )


class Add(Op):
    """y = a + b; ga = gy, gb = gy."""

    def forward(self, a: Array, b: Array) -> Array:
        _expect_broadcastable("add", a, b)
        self.shapes = a.shape, b.shape
        if a.shape == b.shape and a.dtype == b.dtype:
            return backend.current().add(a, b)
        return a + b

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return _unbroadcast(gy, self.shapes[0]), _unbroadcast(gy, self.shapes[1])


class Sub(Op):
    """y = a - b; ga = gy, gb = -gy."""

    def forward(self, a: Array, b: Array) -> Array:
        _expect_broadcastable("sub", a, b)
        self.shapes = a.shape, b.shape
        return a - b

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return _unbroadcast(gy, self.shapes[0]), _unbroadcast(-gy, self.shapes[1])


class Mul(Op):
    """y = a b; ga = gy b, gb = gy a."""

    def forward(self, a: Array, b: Array) -> Array:
        _expect_broadcastable("mul", a, b)
        self.a, self.b = a, b
        return a * b

    def backward(self, gy: Array) -> tuple[Array | None, Array | None]:
        return (
            _unbroadcast(gy * self.b, self.a.shape) if self.needs[0] else None,
            _unbroadcast(gy * self.a, self.b.shape) if self.needs[1] else None,
        )


class Div(Op):
    """y = a / b; ga = gy / b, gb = -gy a / b^2."""

    def forward(self, a: Array, b: Array) -> Array:
        _expect_broadcastable("div", a, b)
        self.a, self.b = a, b
        return a / b

    def backward(self, gy: Array) -> tuple[Array | None, Array | None]:
        ga = gy / self.b
        return (
            _unbroadcast(ga, self.a.shape),
            _unbroadcast(-ga * self.a / self.b, self.b.shape) if self.needs[1] else None,
        )


class Neg(Op):
    """y = -x; gx = -gy."""

    def forward(self, x: Array) -> Array:
        return -x

    def backward(self, gy: Array) -> tuple[Array]:
        return (-gy,)


class Pow(Op):
    """y = x^n for a constant n; gx = gy n x^(n-1)."""

    def __init__(self, exponent: float) -> None:
        self.exponent = exponent

    def forward(self, x: Array) -> Array:
        self.x = x
        return x**self.exponent

    def backward(self, gy: Array) -> tuple[Array]:
        return (gy * (self.exponent * self.x ** (self.exponent - 1)),)


class Exp(Op):
    """y = e^x; gx = gy y."""

    def forward(self, x: Array) -> Array:
        self.y = backend.current().xp.exp(x)
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (gy * self.y,)


class Log(Op):
    """y = log x; gx = gy / x."""

    def forward(self, x: Array) -> Array:
        self.x = x
        return backend.current().xp.log(x)

    def backward(self, gy: Array) -> tuple[Array]:
        return (gy / self.x,)


class Sqrt(Op):
    """y = sqrt x; gx = gy / (2 y)."""

    def forward(self, x: Array) -> Array:
        self.y = backend.current().xp.sqrt(x)
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (gy / (2 * self.y),)


class MatMul(Op):
    """y = a @ b for matrices a (M, K) and b (K, N); ga = gy b^T, gb = a^T gy."""

    def forward(self, a: Array, b: Array) -> Array:
        expect(
            a.ndim == 2 and b.ndim == 2 and a.shape[1] == b.shape[0],
            f"matmul: expected (M, K) @ (K, N), got {tuple(a.shape)} @ {tuple(b.shape)}",
        )
        self.a, self.b = a, b
        return a @ b

    def backward(self, gy: Array) -> tuple[Array | None, Array | None]:
        return (
            gy @ self.b.T if self.needs[0] else None,
            self.a.T @ gy if self.needs[1] else None,
        )


class Sum(Op):
    """y = sum of x over `axis`; gx = gy, repeated along it."""

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return backend.current().xp.asarray(x.sum(self.axis, keepdims=self.keepdims))

    def backward(self, gy: Array) -> tuple[Array]:
        xp = backend.current().xp
        if self.axis is not None and not self.keepdims:
            gy = xp.expand_dims(gy, self.axis)
        return (xp.broadcast_to(gy, self.shape).copy(),)


class Max(Op):
    """y = max of x over `axis`; gx = gy at the maximum (shared equally by equal maxima)."""

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x: Array) -> Array:
        y = x.max(self.axis, keepdims=True)
        hits = (x == y).astype(x.dtype)
        self.share = hits / hits.sum(self.axis, keepdims=True)
        return y if self.keepdims else backend.current().xp.asarray(x.max(self.axis))

    def backward(self, gy: Array) -> tuple[Array]:
        if self.axis is not None and not self.keepdims:
            gy = backend.current().xp.expand_dims(gy, self.axis)
        return (gy * self.share,)


class Reshape(Op):
    """y = x with other axes, in the same order; gx = gy with the axes of x."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.new_shape = shape

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        try:
            return x.reshape(self.new_shape)
        except ValueError as error:
            message = f"reshape: cannot arrange {tuple(x.shape)} as {self.new_shape}"
            raise ShapeError(message) from error

    def backward(self, gy: Array) -> tuple[Array]:
        return (gy.reshape(self.shape),)


class Transpose(Op):
    """y = x with its axes in the order `axes`; gx = gy with the order undone."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        order = self.axes or tuple(reversed(range(x.ndim)))
        expect(
            sorted(order) == list(range(x.ndim)),
            f"transpose: axes {order} are no order of the {x.ndim} axes of {tuple(x.shape)}",
        )
        self.undo = tuple(sorted(range(x.ndim), key=lambda axis: order[axis]))
        return x.transpose(order)

    def backward(self, gy: Array) -> tuple[Array]:
        return (gy.transpose(self.undo),)


class Index(Op):
    """y = x[index]; gx is zero except gx[index] += gy (an entry picked twice adds up)."""

    def __init__(self, index: Any) -> None:
        self.index = index

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return backend.current().xp.asarray(x[self.index])

    def backward(self, gy: Array) -> tuple[Array]:
        xp = backend.current().xp
        gx = xp.zeros(self.shape, gy.dtype)
        xp.add.at(gx, self.index, gy)
        return (gx,)


class Concat(Op):
    """y = the inputs one after another along `axis`; each gets its own part of gy back."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays: Array) -> Array:
        first = tuple(arrays[0].shape)
        expect(-len(first) <= self.axis < len(first), f"concat: {first} has no axis {self.axis}")
        axis = self.axis % len(first)
        for array in arrays[1:]:
            shape = tuple(array.shape)
            same = [a == axis or m == n for a, (m, n) in enumerate(zip(first, shape, strict=False))]
            expect(
                len(shape) == len(first) and all(same),
                f"concat: all axes but {self.axis} must agree, got {first} and {shape}",
            )
        self.sizes = [array.shape[axis] for array in arrays]
        return backend.current().xp.concatenate(arrays, axis)

    def backward(self, gy: Array) -> tuple[Array, ...]:
        ends = [sum(self.sizes[: k + 1]) for k in range(len(self.sizes) - 1)]
        return tuple(backend.current().xp.split(gy, ends, self.axis))


def concat(tensors: Sequence[Tensor], axis: int = -1) -> Tensor:
    """The tensors one after another along `axis` (the channels, unless said).

    Raises ShapeError if they differ along another axis.
    """
    expect(len(tensors) > 0, "concat: expected at least one tensor, got none")
    return Concat(axis)(*tensors)


def as_tensor(value: Any, like: Tensor) -> Tensor:
    """`value` as a Tensor; a number or an array takes the dtype of `like` if that is a float's."""
    if isinstance(value, Tensor):
        return value
    array = backend.current().xp.asarray(value)
    expect(array.dtype.kind in "fiub", f"arithmetic: expected a number or numbers, got {value!r}")
    return Tensor(array.astype(like.dtype) if backend.is_floating(like.dtype) else array)
