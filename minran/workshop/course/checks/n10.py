"""Checks of notebook 10: the backward passes of channel and of spatial attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import ops, tensor
from minran.workshop.course.checking import compare, expect_function, generator

SHAPES = ((2, 3, 4, 5), (1, 1, 6, 3), (3, 4, 2, 2))


def check_10_1(answer: Callable[..., Any]) -> None:
    """channel_backward(gy, y, norm) -> gx."""
    expect_function("channel_backward", answer)
    rng = generator(101)
    for shape in SHAPES:
        values = 2 * rng.standard_normal(shape)
        # Vectors of some length: dividing by a tiny one would show rounding, not the answer.
        x = tensor(values + np.copysign(0.5, values), requires_grad=True)
        y = ops.channel_attention(x)
        gy = rng.standard_normal(shape)
        norm = np.sqrt((x.data**2).sum(axis=-1))
        got = answer(gy.copy(), y.data.copy(), norm)
        y.backward(gy)
        hint = "(10.4): take out of gy its part along y, position by position; divide by the length"
        compare("gx", got, x.grad, hint, where=f"shape {shape}")


def check_10_2(answer: Callable[..., Any]) -> None:
    """spatial_backward(gy, x, y, mean, inv_std) -> gx."""
    expect_function("spatial_backward", answer)
    rng = generator(102)
    for shape in SHAPES:
        x = tensor(1 + 3 * rng.standard_normal(shape), requires_grad=True)
        y = ops.spatial_attention(x)
        gy = rng.standard_normal(shape)
        mean = x.data.mean(axis=(1, 2))
        inv_std = 1 / np.sqrt(x.data.var(axis=(1, 2)) + 1e-5)
        got = answer(gy.copy(), x.data.copy(), y.data.copy(), mean, inv_std)
        y.backward(gy)
        hint = (
            "(10.7): first through the sigmoid, then subtract two averages over the positions "
            "of each map (axes 1 and 2), then divide by the standard deviation"
        )
        compare("gx", got, x.grad, hint, where=f"shape {shape}")
