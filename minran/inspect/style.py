"""The look of the figures: colours, axes, colour maps.

Figures are made with matplotlib's objects, without pyplot, so nothing global changes and no
display is needed. This module is imported only when something is drawn.
"""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart by colour-blind readers, on light and on dark paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c6bb1")
DARK_COLOURS = ("#56B4E9", "#E69F00", "#2fc79a", "#e39ac4", "#ff7f3b", "#f0e442", "#b59be0")
# Brightness grows evenly along this map, so it reads in grey and for every kind of colour vision.
MAP_COLOURS = "inferno"


@dataclass(frozen=True)
class Theme:
    """Colours of paper, text and lines."""

    paper: str
    text: str
    faint: str
    grid: str
    colours: tuple[str, ...]


LIGHT = Theme("#ffffff", "#1f2328", "#59636e", "#d9dee3", COLOURS)
DARK = Theme("#0d1117", "#e6edf3", "#9aa4af", "#2d343c", DARK_COLOURS)


def theme(dark: bool = False) -> Theme:
    """The light or the dark theme."""
    return DARK if dark else LIGHT


class Picture(Figure):
    """A Figure that a notebook shows without pyplot; `savefig` writes it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def new_figure(width: float, height: float, dark: bool) -> Picture:
    """An empty figure of width x height inches with the theme's paper."""
    return Picture((width, height), facecolor=theme(dark).paper, layout="constrained")


def caption(figure: Figure, text: str, colours: Theme) -> None:
    """Small words above all panels, broken where the figure ends (13 letters fill an inch)."""
    room = int(13 * figure.get_figwidth())
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, room)]
    figure.suptitle("\n".join(lines), color=colours.faint, fontsize=9)


def dress(axes: Axes, colours: Theme, title: str = "", x: str = "", y: str = "") -> Axes:
    """Axes for curves: labelled, a quiet grid, no box."""
    axes.set_facecolor(colours.paper)
    axes.set_title(title, color=colours.text, fontsize=11, loc="left", fontweight="bold")
    axes.set_xlabel(x, color=colours.text, fontsize=9.5)
    axes.set_ylabel(y, color=colours.text, fontsize=9.5)
    axes.tick_params(colors=colours.faint, labelsize=8.5, length=3)
    axes.grid(color=colours.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(colours.faint)
    return axes


def legend(axes: Axes, colours: Theme, **options: Any) -> None:
    """A legend without a box; nothing if no line has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8.5, labelcolor=colours.text, **options)


def show(axes: Axes, picture: Any, colours: Theme, title: str = "", **options: Any) -> Any:
    """A picture (H, W, 3) or map (H, W) without ticks, sharp pixels."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(colours.paper)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, color=colours.text, fontsize=9.5)
    return axes.imshow(picture, **{"interpolation": "nearest", **options})


def row_label(axes: Axes, text: str, colours: Theme) -> None:
    """Words to the left of a row of pictures."""
    axes.set_ylabel(
        text, rotation=0, ha="right", va="center", color=colours.text, fontsize=9.5, labelpad=6
    )


def colour_bar(figure: Figure, drawn: Any, axes: Any, colours: Theme, text: str) -> None:
    """A scale beside `axes` that says what the colours of `drawn` mean."""
    bar = figure.colorbar(drawn, ax=axes, shrink=0.75, aspect=30, pad=0.015)
    bar.set_label(text, color=colours.text, fontsize=9)
    bar.ax.tick_params(colors=colours.faint, labelsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]
