"""What the tests of the course share: the notebooks, and running their tasks in this process."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minran.workshop.course import command as course_command
from minran.workshop.course.checking import RECORD
from minran.workshop.course.copies import Notebook, blank, read_notebook, solved

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
FILES = sorted(NOTEBOOKS.glob("[0-9][0-9]*_*.py"))

HEADER = """# ---
# jupyter:
#   minran:
#     number: 1
#     seconds: 5
#     minutes: 10
# ---

"""


def names(value: Any) -> str:
    return value.stem if isinstance(value, Path) else str(value)


@contextlib.contextmanager
def recording(file: Path) -> Iterator[None]:
    """Within the block, `check` writes its outcomes to `file`."""
    before = os.environ.get(RECORD)
    os.environ[RECORD] = str(file)
    try:
        yield
    finally:
        os.environ.pop(RECORD)
        if before is not None:
            os.environ[RECORD] = before


def run_tasks(notebook: Notebook, solution: bool, folder: Path) -> dict[str, str]:
    """The status of every task when only the setup, exercise and check cells are run."""
    record = folder / f"{notebook.number}-{solution}.jsonl"
    statuses = {}
    namespace: dict[str, Any] = {"__name__": "__main__"}
    places = {task.exercise: task for task in notebook.tasks}
    checks = {task.check: task for task in notebook.tasks}
    with recording(record), contextlib.redirect_stdout(io.StringIO()):
        for index, cell in enumerate(notebook.cells):
            if "setup" in cell.metadata.get("tags", []):
                exec(compile(cell.source, "setup", "exec"), namespace)
            elif index in places:
                change = solved(cell.source)
                if not solution:
                    change = blank(cell.source, places[index].name)
                with contextlib.suppress(NotImplementedError):
                    exec(compile(change, places[index].name, "exec"), namespace)
            elif index in checks:
                try:
                    exec(compile(cell.source, checks[index].name, "exec"), namespace)
                except NotImplementedError:
                    statuses[checks[index].name] = "blank"
                except NameError:
                    pytest.skip("a task needs other cells: `pytest notebooks` runs them all")
    if record.exists():
        for line in record.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            statuses[entry["task"]] = entry["status"]
    return statuses


def wrong_answers() -> dict[str, list[tuple[Any, ...]]]:
    """The planted wrong answers by task: what is wrong, the answer, words that name the mistake."""
    found = {}
    for file in sorted((Path(__file__).parent / "wrong").glob("*.py")):
        found |= runpy.run_path(str(file))["WRONG"]
    return found


def write(folder: Path, text: str, name: str = "01_small.py") -> Notebook:
    """A notebook of these cells."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(HEADER + text, encoding="utf-8")
    return read_notebook(file)


def command(*arguments: str) -> int:
    """Run the part `course` of the command line; returns the exit status."""
    parser = argparse.ArgumentParser()
    course_command.add_commands(parser.add_subparsers())
    args = parser.parse_args(arguments)
    return int(args.run(args) or 0)
