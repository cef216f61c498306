"""The same numbers in other places: reshape, transpose, indexing, concat."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from minran import backend, checks
from minran.autograd import Array, Tensor
from minran.ops.arithmetic import Arithmetic


class Reshape(Arithmetic):
    """y = x with other axes, in the same order; gx = gy with the axes of x."""

    def __init__(self, *shape: Any) -> None:
        self.new_shape = _unpack(shape)
        checks.expect_sizes(self.new_shape)

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        try:
            return x.reshape(self.new_shape)
        except ValueError as error:
            raise checks.no_arrangement(x, self.new_shape) from error

    def backward(self, gy: Array) -> tuple[Array]:
        return (gy.reshape(self.shape),)


class Transpose(Arithmetic):
    """y = x with its axes in the order `axes`; gx = gy with the order undone."""

    def __init__(self, *axes: Any) -> None:
        self.axes = _unpack(axes)

    def forward(self, x: Array) -> Array:
        order = self.axes or tuple(reversed(range(x.ndim)))
        checks.expect_order(order, x)
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
            raise checks.no_entry(x, error) from error

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
        checks.expect_joinable(arrays, self.axis)
        self.sizes = [array.shape[self.axis] for array in arrays]
        return backend.current().xp.concatenate(arrays, self.axis)

    def backward(self, gy: Array) -> tuple[Array, ...]:
        ends = [sum(self.sizes[: k + 1]) for k in range(len(self.sizes) - 1)]
        return tuple(backend.current().xp.split(gy, ends, self.axis))


def concat(tensors: Sequence[Tensor], axis: int = -1) -> Tensor:
    """The tensors one after another along `axis` (the channels, unless said).

    Raises ShapeError if they differ along another axis.
    """
    return Concat(axis)(*checks.tensors_to_join(tensors, axis, Tensor))
