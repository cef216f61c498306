"""Checks of notebook 15: the matrix of label noise, and the expected gradient under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import ops, tensor
from minran.data import label_noise_matrix
from minran.workshop.course.checking import compare, expect_function, generator


def check_15_1(answer: Callable[..., Any]) -> None:
    """noise_matrix(classes, clean_ratio) -> Q."""
    expect_function("noise_matrix", answer)
    for classes, ratio in ((10, 0.9), (10, 0.3), (3, 0.5), (2, 0.8), (4, 1.0), (5, 0.0)):
        expected = label_noise_matrix(classes, ratio)
        hint = "a row sums to 1: what is left for the K - 1 wrong labels together, and for each?"
        where = f"{classes} classes, clean ratio {ratio}"
        compare("Q", answer(classes, ratio), expected, hint, where=where)


def check_15_2(answer: Callable[..., Any]) -> None:
    """expected_gradient(p, classes, matrix) -> (N, K)."""
    expect_function("expected_gradient", answer)
    rng = generator(152)
    # Rows that differ, and columns that do not sum to 1: a transposed matrix is another one.
    uneven = rng.random((4, 4)) + 3 * np.eye(4)
    uneven /= uneven.sum(axis=1, keepdims=True)
    for name, matrix in (("Q of Eq. 7", label_noise_matrix(4, 0.6)), ("an uneven Q", uneven)):
        classes = rng.integers(0, 4, 6)
        z = tensor(rng.standard_normal((6, 4)), requires_grad=True)
        p = ops.softmax(z).numpy()
        # Cross-entropy with a row as target is the expectation over labels, being linear in it.
        ops.cross_entropy(z, matrix[classes]).backward()
        hint = "p - e_j, weighed by the probability of each label j for this picture's class"
        got = answer(p.copy(), classes.copy(), matrix.copy())
        compare("the expected gradient", got, z.grad, hint, where=f"6 pictures, {name}")
