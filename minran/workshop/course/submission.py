"""A handed-in notebook as it comes: code cells, and which notebook of the course it claims to be.

Nothing in the file is trusted to have the right kind. A cell that cannot be read is an empty
cell; a file that cannot be read raises DataError.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minran.errors import DataError, expect
from minran.workshop.course.extras import need

MOST_BYTES = 1 << 26
"""A notebook file may be so long."""


@dataclass(frozen=True)
class Cell:
    """A code cell: its text, and nbgrader's name for it if it has one."""

    source: str
    name: str = ""


@dataclass(frozen=True)
class Submission:
    """The code cells of a notebook, in order, and its number."""

    path: Path
    number: int
    cells: list[Cell]

    def sentence(self, task: str) -> str:
        """What a task asks, as its cell says."""
        for cell in self.cells:
            if match := re.match(rf"# Task {re.escape(task)}: (.+)", cell.source):
                return match.group(1).strip()
        return ""

    def exercise(self, task: str) -> int | None:
        """The last cell that claims to be the task's, or else the one before its check."""
        named = self._last(rf"# Task {re.escape(task)}:", f"task-{task.replace('.', '-')}")
        check = self._check(task)
        return named if named is not None or not check else check - 1

    def place(self, task: str) -> int:
        """The cell after which the task is judged: its last check, or else its exercise."""
        places = [one for one in (self._check(task), self.exercise(task)) if one is not None]
        return max(places, default=len(self.cells) - 1)

    def _check(self, task: str) -> int | None:
        pattern = rf"(?s).*\bcheck\(\s*[\"']{re.escape(task)}[\"']"
        return self._last(pattern, f"check-{task.replace('.', '-')}")

    def _last(self, pattern: str, name: str) -> int | None:
        found = [
            index
            for index, cell in enumerate(self.cells)
            if cell.name == name or re.match(pattern, cell.source)
        ]
        return found[-1] if found else None


def read_submission(path: Path, number: int | None = None) -> Submission:
    """Read an .ipynb or a percent .py; `number` says which notebook it is, whatever it claims."""
    expect(path.is_file(), f"there is no notebook {path}", DataError)
    size = path.stat().st_size
    expect(
        size <= MOST_BYTES,
        f"{path} has {size / 1e6:.0f} MB, expected at most {MOST_BYTES / 1e6:.0f}",
        DataError,
    )
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".py":
            node = need("jupytext").reads(text, fmt="py:percent")
        else:
            node = json.loads(text)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        reason = str(error)[:200] or type(error).__name__
        raise DataError(f"{path} is no Jupyter notebook: {reason}") from error
    cells = node.get("cells") if isinstance(node, dict) else None
    if not isinstance(cells, list):
        raise DataError(f"{path} is no Jupyter notebook of format 4: it has no list of cells")
    if number is None:
        number = number_of(_dict(_dict(node.get("metadata")).get("minran")).get("number"), path)
    return Submission(path, number, [_cell(one) for one in cells if _is_code(one)])


def number_of(claimed: Any, path: Path) -> int:
    """Which notebook of the course a file is, by its metadata and by its name; both must agree."""
    named = re.match(r"(\d\d)_", path.name)
    numbers = [claimed] if type(claimed) is int else []
    numbers += [int(named.group(1))] if named else []
    if not numbers:
        raise DataError(
            f"{path} does not say which notebook of the course it is: its metadata lacks "
            "minran.number, and its name does not begin like 03_"
        )
    expect(
        numbers[0] == numbers[-1],
        f"{path}: its metadata says notebook {str(numbers[0])[:20]}, its name {numbers[-1]:02}; "
        "say which it is with --notebook",
        DataError,
    )
    return int(numbers[0])


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_code(cell: Any) -> bool:
    return isinstance(cell, dict) and cell.get("cell_type") == "code"


def _cell(cell: dict[str, Any]) -> Cell:
    source = cell.get("source")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    name = _dict(_dict(cell.get("metadata")).get("nbgrader")).get("grade_id")
    return Cell(source if isinstance(source, str) else "", name if isinstance(name, str) else "")
