"""The checks of notebook 07: counting and building the pre-activation unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import nn, tensor
from minran.models.units import Build, PreActUnit
from minran.workshop.course.checking import (
    Wrong,
    beside,
    compare,
    expect_class,
    expect_function,
    generator,
)

# (cin, cout, stride): nothing changes, the width changes, the size changes, both.
_CASES = ((16, 16, 1), (8, 16, 1), (16, 16, 2), (8, 32, 2), (32, 16, 1))


def _library(cin: int, cout: int, stride: int) -> PreActUnit:
    return PreActUnit(Build(generator(cin, cout, stride)), cin, cout, stride)


def check_7_1(answer: Any) -> None:
    """Judge the count against the library's unit."""
    expect_function("preact_parameters", answer)
    for case in _CASES:
        unit = _library(*case)
        expected = unit.num_parameters()
        got = answer(*case)
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


def check_7_2(answer: Any) -> None:
    """Judge the student's unit: parameters, output, gradients, with the library's weights."""
    expect_class("Unit", answer, nn.Module)
    rng = generator(72)
    for case in _CASES:
        where = "cin {}, cout {}, stride {}".format(*case)
        right = _library(*case)
        _compare_parameters(beside(parameters_of, answer, case), right, where)
        x = rng.standard_normal((2, 6, 6, case[0])).astype(np.float32)
        ours = tensor(x, requires_grad=True)
        y = right(ours)
        gy = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(gy)
        got, gradient, unused = beside(run_unit, answer, case, right.state_dict(), x.copy(), gy)
        if (got < 0).sum() == 0 < (y.numpy() < 0).sum():
            hint = "a pre-activation unit ends with the sum: no ReLU behind it"
        elif right.shortcut is not None:
            hint = "the projection reads a = relu(bn(x)), and has the unit's stride; so has conv2"
        else:
            hint = "(7.14): x itself is added to what conv3 puts out"
        compare("the output", got, y, hint, tol=1e-4, where=where)
        compare(
            "the gradient of x",
            gradient,
            ours.grad,
            "is every path differentiated?",
            1e-3,
            where,
        )
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
    expected = {name: p.shape for name, p in right.named_parameters()}
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
    for name, shape in expected.items():
        if got[name] != shape:
            raise Wrong(
                f"{name} has shape {got[name]}, expected {shape}",
                where,
                "weights are (KH, KW, Cin, Cout); the bottleneck is cout / 4 wide",
            )
