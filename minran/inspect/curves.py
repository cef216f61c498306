"""Training curves from history rows, and the one picture that `minran quickstart` ends with."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minran.errors import expect
from minran.hints import checked
from minran.inspect.masks import (
    RULES,
    Attention,
    as_colours,
    channel_mean,
    choose_channels,
    expect_labels,
    overlay,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from minran.inspect.style import Theme

History = Sequence[Mapping[str, Any]]
"""Rows with some of the keys epoch, step, train_loss, train_accuracy, test_loss,
test_accuracy, lr, seconds; a row may lack any of them."""

PANELS = {"loss": "loss", "accuracy": "accuracy", "lr": "learning rate"}


@checked()
def curves_figure(
    histories: Mapping[str, History],
    panels: Sequence[str] = ("loss", "accuracy"),
    dark: bool = False,
) -> Figure:
    """Curves of one or several runs, by name: a colour for each run, dashed on training pictures.

    panels: of "loss", "accuracy", "lr". Rows lie at their epoch; rows between epochs are
    placed by their step. A panel for which no run has a value says so.
    """
    from minran.inspect.style import new_figure, theme

    expect(bool(histories), "curves_figure: there are no histories")
    expect(len(panels) > 0, f"curves_figure: panels must be some of {tuple(PANELS)}, got none")
    for panel in panels:
        expect(panel in PANELS, f"curves_figure: panels are {tuple(PANELS)}, got {panel!r}")
    colours = theme(dark)
    figure = new_figure(4.3 * len(panels), 3.3, dark)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, histories, panel, colours)
    return figure


def _panel(axes: Axes, histories: Mapping[str, History], panel: str, colours: Theme) -> None:
    """One quantity of all runs."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    from minran.inspect.style import dress, legend, plain

    dress(axes, colours, PANELS[panel].capitalize(), "epoch", "")
    several = len(histories) > 1
    drawn = 0
    for index, (name, history) in enumerate(histories.items()):
        for split in ("",) if panel == "lr" else ("train", "test"):
            x, y = points(history, f"{split}_{panel}" if split else panel)
            if not x:
                continue
            drawn += 1
            place = index if several else (1 if split == "test" else 0)
            words = " ".join(filter(None, (plain(name) if several else "", split)))
            axes.plot(
                x,
                y,
                color=colours.colours[place % len(colours.colours)],
                linestyle="--" if split == "train" else "-",
                linewidth=1.4 if split == "train" else 2.0,
                marker="o" if len(x) <= 30 else None,
                markersize=3.2,
                label=words or None,
            )
    if panel == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
        axes.set_ylim(top=min(axes.get_ylim()[1], 1.02))
    elif panel == "loss" and drawn:
        # Losses fall by factors: an outburst early on must not flatten the rest.
        axes.set_yscale("log")
        axes.set_title(
            "Loss (log scale)", color=colours.text, fontsize=11, loc="left", weight="bold"
        )
        low, high = axes.get_ylim()
        # Less than a factor of ten may hold no power of ten: plain steps have numbers to read.
        axes.yaxis.set_major_locator(
            MaxNLocator(5) if high < 10 * low else LogLocator(subs=(1, 2, 5))
        )
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.tick_params(which="both", colors=colours.faint, labelsize=8.5)
    if not drawn:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=colours.faint)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes, colours, loc="best")


def points(history: History, key: str) -> tuple[list[float], list[float]]:
    """Epochs that had passed, and values of `key`, in the rows that have it.

    A row in the middle of an epoch is placed by its step: several rows then have one epoch.
    """
    rows = [row for row in history if _number(row.get(key))]
    timed = [row for row in history if _number(row.get("epoch"))]
    # Epochs may be counted from 0: the row of epoch 0 then ends the first.
    base = 1 if any(row["epoch"] == 0 for row in timed) else 0
    values = [float(row[key]) for row in rows]
    epochs = [row.get("epoch") for row in rows]
    if len(set(epochs)) == len(rows) and all(_number(epoch) for epoch in epochs):
        return [float(row["epoch"] + base) for row in rows], values
    # Steps in an epoch: no row has more steps behind it than its epoch holds.
    stepped = [row for row in timed if _number(row.get("step"))]
    length = max((row["step"] / (row["epoch"] + base) for row in stepped), default=1.0)
    placed = [row for row in rows if _number(row.get("step"))]
    return [row["step"] / length for row in placed], [float(row[key]) for row in placed]


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


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
    from minran.inspect.style import new_figure, theme

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
    width = 1 + len(attentions) + (true_masks is not None)
    height = max(1.12 * len(images) + 1.1, 4.6)
    figure = new_figure(4.6 + 1.15 * width + 0.8, height, dark)
    figure.suptitle(title, color=colours.text, fontsize=14, fontweight="bold", x=0.012, ha="left")
    parts: Any = figure.subfigures(1, 2, width_ratios=[4.4, 1.15 * width + 1.0], wspace=0.04)
    left, right = parts
    for part in parts:
        part.set_facecolor("none")
    for axes, panel in zip(left.subplots(2, 1), ("loss", "accuracy"), strict=True):
        _panel(axes, {"": history}, panel, colours)
    tested = points(history, "test_accuracy")[1]
    if tested:
        words = f"Accuracy: {tested[-1]:.1%} of the test pictures"
        left.axes[1].set_title(words, color=colours.text, fontsize=11, loc="left", weight="bold")
    answers = _answers(class_names, predictions, labels)
    _gallery(right, images, attentions, true_masks, answers, rule, colours, 13 * (1.15 * width + 1))
    return figure


def _answers(
    class_names: Sequence[str],
    predictions: Sequence[int] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
) -> list[tuple[str, str]]:
    """The predicted class of each picture, and words about the true one where they differ."""
    from minran.inspect.style import broken, plain

    pairs = [(class_names[int(p)], class_names[int(y)]) for p, y in zip(predictions, labels)]
    wrong = [broken(f"(not {plain(truth, 42)})") for _, truth in pairs]
    return [
        (answer, "" if answer == truth else words)
        for (answer, truth), words in zip(pairs, wrong, strict=True)
    ]


def _gallery(
    figure: Any,
    images: np.ndarray,
    attentions: Sequence[Attention],
    true_masks: np.ndarray | None,
    answers: Sequence[tuple[str, str]],
    rule: str | None,
    colours: Theme,
    room: float,
) -> None:
    """Rows of pictures; the network's answer to their left. `room`: letters in a line."""
    from minran.inspect.style import row_label, show

    maps = [
        channel_mean(attention.mask)
        if rule is None
        else choose_channels(attention.mask, rule, 1).maps[..., 0]
        for attention in attentions
    ]
    width = 1 + len(attentions) + (true_masks is not None)
    grid = figure.subplots(len(images), width, squeeze=False)
    for row, image in enumerate(images):
        first = row == 0
        show(grid[row, 0], as_colours(image), colours, "test picture" if first else "")
        row_label(grid[row, 0], answers[row][0], colours, answers[row][1])
        for column, (attention, values) in enumerate(zip(attentions, maps), start=1):
            heading = f"mask, {attention.title}" if first else ""
            show(grid[row, column], overlay(image, values[row]), colours, heading)
        if true_masks is not None:
            heading = "true object" if first else ""
            show(grid[row, -1], true_masks[row], colours, heading, cmap="gray", vmin=0, vmax=1)
    which = "mean over channels" if rule is None else f"the channel of {RULES[rule]}"
    notes = ["Left of each row: the network's answer."]
    if attentions:
        notes = [f"{notes[0]} Bright: where the mask lets most through.", f"Masks: {which}."]
    figure.supxlabel(
        "\n".join(line for note in notes for line in textwrap.wrap(note, int(room))),
        color=colours.faint,
        fontsize=8.5,
    )
