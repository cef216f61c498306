"""Checks of notebook 12: the paper's augmentation, and what a run has to remember."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minran import create_model, ops, tensor
from minran.data import pad_crop_flip
from minran.nn import Module
from minran.optim import SGD
from minran.workshop.course.checking import (
    Wrong,
    beside,
    compare,
    expect_function,
    generator,
    unpack,
)

STEPS = 3


def check_12_1(answer: Callable[..., Any]) -> None:
    """crop_and_mirror(image, top, left, mirrored, pad) -> (H, W, C)."""
    expect_function("crop_and_mirror", answer)
    image = generator(121).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for pad, top, left in ((4, 4, 4), (4, 0, 8), (4, 7, 1), (2, 1, 3)):
        for mirrored in (False, True):
            padded = np.zeros((5 + 2 * pad, 7 + 2 * pad, 3), np.uint8)
            padded[pad : pad + 5, pad : pad + 7] = image
            expected = padded[top : top + 5, left : left + 7]
            expected = expected[:, ::-1] if mirrored else expected
            got = answer(image.copy(), top, left, mirrored, pad)
            where = f"top {top}, left {left}, mirrored {mirrored}, pad {pad}"
            hint = "zeros on all four sides; the window starts at (top, left) of the padded picture"
            compare("the window", got, expected, hint, where=where)


@dataclass
class Job:
    """A training run in small: what is trained, and where it stands."""

    model: Module
    optimizer: SGD
    rng: np.random.Generator
    step: int = 0

    def go_on(self, steps: int) -> list[float]:
        """So many steps on pictures that the generator draws; returns their losses."""
        losses = []
        for _ in range(steps):
            labels = self.rng.integers(0, 10, 8)
            pictures = self.rng.standard_normal((8, 16, 16, 3)) + labels[:, None, None, None] / 5
            inputs = tensor(pad_crop_flip(pictures, self.rng), dtype="float32")
            loss = ops.cross_entropy(self.model(inputs), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.lr = 0.1 / (1 + self.step)
            self.optimizer.step()
            self.step += 1
            losses.append(loss.item())
        return losses


def new_job(seed: int) -> Job:
    """A job that has not begun."""
    model = create_model("attention_nano", seed=seed)
    sgd = SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    return Job(model, sgd, np.random.default_rng(seed))


def check_12_2(answer: Any) -> None:
    """(snapshot, restore): a new job that is restored goes on as the old one does."""
    snapshot, restore = unpack("both", answer, "snapshot", "restore")
    expect_function("snapshot", snapshot)
    expect_function("restore", restore)
    job = new_job(int(generator(122).integers(1 << 30)))
    job.go_on(STEPS)
    state, expected = _state(job), _parts(job)
    losses = job.go_on(STEPS)
    restored, old, new_losses = beside(carry_on, snapshot, restore, state)
    for name, wanted in expected.items():
        found = restored[name]
        if not _equal(wanted, found):
            copied = _equal(found, old[name])
            hint = (
                "it holds what the old job has now: snapshot must keep copies"
                if copied
                else "what does the next step read that is not in your snapshot?"
            )
            raise Wrong(f"after restore, {name} is not what it was", "a new job, 3 steps", hint)
    where = f"{STEPS} steps before the snapshot, {STEPS} after it"
    compare("the losses after restore", new_losses, losses, tol=0.0, where=where)


def carry_on(snapshot: Any, restore: Any, state: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The parts of a new job after restore, those of the old one later, and the new one's losses.

    The old job is put into the state by hand: no seed is near that would give it away.
    """
    old, new = new_job(1), new_job(2)
    old.model.load_state_dict(state["model"])
    old.optimizer.load_state_dict(state["optimizer"])
    old.step, old.rng.bit_generator.state = state["step"], state["rng"]
    del state
    saved = snapshot(old)
    if saved is None or saved is ...:
        compare("snapshot(job)", saved, {})
    old.go_on(STEPS)
    new.go_on(1)
    restore(new, saved)
    return _parts(new), _parts(old), new.go_on(STEPS)


def _state(job: Job) -> dict[str, Any]:
    return {
        "model": job.model.state_dict(),
        "optimizer": job.optimizer.state_dict(),
        "step": job.step,
        "rng": job.rng.bit_generator.state,
    }


def _parts(job: Job) -> dict[str, Any]:
    parameters = {name for name, _ in job.model.named_parameters()}
    state = job.model.state_dict()
    return {
        "the model's parameters": [state[k] for k in sorted(parameters)],
        "the model's running statistics": [state[k] for k in sorted(set(state) - parameters)],
        "the optimiser's velocity": list(job.optimizer.state_dict().values()),
        "the step": job.step,
        "the state of the random generator": str(job.rng.bit_generator.state),
    }


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
