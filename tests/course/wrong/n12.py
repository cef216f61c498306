"""Plausible wrong answers to the tasks of notebook 12."""

from __future__ import annotations

import numpy as np


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


WRONG = {
    "12.1": [
        ("mirrors up and down", lambda x, top, left, mirrored, pad=4: (
            window(x, top, left, pad)[:: -1 if mirrored else 1])),
        ("never mirrors", lambda x, top, left, mirrored, pad=4: window(x, top, left, pad)),
        ("rows for columns", lambda x, top, left, mirrored, pad=4: (
            window(x, left, top, pad)[:, :: -1 if mirrored else 1])),
        ("repeats the edge", lambda x, top, left, mirrored, pad=4: (
            window(x, top, left, pad, "edge")[:, :: -1 if mirrored else 1])),
        ("mirrors the channels too", lambda x, top, left, mirrored, pad=4: (
            window(x, top, left, pad)[:, ::-1, ::-1] if mirrored else window(x, top, left, pad))),
    ],
    "12.2": [
        ("forgets the velocity", leaving_out("optimizer")),
        ("forgets the generator", leaving_out("rng")),
        ("forgets the step", leaving_out("step")),
        ("parameters without running statistics", parameters_only()),
        ("keeps the arrays, not copies", not_copied()),
        ("snapshot alone", snapshot),
    ],
}  # fmt: skip
