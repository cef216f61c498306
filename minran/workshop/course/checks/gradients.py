"""Checks of notebooks 00 to 02: names and the gate, reverse mode, and checking gradients."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from minran import Op, create_model, ops, tensor
from minran.autograd import Tensor
from minran.gradcheck import gradcheck
from minran.workshop.course.checking import (
    Function,
    Wrong,
    compare,
    compare_gradients,
    generator,
    gradients,
    unpack,
)
from minran.workshop.course.planted import MADE_WRONG, planted

MODULES = {
    "mask of the second stage": "stages.1.1.mask",
    "trunk of the third stage": "stages.2.1.trunk",
    "first max-pool of the first stage's mask": "stages.0.1.mask.body.pool",
    "logits": "fc",
}


def check_0_1(names: Any) -> None:
    """names: what -> the dotted name of a module."""
    if not isinstance(names, dict):
        raise Wrong(
            f"names must be a dictionary, got {type(names).__name__}",
            hint=f"with the keys {', '.join(MODULES)}",
        )
    known = dict(create_model("attention_small_cifar").named_modules())
    for what, right in MODULES.items():
        if what not in names:
            raise Wrong(f"{what!r} has no name yet", f"names has {', '.join(map(str, names))}")
        name = names[what]
        if name is ...:
            raise NotImplementedError(what)
        where = f"names[{what!r}] = {name!r}"
        if not isinstance(name, str) or name not in known:
            raise Wrong(
                f"the network has no module {name!r}",
                where,
                "stages are counted from 0, and so are places in a stage: stages.0.1 is the "
                "attention module of the first stage",
            )
        kind, wanted = type(known[name]).__name__, type(known[right]).__name__
        if name != right:
            hint = "follow the boxes from the outside to the inside, and write their names"
            if kind == wanted:
                hint = "it is a module of the right kind at another place; count stages from 0"
            raise Wrong(f"this is not the {what}: it is a {kind}", where, hint)


def check_0_2(gated: Function) -> None:
    """gated(M, T) -> H."""
    rng = generator(2)
    mask, trunk = rng.uniform(0, 1, (2, 3, 3, 4)), rng.standard_normal((2, 3, 3, 4))
    hint = "where M is 0, H must be T itself; where M is 1, twice T (Eq. 3)"
    got = gated(mask.copy(), trunk.copy())
    compare("H", got, ops.gate(tensor(mask), tensor(trunk)), hint)


def check_1_1(vjp_mul: Function) -> None:
    """vjp_mul(gy, a, b) -> (ga, gb)."""
    rng = generator(101)
    a, b = rng.standard_normal((2, 3, 4))
    _, gy, *right = gradients(rng, operator.mul, a, b)
    got = unpack("vjp_mul", vjp_mul(gy, a, b), "ga", "gb")
    hint = "each factor's derivative is the other factor, and gy multiplies it"
    for name, one, expected in zip(("ga", "gb"), got, right, strict=True):
        compare(name, one, expected, hint)

    class Mul(Op):
        def forward(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
            self.a, self.b = a, b
            return a * b

        def backward(self, gy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            ga, gb = vjp_mul(gy, self.a, self.b)
            return ga, gb

    compare_gradients("a * b with your vjp_mul", lambda a, b: Mul()(a, b), a, b)


def check_1_2(vjp_sum: Function) -> None:
    """vjp_sum(gy, shape, axis) -> gx."""
    rng = generator(102)
    for shape, axis in (((4, 3), 0), ((4, 3), 1), ((2, 5, 3), 1), ((3, 3), 1)):
        _, gy, gx = gradients(rng, Tensor.sum, rng.standard_normal(shape), axis=axis)
        hint = (
            "every x along the axis entered the sum once, with factor 1: each gets the same "
            "number of gy; np.expand_dims puts the lost axis back"
        )
        where = f"shape {shape}, axis {axis}"
        compare("gx", vjp_sum(gy.copy(), shape, axis), gx, hint, where=where)


def check_1_3(reverse: Function) -> None:
    """reverse(tape, last) -> gradients by name."""
    rng = generator(103)
    for case in ("a chain", "a value used twice", "a value used by two branches"):
        a, b = rng.standard_normal((2, 3))
        x, z = tensor(a, requires_grad=True), tensor(b, requires_grad=True)
        tape, last, loss = _tape(case, a, b, x, z)
        got = reverse(tape, last)
        loss.backward()
        if not isinstance(got, dict):
            kind = type(got).__name__
            raise Wrong(f"reverse returned a {kind}", case, "return the dictionary of gradients")
        for name, leaf in (("a", x), ("b", z)):
            if leaf.grad is None:
                continue
            if name not in got:
                hint = "is every entry of the tape visited?"
                raise Wrong(f"there is no gradient of {name}", case, hint)
            hint = (
                "a name that is used twice gets two gradients: do they add up? And is an entry "
                "visited only when its own gradient is complete, so newest first?"
            )
            compare(f"the gradient of {name}", got[name], leaf.grad, hint, where=case)


def _tape(case: str, a: Any, b: Any, x: Any, z: Any) -> tuple[list[Any], str, Any]:
    """A tape, the name of its last value, and the same computation with the library."""

    def mul(p: Any, q: Any) -> Callable[..., Any]:
        return lambda gy: (gy * q, gy * p)

    def add(gy: Any) -> tuple[Any, Any]:
        return gy, gy

    def total(gy: Any) -> tuple[Any]:
        return (gy * np.ones(3),)

    if case == "a chain":
        return [("u", ("a", "b"), mul(a, b)), ("L", ("u",), total)], "L", (x * z).sum()
    if case == "a value used twice":
        return [("u", ("a", "a"), mul(a, a)), ("L", ("u",), total)], "L", (x * x).sum()
    u = a * b
    tape: list[Any] = [
        ("u", ("a", "b"), mul(a, b)),
        ("v", ("u", "a"), mul(u, a)),
        ("w", ("v", "u"), add),
        ("L", ("w",), total),
    ]
    product = x * z
    return tape, "L", (product * x + product).sum()


def check_2_1(central_gradient: Function) -> None:
    """central_gradient(f, x, h) -> the gradient of the number f(x), entry by entry."""
    rng = generator(201)
    for shape in ((4,), (2, 3)):
        x = rng.standard_normal(shape)
        before = x.copy()
        got = central_gradient(lambda x: float((x**3).sum()), x, 1e-3)
        # (x + h)^3 - (x - h)^3 over 2 h is 3 x^2 + h^2: h shows that the difference is central.
        hint = "one entry at a time: (f(x + h e_i) - f(x - h e_i)) / (2 h)"
        expected = 3 * before**2 + 1e-6
        compare("the gradient", got, expected, hint, tol=1e-9, where=f"f = sum of x^3, {shape}")
        compare("x after the call", x, before, "put every entry back, or move a copy", tol=0)


def check_2_2(unbroadcast: Function) -> None:
    """unbroadcast(grad, shape) -> the gradient of what was broadcast."""
    rng = generator(202)
    cases = [
        ((3, 4), (3, 4), "no broadcasting"),
        ((3, 1), (3, 4), "an axis of size 1 was stretched"),
        ((4,), (3, 4), "an axis was added in front"),
        ((1, 4), (2, 3, 4), "one axis added, one stretched"),
        ((1, 1), (1, 4), "an axis of size 1 stayed as it is"),
        ((), (2, 3), "a number"),
    ]
    for shape, full, words in cases:
        _, grad, gx, _ = gradients(rng, operator.add, np.zeros(shape), np.zeros(full))
        hint = (
            "first sum over the axes in front that the shape lacks, then over those where the "
            "shape has 1 and grad has more; the result must have the shape asked for"
        )
        where = f"{words}: {full} -> {shape}"
        compare("the gradient", unbroadcast(grad.copy(), shape), gx, hint, where=where)


def check_2_3(culprit: Any) -> None:
    """The name of the op whose gradient is wrong."""
    suspects = planted()
    among = f"one of {', '.join(suspects)}"
    if not isinstance(culprit, str):
        raise Wrong(f"the answer must be a name, got {type(culprit).__name__}", hint=among)
    name = culprit.strip()
    if name not in suspects:
        raise Wrong(f"there is no suspect {name!r}", hint=among)
    if name != MADE_WRONG:
        function, inputs = suspects[name]
        report = gradcheck(function, *inputs)
        raise Wrong(
            f"the gradient of {name} is right",
            f"gradcheck of {name} finds a largest error of {report.relative_error:.0e}",
            "run gradcheck on every suspect; an error of 1e-9 is rounding, an error of 1e-2 is a "
            "bug; a kink is no bug",
        )
