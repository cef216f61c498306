"""The look of figures: axes, words, images; colours are those of `themes`.

Figures are made without pyplot, so nothing global changes and no display is needed. matplotlib is
imported when the first one is made.
"""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minran.errors import DataError
from minran.files import PICTURES, expect_ending, write_atomically
from minran.inspect.themes import MAP_COLOURS as MAP_COLOURS
from minran.inspect.themes import SIGNED_COLOURS as SIGNED_COLOURS
from minran.inspect.themes import Theme, theme
from minran.streams import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from minran.inspect.picture import Picture


def new_figure(width: float, height: float, dark: bool) -> Picture:
    """An empty figure of width x height inches with the theme's paper."""
    from minran.inspect.picture import Picture

    return Picture((width, height), facecolor=theme(dark).paper, layout="constrained")


def save_figure(figure: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write a figure whole or not at all, as its ending says: .png, .svg or .pdf.

    Raises DataError for another ending, and if the file cannot be written.
    """
    target = expect_ending(path, PICTURES, "the file of a figure")
    buffer, kind = io.BytesIO(), target.suffix[1:].lower()
    figure.savefig(buffer, format=kind, dpi=dpi, facecolor=figure.get_facecolor())
    write_atomically(target, buffer.getvalue(), DataError)
    return target


def plain(name: object, most: int = 40) -> str:
    """A name that somebody gave, as text for a figure: it is drawn as it is written.

    No dollar begins a formula, what cannot be seen is escaped, a long name loses its middle, and
    one that begins with "_" stands in the legend, which leaves such names out.
    """
    text = visible(str(name)) or '""'
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[len(text) - most // 2 + 1 :]}"
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def broken(text: str, room: int = 18) -> str:
    """Lines of at most `room` letters; none begins in the middle of an escaped dollar."""
    return "\n".join(textwrap.wrap(text.replace(r"\$", "\0"), room)).replace("\0", r"\$") or text


def wrapped(text: str, room: int) -> str:
    """The lines of a text, each broken where it has more than `room` letters."""
    return "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, room))


def caption(figure: Figure, text: str, colours: Theme) -> None:
    """Small words above all panels, broken where the figure ends (13 letters fill an inch)."""
    room = int(13 * figure.get_figwidth())
    figure.suptitle(wrapped(text, room), color=colours.faint, fontsize=9)


def heading(axes: Axes, text: str, colours: Theme) -> None:
    """The title of a panel of curves."""
    axes.set_title(text, color=colours.text, fontsize=11, loc="left", fontweight="bold")


def dress(axes: Axes, colours: Theme, title: str = "", x: str = "", y: str = "") -> Axes:
    """Axes for curves: labelled, a quiet grid, no box."""
    axes.set_facecolor(colours.paper)
    heading(axes, title, colours)
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
    """An image (H, W, 3) or map (H, W) without ticks, sharp pixels."""
    axes.set(xticks=[], yticks=[], facecolor=colours.paper)
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title, color=colours.text, fontsize=9.5)
    return axes.imshow(picture, **{"interpolation": "nearest", **options})


def row_label(axes: Axes, name: str, colours: Theme, below: str = "") -> None:
    """The name of a row of images, to their left, and words below it."""
    text = "\n".join(filter(None, (broken(plain(name, 48)), below)))
    look: dict[str, Any] = {"rotation": 0, "ha": "right", "va": "center", "labelpad": 6}
    axes.set_ylabel(text, color=colours.text, fontsize=9.5, **look)


def colour_bar(figure: Figure, drawn: Any, axes: Any, colours: Theme, text: str) -> None:
    """A scale next to `axes` that says what the colours of `drawn` mean."""
    bar = figure.colorbar(drawn, ax=axes, shrink=0.75, aspect=30, pad=0.015)
    bar.set_label(text, color=colours.text, fontsize=9)
    bar.ax.tick_params(colors=colours.faint, labelsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]
