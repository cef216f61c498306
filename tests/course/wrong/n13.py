"""Plausible wrong answers to the tasks of notebook 13."""

from __future__ import annotations

import numpy as np

from minran import inspect


def iou(level, truth, threshold):
    cut = level >= threshold
    return (cut & truth).sum() / (cut | truth).sum()


def pointing(level, truth):
    return truth[level == level.max()].mean()


def ious(maps, outlines):
    return [inspect.score(maps[..., c], outlines).iou for c in range(maps.shape[3])]


WRONG = {
    "13.1": [
        ("over the sum of sizes", lambda level, truth, threshold: (
            ((level >= threshold) & truth).sum() / ((level >= threshold).sum() + truth.sum()),
            pointing(level, truth))),
        ("over the object alone", lambda level, truth, threshold: (
            ((level >= threshold) & truth).sum() / truth.sum(), pointing(level, truth))),
        ("above the threshold only", lambda level, truth, threshold: (
            ((level > threshold) & truth).sum() / ((level > threshold) | truth).sum(),
            pointing(level, truth))),
        ("the first brightest pixel", lambda level, truth, threshold: (
            iou(level, truth, threshold), float(truth.ravel()[level.argmax()]))),
        ("iou alone", lambda level, truth, threshold: iou(level, truth, threshold)),
    ],
    "13.2": [
        ("the first eight", lambda maps, outlines: list(range(8))),
        ("those that vary most", lambda maps, outlines: inspect.choose_channels(
            maps, "variance", 8).indices),
        ("the worst", lambda maps, outlines: np.argsort(ious(maps[:60], outlines[:60]))[:8]),
        ("all channels", lambda maps, outlines: np.arange(maps.shape[3])),
        ("scores, not places", lambda maps, outlines: maps.mean((0, 1, 2))[:8]),
        ("one of them twice", lambda maps, outlines: [3, 3]),
    ],
}  # fmt: skip
