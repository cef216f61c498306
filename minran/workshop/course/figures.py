"""Drawings of notebooks 08, 11, 16, 17 and 18: measured, not typed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from minran.autograd import no_grad, tensor
from minran.inspect.gradients import Reach, influence
from minran.inspect.masks import module_title
from minran.inspect.picture import Picture
from minran.inspect.style import Theme, colour_bar, dress, legend, new_figure, show, theme
from minran.models import Hourglass
from minran.models.units import Build
from minran.workshop.course.clinic import trace
from minran.workshop.course.kernels import Block, Spent


def _panel(size: tuple[float, float], *words: str, **limits: Any) -> tuple[Picture, Axes, Theme]:
    """A figure with one panel: labelled axes, or without words room within limits to draw on."""
    figure, colours = new_figure(*size, False), theme()
    axes = figure.subplots()
    if words:
        return figure, dress(axes, colours, *words), colours
    axes.set_axis_off()
    axes.set(**limits)
    return figure, axes, colours


def _cell(
    axes: Axes, x: float, y: float, text: str, paint: Any, ink: str, side: float = 0.9, **edge: Any
) -> None:
    """A square around (x, y) with a text in its middle."""
    corner = (x - side / 2, y - side / 2)
    axes.add_patch(Rectangle(corner, side, side, facecolor=paint, linewidth=1.6, **edge))
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color=ink)


def owners_figure(moment: int = 0) -> Picture:
    """Which thread owns which number: in a grid-stride loop, and when each has a run of its own.

    Framed are the numbers that the threads read at the same moment.
    """
    threads, count = 4, 32
    limits = {"xlim": (-7, count - 0.3), "ylim": (-3.35, 0.65)}
    figure, axes, colours = _panel((9.0, 2.2), **limits)
    items, each = range(count), -(-count // threads)
    ways = {
        "grid-stride loop": [(i % threads, i // threads) for i in items],
        "a run for each": [(i // each, i % each) for i in items],
    }
    for row, (words, places) in enumerate(ways.items()):
        y = -1.7 * row
        for item, (thread, when) in enumerate(places):
            paint: Any = colours.colours[thread % len(colours.colours)]
            ink, edge = colours.paper, colours.text
            if when != moment:
                paint, ink, edge = (paint, 0.4), colours.text, "none"
            _cell(axes, item, y, str(thread), paint, ink, edgecolor=edge)
        axes.text(-1, y, words, ha="right", va="center", color=colours.text)
    words = f"memory, number 0 to {count - 1}; framed: what the {threads} threads read at moment"
    axes.text(-0.45, -2.8, f"{words} {moment}", va="top", fontsize=9, color=colours.faint)
    return figure


def tree_figure(block: Block) -> Picture:
    """The shared memory of a block at each barrier: a row each, the first at the top."""
    rows = block.steps
    count, height = len(rows[0]), len(rows)
    size = min(0.55 * count + 2.0, 10), 0.5 * height + 0.5
    limits = {"xlim": (-3.5, count - 0.5), "ylim": (-1.1 * height + 0.45, 0.55)}
    figure, axes, colours = _panel(size, **limits)
    before: Any = [None] * count
    for number, cells in enumerate(rows):
        y = -1.1 * number
        for place, value in enumerate(cells):
            paint, ink = (colours.colours[1], 0.85), colours.paper
            if value == before[place]:
                paint, ink = (colours.colours[0], 0.18), colours.text
            _cell(axes, place, y, f"{value:.4g}", paint, ink, edgecolor="none")
        words = "at the end" if number == height - 1 else f"barrier {number + 1}"
        axes.text(-0.75, y, words, ha="right", va="center", color=colours.text)
        before = cells
    return figure


def hourglass_figure(
    depth: int = 3, size: int = 32, r: int = 1, kind: type[Hourglass] = Hourglass
) -> Picture:
    """The maps of a mask branch, with the sizes that they have when it runs.

    Left the way down, right the way up; a square's side grows with the root of the map's.
    kind: the class of hourglass to run.
    """
    rows, nested = _levels(kind, depth, size, r)
    right, units = 2.2 * depth + 3.4, "unit" if r == 1 else f"{r} units"
    limits = {"xlim": (-1.5, right + 1.9), "ylim": (-1.45 * depth - 0.75, 0.85), "aspect": "equal"}
    figure, axes, colours = _panel((2.3 * depth + 4.2, 1.35 * depth + 1.5), **limits)
    ink = colours.text
    small: dict[str, Any] = {"va": "center", "fontsize": 8.5, "color": ink}
    arrow = {"arrowstyle": "-|>", "color": colours.faint, "shrinkA": 0, "shrinkB": 0}

    def point(to: tuple[float, float], start: tuple[float, float]) -> None:
        axes.annotate("", to, start, arrowprops=arrow)

    for level, sizes in enumerate(rows):
        y, left, other = -1.45 * level, 1.1 * level, right - 1.1 * level
        sides = [0.92 * (pixels / size) ** 0.5 for pixels in sizes]
        for x, pixels, side, paint in zip((left, other), sizes, sides, colours.colours):
            _cell(axes, x, y, str(pixels), paint, "w", side, edgecolor="none")
        half = sides[0] / 2
        if level == 0:
            axes.text(left, half + 0.14, "u", ha="center", color=ink, style="italic")
            axes.text(other, half + 0.14, "to the head", ha="center", color=ink, fontsize=9)
            continue
        top, above, slope = y + 0.95, y + half + 0.06, 1.1 * (0.5 / 1.45)
        if nested or level == 1:
            point((left - 0.15, above), (left - 1.1 + slope, top))
        else:  # from u itself, around the levels between
            bow = {**arrow, "connectionstyle": "arc3,rad=0.3"}
            axes.annotate("", (left - half - 0.05, y), (-0.35, -0.5), arrowprops=bow)
        point((other + 1.1 - slope, top), (other + 0.15, above))
        point((other - half - 0.1, y), (left + half + 0.06, y))
        grows = rows[level - 1][1] > sizes[1]
        after = ["interpolate"] * grows + [f"+ skip, {units}"] * (level > 1)
        between = "skip: one unit" if level < depth else units
        axes.text(left - 0.75, y + 0.55, f"pool\n{units}", ha="right", **small)
        axes.text(other + 0.75, y + 0.55, "\n".join(after), ha="left", **small)
        axes.text((left + other) / 2, y + 0.16, between, ha="center", **small)
    return figure


def _levels(
    kind: type[Hourglass], depth: int, size: int, r: int
) -> tuple[list[tuple[int, int]], bool]:
    """From a run: heights on the way down and up, and whether pools read the level above."""
    body = kind(Build(np.random.default_rng(0)), 4, depth, r)
    body.eval()  # a batch norm takes maps of one value then
    with no_grad():
        calls = trace(body, tensor(np.zeros((1, size, size, 4), np.float32)))
    heights = {name: call.output.shape[1] for name, call in calls.items()}
    levels = ["inner." * level for level in range(depth)]
    ups = [*(f"{level}up" for level in levels[:-1]), f"{levels[-1]}bottom"]
    ways = zip(levels, ups, strict=True)
    rows = [(size, heights[""]), *((heights[f"{level}down"], heights[up]) for level, up in ways)]
    deeper = [calls[f"{level}pool"].inputs[0].shape for level in levels[1:]]
    return rows, calls["pool"].inputs[0].shape not in deeper


def bars_figure(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    parts: Sequence[str],
    units: Mapping[str, str],
    share: bool = False,
) -> Picture:
    """Stacked bars side by side: a panel for each count, a bar for each network, parts stacked.

    Above a bar stands its height or, with `share`, its share of all bars of the panel.
    """
    colours = theme()
    figure = new_figure(4.4 * len(panels), 3.1, False)
    for axes, (title, bars) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items()):
        dress(axes, colours, title, "", units[title])
        bottom = np.zeros(len(bars))
        for part, values, paint in zip(parts, np.transpose([*bars.values()]), colours.colours):
            top = axes.bar(list(bars), values, bottom=bottom, color=paint, label=part, width=0.7)
            bottom += values
        heights = bottom / bottom.sum() if share else bottom
        words = [f"{height:{'.0%' if share else '.3g'}}" for height in heights]
        axes.bar_label(top, words, fontsize=8.5, color=colours.text)
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.12)
    look: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": colours.text}
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=len(parts), **look)
    return figure


def reach_figure(rows: Mapping[str, Sequence[Reach]]) -> Picture:
    """Where the middle of each mask looks: a row for each network of `inspect.mask_reach`."""
    colours = theme()
    count = max(map(len, rows.values()))
    figure = new_figure(2.1 * count + 1.6, 2.15 * len(rows) + 0.3, False)
    grid = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, reaches) in zip(grid, rows.items(), strict=True):
        for axes, reach in zip(line, reaches, strict=True):
            shown = np.where(reach.gradient > 0, reach.gradient, np.nan)
            drawn = show(axes, np.log10(shown), colours, "", cmap="viridis", vmin=-5, vmax=-2)
            words = f"{module_title(reach.name)}: field {reach.rows}x{reach.columns},"
            words += f"\n90% within {reach.effective}x{reach.effective}"
            axes.set_title(words, fontsize=8.5, color=colours.text)
        line[0].set_ylabel(name, fontsize=9.5, color=colours.text)
    colour_bar(figure, drawn, grid, colours, "share of the influence, log10")
    return figure


def influence_figure(reaches: Sequence[Reach]) -> Picture:
    """Share of a mask value's influence within a centred square, over the square's side."""
    side = "side of a square around the middle, pixels"
    figure, axes, colours = _panel((6.4, 3.4), "", side, "influence within")
    for index, reach in enumerate(reaches):
        look: Any = {
            "color": colours.colours[index],
            "label": f"mask of {module_title(reach.name)}",
        }
        axes.plot(*influence(reach.gradient), "osD"[index % 3] + "-", ms=3.5, lw=1.8, **look)
    uniform = influence(np.ones_like(reaches[0].gradient))
    axes.plot(*uniform, color=colours.text, lw=1.4, ls="--", label="a global average")
    axes.yaxis.set_major_formatter("{x:.0%}")
    legend(axes, colours, loc="lower right")
    return figure


def roofline_figure(peak: float, bandwidth: float, kernels: Mapping[str, Spent]) -> Picture:
    """Both roofs (operations a second, bytes a second) and the kernels measured below them."""
    words = "The roofline of this core", "FLOP per byte", "GFLOP/s"
    figure, axes, colours = _panel((7.2, 3.9), *words)
    x = np.logspace(-1.3, 2.6, 200)
    axes.loglog(x, np.minimum(peak, bandwidth * x) / 1e9, color=colours.text, lw=1.8)
    ridge, across = peak / bandwidth, axes.get_xaxis_transform()
    axes.axvline(ridge, color=colours.faint, lw=1, ls=":")
    small: dict[str, Any] = {"color": colours.faint, "fontsize": 8.5, "transform": across}
    axes.text(ridge * 1.08, 0.04, f"ridge {ridge:.0f}", **small)
    for index, (name, spent) in enumerate(kernels.items()):
        point = spent.flops / spent.bytes, spent.flops / spent.seconds / 1e9
        axes.plot(*point, "osD^vP"[index % 6], color=colours.colours[index % 6], ms=8, label=name)
    axes.text(0.06, bandwidth * 0.06 / 1e9 * 1.7, "bytes", color=colours.text, fontsize=9)
    axes.text(220, peak / 1e9 * 1.15, "operations", color=colours.text, fontsize=9)
    legend(axes, colours, loc="lower right")
    return figure


def time_figure(spent: Mapping[str, Spent], whole: float) -> Picture:
    """Bars of a step's time by kernel, in the order given; what is left is Python and the rest."""
    names = [*spent, "between the kernels"]
    size = 7.2, 0.3 * len(names) + 0.9
    figure, axes, colours = _panel(size, "", "share of the step", "")
    seconds = [one.seconds for one in spent.values()]
    seconds.append(max(whole - sum(seconds), 0.0))
    paint = [colours.colours[0 if one.flops else 1] for one in spent.values()]
    shares = np.array(seconds) / whole
    bars = axes.barh(names, shares, color=[*paint, colours.faint])
    words = [f" {share:.1%}" for share in shares]
    axes.bar_label(bars, words, fontsize=8.5, color=colours.text)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter("{x:.0%}")
    for name, colour in zip(("has products", "moves bytes"), colours.colours):
        axes.barh([0], [0], color=colour, label=name)
    legend(axes, colours, loc="lower right")
    return figure
