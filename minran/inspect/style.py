"""The look of the figures: axes, words, colour maps.

Figures are made with matplotlib's objects, without pyplot, so nothing global changes and no
display is needed. This module is imported only when something is drawn.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minran.errors import DataError
from minran.files import PICTURES, expect_ending, write_atomically
from minran.inspect.palette import Theme, theme

# Brightness grows evenly along this map, so it reads in grey and for every kind of colour vision.
MAP_COLOURS = "inferno"


class Picture(Figure):
    """A Figure that a notebook shows without pyplot; `savefig` writes it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()

    def savefig(self, *args: Any, **options: Any) -> None:
        """As Matplotlib's, but letters that the font lacks make one warning, not hundreds."""
        with _missing_letters():
            super().savefig(*args, **options)


@contextmanager
def _missing_letters() -> Iterator[None]:
    missing: set[str] = set()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        found = re.match(r"Glyph (\d+) ", str(warning.message))
        if found:
            missing.add(chr(int(found[1])))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if missing:
        letters = " ".join(sorted(missing)[:8]) + (" ..." if len(missing) > 8 else "")
        warnings.warn(
            f"the figure's font has no letters for {letters}: boxes stand in their place",
            stacklevel=4,
        )


def save_figure(figure: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write a figure whole or not at all, as its ending says: .png, .svg or .pdf.

    Raises DataError for another ending, and if the file cannot be written; what was there before
    is then unchanged.
    """
    target = expect_ending(path, PICTURES, "the file of a figure")
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format=target.suffix[1:].lower(), dpi=dpi, facecolor=figure.get_facecolor()
    )
    write_atomically(target, buffer.getvalue(), DataError)
    return target


def plain(name: object, most: int = 40) -> str:
    """A name that somebody gave, as text for a figure: it is drawn as it is written.

    A dollar does not begin a formula, a line break or another letter that cannot be seen is
    escaped, a long name keeps its beginning and its end, and one that begins with "_" stands in
    the legend, which leaves such names out.
    """
    letters = (c if c.isprintable() else ascii(c)[1:-1] for c in str(name))
    text = "".join(letters) or '""'
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[len(text) - most // 2 + 1 :]}"
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


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


def row_label(axes: Axes, name: str, colours: Theme, below: str = "") -> None:
    """The name of a row of pictures, to their left, and words below it."""
    text = "\n".join(filter(None, (broken(plain(name, 48)), below)))
    axes.set_ylabel(
        text, rotation=0, ha="right", va="center", color=colours.text, fontsize=9.5, labelpad=6
    )


def broken(text: str, room: int = 18) -> str:
    """Lines of at most `room` letters; none begins in the middle of an escaped dollar."""
    return "\n".join(textwrap.wrap(text.replace(r"\$", "\0"), room)).replace("\0", r"\$") or text


def colour_bar(figure: Figure, drawn: Any, axes: Any, colours: Theme, text: str) -> None:
    """A scale beside `axes` that says what the colours of `drawn` mean."""
    bar = figure.colorbar(drawn, ax=axes, shrink=0.75, aspect=30, pad=0.015)
    bar.set_label(text, color=colours.text, fontsize=9)
    bar.ax.tick_params(colors=colours.faint, labelsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]
