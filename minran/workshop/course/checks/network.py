"""Checks of notebooks 07 to 11: units, masks, gates, attention, and counts of whole networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np

from minran import create_model, nn, ops, tensor
from minran.inspect import summary
from minran.inspect.probe import call_shapes
from minran.models import AttentionModule, Hourglass
from minran.models.units import Build, PreActUnit
from minran.workshop.course.checking import (
    Function,
    beside,
    compare,
    generator,
    gradients,
    require,
    unpack,
)

# (cin, cout, stride): nothing changes, the width changes, the size changes, both.
_UNITS = ((16, 16, 1), (8, 16, 1), (16, 16, 2), (8, 32, 2), (32, 16, 1))
_UNIT = "cin {}, cout {}, stride {}"
_LEARNING = "residual", "naive"
_MAPS = (2, 3, 4, 5), (1, 1, 6, 3), (3, 4, 2, 2)


@contextmanager
def _own_work(kind: type, name: str, mine: type = object) -> Iterator[None]:
    """Within the block an object of class `mine` must not call `kind.name`, the library's."""
    library = getattr(kind, name)

    def guarded(self: Any, *args: Any, **options: Any) -> Any:
        hint = "write the answer yourself; the library's is what it is compared with"
        what = f"your code lets the library's {kind.__name__} do the work"
        require(not isinstance(self, mine), what, f"{kind.__name__}.{name}", hint)
        return library(self, *args, **options)

    setattr(kind, name, guarded)
    try:
        yield
    finally:
        setattr(kind, name, library)


def count(answer: Function, *case: Any) -> Any:
    """What an answer counts for a case without building a network."""
    with _own_work(nn.Conv2d, "__init__"):
        return answer(*case)


def _unit(cin: int, cout: int, stride: int) -> PreActUnit:
    return PreActUnit(Build(generator(cin, cout, stride)), cin, cout, stride)


def check_7_1(preact_parameters: Function) -> None:
    """list what is trained: [(name, p.shape) for name, p in
    PreActUnit(build, 8, 16).named_parameters()]
    """
    for case in _UNITS:
        unit = _unit(*case)
        right, got = unit.num_parameters(), beside(count, preact_parameters, *case)
        norms = sum(p.size for p in unit.parameters() if p.ndim == 1)
        projection = 0 if unit.shortcut is None else unit.shortcut.weight.size
        cin, cout, inner = case[0], case[1], case[0] // 4
        of_cin = inner * (cin + 9 * inner + cout) + 2 * (cin + 2 * inner) + projection
        hint = ""
        if got == right - norms:
            hint = "this counts convolutions only: each batch norm has two numbers per channel"
        elif projection and got == right - projection:
            hint = "the shape changes, so there is a projection: cin cout weights"
        elif not projection and got == right + case[0] * case[1]:
            hint = "the shape stays, so there is no projection: the shortcut is x itself"
        elif projection and got == right + 2 * case[1]:
            hint = "the projection of a pre-activation unit has no batch norm of its own"
        elif got in (of_cin, of_cin - 2 * (cin + 2 * inner)):
            hint = "the bottleneck is a quarter of the width that goes out: cout / 4"
        where = _UNIT.format(*case)
        compare("the number of parameters", got, right, hint, where=where)


def check_7_2(Unit: type[nn.Module]) -> None:
    """is every path differentiated?"""
    rng = generator(72)
    for case in _UNITS:
        where, right = _UNIT.format(*case), _unit(*case)
        _compare_parameters(beside(parameters_of, Unit, case), right, where)
        x = tensor(rng.standard_normal((2, 6, 6, case[0])), requires_grad=True, dtype="float32")
        y = right(x)
        gy = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(gy)
        given = case, right.state_dict(), x.numpy().copy(), gy
        got, gradient, unused = beside(run_unit, Unit, *given)
        hint = "(7.14): x itself is added to the output of conv3"
        if (got < 0).sum() == 0 < (y.numpy() < 0).sum():
            hint = "a pre-activation unit ends with the sum: no ReLU after it"
        elif right.shortcut is not None:
            hint = "the projection reads a = relu(bn(x)), and has the unit's stride; so has conv2"
        compare("the output", got, y, hint, 1e-4, where)
        compare("the gradient of x", gradient, x.grad, "", 1e-3, where)
        name = next(iter(unused), "")
        require(not name, f"{name} gets no gradient", where, "forward does not use it")


def parameters_of(build: Any, case: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of a unit's parameters by name."""
    with _own_work(PreActUnit, "__init__"):
        return {name: p.shape for name, p in build(*case).named_parameters()}


def run_unit(
    build: Any, case: tuple[int, ...], state: dict[str, np.ndarray], x: Any, gy: Any
) -> tuple[Any, Any, list[str]]:
    """The output, the gradient of x, and the names of parameters that get none."""
    unit: nn.Module = build(*case)
    unit.load_state_dict(state)
    leaf = tensor(x, requires_grad=True)
    with _own_work(PreActUnit, "forward"):
        y = unit(leaf)
    require(y is not None, "forward returned None", "", "end with: return ...")
    if y.shape == gy.shape:
        y.backward(gy)
    return y.numpy(), leaf.grad, [n for n, p in unit.named_parameters() if p.grad is None]


def _compare_parameters(got: dict[str, Any], right: nn.Module, where: str) -> None:
    expected = parameters_of(lambda: right, ())
    extra = ", ".join(name for name in got if name not in expected)
    missing = ", ".join(name for name in expected if name not in got)
    hint = "only the parameters of (7.14)"
    if "shortcut" in extra:
        hint = "a projection exists only if the width or the size changes"
    require(not extra, f"the unit has parameters too many: {extra}", where, hint)
    hint = "is the layer an attribute of self, under its name?"
    if missing == "shortcut.weight":
        hint = "the shape changes here, so x cannot be added as it is: a projection is needed"
    require(not missing, f"the unit lacks {missing}", where, hint)
    hint = "weights are (KH, KW, Cin, Cout); the bottleneck is cout / 4 wide"
    for name, shape in expected.items():
        what = f"{name} has shape {got[name]}, expected {shape}"
        require(got[name] == shape, what, where, hint)


def check_8_1(mask_heights: Function) -> None:
    """a 3x3 pool with stride 2, no padding, rounded up: ceil((h - 3) / 2) + 1; then the same sizes
    backwards, the last one being the input's
    """
    for size, depth in ((32, 3), (16, 2), (8, 1), (56, 3), (33, 2), (43, 3), (15, 1)):
        body = Hourglass(Build(np.random.default_rng(0)), 4, depth, r=1)
        calls = call_shapes(body, tensor(np.zeros((1, size, size, 4), np.float32)))
        resized = nn.MaxPool2d | nn.UpsampleBilinear2d
        right = [output[1] for module, _, output in calls if isinstance(module, resized)]
        where = f"size {size}, depth {depth}"
        compare("the list of heights", mask_heights(size, depth), right, where=where)


def check_8_2(MyHourglass: type[Hourglass]) -> None:
    """(8.3) to (8.6): pool, down; skip(d) joins after the interpolation; then up; interpolate"""
    for depth, r, size in ((1, 1, 12), (2, 1, 13), (3, 2, 16)):
        rng = generator(8, depth)
        given = depth, r, int(rng.integers(1 << 30)), rng.standard_normal((2, size, size, 8))
        mine, ours = beside(run_hourglass, MyHourglass, *given), _hourglass(Hourglass, *given)
        where = f"depth {depth}, r {r}, input {size}x{size}"
        compare("the output of your hourglass", mine, ours, "", 1e-9, where)


def run_hourglass(kind: Any, depth: int, r: int, seed: int, x: np.ndarray) -> Any:
    """The output of an answer with weights of that seed; its levels inside are the library's."""
    with _own_work(Hourglass, "forward", kind):
        return _hourglass(kind, depth, r, seed, x)


def _hourglass(kind: Any, depth: int, r: int, seed: int, x: np.ndarray) -> Any:
    return kind(Build(np.random.default_rng(seed), np.float64), x.shape[3], depth, r)(tensor(x))


def check_8_3(module_parameters: Function) -> None:
    """count units: r after each pool, r on each level of the way up, a skip on all levels but the
    deepest, and p + t + p outside; then (8.9) and (8.10)
    """
    imagenet = "a module of Attention-56 on ImageNet"
    for *case, words in (
        (16, 1, 1, 2, 1, "p, t, r as usual, depth 1"),
        (16, 3, 1, 2, 1, "depth 3: a skip at each level but the deepest"),
        (32, 2, 1, 2, 3, "r = 3: the deepest level has 2r units"),
        (32, 1, 2, 4, 1, "p = 2, t = 4: p units stand before and after"),
        (256, 3, 1, 2, 1, imagenet),
        (512, 2, 1, 2, 1, imagenet),
        (1024, 1, 1, 2, 1, imagenet),
    ):
        where = "channels {}, depth {}, p {}, t {}, r {} ({})".format(*case, words)
        right = _module(*case).num_parameters()
        compare(
            "the number of parameters", beside(count, module_parameters, *case), right, "", 0, where
        )


def _module(channels: int, depth: int, p: int, t: int, r: int) -> AttentionModule:
    return AttentionModule(Build(np.random.default_rng(0)), channels, depth, p, t, r)


def check_9_1(gate_backward: Function) -> None:
    """keep M fixed: H is T times a factor, in both kinds of learning; which one?"""
    rng = generator(91)
    mask, trunk = rng.random((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    for learning in _LEARNING:
        _, gy, *right = gradients(rng, ops.gate, mask, trunk, learning=learning)
        got = gate_backward(gy, mask.copy(), trunk.copy(), learning)
        gmask, gtrunk = unpack("gate_backward", got, "gmask", "gtrunk")
        where = f'learning "{learning}"'
        compare("gmask", gmask, right[0], "keep T fixed: how does H change with M?", where=where)
        compare("gtrunk", gtrunk, right[1], where=where)


def check_9_2(module_slope: Function) -> None:
    """two terms, (9.3): through the trunk, and T times the slope of the mask"""
    points = np.linspace(-3, 3, 13)
    for learning, (a, b) in product(_LEARNING, ((1.0, 1.0), (-0.7, 2.0), (2.0, -0.5))):
        x = tensor(points.copy(), requires_grad=True)
        ops.gate(ops.sigmoid(x * b), x * a, learning).backward(np.ones_like(points))
        where = f'a = {a}, b = {b}, learning "{learning}", x from -3 to 3'
        compare("dH/dx", module_slope(points.copy(), a, b, learning), x.grad, where=where)


def check_9_3(chain_factor: Function) -> None:
    """each gate multiplies by its own factor, entry by entry"""
    rng = generator(93)
    for count, learning in product((1, 2, 5), _LEARNING):
        masks = rng.random((count, 2, 4, 3))
        u = h = tensor(np.ones(masks.shape[1:]), requires_grad=True)
        for mask in masks:
            h = ops.gate(tensor(mask), h, learning)
        h.backward(np.ones(h.shape))
        where = f'{count} gates, learning "{learning}"'
        compare("the factor", chain_factor(masks, learning), u.grad, where=where)


def check_10_1(channel_backward: Function) -> None:
    """(10.4): take out of gy its part along y, position by position; divide by the length"""
    rng = generator(101)
    for shape in _MAPS:
        values = 2 * rng.standard_normal(shape)
        # Vectors of some length: dividing by a tiny one would show rounding, not the answer.
        x = values + np.copysign(0.5, values)
        y, gy, gx = gradients(rng, ops.channel_attention, x)
        got = channel_backward(gy, y.copy(), np.sqrt((x**2).sum(axis=-1)))
        compare("gx", got, gx, where=f"shape {shape}")


def check_10_2(spatial_backward: Function) -> None:
    """(10.7): first through the sigmoid, then subtract two averages over the positions of each map
    (axes 1 and 2), then divide by the standard deviation
    """
    rng = generator(102)
    for shape in _MAPS:
        x = 1 + 3 * rng.standard_normal(shape)
        y, gy, gx = gradients(rng, ops.spatial_attention, x)
        mean, inv_std = x.mean(axis=(1, 2)), 1 / np.sqrt(x.var(axis=(1, 2)) + 1e-5)
        got = spatial_backward(gy, x, y.copy(), mean, inv_std)
        compare("gx", got, gx, where=f"shape {shape}")


def _network(m: int, p: int, t: int, **changes: Any) -> Any:
    return summary(create_model("attention56_cifar", modules=(m,) * 3, p=p, t=t, **changes))


def check_11_1(trunk_depth: Function) -> None:
    """p units stand before and after the trunk's t units; a unit has three layers"""
    narrow: dict[str, Any] = {"stem_width": 4, "widths": (4, 4, 4), "tail_width": 4}
    for m, p, t in ((1, 1, 2), (2, 1, 2), (6, 1, 2), (1, 2, 2), (1, 1, 3), (6, 2, 4)):
        right = _network(m, p, t, **narrow).trunk_depth
        where = f"m = {m}, p = {p}, t = {t}"
        compare("the depth", beside(count, trunk_depth, m, p, t), right, where=where)


def check_11_2(count_parameters: Function) -> None:
    """two numbers for each channel of every batch norm; one stands before the pool"""
    plain = "with m = 0: stem, three first units with projections, three units, classifier"
    networks = (0, 1, 2, 1), (1, 1, 2, 1), (2, 1, 2, 1), (1, 2, 4, 1), (1, 1, 2, 3), (6, 2, 4, 3)
    for m, p, t, r in networks:
        counts = _network(m, p, t, r=r)
        rights = ((False, counts.parameters_without_norm, plain), (True, counts.parameters, ""))
        for norms, right, hint in rights:
            where = f"m = {m}, p = {p}, t = {t}, r = {r}, norms = {norms}"
            where += " (Attention-452)" * (m == 6)
            got = beside(count, count_parameters, m, p, t, r, norms)
            compare("the count", got, right, hint, 0, where)


def check_11_3(module_multiply_adds: Function) -> None:
    """(11.5), (11.6): each pool halves the size, rounding down; the head is at full size"""
    sizes = (8, 16, 1, 1, 2, 1), (16, 16, 2, 1, 2, 1), (32, 16, 3, 2, 4, 3), (33, 8, 2, 1, 2, 2)
    for size, *case in sizes:
        right = summary(_module(*case), image_size=size).multiply_adds
        where = "size {}, channels {}, depth {}, p = {}, t = {}, r = {}".format(size, *case)
        got = beside(count, module_multiply_adds, size, *case)
        compare("the count", got, right, "", 0, where)
