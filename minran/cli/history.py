"""runs, plot: what was trained, side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minran.cli.shared import add_command, save_figure
from minran.errors import CheckpointError, expect
from minran.files import PICTURES, expect_writable

RUNS = "runs"
"""The folder of all runs, where nobody names another."""


def add_commands(commands: Any) -> None:
    """The commands about what was trained."""
    parser = add_command(
        commands,
        "runs",
        runs,
        "list and compare runs",
        "  minran runs\n  minran runs elsewhere/",
    )
    parser.add_argument("folder", nargs="?", default=RUNS, help="folder of the runs")

    parser = add_command(
        commands,
        "plot",
        plot,
        "draw the curves of one or several runs",
        "  minran plot runs/cifar10-small\n  minran plot runs/a runs/b --out compare.svg",
    )
    parser.add_argument("runs", nargs="+", help="run folders")
    parser.add_argument("--out", default="curves.png", help="picture file (png, svg or pdf)")


def runs(args: argparse.Namespace) -> int:
    """Print the table of runs."""
    from minran.train.table import compare, list_runs

    folder = Path(args.folder)
    expect(
        folder.is_dir() or args.folder == RUNS,
        f"there is no folder {folder}; without an argument, the runs in {RUNS}/ are listed",
        CheckpointError,
    )
    print(compare(list_runs(folder)))
    return 0


def plot(args: argparse.Namespace) -> int:
    """Save the curves of runs."""
    from minran import inspect
    from minran.train import Run, read_history

    expect_writable(args.out, PICTURES, "plot --out")
    runs = list({Path(folder).resolve(): Run(folder) for folder in args.runs}.values())
    for run in runs:
        expect(run.history_file.exists(), f"there is no history in {run.folder}", CheckpointError)
    names = tell_apart([run.folder for run in runs])
    histories = {
        name: read_history(run.history_file) for name, run in zip(names, runs, strict=True)
    }
    save_figure(inspect.curves_figure(histories), args.out)
    return 0


def tell_apart(folders: Sequence[Path]) -> list[str]:
    """A name for each of several folders: as much of the end of its path as no other has."""
    paths = [folder.resolve().parts for folder in folders]
    names = []
    for path in paths:
        ends = ["/".join(path[-length:]) for length in range(1, len(path) + 1)]
        others = [other for other in paths if other != path]
        alone = [
            end
            for length, end in enumerate(ends, 1)
            if all(other[-length:] != path[-length:] for other in others)
        ]
        names.append((alone or ends)[0])
    return names
