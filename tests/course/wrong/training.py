"""Plausible wrong answers to the tasks of notebooks 12 to 15."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import numpy as np

from minran import inspect
from minran.workshop.ablate.spread import student_t


def window(x, top, left, mirrored, pad=4, mode="constant", flip=np.s_[:, ::-1]):
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode)
    seen = padded[top : top + x.shape[0], left : left + x.shape[1]]
    return seen[flip] if mirrored else seen


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


def copies_the_job(job, saved):
    for name, value in vars(saved).items():
        setattr(job, name, value)


def iou(cut, truth):
    return (cut & truth).sum() / (cut | truth).sum()


def pointing(level, truth):
    return truth[level == level.max()].mean()


def scores(iou=iou, pointing=pointing, cut=np.greater_equal):
    return lambda level, truth, threshold: (
        iou(cut(level, threshold), truth),
        pointing(level, truth),
    )


def ious(maps, outlines):
    return [inspect.score(maps[..., c], outlines).iou for c in range(maps.shape[3])]


def central(maps, outlines):
    middle = np.broadcast_to(inspect.centre_map(outlines.shape[1:]) > 0.5, outlines.shape)
    return np.argsort(ious(maps, middle))[::-1][:8]


def welch(a, b, ddof=1, t=student_t):
    va, vb = np.var(a, ddof=ddof) / len(a), np.var(b, ddof=ddof) / len(b)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return t(freedom) * np.sqrt(va + vb)


def seeds(difference, spread, power=0.84, means=2, freedom=lambda n: 2 * n - 2):
    n = 2
    while (student_t(freedom(n)) + power) * spread * np.sqrt(means / n) >= difference:
        n += 1
    return n


def spread(classes, ratio, others):
    wrong = (1 - ratio) / others
    return np.full((classes, classes), wrong) + (ratio - wrong) * np.eye(classes)


WRONG = {
    "12.1": [
        ("mirrors up and down", partial(window, flip=np.s_[::-1])),
        ("never mirrors", partial(window, flip=np.s_[:])),
        ("rows for columns", lambda x, top, left, *how: window(x, left, top, *how)),
        ("repeats the edge", partial(window, mode="edge"), "zeros on all four sides"),
        ("mirrors the channels too", partial(window, flip=np.s_[:, ::-1, ::-1])),
    ],
    "12.2": [
        ("forgets the velocity", leaving_out("optimizer")),
        ("forgets the generator", leaving_out("rng")),
        ("forgets the step", leaving_out("step")),
        ("parameters without running statistics", parameters_only()),
        ("keeps the arrays, not copies", not_copied()),
        ("snapshot alone", snapshot),
        ("the job itself, copied", (deepcopy, copies_the_job), "keep arrays, numbers and text"),
        (
            "the generator itself, copied",
            (
                lambda job: snapshot(job) | {"rng": deepcopy(job.rng)},
                lambda job, saved: setattr(job, "rng", saved["rng"]),
            ),
        ),
    ],
    "13.1": [
        (
            "over the sum of sizes",
            scores(lambda cut, truth: (cut & truth).sum() / (cut.sum() + truth.sum())),
        ),
        ("over the object alone", scores(lambda cut, truth: (cut & truth).sum() / truth.sum())),
        ("above the threshold only", scores(cut=np.greater)),
        (
            "the first brightest pixel",
            scores(pointing=lambda level, truth: float(truth.ravel()[level.argmax()])),
        ),
        (
            "whether the first brightest pixel hits",
            scores(pointing=lambda level, truth: truth.ravel()[level.argmax()]),
            "all pixels that equal the maximum",
        ),
        ("iou alone", lambda level, truth, threshold: iou(level >= threshold, truth)),
    ],
    "13.2": [
        ("the first eight", lambda maps, outlines: list(range(8))),
        (
            "those that vary most",
            lambda maps, outlines: inspect.choose_channels(maps, "variance", 8).indices,
        ),
        ("those that are bright in the middle", central, "the outlines say where"),
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
        ("the large-n formula", lambda d, s: int(np.ceil(2 * (2.8 * s / d) ** 2))),
        ("seen in half of the experiments only", partial(seeds, power=0)),
        ("n - 1 degrees of freedom", partial(seeds, freedom=lambda n: n - 1)),
        ("one mean, not two", partial(seeds, means=1)),
        ("one too many", lambda d, s: 1 + seeds(d, s)),
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
