"""The times as a picture, PyTorch's being 1."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

DRAWN = (
    "minran",
    "minran_mpi",
    "minran_captured",
    "torch",
    "torch_compiled",
    "jax",
    "tinygrad",
    "dezero",
    "products",
)
"""Contenders beside the line at 1, which is PyTorch channels_last; the others have tables."""

TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 30, 50)


def points(document: dict[str, Any]) -> list[tuple[str, str, float, float, float]]:
    """(measurement, contender, median, lowest, highest time) of everything measured beside it."""
    found = []
    for section, measurements in document["sections"].items():
        for each in measurements if section != "import" else []:
            if section == "ops" and not each["options"]["backward"]:
                continue
            for row in each["contenders"]:
                time = row["to_torch"]
                if time and row["name"] in DRAWN:
                    label = each["title"] + (" (disturbed)" if each["disturbed_rounds"] else "")
                    found.append((label, row["label"], time["median"], time["low"], time["high"]))
    return found


def plot(document: dict[str, Any], path: str | Path) -> None:
    """Draw a point for each time, with its range over the rounds, and save it as `path`."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    from minran.inspect.style import dress, legend, new_figure, save_figure, theme

    found = points(document)
    labels = list(dict.fromkeys(label for label, *_ in found))
    names = list(dict.fromkeys(name for _, name, *_ in found))
    colours = theme()
    row_height = 0.2 + 0.11 * len(names)
    figure = new_figure(10, 1.3 + row_height * len(labels), dark=False)
    axes = dress(
        figure.add_subplot(),
        colours,
        "Time relative to PyTorch channels_last",
        x="median and range of the rounds; left of 1: faster",
    )
    for k, name in enumerate(names):
        mine = [point for point in found if point[1] == name]
        shift = 0.7 * ((k + 0.5) / len(names) - 0.5)
        axes.errorbar(
            [median for _, _, median, _, _ in mine],
            [labels.index(label) + shift for label, *_ in mine],
            xerr=[
                [median - low for _, _, median, low, _ in mine],
                [high - median for _, _, median, _, high in mine],
            ],
            fmt="o",
            markersize=5,
            elinewidth=1.2,
            label=name,
            color=colours.colours[k % len(colours.colours)],
        )
    axes.axvline(1, color=colours.text, linewidth=1)
    # Twice as fast and half as fast are equally far from 1.
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_yticks(range(len(labels)), [textwrap.fill(label, 45) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    legend(axes, colours, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path, dpi=110)
