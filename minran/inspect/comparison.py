"""Masks beside Grad-CAM: in one figure, and as scores against true object masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minran.errors import expect
from minran.hints import checked
from minran.inspect.gradcam import gradcam
from minran.inspect.masks import (
    Attention,
    as_colours,
    attention_maps,
    channel_mean,
    choose_channels,
    overlay,
)
from minran.inspect.probe import as_pictures
from minran.inspect.score import Scores, score
from minran.nn import Module
from minran.streams import text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        maps[f"{attention.title}, channel mean"] = channel_mean(attention.mask)
        if rule is not None:
            chosen = choose_channels(attention.mask, rule, 1)
            maps[f"{attention.title}, channel {chosen.indices[0]}"] = chosen.maps[..., 0]
    maps["Grad-CAM of the answer"] = gradcam(model, images)
    return {name: _honest(values, np.asarray(true_masks)) for name, values in maps.items()}


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
    any_scores = next(iter(scores.values()))
    pointing = f"{any_scores.centre_pointing:.1%}"
    # Its threshold is the best for these very pictures: a favour that the maps do not get.
    lines.append(("centre of the picture", f"{any_scores.centre_iou:.3f}", "", pointing, "best"))
    return "\n".join(text_table(lines, right=(1, 3)))


@checked()
def gradcam_figure(
    images: np.ndarray,
    maps: np.ndarray,
    answers: Sequence[str],
    attentions: Sequence[Attention] = (),
    true_masks: np.ndarray | None = None,
    dark: bool = False,
) -> Figure:
    """A row for each picture: the picture, Grad-CAM, each mask's mean over channels, the object.

    images: (N, H, W, 3) to show: uint8 or between 0 and 1; maps: (N, h, w) of `gradcam`;
    answers: the class that each map speaks for, and perhaps
    a line below it.
    """
    from minran.inspect.style import caption, new_figure, plain, row_label, show, theme

    expect(
        1 <= len(images) == len(maps) == len(answers),
        f"gradcam_figure: {len(images)} pictures, {len(maps)} maps and {len(answers)} answers; "
        "they must be as many, and at least one",
    )
    columns = [("Grad-CAM", maps)]
    columns += [(f"mask, {a.title}", channel_mean(a.mask)) for a in attentions]
    colours = theme(dark)
    width = 1 + len(columns) + (true_masks is not None)
    figure = new_figure(1.3 * width + 0.9, 1.25 * len(images) + 0.7, dark)
    grid = figure.subplots(len(images), width, squeeze=False)
    for row, image in enumerate(images):
        first = row == 0
        show(grid[row, 0], as_colours(image), colours, "picture" if first else "")
        name, _, below = answers[row].rpartition("\n")
        row_label(grid[row, 0], name or below, colours, plain(below) if name else "")
        for column, (title, values) in enumerate(columns, start=1):
            laid = overlay(image, values[row])
            show(grid[row, column], laid, colours, title if first else "")
        if true_masks is not None:
            title = "true object" if first else ""
            show(grid[row, -1], true_masks[row], colours, title, cmap="gray", vmin=0, vmax=1)
    note = "Grad-CAM: positions that speak for the class on the left. Masks: mean over channels."
    caption(figure, note, colours)
    return figure
