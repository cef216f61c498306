"""Initial weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array
from minran.errors import RecipeError, expect

_left: ContextVar[int | None] = ContextVar("left", default=None)


@contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """Within the block, no more than so many numbers are made: for recipes of strangers.

    What comes after them raises RecipeError before it takes memory or time.
    """
    before = _left.set(numbers)
    try:
        yield
    finally:
        _left.reset(before)


def _spend(shape: tuple[int, ...]) -> None:
    left = _left.get()
    if left is not None:
        _left.set(left - math.prod(shape))
        expect(
            left >= math.prod(shape),
            f"the network has more numbers than there are weights (an array of {shape})",
            RecipeError,
        )


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """N(0, 2 / fan_in), fan_in = the inputs of one output: all axes but the last.

    It keeps the variance of the signal through layers followed by a ReLU (He et al. 2015),
    and is what the paper uses (section 4.1). Drawn on the host in float64, so one seed gives
    the same weights on every backend and in every precision.
    """
    _spend(shape)
    fan_in = math.prod(shape[:-1])
    return backend.to_device((rng.standard_normal(shape) * math.sqrt(2 / fan_in)).astype(dtype))


def uniform_fan_in(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): the usual choice for a classifier's weight."""
    _spend(shape)
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return backend.to_device(rng.uniform(-bound, bound, shape).astype(dtype))


def constant(shape: tuple[int, ...], value: float, dtype: Any) -> Array:
    """An array filled with `value`, on the current backend."""
    _spend(shape)
    return backend.current().xp.full(shape, value, dtype)
