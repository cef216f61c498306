"""Checks of notebook 02: central differences, unbroadcasting, and a wrong gradient to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import tensor
from minran.gradcheck import gradcheck
from minran.workshop.course.checking import Wrong, compare, expect_function, generator
from minran.workshop.course.planted import MADE_WRONG, planted


def check_2_1(answer: Callable[..., Any]) -> None:
    """central_gradient(f, x, h) -> the gradient of the number f(x), entry by entry."""
    expect_function("central_gradient", answer)
    rng = generator(201)
    for shape in ((4,), (2, 3)):
        x = rng.standard_normal(shape)
        before = x.copy()
        got = answer(lambda x: float((x**3).sum()), x, 1e-3)
        # (x + h)^3 - (x - h)^3 over 2 h is 3 x^2 + h^2: h shows that the difference is central.
        hint = "one entry at a time: (f(x + h e_i) - f(x - h e_i)) / (2 h)"
        expected = 3 * before**2 + 1e-6
        compare("the gradient", got, expected, hint, tol=1e-9, where=f"f = sum of x^3, {shape}")
        compare("x after the call", x, before, "put every entry back, or move a copy", tol=0)


def check_2_2(answer: Callable[..., Any]) -> None:
    """unbroadcast(grad, shape) -> the gradient of what was broadcast."""
    expect_function("unbroadcast", answer)
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
        x = tensor(rng.standard_normal(shape), requires_grad=True)
        grad = rng.standard_normal(full)
        (x + tensor(np.zeros(full))).backward(grad)
        got = answer(grad.copy(), shape)
        hint = (
            "first sum over the axes in front that the shape lacks, then over those where the "
            "shape has 1 and grad has more; the result must have the shape asked for"
        )
        compare("the gradient", got, x.grad, hint, where=f"{words}: {full} -> {shape}")


def check_2_3(answer: Any) -> None:
    """The name of the op whose gradient is wrong."""
    if not isinstance(answer, str):
        raise Wrong(
            f"the answer must be a name, got {type(answer).__name__}",
            hint=f"one of {', '.join(planted())}",
        )
    name = answer.strip()
    if name not in planted():
        raise Wrong(f"there is no suspect {name!r}", hint=f"one of {', '.join(planted())}")
    if name == MADE_WRONG:
        return
    function, inputs = planted()[name]
    report = gradcheck(function, *inputs)
    raise Wrong(
        f"the gradient of {name} is right",
        f"gradcheck of {name} finds a largest error of {report.relative_error:.0e}",
        "run gradcheck on every suspect; an error of 1e-9 is rounding, an error of 1e-2 is a bug; "
        "a kink is no bug",
    )
