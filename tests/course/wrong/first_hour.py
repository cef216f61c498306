"""Plausible wrong answers to the tasks of notebook 00b."""

from __future__ import annotations

import numpy as np

from minran import ops, tensor
from minran.course import framed_signs


def logits(x, weights, bias):
    return x.reshape(len(x), -1) @ weights + bias


def across_images(x, weights, bias):
    return x.transpose(1, 2, 3, 0).reshape(len(x), -1) @ weights + bias


def columns_first(x, weights, bias):
    return x.transpose(0, 2, 1, 3).reshape(len(x), -1) @ weights + bias


def softmaxed(x, weights, bias):
    return ops.softmax(tensor(logits(x, weights, bias))).numpy()


def painted(which=0, value=1.0, around=1, swap=False):
    mask = np.zeros((20, 20))
    row, column = framed_signs(1000, seed=1).corners[10, which]
    mask[row - around : row + 3 + around, column - around : column + 3 + around] = value
    return mask.T if swap else mask


def centre():
    mask = np.zeros((20, 20))
    mask[5:15, 5:15] = 1
    return mask


def pooled(mask, trunk, learning):
    return ((mask if learning == "naive" else 1 + mask) * trunk).max(axis=(1, 2))


def the_other(mask, trunk, learning):
    return pooled(mask, trunk, "residual" if learning == "naive" else "naive")


def point(masks, true, where=np.argmax):
    return np.mean([t.ravel()[where(m)] for m, t in zip(masks, true)])


WRONG = {
    "00b.1": [
        ("no bias", lambda x, weights, bias: logits(x, weights, 0)),
        ("minus the bias", lambda x, weights, bias: logits(x, weights, -bias)),
        ("probabilities", softmaxed),
        ("columns before rows", columns_first),
        ("pixels of several images in a row", across_images),
        ("classes summed", lambda *inputs: logits(*inputs).sum(axis=1)),
    ],
    "00b.2": [
        ("nothing", painted(value=0.0)),
        ("everything", np.ones((20, 20))),
        ("another sign", painted(which=1)),
        ("the inverse", 1 - painted()),
        ("rows and columns exchanged", painted(swap=True)),
        ("half of the sign", painted(around=-1)),
        ("twice", painted(value=2.0)),
        ("NaN elsewhere", np.where(painted() > 0, 1, np.nan)),
        ("a channel axis", painted()[..., None]),
        ("the centre", centre()),
        ("text", "here"),
    ],
    "00b.3": [
        ("the other learning", the_other),
        ("the mean", lambda m, t, how: ((m if how == "naive" else 1 + m) * t).mean(axis=(1, 2))),
        ("no gate", lambda mask, trunk, learning: trunk.max(axis=(1, 2))),
        ("always residual", lambda mask, trunk, learning: pooled(mask, trunk, "residual")),
        ("largest over all", lambda m, t, how: pooled(m, t, how).max(axis=1)),
        ("pool, then gate", lambda m, t, how: pooled(m.max(axis=(1, 2), keepdims=True), t, how)),
        ("gated, not pooled", lambda mask, trunk, learning: mask * trunk),
    ],
    "00b.4": [
        ("a count", lambda masks, true: point(masks, true) * len(masks)),
        ("the lowest", lambda masks, true: point(masks, true, np.argmin)),
        ("one place for all", lambda masks, true: true.ravel()[masks.argmax()]),
        (
            "the mass inside",
            lambda m, t: ((m * t).sum((1, 2, 3)) / m.sum((1, 2, 3))).mean(),
        ),
        ("by image", lambda masks, true: [point(m[None], t[None]) for m, t in zip(masks, true)]),
        ("the share of the object", lambda masks, true: true.mean()),
    ],
}
