"""What the finished runs of an ablation measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minran.errors import RecipeError
from minran.hints import checked
from minran.inspect import stage_responses
from minran.train import Run, load_checkpoint, load_data, load_model, read_history
from minran.workshop.ablate.cells import Cell
from minran.workshop.ablate.spread import Difference, Sample, compare, summarise
from minran.workshop.ablate.tables import Ablation, Scale

RESPONSE_PICTURES = 500


@dataclass
class Results:
    """Values of an ablation: `values[row][column]` has one for each seed that is finished.

    Test errors are percent. parameters: of each row and column. missing: runs without an end.
    """

    ablation: Ablation
    scale: Scale
    rows: list[str]
    columns: list[str]
    values: dict[str, dict[str, list[float]]]
    seeds: dict[str, dict[str, list[int]]]
    parameters: dict[str, dict[str, int]]
    minutes: float = 0.0
    missing: list[str] = field(default_factory=list)

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

    Errors are those after the last epoch, never of the epoch that happened to test best.
    """
    rows = [line.label for line in ablation.rows]
    columns: list[str] = []
    nothing: Any = [{row: {} for row in rows} for _ in range(3)]
    results = Results(ablation, scale, rows, columns, *nothing)
    for cell in cells:
        if not cell.finished:
            results.missing.append(f"{cell.row}, {cell.column}, seed {cell.seed}")
            continue
        epochs = [r for r in read_history(Run(cell.folder).history_file) if r["kind"] == "epoch"]
        results.minutes += epochs[-1]["seconds"] / 60
        if ablation.kind == "response":
            measured = _responses(cell, data_dir)
        else:
            measured = {cell.column: 100 * (1 - epochs[-1]["test_accuracy"])}
        # All that is trained: not the running statistics.
        state = load_checkpoint(Run(cell.folder).last_file).model
        size = sum(array.size for name, array in state.items() if ".running_" not in name)
        for column, value in measured.items():
            if column not in columns:
                columns.append(column)
            results.values[cell.row].setdefault(column, []).append(value)
            results.seeds[cell.row].setdefault(column, []).append(cell.seed)
            results.parameters[cell.row][column] = size
    if ablation.kind == "error":
        # The order of the table, whichever runs happen to be finished.
        columns[:] = [line.label for line in ablation.columns]
    return results


def _responses(cell: Cell, data_dir: str | Path | None) -> dict[str, float]:
    """Mean absolute response of stem, stages and tail on the first test pictures."""
    model, preprocess, _ = load_model(Run(cell.folder).last_file)
    _, test = load_data(cell.recipe, data_dir)
    return stage_responses(model, preprocess(test.images[:RESPONSE_PICTURES]))
