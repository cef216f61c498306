"""The operators and methods of `Tensor`: `a + b` is `Add()(a, b)`, `x.exp()` is `Exp()(x)`."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from minran.autograd import Axis, Op, Tensor
from minran.errors import expect
from minran.ops.arithmetic import (
    Add,
    Div,
    Exp,
    Log,
    MatMul,
    Max,
    Mul,
    Neg,
    Pow,
    Sqrt,
    Sub,
    Sum,
    as_tensor,
)
from minran.ops.shape import Index, Reshape, Transpose


def _pow(x: Tensor, exponent: float) -> Tensor:
    expect(
        isinstance(exponent, Real),
        f"x ** n: the exponent must be a number, got {type(exponent).__name__}",
    )
    # A NumPy number would impose its own precision on the result; a Python number does not.
    return Pow(int(exponent) if isinstance(exponent, Integral) else float(exponent))(x)


def _sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over `axis` (all axes if None)."""
    _expect_axis("sum", x, axis)
    return Sum(axis, keepdims)(x)


def _mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over `axis` (all axes if None)."""
    _expect_axis("mean", x, axis)
    expect(x.size > 0, f"mean: there is nothing to average in shape {x.shape}")
    total = Sum(axis, keepdims)(x)
    return total * (total.size / x.size)


def _max(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The maximum over `axis` (all axes if None)."""
    _expect_axis("max", x, axis)
    expect(x.size > 0, f"max: there is no maximum in shape {x.shape}")
    return Max(axis, keepdims)(x)


def _reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same numbers with other axes; one size may be -1."""
    sizes = _unpack(shape)
    expect(all(isinstance(size, Integral) for size in sizes), f"reshape: no sizes: {sizes}")
    return Reshape(sizes)(x)


def _transpose(x: Tensor, *axes: Any) -> Tensor:
    """The axes in another order; reversed if none is given."""
    return Transpose(_unpack(axes))(x)


def _unpack(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
    """f((2, 3)) and f([2, 3]) mean f(2, 3)."""
    if len(numbers) == 1 and isinstance(numbers[0], (tuple, list)):
        return tuple(numbers[0])
    return numbers


def _expect_axis(op: str, x: Tensor, axis: Axis) -> None:
    axes = axis if isinstance(axis, tuple) else () if axis is None else (axis,)
    good = all(isinstance(a, Integral) and -x.ndim <= a < x.ndim for a in axes)
    expect(
        good and len({a % x.ndim for a in axes}) == len(axes),
        f"{op}: axis {axis} does not fit a tensor of shape {x.shape}",
    )


def _binary(op: type[Op]) -> Callable[[Tensor, Any], Tensor]:
    def operator(a: Tensor, b: Any) -> Tensor:
        b = as_tensor(b, a)
        return op()(as_tensor(a, b), b)

    return operator


def _reversed(op: type[Op]) -> Callable[[Tensor, Any], Tensor]:
    operator = _binary(op)
    return lambda b, a: operator(as_tensor(a, b), b)


def install() -> None:
    """Set the operators on `Tensor`; called once, when `minran.ops` is imported."""
    methods: dict[str, Any] = {
        "__add__": _binary(Add),
        "__radd__": _reversed(Add),
        "__sub__": _binary(Sub),
        "__rsub__": _reversed(Sub),
        "__mul__": _binary(Mul),
        "__rmul__": _reversed(Mul),
        "__truediv__": _binary(Div),
        "__rtruediv__": _reversed(Div),
        "__neg__": lambda x: Neg()(x),
        "__pow__": _pow,
        "__matmul__": _binary(MatMul),
        "__rmatmul__": _reversed(MatMul),
        "__getitem__": lambda x, index: Index(index)(x),
        "sum": _sum,
        "mean": _mean,
        "max": _max,
        "reshape": _reshape,
        "transpose": _transpose,
        "exp": lambda x: Exp()(x),
        "log": lambda x: Log()(x),
        "sqrt": lambda x: Sqrt()(x),
    }
    for name, method in methods.items():
        setattr(Tensor, name, method)
