"""Reverse-mode differentiation: Tensor, Op, backward, no_grad.

A `Tensor` is an array and the `Op` that made it. An `Op` instance is the context of one
call: `forward` keeps on `self` what `backward` will need, and the op knows its input
tensors. An op never refers to its output, so a graph has no cycles and its memory goes the
moment nobody holds the result.

The chain rule: if y = f(x) and L is a scalar made from y, then dL/dx = J_f^T dL/dy.
`Op.backward(gy)` computes that vector-Jacobian product; `Tensor.backward` calls it for every
op, newest first, and adds up what arrives at each tensor.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from minran import backend
from minran.errors import GradientError, ShapeError, expect

Array = Any
"""A NumPy or CuPy array."""

Axis = int | tuple[int, ...] | None

_recording: ContextVar[bool] = ContextVar("recording", default=True)
_clock = itertools.count()


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording: results need no gradient and keep nothing for one.

    Works as a context manager and as a decorator.
    """
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    """Whether operations are recorded for `backward`."""
    return _recording.get()


class Tensor:
    """An array, and how it came about.

    data            the array (NumPy or CuPy)
    requires_grad   whether a gradient with respect to it will be wanted
    grad            dL/d(data) after `backward`, an array; None before. Gradients add up
                    over several backward calls until you set `grad = None`
    op              the operation that made it, None for a leaf
    """

    __slots__ = ("__weakref__", "_keep_grad", "data", "grad", "op", "requires_grad")
    __array_ufunc__ = None  # `array + tensor` asks the Tensor; np.exp(tensor) is an error

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = np.asarray(data) if isinstance(data, np.generic) else data
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self.op: Op | None = None
        self._keep_grad = False
        if requires_grad:
            expect(
                backend.is_floating(data.dtype),
                f"only floating-point tensors can require a gradient, got dtype {data.dtype}",
                GradientError,
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self.data.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return np.dtype(self.data.dtype)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        made_by = f", op={type(self.op).__name__}" if self.op is not None else ""
        grad = ", requires_grad=True" if self.requires_grad else ""
        body = np.array2string(backend.to_host(self.data), prefix="tensor(", threshold=20)
        return f"tensor({body}, shape={self.shape}, dtype={self.dtype}{grad}{made_by})"

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array; on the CPU it is the same memory, not a copy."""
        return backend.to_host(self.data)

    def item(self) -> float:
        """The one element as a Python number. Raises ShapeError if there are more."""
        expect(self.size == 1, f"item: expected a tensor of 1 element, got shape {self.shape}")
        return self.data.item()

    def detach(self) -> Tensor:
        """The same data as a leaf that needs no gradient."""
        return Tensor(self.data)

    def retain_grad(self) -> Tensor:
        """Keep `grad` of this intermediate result after `backward`; returns the tensor."""
        expect(self.requires_grad, "retain_grad: this tensor requires no gradient", GradientError)
        self._keep_grad = True
        return self

    def backward(self, gradient: Array | Tensor | None = None) -> None:
        """Add dL/dt to `t.grad` of every leaf t behind this tensor, where L = <gradient, self>.

        `gradient` has the shape of the tensor; a scalar needs none (it is 1). The graph is
        freed on the way; a second call raises GradientError.
        """
        expect(
            self.requires_grad,
            "backward: this tensor was not made from any tensor that requires a gradient "
            "(or was made under no_grad)",
            GradientError,
        )
        if gradient is None:
            expect(
                self.size == 1,
                f"backward: a tensor of shape {self.shape} is no scalar; pass the gradient of "
                "the loss with respect to it: y.backward(gradient)",
                GradientError,
            )
            gradient = backend.current().xp.ones_like(self.data)
        given = gradient.data if isinstance(gradient, Tensor) else gradient
        gradient = backend.current().xp.asarray(given, self.dtype)
        expect(
            tuple(gradient.shape) == self.shape,
            f"backward: the gradient must have the tensor's shape {self.shape}, "
            f"got {tuple(gradient.shape)}",
            GradientError,
        )
        _walk(self, gradient)

    if TYPE_CHECKING:
        # What operators mean is written in `minran.ops.arithmetic`, which installs them here.
        def __add__(self, other: Any) -> Tensor: ...
        def __pow__(self, exponent: float) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...

        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __add__
        __truediv__ = __rtruediv__ = __matmul__ = __getitem__ = __add__
        exp = log = sqrt = __neg__
        mean = max = sum


class Op:
    """One call of a differentiable operation.

    A subclass takes its options in `__init__`, computes in `forward(*arrays)` and assigns to
    `self` what `backward(gy)` needs. `backward` returns one gradient (or None) per input: an
    array of its own, or gy or a view of it; gy itself must stay as it is, others may read it.
    Calling the instance on tensors runs it.
    """

    inputs: tuple[Tensor | None, ...] | None
    order: int
    needs: tuple[bool, ...]
    """Which inputs want a gradient; `backward` may skip the work for the others."""

    def forward(self, *arrays: Array) -> Array:
        """The result for the inputs' arrays."""
        raise NotImplementedError

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        """J^T gy for each input."""
        raise NotImplementedError

    def __call__(self, *tensors: Tensor | None) -> Tensor:
        """Run on tensors (None stands for an optional input left out)."""
        for t in tensors:
            if not isinstance(t, Tensor | None):
                what = f"{type(self).__name__}: expected a Tensor, got {type(t).__name__}"
                raise ShapeError(f"{what}; make one with minran.tensor(...)")
        self.needs = tuple(t is not None and t.requires_grad for t in tensors)
        y = Tensor(self.forward(*(None if t is None else t.data for t in tensors)))
        if any(self.needs) and is_recording():
            y.requires_grad = True
            y.op = self
            self.inputs = tensors
            self.order = next(_clock)
        return y

    def free(self) -> None:
        """Let go of the inputs and of everything that `forward` kept."""
        self.__dict__.clear()
        self.inputs = None


def tensor(data: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A leaf Tensor on the current backend from an array, nested lists or a number.

    Python floats become float32, as do float64 lists; NumPy arrays keep their dtype.
    """
    xp = backend.current().xp
    if isinstance(data, Tensor):
        data = data.data
    array = xp.asarray(data, dtype=dtype)
    if dtype is None and array.dtype == np.float64 and not hasattr(data, "dtype"):
        array = array.astype(np.float32)
    return Tensor(array, requires_grad)


def _walk(root: Tensor, gradient: Array) -> None:
    """Visit the ops behind `root`, newest first; no recursion, so depth does not matter."""
    if root.op is None:
        _add_to_leaf(root, gradient, owned=False)
        return
    # Ops that wait, newest on top, each with its output tensor and the gradient so far.
    # `owned` says that no one else holds that gradient, so that it may be added to in place.
    heap: list[int] = []
    waiting: dict[int, tuple[Op, Tensor, Array, bool]] = {}

    def arrive(at: Tensor, grad: Array, owned: bool) -> None:
        if at.op is None:
            _add_to_leaf(at, grad, owned)
            return
        expect(
            at.op.__dict__.get("inputs") is not None,
            "backward: this graph was freed by an earlier backward(); run the forward "
            "computation again",
            GradientError,
        )
        order = at.op.order
        if order in waiting:
            op, _, earlier, earlier_owned = waiting[order]
            waiting[order] = (op, at, *_sum(earlier, earlier_owned, grad, owned))
        else:
            waiting[order] = (at.op, at, grad, owned)
            heapq.heappush(heap, -order)

    arrive(root, gradient, owned=False)
    while heap:
        op, output, gy, _ = waiting.pop(-heapq.heappop(heap))
        if output._keep_grad:
            _add_to_leaf(output, gy, owned=False)
        gradients = op.backward(gy)
        inputs = op.inputs or ()
        expect(
            len(gradients) == len(inputs),
            f"{type(op).__name__}.backward returned {len(gradients)} gradients for "
            f"{len(inputs)} inputs",
            GradientError,
        )
        needs = op.needs
        op.free()
        del op, output
        for source, grad, need in zip(inputs, gradients, needs, strict=True):
            if source is None or grad is None or not need:
                continue
            if tuple(grad.shape) != source.shape:
                raise ShapeError(
                    f"a gradient of shape {tuple(grad.shape)} came for a tensor of shape "
                    f"{source.shape}"
                )
            # An op may pass on gy itself (a view of it, or to both inputs): not ours alone.
            shared = backend.current().xp.may_share_memory(grad, gy)
            arrive(source, grad, owned=not shared)
        del gradients, inputs, gy
        source = grad = None


def _sum(a: Array, a_owned: bool, b: Array, b_owned: bool) -> tuple[Array, bool]:
    """a + b, in place into the one that the walk owns (NumPy makes scalars of 0-d arrays)."""
    out = None if a.ndim == 0 else a if a_owned else b if b_owned else None
    return backend.current().add(a, b, out=out), True


def _add_to_leaf(leaf: Tensor, grad: Array, owned: bool) -> None:
    """Gradients accumulate: `leaf.grad` grows, in an array that is the leaf's alone."""
    if leaf.grad is None:
        leaf.grad = grad if owned else grad.copy()
    else:
        leaf.grad = backend.current().add(leaf.grad, grad)
