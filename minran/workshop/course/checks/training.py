"""Checks of notebooks 12 to 15: augmentation, resuming, scores of maps, margins, noisy labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
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
    beside,
    compare,
    expect_function,
    generator,
    require,
    unpack,
)

STEPS, PICTURES = 3, 400
MOST = 8
"""Channels that a rule may pick."""


def check_12_1(crop_and_mirror: Function) -> None:
    """zeros on all four sides; the window starts at (top, left) of the padded image"""
    image = generator(121).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    places = (4, 4, 4), (4, 0, 8), (4, 7, 1), (2, 1, 3)
    for (pad, top, left), mirrored in product(places, (False, True)):
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        right = padded[top : top + 5, left : left + 7][:, :: -1 if mirrored else 1]
        got = crop_and_mirror(image.copy(), top, left, mirrored, pad)
        where = f"top {top}, left {left}, mirrored {mirrored}, pad {pad}"
        compare("the window", got, right, "", 0, where)


@dataclass
class Job:
    """A training run in small: what is trained, and where it stands."""

    model: Module
    optimizer: SGD
    rng: np.random.Generator
    step: int = 0

    def go_on(self, steps: int) -> list[float]:
        """So many steps on images that the generator draws; returns their losses."""
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
    """what does the next step read that is not in your snapshot?"""
    snapshot, restore = unpack("both", both, "snapshot", "restore")
    expect_function("snapshot", snapshot)
    expect_function("restore", restore)
    job = new_job(int(generator(122).integers(1 << 30)))
    job.go_on(STEPS)
    states = {"model": job.model.state_dict(), "optimizer": job.optimizer.state_dict()}
    state = {**states, "step": job.step, "rng": job.rng.bit_generator.state}
    expected = _parts(job)
    losses = job.go_on(STEPS)
    restored, old, new_losses = beside(carry_on, snapshot, restore, state)
    for name, wanted in expected.items():
        found = restored[name]
        shared = "it holds what the old job has now: snapshot must keep copies"
        hint = shared if found == old[name] else ""
        what = f"after restore, {name} is not what it was"
        require(wanted == found, what, "a new job, 3 steps", hint)
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
    _expect_plain(saved)
    old.go_on(STEPS)
    new.go_on(1)
    restore(new, saved)
    return _parts(new), _parts(old), new.go_on(STEPS)


def _expect_plain(saved: Any, name: str = "snapshot(job)") -> None:
    """Raise Wrong unless a snapshot holds nothing but arrays, numbers and text, in containers."""
    if isinstance(saved, (dict, list, tuple)):
        parts = saved.items() if isinstance(saved, dict) else enumerate(saved)
        for key, value in parts:
            _expect_plain(value, f"{name}[{key!r}]")
        return
    plain = isinstance(saved, (np.ndarray, np.generic, int, float, str, type(None)))
    hint = (
        "a checkpoint is a file: keep arrays, numbers and text, as state_dict() and "
        "job.rng.bit_generator.state give them, not the objects themselves"
    )
    require(plain, f"the snapshot holds a {type(saved).__name__}", name, hint)


def _parts(job: Job) -> dict[str, Any]:
    trained = {name for name, _ in job.model.named_parameters()}
    state = {name: x.tobytes() for name, x in sorted(job.model.state_dict().items())}
    velocity = job.optimizer.state_dict()
    return {
        "the model's parameters": [x for name, x in state.items() if name in trained],
        "the model's running statistics": [x for name, x in state.items() if name not in trained],
        "the optimiser's velocity": [np.asarray(x).tobytes() for x in velocity.values()],
        "the step": job.step,
        "the state of the random generator": str(job.rng.bit_generator.state),
    }


def check_13_1(two_scores: Function) -> None:
    """of all pixels that equal the maximum, which share lies in the object?"""
    rng = generator(131)
    soft = rng.random((6, 7))
    truth = rng.random((6, 7)) < 0.4
    for words, level, threshold in (
        ("a random map", soft, 0.5),
        ("another threshold", soft, 0.8),
        ("a map with equal values", np.round(soft * 3) / 3, 1 / 3),
        ("the same number everywhere", soft * 0, 0),
    ):
        got = two_scores(level.copy(), truth.copy(), threshold)
        iou, pointing = unpack("two_scores", got, "iou", "pointing")
        marked, where = level >= threshold, f"{words}, threshold {threshold:.3g}"
        right = (truth & marked).sum() / (truth | marked).sum()
        hint = "pixels in both sets over pixels in either; a pixel at the threshold counts"
        compare("iou", iou, right, hint, where=where)
        # True or False of one pixel is a share, too; it is wrong where several are the brightest.
        share = float(pointing) if isinstance(pointing, (bool, np.bool_)) else pointing
        compare("pointing", share, truth[level == level.max()].mean(), where=words)


def check_13_2(pick_channels: Function) -> None:
    """score each channel's maps against the outlines that you were given, and keep the best"""
    maps, outlines = _products()
    half, channels = PICTURES // 2, maps.shape[3]
    maps = maps[..., generator(132).permutation(channels)]
    got = pick_channels(maps[:half].copy(), outlines[:half].copy())
    if got is None or got is ...:
        compare("pick_channels", got, [0])
    picked = np.asarray(got)
    require(
        picked.ndim == 1 and picked.dtype.kind in "iu" and 1 <= len(picked) <= MOST,
        f"pick_channels returned {got!r}",
        f"expected 1 to {MOST} whole numbers",
        "the places of the channels along the last axis, not their scores",
    )
    different = len(set(picked.tolist())) == len(picked)
    require(
        picked.min() >= 0 and picked.max() < channels and different,
        f"pick_channels returned {picked.tolist()}",
        f"expected different channels from 0 to {channels - 1}",
    )
    # Outlines moved by half an image: objects lie elsewhere, so other channels mark them.
    moved = np.roll(outlines[:half], [side // 2 for side in outlines.shape[1:]], axis=(1, 2))
    again = np.asarray(pick_channels(maps[:half].copy(), moved))
    require(
        set(again.ravel().tolist()) != set(picked.tolist()),
        "pick_channels returns the same channels for other outlines",
        "the same maps, the outlines moved by half an image",
        "the outlines say where the objects are: which channels are bright there?",
    )
    chosen = maps[..., picked].mean(axis=3)
    known = inspect.score(chosen[:half], outlines[:half])
    found = inspect.score(chosen[half:], outlines[half:], threshold=known.threshold)
    require(
        found.iou > found.centre_iou + found.iou_error,
        "on new images the channels do not beat the middle of the image",
        f"IoU {found.iou:.3f} ± {found.iou_error:.3f}, the middle {found.centre_iou:.3f}, "
        f"channels {picked.tolist()}",
    )


@lru_cache(maxsize=1)
def _products() -> tuple[np.ndarray, Any]:
    """|M T| of the second stage of the quickstart network on test shapes, and the outlines."""
    model, preprocess, _ = load_pretrained("quickstart")
    shapes = load_shapes("test", count=PICTURES)
    second = inspect.attention_maps(model, preprocess(shapes.images[:]))[1]
    return np.abs(second.mask * second.trunk), shapes.masks


def check_14_1(margin: Function) -> None:
    """v = s^2 / n with s^2 divided by n - 1, for each list; then f, then t"""
    rng = generator(141)
    for first, second in ((3, 3), (2, 6), (5, 3)):
        a, b = rng.normal(25, 4, first).tolist(), rng.normal(20, 1, second).tolist()
        right = compare_means(a, b).margin
        where = f"{first} and {second} values"
        compare("the margin", margin(list(a), list(b)), right, "", 1e-6, where)


def check_14_2(seeds_needed: Function) -> None:
    """try n = 2, 3, 4, ... until (t + 0.84) times the error is smaller than the difference"""
    for difference, spread in ((10.0, 3.0), (5.0, 3.0), (3.0, 4.0), (100.0, 1.0), (1.0, 0.2)):
        n = 2
        while (student_t(2 * n - 2) + 0.84) * spread * np.sqrt(2 / n) >= difference:
            n += 1
        where = f"difference {difference}, spread {spread}"
        compare("the number of seeds", seeds_needed(difference, spread), n, where=where)


def check_15_1(noise_matrix: Function) -> None:
    """a row sums to 1: what is left for the K - 1 wrong labels together, and for each?"""
    for classes, ratio in ((10, 0.9), (10, 0.3), (3, 0.5), (2, 0.8), (4, 1.0), (5, 0.0)):
        where = f"{classes} classes, clean ratio {ratio}"
        right = label_noise_matrix(classes, ratio)
        compare("Q", noise_matrix(classes, ratio), right, where=where)


def check_15_2(expected_gradient: Function) -> None:
    """p - e_j, weighed by the probability of each label j for this image's class"""
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
        got = expected_gradient(p.copy(), classes.copy(), matrix.copy())
        compare("the expected gradient", got, z.grad, where=f"6 images, {name}")
