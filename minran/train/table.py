"""Runs side by side in a table: what `minran runs` prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minran.errors import CheckpointError, MinranError, expect
from minran.hints import checked
from minran.streams import text_table, visible
from minran.train.checkpoint import Progress
from minran.train.history import Row, read_history
from minran.train.recipe import Recipe
from minran.train.run import Run


@dataclass
class RunSummary:
    """What the table says about one run; accuracies are 0 to 1, None before the first test."""

    name: str
    model: str = ""
    data: str = ""
    epochs: str = ""
    """Epochs done and all, such as "3/8"."""
    best_accuracy: float | None = None
    last_accuracy: float | None = None
    minutes: float = 0.0
    status: str = "interrupted"
    """"finished", "running", "interrupted", or "damaged: " and what is wrong."""


@checked(CheckpointError)
def list_runs(folder: str | Path) -> list[RunSummary]:
    """The runs in `folder` and below it, by name; none if there is no such folder."""
    folder = Path(folder)
    expect(not folder.is_file(), f"list_runs: {folder} is a file, not a folder", CheckpointError)
    return [
        _summarise(file.parent, str(file.parent.relative_to(folder)))
        for file in sorted(folder.glob("**/recipe.toml"))
    ]


@checked(CheckpointError)
def compare(runs: list[RunSummary]) -> str:
    """A text table of runs, one a line."""
    if not runs:
        return "there are no runs yet; start one with minran train"
    header = ("run", "model", "data", "epochs", "best", "last", "minutes", "status")
    lines = [header] + [
        (
            _cell(run.name),
            _cell(run.model),
            _cell(run.data),
            run.epochs,
            _percent(run.best_accuracy),
            _percent(run.last_accuracy),
            f"{run.minutes:.1f}",
            _cell(run.status, 200),
        )
        for run in runs
    ]
    return "\n".join(text_table(lines, right=range(3, 7)))


def _summarise(folder: Path, name: str) -> RunSummary:
    """One run; a run that cannot be read is listed as damaged, and does not hide the others."""
    run = Run(folder)
    summary = RunSummary(name if name != "." else folder.resolve().name)
    try:
        recipe, progress = run.recipe(), run.progress()
        rows = read_history(run.history_file) if run.history_file.exists() else []
    except (MinranError, OSError) as error:
        summary.status = f"damaged: {error}"
        return summary
    epochs = [row for row in rows if row["kind"] == "epoch"]
    tests = [row["test_accuracy"] for row in epochs if row.get("test_accuracy") is not None]
    summary.model, summary.data = recipe.model.name, recipe.data.name
    summary.epochs = f"{len(epochs)}/{_all_epochs(recipe, progress, epochs)}"
    if tests:
        summary.best_accuracy, summary.last_accuracy = max(tests), tests[-1]
    summary.minutes = max([progress.seconds, *(row.get("seconds") or 0 for row in epochs)]) / 60
    if run.is_running():
        summary.status = "running"
    elif progress.finished:
        summary.status = "finished"
    return summary


def _all_epochs(recipe: Recipe, progress: Progress, epochs: list[Row]) -> str:
    """How many epochs the run has when it is finished; "?" where only steps are known."""
    if not recipe.training.iterations:
        return str(recipe.training.epochs)
    steps_per_epoch: Any = epochs[0].get("step") if epochs else None
    if not (steps_per_epoch and progress.total_steps):
        return "?"
    return str(-(-progress.total_steps // steps_per_epoch))


def _cell(text: str, width: int = 60) -> str:
    """`text` on one line, without what would move a terminal's cursor, and not too long."""
    shown = visible(text)
    return shown if len(shown) <= width else shown[: width - 3] + "..."


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
