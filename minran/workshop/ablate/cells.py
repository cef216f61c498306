"""The runs of an ablation: a folder for each, resumable, shared by the tables that need it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minran.errors import (
    CheckpointError,
    DataError,
    MinranError,
    RecipeError,
    ShapeError,
    expect,
)
from minran.hints import checked
from minran.train import Recipe, Run, load_recipe, train
from minran.workshop.ablate.tables import Ablation, Scale


@dataclass(frozen=True)
class Cell:
    """One run: its place in the table, its seed, its recipe and its folder."""

    row: str
    column: str
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether its run has come to its end."""
        run = Run(self.folder)
        return run.exists() and run.progress().finished


@checked(RecipeError)
def make_cells(
    ablation: Ablation,
    scale: Scale,
    seeds: int,
    folder: str | Path,
    changes: Sequence[str] = (),
) -> list[Cell]:
    """Every run of the ablation, all variants of the first seed first.

    changes: further ones for all cells, as `--set` takes them. The folder of a run is named by
    what differs from the scale's recipe, so a variant that is in several tables is one run.

    Raises RecipeError for a change that does not fit.
    """
    expect(seeds >= 1, f"an ablation needs at least one seed, got {seeds}", RecipeError)
    forbidden = [change for change in changes if change.partition("=")[0].strip() == "seed"]
    expect(not forbidden, "the seeds of an ablation are set by --seeds", RecipeError)
    base = load_recipe(scale.recipe, changes)
    cells = []
    for seed in range(seeds):
        for row in ablation.rows:
            for column in ablation.columns:
                # The row comes last: a baseline without modules wins over a depth.
                own = [*column.changes_at(scale), *row.changes_at(scale), *changes]
                recipe = load_recipe(scale.recipe, [*own, f"seed={seed}"])
                place = Path(folder) / scale.name / variant_name(base, recipe) / f"seed-{seed}"
                recipe.name = f"{scale.name}/{place.parent.name}/seed-{seed}"
                cells.append(Cell(row.label, column.label, seed, recipe, place))
    return cells


def variant_name(base: Recipe, recipe: Recipe) -> str:
    """What differs between two recipes, as a folder name: "learning-naive_modules-2-2"."""
    before, now = _entries(base), _entries(recipe)
    words = [
        re.sub(r"[^A-Za-z0-9.]+", "-", f"{key.rpartition('.')[2]} {value}").strip("-")
        for key, value in sorted(now.items())
        if key not in ("seed", "name", "description") and before.get(key) != value
    ]
    return "_".join(words) or "reference"


def _entries(recipe: Recipe) -> dict[str, Any]:
    """Every entry of a recipe, the network's options one by one."""
    entries = recipe.entries()
    options = entries.pop("model.options")
    return {**entries, **{f"model.options.{key}": value for key, value in options.items()}}


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
        what = f"{cell.row}, {cell.column}, seed {cell.seed}"
        if not force and cell.finished:
            _expect_same(cell)
            say(f"[{index}/{len(cells)}] {what}: finished already")
            continue
        resume = Run(cell.folder).exists() and not force
        say(f"[{index}/{len(cells)}] {what}: {'going on' if resume else 'training'}")
        if resume:
            _expect_same(cell)
        try:
            result = train(
                cell.recipe,
                cell.folder,
                resume=resume,
                force=force,
                data_dir=data_dir,
                quiet=quiet,
            )
        except (RecipeError, DataError, CheckpointError, ShapeError):
            raise
        except MinranError as error:
            say(f"{what}: {error}; it is left out")
            continue
        if not result.finished:
            return False
    return True


def _expect_same(cell: Cell) -> None:
    """Raise CheckpointError, with what to do, if the folder's run has another recipe."""
    try:
        Run(cell.folder).continued(cell.recipe)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} (with minran ablate: another --out, or --force to train all cells again)"
        ) from error
