"""`check("03.1", answer)`: find the check, run it, say what came out, tell the grader."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minran.errors import DataError, expect
from minran.workshop.course.checking import Raised, Wrong

RECORD = "MINRAN_COURSE_RECORD"
"""The environment variable that names a file for outcomes; the tests of the notebooks read it."""

GRADING = "MINRAN_GRADING"
"""Set in the student's process: `check` does nothing there, the verdict is made outside."""

NBGRADER = "NBGRADER_EXECUTION"
"""Set by nbgrader, for which a check must raise an error if the answer is wrong."""

PASSED, WRONG, BLANK, ERROR, NOT_REACHED = "passed", "wrong", "blank", "error", "not reached"


@dataclass(frozen=True)
class Outcome:
    """How one task stands."""

    task: str
    status: str
    message: str = ""
    where: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.status == PASSED

    def __str__(self) -> str:
        if self.passed:
            return f"Task {self.task}: passed"
        lines = [f"Task {self.task}: not yet - {self.message}"]
        lines += [f"  where: {self.where}"] if self.where else []
        lines += [f"  hint:  {self.hint}"] if self.hint else []
        return "\n".join(lines)


def check(task: str, answer: Any) -> None:
    """Check an answer and print "passed", or what differed, where, and a hint.

    Nothing is raised for a wrong answer, so that a notebook runs on; MinranError says that
    there is no such task.
    """
    if os.environ.get(GRADING):
        return
    outcome = judge(task, answer)
    print(outcome)
    record = os.environ.get(RECORD)
    if record:
        with Path(record).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
    if os.environ.get(NBGRADER) and not outcome.passed:
        raise Wrong(outcome.message, outcome.where, outcome.hint)


def judge(task: str, answer: Any) -> Outcome:
    """The outcome of a check, without printing it."""
    checker = find_check(task)
    if answer is ...:
        return _blank(task)
    try:
        _expect_own(task, answer)
        checker(answer)
    except Wrong as wrong:
        return Outcome(task, WRONG, wrong.message, wrong.where, wrong.hint)
    except NotImplementedError:
        return _blank(task)
    except Raised as error:
        return Outcome(task, ERROR, f"your code raised {error}", error.where)
    except Exception as error:
        message = f"your code raised {type(error).__name__}: {error}"
        return Outcome(task, ERROR, message, place_of(error))
    return Outcome(task, PASSED)


def _blank(task: str) -> Outcome:
    return Outcome(task, BLANK, "the answer is still blank")


def _expect_own(task: str, answer: Any) -> None:
    """Raise Wrong for a function or class of the library itself."""
    module, name = getattr(answer, "__module__", ""), getattr(answer, "__qualname__", "")
    if callable(answer) and str(module).startswith("minran."):
        raise Wrong(
            f"this is {module}.{name}, the library's own",
            hint=f"task {task} asks for one that you have written",
        )


def place_of(error: BaseException) -> str:
    """The last line of the student's own code that the error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    # The first frames are the check's own; what follows in other files is the answer's.
    own = str(Path(__file__).parent)
    package = str(Path(__file__).parents[2])
    answers = [frame for frame in frames if not frame.filename.startswith(package)]
    inside = answers or [frame for frame in frames if not frame.filename.startswith(own)]
    if not inside:
        return ""
    last = inside[-1]
    return f"line {last.lineno} of {last.name}: {last.line}" if last.line else f"in {last.name}"


def find_check(task: str) -> Callable[[Any], None]:
    """The check of a task "03.1"; DataError if there is none."""
    match = re.fullmatch(r"(\d\d)\.(\d+)", task)
    expect(match is not None, f'a task is named like "03.1", got {task!r}', DataError)
    known = checks_of(int(task[:2]))
    expect(
        task in known,
        f"there is no check for task {task}; notebook {task[:2]} has {', '.join(known) or 'none'}",
        DataError,
    )
    return known[task]


def checks_of(number: int) -> dict[str, Callable[[Any], None]]:
    """The checks of a notebook by task, in order: {"03.1": check_3_1, ...}."""
    name = f"minran.workshop.course.checks.n{number:02}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return {}
    found = re.compile(rf"check_{number}_(\d+)")
    order = sorted(int(m.group(1)) for m in map(found.fullmatch, vars(module)) if m)
    return {f"{number:02}.{k}": getattr(module, f"check_{number}_{k}") for k in order}


def numbers_with_checks() -> list[int]:
    """The notebooks that have checks."""
    package = importlib.import_module("minran.workshop.course.checks")
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return sorted(int(name[1:]) for name in names if re.fullmatch(r"n\d\d", name))
