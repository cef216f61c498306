"""Plausible wrong answers to the tasks of notebooks 12 to 15."""

from __future__ import annotations

import numpy as np

from minran import inspect
from minran.workshop.ablate.spread import student_t


def window(image, top, left, pad, mode="constant"):
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode)
    return padded[top : top + image.shape[0], left : left + image.shape[1]]


def snapshot(job):
    return {
        "model": job.model.state_dict(),
        "optimizer": job.optimizer.state_dict(),
        "step": job.step,
        "rng": job.rng.bit_generator.state,
    }


def restore(job, saved, without=()):
    if "model" not in without:
        job.model.load_state_dict(saved["model"])
    if "optimizer" not in without:
        job.optimizer.load_state_dict(saved["optimizer"])
    if "step" not in without:
        job.step = saved["step"]
    if "rng" not in without:
        job.rng.bit_generator.state = saved["rng"]


def leaving_out(name):
    return snapshot, lambda job, saved: restore(job, saved, (name,))


def parameters_only():
    def load(job, saved):
        restore(job, saved, ("model",))
        for (_, mine), value in zip(job.model.named_parameters(), saved["parameters"]):
            mine.data[...] = value

    return (
        lambda job: snapshot(job) | {"parameters": [p.data.copy() for p in job.model.parameters()]},
        load,
    )


def not_copied():
    def load(job, saved):
        restore(job, saved, ("model",))
        for mine, value in zip(job.model.parameters(), saved["arrays"]):
            mine.data[...] = value

    return (lambda job: snapshot(job) | {"arrays": [p.data for p in job.model.parameters()]}, load)


def iou(level, truth, threshold):
    cut = level >= threshold
    return (cut & truth).sum() / (cut | truth).sum()


def pointing(level, truth):
    return truth[level == level.max()].mean()


def ious(maps, outlines):
    return [inspect.score(maps[..., c], outlines).iou for c in range(maps.shape[3])]


def welch(a, b, ddof=1, t=student_t):
    va, vb = np.var(a, ddof=ddof) / len(a), np.var(b, ddof=ddof) / len(b)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return t(freedom) * np.sqrt(va + vb)


def least(difference, spread, margin, start=2):
    n = start
    while margin(n, spread) >= difference:
        n += 1
    return n


def spread(classes, ratio, others):
    wrong = (1 - ratio) / others
    return np.full((classes, classes), wrong) + (ratio - wrong) * np.eye(classes)


WRONG = {
    "12.1": [
        (
            "mirrors up and down",
            lambda x, top, left, mirrored, pad=4: window(x, top, left, pad)[
                :: -1 if mirrored else 1
            ],
        ),
        ("never mirrors", lambda x, top, left, mirrored, pad=4: window(x, top, left, pad)),
        (
            "rows for columns",
            lambda x, top, left, mirrored, pad=4: window(x, left, top, pad)[
                :, :: -1 if mirrored else 1
            ],
        ),
        (
            "repeats the edge",
            lambda x, top, left, mirrored, pad=4: window(x, top, left, pad, "edge")[
                :, :: -1 if mirrored else 1
            ],
        ),
        (
            "mirrors the channels too",
            lambda x, top, left, mirrored, pad=4: (
                window(x, top, left, pad)[:, ::-1, ::-1] if mirrored else window(x, top, left, pad)
            ),
        ),
    ],
    "12.2": [
        ("forgets the velocity", leaving_out("optimizer")),
        ("forgets the generator", leaving_out("rng")),
        ("forgets the step", leaving_out("step")),
        ("parameters without running statistics", parameters_only()),
        ("keeps the arrays, not copies", not_copied()),
        ("snapshot alone", snapshot),
    ],
    "13.1": [
        (
            "over the sum of sizes",
            lambda level, truth, threshold: (
                ((level >= threshold) & truth).sum() / ((level >= threshold).sum() + truth.sum()),
                pointing(level, truth),
            ),
        ),
        (
            "over the object alone",
            lambda level, truth, threshold: (
                ((level >= threshold) & truth).sum() / truth.sum(),
                pointing(level, truth),
            ),
        ),
        (
            "above the threshold only",
            lambda level, truth, threshold: (
                ((level > threshold) & truth).sum() / ((level > threshold) | truth).sum(),
                pointing(level, truth),
            ),
        ),
        (
            "the first brightest pixel",
            lambda level, truth, threshold: (
                iou(level, truth, threshold),
                float(truth.ravel()[level.argmax()]),
            ),
        ),
        ("iou alone", lambda level, truth, threshold: iou(level, truth, threshold)),
    ],
    "13.2": [
        ("the first eight", lambda maps, outlines: list(range(8))),
        (
            "those that vary most",
            lambda maps, outlines: inspect.choose_channels(maps, "variance", 8).indices,
        ),
        ("the worst", lambda maps, outlines: np.argsort(ious(maps[:60], outlines[:60]))[:8]),
        ("all channels", lambda maps, outlines: np.arange(maps.shape[3])),
        ("scores, not places", lambda maps, outlines: maps.mean((0, 1, 2))[:8]),
        ("one of them twice", lambda maps, outlines: [3, 3]),
    ],
    "14.1": [
        ("variance divided by n", lambda a, b: welch(a, b, ddof=0)),
        ("always 1.96", lambda a, b: welch(a, b, t=lambda freedom: 1.96)),
        (
            "the spread of single values",
            lambda a, b: (
                student_t(len(a) + len(b) - 2) * np.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1))
            ),
        ),
        (
            "degrees of freedom as for equal variances",
            lambda a, b: welch(a, b, t=lambda freedom: student_t(len(a) + len(b) - 2)),
        ),
    ],
    "14.2": [
        ("the large-n formula", lambda d, s: int(np.ceil(2 * (1.96 * s / d) ** 2))),
        (
            "n - 1 degrees of freedom",
            lambda d, s: least(d, s, lambda n, s: student_t(n - 1) * s * np.sqrt(2 / n)),
        ),
        (
            "one mean, not two",
            lambda d, s: least(d, s, lambda n, s: student_t(2 * n - 2) * s * np.sqrt(1 / n)),
        ),
        (
            "one too many",
            lambda d, s: 1 + least(d, s, lambda n, s: student_t(2 * n - 2) * s * np.sqrt(2 / n)),
        ),
    ],
    "15.1": [
        ("divides by K", lambda classes, ratio: spread(classes, ratio, classes)),
        ("r for the noise", lambda classes, ratio: spread(classes, 1 - ratio, classes - 1)),
        (
            "adds r to the diagonal",
            lambda classes, ratio: (
                np.full((classes, classes), (1 - ratio) / (classes - 1)) + ratio * np.eye(classes)
            ),
        ),
        ("only the diagonal", lambda classes, ratio: ratio * np.eye(classes)),
    ],
    "15.2": [
        (
            "as if labels were clean",
            lambda p, classes, matrix: (p - np.eye(matrix.shape[0])[classes]) / len(p),
        ),
        ("not the mean", lambda p, classes, matrix: p - matrix[classes]),
        ("the column", lambda p, classes, matrix: (p - matrix.T[classes]) / len(p)),
        (
            "through the matrix",
            lambda p, classes, matrix: (p @ matrix - np.eye(matrix.shape[0])[classes]) / len(p),
        ),
        ("the sign", lambda p, classes, matrix: (matrix[classes] - p) / len(p)),
    ],
}
