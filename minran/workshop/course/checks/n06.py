"""The checks of notebook 06: the gradient of cross-entropy, one Nesterov step."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import ops, optim, tensor
from minran.workshop.course.checking import compare, expect_function, generator, unpack


def check_6_1(answer: Any) -> None:
    """Judge the gradient of cross-entropy against the library's: hard, soft, large scores."""
    expect_function("cross_entropy_gradient", answer)
    rng = generator(61)
    soft = rng.dirichlet(np.ones(4), 6)
    hard = np.eye(3)[[0, 2, 2, 1, 0]]
    cases = (
        ("hard labels", rng.standard_normal((5, 3)), hard),
        ("one picture", rng.standard_normal((1, 4)), soft[:1]),
        ("soft targets", 2 * rng.standard_normal((6, 4)), soft),
        ("scores around 1000", 1000 + 3 * rng.standard_normal((6, 4)), soft),
    )
    for where, logits, targets in cases:
        leaf = tensor(logits.copy(), requires_grad=True)
        ops.cross_entropy(leaf, targets.copy()).backward()
        with np.errstate(over="ignore", invalid="ignore"):
            got = answer(logits.copy(), targets.copy())
        compare(
            "the gradient",
            got,
            np.asarray(leaf.grad),
            _loss_hint(got, np.asarray(leaf.grad)),
            where=where,
        )


def _loss_hint(got: Any, right: np.ndarray) -> str:
    if isinstance(got, np.ndarray) and got.shape == right.shape:
        if not np.isfinite(got).all():
            return "exp overflowed: take the largest score out of each row first, (6.2)"
        if np.allclose(got, -right):
            return "the sign: the loss falls when the label's score grows, so its gradient is < 0"
        if np.allclose(got, right * len(right)):
            return "the loss is a mean over the pictures: where is 1/N?"
        if not np.allclose(got.sum(1), 0):
            return "each row must add up to 0: does each row of p add up to 1?"
    return "(6.6): softmax of each row, minus its targets, over the number of rows"


def check_6_2(answer: Any) -> None:
    """Judge Nesterov steps against the library's SGD: one step, then several in a row."""
    expect_function("nesterov_step", answer)
    rng = generator(62)
    for momentum, weight_decay, lr in ((0.9, 0.0, 0.1), (0.5, 0.0, 0.02), (0.9, 0.1, 0.1)):
        weights = tensor(rng.standard_normal((2, 3)), requires_grad=True)
        sgd = optim.SGD([weights], lr, momentum, nesterov=True, weight_decay=weight_decay)
        p, v = weights.numpy().copy(), np.zeros((2, 3))
        for step in range(3):
            grad = rng.standard_normal((2, 3))
            before = p.copy(), v.copy()
            weights.grad = grad.copy()
            sgd.step()
            answered = answer(p.copy(), grad.copy(), v.copy(), lr, momentum, weight_decay)
            new = unpack("nesterov_step", answered, "p", "v")
            where = f"step {step + 1}, momentum {momentum}, weight_decay {weight_decay}, lr {lr}"
            compare("v", new[1], sgd.velocity[0], _velocity_hint(weight_decay), where=where)
            hint = _step_hint(new[0], before, grad + weight_decay * before[0], lr, momentum)
            compare("p", new[0], weights.numpy(), hint, where=where)
            p, v = np.asarray(new[0]), np.asarray(new[1])


def _velocity_hint(weight_decay: float) -> str:
    if weight_decay:
        return "the decay is part of the gradient (6.20), so the velocity collects it too"
    return "(6.16): v is momentum times the old v plus the gradient; lr is no part of it"


def _step_hint(
    got: Any, before: tuple[np.ndarray, np.ndarray], g: np.ndarray, lr: float, momentum: float
) -> str:
    p, v = before
    new = momentum * v + g
    if np.shape(got) == p.shape:
        if np.allclose(got, p - lr * new):
            return "this is the heavy ball (6.11): Nesterov's step is g + momentum v"
        if np.allclose(got, p - lr * (g + momentum * v)):
            return "g + momentum v, with the new v"
        if np.allclose(got, p + lr * (g + momentum * new)):
            return "the sign: down the slope"
    return "(6.16): the step is lr times (g + momentum v), with the new v and g with its decay"
