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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
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
    find_check,
    judge,
    number_of,
    secret_inputs,
)
from minran.workshop.course.copies import Task, grade_id, need, notebook_files, read_notebook
from minran.workshop.course.needed import unneeded_cells
from minran.workshop.course.process import WALLS, Limits, Process, Stopped
from minran.workshop.course.show import PACKAGE

MOST_STARTS = 20
"""A notebook whose process ends badly is started again so often."""

DRAWS = 3
"""An answer is wrong if it is wrong for so many draws of inputs: rounding may spoil a rare one."""

MOST_REPEATS = 3
"""Cells that run again after a start do not count, until all took so many times the time."""

MOST_BYTES = 1 << 26
"""A notebook file may be so long."""


@dataclass(frozen=True)
class TaskGrade(Outcome):
    """One task: how it stands, what it asks, what it is worth: all points or none."""

    sentence: str = ""
    worth: int = 1
    points: int = 0


@dataclass(frozen=True)
class Grade:
    """A graded notebook; print it, or take `as_dict()`."""

    file: str
    notebook: str
    points: int
    worth: int
    seconds: float
    no_wall_against: tuple[str, ...]
    tasks: list[TaskGrade]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{printable(self.file)} (notebook {self.notebook})"]
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
    number: int | str | None = None,
    walls: str | None = None,
    package: frozenset[tuple[str, str]] | None = None,
) -> Grade:
    """Run a notebook of the course and judge its tasks.

    First only the cells that its tasks need run, as far as the cells' text says. If an answer is
    then neither right nor blank, the whole notebook runs, and what is right then counts too.

    timeout, cell_timeout: seconds for all cells, and for one cell or one task's judgement.
    source: the folder of the source notebooks, for what the tasks are worth (else 1 each).
    memory: GB for all processes of the notebook. number: which notebook it is, whatever it says.
    walls: one of `process.strengths()`; without it the strongest that this system offers.
    package: what `read_package` gave when grading began (else at the first call).
    Raises DataError if the file is no notebook of the course.
    """
    number, cells = read_cells(Path(file), number)
    checks = checks_of(number)
    what = f"{file}: notebook {number[:20]} of the course has no tasks"
    expect(bool(checks), what, DataError)
    tasks = {name: find_task(cells, name) for name in checks}
    asked = {**tasks, **_source_tasks(number, source)}
    intact = package or _fingerprint()
    limits = Limits(memory=int(memory * 2**30), seconds=cell_timeout)
    answers = [answer_of(check)[0] for check in checks.values()]
    exercises = [task.exercise for task in tasks.values() if task.exercise >= 0]
    unneeded = unneeded_cells([cell.source for cell in cells], exercises, answers)
    run = Run(cells, tasks, limits, timeout, left_out=set(unneeded))
    if cells:
        run.go(walls)
    if unneeded and not all(run.settled(name, BLANK) for name in checks):
        first, left_out = run, run.left_out - unneeded
        run = Run(cells, tasks, limits, timeout, {}, first.fates, left_out, first.seconds)
        run.go(walls)
        for name in checks:  # the whole may take too long to come to what was judged before
            if first.settled(name) or (first.settled(name, BLANK, WRONG) and not run.settled(name)):
                run.outcomes[name] = first.outcomes[name]
    changed = intact ^ read_package() if run.no_wall_against else frozenset()
    if changed:
        raise MinranError(
            f"the installed package was changed: {printable(min(changed)[0])} is not what it was "
            f"when grading began, seen after {file}; install it again, and grade as a user who may "
            "not write there"
        )
    why = "time ran out before, or its process ended too often"
    why = why if cells else "the notebook has no code cells"
    grades = []
    for name in checks:
        one, worth = run.outcomes.get(name) or Outcome(name, NOT_REACHED, why), asked[name].points
        message, where, hint = map(printable, (one.message, one.where, one.hint))
        points, sentence = worth * one.passed, printable(asked[name].sentence, 200)
        grades.append(TaskGrade(name, one.status, message, where, hint, sentence, worth, points))
    points, worth = (sum(getattr(one, key) for one in grades) for key in ("points", "worth"))
    seconds, missing = round(run.seconds, 1), run.no_wall_against
    return Grade(str(file), number, points, worth, seconds, missing, grades)


@dataclass
class Run:
    """A notebook that runs: what came out so far."""

    cells: list[Cell]
    tasks: dict[str, Task]
    limits: Limits
    timeout: float
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    fates: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """By cell that did not end well: the outcome of its task, if the cell left no answer."""
    left_out: set[int] = field(default_factory=set)
    """The cells that are not run again."""
    seconds: float = 0.0
    """Time spent in cells and judgements; starts and what runs again are not counted."""
    no_wall_against: tuple[str, ...] = ()

    def settled(self, name: str, *others: str) -> bool:
        """Whether a task's answer is right, or has one of the `others` as its status."""
        one = self.outcomes.get(name)
        return one is not None and (one.passed or one.status in others)

    def go(self, walls: str | None) -> None:
        """Run all cells, judge the tasks at their places; start again after a bad end."""
        done: set[int] = set()
        end = time.monotonic() + MOST_REPEATS * self.timeout
        for _ in range(MOST_STARTS):
            with Process(self.limits, walls) as process, suppress(Stopped):
                self.no_wall_against = WALLS[process.walls]
                return self._once(process, done, end)

    def _once(self, process: Process, done: set[int], end: float) -> None:
        """Run in a fresh process; raises Stopped if that came to a bad end."""
        for index, cell in enumerate(self.cells):
            left = min(self.timeout - self.seconds, end - time.monotonic())
            if left <= 0:
                return
            if index not in self.left_out:
                seconds, count = min(self.limits.seconds, left), index not in done
                try:
                    error = self._timed(count, process.run, cell.source, seconds)
                except Stopped as why:
                    self.left_out.add(index)
                    self.fates[index] = ERROR, "the exercise did not end well", str(why)
                    raise
                done.add(index)
                if error is not None:
                    fate = ERROR, f"the exercise raised {error[0]}: {error[1]}", "its cell"
                    blank = BLANK, "the answer is still blank"
                    self.fates[index] = blank if error[0] == "NotImplementedError" else fate
            for name, task in self.tasks.items():
                if task.check == index and name not in self.outcomes:
                    try:
                        self.outcomes[name] = self._timed(True, self._judge, process, task)
                    except Stopped as why:
                        what = "the check did not end well"
                        self.outcomes[name] = Outcome(name, ERROR, what, str(why))
                        raise

    def _timed(self, count: bool, function: Callable[..., Any], *args: Any) -> Any:
        started = time.monotonic()
        try:
            return function(*args)
        finally:
            self.seconds += (time.monotonic() - started) * count

    def _judge(self, process: Process, task: Task) -> Outcome:
        name = answer_of(find_check(task.name))[0]
        try:
            answer = process.answer(name)
        except KeyError:
            nothing = NOT_REACHED, f"the notebook defines no {name}"
            return Outcome(task.name, *self.fates.get(task.exercise, nothing))
        outcomes = []
        for _ in range(DRAWS):
            with secret_inputs(secrets.randbits(64)), np.errstate(all="ignore"):
                outcomes.append(judge(task.name, answer))
            if outcomes[-1].status != WRONG:
                break
        # A wrong answer keeps the words of its first draw.
        return outcomes[-1] if outcomes[-1].passed else outcomes[0]


def _source_tasks(number: str, source: str | Path | None) -> dict[str, Task]:
    """The tasks of a notebook as its source in a folder has them."""
    if source is None:
        return {}
    for file in notebook_files(source):
        if file.name.startswith(f"{number}_"):
            return {task.name: task for task in read_notebook(file).tasks}
    raise DataError(f"there is no notebook {number} in {source}")


def read_package() -> frozenset[tuple[str, str]]:
    """Every module's file and a hash of it: without walls a notebook may change them."""
    files = [file for file in PACKAGE.rglob("*.py") if file.is_file()]
    return frozenset((str(file), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files)


_fingerprint = lru_cache(maxsize=1)(read_package)
"""The installed package as it was when grading began."""


# --- the file


@dataclass(frozen=True)
class Cell:
    """A code cell: its text, and nbgrader's name for it if it has one."""

    source: str
    name: Any = None


def find_task(cells: list[Cell], name: str) -> Task:
    """Where a task stands in a handed-in notebook; `check` is the cell after which it is judged.

    Its exercise is the last cell that claims to be it, or else the one before its check, or -1.
    """

    def last(pattern: str, role: str) -> int:
        known = grade_id(name, role)
        found = (cell.name == known or re.match(pattern, cell.source) for cell in cells)
        return max((place for place, good in enumerate(found) if good), default=-1)

    start = rf"# Task {re.escape(name)}:"
    check = last(rf"(?s).*\bcheck\(\s*[\"']{re.escape(name)}[\"']", "check")
    exercise = last(start, "task")
    exercise = exercise if exercise >= 0 else max(check - 1, -1)
    place = max(check, exercise)
    asked = (re.match(rf"{start} (.+)", cell.source) for cell in cells)
    sentence = next((found.group(1).strip() for found in asked if found), "")
    return Task(name, sentence, exercise, place if place >= 0 else len(cells) - 1)


def read_cells(path: Path, number: int | str | None = None) -> tuple[str, list[Cell]]:
    """Read an .ipynb or a percent .py: which notebook it is, and its code cells.

    number: which it is, whatever its metadata and its name say, which else must agree.
    """
    expect(path.is_file(), f"there is no notebook {path}", DataError)
    size, most = path.stat().st_size / 1e6, MOST_BYTES / 1e6
    expect(size <= most, f"{path} has {size:.0f} MB, expected at most {most:.0f}", DataError)
    try:
        text = path.read_text(encoding="utf-8-sig")
        percent = path.suffix == ".py"
        node = need("jupytext").reads(text, fmt="py:percent") if percent else json.loads(text)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        reason = str(error)[:200] or type(error).__name__
        raise DataError(f"{path} is no Jupyter notebook: {reason}") from error
    found = _inside(node, "cells")
    if not isinstance(found, list):
        raise DataError(f"{path} is no Jupyter notebook of format 4: it has no list of cells")
    if number is None:
        claimed, named = _inside(node, "metadata", "minran", "number"), path.name.split("_")[0]
        numbers = [number_of(claimed)] if type(claimed) in (int, str) else []
        numbers += [named] if re.fullmatch(r"\d\d[a-z]?", named) and "_" in path.name else []
        lacks = "its metadata lacks minran.number, and its name does not begin like 03_"
        what = f"{path} does not say which notebook of the course it is: {lacks}"
        expect(bool(numbers), what, DataError)
        number, other = numbers[0], numbers[-1]
        what = f"{path}: its metadata says notebook {str(number)[:20]}, its name {other}; "
        expect(number == other, f"{what}say which it is with --notebook", DataError)
    number, cells = number_of(number), []
    for one in found:
        if _inside(one, "cell_type") == "code":
            lines = _inside(one, "source")
            lines = lines if isinstance(lines, list) else [lines]
            source = "".join(line for line in lines if isinstance(line, str))
            cells.append(Cell(source, _inside(one, "metadata", "nbgrader", "grade_id")))
    return number, cells


def _inside(value: Any, *keys: str) -> Any:
    """What stands under these keys, one in the other; None where there is no such thing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
