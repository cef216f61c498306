"""What hypothesis may try of every operation: a strategy of calls for each, one line in PROPERTIES.

A call is a function of Tensors, its twin in PyTorch, and the shapes of the arguments. Which values,
layout and precision they have is drawn apart (`arrays`), the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from op_cases import POINTWISE, nchw, nhwc, torch_spatial
from torch.nn import functional

from minran import no_grad, ops

Shape = tuple[int, ...]
Draw = Callable[[Any], Any]


def torch_conv2d(x: Any, w: Any, bias: Any = None, **options: Any) -> Any:
    """PyTorch's own gradient asks for a contiguous w where x has NaN."""
    w = w.permute(3, 2, 0, 1).contiguous()
    return nhwc(functional.conv2d(nchw(x).contiguous(), w, bias, **options))


@dataclass(frozen=True)
class Call:
    """`mine` and `theirs` take arguments of `shapes`; those in `positive` are above 0."""

    words: str
    mine: Callable[..., Any]
    theirs: Callable[..., Any]
    shapes: tuple[Shape, ...]
    positive: tuple[int, ...] = ()
    still: bool = False
    """The first argument's own roundings are no excuse for an error: its mean is taken off, or its
    largest number found."""
    kink: Callable[..., Any] | None = None
    """What a ReLU inside sees, in PyTorch: at 0 a gradient jumps."""
    divisor: Callable[..., Any] | None = None
    """What gy is divided by in the terms of the first gradient, in PyTorch, where they may cancel.

    gx = (gy - y <gy, y>) / norm for a normalised y: of a pixel with one channel, y = 1 and nothing
    is left but eps / norm^2 of gy / norm, whose roundings stay. The same with two pixels a map, or
    with two values a channel in a batch norm.
    """
    records: bool = True
    """Whether there are gradients."""

    def __repr__(self) -> str:
        return f"{self.words} {self.shapes}"


few, sizes = st.integers(0, 3), st.integers(1, 6)
pictures = st.tuples(few, sizes, sizes, st.integers(1, 4))
rows = st.tuples(st.integers(1, 4), st.integers(1, 6))
anything = hnp.array_shapes(min_dims=0, max_dims=4, max_side=4) | st.just((0, 3))
windows = st.tuples(st.integers(1, 3), st.integers(1, 3))


def of(shapes: st.SearchStrategy, mine: Any, theirs: Any, **options: Any) -> st.SearchStrategy:
    """An operation of one tensor."""
    return shapes.map(lambda shape: Call("", mine, theirs, (shape,), **options))


def of_two(mine: Any, theirs: Any, **options: Any) -> st.SearchStrategy:
    """An operation of two tensors whose shapes broadcast."""
    return hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3).map(
        lambda shapes: Call("", mine, theirs, shapes.input_shapes, **options)
    )


@st.composite
def convolutions(draw: Draw) -> Call:
    groups = draw(st.integers(1, 2))
    (n, h, w, _), kernel, stride = draw(pictures), draw(windows), draw(windows)
    c, k = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    padding = tuple(draw(st.integers(0, 2)) for _ in "hw")
    kernel = tuple(min(a, s + 2 * p) for a, s, p in zip(kernel, (h, w), padding, strict=True))
    options = {"stride": stride, "padding": padding, "groups": groups}
    shapes = [(n, h, w, c), (*kernel, c // groups, k), *([(k,)] if draw(st.booleans()) else [])]
    return Call(
        f"{options}",
        lambda *t: ops.conv2d(*t, **options),
        lambda *t: torch_conv2d(*t, **options),
        tuple(shapes),
    )


@st.composite
def pools(draw: Draw, largest: bool) -> Call:
    shape, stride = draw(pictures), draw(windows)
    kernel = tuple(min(a, s) for a, s in zip(draw(windows), shape[1:3], strict=True))
    padding = tuple(draw(st.integers(0, a // 2)) for a in kernel)
    if not largest:
        return Call(
            f"{kernel} {stride} {padding}",
            lambda t: ops.avg_pool2d(t, kernel, stride, padding),
            lambda t: nhwc(functional.avg_pool2d(nchw(t), kernel, stride, padding)),
            (shape,),
        )
    ceil = draw(st.booleans())
    return Call(
        f"{kernel} {stride} {padding} {ceil}",
        lambda t: ops.max_pool2d(t, kernel, stride, padding, ceil),
        lambda t: nhwc(functional.max_pool2d(nchw(t), kernel, stride, padding, 1, ceil)),
        (shape,),
        still=True,
    )


@st.composite
def upsamples(draw: Draw) -> Call:
    (n, *rest), size, corners = draw(pictures), draw(st.tuples(sizes, sizes)), draw(st.booleans())
    return Call(
        f"{size} {corners}",
        lambda t: ops.upsample_bilinear2d(t, size, corners),
        lambda t: nhwc(
            functional.interpolate(nchw(t), size, mode="bilinear", align_corners=corners)
        ),
        ((max(n, 1), *rest),),  # PyTorch takes no empty batch here
    )


@st.composite
def norms(draw: Draw, kind: str) -> Call:
    """`kind` is the operation; mean and variance are the batch's, or those of a standard normal."""
    features = kind != "norm_relu_conv2d" and draw(st.booleans())
    shape = draw(rows if features else pictures)
    shape = (shape[0] + 2, *shape[1:])
    c, training = shape[-1], draw(st.booleans())
    w, stride, padding = (), 1, 0
    if kind == "norm_relu_conv2d":
        stride, kernel = draw(st.integers(1, 2)), draw(st.integers(1, min(3, *shape[1:3])))
        padding, w = draw(st.integers(0, kernel - 1)), ((kernel, kernel, c, draw(few) + 1),)

    def mine(x: Any, gamma: Any, beta: Any, *weight: Any) -> Any:
        running = np.zeros(c, x.dtype), np.ones(c, x.dtype)
        options = {"stride": stride, "padding": padding} if weight else {}
        return getattr(ops, kind)(x, gamma, beta, *running, training, *weight, **options)

    def normal(x: Any, gamma: Any, beta: Any, *_: Any) -> Any:
        running = torch.zeros(c, dtype=x.dtype), torch.ones(c, dtype=x.dtype)
        y = functional.batch_norm(x if features else nchw(x), *running, gamma, beta, training)
        return y if features else nhwc(y)

    def theirs(x: Any, gamma: Any, beta: Any, *weight: Any) -> Any:
        y = normal(x, gamma, beta)
        y = y.relu() if "relu" in kind else y
        if not weight:
            return y
        if not training:
            # What no window reads, or the ReLU cuts off, takes no part in the fused gradients, were
            # it infinite; PyTorch multiplies it by 0.
            zero = torch.zeros_like(x)
            part = read(x, *weight) & (y != 0)
            y = torch.where(part, normal(torch.where(part, x, zero), gamma, beta), zero)
        return torch_conv2d(y, *weight, stride=stride, padding=padding)

    def read(x: Any, w: Any) -> Any:
        """Which pixels the convolution's windows read: a stride may leave some out."""
        ones = torch.ones_like(x, requires_grad=True)
        y = torch_conv2d(ones, torch.ones_like(w), stride=stride, padding=padding)
        return torch.autograd.grad(y.sum(), ones)[0] != 0

    def divisor(x: Any, gamma: Any, _: Any, *weight: Any) -> Any:
        """Per channel; a gradient that comes back through a convolution is at most sum |w| gy."""
        var = x.var(tuple(range(x.ndim - 1)), correction=0) if training else 1 + 0 * gamma
        reach = weight[0].abs().sum((0, 1, 3)) if weight else 1
        return (var + 1e-5).sqrt() / (gamma.abs() * reach)

    return Call(
        f"{training} {stride} {padding}",
        mine,
        theirs,
        (shape, (c,), (c,), *w),
        still=True,
        kink=normal if "relu" in kind else None,
        divisor=divisor,
    )


@st.composite
def units(draw: Draw) -> Call:
    n, h, w, c = draw(pictures)
    d, stride = draw(few) + 1, draw(st.integers(1, 2))
    vectors = tuple((2, k) for k in (c, d, d))

    def mine(x: Any, w1: Any, w2: Any, w3: Any, skip: Any, *affine: Any) -> Any:
        norms = [
            (a[0], a[1], np.zeros(a.shape[1], x.dtype), np.ones(a.shape[1], x.dtype), 1e-5)
            for a in affine
        ]
        with no_grad():
            return ops.folded_unit(x, norms, [w1, w2, w3], skip, stride)

    def theirs(x: Any, w1: Any, w2: Any, w3: Any, skip: Any, *affine: Any) -> Any:
        def norm(t: Any, a: Any) -> Any:
            return (a[0] * t / (1 + 1e-5) ** 0.5 + a[1]).relu()

        p = norm(x, affine[0])
        v = torch_conv2d(norm(torch_conv2d(p, w1), affine[1]), w2, stride=stride, padding=1)
        return torch_conv2d(norm(v, affine[2]), w3) + torch_conv2d(p, skip, stride=stride)

    weights = (1, 1, c, d), (3, 3, d, d), (1, 1, d, 2), (1, 1, c, 2)
    return Call(f"{stride}", mine, theirs, ((n, h, w, c), *weights, *vectors), records=False)


@st.composite
def losses(draw: Draw) -> Call:
    n, k = draw(rows)
    smoothing = draw(st.sampled_from([0.0, 0.1, 0.5]))
    labels = np.array(draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))

    def theirs(t: Any) -> Any:
        return functional.cross_entropy(t, torch.tensor(labels), label_smoothing=smoothing)

    return Call(
        f"{labels} {smoothing}",
        lambda t: ops.cross_entropy(t, labels, smoothing),
        theirs,
        ((n, k),),
    )


@st.composite
def reductions(draw: Draw, name: str, twin: str, still: bool = False) -> Call:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    axes, keep = draw(hnp.valid_tuple_axes(len(shape), min_size=1)), draw(st.booleans())
    return Call(
        f"{axes} {keep}",
        lambda t: getattr(t, name)(axes, keep),
        lambda t: getattr(t, twin)(axes, keep),
        (shape,),
        still=still,
    )


@st.composite
def concatenations(draw: Draw) -> Call:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3))
    axis, counts = draw(st.integers(-len(shape), len(shape) - 1)), draw(st.lists(few, min_size=1))
    at = axis % len(shape)
    shapes = tuple((*shape[:at], count, *shape[at + 1 :]) for count in counts[:4])
    return Call(f"{axis}", lambda *t: ops.concat(t, axis), lambda *t: torch.cat(t, axis), shapes)


@st.composite
def rearrangements(draw: Draw) -> Call:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=3))
    order = tuple(draw(st.permutations(range(len(shape)))))
    return Call(
        f"{order}",
        lambda t: t.transpose(order).reshape(-1)[::2],
        lambda t: t.permute(order).reshape(-1)[::2],
        (shape,),
    )


def linears(bias: bool) -> st.SearchStrategy:
    def call(n: int, d: int, k: int) -> Call:
        shapes = ((n, d), (d, k), (k,))
        if bias:
            return Call("", ops.linear, lambda x, w, b: x @ w + b, shapes)
        return Call("", lambda x, w: x @ w, lambda x, w: x @ w, shapes[:2])

    return st.builds(call, few, sizes, sizes)


def gates() -> st.SearchStrategy:
    def call(shape: Shape, residual: bool) -> Call:
        learning, one = ("residual", 1) if residual else ("naive", 0)
        mine = lambda m, t: ops.gate(m, t, learning)  # noqa: E731
        return Call(learning, mine, lambda m, t: (one + m) * t, (shape, shape))

    return st.builds(call, pictures, st.booleans())


def channel_norm(x: Any) -> Any:
    return (x.square().sum(3, keepdim=True) + 1e-12).sqrt()


def four_deviations(x: Any) -> Any:
    """Of each map: the sigmoid's slope, which gy is multiplied by first, is at most 1/4."""
    return 4 * (x.var((1, 2), correction=0, keepdim=True) + 1e-5).sqrt()


PROPERTIES: dict[str, st.SearchStrategy] = {
    **{name: of(anything, *twins) for name, twins in POINTWISE.items()},
    "channel_attention": of(
        pictures, ops.channel_attention, lambda x: x / channel_norm(x), divisor=channel_norm
    ),
    "spatial_attention": of(
        pictures, ops.spatial_attention, torch_spatial, still=True, divisor=four_deviations
    ),
    "gate": gates(),
    "softmax": of(rows, ops.softmax, lambda x: x.softmax(-1)),
    "log_softmax": of(rows, ops.log_softmax, lambda x: x.log_softmax(-1)),
    "cross_entropy": losses(),
    "linear": linears(bias=True),
    "conv2d": convolutions(),
    "max_pool2d": pools(largest=True),
    "avg_pool2d": pools(largest=False),
    "global_avg_pool": of(pictures, ops.global_avg_pool, lambda x: x.mean((1, 2))),
    "upsample_bilinear2d": upsamples(),
    "batch_norm": norms("batch_norm"),
    "batch_norm_relu": norms("batch_norm_relu"),
    "norm_relu_conv2d": norms("norm_relu_conv2d"),
    "folded_unit": units(),
    "concat": concatenations(),
    "+": of_two(lambda a, b: a + b, torch.add),
    "-": of_two(lambda a, b: a - b, torch.sub),
    "*": of_two(lambda a, b: a * b, torch.mul),
    "/": of_two(lambda a, b: a / b, torch.div, positive=(1,)),
    "@": linears(bias=False),
    "neg": of(anything, lambda x: -x, torch.neg),
    "pow": of(anything, lambda x: x**3, lambda x: x**3),
    "exp": of(anything, lambda x: x.exp(), torch.exp),
    "log": of(anything, lambda x: x.log(), torch.log, positive=(0,)),
    "sqrt": of(anything, lambda x: x.sqrt(), torch.sqrt, positive=(0,)),
    "sum": reductions("sum", "sum"),
    "mean": reductions("mean", "mean"),
    "max": reductions("max", "amax", still=True),
    "transpose, reshape, index": rearrangements(),
}

VALUES: dict[str, tuple[float, float]] = {
    "normal": (0, 1),
    "far": (100, 1),
    "farther": (-1e4, 1),
    "huge": (0, 1e6),
    "tiny": (0, 1e-6),
    "constant": (88.8, 0),
    "whole": (0, 1),  # rounded: with ties and zeros
}
SPECIAL = (np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0)
LAYOUTS = ("C", "Fortran", "backwards", "gaps", "repeated", "read-only")


@dataclass(frozen=True)
class Argument:
    """float32 numbers, which are float64 numbers as well, and how they lie in memory."""

    numbers: np.ndarray
    layout: str

    def __repr__(self) -> str:
        return f"{self.numbers.tolist()} {self.layout}"

    def placed(self, dtype: Any) -> np.ndarray:
        x = np.array(self.numbers, dtype)
        if self.layout == "Fortran" and x.ndim:
            return np.asfortranarray(x)
        if self.layout == "backwards":
            return np.flip(np.flip(x).copy())
        if self.layout == "gaps" and x.ndim:
            return np.repeat(x, 2, -1)[..., ::2]
        if self.layout == "repeated" and x.ndim and len(x):
            return np.broadcast_to(x[:1], x.shape)  # the numbers are repeated already
        x.flags.writeable = self.layout != "read-only"
        return x


@st.composite
def arguments(draw: Draw, call: Call, special: bool = False) -> list[Argument]:
    """What to call with; `special` puts NaN and the like into the first argument.

    Values like VALUES are the first argument's; the others are near 1 in size, as weights are.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(sorted(VALUES)))
    results = []
    for k, shape in enumerate(call.shapes):
        mean, deviation = VALUES[kind if k == 0 else "normal"]
        x = np.asarray(mean + deviation * rng.standard_normal(shape))
        x = np.round(x) if kind == "whole" and k == 0 else x
        x = np.abs(x) + 1e-3 if k in call.positive else x
        if special and k == 0 and x.size:
            for _ in range(draw(st.integers(1, 3))):
                x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from(SPECIAL))
        layout = draw(st.sampled_from(LAYOUTS))
        if layout == "repeated" and x.ndim and len(x):
            x = np.broadcast_to(x[:1], x.shape)
        results.append(Argument(np.array(x, np.float32), layout))
    return results
