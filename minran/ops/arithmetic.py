"""Arithmetic on tensors: + - * / ** @, exp, log, sqrt, sums and maxima.

The element-wise operators broadcast as NumPy does; the backward pass of a broadcast is the
sum over the axes along which a value was repeated (`_unbroadcast`).
"""

from __future__ import annotations

from typing import Any

from minran import backend, checks
from minran.autograd import Array, Axis, Op, Tensor


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


class Arithmetic(Op):
    """An operation that NumPy defines for whole numbers too, and that is taken as it is there."""

    whole_numbers = True


class Binary(Arithmetic):
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
        array = checks.as_array(value, None, "arithmetic: an operand")
    elif fractions and not backend.is_floating(value.data.dtype):
        array = value.data
    else:
        return value
    return Tensor(array.astype(other.dtype) if fractions else array)


class Add(Binary):
    """y = a + b; ga = gy, gb = gy."""

    def forward(self, a: Array, b: Array) -> Array:
        checks.expect_broadcastable("add", a, b)
        self.shapes = a.shape, b.shape
        if a.shape == b.shape and a.dtype == b.dtype:
            return backend.current().add(a, b)
        return a + b

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return _unbroadcast(gy, self.shapes[0]), _unbroadcast(gy, self.shapes[1])


class Sub(Binary):
    """y = a - b; ga = gy, gb = -gy."""

    def forward(self, a: Array, b: Array) -> Array:
        checks.expect_broadcastable("sub", a, b)
        checks.expect_no_truth("sub", a, b)
        self.shapes = a.shape, b.shape
        return a - b

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return _unbroadcast(gy, self.shapes[0]), _unbroadcast(-gy, self.shapes[1])


class Mul(Binary):
    """y = a b; ga = gy b, gb = gy a."""

    def forward(self, a: Array, b: Array) -> Array:
        checks.expect_broadcastable("mul", a, b)
        self.a, self.b = a, b
        return a * b

    def backward(self, gy: Array) -> tuple[Array | None, Array | None]:
        return (
            _unbroadcast(gy * self.b, self.a.shape) if self.needs[0] else None,
            _unbroadcast(gy * self.a, self.b.shape) if self.needs[1] else None,
        )


class Div(Binary):
    """y = a / b; ga = gy / b, gb = -gy a / b^2."""

    def forward(self, a: Array, b: Array) -> Array:
        checks.expect_broadcastable("div", a, b)
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
        checks.expect_no_truth("neg", x)
        return -x

    def backward(self, gy: Array) -> tuple[Array]:
        return (-gy,)


class Pow(Arithmetic):
    """y = x^n for a constant n; gx = gy n x^(n-1)."""

    def __init__(self, exponent: float) -> None:
        self.exponent = checks.constant_exponent(exponent)

    def forward(self, x: Array) -> Array:
        checks.expect_power(x, self.exponent)
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

    whole_numbers = False

    def forward(self, a: Array, b: Array) -> Array:
        checks.expect_product("matmul: expected (M, K) @ (K, N)", a, b, "@")
        self.a, self.b = a, b
        return a @ b

    def backward(self, gy: Array) -> tuple[Array | None, Array | None]:
        return (
            gy @ self.b.T if self.needs[0] else None,
            self.a.T @ gy if self.needs[1] else None,
        )


class Reduction(Arithmetic):
    """An operation over `axis`: one or several axes, or all if None."""

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def spread(self, gy: Array) -> Array:
        """gy with the axes that the reduction dropped, each of length 1."""
        dropped = self.axis is not None and not self.keepdims
        return backend.current().xp.expand_dims(gy, self.axis) if dropped else gy


class Sum(Reduction):
    """y = sum of x over `axis`; gx = gy, repeated along it."""

    def forward(self, x: Array) -> Array:
        checks.expect_axis(self, x)
        self.shape = x.shape
        return backend.current().xp.asarray(x.sum(self.axis, keepdims=self.keepdims))

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().xp.broadcast_to(self.spread(gy), self.shape).copy(),)


class Mean(Sum):
    """y = mean of the n values of x along `axis`; gx = gy / n, repeated along it."""

    def forward(self, x: Array) -> Array:
        total = super().forward(x)
        checks.expect_some(x, "mean: there is nothing to average")
        share = total.size / x.size
        # A Python number would make float32 of bfloat16; of whole numbers the mean has fractions.
        self.share = total.dtype.type(share) if backend.is_floating(total.dtype) else share
        return total * self.share

    def backward(self, gy: Array) -> tuple[Array]:
        return super().backward(gy * self.share)


class Max(Reduction):
    """y = max of x over `axis`; gx = gy at the maximum (shared equally by equal maxima)."""

    def forward(self, x: Array) -> Array:
        checks.expect_axis(self, x)
        checks.expect_some(x, "max: there is no maximum")
        y = x.max(self.axis, keepdims=True)
        hits = (x == y).astype(x.dtype)
        self.share = hits / hits.sum(self.axis, keepdims=True)
        return y if self.keepdims else y.squeeze(self.axis)

    def backward(self, gy: Array) -> tuple[Array]:
        return (self.spread(gy) * self.share,)
