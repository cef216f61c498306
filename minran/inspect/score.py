"""How well do masks, and Grad-CAM, mark the objects? Scored against true object masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minran.errors import expect
from minran.hints import checked
from minran.inspect.gradients import gradcam
from minran.inspect.masks import attention_maps, choose_channels, resize_maps, stretch
from minran.inspect.probe import as_pictures
from minran.nn import Module
from minran.streams import text_table


@dataclass(frozen=True)
class Scores:
    """Scores of maps over a set of pictures; `str(scores)` says them in words.

    iou: mean over pictures of |map and object| / |map or object|, the map cut at `threshold`,
    with its standard error `iou_error`. pointing: share of pictures whose brightest pixel lies
    in the object. centre_iou, centre_pointing: of a Gaussian around the middle of the picture,
    treated in the same way: what one gets without looking.
    """

    iou: float
    iou_error: float
    threshold: float
    pointing: float
    centre_iou: float
    centre_pointing: float
    pictures: int
    inverted: bool
    threshold_given: bool

    def __str__(self) -> str:
        how = "given" if self.threshold_given else "best for the whole set, not per picture"
        how = f"(threshold {self.threshold:.2f}, {how}{', map inverted' if self.inverted else ''})"
        where = "(brightest pixel inside the object)"
        iou, centre = f"{self.iou:.3f} ± {self.iou_error:.3f}", f"{self.centre_iou:.3f}"
        pointing, middle = f"{self.pointing:.1%}", f"{self.centre_pointing:.1%}"
        return (
            f"IoU            {iou}   centre baseline {centre}   {how}\n"
            f"pointing game  {pointing}           centre baseline {middle}   {where}\n"
            f"pictures       {self.pictures:,}"
        )


@checked()
def score(
    maps: np.ndarray, true_masks: np.ndarray, invert: bool = False, threshold: float | None = None
) -> Scores:
    """Score maps (N, h, w) against true object masks (N, H, W) bool.

    Each map is resized to the object masks and stretched to 0..1 (inverted: one minus that).
    One threshold is chosen for the whole set: of 101 from 0 to 1, the one with the highest mean
    IoU. It is chosen on the set that it is scored on, for the maps and for the baseline alike;
    pass the `threshold` found on other pictures for a score without that favour.

    Raises ShapeError if the shapes do not fit, or an object mask is empty.

    >>> truth = data.load_shapes("test", 20).masks
    >>> round(inspect.score(truth.astype("float64"), truth).iou, 2)  # a perfect map
    1.0
    """
    expect(
        maps.ndim == 3 and true_masks.ndim == 3 and len(maps) == len(true_masks) >= 1,
        f"score: maps must be (N, h, w) and true_masks (N, H, W), got {maps.shape} and "
        f"{true_masks.shape}",
    )
    expect(true_masks.dtype == np.bool_, f"score: true_masks must be bool, got {true_masks.dtype}")
    expect(bool(true_masks.any(axis=(1, 2)).all()), "score: a true mask has no object pixel at all")
    expect(
        threshold is None or 0 <= threshold <= 1,
        f"score: the threshold must be between 0 and 1, got {threshold}",
    )
    size = (int(true_masks.shape[1]), int(true_masks.shape[2]))
    level = stretch(resize_maps(maps, size))
    centre = np.broadcast_to(centre_map(size), true_masks.shape)
    best, ious, pointing = _judge(1 - level if invert else level, true_masks, threshold)
    _, centre_ious, centre_pointing = _judge(centre, true_masks, None)
    return Scores(
        iou=float(ious.mean()),
        iou_error=float(ious.std(ddof=1) / np.sqrt(len(ious))) if len(ious) > 1 else 0.0,
        threshold=best,
        pointing=pointing,
        centre_iou=float(centre_ious.mean()),
        centre_pointing=centre_pointing,
        pictures=len(maps),
        inverted=invert,
        threshold_given=threshold is not None,
    )


def _judge(
    level: np.ndarray, true_masks: np.ndarray, given: float | None
) -> tuple[float, np.ndarray, float]:
    """The threshold of the highest mean IoU, each picture's IoU with it, and the pointing game."""
    best, best_ious = 0.0, np.full(len(level), -1.0)
    for candidate in np.linspace(0, 1, 101) if given is None else [given]:
        cut = level >= candidate
        ious = (cut & true_masks).sum(axis=(1, 2)) / (cut | true_masks).sum(axis=(1, 2))
        if ious.mean() > best_ious.mean():
            best, best_ious = float(candidate), ious
    # Equal maxima each count in part.
    top = level == level.max(axis=(1, 2), keepdims=True)
    hits = (top & true_masks).sum(axis=(1, 2)) / top.sum(axis=(1, 2))
    return best, best_ious, float(hits.mean())


@checked()
def centre_map(size: tuple[int, int], spread: float = 0.25) -> np.ndarray:
    """A Gaussian around the middle, (H, W), stretched to 0..1: exp(-(d / spread)^2 / 2).

    d: distance from the middle as a share of the picture's height and width.
    """
    expect(min(size) >= 1, f"centre_map: size must be positive, got {size}")
    expect(spread > 0, f"centre_map: spread must be positive, got {spread}")
    rows, columns = ((np.arange(n) + 0.5) / n - 0.5 for n in size)
    square = (rows[:, None] ** 2 + columns[None, :] ** 2) / spread**2
    return stretch(np.exp(-square / 2)[None])[0]


@checked()
def score_attention(
    model: Module, images: Any, true_masks: np.ndarray, rule: str | None = None
) -> dict[str, Scores]:
    """How well each mask, and Grad-CAM, mark the objects, by name.

    images: (N, H, W, C) prepared as for training, N at least 4; true_masks: (N, H, W) bool. Each
    map's threshold, and whether bright or dark marks the object, is chosen on the first half of
    the pictures and scored on the second, where nothing is chosen. rule: also scores the first
    channel of each mask under this rule of `choose_channels`, which sees no object masks.

    Raises ShapeError if the model has no mask, or shapes do not fit.
    """
    images = as_pictures(model, images, "score_attention")
    expect(
        len(images) == len(true_masks) >= 4,
        f"score_attention: needs at least 4 pictures and a mask for each, got {len(images)} and "
        f"{len(true_masks)}",
    )
    maps: dict[str, np.ndarray] = {}
    for attention in attention_maps(model, images):
        maps[f"{attention.title}, channel mean"] = attention.mask.mean(axis=3)
        if rule is not None:
            chosen = choose_channels(attention.mask, rule, 1)
            maps[f"{attention.title}, channel {chosen.indices[0]}"] = chosen.maps[..., 0]
    maps["Grad-CAM of the answer"] = gradcam(model, images)
    return {name: _honest(values, true_masks) for name, values in maps.items()}


def _honest(maps: np.ndarray, true_masks: np.ndarray) -> Scores:
    """Chosen on the first half, scored on the second."""
    half = len(maps) // 2
    plain, turned = (score(maps[:half], true_masks[:half], invert) for invert in (False, True))
    best = plain if plain.iou >= turned.iou else turned
    return score(maps[half:], true_masks[half:], best.inverted, best.threshold)


@checked()
def score_table(scores: dict[str, Scores]) -> str:
    """The scores of several maps, one a line, then the centre baseline of the same pictures."""
    expect(bool(scores), "score_table: there are no scores")
    lines = [("map", "IoU", "", "pointing game", "threshold")]
    for name, found in scores.items():
        words = f"{found.threshold:.2f}{' inverted' if found.inverted else ''}"
        iou, error = f"{found.iou:.3f}", f"± {found.iou_error:.3f}"
        lines.append((name, iou, error, f"{found.pointing:.1%}", words))
    # Its threshold is the best for these very pictures: a favour that the maps do not get.
    iou, pointing = f"{found.centre_iou:.3f}", f"{found.centre_pointing:.1%}"
    lines.append(("centre of the picture", iou, "", pointing, "best"))
    return "\n".join(text_table(lines, right=(1, 3)))
