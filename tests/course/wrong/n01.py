"""Plausible wrong answers to the tasks of notebook 01."""

from __future__ import annotations

import numpy as np


def assigns(tape, last):
    gradients = {last: np.ones(())}
    for output, inputs, vjp in reversed(tape):
        for name, gradient in zip(inputs, vjp(gradients[output]), strict=True):
            gradients[name] = gradient
    return gradients


def oldest_first(tape, last):
    gradients = {last: np.ones(())}
    for output, inputs, vjp in tape:
        gy = gradients.get(output, np.ones(()))
        for name, gradient in zip(inputs, vjp(gy), strict=True):
            gradients[name] = gradients.get(name, 0) + gradient
    return gradients


def forgets_the_inputs_of_the_first(tape, last):
    gradients = {last: np.ones(())}
    for output, inputs, vjp in reversed(tape[1:]):
        for name, gradient in zip(inputs, vjp(gradients[output]), strict=True):
            gradients[name] = gradients.get(name, 0) + gradient
    return gradients


WRONG = {
    "01.1": [
        ("takes its own factor", lambda gy, a, b: (gy * a, gy * b)),
        ("forgets gy", lambda gy, a, b: (b, a)),
        ("adds instead of multiplying", lambda gy, a, b: (gy + b, gy + a)),
        ("returns one array", lambda gy, a, b: gy * b),
    ],
    "01.2": [
        ("divides, as a mean would", lambda gy, shape, axis: np.broadcast_to(
            np.expand_dims(gy, axis) / shape[axis], shape)),
        ("forgets to repeat", lambda gy, shape, axis: gy),
        ("repeats along the first axis", lambda gy, shape, axis: np.resize(gy, shape)),
        ("ones, without gy", lambda gy, shape, axis: np.ones(shape)),
    ],
    "01.3": [
        ("assigns instead of adding", assigns),
        ("walks oldest first", oldest_first),
        ("stops too early", forgets_the_inputs_of_the_first),
    ],
}  # fmt: skip
