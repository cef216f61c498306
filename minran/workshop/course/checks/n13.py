"""Checks of notebook 13: scores of a map, and channels by a rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from minran import inspect
from minran.data import load_shapes
from minran.train import load_pretrained
from minran.workshop.course.checking import Wrong, compare, expect_function, generator, unpack

MOST = 8
"""Channels that a rule may pick."""

PICTURES = 400


def check_13_1(answer: Callable[..., Any]) -> None:
    """two_scores(level, truth, threshold) -> (iou, pointing)."""
    expect_function("two_scores", answer)
    rng = generator(131)
    soft = rng.random((6, 7))
    ties = np.round(soft * 3) / 3
    truth = rng.random((6, 7)) < 0.4
    cases = [("a random map", soft, 0.5), ("another threshold", soft, 0.8)]
    cases += [("a map with equal values", ties, 1 / 3), ("the same number everywhere", soft * 0, 0)]
    for where, level, threshold in cases:
        got = answer(level.copy(), truth.copy(), threshold)
        iou, pointing = unpack("two_scores", got, "iou", "pointing")
        both = (truth & (level >= threshold)).sum()
        either = (truth | (level >= threshold)).sum()
        hint = "pixels in both sets over pixels in either; a pixel at the threshold counts"
        compare("iou", iou, both / either, hint, where=f"{where}, threshold {threshold:.3g}")
        share = truth[level == level.max()].mean()
        hint = "of all pixels that equal the maximum, which share lies in the object?"
        compare("pointing", pointing, share, hint, where=where)


def check_13_2(answer: Callable[..., Any]) -> None:
    """pick_channels(maps, outlines) -> at most 8 channels that mark objects in new pictures."""
    expect_function("pick_channels", answer)
    maps, outlines = _products()
    half = PICTURES // 2
    channels = maps.shape[3]
    maps = maps[..., generator(132).permutation(channels)]
    got = answer(maps[:half].copy(), outlines[:half].copy())
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
