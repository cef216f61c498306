"""Arithmetic on tensors: + - * / ** @, reductions, reshape, transpose, concat, indexing.

The element-wise operators broadcast as NumPy does; the backward pass of a broadcast is the
sum over the axes along which a value was repeated (`_unbroadcast`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

from minran import backend
from minran.autograd import Array, Axis, Op, Tensor, as_array
from minran.errors import NoEntryError, ShapeError, expect, expect_whole, shortened


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


def _expect_numbers(op: str, *arrays: Array) -> None:
    for array in arrays:
        expect(array.dtype != bool, f"{op}: truth values are no numbers; make them floats or ints")


class Arithmetic(Op):
    """An operation that NumPy defines for whole numbers too, and that is taken as it is there."""

    whole_numbers = True


class Add(Arithmetic):
    """y = a + b; ga = gy, gb = gy."""

    def forward(self, a: Array, b: Array) -> Array:
        _expect_broadcastable("add", a, b)
        self.shapes = a.shape, b.shape
        if a.shape == b.shape and a.dtype == b.dtype:
            return backend.current().add(a, b)
        return a + b

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return _unbroadcast(gy, self.shapes[0]), _unbroadcast(gy, self.shapes[1])


class Sub(Arithmetic):
    """y = a - b; ga = gy, gb = -gy."""

    def forward(self, a: Array, b: Array) -> Array:
        _expect_broadcastable("sub", a, b)
        _expect_numbers("sub", a, b)
        self.shapes = a.shape, b.shape
        return a - b

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return _unbroadcast(gy, self.shapes[0]), _unbroadcast(-gy, self.shapes[1])


class Mul(Arithmetic):
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


class Div(Arithmetic):
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


class Neg(Arithmetic):
    """y = -x; gx = -gy."""

    def forward(self, x: Array) -> Array:
        _expect_numbers("neg", x)
        return -x

    def backward(self, gy: Array) -> tuple[Array]:
        return (-gy,)


class Pow(Arithmetic):
    """y = x^n for a constant n; gx = gy n x^(n-1)."""

    def __init__(self, exponent: float) -> None:
        self.exponent = exponent

    def forward(self, x: Array) -> Array:
        expect(
            backend.is_floating(x.dtype) or self.exponent >= 0,
            f"pow: whole numbers ({x.dtype}) have no power {self.exponent}; make them floats",
        )
        self.x = x
        return _power(x, self.exponent)

    def backward(self, gy: Array) -> tuple[Array]:
        if self.exponent == 0:  # 0 x^-1 would be NaN at 0
            return (backend.current().xp.zeros_like(gy),)
        return (gy * (self.exponent * _power(self.x, self.exponent - 1)),)


def _power(x: Array, exponent: float) -> Array:
    """x ** exponent; at -0 and -infinity, roots are those of `sqrt` (NumPy takes it for 1/2)."""
    return 1 / backend.current().xp.sqrt(x) if exponent == -0.5 else x**exponent


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


class Sum(Arithmetic):
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


class Max(Arithmetic):
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


class Reshape(Arithmetic):
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


class Transpose(Arithmetic):
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


class Index(Arithmetic):
    """y = x[index]; gx is zero except gx[index] += gy (an entry picked twice adds up)."""

    def __init__(self, index: Any) -> None:
        # Lists and arrays are copied: who made them may go on writing into them.
        parts = tuple(map(_copied, index)) if isinstance(index, tuple) else _copied(index)
        self.index = parts

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        try:
            return backend.current().xp.asarray(x[self.index])
        except (IndexError, TypeError, ValueError) as error:
            raise NoEntryError(f"index: {error} (a tensor of shape {tuple(x.shape)})") from error

    def backward(self, gy: Array) -> tuple[Array]:
        xp = backend.current().xp
        gx = xp.zeros(self.shape, gy.dtype)
        xp.add.at(gx, self.index, gy)
        return (gx,)


def _copied(index: Any) -> Any:
    if isinstance(index, Tensor):
        return index.data.copy()
    return copy.deepcopy(index) if isinstance(index, list) or hasattr(index, "dtype") else index


class Concat(Arithmetic):
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
    given = (
        list(tensors) if isinstance(tensors, Iterable) and not isinstance(tensors, Tensor) else ()
    )
    expect(len(given) > 0, f"concat: expected tensors, at least one, got {shortened(tensors)}")
    expect_whole(axis, "concat: axis", -math.inf)
    return Concat(axis)(*tensors)


def as_tensor(value: Any, like: Tensor) -> Tensor:
    """`value` as a Tensor; what is no float takes the dtype of `like` if that is a float's."""
    if isinstance(value, Tensor):
        if backend.is_floating(value.data.dtype) or not backend.is_floating(like.data.dtype):
            return value
        return Tensor(value.data.astype(like.dtype))
    array = as_array(value, None, "arithmetic: an operand")
    return Tensor(array.astype(like.dtype) if backend.is_floating(like.dtype) else array)
