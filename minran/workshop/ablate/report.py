"""An ablation's results: for the terminal, as Markdown, as JSON, as a figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minran.errors import DataError, RecipeError
from minran.files import make_folder, write_atomically
from minran.hints import checked
from minran.streams import text_table
from minran.train import environment
from minran.workshop.ablate.results import Results
from minran.workshop.ablate.spread import RULE, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD^v"


@checked(RecipeError)
def text(results: Results) -> str:
    """The table, the comparisons and what they mean, for a terminal."""
    cells = _table(results)
    lines = text_table(cells, right=range(1, len(cells[0])))
    parts = [_head(results), lines, _comparisons(results), _notes(results)]
    return "\n\n".join("\n".join(part) for part in parts)


@checked(RecipeError)
def markdown(results: Results, figure: str = "") -> str:
    """The same for a page; figure: the picture's file name."""
    title, *head = _head(results)
    first, *rest = [f"| {' | '.join(line)} |" for line in _table(results)]
    rule = "|---|" + "---:|" * (len(_table(results)[0]) - 1)
    parts = [f"# {title}", *head, "\n".join([first, rule, *rest])]
    if figure:
        parts.append(f"![{title}]({figure})")
    parts.append("\n".join(f"- {line.strip()}" for line in _comparisons(results)))
    return "\n\n".join([*parts, *_notes(results)]) + "\n"


@checked(RecipeError)
def to_json(results: Results) -> dict[str, Any]:
    """Every value of every seed, means, spreads and comparisons, and what they were made with."""
    cells = []
    for row in results.rows:
        for column in results.columns:
            sample, difference = results.sample(row, column), results.difference(row, column)
            if sample is None:
                continue
            cell: dict[str, Any] = {
                "row": row,
                "column": column,
                "seeds": results.seeds[row][column],
                "values": results.values[row][column],
                "mean": sample.mean,
                "standard_deviation": sample.deviation,
                "paper": results.ablation.published(row, column),
                "parameters": results.parameters[row][column],
            }
            if row != results.rows[0] and difference is not None:
                cell["difference"] = difference.value
                cell["margin"] = difference.margin
                cell["verdict"] = difference.verdict
            cells.append(cell)
    return {
        "ablation": results.ablation.name,
        "title": results.ablation.title,
        "measured": _unit(results),
        "scale": results.scale.name,
        "recipe": results.scale.recipe,
        "scale_is": results.scale.words,
        "compared_with": results.rows[0],
        "rule": RULE,
        "cells": cells,
        "missing": results.missing,
        "training_minutes": round(results.minutes, 2),
        "reported_by": environment(),
    }


@checked(RecipeError)
def write(results: Results, folder: str | Path) -> list[Path]:
    """Write NAME.json, NAME.md and NAME.png into `folder`; returns the three paths.

    Raises DataError if one cannot be written; those before it are whole.
    """
    from minran.inspect.style import save_figure

    folder = Path(folder)
    name = results.ablation.name
    paths = [folder / f"{name}.{ending}" for ending in ("json", "md", "png")]
    make_folder(folder)
    write_atomically(paths[0], json.dumps(to_json(results), indent=2) + "\n", DataError)
    write_atomically(paths[1], markdown(results, paths[2].name), DataError)
    save_figure(ablation_figure(results), paths[2])
    return paths


def _head(results: Results) -> list[str]:
    ablation, scale, unit = results.ablation, results.scale, _unit(results)
    seeds = max((len(v) for row in results.values.values() for v in row.values()), default=0)
    return [
        ablation.title,
        ablation.question,
        f"Ours ({scale.name}): {scale.words}. {unit[0].upper()}{unit[1:]}, "
        f"mean ± standard deviation of {seeds} seed(s).",
    ]


def _unit(results: Results) -> str:
    if results.ablation.kind == "response":
        return "mean absolute response"
    return "test error in % after the last epoch"


def _table(results: Results) -> list[list[str]]:
    """Head, then for each row ours and the paper's."""
    lines = [["", *results.columns]]
    for row in results.rows:
        ours = [results.sample(row, column) for column in results.columns]
        lines.append([row, *("-" if sample is None else str(sample) for sample in ours)])
        if results.ablation.paper:
            paper = [results.ablation.published(row, column) for column in results.columns]
            lines.append(["  the paper", *("-" if p is None else number(p) for p in paper)])
    return lines


def _comparisons(results: Results) -> list[str]:
    """A line for each row and column: the difference, whether it counts, what the paper has."""
    lines, first, published = [], results.rows[0], results.ablation.published
    for row in results.rows[1:]:
        for column in results.columns:
            difference = results.difference(row, column)
            if difference is None:
                continue
            margin = "" if difference.margin is None else f" ± {number(difference.margin)}"
            words = f"{_signed(difference.value)}{margin}: {difference.verdict}"
            base, own = published(first, column), published(row, column)
            if base is not None and own is not None:
                words += f"; the paper: {_signed(own - base)}"
                if difference.counts:
                    same = (difference.value > 0) == (own > base)
                    words += f", the {'same' if same else 'opposite'} direction"
            lines.append(f"{row} - {first}, {column}: {words}")
    return lines or ["No two variants can be compared yet."]


def _notes(results: Results) -> list[str]:
    ablation, scale = results.ablation, results.scale
    notes = [RULE]
    if ablation.kind == "response":
        notes.append("Responses are compared by their logarithms: +1 is ten times as much.")
    if ablation.paper_words:
        notes.append(ablation.paper_words)
    if scale.name != "paper":
        notes.append(
            "The paper's numbers are of larger networks on CIFAR-10, trained much "
            "longer: only directions can be compared, not numbers."
        )
    if any(line.resnet for line in ablation.rows):
        sizes = [
            f"{row} {next(iter(found.values())):,}"
            for row, found in results.parameters.items()
            if found
        ]
        words = f"{', '.join(sizes)} parameters"
        notes.append(f"ResNet is here: {scale.resnet_words} ({words}).")
    if results.missing:
        notes.append(f"Not finished and left out: {'; '.join(results.missing)}.")
    return notes


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "-") + number(abs(value))


@checked(RecipeError)
def ablation_figure(results: Results, dark: bool = False) -> Figure:
    """Left ours: each seed a faint dot, mean and standard deviation; right the paper's numbers.

    The panels have axes of their own: networks and data differ, only directions compare.
    """
    from minran.inspect.style import dress, new_figure, theme

    colours = theme(dark)
    panels: list[tuple[str, Source]] = [(f"Ours ({results.scale.name})", _ours)]
    panels += [("The paper (CIFAR-10)", _paper)] if results.ablation.paper else []
    width = 4.6 if len(results.columns) > 1 else 3.6
    figure = new_figure(width * len(panels), 3.4, dark)
    response = results.ablation.kind == "response"
    unit = "mean |feature| (log scale)" if response else "test error (%)"
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, source) in zip(grid, panels):
        dress(axes, colours, title, "", unit)
        if response:
            axes.set_yscale("log")
        _draw(axes, results, colours, source)
        axes.tick_params(which="both", colors=colours.faint, labelsize=8.5)
    figure.suptitle(results.ablation.title, color=colours.faint, fontsize=9.5)
    return figure


Shown = tuple[float, float, list[float]]
"""Mean, standard deviation (0 if unknown) and single values of a cell."""

Source = Callable[[Results, str, str], Shown | None]


def _ours(results: Results, row: str, column: str) -> Shown | None:
    sample = results.sample(row, column)
    if sample is None:
        return None
    return sample.mean, sample.deviation or 0.0, results.values[row][column]


def _paper(results: Results, row: str, column: str) -> Shown | None:
    value = results.ablation.published(row, column)
    return None if value is None else (value, 0.0, [])


def _draw(axes: Any, results: Results, colours: Any, source: Source) -> None:
    """A line for each row over the columns, or a point for each row of the only column."""
    from minran.inspect.style import legend

    rows, columns = results.rows, results.columns
    several = len(columns) > 1
    for index, row in enumerate(rows):
        # A little apart, so that the bars of two rows do not cover each other.
        shift = 0.08 * (index - (len(rows) - 1) / 2) if several else index
        cells = [(place + shift, source(results, row, c)) for place, c in enumerate(columns)]
        points = [(place, *cell) for place, cell in cells if cell is not None]
        if not points:
            continue
        x, means, deviations, values = zip(*points)
        colour = colours.colours[index % len(colours.colours)]
        marker = MARKERS[index % len(MARKERS)]
        axes.errorbar(
            x, means, deviations, color=colour, marker=marker, capsize=4, linewidth=1.8, label=row
        )
        for place, dots in zip(x, values):
            beside = place if several else place + 0.12
            axes.plot([beside] * len(dots), dots, ".", color=colour, alpha=0.4)
    words = columns if several else rows
    axes.set_xticks(range(len(words)), [word.replace(" (", "\n(") for word in words])
    if several:
        legend(axes, colours)
    else:
        axes.set_xlim(-0.6, len(rows) - 0.4)
