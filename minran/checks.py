"""What a caller can get wrong, and the sentence that says so: a function for each kind of mistake.

The core says equations and calls these. They stand in the order of the parts that call them;
every one raises, returns what it was given in the form that is computed with, or returns nothing.
None looks at the numbers of an array on a GPU, which would stall it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral, Real
from types import GeneratorType
from typing import Any

import numpy as np

from minran import backend
from minran.backend.geometry import Pair
from minran.errors import (
    CheckpointError,
    GradientError,
    Kind,
    NoEntryError,
    RecipeError,
    ShapeError,
    did_you_mean,
    expect,
    expect_bool,
    expect_number,
    expect_whole,
    shortened,
    some,
)

Array = Any
"""A NumPy or CuPy array."""

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
    """x has the four axes of images."""
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
def naming(op: str, **arrays: Array) -> Iterator[None]:
    """Add the operation's name and the arrays' shapes to a ShapeError raised in the block."""
    try:
        yield
    except ShapeError as error:
        shapes = ", ".join(f"{name} {tuple(array.shape)}" for name, array in arrays.items())
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


def expect_cotangent(gradient: Array, shape: tuple[int, ...]) -> None:
    """The gradient where the walk back begins has the tensor's shape."""
    if (came := tuple(gradient.shape)) != shape:
        what = f"backward: the gradient must have the tensor's shape {shape}"
        raise GradientError(f"{what}, got {came}")


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


# --- gradcheck


def expect_steps(eps: float, tolerance: float) -> None:
    """The step of a gradient check's differences, and how far from them a gradient may be."""
    for number, what in ((eps, "eps"), (tolerance, "tolerance")):
        expect_number(number, f"gradcheck: {what}", 0, 1, GradientError)
        expect(number > 0, f"gradcheck: eps and tolerance must be > 0, got {what} 0", GradientError)
    expect(eps >= 1e-16, f"gradcheck: 1 + eps must not be 1, got eps={eps}", GradientError)


def expect_differences(arrays: Sequence[Array], checked: Sequence[int]) -> None:
    """There are inputs to check, and a step away from them is a number."""
    expect(bool(checked), "gradcheck: expected at least one floating-point input", GradientError)
    for k in checked:
        if not backend.current().xp.isfinite(arrays[k]).all():
            what = f"gradcheck: input {k} holds numbers that are not finite"
            raise GradientError(f"{what}: no differences there")


def expect_same_result(y: Any, before: Array) -> None:
    """f's result depends on what is checked, is finite, and was the same before."""
    wrong = ""
    if not y.requires_grad:
        wrong = f"f's result ({y.dtype}) depends on no input that is checked"
    elif not backend.current().xp.isfinite(y.data).all():
        wrong = "f's result is not finite there: no differences; move the inputs"
    elif not (y.data == before).all():
        wrong = "two calls of f with the same inputs differ; fix its random numbers"
    expect(not wrong, f"gradcheck: {wrong}", GradientError)


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


def _listed(given: Any, tensor: type) -> list[Any] | None:
    """Several tensors as a list. One can be iterated over, too: its rows, which nobody meant."""
    many = isinstance(given, Iterable) and not isinstance(given, tensor)
    found = list(given) if many else [None]
    return found if all(isinstance(one, tensor) for one in found) else None


def tensors_to_join(tensors: Any, axis: Any, tensor: type) -> list[Any]:
    """What `concat` gets, as a list of one tensor or more; the axis is a whole number."""
    given = _listed(tensors, tensor)
    if not given:
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
    """x are images with pixels, and so are those of the size asked for."""
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
    if not (moments is None or (isinstance(moments, Sequence) and len(moments) == 2)):
        what = "batch_norm: moments must be a mean and a variance per channel"
        raise ShapeError(f"{what}, got {shortened(moments)}")


def expect_channels(x: Array, *vectors: Array) -> None:
    """x are images, and each vector of their batch norm has the channels."""
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


def expect_labels(labels: Array, logits: Array) -> None:
    """Logits (N, K), and N whole numbers of 0..K-1 or N rows of probabilities."""
    if logits.ndim != 2 or logits.size == 0:
        what = "cross_entropy: logits must be (N, K) with N, K >= 1"
        raise ShapeError(f"{what}, got {tuple(logits.shape)}")
    n, classes = logits.shape
    if tuple(labels.shape) == (n, classes) and labels.dtype.kind == "f":
        if isinstance(labels, np.ndarray):  # to what float16 can say of them: 0.001
            sums = labels.sum(1, dtype=np.float64)
            good = (labels >= 0).all(1) & (abs(sums - 1) <= 1e-3)
            row = int(good.argmin())
            if not good[row]:
                what = "probabilities must be at least 0 and sum to 1, but those of sample"
                got = f"{row} go from {labels[row].min():.6g} and sum to {sums[row]:.6g}"
                raise ShapeError(f"cross_entropy: {what} {got}")
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


# --- nn: modules and their state


def expect_none_shared(kind: type, found: Iterable[tuple[str, Any]]) -> None:
    """A class of modules holds no parts: all its instances would share them."""
    for part, _ in found:
        raise ShapeError(
            f"{kind.__name__}.{part} belongs to the class, so all its instances would share it, "
            "and none would train it; assign it in __init__: self.... = ..."
        )


def expect_in_sight(name: Any, value: Any, kinds: tuple[type, ...]) -> None:
    """`value` hides nothing of these `kinds`, as a set or a generator would: they have no names."""
    hides = isinstance(value, GeneratorType | map | filter | zip)
    if isinstance(value, Collection) and not isinstance(value, (str, bytes, *kinds)):
        # An array of numbers holds none, and looking would take long.
        numbers = getattr(getattr(value, "dtype", None), "kind", "O") != "O"
        hides = not numbers and any(isinstance(part, kinds) for part in value)
    if hides:
        what = f"{name} is a {type(value).__name__}"
        raise ShapeError(f"{what}, whose parts have no names; make it a list")


def expect_module(value: Any, module: type, place: str) -> None:
    """`value` is a module; the sentence guesses what was meant."""
    if isinstance(value, module):
        return
    if isinstance(value, list | tuple):
        advice = f"a {type(value).__name__}; give its modules one by one: Sequential(*layers)"
    elif isinstance(value, type):
        advice = f"the class {value.__name__}; make an instance: {value.__name__}()"
    elif callable(value):
        name = getattr(value, "__name__", type(value).__name__)
        advice = f"the function {name}; use a layer, as nn.ReLU() for ops.relu"
    else:
        advice = shortened(value)
    raise ShapeError(f"{place} is for a Module, got {advice}")


def fitting_state(own: dict[str, Array], given: Any) -> dict[str, np.ndarray]:
    """The arrays of a state dict in the dtypes of a model's `own`, if all may take their places."""
    if not isinstance(given, Mapping):
        what = f"expected a dict of arrays, got {type(given).__name__}"
        raise CheckpointError(f"load_state_dict: {what}")
    missing = [name for name in own if name not in given]
    unknown = [name for name in given if name not in own]
    wrong = [
        f"{what} {some(names)}"
        for what, names in (("missing", missing), ("unknown", unknown))
        if names
    ]
    if wrong:
        raise CheckpointError(f"the state does not belong to this model: {'; '.join(wrong)}")
    return {name: _fitting(name, given[name], array) for name, array in own.items()}


def _fitting(name: str, given: Any, own: Array) -> np.ndarray:
    """`given` in the dtype of `own`, if it may take its place."""
    new = backend.to_host(given)
    if new.shape != tuple(own.shape):
        raise ShapeError(f"{name}: the model has shape {tuple(own.shape)}, the state {new.shape}")
    wrong = None
    if not backend.is_floating(new.dtype):
        wrong = f"expected floating-point numbers, the state has dtype {new.dtype}"
    else:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused here
            new = new.astype(own.dtype)
        if not np.isfinite(new).all():
            wrong = f"the state holds numbers that are not finite in {own.dtype}"
        elif name.endswith("running_var") and (new < 0).any():
            wrong = "the state holds a negative variance"
    if wrong:
        raise CheckpointError(f"{name}: {wrong}")
    return new


# --- nn: layers and their initial weights


def expect_counts(layer: str, error: Kind = ShapeError, /, **sizes: Any) -> None:
    """Numbers of channels, features, groups or units are whole and positive."""
    for name, size in sizes.items():
        expect_whole(size, f"{layer}: {name}", error=error)


def expect_groups(layer: str, in_channels: Any, out_channels: Any, groups: Any) -> None:
    """Both numbers of channels divide into the groups."""
    expect_counts(layer, in_channels=in_channels, out_channels=out_channels, groups=groups)
    if in_channels % groups or out_channels % groups:
        what = f"{in_channels} input and {out_channels} output channels"
        raise ShapeError(f"{layer}: {what} do not divide into {groups} groups")


def sides(value: Any, what: str, least: int = 1) -> Pair:
    """`value` as (rows, columns) of at least `least`."""
    found = pair(value, what)
    if min(found) < least:
        raise ShapeError(f"{what} must be at least {least}, got {shortened(value)}")
    return found


def floating(dtype: Any, what: str, error: Kind = ShapeError) -> np.dtype[Any]:
    """`dtype` if it has fractions."""
    try:
        found = np.dtype(dtype)
    except TypeError as problem:
        raise error(f"{what}: there is no dtype {shortened(dtype)}") from problem
    if not backend.is_floating(found):
        raise error(f"{what} must be floating-point, got {found}")
    return found


def generator(rng: Any) -> np.random.Generator:
    """The generator passed in; without one, a generator of fresh entropy, as PyTorch does."""
    if rng is None:
        return np.random.default_rng()
    if not isinstance(rng, np.random.Generator):
        what = "rng must be a NumPy Generator such as np.random.default_rng(0)"
        raise ShapeError(f"{what}, got {shortened(rng)}")
    return rng


_left: ContextVar[int | None] = ContextVar("left", default=None)


@contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """Within the block, no more than so many numbers are made: for recipes of strangers.

    What comes after them raises RecipeError before it takes memory or time.
    """
    before = _left.set(numbers)
    try:
        yield
    finally:
        _left.reset(before)


def spend(shape: tuple[int, ...]) -> None:
    """Count an array of weights that is about to be made, if a block of `at_most` is around it."""
    left, size = _left.get(), math.prod(shape)
    if left is not None:
        _left.set(left - size)
        if left < size:
            what = "the network has more numbers than there are weights"
            raise RecipeError(f"{what} (an array of {shape})")


# --- models: widths, names and options


def model_options(name: str, options: dict[str, Any], spec: Any) -> dict[str, Any]:
    """The options of a network, with tuples for lists, if each is of the kind of its default."""
    for option, value in options.items():
        if option not in vars(spec):
            what = f"{name}: unknown option {option!r}"
            raise RecipeError(f"{what}; {did_you_mean(option, vars(spec))}")
        default, least = getattr(spec, option), 0 if option in ("modules", "tail_units") else 1
        several = isinstance(default, tuple)
        if isinstance(default, str):
            good, wanted = isinstance(value, str), f"a word such as {default!r}"
        elif several:
            good = isinstance(value, tuple | list) and all(_is_size(n, least) for n in value)
            wanted = f"whole numbers of at least {least} such as {default}"
        else:
            good, wanted = _is_size(value, least), f"a whole number of at least {least}"
        if not good:
            raise RecipeError(f"{name}: option {option!r} must be {wanted}, got {value!r}")
    return {key: tuple(it) if isinstance(it, list) else it for key, it in options.items()}


def _is_size(value: Any, least: int) -> bool:
    return _is_whole(value) and value >= least


def expect_stages(name: str, spec: Any) -> None:
    """What a specification says of stages has an entry for each."""
    per_stage = {field: value for field, value in vars(spec).items() if isinstance(value, tuple)}
    if len({len(value) for value in per_stage.values()}) != 1:
        listed = ", ".join(f"{field} {value}" for field, value in per_stage.items())
        raise RecipeError(f"{name}: {listed} must have one entry per stage each")


def precision(name: str, dtype: Any) -> np.dtype[Any]:
    """The precision of a network."""
    found = floating(dtype, f"{name}: dtype", RecipeError)
    if found not in (np.float32, np.float64):
        raise RecipeError(f"{name}: dtype must be float32 or float64, got {found}")
    return found


# --- optim: gradient descent


def trained(params: Any, tensor: Any) -> list[Any]:
    """The parameters of an optimiser as a list, each of which can be trained."""
    # A Tensor can be iterated over, too: its rows, which would not be what is trained.
    if isinstance(params, tensor) or not isinstance(params, Iterable):
        got = type(params).__name__
        raise RecipeError(f"SGD: params must be a list of tensors, got one {got}")
    found: list[Any] = list(params)
    if not found:
        raise RecipeError("SGD: there are no parameters to train")
    for index, param in enumerate(found):
        if not (isinstance(param, tensor) and param.requires_grad):
            raise RecipeError(f"SGD: params[{index}] is no Tensor that requires a gradient")
    if len({id(param) for param in found}) != len(found):
        raise RecipeError("SGD: a parameter is listed twice; each step would move it twice")
    return found


def expect_all_gradients(params: list[Any]) -> None:
    """Each parameter has a gradient of its shape."""
    for param in params:
        if param.grad is None:
            raise GradientError(
                f"SGD.step: a parameter of shape {param.shape} has no gradient; call "
                "loss.backward() first, and check that the loss depends on it"
            )
        if getattr(param.grad, "shape", None) != param.shape:
            raise GradientError(
                f"SGD.step: a parameter of shape {param.shape} has the gradient "
                f"{shortened(param.grad)}, which is no array of that shape"
            )


def expect_velocities(own: dict[str, Array], given: Any) -> None:
    """The arrays of an optimiser's state may take the places of its `own`."""
    found = given if isinstance(given, Mapping) else {}
    shapes = {name: tuple(array.shape) for name, array in own.items()}
    if {name: np.shape(array) for name, array in found.items()} != shapes:
        count = len(given) if found is given else "no"
        what = f"the optimiser's state ({count} velocities)"
        raise CheckpointError(f"{what} does not belong to these {len(own)} parameters")
    for name, array in found.items():
        if not (backend.is_floating(np.asarray(array).dtype) and np.isfinite(array).all()):
            what = "the optimiser's state must be finite floating-point numbers"
            raise CheckpointError(f"{name}: {what}")


# --- train: batches


def expect_batch(batch: Any) -> None:
    """Prepared images and labels, and perhaps soft labels, of one number."""
    good = len(batch) in (2, 3) and len({len(part) for part in batch}) == 1
    if not (good and batch[0].ndim == 4 and batch[0].dtype.kind == "f"):
        shapes = ", ".join(f"{part.shape} {part.dtype}" for part in batch)
        what = "train_step: batch must be prepared images (N, H, W, C) and labels"
        raise ShapeError(f"{what}, got {shapes}")


# --- distributed: what is summed over processes


def tensors(given: Any, tensor: Any, what: str) -> list[Any]:
    """Several tensors as a list."""
    found = _listed(given, tensor)
    if found is None:
        raise ShapeError(f"{what} must be a list of tensors, got {shortened(given)}")
    return found


def expect_numbers(what: str, numbers: tuple[Any, ...]) -> None:
    """Each is a number, or True or False."""
    for number in numbers:
        if not isinstance(number, Real | np.bool_):
            raise ShapeError(f"{what}: each must be a number, got {shortened(number)}")
