"""Plausible wrong answers to the tasks of notebook 14."""

from __future__ import annotations

import numpy as np

from minran.workshop.ablate.spread import student_t


def welch(a, b, ddof=1, t=student_t):
    va, vb = np.var(a, ddof=ddof) / len(a), np.var(b, ddof=ddof) / len(b)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return t(freedom) * np.sqrt(va + vb)


def least(difference, spread, margin, start=2):
    n = start
    while margin(n, spread) >= difference:
        n += 1
    return n


WRONG = {
    "14.1": [
        ("variance divided by n", lambda a, b: welch(a, b, ddof=0)),
        ("always 1.96", lambda a, b: welch(a, b, t=lambda freedom: 1.96)),
        ("the spread of single values", lambda a, b: (
            student_t(len(a) + len(b) - 2) * np.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1)))),
        ("degrees of freedom as for equal variances", lambda a, b: welch(
            a, b, t=lambda freedom: student_t(len(a) + len(b) - 2))),
    ],
    "14.2": [
        ("the large-n formula", lambda d, s: int(np.ceil(2 * (1.96 * s / d) ** 2))),
        ("n - 1 degrees of freedom", lambda d, s: least(
            d, s, lambda n, s: student_t(n - 1) * s * np.sqrt(2 / n))),
        ("one mean, not two", lambda d, s: least(
            d, s, lambda n, s: student_t(2 * n - 2) * s * np.sqrt(1 / n))),
        ("one too many", lambda d, s: 1 + least(
            d, s, lambda n, s: student_t(2 * n - 2) * s * np.sqrt(2 / n))),
    ],
}  # fmt: skip
