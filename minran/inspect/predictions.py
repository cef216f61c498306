"""What a network answers, and the picture of a first training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minran.errors import expect
from minran.hints import checked
from minran.inspect.curves import History, quickstart_figure
from minran.inspect.masks import as_colours, attention_maps
from minran.inspect.probe import watch
from minran.models import AttentionModule
from minran.nn import Module

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@checked()
def class_probabilities(model: Module, images: Any, batch_size: int = 64) -> np.ndarray:
    """The softmax of the logits: pictures (N, H, W, C), prepared as for training -> (N, K)."""
    logits = watch(model, images, lambda *call: None, "class_probabilities", batch_size)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


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
    from minran.inspect.style import dress, new_figure, plain, show, theme

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
        for place, k in enumerate(best):
            right.text(
                row[k] + 0.015,
                place,
                f"{row[k]:.1%}",
                va="center",
                fontsize=8.5,
                color=colours.text,
            )
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
