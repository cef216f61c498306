"""The one picture that `minran quickstart` ends with: curves, answers and masks."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minran.errors import expect
from minran.hints import checked
from minran.inspect.curves import History, draw_panel, points
from minran.inspect.figures import gallery
from minran.inspect.masks import (
    RULES,
    Attention,
    attention_maps,
    channel_mean,
    choose_channels,
    expect_labels,
)
from minran.inspect.probe import class_probabilities
from minran.inspect.style import broken, heading, new_figure, plain, theme
from minran.models import AttentionModule
from minran.nn import Module

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@checked()
def quickstart_figure(
    history: History,
    images: np.ndarray,
    attentions: Sequence[Attention],
    true_masks: np.ndarray | None,
    class_names: Sequence[str],
    predictions: Sequence[int] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    rule: str | None = "spots",
    title: str = "A Residual Attention Network, trained on your own processor",
    dark: bool = False,
) -> Figure:
    """Curves on the left; on the right test pictures, each stage's mask over them, true objects.

    images: (N, H, W, 3) to show, uint8 or between 0 and 1; N from 4 to 6 looks best. attentions:
    of the same pictures, and of more if you like. rule: shows the first channel of each mask by
    this rule of `choose_channels` (chosen over all pictures of `attentions`); None shows the mean
    over channels. true_masks: (N, H, W) bool, or None. predictions, labels: (N,) classes.
    """
    expect(
        len(images) == len(predictions) == len(labels) >= 1,
        f"quickstart_figure: {len(images)} pictures, {len(predictions)} predictions and "
        f"{len(labels)} labels; they must be as many, and at least one",
    )
    expect_labels([*predictions, *labels], class_names, "quickstart_figure: predictions and")
    for attention in attentions:
        expect(
            len(attention.mask) >= len(images),
            f"quickstart_figure: {len(images)} pictures, but attentions of {len(attention.mask)}",
        )
    colours = theme(dark)
    # Inches: a column of pictures takes 1.15, the names beside them 0.8, the curves 4.6.
    width = 1.15 * (1 + len(attentions) + (true_masks is not None))
    figure = new_figure(4.6 + width + 0.8, max(1.12 * len(images) + 1.1, 4.6), dark)
    figure.suptitle(title, color=colours.text, fontsize=14, fontweight="bold", x=0.012, ha="left")
    parts: Any = figure.subfigures(1, 2, width_ratios=[4.4, width + 1.0], wspace=0.04)
    for part in parts:
        part.set_facecolor("none")
    left, right = parts
    for axes, panel in zip(left.subplots(2, 1), ("loss", "accuracy"), strict=True):
        draw_panel(axes, {"": history}, panel, colours)
    tested = points(history, "test_accuracy")[1]
    if tested:
        heading(left.axes[1], f"Accuracy: {tested[-1]:.1%} of the test pictures", colours)

    columns = []
    for attention in attentions:
        maps = (
            channel_mean(attention.mask)
            if rule is None
            else choose_channels(attention.mask, rule, 1).maps[..., 0]
        )
        columns.append((f"mask, {attention.title}", maps))
    answers = []
    for answer, truth in zip(predictions, labels, strict=True):
        wrong = broken(f"(not {plain(class_names[int(truth)], 42)})")
        name = class_names[int(answer)]
        answers.append((name, "" if name == class_names[int(truth)] else wrong))
    gallery(right, images, columns, colours, true_masks, answers, "test picture")
    which = "mean over channels" if rule is None else f"the channel of {RULES[rule]}"
    notes = ["Left of each row: the network's answer."]
    if attentions:
        notes = [f"{notes[0]} Bright: where the mask lets most through.", f"Masks: {which}."]
    room = int(13 * (width + 1))  # letters in a line
    lines = [line for note in notes for line in textwrap.wrap(note, room)]
    right.supxlabel("\n".join(lines), color=colours.faint, fontsize=8.5)
    return figure


@checked()
def quickstart_report(
    model: Module,
    history: History,
    test: Any,
    preprocess: Callable[[np.ndarray], np.ndarray],
    count: int = 5,
    dark: bool = False,
) -> Figure:
    """`quickstart_figure` of a trained model on a test set.

    test: has images, labels, class_names and masks (or None), as the data sets of minran have.
    Shown are the first pictures of `count` different classes, whatever the answers; channels
    are chosen over all pictures of `test`: a few hundred are enough.
    """
    expect(count >= 1, f"quickstart_report: count must be at least 1, got {count}")
    needed = ("images", "labels", "class_names", "masks")
    lacks = [name for name in needed if not hasattr(test, name)]
    expect(not lacks, f"quickstart_report: test must be a data set; it has no {', '.join(lacks)}")
    _, firsts = np.unique(test.labels, return_index=True)
    shown = np.sort(firsts)[:count]
    order = np.concatenate([shown, np.setdiff1d(np.arange(len(test.labels)), shown)])
    inputs = preprocess(test.images[order])
    masked = any(isinstance(module, AttentionModule) for _, module in model.named_modules())
    kind = "A Residual Attention Network" if masked else "A network"
    answers = class_probabilities(model, inputs[: len(shown)]).argmax(axis=1)
    return quickstart_figure(
        history,
        test.images[shown],
        attention_maps(model, inputs) if masked else [],
        None if test.masks is None else test.masks[shown],
        test.class_names,
        answers,
        test.labels[shown],
        title=f"{kind}, trained on your own processor",
        dark=dark,
    )
