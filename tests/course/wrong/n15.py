"""Plausible wrong answers to the tasks of notebook 15."""

from __future__ import annotations

import numpy as np


def spread(classes, ratio, others):
    wrong = (1 - ratio) / others
    return np.full((classes, classes), wrong) + (ratio - wrong) * np.eye(classes)


WRONG = {
    "15.1": [
        ("divides by K", lambda classes, ratio: spread(classes, ratio, classes)),
        ("r for the noise", lambda classes, ratio: spread(classes, 1 - ratio, classes - 1)),
        ("adds r to the diagonal", lambda classes, ratio: (
            np.full((classes, classes), (1 - ratio) / (classes - 1)) + ratio * np.eye(classes))),
        ("only the diagonal", lambda classes, ratio: ratio * np.eye(classes)),
    ],
    "15.2": [
        ("as if labels were clean", lambda p, classes, matrix: (
            (p - np.eye(matrix.shape[0])[classes]) / len(p))),
        ("not the mean", lambda p, classes, matrix: p - matrix[classes]),
        ("the column", lambda p, classes, matrix: (p - matrix.T[classes]) / len(p)),
        ("through the matrix", lambda p, classes, matrix: (
            (p @ matrix - np.eye(matrix.shape[0])[classes]) / len(p))),
        ("the sign", lambda p, classes, matrix: (matrix[classes] - p) / len(p)),
    ],
}  # fmt: skip
