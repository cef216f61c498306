"""Reverse-mode differentiation: `Tensor`, `Op`, the walk back through the graph, `no_grad`.

A `Tensor` is an array and the `Op` that made it. An `Op` instance is the context of one
call: `forward` keeps on `self` what `backward` will need, and the op knows its input
tensors. An op never refers to its output, so a graph has no cycles and its memory goes the
moment nobody holds the result.

The chain rule: if y = f(x) and L is a scalar made from y, then dL/dx = J_f^T dL/dy.
`Op.backward(gy)` computes that vector-Jacobian product; `Tensor.backward` calls it for every
op, newest first, and adds up what arrives at each tensor.
"""

from __future__ import annotations

import functools
import heapq
import inspect
import itertools
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from minran import backend, checks
from minran.errors import GradientError, Kind, ShapeError, expect, expect_bool

Array = Any
"""A NumPy or CuPy array."""

Axis = int | tuple[int, ...] | None


class Tensor:
    """An array, and how it came about.

    data            the array (NumPy or CuPy) of numbers
    requires_grad   whether a gradient with respect to it will be wanted
    grad            dL/d(data) after `backward`, an array; None before. Gradients add up
                    over several backward calls until you set `grad = None`
    op              the operation that made it, None for a leaf
    version         how often `data` was changed in place, in a list of one number that views
                    share. An optimiser's step, `load_state_dict` and `t.data += 1` count;
                    `t.data[...] = 1` is a plain NumPy write, which nobody can see

    Raises ShapeError for what is no array of numbers, GradientError if whole numbers shall
    require a gradient.
    """

    __slots__ = ("__weakref__", "_data", "_keep_grad", "grad", "op", "requires_grad", "version")
    __array_ufunc__ = None  # `array + tensor` asks the Tensor; np.exp(tensor) is an error

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self.op: Op | None = None
        self._keep_grad = False
        self._hold(data)

    def _hold(self, data: Array) -> None:
        self._data = checks.real_numbers(data)
        self.version = [0]
        if self.requires_grad:
            checks.expect_trainable(self.requires_grad, self._data.dtype)

    @property
    def data(self) -> Array:
        """The array. Setting another one leaves earlier results and their gradients as they are."""
        return self._data

    @data.setter
    def data(self, data: Array) -> None:
        if data is self._data:  # `t.data += 1` ends here
            self.changed_in_place()
        else:
            self._hold(data)

    def changed_in_place(self) -> None:
        """Say that `data` was overwritten: what was computed from it can no longer go backward."""
        self.version[0] += 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return tuple(self._data.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._data.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self._data.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return np.dtype(self._data.dtype)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        made_by = f", op={type(self.op).__name__}" if self.op is not None else ""
        grad = ", requires_grad=True" if self.requires_grad else ""
        body = np.array2string(backend.to_host(self._data), prefix="tensor(", threshold=20)
        return f"tensor({body}, shape={self.shape}, dtype={self.dtype}{grad}{made_by})"

    def __bool__(self) -> bool:
        expect(
            self.size == 1,
            f"a tensor of shape {self.shape} is neither true nor false; look at t.numpy()",
        )
        return bool(self._data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """For np.asarray(t): the data of a tensor that needs no gradient."""
        checks.expect_no_gradient(self)
        return np.array(self.numpy(), dtype, copy=copy)

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array; on the CPU it is the same memory, not a copy."""
        return backend.to_host(self._data)

    def item(self) -> float:
        """The one element as a Python number. Raises ShapeError if there are more."""
        expect(self.size == 1, f"item: expected a tensor of 1 element, got shape {self.shape}")
        return self._data.item()

    def detach(self) -> Tensor:
        """The same data (the same memory) as a leaf that needs no gradient."""
        leaf = Tensor(self._data)
        leaf.version = self.version
        return leaf

    def retain_grad(self) -> Tensor:
        """Keep `grad` of this intermediate result after `backward`; returns the tensor."""
        expect(self.requires_grad, "retain_grad: this tensor requires no gradient", GradientError)
        self._keep_grad = True
        return self

    def backward(self, gradient: Array | Tensor | None = None) -> None:
        """Add dL/dt to `t.grad` of every leaf t of this tensor, where L = <gradient, self>.

        `gradient` has the shape of the tensor; a scalar needs none (it is 1). The graph is
        freed on the way; a second call raises GradientError.
        """
        checks.expect_backward(self, gradient)
        if gradient is None:
            gradient = backend.current().xp.ones_like(self._data)
        gradient = as_array(gradient, self.dtype, "backward: the gradient", GradientError)
        checks.expect_cotangent(gradient, self.shape)
        with np.errstate(under="ignore"):
            walk(self, gradient)

    # --- operators: each is an operation of `ops.arithmetic` or `ops.shape`

    def __add__(self, other: Any) -> Tensor:
        return _ops().arithmetic.Add()(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _ops().arithmetic.Add()(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _ops().arithmetic.Sub()(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _ops().arithmetic.Sub()(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _ops().arithmetic.Mul()(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _ops().arithmetic.Mul()(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _ops().arithmetic.Div()(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _ops().arithmetic.Div()(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return _ops().arithmetic.MatMul()(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _ops().arithmetic.MatMul()(other, self)

    def __neg__(self) -> Tensor:
        return _ops().arithmetic.Neg()(self)

    def __pow__(self, exponent: float) -> Tensor:
        return _ops().arithmetic.Pow(exponent)(self)

    def __getitem__(self, index: Any) -> Tensor:
        return _ops().shape.Index(index)(self)

    def exp(self) -> Tensor:
        """e^x, element by element."""
        return _ops().arithmetic.Exp()(self)

    def log(self) -> Tensor:
        """The natural logarithm, element by element."""
        return _ops().arithmetic.Log()(self)

    def sqrt(self) -> Tensor:
        """The square root, element by element."""
        return _ops().arithmetic.Sqrt()(self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over `axis` (all axes if None)."""
        return _ops().arithmetic.Sum(axis, keepdims)(self)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean over `axis` (all axes if None)."""
        return _ops().arithmetic.Mean(axis, keepdims)(self)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The maximum over `axis` (all axes if None)."""
        return _ops().arithmetic.Max(axis, keepdims)(self)

    def reshape(self, *shape: Any) -> Tensor:
        """The same numbers with other axes; one size may be -1."""
        return _ops().shape.Reshape(*shape)(self)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order; reversed if none is given."""
        return _ops().shape.Transpose(*axes)(self)


def _ops() -> Any:
    """The operations build on this file, so they are looked up when an operator is used."""
    from minran import ops

    return ops


def tensor(data: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A leaf Tensor on the current backend from an array, nested lists or a number.

    Python floats become float32, as do float64 lists; NumPy arrays keep their dtype, and their
    memory where no other dtype is asked for.

    Raises ShapeError for what is no number or array of numbers: words, lists of unequal lengths,
    complex numbers, masked arrays.
    """
    expect_bool(requires_grad, "tensor: requires_grad")
    array = as_array(data, dtype, "tensor: data")
    if dtype is None and array.dtype == np.float64 and not hasattr(data, "dtype"):
        array = array.astype(np.float32)
    made = Tensor(array, requires_grad)
    if isinstance(data, Tensor) and array is data.data:
        made.version = data.version
    return made


def as_array(data: Any, dtype: Any, what: str, kind: Kind = ShapeError) -> Array:
    """`data` as an array of real numbers of the current backend, or `kind` naming `what`."""
    return checks.as_array(data.data if isinstance(data, Tensor) else data, dtype, what, kind)


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
    Calling the instance on tensors runs it: once, because `self` holds what belongs to that call.

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
    adds_earlier = False
    """Whether `backward` adds `earlier` itself to the gradient of the first input."""
    earlier: Array | None = None
    """With `adds_earlier`: what has arrived at the first input from other operations, or None."""
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
        checks.expect_inputs(self, tensors, Tensor)
        self.needs = tuple(t is not None and t.requires_grad for t in tensors)
        y = Tensor(self._result(tuple(None if t is None else t.data for t in tensors)))
        memory = _owner(y.data)
        for t in tensors:
            if t is not None and _owner(t.data) is memory:
                y.version = t.version  # a result in the memory of an input changes with it
        if any(self.needs) and is_recording():
            self._record(y, tensors)
        return y

    def _result(self, arrays: tuple[Any, ...]) -> Array:
        """What `forward` says, or a sentence about too many, too few or missing inputs."""
        watch = watch_forward.get()
        try:
            with np.errstate(under="ignore"):  # what is too small is 0, whatever np.seterr says
                result = self.forward(*arrays) if watch is None else watch(self, arrays)
        except (AttributeError, TypeError) as error:
            checks.blame_inputs(self, arrays, error)
            raise
        checks.expect_result(self, result)
        return result

    def _record(self, y: Tensor, tensors: tuple[Tensor | None, ...]) -> None:
        """Make this op the maker of y, and note which of the tensors `backward` needs."""
        checks.expect_recordable(self, y)
        y.requires_grad, y.op = True, self
        kept = {id(_owner(array)) for array in _arrays(self.__dict__.values())}
        self._kept = [
            (k, t.shape, t.version, t.version[0])
            for k, t in enumerate((*tensors, y))
            if t is not None and id(_owner(t.data)) in kept
        ]
        self.inputs, self.order = tensors, next(_clock)


def _arrays(values: Any) -> Iterator[Array]:
    """The arrays among `values` and among their tuples, lists and dicts."""
    for value in (found := list(values)):  # which grows on the way
        if hasattr(value, "dtype"):
            yield value
        elif isinstance(value, (tuple, list)):
            found.extend(value)
        elif isinstance(value, dict):
            found.extend(value.values())


def _owner(array: Array) -> Array:
    """The array whose memory this one looks at: itself unless it is a view."""
    while hasattr(base := array.base, "base"):  # a tensor of PyTorch, say, has none
        array = base
    return array


def walk(root: Tensor, gradient: Array) -> None:
    """Visit the ops that led to `root`, newest first; no recursion, so depth does not matter."""
    # Ops that wait, newest on top, each with its output and the gradient that has arrived there.
    # `owned` says that no one else holds that gradient, so that it may be added to in place.
    heap: list[int] = []
    waiting: dict[int, tuple[Op, Tensor, Array | None, bool]] = {}

    def arrive(at: Tensor, grad: Array, owned: bool) -> None:
        if at.op is None:
            _add_to_leaf(at, grad, owned)
            return
        checks.expect_not_freed(at.op)
        order = at.op.order
        if order in waiting:
            op, _, earlier, earlier_owned = waiting[order]
            waiting[order] = (op, at, *_sum(earlier, earlier_owned, grad, owned))
        else:
            waiting[order] = (at.op, at, grad, owned)
            heapq.heappush(heap, -order)

    def take(inputs: Any) -> Array | None:
        """What waits at the first input, and waits no longer: the op adds it itself."""
        order = getattr(inputs[0].op, "order", None)  # a leaf has no op
        if order not in waiting:
            return None
        op, at, earlier, _ = waiting[order]
        waiting[order] = op, at, None, True
        return earlier

    arrive(root, gradient, owned=False)
    while heap:
        op, output, gy, _ = waiting.pop(-heapq.heappop(heap))
        if output._keep_grad:
            _add_to_leaf(output, gy, owned=False)
        if op.adds_earlier and op.needs[0]:
            op.earlier = take(op.inputs)
        arrivals = _arrivals(op, gy)
        op.__dict__.clear()  # the inputs, and what `forward` kept
        op.inputs = None
        del op, output, gy
        while arrivals:
            arrive(*arrivals.pop(0))


def _arrivals(op: Op, gy: Array) -> list[tuple[Tensor, Array, bool]]:
    """The inputs that want a gradient, each with the one of `op.backward`, and whether we own it.

    Raises GradientError or ShapeError where the op cannot go backward, or says no gradient.
    """
    checks.expect_unchanged(op)
    gradients = op.backward(gy)
    checks.expect_gradients(op, gradients)
    shared = backend.current().xp.may_share_memory
    return [
        # An op may pass on gy itself (a view of it, or to both inputs): not ours alone.
        (source, grad, not shared(grad, gy))
        for source, grad, need in zip(op.inputs or (), gradients, op.needs, strict=True)
        if source is not None and grad is not None and need
    ]


def _sum(a: Array | None, a_owned: bool, b: Array, b_owned: bool) -> tuple[Array, bool]:
    """a + b, in place into the one that the walk owns (NumPy makes scalars of 0-d arrays)."""
    if a is None:
        return b, b_owned
    out = None if a.ndim == 0 else a if a_owned else b if b_owned else None
    return backend.current().add(a, b, out=out), True


def _add_to_leaf(leaf: Tensor, grad: Array, owned: bool) -> None:
    """Gradients accumulate in `leaf.grad`, an array of its dtype that is the leaf's alone."""
    if grad.dtype != leaf.dtype:  # beside a tensor of another precision
        grad, owned = grad.astype(leaf.dtype), True
    if leaf.grad is None:
        leaf.grad = grad if owned else grad.copy()
    else:
        leaf.grad = backend.current().add(leaf.grad, grad)


_closed: ContextVar[int] = ContextVar("closed", default=0)
"""How many `no_grad` blocks are open here. A number, so that blocks may end in any order."""


def is_recording() -> bool:
    """Whether operations are recorded for `backward`."""
    return _closed.get() == 0


class no_grad:  # noqa: N801 - reads as a verb, like use
    """Compute without recording: results need no gradient and keep nothing for one.

    Works as a context manager and as a decorator, with or without parentheses, nested and as
    often as you like; it holds for its own thread (and asyncio task) only. A decorated generator
    runs without recording, and its caller records as before; a block around a `yield` holds for
    the caller too until the generator goes on.

    Raises GradientError for a decorated thing that is no function.
    """

    def __new__(cls, function: Any = None) -> Any:
        """`@no_grad` alone is `@no_grad()`."""
        return super().__new__(cls) if function is None else cls()(function)

    def __enter__(self) -> None:
        _closed.set(_closed.get() + 1)

    def __exit__(self, *error: object) -> None:
        # A generator that another thread drops leaves a block there that it did not enter.
        _closed.set(max(0, _closed.get() - 1))

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        checks.expect_function(function)

        @functools.wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            with self:
                return function(*args, **options)

        @functools.wraps(function)
        async def awaited(*args: Any, **options: Any) -> Any:
            with self:
                return await function(*args, **options)

        @functools.wraps(function)
        def stretches(*args: Any, **options: Any) -> Generator[Any, Any, Any]:
            return (yield from _Unrecorded(function(*args, **options)))

        if inspect.isgeneratorfunction(function):
            return stretches
        return awaited if inspect.iscoroutinefunction(function) else called


class _Unrecorded(Generator[Any, Any, Any]):
    """A generator with a `no_grad` block around each stretch, from one yield to the next."""

    def __init__(self, generator: Generator[Any, Any, Any]) -> None:
        self.generator = generator

    def send(self, value: Any) -> Any:
        with no_grad():
            return self.generator.send(value)

    def throw(self, *error: Any) -> Any:
        with no_grad():
            return self.generator.throw(*error)
