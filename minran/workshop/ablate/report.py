"""An ablation's results in words: for the terminal, as Markdown, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minran.errors import DataError
from minran.files import write_atomically
from minran.streams import text_table
from minran.train import environment
from minran.workshop.ablate.figure import ablation_figure
from minran.workshop.ablate.results import Results
from minran.workshop.ablate.spread import RULE, number


def text(results: Results) -> str:
    """The table, the comparisons and what they mean, for a terminal."""
    cells = _table(results)
    lines = text_table(cells, right=range(1, len(cells[0])))
    parts = [_head(results), lines, _comparisons(results), _notes(results)]
    return "\n\n".join("\n".join(part) for part in parts)


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


def write(results: Results, folder: str | Path) -> list[Path]:
    """Write NAME.json, NAME.md and NAME.png into `folder`; returns the three paths.

    Raises DataError if one cannot be written; those before it are whole.
    """
    from minran.inspect.style import save_figure

    folder = Path(folder)
    name = results.ablation.name
    paths = [folder / f"{name}.{ending}" for ending in ("json", "md", "png")]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(paths[0], json.dumps(to_json(results), indent=2) + "\n", DataError)
    write_atomically(paths[1], markdown(results, paths[2].name), DataError)
    save_figure(ablation_figure(results), paths[2])
    return paths


def _head(results: Results) -> list[str]:
    ablation, scale = results.ablation, results.scale
    return [
        ablation.title,
        ablation.question,
        f"Ours ({scale.name}): {scale.words}. {_unit(results)[0].upper()}{_unit(results)[1:]}, "
        f"mean ± standard deviation of {results.seed_count} seed(s).",
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
    lines = []
    for row in results.rows[1:]:
        for column in results.columns:
            difference = results.difference(row, column)
            if difference is None:
                continue
            margin = "" if difference.margin is None else f" ± {number(difference.margin)}"
            lines.append(
                f"{row} - {results.rows[0]}, {column}: {_signed(difference.value)}{margin}: "
                f"{difference.verdict}{_beside_the_paper(results, row, column)}"
            )
    return lines or ["No two variants can be compared yet."]


def _beside_the_paper(results: Results, row: str, column: str) -> str:
    """The paper's difference, and whether ours says the same."""
    published = results.ablation.published
    first, own = published(results.rows[0], column), published(row, column)
    difference = results.difference(row, column)
    if first is None or own is None or difference is None:
        return ""
    words = f"; the paper: {_signed(own - first)}"
    if difference.counts:
        same = (difference.value > 0) == (own > first)
        words += ", the same direction" if same else ", the opposite direction"
    return words


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
        notes.append(f"ResNet is here: {scale.resnet_words} ({_sizes(results)}).")
    if results.missing:
        notes.append(f"Not finished and left out: {'; '.join(results.missing)}.")
    return notes


def _sizes(results: Results) -> str:
    """The parameters of each row, in its first column."""
    sizes = [
        f"{row} {next(iter(results.parameters[row].values())):,}"
        for row in results.rows
        if results.parameters[row]
    ]
    return ", ".join(sizes) + " parameters"


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "-") + number(abs(value))
