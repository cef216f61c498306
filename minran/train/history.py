"""The history of a run: one JSON object a line, a row every few steps and one per epoch."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from minran.errors import CheckpointError, expect
from minran.files import append_line, explained, make_folder, read_bytes, write_atomically
from minran.hints import checked

Row = dict[str, Any]

MAX_BYTES = 1 << 28  # a million rows and more
WHOLE_NUMBERS = ("step", "epoch")
NUMBERS = ["loss", "lr", "seconds", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]


@checked(CheckpointError)
class History:
    """Rows in a file that only ever grows, except when a run goes back to its checkpoint.

    Rows of `kind` "step" hold step, epoch, loss and lr; rows of kind "epoch" step, epoch,
    train_loss, train_accuracy, lr, seconds and, when the epoch was tested, test_loss and
    test_accuracy. Steps and epochs count from 1. A number that is not finite is None.
    """

    writes = True  # False: rows are kept in memory only; of several processes one writes

    def __init__(self, path: Path, keep: int | None = None) -> None:
        """Open the history at `path`, with its first `keep` rows (all if None).

        Raises CheckpointError if it is damaged, or shorter than `keep`.
        """
        self.path = path
        self.rows = read_history(path) if path.exists() else []
        if keep is not None:
            short = f"{path} has {len(self.rows)} rows, but its checkpoint was made after {keep}"
            expect(keep <= len(self.rows), f"{short}; was it shortened by hand?", CheckpointError)
            self.rows = self.rows[:keep]
        # Later rows go, and so does a last line that a crash cut off: the next row must not be
        # written behind it.
        content = "".join(json.dumps(row) + "\n" for row in self.rows).encode()
        if path.exists() and path.read_bytes() != content:
            write_atomically(path, content)

    def append(self, row: Row) -> Row:
        """Add one row, in memory and in the file, and force it to the disk; returns it.

        A checkpoint says how many rows came before it, so they must be safe before it is.
        Raises CheckpointError if the disk refuses.
        """
        # Infinity and NaN are not JSON: other programs could not read the file.
        broken = [key for key, x in row.items() if isinstance(x, float) and not math.isfinite(x)]
        row = row | dict.fromkeys(broken)
        if self.writes:
            there = not self.rows or self.path.exists()
            gone = f"{self.path} was removed while training; without its rows the run cannot go on"
            expect(there, gone, CheckpointError)
            make_folder(self.path.parent, CheckpointError)
            append_line(self.path, json.dumps(row))
        self.rows.append(row)
        return row

    @property
    def epochs(self) -> list[Row]:
        """The rows of kind "epoch"."""
        return [row for row in self.rows if row["kind"] == "epoch"]


@checked(CheckpointError)
def read_history(path: str | Path) -> list[Row]:
    """The rows of a history file; a last line cut off by a crash is left out.

    Raises CheckpointError if the file is missing or far too large, or another line is damaged.
    """
    path = Path(path)
    expect(os.path.isfile(path), f"there is no history {path}", CheckpointError)
    text = read_bytes(path, MAX_BYTES, CheckpointError).decode("utf-8", errors="replace")
    *lines, cut_off = text.split("\n")
    ours = cut_off.strip("\0")[:1] in ("", "{")  # else it is somebody's text, and would be lost
    expect(ours, f"{path} ends in what is no row of a history: {cut_off[:60]!r}", CheckpointError)
    rows = []
    for number, line in enumerate(lines, 1):
        here = f"{path}, line {number} is"
        with explained(CheckpointError, f"{here} damaged: ", kinds=(ValueError, RecursionError)):
            rows.append(json.loads(line))
        if problem := _row_problem(rows[-1]):
            raise CheckpointError(f"{here} no row of a history ({problem}): {line[:60]!r}")
    return rows


def _row_problem(row: Any) -> str:
    """What makes `row` none, or "" if it is one: a kind, and numbers under the known names."""
    if not isinstance(row, dict) or not isinstance(row.get("kind"), str):
        return "it has no kind"
    for name in WHOLE_NUMBERS:
        if name in row and (type(row[name]) is not int or not 0 <= row[name] < 2**53):
            return f"{name} is no whole number that can be"
    for name in NUMBERS:
        # None stands for a number that was not finite.
        value = row.get(name)
        if value is not None and (type(value) not in (int, float) or not abs(value) < math.inf):
            return f"{name} is no number"
    return ""
