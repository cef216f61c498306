"""Plausible wrong answers to the tasks of notebook 09."""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def factor(mask, learning):
    return 1 + mask if learning == "residual" else mask


WRONG = {
    "09.1": [
        ("the naive gate for both", lambda gy, m, t, learning: (gy * t, gy * m)),
        ("adds T to the mask's gradient", lambda gy, m, t, learning: (
            gy * (1 + t) if learning == "residual" else gy * t, gy * factor(m, learning))),
        ("swaps the two", lambda gy, m, t, learning: (gy * factor(m, learning), gy * t)),
        ("forgets gy", lambda gy, m, t, learning: (t, factor(m, learning))),
        ("through the sigmoid too", lambda gy, m, t, learning: (
            gy * t * m * (1 - m), gy * factor(m, learning))),
    ],
    "09.2": [
        ("only through the trunk", lambda x, a, b, learning: factor(sigmoid(b * x), learning) * a),
        ("forgets b", lambda x, a, b, learning: factor(sigmoid(b * x), learning) * a
            + a * x * sigmoid(b * x) * (1 - sigmoid(b * x))),
        ("residual for both", lambda x, a, b, learning: (1 + sigmoid(b * x)) * a
            + a * x * b * sigmoid(b * x) * (1 - sigmoid(b * x))),
    ],
    "09.3": [
        ("adds", lambda masks, learning: factor(masks, learning).sum(0)),
        ("the 1 outside the product", lambda masks, learning: factor(masks.prod(0), learning)),
        ("mean masks", lambda masks, learning: factor(masks.mean(0), learning) ** len(masks)),
        ("one number", lambda masks, learning: factor(masks, learning).prod()),
    ],
}  # fmt: skip
