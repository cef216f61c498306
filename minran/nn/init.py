"""Initial weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array
from minran.checks import at_most, spend

__all__ = ["at_most", "constant", "he_normal", "uniform_fan_in"]


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """N(0, 2 / fan_in), fan_in = the inputs of one output: all axes but the last.

    It keeps the variance of the signal through layers followed by a ReLU (He et al. 2015),
    and is what the paper uses (section 4.1). Drawn on the host in float64, so one seed gives
    the same weights on every backend and in every precision.
    """
    spend(shape)
    fan_in = math.prod(shape[:-1])
    return backend.to_device((rng.standard_normal(shape) * math.sqrt(2 / fan_in)).astype(dtype))


def uniform_fan_in(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): the usual choice for a classifier's weight."""
    spend(shape)
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return backend.to_device(rng.uniform(-bound, bound, shape).astype(dtype))


def constant(shape: tuple[int, ...], value: float, dtype: Any) -> Array:
    """An array filled with `value`, on the current backend."""
    spend(shape)
    return backend.current().xp.full(shape, value, dtype)
