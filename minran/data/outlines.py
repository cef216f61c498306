"""The ten outlines of the shapes data, as inequalities in the plane.

Each function takes the coordinates (u, v) of points in the object's own frame, arrays of one
shape, and returns a boolean array of that shape: is the point inside? Every outline lies in the
unit disc, and no outline becomes another by rotation, mirroring or scaling.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Outline = Callable[[np.ndarray, np.ndarray], np.ndarray]


def disc(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """u^2 + v^2 <= R^2."""
    return u * u + v * v <= 0.85**2


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """r^2 <= u^2 + v^2 <= R^2."""
    square = u * u + v * v
    return (square >= 0.5**2) & (square <= 0.93**2)


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """max(|u|, |v|) <= a."""
    return np.maximum(np.abs(u), np.abs(v)) <= 0.7


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Three half-planes at 120 degrees, each at half the circumscribed radius."""
    slanted = np.float32(np.sqrt(3) / 2) * np.abs(u) - 0.5 * v
    return np.maximum(v, slanted) <= 0.5


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Two bars of one length crossing at right angles."""
    u, v = np.abs(u), np.abs(v)
    return (np.minimum(u, v) <= 0.24) & (np.maximum(u, v) <= 0.92)


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Pentagram: the five lines through its tips; a point inside is beyond at most one of them."""
    beyond = np.zeros(u.shape, dtype=np.int8)
    for angle in 2 * np.pi * np.arange(5) / 5:
        direction = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        beyond += direction[0] * u + direction[1] * v > np.float32(np.cos(2 * np.pi / 5))
    return beyond <= 1


def crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A disc without a smaller disc that leaves it on one side."""
    vv = v * v
    return (u * u + vv <= 0.95**2) & ((u - 0.42) ** 2 + vv >= 0.72**2)


def arrow(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A shaft along u and a triangular head whose tip is at u = 0.98."""
    v = np.abs(v)
    shaft = (v <= 0.18) & (u >= -0.95) & (u <= 0.2)
    head = (u >= 0.1) & (v <= 0.82 * (0.98 - u))
    return shaft | head


def bars(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Two parallel bars with a gap between them."""
    v = np.abs(v)
    return (np.abs(u) <= 0.75) & (v >= 0.22) & (v <= 0.62)


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """x^2 + (5 y / 4 - sqrt|x|)^2 <= 1, moved and scaled into the unit disc."""
    x, y = 1.29 * u, 1.29 * v + 0.2
    bent = 1.25 * y - np.sqrt(np.abs(x))
    return x * x + bent * bent <= 1


OUTLINES: tuple[Outline, ...] = (
    disc,
    ring,
    square,
    triangle,
    cross,
    star,
    crescent,
    arrow,
    bars,
    heart,
)
CLASS_NAMES = tuple(outline.__name__ for outline in OUTLINES)
