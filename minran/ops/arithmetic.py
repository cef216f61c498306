"""Arithmetic on tensors: + - * / ** @, exp, log, sqrt, sums and maxima.

The element-wise operators broadcast as NumPy does; the backward pass of a broadcast is the
sum over the axes along which a value was repeated (`_unbroadcast`).
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from minran import backend
from minran.autograd import Array, Axis, Op, Tensor, as_array
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


def _expect_numbers(op: str, *arrays: Array) -> None:
    for array in arrays:
        expect(array.dtype != bool, f"{op}: truth values are no numbers; make them floats or ints")


class Arithmetic(Op):
    """An operation that NumPy defines for whole numbers too, and that is taken as it is there."""

    whole_numbers = True


class Binary(Op):
    """An operator between two values; one of them may be a number or an array."""

    def __call__(self, *values: Any) -> Tensor:
        """What is no float takes the dtype of the other value if that is a float's."""
        if len(values) == 2:
            a, b = values
            a = a if isinstance(a, Tensor) else _as_tensor(a, b)
            b = _as_tensor(b, a)
            values = _as_tensor(a, b), b
        return super().__call__(*values)


def _as_tensor(value: Any, other: Tensor) -> Tensor:
    fractions = backend.is_floating(other.data.dtype)
    if not isinstance(value, Tensor):
        array = as_array(value, None, "arithmetic: an operand")
        return Tensor(array.astype(other.dtype) if fractions else array)
    if fractions and not backend.is_floating(value.data.dtype):
        return Tensor(value.data.astype(other.dtype))
    return value


class Add(Arithmetic, Binary):
    """y = a + b; ga = gy, gb = gy."""

    def forward(self, a: Array, b: Array) -> Array:
        _expect_broadcastable("add", a, b)
        self.shapes = a.shape, b.shape
        if a.shape == b.shape and a.dtype == b.dtype:
            return backend.current().add(a, b)
        return a + b

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return _unbroadcast(gy, self.shapes[0]), _unbroadcast(gy, self.shapes[1])


class Sub(Arithmetic, Binary):
    """y = a - b; ga = gy, gb = -gy."""

    def forward(self, a: Array, b: Array) -> Array:
        _expect_broadcastable("sub", a, b)
        _expect_numbers("sub", a, b)
        self.shapes = a.shape, b.shape
        return a - b

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return _unbroadcast(gy, self.shapes[0]), _unbroadcast(-gy, self.shapes[1])


class Mul(Arithmetic, Binary):
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


class Div(Arithmetic, Binary):
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
        expect(
            isinstance(exponent, Real),
            f"x ** n: the exponent must be a number, got {type(exponent).__name__}",
        )
        # A NumPy number would impose its own precision on the result; a Python number does not.
        self.exponent = int(exponent) if isinstance(exponent, Integral) else float(exponent)

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


class MatMul(Binary):
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


class Reduction(Arithmetic):
    """An operation over `axis`: one or several axes, or all if None."""

    name: str

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def expect_axis(self, x: Array) -> None:
        """Raise ShapeError unless x has the axes."""
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        axes = () if self.axis is None else axes
        good = all(isinstance(a, Integral) and -x.ndim <= a < x.ndim for a in axes)
        expect(
            good and len({a % x.ndim for a in axes}) == len(axes),
            f"{self.name}: axis {self.axis} does not fit a tensor of shape {tuple(x.shape)}",
        )

    def spread(self, gy: Array) -> Array:
        """gy with the axes that the reduction dropped, each of length 1."""
        dropped = self.axis is not None and not self.keepdims
        return backend.current().xp.expand_dims(gy, self.axis) if dropped else gy


class Sum(Reduction):
    """y = sum of x over `axis`; gx = gy, repeated along it."""

    name = "sum"

    def forward(self, x: Array) -> Array:
        self.expect_axis(x)
        self.shape = x.shape
        return backend.current().xp.asarray(x.sum(self.axis, keepdims=self.keepdims))

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().xp.broadcast_to(self.spread(gy), self.shape).copy(),)


class Mean(Sum):
    """y = mean of the n values of x along `axis`; gx = gy / n, repeated along it."""

    name = "mean"

    def forward(self, x: Array) -> Array:
        total = super().forward(x)
        expect(x.size > 0, f"mean: there is nothing to average in shape {tuple(x.shape)}")
        share = total.size / x.size
        # A Python number would make float32 of bfloat16; of whole numbers the mean has fractions.
        self.share = total.dtype.type(share) if backend.is_floating(total.dtype) else share
        return total * self.share

    def backward(self, gy: Array) -> tuple[Array]:
        return super().backward(gy * self.share)


class Max(Reduction):
    """y = max of x over `axis`; gx = gy at the maximum (shared equally by equal maxima)."""

    name = "max"

    def forward(self, x: Array) -> Array:
        self.expect_axis(x)
        expect(x.size > 0, f"max: there is no maximum in shape {tuple(x.shape)}")
        y = x.max(self.axis, keepdims=True)
        hits = (x == y).astype(x.dtype)
        self.share = hits / hits.sum(self.axis, keepdims=True)
        return y if self.keepdims else backend.current().xp.asarray(x.max(self.axis))

    def backward(self, gy: Array) -> tuple[Array]:
        return (self.spread(gy) * self.share,)
