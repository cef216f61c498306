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
    require,
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
    """follow the boxes from the outside to the inside, and write their names"""
    what = f"names must be a dictionary, got {type(names).__name__}"
    require(isinstance(names, dict), what, "", f"with the keys {', '.join(MODULES)}")
    known = dict(create_model("attention_small_cifar").named_modules())
    for what, right in MODULES.items():
        there = f"names has {', '.join(map(str, names))}"
        require(what in names, f"{what!r} has no name yet", there)
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
        kind, wanted = (type(known[one]).__name__ for one in (name, right))
        alike = "it is a module of the right kind at another place; count stages from 0"
        hint = alike if kind == wanted else ""
        require(name == right, f"this is not the {what}: it is a {kind}", where, hint)


def check_0_2(gated: Function) -> None:
    """where M is 0, H must be T itself; where M is 1, twice T (Eq. 3)"""
    rng = generator(2)
    mask, trunk = rng.uniform(0, 1, (2, 3, 3, 4)), rng.standard_normal((2, 3, 3, 4))
    compare("H", gated(mask.copy(), trunk.copy()), ops.gate(tensor(mask), tensor(trunk)))


def check_1_1(vjp_mul: Function) -> None:
    """each factor's derivative is the other factor, and gy multiplies it"""
    rng = generator(101)
    a, b = rng.standard_normal((2, 3, 4))
    _, gy, ga, gb = gradients(rng, operator.mul, a, b)
    got = unpack("vjp_mul", vjp_mul(gy, a, b), "ga", "gb")
    compare("ga", got[0], ga)
    compare("gb", got[1], gb)

    class Mul(Op):
        def forward(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
            self.a, self.b = a, b
            return a * b

        def backward(self, gy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            ga, gb = vjp_mul(gy, self.a, self.b)
            return ga, gb

    compare_gradients("a * b with your vjp_mul", lambda a, b: Mul()(a, b), a, b)


def check_1_2(vjp_sum: Function) -> None:
    """every x along the axis entered the sum once, with factor 1: each gets the same number of gy;
    np.expand_dims puts the lost axis back
    """
    rng = generator(102)
    for shape, axis in (((4, 3), 0), ((4, 3), 1), ((2, 5, 3), 1), ((3, 3), 1)):
        _, gy, gx = gradients(rng, Tensor.sum, rng.standard_normal(shape), axis=axis)
        compare("gx", vjp_sum(gy, shape, axis), gx, where=f"shape {shape}, axis {axis}")


_VJPS: dict[Function, Function] = {
    operator.mul: lambda gy, p, q: (gy * q, gy * p),
    operator.add: lambda gy, p, q: (gy, gy),
    Tensor.sum: lambda gy, p: (gy * np.ones(3),),
}
_TAPES: dict[str, tuple[tuple[str, str, Function], ...]] = {
    "a chain": (("u", "ab", operator.mul), ("L", "u", Tensor.sum)),
    "a value used twice": (("u", "aa", operator.mul), ("L", "u", Tensor.sum)),
    "a value used by two branches": (
        ("u", "ab", operator.mul),
        ("v", "ua", operator.mul),
        ("w", "vu", operator.add),
        ("L", "w", Tensor.sum),
    ),
}
"""By case: the name of each value, the names of what it is made of, and how."""


def check_1_3(reverse: Function) -> None:
    """a name that is used twice gets two gradients: do they add up? And is an entry visited only
    when its own gradient is complete, so newest first?
    """
    rng = generator(103)
    for case, steps in _TAPES.items():
        leaves = (tensor(x, requires_grad=True) for x in rng.standard_normal((2, 3)))
        values = dict(zip("ab", leaves, strict=True))
        tape = []
        for name, inputs, function in steps:
            given = [values[one] for one in inputs]
            values[name] = function(*given)
            tape.append((name, tuple(inputs), _vjp(function, *(one.numpy() for one in given))))
        got = reverse(tape, "L")
        values["L"].backward()
        kind, hint = type(got).__name__, "return the dictionary of gradients"
        require(isinstance(got, dict), f"reverse returned a {kind}", case, hint)
        for name in "ab":
            if values[name].grad is not None:
                hint = "is every entry of the tape visited?"
                require(name in got, f"there is no gradient of {name}", case, hint)
                compare(f"the gradient of {name}", got[name], values[name].grad, where=case)


def _vjp(function: Function, *inputs: np.ndarray) -> Callable[[Any], Any]:
    return lambda gy: _VJPS[function](gy, *inputs)


def check_2_1(central_gradient: Function) -> None:
    """one entry at a time: (f(x + h e_i) - f(x - h e_i)) / (2 h)"""
    rng = generator(201)
    for shape in ((4,), (2, 3)):
        x = rng.standard_normal(shape)
        before = x.copy()
        got = central_gradient(lambda x: float((x**3).sum()), x, 1e-3)
        # (x + h)^3 - (x - h)^3 over 2 h is 3 x^2 + h^2: h shows that the difference is central.
        expected = 3 * before**2 + 1e-6
        compare("the gradient", got, expected, tol=1e-9, where=f"f = sum of x^3, {shape}")
        compare("x after the call", x, before, "put every entry back, or move a copy", tol=0)


def check_2_2(unbroadcast: Function) -> None:
    """first sum over the axes in front that the shape lacks, then over those where the shape has 1
    and grad has more; the result must have the shape asked for
    """
    rng = generator(202)
    for shape, full, words in (
        ((3, 4), (3, 4), "no broadcasting"),
        ((3, 1), (3, 4), "an axis of size 1 was stretched"),
        ((4,), (3, 4), "an axis was added in front"),
        ((1, 4), (2, 3, 4), "one axis added, one stretched"),
        ((1, 1), (1, 4), "an axis of size 1 stayed as it is"),
        ((), (2, 3), "a number"),
    ):
        _, grad, gx, _ = gradients(rng, operator.add, np.zeros(shape), np.zeros(full))
        where = f"{words}: {full} -> {shape}"
        compare("the gradient", unbroadcast(grad, shape), gx, where=where)


def check_2_3(culprit: Any) -> None:
    """run gradcheck on every suspect; an error of 1e-9 is rounding, an error of 1e-2 is a bug; a
    kink is no bug
    """
    suspects = planted()
    among = f"one of {', '.join(suspects)}"
    what = f"the answer must be a name, got {type(culprit).__name__}"
    require(isinstance(culprit, str), what, "", among)
    name = culprit.strip()
    require(name in suspects, f"there is no suspect {name!r}", "", among)
    function, inputs = suspects[name]
    error = gradcheck(function, *inputs).relative_error
    found = f"gradcheck of {name} finds a largest error of {error:.0e}"
    require(name == MADE_WRONG, f"the gradient of {name} is right", found)
