"""What a list of times says: median and spread, and ratios pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from minran.errors import expect


@dataclass(frozen=True)
class Spread:
    """Median, quartiles and extremes of n values."""

    median: float
    low: float
    first_quartile: float
    third_quartile: float
    high: float
    n: int

    def to_json(self) -> dict[str, float]:
        """The numbers under their names."""
        return asdict(self)


def spread(values: Sequence[float]) -> Spread:
    """Summarise `values`; quartiles are interpolated between neighbours. ShapeError if empty."""
    expect(len(values) > 0, "spread: there are no values")
    low, first, median, third, high = (
        float(q) for q in np.percentile(np.asarray(values, np.float64), (0, 25, 50, 75, 100))
    )
    return Spread(median, low, first, third, high, len(values))


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """ours[i] / theirs[i]: both were measured in round i, moments apart.

    A machine that slows down for a while slows both sides of a pair, so the ratio of a pair is
    steadier than the ratio of two medians. Raises ShapeError for lists of different length.
    """
    expect(
        len(ours) == len(theirs),
        f"paired_ratios: {len(ours)} rounds on one side, {len(theirs)} on the other",
    )
    return [a / b for a, b in zip(ours, theirs, strict=True)]
