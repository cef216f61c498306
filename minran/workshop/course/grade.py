"""`minran course grade`: run a student's notebook and say how every task stands.

The cells run in the student's process. For each task the grader then takes what the task's name
(`cross_entropy_gradient`) stands for there, and runs the check on this side: `process.Remote`.
What the notebook's own check cells say or do does not count. Nothing in a handed-in file is trusted
to have the right kind: a cell that cannot be read is an empty cell.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from minran.errors import DataError, MinranError, expect
from minran.streams import visible
from minran.workshop.course.checking import (
    BLANK,
    ERROR,
    NOT_REACHED,
    WRONG,
    Outcome,
    answer_of,
    checks_of,
    judge,
    secret_inputs,
)
from minran.workshop.course.copies import Task, need, notebook_files, read_notebook
from minran.workshop.course.process import Limits, Process, Stopped, Walls
from minran.workshop.course.show import PACKAGE

MOST_STARTS = 20
"""A notebook whose process ends badly is started again so often."""

DRAWS = 3
"""An answer is wrong if it is wrong for so many draws of inputs: rounding may spoil a rare one."""

MOST_REPEATS = 3
"""Cells that run again after a start do not count, until all took so many times the time."""


@dataclass(frozen=True)
class TaskGrade(Outcome):
    """One task: how it stands, what it asks, what it is worth."""

    sentence: str = ""
    worth: int = 1

    @property
    def points(self) -> int:
        """All points or none."""
        return self.worth if self.passed else 0


@dataclass(frozen=True)
class Grade:
    """A graded notebook; print it, or take `as_dict()`."""

    file: str
    number: int
    tasks: list[TaskGrade]
    seconds: float
    no_wall_against: tuple[str, ...] = ()

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
        return {
            "file": self.file,
            "notebook": f"{self.number:02}",
            "points": self.points,
            "worth": self.worth,
            "seconds": round(self.seconds, 1),
            "no_wall_against": list(self.no_wall_against),
            "tasks": [{**asdict(task), "points": task.points} for task in self.tasks],
        }

    def __str__(self) -> str:
        lines = [f"{printable(self.file)} (notebook {self.number:02})"]
        for task in self.tasks:
            points = f"{task.points}/{task.worth}"
            lines.append(f"  {task.status:12} {task.task}  {points}  {task.sentence}")
            if not task.passed:
                parts = ("", task.message), ("where: ", task.where), ("hint:  ", task.hint)
                lines += [f"{'':16}{label}{text}" for label, text in parts if text]
        noun = "point" if self.worth == 1 else "points"
        lines.append(f"  {self.points} of {self.worth} {noun} ({self.seconds:.0f} s)")
        if self.no_wall_against:
            lines.append(f"  no wall here against: {', '.join(self.no_wall_against)}")
        return "\n".join(lines)


def printable(text: str, most: int = 400) -> str:
    """One line of text that moves no cursor: what cannot be printed is written as an escape."""
    return visible(text if len(text) <= most else f"{text[:most]} ...")


def grade(
    file: str | Path,
    timeout: float = 600,
    cell_timeout: float = 120,
    source: str | Path | None = None,
    memory: float = 4,
    number: int | None = None,
    walls: Walls | None = None,
) -> Grade:
    """Run a notebook of the course and judge its tasks.

    timeout, cell_timeout: seconds for all cells, and for one cell or one task's judgement.
    source: the folder of the source notebooks, for what the tasks are worth (else 1 each).
    memory: GB for all processes of the notebook. number: which notebook it is, whatever it says.
    walls: one of `process.strengths()`; without it the strongest that this system offers.
    Raises DataError if the file is no notebook of the course.
    """
    submission = read_submission(Path(file), number)
    checks = checks_of(submission.number)
    what = f"{file}: notebook {str(submission.number)[:20]:0>2} of the course has no tasks"
    expect(bool(checks), what, DataError)
    known = {task.name: task for task in _tasks(submission.number, source)}
    _fingerprint()
    limits = Limits(memory=int(memory * 2**30), seconds=cell_timeout)
    run = Run(submission, limits, timeout, walls)
    run.go({name: answer_of(check)[0] for name, check in checks.items()})
    changed = _fingerprint() ^ _read_package() if run.no_wall_against else frozenset()
    if changed:
        raise MinranError(
            f"the installed package was changed: {printable(min(changed)[0])} is not what it was "
            f"when grading began, seen after {file}; install it again, and grade as a user who may "
            "not write there"
        )
    tasks = []
    for name in checks:
        task = known.get(name)
        sentence = task.sentence if task else printable(submission.sentence(name), 200)
        worth = task.points if task else 1
        tasks.append(TaskGrade(**asdict(run.outcome(name)), sentence=sentence, worth=worth))
    return Grade(str(file), submission.number, tasks, run.seconds, run.no_wall_against)


@dataclass
class Run:
    """A notebook that runs: what came out so far."""

    submission: Submission
    limits: Limits
    timeout: float
    walls: Walls | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    raised: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By cell: the error that it raised."""
    left_out: dict[int, str] = field(default_factory=dict)
    """By cell: why it is not run again."""
    seconds: float = 0.0
    """Time spent in cells and judgements; starts and what runs again are not counted."""
    no_wall_against: tuple[str, ...] = ()

    def go(self, answers: dict[str, str]) -> None:
        """Run all cells, judge the tasks at their places; start again after a bad end.

        answers: by task, the name of its answer.
        """
        if not self.submission.cells:
            return
        self.answers = answers
        places: dict[int, list[str]] = {}
        for task in answers:
            places.setdefault(self.submission.place(task), []).append(task)
        done: set[int] = set()
        end = time.monotonic() + MOST_REPEATS * self.timeout
        for _ in range(MOST_STARTS):
            with Process(self.limits, self.walls) as process:
                self.no_wall_against = process.walls.missing()
                if self._once(process, places, done, end):
                    return

    def _once(
        self, process: Process, places: dict[int, list[str]], done: set[int], end: float
    ) -> bool:
        """Run in a fresh process; False if it came to a bad end and there is more to do."""
        for index, cell in enumerate(self.submission.cells):
            left = min(self.timeout - self.seconds, end - time.monotonic())
            if left <= 0:
                return True
            if index not in self.left_out:
                try:
                    with self._timed(count=index not in done):
                        error = process.run(cell.source, min(self.limits.seconds, left))
                except Stopped as why:
                    self.left_out[index] = str(why)
                    return False
                done.add(index)
                if error is not None:
                    self.raised[index] = error
            for task in places.get(index, ()):
                if task not in self.outcomes:
                    try:
                        with self._timed(count=True):
                            self.outcomes[task] = self._judge(process, task)
                    except Stopped as why:
                        what = "the check did not end well"
                        self.outcomes[task] = Outcome(task, ERROR, what, str(why))
                        return False
        return True

    @contextmanager
    def _timed(self, count: bool) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds += (time.monotonic() - started) * count

    def _judge(self, process: Process, task: str) -> Outcome:
        try:
            answer = process.answer(self.answers[task])
        except KeyError:
            return self._nothing(task)
        outcomes = []
        for _ in range(DRAWS):
            with secret_inputs(secrets.randbits(64)), np.errstate(all="ignore"):
                outcomes.append(judge(task, answer))
            if outcomes[-1].status != WRONG:
                break
        # A wrong answer keeps the words of its first draw.
        return outcomes[-1] if outcomes[-1].passed else outcomes[0]

    def _nothing(self, task: str) -> Outcome:
        """The outcome where the task's name stands for nothing."""
        exercise = self.submission.exercise(task)
        if exercise in self.left_out:
            why = self.left_out[exercise]
            return Outcome(task, ERROR, "the exercise did not end well", why)
        if exercise in self.raised:
            kind, text = self.raised[exercise]
            if kind == "NotImplementedError":
                return Outcome(task, BLANK, "the answer is still blank")
            return Outcome(task, ERROR, f"the exercise raised {kind}: {text}", "its cell")
        return Outcome(task, NOT_REACHED, f"the notebook defines no {self.answers[task]}")

    def outcome(self, task: str) -> Outcome:
        """How a task stands, in words that can be printed."""
        if not self.submission.cells:
            return Outcome(task, NOT_REACHED, "the notebook has no code cells")
        why = "time ran out before, or its process ended too often"
        found = self.outcomes.get(task) or Outcome(task, NOT_REACHED, why)
        texts = {key: printable(getattr(found, key)) for key in ("message", "where", "hint")}
        return replace(found, **texts)


def _tasks(number: int, source: str | Path | None) -> list[Task]:
    if source is None:
        return []
    for file in notebook_files(source):
        if file.name.startswith(f"{number:02}_"):
            return read_notebook(file).tasks
    raise DataError(f"there is no notebook {number:02} in {source}")


@lru_cache(maxsize=1)
def _fingerprint() -> frozenset[tuple[str, str]]:
    """The installed package as it was when grading began."""
    return _read_package()


def _read_package() -> frozenset[tuple[str, str]]:
    """Every module's file and a hash of it: without walls a notebook may change them."""
    files = [file for file in PACKAGE.rglob("*.py") if file.is_file()]
    return frozenset((str(file), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files)


# --- the file

MOST_BYTES = 1 << 26
"""A notebook file may be so long."""


@dataclass(frozen=True)
class Cell:
    """A code cell: its text, and nbgrader's name for it if it has one."""

    source: str
    name: str = ""


@dataclass(frozen=True)
class Submission:
    """A handed-in notebook: its code cells, in order, and which of the course's it is."""

    path: Path
    number: int
    cells: list[Cell]

    def sentence(self, task: str) -> str:
        """What a task asks, as its cell says."""
        for cell in self.cells:
            if match := re.match(rf"# Task {re.escape(task)}: (.+)", cell.source):
                return match.group(1).strip()
        return ""

    def exercise(self, task: str) -> int:
        """The last cell that claims to be the task's, or else the one before its check, or -1."""
        named = self._last(rf"# Task {re.escape(task)}:", f"task-{task.replace('.', '-')}")
        return named if named >= 0 else max(self._check(task) - 1, -1)

    def place(self, task: str) -> int:
        """The cell after which the task is judged: its last check, or else its exercise."""
        place = max(self._check(task), self.exercise(task))
        return place if place >= 0 else len(self.cells) - 1

    def _check(self, task: str) -> int:
        pattern = rf"(?s).*\bcheck\(\s*[\"']{re.escape(task)}[\"']"
        return self._last(pattern, f"check-{task.replace('.', '-')}")

    def _last(self, pattern: str, name: str) -> int:
        """The last cell with such a beginning or name; -1 if there is none."""
        cells = enumerate(self.cells)
        found = [k for k, cell in cells if cell.name == name or re.match(pattern, cell.source)]
        return found[-1] if found else -1


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
