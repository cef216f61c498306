"""The same numbers in other places: reshape, transpose, indexing, concat."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from minran import backend
from minran.autograd import Array, Tensor
from minran.errors import NoEntryError, ShapeError, expect, expect_whole, shortened
from minran.ops.arithmetic import Arithmetic


class Reshape(Arithmetic):
    """y = x with other axes, in the same order; gx = gy with the axes of x."""

    def __init__(self, *shape: Any) -> None:
        self.new_shape = _unpack(shape)
        good = all(isinstance(size, Integral) for size in self.new_shape)
        expect(good, f"reshape: no sizes: {self.new_shape}")

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

    def __init__(self, *axes: Any) -> None:
        self.axes = _unpack(axes)

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


def _unpack(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
    """f((2, 3)) and f([2, 3]) mean f(2, 3)."""
    one = len(numbers) == 1 and isinstance(numbers[0], tuple | list)
    return tuple(numbers[0]) if one else numbers


class Index(Arithmetic):
    """y = x[index]; gx is zero except gx[index] += gy (an entry picked twice adds up)."""

    def __init__(self, index: Any) -> None:
        # Lists and arrays are copied: who made them may go on writing into them.
        self.index = tuple(map(_copied, index)) if isinstance(index, tuple) else _copied(index)

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
    many = isinstance(tensors, Iterable) and not isinstance(tensors, Tensor)
    given = list(tensors) if many else []
    if not given or not all(isinstance(one, Tensor) for one in given):
        raise ShapeError(f"concat: expected tensors, at least one, got {shortened(tensors)}")
    expect_whole(axis, "concat: axis", -math.inf)
    return Concat(axis)(*given)
