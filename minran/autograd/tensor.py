"""Tensor: an array that knows which operation made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minran import backend
from minran.autograd.walk import walk
from minran.errors import GradientError, MinranError, ShapeError, expect, shortened

if TYPE_CHECKING:
    from minran.autograd.op import Op

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
        plain = type(data) is np.ndarray and data.dtype.kind == "f"
        self._data = data if plain else _expect_array(data)
        self.version = [0]
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self.op: Op | None = None
        self._keep_grad = False
        if requires_grad:
            self._expect_differentiable()

    @property
    def data(self) -> Array:
        """The array. Setting another one leaves earlier results and their gradients as they are."""
        return self._data

    @data.setter
    def data(self, data: Array) -> None:
        if data is self._data:  # `t.data += 1` ends here
            self.changed_in_place()
            return
        self._data = _expect_array(data)
        self.version = [0]
        if self.requires_grad:
            self._expect_differentiable()

    def changed_in_place(self) -> None:
        """Say that `data` was overwritten: what was computed from it can no longer go backward."""
        self.version[0] += 1

    def _expect_differentiable(self) -> None:
        expect(
            isinstance(self.requires_grad, bool | np.bool_),
            f"requires_grad must be True or False, got {self.requires_grad!r}",
        )
        expect(
            backend.is_floating(self._data.dtype),
            f"only floating-point tensors can require a gradient, got dtype {self._data.dtype}",
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
        expect(
            not self.requires_grad,
            "a NumPy array would lose this tensor's gradient: take t.numpy() or t.detach() for "
            "its numbers, ops.concat to join tensors",
            GradientError,
        )
        return np.array(self.numpy(), dtype, copy=copy)

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array; on the CPU it is the same memory, not a copy."""
        return backend.to_host(self.data)

    def item(self) -> float:
        """The one element as a Python number. Raises ShapeError if there are more."""
        expect(self.size == 1, f"item: expected a tensor of 1 element, got shape {self.shape}")
        return self.data.item()

    def detach(self) -> Tensor:
        """The same data (the same memory) as a leaf that needs no gradient."""
        leaf = Tensor(self.data)
        leaf.version = self.version
        return leaf

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
        gradient = as_array(gradient, self.dtype, "backward: the gradient", GradientError)
        expect(
            tuple(gradient.shape) == self.shape,
            f"backward: the gradient must have the tensor's shape {self.shape}, "
            f"got {tuple(gradient.shape)}",
            GradientError,
        )
        with np.errstate(under="ignore"):
            walk(self, gradient)

    if TYPE_CHECKING:
        # What operators mean is written in `minran.ops.arithmetic`, which installs them here.
        def __add__(self, other: Any) -> Tensor: ...
        def __pow__(self, exponent: float) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...

        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __add__
        __truediv__ = __rtruediv__ = __matmul__ = __rmatmul__ = __getitem__ = __add__
        exp = log = sqrt = __neg__
        mean = max = sum


def tensor(data: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A leaf Tensor on the current backend from an array, nested lists or a number.

    Python floats become float32, as do float64 lists; NumPy arrays keep their dtype, and their
    memory where no other dtype is asked for.

    Raises ShapeError for what is no number or array of numbers: words, lists of unequal lengths,
    complex numbers, masked arrays.
    """
    expect(
        isinstance(requires_grad, bool | np.bool_),
        f"tensor: requires_grad must be True or False, got {requires_grad!r}",
    )
    array = as_array(data, dtype, "tensor: data")
    if dtype is None and array.dtype == np.float64 and not hasattr(data, "dtype"):
        array = array.astype(np.float32)
    made = Tensor(array, requires_grad)
    if isinstance(data, Tensor) and array is data.data:
        made.version = data.version
    return made


def as_array(data: Any, dtype: Any, what: str, kind: type[MinranError] = ShapeError) -> Array:
    """`data` as an array of the current backend."""
    data = _unmasked(data.data if isinstance(data, Tensor) else data)
    try:
        array = backend.current().xp.asarray(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise kind(_no_numbers(what, data)) from error
    if array.dtype.kind in "OUS":
        raise kind(_no_numbers(what, data))
    array = _expect_array(array, what)
    if dtype is not None:
        try:
            array = array.astype(dtype, copy=False)
        except (TypeError, ValueError) as error:
            raise kind(f"{what}: there is no dtype {shortened(dtype)}") from error
    return _expect_array(array, what)


def _no_numbers(what: str, data: Any) -> str:
    return f"{what}: expected a number or numbers, got {shortened(data)}"


def _unmasked(data: Any) -> Any:
    masked = isinstance(data, np.ma.MaskedArray)
    expect(not masked, "a masked array says nothing about its masked places; fill them first")
    return data


def _expect_array(data: Any, what: str = "Tensor: data") -> Array:
    """`data` if it is an array of numbers; NumPy's own kinds of array become plain ones."""
    if type(data) is not np.ndarray and isinstance(data, np.ndarray | np.generic):
        data = np.asarray(_unmasked(data))
    dtype = getattr(data, "dtype", None)
    if not isinstance(dtype, np.dtype):
        raise ShapeError(f"{what} must be an array, got a {type(data).__name__}; see minran.tensor")
    if dtype.kind not in "fiub" and not backend.is_floating(dtype):
        raise ShapeError(f"{what} must be real numbers, got dtype {dtype}")
    return data
