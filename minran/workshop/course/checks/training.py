"""Checks of notebooks 12 to 15: augmentation, resuming, scores of maps, margins, noisy labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from minran import create_model, inspect, ops, tensor
from minran.data import label_noise_matrix, load_shapes, pad_crop_flip
from minran.nn import Module
from minran.optim import SGD
from minran.train import load_pretrained
from minran.workshop.ablate.spread import compare as compare_means
from minran.workshop.ablate.spread import student_t
from minran.workshop.course.checking import (
    Function,
    Wrong,
    beside,
    compare,
    compare_calls,
    expect_function,
    generator,
    unpack,
)


def check_12_1(crop_and_mirror: Function) -> None:
    """crop_and_mirror(image, top, left, mirrored, pad) -> (H, W, C)."""
    image = generator(121).integers(0, 256, (5, 7, 3), dtype=np.uint8)

    def right(top: int, left: int, mirrored: bool, pad: int) -> np.ndarray:
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        window = padded[top : top + 5, left : left + 7]
        return window[:, ::-1] if mirrored else window

    places = ((4, 4, 4), (4, 0, 8), (4, 7, 1), (2, 1, 3))
    compare_calls(
        "the window",
        lambda *case: crop_and_mirror(image.copy(), *case),
        right,
        [(top, left, mirrored, pad) for pad, top, left in places for mirrored in (False, True)],
        "top {}, left {}, mirrored {}, pad {}",
        "zeros on all four sides; the window starts at (top, left) of the padded picture",
    )


STEPS = 3


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


def check_12_2(both: Any) -> None:
    """(snapshot, restore): a new job that is restored goes on as the old one does."""
    snapshot, restore = unpack("both", both, "snapshot", "restore")
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
            hint = "what does the next step read that is not in your snapshot?"
            if _equal(found, old[name]):
                hint = "it holds what the old job has now: snapshot must keep copies"
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


def check_13_1(two_scores: Function) -> None:
    """two_scores(level, truth, threshold) -> (iou, pointing)."""
    rng = generator(131)
    soft = rng.random((6, 7))
    truth = rng.random((6, 7)) < 0.4
    cases = (
        ("a random map", soft, 0.5),
        ("another threshold", soft, 0.8),
        ("a map with equal values", np.round(soft * 3) / 3, 1 / 3),
        ("the same number everywhere", soft * 0, 0),
    )
    for where, level, threshold in cases:
        got = two_scores(level.copy(), truth.copy(), threshold)
        iou, pointing = unpack("two_scores", got, "iou", "pointing")
        marked = level >= threshold
        expected = (truth & marked).sum() / (truth | marked).sum()
        hint = "pixels in both sets over pixels in either; a pixel at the threshold counts"
        compare("iou", iou, expected, hint, where=f"{where}, threshold {threshold:.3g}")
        hint = "of all pixels that equal the maximum, which share lies in the object?"
        compare("pointing", pointing, truth[level == level.max()].mean(), hint, where=where)


MOST = 8
"""Channels that a rule may pick."""

PICTURES = 400


def check_13_2(pick_channels: Function) -> None:
    """pick_channels(maps, outlines) -> at most 8 channels that mark objects in new pictures."""
    maps, outlines = _products()
    half = PICTURES // 2
    channels = maps.shape[3]
    maps = maps[..., generator(132).permutation(channels)]
    got = pick_channels(maps[:half].copy(), outlines[:half].copy())
    if got is None or got is ...:
        compare("pick_channels", got, [0])
    picked = np.asarray(got)
    if picked.ndim != 1 or picked.dtype.kind not in "iu" or not 1 <= len(picked) <= MOST:
        raise Wrong(
            f"pick_channels returned {got!r}",
            f"expected 1 to {MOST} whole numbers",
            "the places of the channels along the last axis, not their scores",
        )
    if picked.min() < 0 or picked.max() >= channels or len(set(picked.tolist())) < len(picked):
        raise Wrong(
            f"pick_channels returned {picked.tolist()}",
            f"expected different channels from 0 to {channels - 1}",
        )
    chosen = maps[..., picked].mean(axis=3)
    known = inspect.score(chosen[:half], outlines[:half])
    found = inspect.score(chosen[half:], outlines[half:], threshold=known.threshold)
    if found.iou <= found.centre_iou + found.iou_error:
        raise Wrong(
            "on new pictures the channels do not beat the middle of the picture",
            f"IoU {found.iou:.3f} ± {found.iou_error:.3f}, the middle {found.centre_iou:.3f}, "
            f"channels {picked.tolist()}",
            "score each channel's maps against the outlines that you were given, and keep the best",
        )


@lru_cache(maxsize=1)
def _products() -> tuple[np.ndarray, Any]:
    """|M T| of the second stage of the quickstart network on test shapes, and the outlines."""
    model, preprocess, _ = load_pretrained("quickstart")
    shapes = load_shapes("test", count=PICTURES)
    second = inspect.attention_maps(model, preprocess(shapes.images))[1]
    return np.abs(second.mask * second.trunk), shapes.masks


def check_14_1(margin: Function) -> None:
    """margin(a, b) -> half the width of Welch's interval."""
    rng = generator(141)
    for first, second in ((3, 3), (2, 6), (5, 3)):
        a, b = rng.normal(25, 4, first).tolist(), rng.normal(20, 1, second).tolist()
        expected = compare_means(a, b).margin
        hint = "v = s^2 / n with s^2 divided by n - 1, for each list; then f, then t"
        where = f"{first} and {second} values"
        compare("the margin", margin(list(a), list(b)), expected, hint, 1e-6, where)


def check_14_2(seeds_needed: Function) -> None:
    """seeds_needed(difference, spread) -> n."""

    def right(difference: float, spread: float) -> int:
        n = 2
        while student_t(2 * n - 2) * spread * np.sqrt(2 / n) >= difference:
            n += 1
        return n

    compare_calls(
        "the number of seeds",
        seeds_needed,
        right,
        ((10.0, 3.0), (5.0, 3.0), (3.0, 4.0), (100.0, 1.0), (1.0, 0.2)),
        "difference {}, spread {}",
        "try n = 2, 3, 4, ... until the margin is smaller than the difference",
    )


def check_15_1(noise_matrix: Function) -> None:
    """noise_matrix(classes, clean_ratio) -> Q."""
    compare_calls(
        "Q",
        noise_matrix,
        label_noise_matrix,
        ((10, 0.9), (10, 0.3), (3, 0.5), (2, 0.8), (4, 1.0), (5, 0.0)),
        "{} classes, clean ratio {}",
        "a row sums to 1: what is left for the K - 1 wrong labels together, and for each?",
        tol=1e-10,
    )


def check_15_2(expected_gradient: Function) -> None:
    """expected_gradient(p, classes, matrix) -> (N, K)."""
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
        got = expected_gradient(p.copy(), classes.copy(), matrix.copy())
        compare("the expected gradient", got, z.grad, hint, where=f"6 pictures, {name}")
