"""Figures of images: masks over them, before and after the gate, Grad-CAM, answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minran.errors import expect, expect_whole
from minran.hints import checked
from minran.inspect import masks, style
from minran.inspect.curves import History, draw_panel, points
from minran.inspect.masks import Attention, as_colours, channel_mean, choose_channels
from minran.inspect.probe import class_probabilities
from minran.inspect.style import Theme, new_figure, plain, theme
from minran.models import AttentionModule
from minran.nn import Module

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE_NOTE = "dark to bright: a column's lowest to highest value, printed above it"
STRETCH_NOTE = "each map from its own lowest (dark) to its highest value (bright)"
Column = tuple[str, Sequence[tuple[np.ndarray, dict[str, Any]]]]
"""A title, and below it for each row an image and how it is shown."""
Labels = Sequence[tuple[str, str]]
"""Of each row, what stands to its left, and below that."""


def _pictures(images: np.ndarray, title: str = "image") -> Column:
    return title, [(as_colours(image), {}) for image in images]


def _over(images: np.ndarray, title: str, maps: np.ndarray, stretch: bool) -> Column:
    """Maps (N, h, w), laid over the images: on one scale, which the title says, or stretched."""
    maps, limits = maps[: len(images)], None
    if not stretch:
        limits = float(maps.min()), float(maps.max())
        # Three digits of the difference: 1e-9 to 1 reads as 0 to 1.
        digits = 2 - math.floor(math.log10(limits[1] - limits[0] or 1))
        title += "\n{:g} to {:g}".format(*(round(end, digits) for end in limits))
    pairs = zip(images, maps)
    return title, [(masks.overlay(image, one, limits=limits), {}) for image, one in pairs]


def _over_masks(
    images: np.ndarray, attentions: Sequence[Attention], rule: str | None, stretch: bool
) -> Iterator[Column]:
    """Of each mask the mean over channels, or the first channel under a rule."""
    for a in attentions:
        maps = choose_channels(a.mask, rule, 1).maps[..., 0] if rule else channel_mean(a.mask)
        yield _over(images, f"mask, {a.title}", maps, stretch)


def _objects(true_masks: np.ndarray | None) -> Iterator[Column]:
    """The column of the true object masks, if there are any."""
    if true_masks is not None:
        yield "true object", [(mask, {"cmap": "gray", "vmin": 0, "vmax": 1}) for mask in true_masks]


def _grid(figure: Any, columns: Sequence[Column], colours: Theme, labels: Labels = ()) -> Any:
    """Draw the columns; returns the axes."""
    grid = figure.subplots(len(columns[0][1]), len(columns), squeeze=False)
    for row, line in enumerate(grid):
        for axes, (title, cells) in zip(line, columns, strict=True):
            style.show(axes, cells[row][0], colours, "" if row else title, **cells[row][1])
        if labels:
            style.row_label(line[0], labels[row][0], colours, labels[row][1])
    return grid


def _gallery(
    columns: Sequence[Column], note: str, size: Sequence[float], dark: bool, labels: Labels = ()
) -> Figure:
    """A figure of columns, with a note. size: inches of a column, and of what is left and above."""
    width, height = size[0] * len(columns) + size[1], 1.25 * len(columns[0][1]) + size[2]
    figure = new_figure(width, height, dark)
    _grid(figure, columns, theme(dark), labels)
    style.caption(figure, note, theme(dark))
    return figure


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
    stretch: bool = False,
) -> Figure:
    """A row for each image: the image, each stage's mask laid over it, the true object mask.

    images: (N, H, W, 3) to show: uint8 or between 0 and 1, not prepared. true_masks: (N, H, W)
    bool. labels name the rows through class_names. The map is the mean over channels; with a
    `rule` of `choose_channels`, its first `count` channels follow, or the `channels` that are
    given. The title says which. Colours mean the same in all rows of a column, from its lowest
    value to its highest, which stand above it; `stretch` gives each map its own range.
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
    columns = [_pictures(images)]
    scale = STRETCH_NOTE if stretch else SCALE_NOTE
    note = f"Masks: mean over channels;\n{scale}"
    for attention in attentions:
        columns.append(_over(images, attention.title, channel_mean(attention.mask), stretch))
        if rule is not None or channels is not None:
            most = min(count, attention.mask.shape[3])
            chosen = choose_channels(attention.mask, rule or "given", most, channels)
            for place, channel in enumerate(chosen.indices):
                maps = chosen.maps[..., place]
                columns.append(_over(images, f"channel {channel}", maps, stretch))
            which = "given by hand" if channels is not None else f"of {chosen.rule}"
            note = f"Masks: mean over channels, then channels {which};\n{scale}"
    return _gallery([*columns, *_objects(true_masks)], note, (1.25, 0.6, 0.7), dark, rows)


@checked()
def mask_over_epochs_figure(
    images: np.ndarray,
    checkpoints: Mapping[str, Sequence[Attention]],
    index: int = 0,
    dark: bool = False,
    stretch: bool = False,
) -> Figure:
    """How one mask came about: a row for each image, a column for each checkpoint.

    checkpoints: for each name ("epoch 3"), what `attention_maps` gave with those weights for
    the same images. index: which attention module, in order. Scales as in `mask_figure`.
    """
    expect(bool(checkpoints), "mask_over_epochs_figure: there are no checkpoints")
    columns = [_pictures(images)]
    for name, found in checkpoints.items():
        expect(
            -len(found) <= index < len(found),
            f"mask_over_epochs_figure: there are {len(found)} attention modules, no index {index}",
        )
        _expect_masks(images, [found[index]])
        title = style.broken(plain(name, 32), 16)
        columns.append(_over(images, title, channel_mean(found[index].mask), stretch))
    which = next(iter(checkpoints.values()))[index].title
    note = f"Mask of {which}: mean over channels;\n{STRETCH_NOTE if stretch else SCALE_NOTE}"
    return _gallery(columns, note, (1.25, 0.3, 0.6), dark)


@checked()
def gradcam_figure(
    images: np.ndarray,
    maps: np.ndarray,
    answers: Sequence[str],
    attentions: Sequence[Attention] = (),
    true_masks: np.ndarray | None = None,
    dark: bool = False,
    stretch: bool = False,
) -> Figure:
    """A row for each image: the image, Grad-CAM, each mask's mean over channels, the object.

    images: (N, H, W, 3) to show: uint8 or between 0 and 1; maps: (N, h, w) of `gradcam`;
    answers: the class that each map speaks for, and perhaps a line below it. Scales as in
    `mask_figure`.
    """
    _expect_as_many("gradcam_figure", pictures=images, maps=maps, answers=answers)
    columns = [_pictures(images), _over(images, "Grad-CAM", maps, stretch)]
    columns += [*_over_masks(images, attentions, None, stretch), *_objects(true_masks)]
    labels = []
    for answer in answers:
        name, _, below = answer.rpartition("\n")
        labels.append((name, plain(below)) if name else (below, ""))
    note = "Grad-CAM: positions that speak for the class on the left.\nMasks: mean over channels; "
    note += STRETCH_NOTE if stretch else SCALE_NOTE
    return _gallery(columns, note, (1.3, 0.9, 0.7), dark, labels)


@checked()
def before_after_figure(
    images: np.ndarray, attention: Attention, channel: int | None = None, dark: bool = False
) -> Figure:
    """What the gate does (paper Figure 1): features before, the mask, features after.

    A row for each image, one channel: the one given, or the mask's of largest variance over
    positions. Trunk T and output H share one scale within a row, so that the gain shows; it is
    as long above 0 as below.
    """
    _expect_masks(images, [attention])
    given = None if channel is None else [channel]
    chosen = choose_channels(attention.mask, count=1, channels=given)
    index = chosen.indices[0]
    trunk, mask, output = (
        part[: len(images), ..., index]
        for part in (attention.trunk, attention.mask, attention.output)
    )
    tops = [max(abs(t).max(), abs(h).max()) for t, h in zip(trunk, output)]
    scales = [{"cmap": style.SIGNED_COLOURS, "vmin": -top, "vmax": top} for top in tops]
    low, high = _mask_limits(attention)
    limits = [{"cmap": style.MAP_COLOURS, "vmin": low, "vmax": high}] * len(images)

    def scaled(title: str, maps: np.ndarray, looks: list[dict[str, Any]]) -> Column:
        return title, list(zip(maps, looks, strict=True))

    columns = [
        _pictures(images),
        scaled("before: T", trunk, scales),
        scaled("mask: M", mask, limits),
        scaled("after: H", output, scales),
    ]
    colours = theme(dark)
    figure = new_figure(6.4, 1.35 * len(images) + 0.7, dark)
    grid = _grid(figure, columns, colours)
    masks_drawn = grid[-1, 2].images[0]
    style.colour_bar(figure, masks_drawn, grid, colours, "mask M")
    note = f"{attention.title}, channel {index}: {chosen.rule}\n"
    note += "T and H: red above 0, blue below, one scale a row"
    style.caption(figure, note, colours)
    return figure


@checked(bins=1)
def histogram_figure(attentions: Sequence[Attention], bins: int = 60, dark: bool = False) -> Figure:
    """The distribution of the values of each mask: does it gate, or stay in the middle?"""
    expect(bool(attentions), "histogram_figure: there are no masks")
    colours = theme(dark)
    figure = new_figure(2.7 * len(attentions) + 0.4, 2.6, dark)
    grid = figure.subplots(1, len(attentions), squeeze=False)[0]
    for index, (axes, attention) in enumerate(zip(grid, attentions, strict=True)):
        values = attention.mask.ravel()
        mean = float(values.mean(dtype=np.float64))
        y = "" if index else "share of values"
        style.dress(axes, colours, attention.title, "mask value M", y)
        weights, limits = np.full(values.shape, 1 / values.size), _mask_limits(attention)
        axes.hist(values, bins, range=limits, weights=weights, color=colours.colours[0])
        axes.axvline(mean, color=colours.colours[1], linestyle="--", linewidth=1.4)
        look = {"ha": "right", "va": "top", "color": colours.text, "fontsize": 8.5}
        axes.text(0.97, 0.95, f"mean {mean:.2f}", transform=axes.transAxes, **look)
    return figure


@checked(count=1)
def prediction_figure(
    images: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    count: int = 5,
    dark: bool = False,
    labels: Sequence[int] | None = None,
) -> Figure:
    """A row for each image: the image, and bars for its `count` most probable classes.

    images: (N, H, W, 3) to show, uint8 or between 0 and 1; probabilities: (N, K); labels: the
    true classes (N,), whose names then stand above the images.
    """
    expect(
        probabilities.shape == (len(images), len(class_names)) and len(images) >= 1,
        f"prediction_figure: probabilities must be ({len(images)}, {len(class_names)}), got "
        f"{probabilities.shape}",
    )
    known = labels is None or len(labels) == len(images)
    expect(known, f"prediction_figure: labels must be one for each of {len(images)} images")
    titles = (
        [plain(class_names[k], 24) for k in labels] if labels is not None else [""] * len(images)
    )
    colours = theme(dark)
    figure = new_figure(5.4, 1.6 * len(images) + 0.3, dark)
    grid = figure.subplots(len(images), 2, squeeze=False, width_ratios=[1, 2.2])
    for (left, right), image, row, title in zip(grid, images, probabilities, titles, strict=True):
        style.show(left, as_colours(image), colours, title)
        best = np.argsort(-row, kind="stable")[:count][::-1]
        style.dress(right, colours)
        places = range(len(best))
        right.barh(places, row[best], color=colours.colours[0], height=0.7)
        right.set_yticks(places, [plain(class_names[k], 24) for k in best])
        right.set(xlim=(0, 1.14), xticks=[])
        right.grid(False)
        right.spines["bottom"].set_visible(False)
        look = {"va": "center", "fontsize": 8.5, "color": colours.text}
        for place, k in enumerate(best):
            right.text(row[k] + 0.015, place, f"{row[k]:.1%}", **look)
    figure.alt = "Images, with bars for the most probable classes."
    for image, row in enumerate(probabilities):
        figure.alt += f" {image + 1}: {plain(class_names[row.argmax()], 24)}, {row.max():.0%}."
    return figure


@checked()
def confusion_figure(counts: np.ndarray, class_names: Sequence[str], dark: bool = False) -> Figure:
    """Which class is taken for which: a row for each true class, a column for each answer.

    counts: (K, K) whole numbers, as `train.evaluate` counts them. The colour is the share of
    the row; of up to 20 classes the counts stand in the cells. Raises ShapeError if the shape is
    another or a count negative.
    """
    many = len(class_names)
    fits = counts.shape == (many, many) and many >= 1 and counts.dtype.kind in "iu"
    wanted = f"confusion_figure: counts must be ({many}, {many}) whole numbers"
    expect(fits, f"{wanted}, got {counts.shape} {counts.dtype}")
    expect(bool((counts >= 0).all()), f"{wanted} of at least 0, got {counts.min()}")
    colours, shares = theme(dark), counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(0.45 * many, 2.2), 9.0)
    figure = new_figure(side + 1.9, side + 1.5, dark)
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap=style.MAP_COLOURS, vmin=0, vmax=1)
    names = [plain(name, 16) for name in class_names]
    shown = range(0, many, -(-many // 40))  # more names than that do not fit
    axes.set_xticks(shown, [names[k] for k in shown], rotation=90)
    axes.set_yticks(shown, [names[k] for k in shown])
    axes.tick_params(colors=colours.text, labelsize=8.5, length=0)
    axes.set_xlabel("answer", color=colours.text, fontsize=9.5)
    axes.set_ylabel("true class", color=colours.text, fontsize=9.5)
    axes.spines[:].set_visible(False)
    style.colour_bar(figure, drawn, axes, colours, "share of the true class")
    for row, column in np.argwhere(counts > 0) if many <= 20 else ():
        ink = "black" if shares[row, column] > 0.6 else "white"
        look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": ink}
        axes.text(column, row, f"{counts[row, column]:,}", **look)
    return figure


@checked()
def response_figure(responses: Mapping[str, Mapping[str, float]], dark: bool = False) -> Figure:
    """One line for each network of `responses` ("residual", "naive", ...): response by stage."""
    expect(bool(responses), "response_figure: there are no responses")
    colours = theme(dark)
    figure = new_figure(5.2, 3.2, dark)
    axes = figure.subplots()
    style.dress(axes, colours, "Mean absolute response", "", "mean |feature| (log scale)")
    axes.set_yscale("log")
    for index, (name, values) in enumerate(responses.items()):
        look: dict[str, Any] = {"color": colours.line(index), "marker": "osD^v"[index % 5]}
        axes.plot(list(values), list(values.values()), linewidth=1.8, label=plain(name), **look)
    axes.tick_params(which="both", colors=colours.faint, labelsize=8.5)
    style.legend(axes, colours)
    return figure


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
    """Curves on the left; on the right test images, each stage's mask over them, true objects.

    images: (N, H, W, 3) to show, uint8 or between 0 and 1; N from 4 to 6 looks best. attentions:
    of the same images, and of more if you like. rule: shows the first channel of each mask by
    this rule of `choose_channels` (chosen over all images of `attentions`); None shows the mean
    over channels. true_masks: (N, H, W) bool, or None. predictions, labels: (N,) classes. Scales
    as in `mask_figure`.
    """
    parts = {"pictures": images, "predictions": predictions, "labels": labels}
    _expect_as_many("quickstart_figure", **parts)
    expect_labels([*predictions, *labels], class_names, "quickstart_figure: predictions and")
    for attention in attentions:
        count = len(attention.mask)
        message = f"quickstart_figure: {len(images)} images, but attentions of {count}"
        expect(count >= len(images), message)
    colours = theme(dark)
    columns = [_pictures(images, "test image"), *_over_masks(images, attentions, rule, False)]
    columns += _objects(true_masks)
    # Inches: a column of pictures takes 1.15, the names beside them 0.8, the curves 4.6.
    width = 1.15 * len(columns)
    figure = new_figure(4.6 + width + 0.8, max(1.12 * len(images) + 1.1, 4.6), dark)
    figure.suptitle(title, color=colours.text, fontsize=14, fontweight="bold", x=0.012, ha="left")
    halves: Any = figure.subfigures(1, 2, width_ratios=[4.4, width + 1.0], wspace=0.04)
    for half in halves:
        half.set_facecolor("none")
    left, right = halves
    for axes, panel in zip(left.subplots(2, 1), ("loss", "accuracy"), strict=True):
        draw_panel(axes, {"": history}, panel, colours)
    if tested := points(history, "test_accuracy")[1]:
        words = f"Accuracy: {tested[-1]:.1%} of the test images"
        style.heading(left.axes[1], words, colours)

    answers = []
    for answer, truth in zip(predictions, labels, strict=True):
        name, true_name = class_names[int(answer)], class_names[int(truth)]
        wrong = style.broken(f"(not {plain(true_name, 42)})")
        answers.append((name, "" if name == true_name else wrong))
    _grid(right, columns, colours, answers)
    note = "Left of each row: the network's answer."
    if attentions:
        which = "mean over channels" if rule is None else f"the channel of {masks.RULES[rule]}"
        note += f"\nMasks: {which}; {SCALE_NOTE}."
    note = style.wrapped(note, int(13 * (width + 1)))  # letters in a line
    right.supxlabel(note, color=colours.faint, fontsize=8.5)
    return figure


@checked(count=1)
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
    Shown are the first images of `count` different classes, whatever the answers; channels
    are chosen over all images of `test`: a few hundred are enough.
    """
    needed = ("images", "labels", "class_names", "masks")
    lacks = [name for name in needed if not hasattr(test, name)]
    expect(not lacks, f"quickstart_report: test must be a data set; it has no {', '.join(lacks)}")
    _, firsts = np.unique(test.labels, return_index=True)
    shown = np.sort(firsts)[:count]
    order = np.concatenate([shown, np.setdiff1d(np.arange(len(test.labels)), shown)])
    inputs = preprocess(test.images[order])
    masked = any(isinstance(module, AttentionModule) for _, module in model.named_modules())
    kind = "A Residual Attention Network" if masked else "A network"
    return quickstart_figure(
        history,
        test.images[shown],
        masks.attention_maps(model, inputs) if masked else [],
        None if test.masks is None else test.masks[shown],
        test.class_names,
        class_probabilities(model, inputs[: len(shown)]).argmax(axis=1),
        test.labels[shown],
        title=f"{kind}, trained on your own processor",
        dark=dark,
    )


def _expect_as_many(who: str, **parts: Any) -> None:
    counts = [f"{len(part)} {name}" for name, part in parts.items()]
    expect(
        len({len(part) for part in parts.values()}) == 1 and len(parts["pictures"]) >= 1,
        f"{who}: {', '.join(counts[:-1])} and {counts[-1]}; they must be as many, and at least one",
    )


def _mask_limits(attention: Attention) -> tuple[float, float]:
    """0 to 1, or -1 to 1 for channel attention, which can be negative (Eq. 5)."""
    return (-1.0, 1.0) if float(attention.mask.min()) < 0 else (0.0, 1.0)


def _expect_masks(images: np.ndarray, attentions: Sequence[Attention]) -> None:
    expect(images.ndim == 4, f"images to show must be (N, H, W, 3), got {images.shape}")
    expect(len(images) >= 1 and bool(attentions), "a figure needs images and masks to show")
    for attention in attentions:
        most, count = len(attention.mask), len(images)
        message = f"{attention.name} has masks of {most} images, asked to show {count}"
        expect(most >= count, message)


def expect_labels(labels: Iterable[Any], class_names: Sequence[str], who: str) -> None:
    """Raise ShapeError unless each label is the number of a class."""
    for label in labels:
        expect_whole(label, f"{who}: labels, each", 0, len(class_names))
