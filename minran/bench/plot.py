"""The ratios as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLUMNS = {
    "torch_channels_last": "PyTorch eager, channels_last",
    "torch": "PyTorch eager, NCHW",
    "torch_compiled": "torch.compile",
    "jax": "JAX jit",
    "tinygrad": "tinygrad",
    "dezero": "DeZero",
}


def points(document: dict[str, Any]) -> list[tuple[str, str, float, float, float]]:
    """(label, contender, median, lowest, highest ratio) of everything that has a ratio."""
    found = []
    for section, measurements in document["sections"].items():
        for each in measurements if section != "import" else []:
            if section == "ops" and not each["options"]["backward"]:
                continue
            for row in each["contenders"]:
                ratio = row["ratio"]
                if ratio and row["name"] in COLUMNS:
                    label = each["title"] + (" (disturbed)" if each["disturbed_rounds"] else "")
                    found.append((label, row["name"], ratio["median"], ratio["low"], ratio["high"]))
    return found


def plot(document: dict[str, Any], path: str | Path) -> None:
    """Draw a point for each ratio, with its range over the rounds, and save it as `path`."""
    from matplotlib.ticker import ScalarFormatter

    from minran.inspect.style import dress, legend, new_figure, theme

    found = points(document)
    labels = list(dict.fromkeys(label for label, *_ in found))
    names = list(dict.fromkeys(name for _, name, *_ in found))
    colours = theme()
    figure = new_figure(9, 1.6 + 0.32 * len({label for label, *_ in found}), dark=False)
    axes = dress(
        figure.add_subplot(),
        colours,
        "minran's time / the other's time: median and range of the rounds",
        x="ratio (left of 1: minran is faster)",
    )
    for k, name in enumerate(names):
        mine = [each for each in found if each[1] == name]
        shift = 0.12 * (k - (len(names) - 1) / 2)
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
            label=COLUMNS[name],
            color=colours.colours[k % len(colours.colours)],
        )
    axes.axvline(1, color=colours.text, linewidth=1)
    # Twice as fast and half as fast are equally far from 1.
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    legend(axes, colours)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
