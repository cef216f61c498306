"""The runs of an ablation, resumable and shared by its tables, and what they measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from minran.errors import CheckpointError, DataError, MinranError, RecipeError, ShapeError, expect
from minran.hints import checked
from minran.inspect import stage_responses
from minran.train import Recipe, Run, load_data, load_model, load_recipe, read_history, train
from minran.workshop.ablate.spread import Difference, Sample, compare, summarise
from minran.workshop.ablate.tables import Ablation, Scale

RESPONSE_PICTURES = 500

Values = dict[str, dict[str, list[float]]]
"""Numbers by row, column and seed."""


@dataclass(frozen=True)
class Cell:
    """One run: row and column of the table, seed, recipe and folder; changes of all runs."""

    row: str
    column: str
    seed: int
    recipe: Recipe
    folder: Path
    changes: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether its run has come to its end."""
        run = Run(self.folder)
        return run.exists() and run.progress().finished

    def __str__(self) -> str:
        return f"{self.row}, {self.column}, seed {self.seed}"


@checked(RecipeError)
def make_cells(
    ablation: Ablation, scale: Scale, seeds: int, folder: str | Path, changes: Sequence[str] = ()
) -> list[Cell]:
    """Every run of the ablation, all variants of the first seed first.

    changes: further ones for all cells, as `--set` takes them. The folder of a run is named by
    what differs from the scale's recipe, so a variant that is in several tables is one run.

    Raises RecipeError for a change that does not fit.
    """
    expect(seeds >= 1, f"an ablation needs at least one seed, got {seeds}", RecipeError)
    forbidden = any(change.partition("=")[0].strip() == "seed" for change in changes)
    expect(not forbidden, "the seeds of an ablation are set by --seeds", RecipeError)
    base = load_recipe(scale.recipe, changes)
    cells = []
    for seed, row, column in product(range(seeds), ablation.rows, ablation.columns):
        # The row comes last: a baseline without modules wins over a depth.
        own = [*column.changes_at(scale), *row.changes_at(scale), *changes, f"seed={seed}"]
        recipe = load_recipe(scale.recipe, own)
        place = Path(scale.name, variant_name(base, recipe), f"seed-{seed}")
        recipe.name = place.as_posix()
        cells.append(
            Cell(row.label, column.label, seed, recipe, Path(folder, place), tuple(changes))
        )
    return cells


def variant_name(base: Recipe, recipe: Recipe) -> str:
    """What differs between two recipes, as a folder name: "learning-naive_modules-2-2"."""
    before, now = (
        {**each.entries(), **{f"model.options.{k}": v for k, v in each.model.options.items()}}
        for each in (base, recipe)
    )
    words = [
        re.sub(r"[^A-Za-z0-9.]+", "-", f"{key.rpartition('.')[2]} {value}").strip("-")
        for key, value in sorted(now.items())
        if key not in ("seed", "name", "description", "model.options") and before.get(key) != value
    ]
    return "_".join(words) or "reference"


@checked(RecipeError)
def train_cells(
    cells: list[Cell],
    data_dir: str | Path | None = None,
    force: bool = False,
    quiet: bool = False,
    say: Callable[[str], Any] = print,
) -> bool:
    """Train what is not finished yet; False if somebody asked to stop.

    A run that was interrupted goes on where it stopped, one that diverged is reported and left
    out. `force` starts all of them again.

    Raises CheckpointError if a folder holds a run of another recipe.
    """
    for index, cell in enumerate(cells, 1):
        run, state = Run(cell.folder), "training"
        if resume := run.exists() and not force:
            try:
                run.continued(cell.recipe)
            except CheckpointError as error:
                advice = "with minran ablate: another --out, or --force to train all cells again"
                raise CheckpointError(f"{error} ({advice})") from error
            state = "finished already" if cell.finished else "going on"
        say(f"[{index}/{len(cells)}] {cell}: {state}")
        if state == "finished already":
            continue
        how: dict[str, Any] = {"data_dir": data_dir, "force": force, "quiet": quiet}
        try:
            result = train(cell.recipe, cell.folder, resume=resume, **how)
        except (RecipeError, DataError, CheckpointError, ShapeError):
            raise
        except MinranError as error:
            say(f"{cell}: {error}; it is left out")
            continue
        if not result.finished:
            return False
    return True


@dataclass
class Results:
    """Values of an ablation: `values[row][column]` has one for each seed that is finished.

    Test errors are percent. parameters: of each row and column. missing: runs without an end.
    """

    ablation: Ablation
    scale: Scale
    rows: list[str]
    columns: list[str]
    values: Values
    seeds: dict[str, dict[str, list[int]]]
    parameters: dict[str, dict[str, int]]
    minutes: float = 0.0
    missing: list[str] = field(default_factory=list)
    changes: tuple[str, ...] = ()

    @property
    def recipe_words(self) -> str:
        """What the runs are: the scale's words, and what `--set` changed of it."""
        words = self.scale.words
        return f"{words}; changed: {', '.join(self.changes)}" if self.changes else words

    def sample(self, row: str, column: str) -> Sample | None:
        """Mean and spread over the seeds, None if no run is finished."""
        values = self.values[row].get(column)
        return summarise(values) if values else None

    def difference(self, row: str, column: str) -> Difference | None:
        """The row's mean minus the first row's, None if either has no run.

        Responses differ by factors, so they are compared by their logarithms to base 10.
        """
        first, own = self.values[self.rows[0]].get(column), self.values[row].get(column)
        if not first or not own:
            return None
        if self.ablation.kind == "response":
            smallest = np.finfo(np.float64).tiny
            first, own = (np.log10(np.maximum(v, smallest)).tolist() for v in (first, own))
        return compare(first, own)


@checked(RecipeError)
def measure(
    ablation: Ablation, scale: Scale, cells: list[Cell], data_dir: str | Path | None = None
) -> Results:
    """Read the finished runs among `cells`; the others are named as missing.

    Errors are those after the last epoch, never of the epoch that happened to test best; mean
    absolute responses those of stem, stages and tail on the first test images.
    """
    rows, columns = ([line.label for line in lines] for lines in (ablation.rows, ablation.columns))
    nothing: Any = [{row: {} for row in rows} for _ in range(3)]
    results = Results(ablation, scale, rows, columns, *nothing)
    results.changes = cells[0].changes if cells else ()
    for cell in cells:
        if not cell.finished:
            results.missing.append(str(cell))
            continue
        run = Run(cell.folder)
        last = [row for row in read_history(run.history_file) if row["kind"] == "epoch"][-1]
        results.minutes += last["seconds"] / 60
        model, preprocess, _ = load_model(run.last_file)
        measured = {cell.column: 100 * (1 - last["test_accuracy"])}
        if ablation.kind == "response":
            images = load_data(cell.recipe, data_dir)[1].images[:RESPONSE_PICTURES]
            measured = stage_responses(model, preprocess(images))
        for column, value in measured.items():
            results.values[cell.row].setdefault(column, []).append(value)
            results.seeds[cell.row].setdefault(column, []).append(cell.seed)
            results.parameters[cell.row][column] = model.num_parameters()
    if ablation.kind == "response":  # its columns are the stages
        columns[:] = dict.fromkeys(stage for found in results.values.values() for stage in found)
    return results
