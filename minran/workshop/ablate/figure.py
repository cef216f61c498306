"""The plot of an ablation: ours with the spread of the seeds, the paper's beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minran.workshop.ablate.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD^v"


def ablation_figure(results: Results, dark: bool = False) -> Figure:
    """Left ours: each seed a faint dot, mean and standard deviation; right the paper's numbers.

    The panels have axes of their own: networks and data differ, only directions compare.
    """
    from minran.inspect.style import dress, new_figure, theme

    colours = theme(dark)
    panels = 2 if results.ablation.paper else 1
    several = len(results.columns) > 1
    figure = new_figure((4.6 if several else 3.6) * panels, 3.4, dark)
    grid = figure.subplots(1, panels, squeeze=False)[0]
    response = results.ablation.kind == "response"
    unit = "mean |feature| (log scale)" if response else "test error (%)"
    titles = (f"Ours ({results.scale.name})", "The paper (CIFAR-10)")
    for axes, title in zip(grid, titles):
        dress(axes, colours, title, "", unit)
    if response:
        grid[0].set_yscale("log")
    draw = _lines if several else _dots
    draw(grid[0], results, colours, _ours)
    if panels == 2:
        draw(grid[1], results, colours, _paper)
    for axes in grid:
        axes.tick_params(which="both", colors=colours.faint, labelsize=8.5)
    figure.suptitle(results.ablation.title, color=colours.faint, fontsize=9.5)
    return figure


def _ours(results: Results, row: str, column: str) -> tuple[float, float, list[float]] | None:
    """Mean, standard deviation (0 if unknown) and single values of a cell."""
    sample = results.sample(row, column)
    if sample is None:
        return None
    return sample.mean, sample.deviation or 0.0, results.values[row][column]


def _paper(results: Results, row: str, column: str) -> tuple[float, float, list[float]] | None:
    value = results.ablation.published(row, column)
    return None if value is None else (value, 0.0, [])


def _lines(axes: Any, results: Results, colours: Any, source: Any) -> None:
    """A line for each row over the columns."""
    from minran.inspect.style import legend

    count = len(results.rows)
    for index, row in enumerate(results.rows):
        # A little apart, so that the bars of two rows do not cover each other.
        shift = 0.08 * (index - (count - 1) / 2)
        colour = colours.colours[index % len(colours.colours)]
        marker = MARKERS[index % len(MARKERS)]
        found = [(place, source(results, row, c)) for place, c in enumerate(results.columns)]
        points = [(place + shift, *cell) for place, cell in found if cell is not None]
        if not points:
            continue
        x, means, deviations, values = zip(*points)
        axes.errorbar(x, means, deviations, color=colour, capsize=3, linewidth=1.8, label=row)
        axes.plot(x, means, marker, color=colour)
        for place, dots in zip(x, values):
            axes.plot([place] * len(dots), dots, ".", color=colour, alpha=0.4)
    _ticks(axes, results.columns)
    legend(axes, colours)


def _dots(axes: Any, results: Results, colours: Any, source: Any) -> None:
    """A point for each row, of the only column."""
    for index, row in enumerate(results.rows):
        cell = source(results, row, results.columns[0]) if results.columns else None
        if cell is None:
            continue
        mean, deviation, values = cell
        colour = colours.colours[index % len(colours.colours)]
        marker = MARKERS[index % len(MARKERS)]
        axes.errorbar([index], [mean], [deviation], fmt=marker, color=colour, capsize=5)
        axes.plot([index + 0.12] * len(values), values, ".", color=colour, alpha=0.5)
    _ticks(axes, results.rows)
    axes.set_xlim(-0.6, len(results.rows) - 0.4)


def _ticks(axes: Any, words: list[str]) -> None:
    axes.set_xticks(range(len(words)), [word.replace(" (", "\n(") for word in words])
