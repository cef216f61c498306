"""Training curves from history rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minran.errors import expect
from minran.hints import checked
from minran.inspect.style import Theme, dress, heading, legend, new_figure, plain, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    """Curves of one or several runs, by name: a colour for each run, dashed on training images.

    panels: of "loss", "accuracy", "lr". Rows lie at their epoch; rows between epochs are
    placed by their step. A panel for which no run has a value says so.
    """
    expect(bool(histories), "curves_figure: there are no histories")
    expect(len(panels) > 0, f"curves_figure: panels must be some of {tuple(PANELS)}, got none")
    for panel in panels:
        expect(panel in PANELS, f"curves_figure: panels are {tuple(PANELS)}, got {panel!r}")
    figure = new_figure(4.3 * len(panels), 3.3, dark)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw_panel(axes, histories, panel, theme(dark))
    return figure


def draw_panel(axes: Axes, histories: Mapping[str, History], panel: str, colours: Theme) -> None:
    """Draw one quantity of all runs."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    dress(axes, colours, PANELS[panel].capitalize(), "epoch", "")
    several = len(histories) > 1
    for index, (name, history) in enumerate(histories.items()):
        for split in ("",) if panel == "lr" else ("train", "test"):
            x, y = points(history, f"{split}_{panel}" if split else panel)
            if not x:
                continue
            place = index if several else int(split == "test")
            words = " ".join(filter(None, (plain(name) if several else "", split)))
            look: dict[str, Any] = {"color": colours.line(place), "label": words or None}
            look |= {"marker": "o", "markersize": 3.2} if len(x) <= 30 else {}
            style, width = ("--", 1.4) if split == "train" else ("-", 2.0)
            axes.plot(x, y, linestyle=style, linewidth=width, **look)
    if panel == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.6g}%")
        axes.set_ylim(top=min(axes.get_ylim()[1], 1.02))
    elif panel == "loss" and axes.lines:
        # Losses fall by factors: an outburst early on must not flatten the rest.
        axes.set_yscale("log")
        heading(axes, "Loss (log scale)", colours)
        low, high = axes.get_ylim()
        # Less than a factor of ten may hold no power of ten: plain steps have numbers to read.
        few = high < 10 * low
        axes.yaxis.set_major_locator(MaxNLocator(5) if few else LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.tick_params(which="both", colors=colours.faint, labelsize=8.5)
    if not axes.lines:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=colours.faint)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend(axes, colours, loc="best")


def points(history: History, key: str) -> tuple[list[float], list[float]]:
    """Epochs that had passed, and values of `key`, in the rows that have it.

    A row in the middle of an epoch is placed by its step: several rows then have one epoch.
    """

    def having(rows: History, key: str) -> History:
        return [row for row in rows if _number(row.get(key))]

    rows, timed = having(history, key), having(history, "epoch")
    # Epochs may be counted from 0: the row of epoch 0 then ends the first.
    base = 1 if any(row["epoch"] == 0 for row in timed) else 0
    if len({row.get("epoch") for row in rows}) == len(rows) == len(having(rows, "epoch")):
        x = [float(row["epoch"] + base) for row in rows]
    else:
        # Steps in an epoch: no row has more steps behind it than its epoch holds.
        stepped = having(timed, "step")
        length = max((row["step"] / (row["epoch"] + base) for row in stepped), default=1.0)
        rows = having(rows, "step")
        x = [row["step"] / length for row in rows]
    return x, [float(row[key]) for row in rows]


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
