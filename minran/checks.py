"""What a caller can get wrong, and the sentence that says so: a function for each kind of mistake.

The core says equations and calls these. They stand in the order of the parts that call them;
every one raises, returns what it was given in the form that is computed with, or returns nothing.
None looks at the numbers of an array on a GPU, which would stall it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np

from minran import backend
from minran.backend.geometry import Pair
from minran.errors import (
    GradientError,
    MinranError,
    NoEntryError,
    ShapeError,
    expect,
    expect_bool,
    expect_number,
    expect_whole,
    shortened,
)

Array = Any
"""A NumPy or CuPy array."""

Kind = type[MinranError]
Size = int | Pair

# --- arrays and words, for every part


def real_numbers(data: Any, what: str = "Tensor: data") -> Array:
    """`data` if it is an array of real numbers; NumPy's own kinds of array become plain ones."""
    if type(data) is np.ndarray and data.dtype.kind == "f":
        return data
    if isinstance(data, np.ma.MaskedArray):
        raise ShapeError("a masked array says nothing about its masked places; fill them first")
    if isinstance(data, np.ndarray | np.generic):
        data = np.asarray(data)
    dtype = getattr(data, "dtype", None)
    if not isinstance(dtype, np.dtype):
        raise ShapeError(f"{what} must be an array, got a {type(data).__name__}; see minran.tensor")
    if dtype.kind not in "fiub" and not backend.is_floating(dtype):
        raise ShapeError(f"{what} must be real numbers, got dtype {dtype}")
    return data


def as_array(data: Any, dtype: Any, what: str, error: Kind = ShapeError) -> Array:
    """`data` as an array of real numbers of the current backend, in `dtype` if that is not None."""
    no_numbers = f"{what}: expected a number or numbers, got"
    try:
        masked = isinstance(data, np.ma.MaskedArray)  # which asarray would take for numbers
        array = data if masked else backend.current().xp.asarray(data)
    except (TypeError, ValueError, OverflowError) as problem:
        raise error(f"{no_numbers} {shortened(data)}") from problem
    if array.dtype.kind in "OUS":
        raise error(f"{no_numbers} {shortened(data)}")
    array = real_numbers(array, what)
    if dtype is not None:
        try:
            array = array.astype(dtype, copy=False)
        except (TypeError, ValueError) as problem:
            raise error(f"{what}: there is no dtype {shortened(dtype)}") from problem
    return real_numbers(array, what)


def expect_one_of(value: Any, known: Collection[str], what: str, error: Kind = ShapeError) -> None:
    """`value` is one of the words `known`."""
    if not (isinstance(value, str) and value in known):
        raise error(f"{what} must be one of {tuple(known)}, got {value!r}")


def expect_shape(array: Array | None, shape: Sequence[int], what: str) -> None:
    """The array, if there is one, has this shape; `what` says whose."""
    if array is not None and tuple(array.shape) != tuple(shape):
        raise ShapeError(f"{what} must be {tuple(shape)}, got {tuple(array.shape)}")


def expect_pictures(op: str, x: Array) -> None:
    """x has the four axes of pictures."""
    if x.ndim != 4:
        raise ShapeError(f"{op}: x must be (N, H, W, C), got {tuple(x.shape)}")


def pair(value: Any, what: str) -> Pair:
    """`value` as (rows, columns): a whole number counts for both, a pair stays as it is."""
    sides = (value, value) if _is_whole(value) else value
    good = isinstance(sides, tuple | list) and len(sides) == 2 and all(map(_is_whole, sides))
    if not good:
        raise ShapeError(f"{what} must be an int or a pair of ints (rows, columns), got {value!r}")
    return int(sides[0]), int(sides[1])


def _is_whole(value: Any) -> bool:
    # True and False are ints to Python, but never a size.
    return isinstance(value, Integral) and not isinstance(value, bool)


@contextmanager
def naming(op: str, shapes: str) -> Iterator[None]:
    """Add the operation's name and its shapes to a ShapeError raised in the block."""
    try:
        yield
    except ShapeError as error:
        raise ShapeError(f"{op}: {error} ({shapes})") from error


# --- autograd: tensors


def expect_trainable(requires_grad: Any, dtype: Any) -> None:
    """A tensor of this dtype can require a gradient."""
    expect_bool(requires_grad, "requires_grad")
    if not backend.is_floating(dtype):
        what = "only floating-point tensors can require a gradient"
        raise GradientError(f"{what}, got dtype {dtype}")


def expect_no_gradient(tensor: Any) -> None:
    """What leaves the graph for NumPy has no gradient to lose."""
    expect(
        not tensor.requires_grad,
        "a NumPy array would lose this tensor's gradient: take t.numpy() or t.detach() for "
        "its numbers, ops.concat to join tensors",
        GradientError,
    )


def expect_backward(tensor: Any, gradient: Any) -> None:
    """A gradient of this tensor's is wanted, and it is told or known to be 1."""
    expect(
        tensor.requires_grad,
        "backward: this tensor was not made from any tensor that requires a gradient "
        "(or was made under no_grad)",
        GradientError,
    )
    if gradient is None and tensor.size != 1:
        raise GradientError(
            f"backward: a tensor of shape {tensor.shape} is no scalar; pass the gradient of "
            "the loss with respect to it: y.backward(gradient)"
        )


def cotangent(gradient: Any, tensor: Any) -> Array:
    """The gradient where the walk back begins: an array of the tensor's shape and dtype."""
    gradient = as_array(gradient, tensor.dtype, "backward: the gradient", GradientError)
    if (came := tuple(gradient.shape)) != tensor.shape:
        what = f"backward: the gradient must have the tensor's shape {tensor.shape}"
        raise GradientError(f"{what}, got {came}")
    return gradient


# --- autograd: operations, forward and backward


def expect_inputs(op: Any, inputs: tuple[Any, ...], tensor: type[Any]) -> None:
    """A fresh `op` gets tensors (or None) of numbers that it computes with."""
    name = type(op).__name__
    if "inputs" in op.__dict__:
        raise GradientError(
            f"{name}: this instance was called before, and an instance is the context of one "
            f"call; make a new one for each: {name}(...)(x)"
        )
    for t in inputs:
        if t is None:
            continue
        if not isinstance(t, tensor):
            what = f"{name}: expected a Tensor, got {type(t).__name__}"
            raise ShapeError(f"{what}; make one with minran.tensor(...)")
        if not (op.whole_numbers or backend.is_floating(t.data.dtype)):
            raise ShapeError(
                f"{name}: computes with fractions, got a tensor of {t.dtype} {t.shape}; "
                "make it floating-point: tensor(x, dtype='float32')"
            )


def blame_inputs(op: Any, arrays: tuple[Any, ...], problem: Exception) -> None:
    """Raise ShapeError if `problem` came up in `forward` for too many, too few or no inputs."""
    name = type(op).__name__
    try:
        inspect.signature(op.forward).bind(*arrays)
    except TypeError:
        raise ShapeError(f"{name}: {len(arrays)} inputs are not what it takes") from problem
    for k, array in enumerate(arrays):
        if array is None:
            raise ShapeError(f"{name}: expected a Tensor, got None (input {k})") from problem


def expect_result(op: Any, result: Any) -> None:
    """`forward` returned an array."""
    if not hasattr(result, "dtype"):
        name = type(op).__name__
        raise ShapeError(f"{name}.forward must return an array, got {type(result).__name__}")


def expect_recordable(op: Any, y: Any) -> None:
    """The result y can have a gradient, and `op` keeps it where the engine looks for it."""
    name = type(op).__name__
    if not backend.is_floating(y.data.dtype):
        what = f"{name}: a result of {y.dtype} has no gradient"
        raise GradientError(f"{what}; call it under no_grad")
    if "inputs" in op.__dict__ or "order" in op.__dict__:
        what = f"{name}.forward sets self.inputs or self.order"
        raise GradientError(f"{what}, which are the engine's own names")


def expect_not_freed(op: Any) -> None:
    """No walk has been through `op` yet."""
    if op.inputs is None:
        raise GradientError(
            "backward: this graph was freed by an earlier backward(); run the forward "
            "computation again"
        )


def expect_unchanged(op: Any) -> None:
    """What `op` kept is as it was in the forward computation."""
    for k, shape, version, then in op._kept:
        if version[0] != then:
            what = "its result" if k == len(op.inputs) else f"input {k} {shape}"
            raise GradientError(
                f"{type(op).__name__}.backward needs {what} as it was in the forward computation, "
                "but it was changed in place since (by an optimiser's step, load_state_dict or "
                "t.data += ...): go backward first, or compute anew"
            )


def expect_gradients(op: Any, gradients: Any) -> None:
    """`backward` returned an array for each input that wants one, or None."""
    name, inputs = type(op).__name__, op.inputs
    many = isinstance(gradients, tuple | list)
    if not many or len(gradients) != len(inputs):
        kind = type(gradients).__name__
        got = f"{len(gradients)} gradients" if many else f"no tuple but one {kind}"
        raise GradientError(f"{name}.backward returned {got} for {len(inputs)} inputs")
    for source, grad, need in zip(inputs, gradients, op.needs, strict=True):
        if grad is None or not need:
            continue
        if not hasattr(grad, "shape"):
            wrong = f"expected an array as gradient, got a {type(grad).__name__}"
        elif (came := tuple(grad.shape)) != source.shape:
            wrong = f"a gradient of shape {came} came for a tensor of shape {source.shape}"
        elif not backend.is_floating(grad.dtype):
            wrong = f"a gradient must be floating-point, got dtype {grad.dtype}"
        else:
            continue
        raise ShapeError(f"{name}.backward: {wrong}")


def expect_function(function: Any) -> None:
    """`no_grad` can decorate it."""
    expect(
        callable(function) and not inspect.isasyncgenfunction(function),
        f"no_grad: expected a function to decorate, got {function!r}",
        GradientError,
    )


# --- ops: arithmetic and shapes


def expect_broadcastable(op: str, a: Array, b: Array) -> None:
    """The shapes of a and b broadcast together."""
    for m, n in zip(reversed(a.shape), reversed(b.shape), strict=False):
        if m != n and m != 1 and n != 1:
            shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
            raise ShapeError(f"{op}: shapes {shapes} do not broadcast together")


def expect_no_truth(op: str, *arrays: Array) -> None:
    """The arrays hold numbers: NumPy has no difference of truth values."""
    for array in arrays:
        if array.dtype == bool:
            raise ShapeError(f"{op}: truth values are no numbers; make them floats or ints")


def constant_exponent(exponent: Any) -> int | float:
    """An exponent as a Python number; NumPy's would impose their precision on the result."""
    if not isinstance(exponent, Real):
        got = type(exponent).__name__
        raise ShapeError(f"x ** n: the exponent must be a number, got {got}")
    return int(exponent) if isinstance(exponent, Integral) else float(exponent)


def expect_power(x: Array, exponent: float) -> None:
    """x has this power: whole numbers have none below 0."""
    if exponent < 0 and not backend.is_floating(x.dtype):
        what = f"pow: whole numbers ({x.dtype}) have no power {exponent}"
        raise ShapeError(f"{what}; make them floats")


def expect_product(form: str, a: Array, b: Array, joined: str) -> None:
    """a (M, K) and b (K, N) are matrices that can be multiplied; `form` says what is expected."""
    if not (a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]):
        raise ShapeError(f"{form}, got {tuple(a.shape)} {joined} {tuple(b.shape)}")


def expect_axis(op: Any, x: Array) -> None:
    """x has `op.axis`, or all of several, each named once; None stands for all."""
    axes = op.axis if isinstance(op.axis, tuple) else () if op.axis is None else (op.axis,)
    good = all(isinstance(a, Integral) and -x.ndim <= a < x.ndim for a in axes)
    if not good or len({a % x.ndim for a in axes}) != len(axes):
        what = f"{type(op).__name__.lower()}: axis {op.axis}"
        raise ShapeError(f"{what} does not fit a tensor of shape {tuple(x.shape)}")


def expect_some(x: Array, nothing: str) -> None:
    """x is not empty; `nothing` says what there is not."""
    if x.size == 0:
        raise ShapeError(f"{nothing} in shape {tuple(x.shape)}")


def expect_sizes(sizes: tuple[Any, ...]) -> None:
    """What `reshape` gets are whole numbers."""
    if not all(isinstance(size, Integral) for size in sizes):
        raise ShapeError(f"reshape: no sizes: {sizes}")


def no_arrangement(x: Array, shape: tuple[Any, ...]) -> ShapeError:
    """The elements of x cannot be arranged in this shape."""
    return ShapeError(f"reshape: cannot arrange {tuple(x.shape)} as {shape}")


def expect_order(axes: tuple[Any, ...], x: Array) -> None:
    """`axes` names every axis of x once."""
    if sorted(axes) != list(range(x.ndim)):
        what = f"transpose: axes {axes} are no order of the {x.ndim} axes"
        raise ShapeError(f"{what} of {tuple(x.shape)}")


def no_entry(x: Array, problem: Exception) -> NoEntryError:
    """x has no such entry, for the reason that the array library tells."""
    return NoEntryError(f"index: {problem} (a tensor of shape {tuple(x.shape)})")


def tensors_to_join(tensors: Any, axis: Any, tensor: type) -> list[Any]:
    """What `concat` gets, as a list of one tensor or more; the axis is a whole number."""
    many = isinstance(tensors, Iterable) and not isinstance(tensors, tensor)
    given = list(tensors) if many else []
    if not given or not all(isinstance(one, tensor) for one in given):
        raise ShapeError(f"concat: expected tensors, at least one, got {shortened(tensors)}")
    expect_whole(axis, "concat: axis", -math.inf)
    return given


def expect_joinable(arrays: Sequence[Array], axis: int) -> None:
    """The arrays have the axis, and agree in all others."""
    first = tuple(arrays[0].shape)
    if not -len(first) <= axis < len(first):
        raise ShapeError(f"concat: {first} has no axis {axis}")
    for array in arrays:
        shape = tuple(array.shape)
        differ = {a for a, (m, n) in enumerate(zip(first, shape, strict=False)) if m != n}
        if len(shape) != len(first) or differ - {axis % len(first)}:
            raise ShapeError(f"concat: all axes but {axis} must agree, got {first} and {shape}")


# --- ops: products, windows, norms, losses


def expect_same_dtype(op: str, x: Array, w: Array) -> None:
    """The weights have the dtype that goes with x."""
    if backend.weight_dtype(x.dtype) != w.dtype:
        raise ShapeError(f"{op}: x is {x.dtype} but w is {w.dtype}; they must agree")


def expect_linear(x: Array, w: Array, bias: Array | None) -> None:
    """x (N, D), w (D, K) and bias (K,) fit."""
    expect_product("linear: expected x (N, D) and w (D, K)", x, w, "and")
    expect_same_dtype("linear", x, w)
    expect_shape(bias, w.shape[1:], "linear: bias")


def expect_conv(x: Array, w: Array, bias: Array | None, groups: int) -> None:
    """x (N, H, W, C), w (KH, KW, C/groups, K) and bias (K,) fit."""
    expect_pictures("conv2d", x)
    if w.ndim != 4:
        raise ShapeError(f"conv2d: w must be (KH, KW, C/groups, K), got {tuple(w.shape)}")
    expect_same_dtype("conv2d", x, w)
    channels, width = x.shape[3], w.shape[3]
    whole = isinstance(groups, int) and not isinstance(groups, bool) and groups >= 1
    if not whole or channels % groups or width % groups:
        wrong = f"{channels} input and {width} output channels do not divide into {groups} groups"
    elif channels != w.shape[2] * groups:
        wrong = f"x has {channels} channels, w expects {w.shape[2] * groups}"
    else:
        return expect_shape(bias, (width,), "conv2d: bias")
    raise ShapeError(f"conv2d: {wrong} (x {tuple(x.shape)}, w {tuple(w.shape)})")


def expect_gate(mask: Array, trunk: Array) -> None:
    """Mask and trunk have one shape."""
    if mask.shape != trunk.shape:
        shapes = f"mask {tuple(mask.shape)} and trunk {tuple(trunk.shape)}"
        raise ShapeError(f"gate: {shapes} must have one shape")


def expect_resizable(x: Array, size: Pair) -> None:
    """x are pictures with pixels, and so are those of the size asked for."""
    expect_pictures("upsample_bilinear2d", x)
    if min(*size, *x.shape[1:3]) < 1:
        what = f"cannot go from {tuple(x.shape[1:3])} to {size} pixels"
        raise ShapeError(f"upsample_bilinear2d: {what}")


def expect_norm(training: bool, momentum: float, eps: float, moments: Any) -> None:
    """The options of a batch norm."""
    if not (isinstance(eps, Real) and 0 < eps < math.inf):
        raise ShapeError(f"batch_norm: eps must be a number above 0, got {shortened(eps)}")
    expect_number(momentum, "batch_norm: momentum", -math.inf)
    expect_bool(training, "batch_norm: training")
    if not (moments is None or (isinstance(moments, tuple) and len(moments) == 2)):
        what = "batch_norm: moments must be a mean and a variance per channel"
        raise ShapeError(f"{what}, got {shortened(moments)}")


def expect_channels(x: Array, *vectors: Array) -> None:
    """x are pictures, and each vector of their batch norm has the channels."""
    if x.ndim != 4:
        raise ShapeError(f"batch_norm: x must be (N, H, W, C) or (N, C), got {tuple(x.shape)}")
    c = x.shape[-1]
    names = ("gamma", "beta", "running_mean", "running_var", "the mean", "the variance")
    for name, vector in zip(names, vectors, strict=False):
        if not (hasattr(vector, "dtype") and backend.is_floating(vector.dtype)):
            what = f"batch_norm: {name} must be a floating-point array"
            raise ShapeError(f"{what}, got {shortened(vector)}")
        if tuple(vector.shape) != (c,):
            what = f"batch_norm: x {tuple(x.shape)} has {c} channels, so {name}"
            raise ShapeError(f"{what} must be ({c},), got {tuple(vector.shape)}")


def expect_several(x: Array, count: int) -> None:
    """A channel has more than one value in the batch, or it has no variance."""
    if count < 2:
        what = f"batch_norm: x {tuple(x.shape)} has one value per channel"
        raise ShapeError(f"{what}, no variance to train on")


def expect_logits(logits: Array) -> None:
    """Scores of one sample or more for one class or more."""
    if logits.ndim != 2 or logits.size == 0:
        what = "cross_entropy: logits must be (N, K) with N, K >= 1"
        raise ShapeError(f"{what}, got {tuple(logits.shape)}")


def expect_labels(labels: Array, logits: Array) -> None:
    """Whole numbers of 0..K-1 for the N samples of the logits, or their rows of probabilities."""
    n, classes = logits.shape
    if tuple(labels.shape) == (n, classes) and labels.dtype.kind == "f":
        if isinstance(labels, np.ndarray):
            _expect_probabilities(labels)
        return
    if tuple(labels.shape) != (n,) or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"cross_entropy: for logits {(n, classes)} the labels must be integers ({n},) or "
            f"probabilities ({n}, {classes}), got {labels.dtype} {tuple(labels.shape)}"
        )
    if isinstance(labels, np.ndarray) and not 0 <= labels.min() <= labels.max() < classes:
        got = f"{labels.min()} to {labels.max()}"
        what = f"cross_entropy: labels must lie in 0..{classes - 1}"
        raise ShapeError(f"{what}, got values from {got}")


def _expect_probabilities(targets: np.ndarray) -> None:
    """Rows of numbers >= 0 whose sums are 1, to what float16 can say of them (0.001)."""
    sums = targets.sum(1, dtype=np.float64)
    wrong = ~((targets >= 0).all(1) & (abs(sums - 1) <= 1e-3))
    if wrong.any():
        row = int(wrong.argmax())
        raise ShapeError(
            "cross_entropy: probabilities must be at least 0 and sum to 1, but those of sample "
            f"{row} go from {targets[row].min():.6g} and sum to {sums[row]:.6g}"
        )
