"""Op: a differentiable operation, and the context of one call of it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from minran import backend
from minran.autograd.recording import is_recording
from minran.autograd.tensor import Array, Tensor
from minran.errors import GradientError, ShapeError

_clock = itertools.count()

watch_forward: ContextVar[Callable[[Op, tuple[Any, ...]], Array] | None] = ContextVar(
    "watch_forward", default=None
)
"""For those who look on: called in the place of `op.forward(*arrays)`, as watch(op, arrays)."""


class Op:
    """One call of a differentiable operation.

    A subclass takes its options in `__init__`, computes in `forward(*arrays)` and assigns to
    `self` what `backward(gy)` needs. `backward` returns one gradient (or None) per input: an
    array of its own, or gy or a view of it; gy itself must stay as it is, others may read it.
    Calling the instance on tensors runs it: once, for `self` holds what belongs to that call.

    What `forward` kept of its inputs and of its result must not change before `backward`, which
    would mix two points. It is looked for among the attributes of `self` (arrays, views of them,
    and tuples, lists or dicts of these), and `Tensor.version` tells.
    """

    whole_numbers = False
    """Whether inputs may be whole numbers or booleans; most operations compute with fractions."""

    inputs: tuple[Tensor | None, ...] | None
    order: int
    needs: tuple[bool, ...]
    """Which inputs want a gradient; `backward` may skip the work for the others."""
    _kept: list[tuple[int, tuple[int, ...], list[int], int]]
    """What `backward` needs: number of the input, its shape, its `version`, and that then."""

    def forward(self, *arrays: Array) -> Array:
        """The result for the inputs' arrays."""
        raise GradientError(f"{type(self).__name__} has no forward")

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        """J^T gy for each input."""
        raise GradientError(f"{type(self).__name__} has no backward")

    def __call__(self, *tensors: Tensor | None) -> Tensor:
        """Run on tensors (None stands for an optional input left out).

        Raises GradientError for an instance that was called before and recorded, ShapeError for
        what is no tensor or of a dtype that the operation does not take.
        """
        name = type(self).__name__
        if "inputs" in self.__dict__:
            raise GradientError(
                f"{name}: this instance was called before, and an instance is the context of one "
                f"call; make a new one for each: {name}(...)(x)"
            )
        for t in tensors:
            if not isinstance(t, Tensor | None):
                what = f"{name}: expected a Tensor, got {type(t).__name__}"
                raise ShapeError(f"{what}; make one with minran.tensor(...)")
            if t is not None and not (self.whole_numbers or _is_floating(t.data)):
                raise ShapeError(
                    f"{name}: computes with fractions, got a tensor of {t.dtype} {t.shape}; "
                    "make it floating-point: tensor(x, dtype='float32')"
                )
        self.needs = tuple(t is not None and t.requires_grad for t in tensors)
        arrays = tuple(None if t is None else t.data for t in tensors)
        watch = watch_forward.get()
        with np.errstate(under="ignore"):  # what is too small is 0, whatever np.seterr says
            try:
                result = self.forward(*arrays) if watch is None else watch(self, arrays)
            except (AttributeError, TypeError) as error:
                self._explain(arrays, error)
                raise
        if not hasattr(result, "dtype"):
            raise ShapeError(f"{name}.forward must return an array, got {type(result).__name__}")
        y = Tensor(result)
        self._share_version(y, tensors)
        if any(self.needs) and is_recording():
            self._record(y, tensors)
        return y

    def _record(self, y: Tensor, tensors: tuple[Tensor | None, ...]) -> None:
        name = type(self).__name__
        if not _is_floating(y.data):
            what = f"{name}: a result of {y.dtype} has no gradient"
            raise GradientError(f"{what}; call it under no_grad")
        if "inputs" in self.__dict__ or "order" in self.__dict__:
            what = f"{name}.forward sets self.inputs or self.order"
            raise GradientError(f"{what}, which are the engine's own names")
        y.requires_grad = True
        y.op = self
        owners = [_owner(array) for array in _arrays(self.__dict__.values())]
        self._kept = [
            (k, t.shape, t.version, t.version[0])
            for k, t in enumerate((*tensors, y))
            if t is not None and any(_owner(t.data) is owner for owner in owners)
        ]
        self.inputs = tensors
        self.order = next(_clock)

    def _explain(self, arrays: tuple[Any, ...], error: Exception) -> None:
        """A sentence for calls with too many or too few inputs, or None for one that is needed."""
        name = type(self).__name__
        try:
            inspect.signature(self.forward).bind(*arrays)
        except TypeError:
            raise ShapeError(f"{name}: {len(arrays)} inputs are not what it takes") from error
        missing = [k for k, array in enumerate(arrays) if array is None]
        if missing:
            raise ShapeError(f"{name}: expected a Tensor, got None (input {missing[0]})") from error

    @staticmethod
    def _share_version(y: Tensor, tensors: tuple[Tensor | None, ...]) -> None:
        """A result in the memory of an input changes with it."""
        owner = _owner(y.data)
        if owner is y.data and all(t is None or t.data is not owner for t in tensors):
            return
        for t in tensors:
            if t is not None and _owner(t.data) is owner:
                y.version = t.version

    def expect_unchanged(self) -> None:
        """Raise GradientError if what `backward` needs was changed after `forward`."""
        for k, shape, version, then in self._kept:
            if version[0] != then:
                what = "its result" if k == len(self.needs) else f"input {k} {shape}"
                raise GradientError(
                    f"{type(self).__name__}.backward needs {what} as it was in the forward "
                    "computation, but it was changed in place since (by an optimiser's step, "
                    "load_state_dict or t.data += ...): go backward first, or compute anew"
                )

    def free(self) -> None:
        """Let go of the inputs and of everything that `forward` kept."""
        self.__dict__.clear()
        self.inputs = None


def _is_floating(array: Array) -> bool:
    return array.dtype.kind == "f" or backend.is_floating(array.dtype)


def _arrays(values: Any) -> Iterator[Array]:
    """The arrays among `values` and among their tuples, lists and dicts."""
    for value in values:
        if hasattr(value, "dtype"):
            yield value
        elif isinstance(value, tuple | list):
            yield from _arrays(value)
        elif isinstance(value, dict):
            yield from _arrays(value.values())


def _owner(array: Array) -> Array:
    """The array whose memory this one looks at: itself unless it is a view."""
    while hasattr(base := array.base, "base"):  # a tensor of PyTorch, say, has none
        array = base
    return array
