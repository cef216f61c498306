"""Checks of notebooks 07 to 11: units, masks, gates, attention, and counts of whole networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import create_model, nn, ops, tensor
from minran.inspect import summary
from minran.inspect.probe import call_shapes
from minran.models import AttentionModule, Hourglass
from minran.models.units import Build, PreActUnit
from minran.workshop.course.checking import (
    Function,
    Wrong,
    beside,
    compare,
    compare_calls,
    expect_class,
    generator,
    gradients,
    unpack,
)

# (cin, cout, stride): nothing changes, the width changes, the size changes, both.
_UNITS = ((16, 16, 1), (8, 16, 1), (16, 16, 2), (8, 32, 2), (32, 16, 1))


def _unit(cin: int, cout: int, stride: int) -> PreActUnit:
    return PreActUnit(Build(generator(cin, cout, stride)), cin, cout, stride)


def check_7_1(preact_parameters: Function) -> None:
    """Judge the count against the library's unit."""
    for case in _UNITS:
        unit = _unit(*case)
        expected = unit.num_parameters()
        got = preact_parameters(*case)
        norms = sum(p.size for p in unit.parameters() if p.ndim == 1)
        projection = 0 if unit.shortcut is None else unit.shortcut.weight.size
        hint = (
            "list the unit's parameters: [(name, p.shape) for name, p in unit.named_parameters()]"
        )
        if got == expected - norms:
            hint = "this counts convolutions only: each batch norm has two numbers per channel"
        elif projection and got == expected - projection:
            hint = "the shape changes, so there is a projection: cin cout weights"
        elif not projection and got == expected + case[0] * case[1]:
            hint = "the shape stays, so there is no projection: the shortcut is x itself"
        elif projection and got == expected + 2 * case[1]:
            hint = "the projection of a pre-activation unit has no batch norm of its own"
        where = "cin {}, cout {}, stride {}".format(*case)
        compare("the number of parameters", float(got), float(expected), hint, where=where)


def check_7_2(Unit: Any) -> None:
    """Judge the student's unit: parameters, output, gradients, with the library's weights."""
    expect_class("Unit", Unit, nn.Module)
    rng = generator(72)
    for case in _UNITS:
        where = "cin {}, cout {}, stride {}".format(*case)
        right = _unit(*case)
        _compare_parameters(beside(parameters_of, Unit, case), right, where)
        x = tensor(rng.standard_normal((2, 6, 6, case[0])), requires_grad=True, dtype="float32")
        y = right(x)
        gy = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(gy)
        given = case, right.state_dict(), x.numpy().copy(), gy
        got, gradient, unused = beside(run_unit, Unit, *given)
        hint = "(7.14): x itself is added to what conv3 puts out"
        if (got < 0).sum() == 0 < (y.numpy() < 0).sum():
            hint = "a pre-activation unit ends with the sum: no ReLU behind it"
        elif right.shortcut is not None:
            hint = "the projection reads a = relu(bn(x)), and has the unit's stride; so has conv2"
        compare("the output", got, y, hint, tol=1e-4, where=where)
        hint = "is every path differentiated?"
        compare("the gradient of x", gradient, x.grad, hint, 1e-3, where)
        for name in unused:
            raise Wrong(f"{name} gets no gradient", where, "forward does not use it")


def parameters_of(build: Any, case: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of a unit's parameters by name."""
    return {name: p.shape for name, p in build(*case).named_parameters()}


def run_unit(
    build: Any, case: tuple[int, ...], state: dict[str, np.ndarray], x: Any, gy: Any
) -> tuple[Any, Any, list[str]]:
    """The output, the gradient of x, and the names of parameters that get none."""
    unit: nn.Module = build(*case)
    unit.load_state_dict(state)
    leaf = tensor(x, requires_grad=True)
    y = unit(leaf)
    if y is None:
        raise Wrong("forward returned None", hint="end with: return ...")
    if y.shape == gy.shape:
        y.backward(gy)
    return y.numpy(), leaf.grad, [n for n, p in unit.named_parameters() if p.grad is None]


def _compare_parameters(got: dict[str, Any], right: nn.Module, where: str) -> None:
    expected = parameters_of(lambda: right, ())
    extra = [name for name in got if name not in expected]
    missing = [name for name in expected if name not in got]
    if extra:
        hint = "only the parameters of (7.14)"
        if any(name.startswith("shortcut") for name in extra):
            hint = "a projection exists only if the width or the size changes"
        raise Wrong(f"the unit has parameters too many: {', '.join(extra)}", where, hint)
    if missing:
        hint = "is the layer an attribute of self, under its name?"
        if missing == ["shortcut.weight"]:
            hint = "the shape changes here, so x cannot be added as it is: a projection is needed"
        raise Wrong(f"the unit lacks {', '.join(missing)}", where, hint)
    hint = "weights are (KH, KW, Cin, Cout); the bottleneck is cout / 4 wide"
    for name, shape in expected.items():
        if got[name] != shape:
            raise Wrong(f"{name} has shape {got[name]}, expected {shape}", where, hint)


def check_8_1(mask_heights: Function) -> None:
    """mask_heights(size, depth) -> heights after each pool, then after each interpolation."""
    hint = (
        "a 3x3 pool with stride 2, no padding, rounded up: ceil((h - 3) / 2) + 1; then the same "
        "sizes backwards, the last one being the input's"
    )
    cases = ((32, 3), (16, 2), (8, 1), (56, 3), (33, 2), (43, 3), (15, 1))
    words = "size {}, depth {}"
    compare_calls("the list of heights", mask_heights, _heights, cases, words, hint)


def _heights(size: int, depth: int) -> list[int]:
    """The heights that the library's hourglass goes through."""
    body = Hourglass(Build(np.random.default_rng(0)), 4, depth, r=1)
    calls = call_shapes(body, tensor(np.zeros((1, size, size, 4), np.float32)))
    resized = nn.MaxPool2d | nn.UpsampleBilinear2d
    return [output[1] for module, _, output in calls if isinstance(module, resized)]


def check_8_2(MyHourglass: Any) -> None:
    """A subclass of Hourglass with its own forward."""
    expect_class("MyHourglass", MyHourglass, Hourglass)
    hint = "(8.3) to (8.6): pool, down; skip(d) joins after the interpolation; then up; interpolate"
    for depth, r, size in ((1, 1, 12), (2, 1, 13), (3, 2, 16)):
        where = f"depth {depth}, r {r}, input {size}x{size}"
        rng = generator(8, depth)
        seed, x = int(rng.integers(1 << 30)), rng.standard_normal((2, size, size, 8))
        kinds = MyHourglass, Hourglass
        mine, ours = (beside(run_hourglass, kind, depth, r, seed, x.copy()) for kind in kinds)
        compare("what your hourglass puts out", mine, ours, hint, 1e-9, where)


def run_hourglass(kind: Any, depth: int, r: int, seed: int, x: np.ndarray) -> Any:
    """What an hourglass with weights of that seed makes of x."""
    return kind(Build(np.random.default_rng(seed), np.float64), x.shape[3], depth, r)(tensor(x))


def check_8_3(module_parameters: Function) -> None:
    """module_parameters(channels, depth, p, t, r) -> how many."""
    imagenet = "a module of Attention-56 on ImageNet"
    cases = [
        (16, 1, 1, 2, 1, "p, t, r as usual, depth 1"),
        (16, 3, 1, 2, 1, "depth 3: a skip at each level but the deepest"),
        (32, 2, 1, 2, 3, "r = 3: the deepest level has 2r units"),
        (32, 1, 2, 4, 1, "p = 2, t = 4: p units stand before and after"),
        (256, 3, 1, 2, 1, imagenet),
        (512, 2, 1, 2, 1, imagenet),
        (1024, 1, 1, 2, 1, imagenet),
    ]
    compare_calls(
        "the number of parameters",
        lambda *case: module_parameters(*case[:5]),
        lambda *case: _module(*case[:5]).num_parameters(),
        cases,
        "channels {}, depth {}, p {}, t {}, r {} ({})",
        "(8.9) to (8.11); every convolution is without bias, every batch norm has two vectors",
    )


def _module(channels: int, depth: int, p: int, t: int, r: int) -> AttentionModule:
    return AttentionModule(Build(np.random.default_rng(0)), channels, depth, p, t, r)


_LEARNING = ("residual", "naive")


def check_9_1(gate_backward: Function) -> None:
    """gate_backward(gy, mask, trunk, learning) -> (gmask, gtrunk)."""
    rng = generator(91)
    mask, trunk = rng.random((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    for learning in _LEARNING:
        _, gy, *right = gradients(rng, ops.gate, mask, trunk, learning=learning)
        got = gate_backward(gy.copy(), mask.copy(), trunk.copy(), learning)
        gmask, gtrunk = unpack("gate_backward", got, "gmask", "gtrunk")
        where = f'learning "{learning}"'
        compare("gmask", gmask, right[0], "keep T fixed: how does H change with M?", where=where)
        hint = "keep M fixed: H is T times a factor, in both kinds of learning; which one?"
        compare("gtrunk", gtrunk, right[1], hint, where=where)


def check_9_2(module_slope: Function) -> None:
    """module_slope(x, a, b, learning) -> dH/dx."""
    points = np.linspace(-3, 3, 13)

    def slope(a: float, b: float, learning: str) -> Any:
        x = tensor(points.copy(), requires_grad=True)
        ops.gate(ops.sigmoid(x * b), x * a, learning).backward(np.ones_like(points))
        return x.grad

    compare_calls(
        "dH/dx",
        lambda *case: module_slope(points.copy(), *case),
        slope,
        [(*ab, kind) for kind in _LEARNING for ab in ((1.0, 1.0), (-0.7, 2.0), (2.0, -0.5))],
        'a = {}, b = {}, learning "{}", x from -3 to 3',
        "two terms, (9.3): through the trunk, and T times the slope of the mask",
        tol=1e-10,
    )


def check_9_3(chain_factor: Function) -> None:
    """chain_factor(masks, learning) -> the factor of n gates."""
    rng = generator(93)
    for count in (1, 2, 5):
        masks = rng.random((count, 2, 4, 3))
        for learning in _LEARNING:
            u = tensor(np.ones(masks.shape[1:]), requires_grad=True)
            h = u
            for mask in masks:
                h = ops.gate(tensor(mask), h, learning)
            h.backward(np.ones(h.shape))
            where = f'{count} gates, learning "{learning}"'
            hint = "each gate multiplies by its own factor, entry by entry"
            compare("the factor", chain_factor(masks.copy(), learning), u.grad, hint, where=where)


_MAPS = ((2, 3, 4, 5), (1, 1, 6, 3), (3, 4, 2, 2))


def check_10_1(channel_backward: Function) -> None:
    """channel_backward(gy, y, norm) -> gx."""
    rng = generator(101)
    for shape in _MAPS:
        values = 2 * rng.standard_normal(shape)
        # Vectors of some length: dividing by a tiny one would show rounding, not the answer.
        x = values + np.copysign(0.5, values)
        y, gy, gx = gradients(rng, ops.channel_attention, x)
        got = channel_backward(gy.copy(), y.copy(), np.sqrt((x**2).sum(axis=-1)))
        hint = "(10.4): take out of gy its part along y, position by position; divide by the length"
        compare("gx", got, gx, hint, where=f"shape {shape}")


def check_10_2(spatial_backward: Function) -> None:
    """spatial_backward(gy, x, y, mean, inv_std) -> gx."""
    rng = generator(102)
    for shape in _MAPS:
        x = 1 + 3 * rng.standard_normal(shape)
        y, gy, gx = gradients(rng, ops.spatial_attention, x)
        mean, inv_std = x.mean(axis=(1, 2)), 1 / np.sqrt(x.var(axis=(1, 2)) + 1e-5)
        got = spatial_backward(gy.copy(), x.copy(), y.copy(), mean, inv_std)
        hint = (
            "(10.7): first through the sigmoid, then subtract two averages over the positions "
            "of each map (axes 1 and 2), then divide by the standard deviation"
        )
        compare("gx", got, gx, hint, where=f"shape {shape}")


def _network(m: int, p: int, t: int, **changes: Any) -> Any:
    return create_model("attention56_cifar", modules=(m,) * 3, p=p, t=t, **changes)


def check_11_1(trunk_depth: Function) -> None:
    """trunk_depth(m, p, t) -> layers."""
    narrow: dict[str, Any] = {"stem_width": 4, "widths": (4, 4, 4), "tail_width": 4}
    compare_calls(
        "the depth",
        trunk_depth,
        lambda *case: summary(_network(*case, **narrow)).trunk_depth,
        ((1, 1, 2), (2, 1, 2), (6, 1, 2), (1, 2, 2), (1, 1, 3), (6, 2, 4)),
        "m = {}, p = {}, t = {}",
        "p units stand before and after the trunk's t units; a unit has three layers",
    )


def check_11_2(count_parameters: Function) -> None:
    """count_parameters(m, p, t, r, norms) -> parameters of a CIFAR-10 network."""
    cases = (
        ((0, 1, 2, 1), ""),
        ((1, 1, 2, 1), ""),
        ((2, 1, 2, 1), ""),
        ((1, 2, 4, 1), ""),
        ((1, 1, 2, 3), ""),
        ((6, 2, 4, 3), " (Attention-452)"),
    )
    hints = {
        False: "with m = 0: stem, three first units with projections, three units, classifier",
        True: "two numbers for each channel of every batch norm; one stands before the pool",
    }
    for (m, p, t, r), words in cases:
        counts = summary(_network(m, p, t, r=r))
        for norms, expected in (
            (False, counts.parameters_without_norm),
            (True, counts.parameters),
        ):
            where = f"m = {m}, p = {p}, t = {t}, r = {r}, norms = {norms}{words}"
            got = count_parameters(m, p, t, r, norms)
            compare("the count", got, expected, hints[norms], 0, where)


def check_11_3(module_multiply_adds: Function) -> None:
    """module_multiply_adds(size, channels, depth, p, t, r) -> multiply-adds of one picture."""
    compare_calls(
        "the count",
        module_multiply_adds,
        lambda size, *case: summary(_module(*case), image_size=size).multiply_adds,
        ((8, 16, 1, 1, 2, 1), (16, 16, 2, 1, 2, 1), (32, 16, 3, 2, 4, 3), (33, 8, 2, 1, 2, 2)),
        "size {}, channels {}, depth {}, p = {}, t = {}, r = {}",
        "(11.5), (11.6): each pool halves the size, rounding down; the head is at full size",
    )
