"""Checks of notebook 14: the margin of a difference, and the seeds that one needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran.workshop.ablate.spread import compare as compare_means
from minran.workshop.ablate.spread import student_t
from minran.workshop.course.checking import compare, expect_function, generator


def check_14_1(answer: Callable[..., Any]) -> None:
    """margin(a, b) -> half the width of Welch's interval."""
    expect_function("margin", answer)
    rng = generator(141)
    for first, second in ((3, 3), (2, 6), (5, 3)):
        a, b = rng.normal(25, 4, first).tolist(), rng.normal(20, 1, second).tolist()
        expected = compare_means(a, b).margin
        hint = "v = s^2 / n with s^2 divided by n - 1, for each list; then f, then t"
        where = f"{first} and {second} values"
        compare("the margin", answer(list(a), list(b)), expected, hint, 1e-6, where)


def check_14_2(answer: Callable[..., Any]) -> None:
    """seeds_needed(difference, spread) -> n."""
    expect_function("seeds_needed", answer)
    for difference, spread in ((10.0, 3.0), (5.0, 3.0), (3.0, 4.0), (100.0, 1.0), (1.0, 0.2)):
        n = 2
        while student_t(2 * n - 2) * spread * np.sqrt(2 / n) >= difference:
            n += 1
        hint = "try n = 2, 3, 4, ... until the margin is smaller than the difference"
        where = f"difference {difference}, spread {spread}"
        compare("the number of seeds", answer(difference, spread), n, hint, where=where)
