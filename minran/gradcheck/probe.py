"""Differences of a function along a line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minran.autograd import Array, Tensor, no_grad
from minran.errors import GradientError, expect


@dataclass
class Slope:
    """Differences of L = <r, f> along one line: their slope, and how much they bend."""

    central: float
    gap: float
    """<|r|, |forward difference - backward difference|>: O(h) if f is smooth, not at a kink."""


class Probe:
    """f at the inputs with one of them moved a little."""

    def __init__(self, f: Callable[..., Tensor], arrays: list[Array], y: Array, r: Array) -> None:
        self.f, self.arrays, self.y, self.r = f, arrays, y, r
        started = time.perf_counter()
        again = self._value(0, arrays[0])
        self.seconds = time.perf_counter() - started
        expect(
            bool((again == y).all()) or bool((y != y).any()),
            "gradcheck: two calls of f with the same inputs differ; fix its random numbers",
            GradientError,
        )
        # What rounding of y alone can do to <r, y(+h) - y(-h)>.
        self.rounding = 4 * np.finfo(y.dtype).eps * float((abs(r) * abs(y)).sum())

    def _value(self, k: int, moved: Array) -> Array:
        with no_grad():
            # Copies: f may write into its inputs, or return a view of one.
            tensors = [Tensor((moved if j == k else x).copy()) for j, x in enumerate(self.arrays)]
            return self.f(*tensors).data.copy()

    def slope(self, k: int, move: Callable[[float], Array], h: float) -> Slope:
        """Differences of step h along `move`, which says where input k is after a step."""
        # Subtract first, contract with r after: fewer digits are lost.
        ahead = self._value(k, move(h)) - self.y
        behind = self.y - self._value(k, move(-h))
        return Slope(
            central=float(((ahead + behind) * self.r).sum()) / (2 * h),
            gap=float((abs(ahead - behind) * abs(self.r)).sum()) / h,
        )

    def sees_nothing(self, k: int, move: Callable[[float], Array], step: float = 1.0) -> bool:
        """Whether even `step` and a thousandth of it move no result by more than rounding does."""
        noise = 4 * np.finfo(self.y.dtype).eps * float(abs(self.y).max())
        changes = (abs(self._value(k, move(h)) - self.y) for h in (1e-3 * step, step))
        return all(bool((change <= noise).all()) for change in changes)

    def bends(self, k: int, move: Callable[[float], Array], h: float, gap: float) -> bool:
        """Whether a kink lies within h: half the step halves the gap of a smooth function."""
        for _ in range(2):
            h /= 2
            half = self.slope(k, move, h).gap
            if not 0.35 * gap <= half <= 0.65 * gap:
                return True
            gap = half
        return False


def along_entry(x: Array, i: int) -> Callable[[float], Array]:
    """Where x is after a step of h along entry i: a copy, for f may return a view of it."""

    def move(h: float) -> Array:
        moved = x.copy()
        moved.reshape(-1)[i] += h
        return moved

    return move
