"""Checks of notebook 01: vector-Jacobian products, and the walk that chains them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import Op, tensor
from minran.workshop.course.checking import (
    Wrong,
    compare,
    compare_gradients,
    expect_function,
    generator,
    unpack,
)


def check_1_1(answer: Callable[..., Any]) -> None:
    """vjp_mul(gy, a, b) -> (ga, gb)."""
    expect_function("vjp_mul", answer)
    rng = generator(101)
    gy, a, b = rng.standard_normal((3, 3, 4))
    ga, gb = unpack("vjp_mul", answer(gy, a, b), "ga", "gb")
    x, z = tensor(a, requires_grad=True), tensor(b, requires_grad=True)
    (x * z).backward(gy)
    hint = "each factor's derivative is the other factor, and gy multiplies it"
    compare("ga", ga, x.grad, hint)
    compare("gb", gb, z.grad, hint)

    class Mul(Op):
        def forward(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
            self.a, self.b = a, b
            return a * b

        def backward(self, gy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            ga, gb = answer(gy, self.a, self.b)
            return ga, gb

    compare_gradients("a * b with your vjp_mul", lambda a, b: Mul()(a, b), a, b)


def check_1_2(answer: Callable[..., Any]) -> None:
    """vjp_sum(gy, shape, axis) -> gx."""
    expect_function("vjp_sum", answer)
    rng = generator(102)
    for shape, axis in (((4, 3), 0), ((4, 3), 1), ((2, 5, 3), 1), ((3, 3), 1)):
        x = tensor(rng.standard_normal(shape), requires_grad=True)
        y = x.sum(axis)
        gy = rng.standard_normal(y.shape)
        got = answer(gy.copy(), shape, axis)
        y.backward(gy)
        hint = (
            "every x along the axis entered the sum once, with factor 1: each gets the same "
            "number of gy; np.expand_dims puts the lost axis back"
        )
        compare("gx", got, x.grad, hint, where=f"shape {shape}, axis {axis}")


def check_1_3(answer: Callable[..., Any]) -> None:
    """reverse(tape, last) -> gradients by name."""
    expect_function("reverse", answer)
    rng = generator(103)
    for case in ("a chain", "a value used twice", "a value used by two branches"):
        a, b = rng.standard_normal((2, 3))
        x, z = tensor(a, requires_grad=True), tensor(b, requires_grad=True)
        tape, last, loss = _tape(case, a, b, x, z)
        got = answer(tape, last)
        loss.backward()
        if not isinstance(got, dict):
            kind = type(got).__name__
            raise Wrong(f"reverse returned a {kind}", case, "return the dictionary of gradients")
        for name, leaf in (("a", x), ("b", z)):
            if leaf.grad is None:
                continue
            if name not in got:
                raise Wrong(
                    f"there is no gradient of {name}", case, "is every entry of the tape visited?"
                )
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

    tape: list[Any]
    if case == "a chain":
        tape = [("u", ("a", "b"), mul(a, b)), ("L", ("u",), total)]
        return tape, "L", (x * z).sum()
    if case == "a value used twice":
        tape = [("u", ("a", "a"), mul(a, a)), ("L", ("u",), total)]
        return tape, "L", (x * x).sum()
    u = a * b
    tape = [
        ("u", ("a", "b"), mul(a, b)),
        ("v", ("u", "a"), mul(u, a)),
        ("w", ("v", "u"), add),
        ("L", ("w",), total),
    ]
    product = x * z
    return tape, "L", (product * x + product).sum()
