"""Figures of masks: over the pictures, before and after the gate, as histograms, over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from minran.errors import expect
from minran.hints import checked
from minran.inspect.masks import (
    Attention,
    Channels,
    as_colours,
    channel_mean,
    choose_channels,
    expect_labels,
    overlay,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE_NOTE = "each map from its lowest (dark) to its highest value (bright)"


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
    from minran.inspect.style import caption, new_figure, row_label, show, theme

    _check(images, attentions, true_masks)
    if labels is not None:
        expect(len(labels) >= len(images), f"mask_figure: {len(labels)} labels are too few")
        if class_names is not None:
            expect_labels(labels, class_names, "mask_figure")
    columns: list[tuple[str, np.ndarray]] = []
    note = f"Masks: mean over channels, {SCALE_NOTE}"
    for attention in attentions:
        columns.append((attention.title, channel_mean(attention.mask)))
        if rule is not None or channels is not None:
            most = min(count, attention.mask.shape[3])
            chosen = choose_channels(attention.mask, rule or "given", most, channels)
            columns += _channel_columns(chosen)
            which = "given by hand" if channels is not None else f"of {chosen.rule}"
            note = f"Masks: mean over channels, then channels {which};\n{SCALE_NOTE}"
    colours = theme(dark)
    width = 1 + len(columns) + (true_masks is not None)
    figure = new_figure(1.25 * width + 0.6, 1.25 * len(images) + 0.7, dark)
    grid = figure.subplots(len(images), width, squeeze=False)
    for row, image in enumerate(images):
        first = row == 0
        show(grid[row, 0], as_colours(image), colours, "picture" if first else "")
        if labels is not None:
            name = str(labels[row]) if class_names is None else class_names[int(labels[row])]
            row_label(grid[row, 0], name, colours)
        for column, (title, maps) in enumerate(columns, start=1):
            show(grid[row, column], overlay(image, maps[row]), colours, title if first else "")
        if true_masks is not None:
            title = "true object" if first else ""
            show(grid[row, -1], true_masks[row], colours, title, cmap="gray", vmin=0, vmax=1)
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
    from minran.inspect.style import MAP_COLOURS, caption, colour_bar, new_figure, show, theme

    _check(images, [attention], None)
    given = None if channel is None else [channel]
    chosen = choose_channels(
        attention.mask, "variance" if channel is None else "given", 1, channels=given
    )
    index = chosen.indices[0]
    colours = theme(dark)
    figure = new_figure(6.4, 1.35 * len(images) + 0.7, dark)
    grid = figure.subplots(len(images), 4, squeeze=False)
    titles = ("picture", "before: T", "mask: M", "after: H")
    for row, image in enumerate(images):
        maps = [part[row, ..., index] for part in _parts(attention)]
        low = min(maps[0].min(), maps[2].min())
        high = max(maps[0].max(), maps[2].max())
        show(grid[row, 0], as_colours(image), colours, titles[0] if row == 0 else "")
        for column, values in enumerate(maps, start=1):
            title = titles[column] if row == 0 else ""
            limits = _mask_limits(attention) if column == 2 else (low, high)
            drawn = show(
                grid[row, column],
                values,
                colours,
                title,
                cmap=MAP_COLOURS,
                vmin=limits[0],
                vmax=limits[1],
            )
            if column == 2:
                mask_drawn = drawn
    colour_bar(figure, mask_drawn, grid, colours, "mask M (T and H: one scale a row)")
    caption(figure, f"{attention.title}, channel {index}: {chosen.rule}", colours)
    return figure


@checked()
def histogram_figure(attentions: Sequence[Attention], bins: int = 60, dark: bool = False) -> Figure:
    """The distribution of the values of each mask: does it gate, or stay in the middle?"""
    from minran.inspect.style import dress, new_figure, theme

    expect(bins >= 1, f"histogram_figure: bins must be at least 1, got {bins}")
    expect(bool(attentions), "histogram_figure: there are no masks")
    colours = theme(dark)
    figure = new_figure(2.7 * len(attentions) + 0.4, 2.6, dark)
    grid = figure.subplots(1, len(attentions), squeeze=False)[0]
    for index, (axes, attention) in enumerate(zip(grid, attentions, strict=True)):
        values = attention.mask.ravel()
        mean = float(values.mean(dtype=np.float64))
        dress(
            axes, colours, attention.title, "mask value M", "share of values" if not index else ""
        )
        weights = np.full(values.shape, 1 / values.size)
        axes.hist(
            values, bins, range=_mask_limits(attention), weights=weights, color=colours.colours[0]
        )
        axes.axvline(mean, color=colours.colours[1], linestyle="--", linewidth=1.4)
        axes.text(
            0.97,
            0.95,
            f"mean {mean:.2f}",
            transform=axes.transAxes,
            ha="right",
            va="top",
            color=colours.text,
            fontsize=8.5,
        )
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
    from minran.inspect.style import broken, caption, new_figure, plain, show, theme

    expect(bool(checkpoints), "mask_over_epochs_figure: there are no checkpoints")
    for found in checkpoints.values():
        expect(
            -len(found) <= index < len(found),
            f"mask_over_epochs_figure: there are {len(found)} attention modules, no index {index}",
        )
        _check(images, [found[index]], None)
    colours = theme(dark)
    width = len(checkpoints) + 1
    figure = new_figure(1.25 * width + 0.3, 1.25 * len(images) + 0.6, dark)
    grid = figure.subplots(len(images), width, squeeze=False)
    for row, image in enumerate(images):
        show(grid[row, 0], as_colours(image), colours, "picture" if row == 0 else "")
        for column, (name, found) in enumerate(checkpoints.items(), start=1):
            laid = overlay(image, channel_mean(found[index].mask)[row])
            title = broken(plain(name, 32), 16) if row == 0 else ""
            show(grid[row, column], laid, colours, title)
    title = next(iter(checkpoints.values()))[index].title
    caption(figure, f"Mask of {title}: mean over channels,\n{SCALE_NOTE}", colours)
    return figure


def _channel_columns(chosen: Channels) -> list[tuple[str, np.ndarray]]:
    return [
        (f"channel {channel}", chosen.maps[..., place])
        for place, channel in enumerate(chosen.indices)
    ]


def _parts(attention: Attention) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return attention.trunk, attention.mask, attention.output


def _mask_limits(attention: Attention) -> tuple[float, float]:
    """0 to 1, or -1 to 1 for channel attention, which can be negative (Eq. 5)."""
    return (-1.0, 1.0) if float(attention.mask.min()) < 0 else (0.0, 1.0)


def _check(
    images: np.ndarray, attentions: Sequence[Attention], true_masks: np.ndarray | None
) -> None:
    expect(images.ndim == 4, f"pictures to show must be (N, H, W, 3), got {images.shape}")
    expect(len(images) >= 1 and bool(attentions), "a figure needs pictures and masks to show")
    for attention in attentions:
        expect(
            len(attention.mask) >= len(images),
            f"{attention.name} has masks of {len(attention.mask)} pictures, asked to show "
            f"{len(images)}",
        )
    if true_masks is not None:
        expect(
            true_masks.ndim == 3 and len(true_masks) >= len(images),
            f"true_masks must be ({len(images)}, H, W), got {true_masks.shape}",
        )
