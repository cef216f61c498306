"""Differences of a function along a line: an entry of an input, or a random direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array, Tensor, no_grad
from minran.errors import GradientError, expect


class Probe:
    """f at the inputs, and L = <r, f> for a random r; steps are `eps` times a line's `size`."""

    def __init__(
        self,
        f: Callable[..., Tensor],
        arrays: list[Array],
        eps: float,
        tolerance: float,
        rng: np.random.Generator,
    ) -> None:
        self.f, self.arrays, self.eps, self.tolerance = f, arrays, eps, tolerance
        self.y = self.value(0, arrays[0])
        self.r = backend.to_device(np.asarray(rng.standard_normal(self.y.shape)))
        unit = np.finfo(self.y.dtype).eps if self.y.dtype.kind == "f" else 0.0
        # What rounding of y alone can do to <r, y(+h) - y(-h)>, and to a number of y.
        self.rounding = 4 * unit * float((abs(self.r) * abs(self.y)).sum())
        self.noise = 4 * unit * float(abs(self.y).max(initial=0.0))

    def value(self, k: int, moved: Array) -> Array:
        """f where input k is `moved`."""
        arrays = [moved if j == k else x for j, x in enumerate(self.arrays)]
        with no_grad():
            # Copies: f may write into its inputs, or return a view of one.
            y = self.f(*(Tensor(x.copy()) for x in arrays))
        what = f"gradcheck: f must return one Tensor, got {type(y).__name__}"
        expect(isinstance(y, Tensor), what, GradientError)
        return y.data.copy()


class Line:
    """Differences along one line: a step of h adds `h step` at the places `at` of input k.

    central     the slope of L
    gap         <|r|, |forward difference - backward difference|>: O(h) if f is smooth, not at a
                kink
    """

    def __init__(self, probe: Probe, k: int, at: Any, step: Any, size: float) -> None:
        self.probe, self.k, self.at, self.size = probe, k, at, size
        self.step = backend.to_device(step)
        self.central, self.gap = self._differences(probe.eps * size)

    def _change(self, h: float) -> Array:
        moved = self.probe.arrays[self.k].copy()
        moved.reshape(-1)[self.at] += h * self.step
        return self.probe.value(self.k, moved) - self.probe.y

    def _differences(self, h: float) -> tuple[float, float]:
        # Subtract first, contract with r after: fewer digits are lost.
        ahead, behind, r = self._change(h), -self._change(-h), self.probe.r
        central = float(((ahead + behind) * r).sum()) / (2 * h)
        return central, float((abs(ahead - behind) * abs(r)).sum()) / h

    def bends(self) -> bool:
        """Whether a kink lies within the step: half of it halves the gap of a smooth function."""
        gap, h = self.gap, self.probe.eps * self.size
        for _ in range(2):
            h /= 2
            _, half = self._differences(h)
            if not 0.35 * gap <= half <= 0.65 * gap:
                return True
            gap = half
        return False

    def sees_nothing(self) -> bool:
        """Whether even a step of `size` and a thousandth of it change f by rounding only."""
        changes = (abs(self._change(h)) for h in (1e-3 * self.size, self.size))
        return all(bool((change <= self.probe.noise).all()) for change in changes)
