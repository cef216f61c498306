"""An ablation's results: for the terminal, as Markdown, as JSON, as a figure."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minran.errors import DataError, RecipeError
from minran.files import make_folder, write_atomically
from minran.hints import checked
from minran.streams import text_table
from minran.train import environment
from minran.workshop.ablate.runs import Results, Values
from minran.workshop.ablate.spread import RULE, number, summarise
from minran.workshop.ablate.tables import KINDS

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
    """The same for a page; figure: the image's file name."""
    (title, *head), cells = _head(results), _table(results)
    first, *rest = [f"| {' | '.join(line)} |" for line in cells]
    rule = "|---|" + "---:|" * (len(cells[0]) - 1)
    parts = [f"# {title}", *head, "\n".join([first, rule, *rest])]
    parts += [f"![{title}]({figure})"] if figure else []
    parts.append("\n".join(f"- {line}" for line in _comparisons(results)))
    return "\n\n".join([*parts, *_notes(results)]) + "\n"


@checked(RecipeError)
def to_json(results: Results) -> dict[str, Any]:
    """Every value of every seed, means, spreads and comparisons, and what they were made with."""
    ablation, scale, cells = results.ablation, results.scale, []
    for row, column in product(results.rows, results.columns):
        sample, difference = results.sample(row, column), results.difference(row, column)
        if sample is None:
            continue
        cell: dict[str, Any] = {"row": row, "column": column}
        cell["seeds"], cell["values"] = results.seeds[row][column], results.values[row][column]
        cell |= {"mean": sample.mean, "standard_deviation": sample.deviation}
        cell["paper"] = ablation.published(row, column)
        cell["parameters"] = results.parameters[row][column]
        if row != results.rows[0] and difference is not None:
            cell |= {"difference": difference.value, "margin": difference.margin}
            cell["verdict"] = difference.verdict
        cells.append(cell)
    return {
        "ablation": ablation.name,
        "title": ablation.title,
        "measured": KINDS[ablation.kind],
        "scale": scale.name,
        "recipe": scale.recipe,
        "scale_is": results.recipe_words,
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
    data, page, picture = (
        folder / f"{results.ablation.name}.{ending}" for ending in ("json", "md", "png")
    )
    make_folder(folder)
    write_atomically(data, json.dumps(to_json(results), indent=2) + "\n", DataError)
    write_atomically(page, markdown(results, picture.name), DataError)
    save_figure(ablation_figure(results), picture)
    return [data, page, picture]


def _head(results: Results) -> list[str]:
    ablation, scale, unit = results.ablation, results.scale, KINDS[results.ablation.kind]
    seeds = max((len(v) for row in results.values.values() for v in row.values()), default=0)
    return [
        ablation.title,
        ablation.question,
        f"Ours ({scale.name}): {results.recipe_words}. {unit[0].upper()}{unit[1:]}, "
        f"mean ± standard deviation of {seeds} seed(s).",
    ]


def _table(results: Results) -> list[list[str]]:
    """Head, then for each row ours and the paper's."""
    columns, published = results.columns, results.ablation.published
    lines = [["", *columns]]
    for row in results.rows:
        lines.append([row, *(str(results.sample(row, column) or "-") for column in columns)])
        if results.ablation.paper:
            paper = [published(row, column) for column in columns]
            lines.append(["  the paper", *("-" if p is None else number(p) for p in paper)])
    return lines


def _comparisons(results: Results) -> list[str]:
    """A line for each row and column: the difference, whether it counts, what the paper has."""
    lines, published = [], results.ablation.published
    first, *others = results.rows
    for row, column in product(others, results.columns):
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


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "-") + number(abs(value))


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
    found = {row: [*sizes.values()] for row, sizes in results.parameters.items() if sizes}
    words = ", ".join(f"{row} {sizes[0]:,}" for row, sizes in found.items())
    if any(line.resnet for line in ablation.rows):
        notes.append(f"ResNet is here: {scale.resnet_words} ({words} parameters).")
    if any(line.equal for line in ablation.rows):
        notes.append(f"The deeper trunk has about as many parameters and multiply-adds: {words}.")
    if results.missing:
        notes.append(f"Not finished and left out: {'; '.join(results.missing)}.")
    return notes


@checked(RecipeError)
def ablation_figure(results: Results, dark: bool = False) -> Figure:
    """Left ours: each seed a faint dot, mean and standard deviation; right the paper's numbers.

    The panels have axes of their own: networks and data differ, only directions compare.
    """
    from minran.inspect.style import dress, new_figure, theme

    colours, ablation = theme(dark), results.ablation
    panels = {f"Ours ({results.scale.name})": results.values}
    if ablation.paper:
        panels["The paper (CIFAR-10)"] = {
            row.label: {c.label: [value] for c, value in zip(ablation.columns, values)}
            for row, values in zip(ablation.rows, ablation.paper)
        }
    width = 4.6 if len(results.columns) > 1 else 3.6
    figure = new_figure(width * len(panels), 3.4, dark)
    response = ablation.kind == "response"
    unit = "mean |feature| (log scale)" if response else "test error (%)"
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, values) in zip(grid, panels.items()):
        dress(axes, colours, title, "", unit)
        if response:
            axes.set_yscale("log")
        _draw(axes, values, results.columns, colours, dots=values is results.values)
        axes.tick_params(which="both", colors=colours.faint, labelsize=8.5)
    figure.suptitle(ablation.title, color=colours.faint, fontsize=9.5)
    return figure


def _draw(axes: Any, values: Values, columns: list[str], colours: Any, dots: bool) -> None:
    """A line for each row over the columns, or a point for each row of the only column."""
    from minran.inspect.style import legend

    several = len(columns) > 1
    for index, (row, cells) in enumerate(values.items()):
        # A little apart, so that the bars of two rows do not cover each other.
        shift = 0.08 * (index - (len(values) - 1) / 2) if several else index
        shown = {place + shift: cells[c] for place, c in enumerate(columns) if cells.get(c)}
        if not shown:
            continue
        samples = [summarise(seeds) for seeds in shown.values()]
        style = {"color": colours.colours[index % len(colours.colours)], "label": row}
        means, deviations = zip(*((each.mean, each.deviation or 0.0) for each in samples))
        marker = MARKERS[index % len(MARKERS)]
        axes.errorbar([*shown], means, deviations, marker=marker, capsize=4, linewidth=1.8, **style)
        for place, seeds in shown.items() if dots else ():
            beside = place if several else place + 0.12
            axes.plot([beside] * len(seeds), seeds, ".", color=style["color"], alpha=0.4)
    words = columns if several else [*values]
    axes.set_xticks(range(len(words)), [word.replace(" (", "\n(") for word in words])
    if several:
        legend(axes, colours)
    else:
        axes.set_xlim(-0.6, len(values) - 0.4)
