"""When does a difference between two small sets of runs count? Welch's t-test, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minran.errors import expect, expect_number
from minran.hints import checked

CONFIDENCE = 0.95
RULE = (
    "Rule: a difference counts if it is larger than its margin, the half-width of Welch's 95% "
    "interval: t(95%, degrees of freedom) times sqrt(s1^2/n1 + s2^2/n2). Of twenty comparisons of "
    "things that are alike, one passes by chance."
)


@dataclass(frozen=True)
class Sample:
    """Values of several seeds: how many, their mean and standard deviation (None for one seed)."""

    count: int
    mean: float
    deviation: float | None

    def __str__(self) -> str:
        return " ± ".join(number(x) for x in (self.mean, self.deviation) if x is not None)


@dataclass(frozen=True)
class Difference:
    """The difference of two means, and the margin within which it may be chance.

    margin: None if there is no spread to judge by (one seed, or seeds that agree exactly).
    """

    value: float
    margin: float | None

    @property
    def counts(self) -> bool | None:
        """Whether it is larger than the margin; None if nobody can tell."""
        return None if self.margin is None else abs(self.value) > self.margin

    @property
    def verdict(self) -> str:
        """The same in words."""
        words = {None: "no spread to judge by", True: "larger than the spread"}
        return words.get(self.counts, "within the spread")


@checked()
def summarise(values: Sequence[float]) -> Sample:
    """Mean and sample standard deviation (n - 1) of at least one value."""
    expect(len(values) >= 1, "summarise: there are no values")
    array = np.asarray(values, np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else None
    return Sample(len(array), float(array.mean()), deviation)


@checked()
def compare(first: Sequence[float], second: Sequence[float]) -> Difference:
    """The mean of `second` minus that of `first`, with the margin of Welch's test.

    margin = t(0.95, f) sqrt(v1 + v2), where v = s^2 / n for each of the two, and the degrees of
    freedom are f = (v1 + v2)^2 / (v1^2 / (n1 - 1) + v2^2 / (n2 - 1)).
    """
    a, b = summarise(first), summarise(second)
    value = b.mean - a.mean
    if a.deviation is None or b.deviation is None or a.deviation == b.deviation == 0:
        return Difference(value, None)
    v1, v2 = a.deviation**2 / a.count, b.deviation**2 / b.count
    freedom = (v1 + v2) ** 2 / (v1**2 / (a.count - 1) + v2**2 / (b.count - 1))
    return Difference(value, student_t(freedom) * float(np.sqrt(v1 + v2)))


@checked(freedom=1)
def student_t(freedom: float, confidence: float = CONFIDENCE) -> float:
    """The t for which Student's distribution has the share `confidence` between -t and t.

    With t = sqrt(f) tan(a) its density becomes cos(a)^(f - 1) da, which is added up numerically.
    """
    expect_number(confidence, "student_t: confidence", 0, 1)
    middles = (np.arange(200_000) + 0.5) * (np.pi / 2 / 200_000)
    share = np.cumsum(np.cos(middles) ** (freedom - 1))
    angle = np.interp(confidence, share / share[-1], middles)
    return float(np.sqrt(freedom) * np.tan(angle))


def number(value: float) -> str:
    """Two digits after the point; three that count for very small and very large numbers."""
    return f"{value:.2f}" if value == 0 or 0.1 <= abs(value) < 1e6 else f"{value:.3g}"
