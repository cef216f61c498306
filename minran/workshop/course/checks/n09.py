"""Checks of notebook 09: the gradients of both gates, and chains of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import ops, tensor
from minran.workshop.course.checking import compare, expect_function, generator, unpack

LEARNING = ("residual", "naive")


def check_9_1(answer: Callable[..., Any]) -> None:
    """gate_backward(gy, mask, trunk, learning) -> (gmask, gtrunk)."""
    expect_function("gate_backward", answer)
    rng = generator(91)
    gy, mask, trunk = rng.standard_normal((3, 2, 3, 4, 5))
    mask = 1 / (1 + np.exp(-mask))
    for learning in LEARNING:
        m, t = tensor(mask, requires_grad=True), tensor(trunk, requires_grad=True)
        ops.gate(m, t, learning).backward(gy)
        got = answer(gy.copy(), mask.copy(), trunk.copy(), learning)
        gmask, gtrunk = unpack("gate_backward", got, "gmask", "gtrunk")
        where = f'learning "{learning}"'
        compare("gmask", gmask, m.grad, "keep T fixed: how does H change with M?", where=where)
        hint = "keep M fixed: H is T times a factor, in both kinds of learning; which one?"
        compare("gtrunk", gtrunk, t.grad, hint, where=where)


def check_9_2(answer: Callable[..., Any]) -> None:
    """module_slope(x, a, b, learning) -> dH/dx."""
    expect_function("module_slope", answer)
    points = np.linspace(-3, 3, 13)
    for learning in LEARNING:
        for a, b in ((1.0, 1.0), (-0.7, 2.0), (2.0, -0.5)):
            x = tensor(points.copy(), requires_grad=True)
            ops.gate(ops.sigmoid(x * b), x * a, learning).backward(np.ones_like(points))
            hint = "two terms, (9.3): through the trunk, and T times the slope of the mask"
            where = f'a = {a}, b = {b}, learning "{learning}", x from -3 to 3'
            compare("dH/dx", answer(points.copy(), a, b, learning), x.grad, hint, where=where)


def check_9_3(answer: Callable[..., Any]) -> None:
    """chain_factor(masks, learning) -> the factor of n gates."""
    expect_function("chain_factor", answer)
    rng = generator(93)
    for count in (1, 2, 5):
        masks = rng.random((count, 2, 4, 3))
        for learning in LEARNING:
            u = tensor(np.ones(masks.shape[1:]), requires_grad=True)
            h = u
            for mask in masks:
                h = ops.gate(tensor(mask), h, learning)
            h.backward(np.ones(h.shape))
            where = f'{count} gates, learning "{learning}"'
            hint = "each gate multiplies by its own factor, entry by entry"
            compare("the factor", answer(masks.copy(), learning), u.grad, hint, where=where)
