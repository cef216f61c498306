"""Figures of pictures: masks over them, before and after the gate, Grad-CAM, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minran.errors import expect
from minran.hints import checked
from minran.inspect.masks import (
    Attention,
    as_colours,
    channel_mean,
    choose_channels,
    expect_labels,
    overlay,
)
from minran.inspect.style import (
    MAP_COLOURS,
    Theme,
    broken,
    caption,
    colour_bar,
    dress,
    legend,
    new_figure,
    plain,
    row_label,
    show,
    theme,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE_NOTE = "each map from its lowest (dark) to its highest value (bright)"


def gallery(
    figure: Any,
    images: np.ndarray,
    columns: Sequence[tuple[str, np.ndarray]],
    colours: Theme,
    true_masks: np.ndarray | None = None,
    labels: Sequence[tuple[str, str]] = (),
    first: str = "picture",
) -> None:
    """A row for each picture: the picture, the map of each column over it, the true object mask.

    columns: titles and maps (N, h, w). labels: of each row, what stands to its left, and below.
    """
    titles = [first, *(title for title, _ in columns)]
    titles += [] if true_masks is None else ["true object"]
    grid = figure.subplots(len(images), len(titles), squeeze=False)
    for row, (axes, image) in enumerate(zip(grid, images, strict=True)):
        over = titles if row == 0 else [""] * len(titles)
        show(axes[0], as_colours(image), colours, over[0])
        if labels:
            row_label(axes[0], labels[row][0], colours, labels[row][1])
        for place, (_, maps) in enumerate(columns, start=1):
            show(axes[place], overlay(image, maps[row]), colours, over[place])
        if true_masks is not None:
            show(axes[-1], true_masks[row], colours, over[-1], cmap="gray", vmin=0, vmax=1)


@checked()
def mask_figure(
    images: np.ndarray,
    attentions: Sequence[Attention],
    true_masks: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    labels: Sequence[int] | np.ndarray | None = None,
    rule: str | None = None,
    count: int = 2,
    dark: bool = False,
    channels: Sequence[int] | None = None,
) -> Figure:
    """A row for each picture: the picture, each stage's mask laid over it, the true object mask.

    images: (N, H, W, 3) to show: uint8 or between 0 and 1, not prepared. true_masks: (N, H, W)
    bool. labels name the rows through class_names. The map is the mean over channels; with a
    `rule` of `choose_channels`, its first `count` channels follow, or the `channels` that are
    given. The title says which.
    """
    _expect_masks(images, attentions)
    if true_masks is not None:
        expect(
            true_masks.ndim == 3 and len(true_masks) >= len(images),
            f"true_masks must be ({len(images)}, H, W), got {true_masks.shape}",
        )
    rows: list[tuple[str, str]] = []
    if labels is not None:
        expect(len(labels) >= len(images), f"mask_figure: {len(labels)} labels are too few")
        if class_names is not None:
            expect_labels(labels, class_names, "mask_figure")
        rows = [(str(y) if class_names is None else class_names[int(y)], "") for y in labels]
    columns: list[tuple[str, np.ndarray]] = []
    note = f"Masks: mean over channels, {SCALE_NOTE}"
    for attention in attentions:
        columns.append((attention.title, channel_mean(attention.mask)))
        if rule is not None or channels is not None:
            most = min(count, attention.mask.shape[3])
            chosen = choose_channels(attention.mask, rule or "given", most, channels)
            for place, channel in enumerate(chosen.indices):
                columns.append((f"channel {channel}", chosen.maps[..., place]))
            which = "given by hand" if channels is not None else f"of {chosen.rule}"
            note = f"Masks: mean over channels, then channels {which};\n{SCALE_NOTE}"
    colours = theme(dark)
    width = 1 + len(columns) + (true_masks is not None)
    figure = new_figure(1.25 * width + 0.6, 1.25 * len(images) + 0.7, dark)
    gallery(figure, images, columns, colours, true_masks, rows)
    caption(figure, note, colours)
    return figure


@checked()
def mask_over_epochs_figure(
    images: np.ndarray,
    checkpoints: Mapping[str, Sequence[Attention]],
    index: int = 0,
    dark: bool = False,
) -> Figure:
    """How one mask came about: a row for each picture, a column for each checkpoint.

    checkpoints: for each name ("epoch 3"), what `attention_maps` gave with those weights for
    the same pictures. index: which attention module, in order.
    """
    expect(bool(checkpoints), "mask_over_epochs_figure: there are no checkpoints")
    columns = []
    for name, found in checkpoints.items():
        expect(
            -len(found) <= index < len(found),
            f"mask_over_epochs_figure: there are {len(found)} attention modules, no index {index}",
        )
        _expect_masks(images, [found[index]])
        columns.append((broken(plain(name, 32), 16), channel_mean(found[index].mask)))
    title = next(iter(checkpoints.values()))[index].title
    colours = theme(dark)
    figure = new_figure(1.25 * (1 + len(columns)) + 0.3, 1.25 * len(images) + 0.6, dark)
    gallery(figure, images, columns, colours)
    caption(figure, f"Mask of {title}: mean over channels,\n{SCALE_NOTE}", colours)
    return figure


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
    expect(
        1 <= len(images) == len(maps) == len(answers),
        f"gradcam_figure: {len(images)} pictures, {len(maps)} maps and {len(answers)} answers; "
        "they must be as many, and at least one",
    )
    columns = [("Grad-CAM", maps)]
    columns += [(f"mask, {a.title}", channel_mean(a.mask)) for a in attentions]
    labels = []
    for answer in answers:
        name, _, below = answer.rpartition("\n")
        labels.append((name, plain(below)) if name else (below, ""))
    colours = theme(dark)
    width = 1 + len(columns) + (true_masks is not None)
    figure = new_figure(1.3 * width + 0.9, 1.25 * len(images) + 0.7, dark)
    gallery(figure, images, columns, colours, true_masks, labels)
    note = "Grad-CAM: positions that speak for the class on the left. Masks: mean over channels."
    caption(figure, note, colours)
    return figure


@checked()
def before_after_figure(
    images: np.ndarray, attention: Attention, channel: int | None = None, dark: bool = False
) -> Figure:
    """What the gate does (paper Figure 1): features before, the mask, features after.

    A row for each picture, one channel: the one given, or the mask's of largest variance over
    positions. Trunk T and output H share one scale within a row, so that the gain shows.
    """
    _expect_masks(images, [attention])
    given = None if channel is None else [channel]
    chosen = choose_channels(attention.mask, count=1, channels=given)
    index = chosen.indices[0]
    colours = theme(dark)
    figure = new_figure(6.4, 1.35 * len(images) + 0.7, dark)
    grid = figure.subplots(len(images), 4, squeeze=False)
    titles = ("picture", "before: T", "mask: M", "after: H")
    for row, (axes, image) in enumerate(zip(grid, images, strict=True)):
        over = titles if row == 0 else [""] * 4
        trunk, mask, output = (
            part[row, ..., index] for part in (attention.trunk, attention.mask, attention.output)
        )
        scale = min(trunk.min(), output.min()), max(trunk.max(), output.max())
        show(axes[0], as_colours(image), colours, over[0])
        for place, (values, (low, high)) in enumerate(
            ((trunk, scale), (mask, _mask_limits(attention)), (output, scale)), start=1
        ):
            look = {"cmap": MAP_COLOURS, "vmin": low, "vmax": high}
            show(axes[place], values, colours, over[place], **look)
    masks_drawn = grid[-1, 2].images[0]
    colour_bar(figure, masks_drawn, grid, colours, "mask M (T and H: one scale a row)")
    caption(figure, f"{attention.title}, channel {index}: {chosen.rule}", colours)
    return figure


@checked()
def histogram_figure(attentions: Sequence[Attention], bins: int = 60, dark: bool = False) -> Figure:
    """The distribution of the values of each mask: does it gate, or stay in the middle?"""
    expect(bins >= 1, f"histogram_figure: bins must be at least 1, got {bins}")
    expect(bool(attentions), "histogram_figure: there are no masks")
    colours = theme(dark)
    figure = new_figure(2.7 * len(attentions) + 0.4, 2.6, dark)
    grid = figure.subplots(1, len(attentions), squeeze=False)[0]
    for index, (axes, attention) in enumerate(zip(grid, attentions, strict=True)):
        values = attention.mask.ravel()
        mean = float(values.mean(dtype=np.float64))
        dress(axes, colours, attention.title, "mask value M", "" if index else "share of values")
        weights = np.full(values.shape, 1 / values.size)
        limits = _mask_limits(attention)
        axes.hist(values, bins, range=limits, weights=weights, color=colours.colours[0])
        axes.axvline(mean, color=colours.colours[1], linestyle="--", linewidth=1.4)
        look = {"ha": "right", "va": "top", "color": colours.text, "fontsize": 8.5}
        axes.text(0.97, 0.95, f"mean {mean:.2f}", transform=axes.transAxes, **look)
    return figure


@checked()
def prediction_figure(
    images: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    count: int = 5,
    dark: bool = False,
) -> Figure:
    """A row for each picture: the picture, and bars for its `count` most probable classes.

    images: (N, H, W, 3) to show, uint8 or between 0 and 1; probabilities: (N, K).
    """
    expect(
        probabilities.shape == (len(images), len(class_names)) and len(images) >= 1,
        f"prediction_figure: probabilities must be ({len(images)}, {len(class_names)}), got "
        f"{probabilities.shape}",
    )
    expect(count >= 1, f"prediction_figure: count must be at least 1, got {count}")
    colours = theme(dark)
    figure = new_figure(5.4, 1.6 * len(images) + 0.3, dark)
    grid = figure.subplots(len(images), 2, squeeze=False, width_ratios=[1, 2.2])
    for (left, right), image, row in zip(grid, images, probabilities, strict=True):
        show(left, as_colours(image), colours)
        best = np.argsort(-row, kind="stable")[:count][::-1]
        dress(right, colours)
        places = range(len(best))
        right.barh(places, row[best], color=colours.colours[0], height=0.7)
        right.set_yticks(places, [plain(class_names[k], 24) for k in best])
        right.set_xlim(0, 1.14)
        right.set_xticks([])
        right.grid(False)
        right.spines["bottom"].set_visible(False)
        look = {"va": "center", "fontsize": 8.5, "color": colours.text}
        for place, k in enumerate(best):
            right.text(row[k] + 0.015, place, f"{row[k]:.1%}", **look)
    return figure


@checked()
def response_figure(responses: Mapping[str, Mapping[str, float]], dark: bool = False) -> Figure:
    """One line for each network of `responses` ("residual", "naive", ...): response by stage."""
    expect(bool(responses), "response_figure: there are no responses")
    colours = theme(dark)
    figure = new_figure(5.2, 3.2, dark)
    axes = dress(
        figure.subplots(), colours, "Mean absolute response", "", "mean |feature| (log scale)"
    )
    axes.set_yscale("log")
    for index, (name, values) in enumerate(responses.items()):
        axes.plot(
            list(values),
            list(values.values()),
            color=colours.colours[index % len(colours.colours)],
            marker="osD^v"[index % 5],
            linewidth=1.8,
            label=plain(name),
        )
    axes.tick_params(which="both", colors=colours.faint, labelsize=8.5)
    legend(axes, colours)
    return figure


def _mask_limits(attention: Attention) -> tuple[float, float]:
    """0 to 1, or -1 to 1 for channel attention, which can be negative (Eq. 5)."""
    return (-1.0, 1.0) if float(attention.mask.min()) < 0 else (0.0, 1.0)


def _expect_masks(images: np.ndarray, attentions: Sequence[Attention]) -> None:
    expect(images.ndim == 4, f"pictures to show must be (N, H, W, 3), got {images.shape}")
    expect(len(images) >= 1 and bool(attentions), "a figure needs pictures and masks to show")
    for attention in attentions:
        expect(
            len(attention.mask) >= len(images),
            f"{attention.name} has masks of {len(attention.mask)} pictures, asked to show "
            f"{len(images)}",
        )
