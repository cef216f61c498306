"""The checks of notebook 07: counting and building the pre-activation unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import nn, tensor
from minran.course.checking import Wrong, compare, expect_function
from minran.models.units import Build, PreActUnit

# (cin, cout, stride): nothing changes, the width changes, the size changes, both.
_CASES = ((16, 16, 1), (8, 16, 1), (16, 16, 2), (8, 32, 2), (32, 16, 1))


def _library(cin: int, cout: int, stride: int) -> PreActUnit:
    return PreActUnit(Build(np.random.default_rng((cin, cout, stride))), cin, cout, stride)


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
    if not (isinstance(answer, type) and issubclass(answer, nn.Module)):
        raise Wrong("Unit must be a class derived from nn.Module", hint="pass the class itself")
    build: Any = answer
    rng = np.random.default_rng(72)
    for case in _CASES:
        where = "cin {}, cout {}, stride {}".format(*case)
        right = _library(*case)
        unit: nn.Module = build(*case)
        _compare_parameters(unit, right, where)
        unit.load_state_dict(right.state_dict())
        x = rng.standard_normal((2, 6, 6, case[0])).astype(np.float32)
        ours, theirs = tensor(x, requires_grad=True), tensor(x.copy(), requires_grad=True)
        y = right(ours)
        got = unit(theirs)
        if got is None:
            raise Wrong("forward returned None", where, "end with: return ...")
        if (got.numpy() < 0).sum() == 0 < (y.numpy() < 0).sum():
            hint = "a pre-activation unit ends with the sum: no ReLU behind it"
        elif right.shortcut is not None:
            hint = "the projection reads a = relu(bn(x)), and has the unit's stride; so has conv2"
        else:
            hint = "(7.14): x itself is added to what conv3 puts out"
        compare("the output", got, y, hint, tol=1e-4, where=where)
        gy = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(gy)
        got.backward(gy)
        compare(
            "the gradient of x",
            theirs.grad,
            ours.grad,
            "is every path differentiated?",
            1e-3,
            where,
        )
        for name, parameter in unit.named_parameters():
            if parameter.grad is None:
                raise Wrong(f"{name} gets no gradient", where, "forward does not use it")


def _compare_parameters(unit: nn.Module, right: nn.Module, where: str) -> None:
    expected = {name: p.shape for name, p in right.named_parameters()}
    got = {name: p.shape for name, p in unit.named_parameters()}
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
