"""`minran course grade`: run a student's notebook and say how every task stands."""

from __future__ import annotations

import copy
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minran.course.extras import need
from minran.course.notebook import Notebook, notebook_files, read_notebook
from minran.course.outcome import BLANK, ERROR, NOT_REACHED, Outcome, checks_of
from minran.course.run import Execution, run_cells
from minran.errors import DataError, expect


@dataclass(frozen=True)
class TaskGrade:
    """One task: what it asks, how it stands, what it is worth."""

    sentence: str
    outcome: Outcome
    worth: int

    @property
    def points(self) -> int:
        """All points or none."""
        return self.worth if self.outcome.passed else 0


@dataclass(frozen=True)
class Grade:
    """A graded notebook; print it, or take `as_dict()`."""

    file: str
    number: int
    tasks: list[TaskGrade]
    seconds: float

    @property
    def points(self) -> int:
        """The points reached."""
        return sum(task.points for task in self.tasks)

    @property
    def worth(self) -> int:
        """The points there are."""
        return sum(task.worth for task in self.tasks)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        tasks = [
            {
                **asdict(task.outcome),
                "sentence": task.sentence,
                "points": task.points,
                "worth": task.worth,
            }
            for task in self.tasks
        ]
        return {
            "file": self.file,
            "notebook": f"{self.number:02}",
            "points": self.points,
            "worth": self.worth,
            "seconds": round(self.seconds, 1),
            "tasks": tasks,
        }

    def __str__(self) -> str:
        lines = [self.file]
        for task in self.tasks:
            outcome = task.outcome
            lines.append(
                f"  {outcome.status:12} {outcome.task}  {task.points}/{task.worth}  {task.sentence}"
            )
            if not outcome.passed:
                parts = (
                    ("", outcome.message),
                    ("where: ", outcome.where),
                    ("hint:  ", outcome.hint),
                )
                lines += [f"{'':16}{label}{text}" for label, text in parts if text]
        noun = "point" if self.worth == 1 else "points"
        lines.append(f"  {self.points} of {self.worth} {noun} ({self.seconds:.0f} s)")
        return "\n".join(lines)


def grade(
    file: str | Path,
    timeout: float = 600,
    cell_timeout: float = 120,
    source: str | Path | None = None,
) -> Grade:
    """Run a notebook of the course and judge its tasks.

    source: the folder of the source notebooks; the checks are then taken from there, whatever
    became of them in the student's copy. Raises DataError if the file is no notebook of the
    course.
    """
    path = Path(file)
    node = read_any(path)
    number = number_of(node, path)
    expected = checks_of(number)
    expect(bool(expected), f"{path}: notebook {number:02} of the course has no tasks", DataError)
    original = _original(number, source)
    if original is not None:
        node = restore_checks(node, original)
    result = run_cells(node, timeout, cell_timeout)
    tasks = [_judge(task, result) for task in expected]
    return Grade(str(path), number, tasks, result.seconds)


def read_any(path: Path) -> Any:
    """An .ipynb or a percent .py as an nbformat notebook; DataError if it cannot be read."""
    expect(path.is_file(), f"there is no notebook {path}", DataError)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            return need("jupytext").reads(text, fmt="py:percent")
        return need("nbformat").reads(text, as_version=4)
    except DataError:
        raise
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no Jupyter notebook: {error}") from error
    except Exception as error:
        # nbformat's own errors share no base class that it promises.
        if type(error).__module__.startswith(("nbformat", "jsonschema", "jupytext")):
            raise DataError(f"{path} is no Jupyter notebook: {error}") from error
        raise


def number_of(node: Any, path: Path) -> int:
    """Which notebook of the course this is: by its metadata, or else by the file's name."""
    number = node.metadata.get("minran", {}).get("number")
    named = re.match(r"(\d\d)_", path.name)
    if not isinstance(number, int):
        number = int(named.group(1)) if named else None
    if number is None:
        raise DataError(
            f"{path} does not say which notebook of the course it is: its metadata lacks "
            "minran.number, and its name does not begin like 03_"
        )
    return number


def _original(number: int, source: str | Path | None) -> Notebook | None:
    if source is None:
        return None
    for file in notebook_files(source):
        if file.name.startswith(f"{number:02}_"):
            return read_notebook(file)
    raise DataError(f"there is no notebook {number:02} in {source}")


def restore_checks(node: Any, original: Notebook) -> Any:
    """The student's notebook with the checks of the source; one that is gone comes back."""
    node = copy.deepcopy(node)
    for task in original.tasks:
        text = original.cells[task.check].source
        place = _find(node, task.name, "check")
        if place is None:
            node.cells.append(need("nbformat").v4.new_code_cell(text))
            place = len(node.cells) - 1
        node.cells[place].source = text
        node.cells[place].metadata["nbgrader"] = {
            "grade_id": f"check-{task.name.replace('.', '-')}",
            "points": task.points,
        }
    return node


def _find(node: Any, task: str, role: str) -> int | None:
    """The cell of a task ("task": the exercise, "check"), by nbgrader's name or by its text."""
    wanted = f"{role}-{task.replace('.', '-')}"
    text = f'check("{task}"' if role == "check" else f"# Task {task}:"
    code = [(i, cell) for i, cell in enumerate(node.cells) if cell.cell_type == "code"]
    for index, cell in code:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == wanted:
            return index
    for index, cell in code:
        if text in cell.source.replace("'", '"'):
            return index
    if role == "task":
        # The first line is gone and so is the metadata: the answer stands before its check.
        checked = _find(node, task, "check")
        return max((i for i, _ in code if checked is not None and i < checked), default=None)
    return None


def _judge(task: str, result: Execution) -> TaskGrade:
    exercise, checked = (_find(result.node, task, role) for role in ("task", "check"))
    sentence, worth = "", 1
    if exercise is not None:
        match = re.search(rf"# Task {re.escape(task)}: (.+)", result.node.cells[exercise].source)
        sentence = match.group(1) if match else ""
    if checked is not None:
        points = result.node.cells[checked].metadata.get("nbgrader", {}).get("points", 1)
        worth = points if isinstance(points, int) and points >= 0 else 1
    return TaskGrade(sentence, _outcome(task, result, exercise, checked), worth)


def _outcome(task: str, result: Execution, exercise: int | None, checked: int | None) -> Outcome:
    record = result.records.get(task)
    if checked is None:
        return Outcome(task, NOT_REACHED, f'the cell with check("{task}", ...) is missing')
    if exercise in result.left_out:
        return Outcome(task, ERROR, "the exercise did not end well", result.left_out[exercise or 0])
    if checked in result.left_out:
        why = result.left_out[checked]
        return Outcome(task, ERROR, "the check did not end well", why, "does a loop ever end?")
    if record is not None:
        keys = ("status", "message", "where", "hint")
        return Outcome(task, *(record.get(key, "") for key in keys))
    for place, what in ((exercise, "the exercise"), (checked, "the check")):
        found = None if place is None else result.error(place)
        if found is not None and found[0] == "NotImplementedError":
            return Outcome(task, BLANK, "the answer is still blank")
        if found is not None:
            return Outcome(task, ERROR, f"{what} raised {found[0]}: {found[1]}", f"{what}'s cell")
    why = "time ran out before" if result.out_of_time else "the check was not run"
    return Outcome(task, NOT_REACHED, why)
