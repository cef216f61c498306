"""Drawings of notebooks 17 and 18: a roofline, who takes which number, a tree of sums, reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minran.inspect.style import Picture, dress, legend, new_figure, theme
from minran.workshop.course.blocks import Block
from minran.workshop.course.stopwatch import Spent


def roofline_figure(
    peak: float, bandwidth: float, kernels: Mapping[str, Spent], dark: bool = False
) -> Picture:
    """Both roofs (operations a second, bytes a second) and the kernels measured below them."""
    colours = theme(dark)
    figure = new_figure(7.2, 3.9, dark)
    axes = dress(
        figure.subplots(), colours, "The roofline of this core", "FLOP per byte", "GFLOP/s"
    )
    x = np.logspace(-1.3, 2.6, 200)
    axes.loglog(x, np.minimum(peak, bandwidth * x) / 1e9, color=colours.text, lw=1.8)
    ridge = peak / bandwidth
    axes.axvline(ridge, color=colours.faint, lw=1, ls=":")
    axes.text(
        ridge * 1.08,
        0.04,
        f"ridge {ridge:.0f}",
        color=colours.faint,
        fontsize=8.5,
        transform=axes.get_xaxis_transform(),
    )
    for index, (name, spent) in enumerate(kernels.items()):
        axes.plot(
            spent.flops / spent.bytes,
            spent.flops / spent.seconds / 1e9,
            "osD^vP"[index % 6],
            color=colours.colours[index % 6],
            ms=8,
            label=name,
        )
    axes.text(0.06, bandwidth * 0.06 / 1e9 * 1.7, "bytes", color=colours.text, fontsize=9)
    axes.text(220, peak / 1e9 * 1.15, "operations", color=colours.text, fontsize=9)
    legend(axes, colours, loc="lower right")
    return figure


def time_figure(spent: Mapping[str, Spent], whole: float, dark: bool = False) -> Picture:
    """Bars of a step's time by kernel, in the order given; what is left is Python and the rest."""
    colours = theme(dark)
    names = [*spent, "between the kernels"]
    seconds = [one.seconds for one in spent.values()]
    seconds.append(max(whole - sum(seconds), 0.0))
    paint = [colours.colours[0] if one.flops else colours.colours[1] for one in spent.values()]
    figure = new_figure(7.2, 0.3 * len(names) + 0.9, dark)
    axes = dress(figure.subplots(), colours, "", "share of the step", "")
    shares = np.array(seconds) / whole
    axes.barh(names, shares, color=[*paint, colours.faint])
    for place, share in enumerate(shares):
        axes.text(share, place, f" {share:.1%}", va="center", fontsize=8.5, color=colours.text)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for name, colour in (("has products", 0), ("moves bytes", 1)):
        axes.barh([0], [0], color=colours.colours[colour], label=name)
    legend(axes, colours, loc="lower right")
    return figure


def owners_figure(
    threads: int = 4, count: int = 32, moment: int = 0, dark: bool = False
) -> Picture:
    """Who owns which number: in a grid-stride loop, and when each thread has a run of its own.

    Framed are the numbers that the threads read at the same moment.
    """
    colours = theme(dark)
    figure = new_figure(9.0, 2.2, dark)
    axes = figure.subplots()
    axes.set_axis_off()
    each = -(-count // threads)
    ways = (
        ("grid-stride loop", lambda i: (i % threads, i // threads)),
        ("a run for each", lambda i: (i // each, i % each)),
    )
    for row, (words, place) in enumerate(ways):
        for item in range(count):
            thread, when = place(item)
            now = when == moment
            axes.add_patch(
                _box(
                    (item, -1.7 * row),
                    colours.colours[thread % len(colours.colours)],
                    colours.text if now else "none",
                    1.0 if now else 0.4,
                )
            )
            axes.text(
                item + 0.45, -1.7 * row + 0.45, str(thread), ha="center", va="center",
                fontsize=8.5, color=colours.paper if now else colours.text,
            )  # fmt: skip
        axes.text(-0.5, -1.7 * row + 0.45, words, ha="right", va="center", color=colours.text)
    words = f"memory, number 0 to {count - 1}; framed: what the {threads} threads read at moment"
    axes.text(0, -2.35, f"{words} {moment}", va="top", fontsize=9, color=colours.faint)
    axes.set_xlim(-6.5, count + 0.2)
    axes.set_ylim(-2.9, 1.1)
    return figure


def _box(corner: tuple[float, float], face: str, edge: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, 0.9, 0.9, facecolor=_faded(face, alpha), edgecolor=edge, linewidth=1.6)


def _faded(colour: str, alpha: float) -> Any:
    from matplotlib.colors import to_rgba

    return to_rgba(colour, alpha)


def tree_figure(block: Block, dark: bool = False) -> Picture:
    """The shared memory of a block at each barrier: a row each, the first at the top."""
    colours = theme(dark)
    rows = block.steps
    count = len(rows[0])
    figure = new_figure(min(0.55 * count + 2.0, 10), 0.5 * len(rows) + 0.5, dark)
    axes = figure.subplots()
    axes.set_axis_off()
    before: np.ndarray | None = None
    for number, cells in enumerate(rows):
        for place, value in enumerate(cells):
            changed = before is None or value != before[place]
            shade = _faded(colours.colours[1 if changed else 0], 0.85 if changed else 0.18)
            box = _box((place, -1.1 * number), colours.colours[0], "none", 1.0)
            box.set_facecolor(shade)
            axes.add_patch(box)
            axes.text(
                place + 0.45, -1.1 * number + 0.45, f"{value:.4g}", ha="center", va="center",
                fontsize=8, color=colours.paper if changed else colours.text,
            )  # fmt: skip
        last = number == len(rows) - 1
        words = "at the end" if last else f"barrier {number + 1}"
        axes.text(-0.3, -1.1 * number + 0.45, words, ha="right", va="center", color=colours.text)
        before = cells
    axes.set_xlim(-3, count)
    axes.set_ylim(-1.1 * len(rows) + 0.9, 1)
    return figure


def bars_figure(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    parts: Sequence[str],
    units: Mapping[str, str],
    dark: bool = False,
) -> Picture:
    """Stacked bars side by side: a panel for each count, a bar for each network, parts stacked."""
    colours = theme(dark)
    figure = new_figure(4.4 * len(panels), 3.1, dark)
    grid = np.atleast_1d(figure.subplots(1, len(panels)))
    for axes, (title, bars) in zip(grid, panels.items(), strict=True):
        dress(axes, colours, title, "", units[title])
        bottom = np.zeros(len(bars))
        for index, part in enumerate(parts):
            values = np.array([bar[index] for bar in bars.values()])
            paint = colours.colours[index]
            axes.bar(list(bars), values, bottom=bottom, color=paint, label=part, width=0.65)
            bottom += values
        for place, value in enumerate(bottom):
            text = f"{value:.3g}"
            axes.text(place, value, text, ha="center", va="bottom", fontsize=8.5)
            axes.texts[-1].set_color(colours.text)
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.12)
    handles = axes.get_legend_handles_labels()
    figure.legend(
        *handles, loc="outside upper right", ncols=len(parts), frameon=False, fontsize=9,
        labelcolor=colours.text,
    )  # fmt: skip
    return figure


def influence_figure(reaches: Sequence[Any], dark: bool = False) -> Picture:
    """Share of a mask value's influence within a centred square, over the square's side."""
    colours = theme(dark)
    figure = new_figure(6.4, 3.4, dark)
    axes = dress(
        figure.subplots(), colours, "", "side of a square around the middle, pixels",
        "influence within",
    )  # fmt: skip
    for index, reach in enumerate(reaches):
        sides, within = influence(reach.gradient)
        stage = int(reach.name.split(".")[1]) + 1
        axes.plot(
            sides, within, "osD"[index % 3] + "-", ms=3.5, lw=1.8, color=colours.colours[index],
            label=f"mask of stage {stage}",
        )  # fmt: skip
    side = reaches[0].gradient.shape[0]
    uniform = influence(np.full((side, side), 1 / side**2))
    axes.plot(*uniform, color=colours.text, lw=1.4, ls="--", label="a global average")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    legend(axes, colours, loc="lower right")
    return figure


def influence(gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sides of centred squares, and the share of `gradient` (H, W) that lies within each."""
    height, width = gradient.shape
    half = np.maximum(
        np.abs(np.arange(height) - height // 2)[:, None],
        np.abs(np.arange(width) - width // 2)[None, :],
    )
    within = np.cumsum(np.bincount(half.ravel(), weights=gradient.ravel())) / gradient.sum()
    return 2 * np.arange(len(within)) + 1, within
