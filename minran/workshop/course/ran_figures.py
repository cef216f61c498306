"""Drawings of the attention network for notebooks 08, 11 and 16: measured, not typed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minran.autograd import no_grad, tensor
from minran.inspect.style import Picture, colour_bar, dress, new_figure, show, theme
from minran.models import Hourglass
from minran.models.units import Build
from minran.workshop.course.clinic import trace

SIDE = 0.92


def hourglass_figure(
    depth: int = 3, size: int = 32, r: int = 1, kind: type[Hourglass] = Hourglass
) -> Picture:
    """The maps of a mask branch, with the sizes that they have when it runs.

    Left the way down, right the way up; a square's side grows with the root of the map's.
    kind: the class of hourglass to run.
    """
    rows = _levels(kind, depth, size, r)
    colours = theme()
    figure = new_figure(2.3 * depth + 4.2, 1.35 * depth + 1.5, False)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_aspect("equal")
    right = 2.2 * depth + 3.4
    down, up, faint = colours.colours[0], colours.colours[1], colours.faint

    def square(x: float, level: int, pixels: int, colour: str) -> float:
        side = SIDE * (pixels / size) ** 0.5
        corner = (x - side / 2, -1.45 * level - side / 2)
        box: Any = _rectangle(corner, side, colour)
        axes.add_patch(box)
        axes.text(x, -1.45 * level, str(pixels), ha="center", va="center", fontsize=9, color="w")
        return side / 2

    def arrow(a: tuple[float, float], b: tuple[float, float], words: str, at: Any = (0, 0)) -> None:
        style = {"arrowstyle": "-|>", "color": faint, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", b, a, arrowprops=style)
        axes.text(at[0], at[1], words, fontsize=8.5, color=colours.text, ha="center", va="center")

    half = square(0, 0, size, down)
    square(right, 0, rows[0][1], up)
    axes.text(0, half + 0.14, "u", ha="center", color=colours.text, style="italic")
    axes.text(right, half + 0.14, "to the head", ha="center", color=colours.text, fontsize=9)
    units = "unit" if r == 1 else f"{r} units"
    for level in range(1, depth + 1):
        x, pixels = 1.1 * level, rows[level][0]
        y, other = -1.45 * level, right - 1.1 * level
        half = square(x, level, pixels, down)
        square(other, level, rows[level][1], up)
        top, above = y + 1.45 - 0.5, y + half
        slope = 1.1 * (0.5 / 1.45)
        arrow((x - 1.1 + slope, top), (x - 0.15, above + 0.06), "")
        axes.text(x - 0.75, y + 0.55, f"pool\n{units}", ha="right", va="center", fontsize=8.5)
        arrow((other + 0.15, above + 0.06), (other + 1.1 - slope, top), "")
        grows = rows[level - 1][1] > rows[level][1]
        after = ["interpolate"] * grows + [f"+ skip, {units}"] * (level > 1)
        axes.text(other + 0.75, y + 0.55, "\n".join(after), ha="left", va="center", fontsize=8.5)
        words = "skip: one unit" if level < depth else units
        middle = ((x + other) / 2, y + 0.16)
        arrow((x + half + 0.06, y), (other - half - 0.1, y), words, middle)
    axes.set_xlim(-1.5, right + 1.9)
    axes.set_ylim(-1.45 * depth - 0.75, 0.85)
    return figure


def _levels(kind: type[Hourglass], depth: int, size: int, r: int) -> list[tuple[int, int]]:
    """(height on the way down, height on the way up) at every level, from a run."""
    body = kind(Build(np.random.default_rng(0)), 4, depth, r)
    with no_grad():
        calls = trace(body, tensor(np.zeros((1, size, size, 4), np.float32)))
    rows = [(size, calls[""].output.shape[1])]
    for level in range(1, depth + 1):
        where = "inner." * (level - 1)
        last = "bottom" if level == depth else "up"
        rows.append(
            (calls[f"{where}down"].output.shape[1], calls[f"{where}{last}"].output.shape[1])
        )
    return rows


def reach_figure(rows: Mapping[str, Sequence[Any]]) -> Picture:
    """Where the middle of each mask looks: a row for each network of `inspect.mask_reach`."""
    colours = theme()
    count = max(len(reaches) for reaches in rows.values())
    figure = new_figure(2.1 * count + 1.6, 2.15 * len(rows) + 0.3, False)
    grid = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, reaches) in zip(grid, rows.items(), strict=True):
        for axes, reach in zip(line, reaches, strict=True):
            shown = np.where(reach.gradient > 0, reach.gradient, np.nan)
            drawn = show(axes, np.log10(shown), colours, "", cmap="viridis", vmin=-5, vmax=-2)
            stage = int(reach.name.split(".")[1]) + 1
            words = f"stage {stage}: field {reach.rows}x{reach.columns},"
            axes.set_title(
                f"{words}\n90% within {reach.effective}x{reach.effective}",
                fontsize=8.5,
                color=colours.text,
            )
        line[0].set_ylabel(name, fontsize=9.5, color=colours.text)
    colour_bar(figure, drawn, grid, colours, "share of the influence, log10")
    return figure


def share_figure(
    panels: Mapping[str, Mapping[str, tuple[float, float]]], unit: Mapping[str, str]
) -> Picture:
    """Stacked bars, a panel for each count: by part of the network (outside masks, in masks)."""
    colours = theme()
    figure = new_figure(4.4 * len(panels), 3.1, False)
    for axes, (title, parts) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items()):
        dress(axes, colours, title, "", unit[title])
        outside = [values[0] for values in parts.values()]
        inside = [values[1] for values in parts.values()]
        axes.bar(list(parts), outside, color=colours.colours[0], label="outside the masks")
        axes.bar(
            list(parts), inside, bottom=outside, color=colours.colours[1], label="in the masks"
        )
        axes.grid(axis="x", visible=False)
        total = sum(outside) + sum(inside)
        for place, (a, b) in enumerate(zip(outside, inside, strict=True)):
            axes.text(
                place, a + b, f"{(a + b) / total:.0%}", ha="center", va="bottom", fontsize=8.5
            )
        axes.margins(y=0.12)
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return figure


def _rectangle(corner: tuple[float, float], side: float, colour: str) -> Any:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(
        corner, side, side, boxstyle="round,pad=0,rounding_size=0.06", color=colour
    )
