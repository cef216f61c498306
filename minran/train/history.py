"""The history of a run: one JSON object a line, a row every few steps and one per epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minran.errors import CheckpointError, expect
from minran.train.checkpoint import write_atomically

Row = dict[str, Any]


class History:
    """Rows in a file that only ever grows, except when a run goes back to its checkpoint.

    Rows of `kind` "step" hold step, loss and lr; rows of kind "epoch" also train_loss,
    train_accuracy and, when the epoch was tested, test_loss and test_accuracy.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        """Open the history at `path`, with its first `keep` rows (all if None)."""
        self.path = path
        self.rows = read_history(path) if path.exists() else []
        if keep is not None and keep != len(self.rows):
            expect(
                keep <= len(self.rows),
                f"{path} has {len(self.rows)} rows, the checkpoint was made after {keep}; "
                "the history was shortened by hand?",
                CheckpointError,
            )
            self.rows = self.rows[:keep]
            write_atomically(path, "".join(map(_line, self.rows)).encode())

    def append(self, row: Row) -> None:
        """Add one row, in memory and in the file."""
        self.rows.append(row)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(_line(row))
        except OSError as error:
            raise CheckpointError(f"could not write {self.path}: {error.strerror}") from error

    @property
    def epochs(self) -> list[Row]:
        """The rows of kind "epoch"."""
        return [row for row in self.rows if row["kind"] == "epoch"]


def read_history(path: str | Path) -> list[Row]:
    """The rows of a history file; a last line cut off by a crash is left out."""
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    rows = []
    for number, line in enumerate(lines, 1):
        if number == len(lines) and not line.endswith("\n"):
            break
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise CheckpointError(f"{path}, line {number} is no JSON: {error}") from error
    return rows


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"
