"""A notebook of the course as it is written: a jupytext percent file with tagged tasks.

A task is a code cell tagged "exercise" whose first line is `# Task 03.1: what to do`, followed
directly by a code cell tagged "check" that calls `check("03.1", answer)`. What lies between
`### BEGIN SOLUTION` and `### END SOLUTION` is taken out of a student's copy.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minran.errors import DataError, expect
from minran.workshop.course.extras import need

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
_TASK = re.compile(r"# Task (\d\d\.\d+): (.+)")
_BLOCK = re.compile(rf"^([ \t]*){BEGIN}[ \t]*\n(.*?)^[ \t]*{END}[ \t]*$\n?", re.M | re.S)
_NAME = re.compile(r"(\d\d)_[a-z0-9_]+\.py")


@dataclass(frozen=True)
class Task:
    """One exercise: "03.1", its sentence, its cells' places, and what it is worth."""

    name: str
    sentence: str
    exercise: int
    check: int
    points: int


@dataclass(frozen=True)
class Notebook:
    """A source notebook: its file, its cells (of nbformat), its tasks."""

    path: Path
    number: int
    title: str
    minutes: float
    seconds: float
    cells: list[Any]
    metadata: dict[str, Any]
    tasks: list[Task]


def notebook_files(folder: str | Path) -> list[Path]:
    """The source notebooks of a folder, in order. DataError if there are none."""
    place = Path(folder)
    files = sorted(file for file in place.glob("*.py") if _NAME.fullmatch(file.name))
    expect(
        bool(files),
        f"there are no notebooks in {place.absolute()}; say where the course's notebooks/ folder "
        "is (it comes with the repository, not with the installed package)",
        DataError,
    )
    return files


def read_notebook(path: str | Path) -> Notebook:
    """Read a source notebook. DataError names what is missing or out of place in it."""
    path = Path(path)
    match = _NAME.fullmatch(path.name)
    expect(match is not None, f"{path.name}: a notebook is named like 03_convolution.py", DataError)
    node = need("jupytext").reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    about = dict(node.metadata.get("minran", {}))
    missing = [key for key in ("number", "minutes", "seconds") if key not in about]
    expect(
        not missing, f"{path.name}: the header lacks minran.{', minran.'.join(missing)}", DataError
    )
    number = int(path.name[:2])
    expect(
        about["number"] == number,
        f"{path.name}: minran.number is {about['number']}, the file's name says {number}",
        DataError,
    )
    first = node.cells[0].source if node.cells else ""
    title = re.match(rf"# {number:02} · (.+)", first)
    if title is None:
        raise DataError(f'{path.name}: the first cell must begin with "# {number:02} · TITLE"')
    tasks = find_tasks(node.cells, path.name)
    return Notebook(
        path,
        number,
        title.group(1).strip(),
        float(about["minutes"]),
        float(about["seconds"]),
        list(node.cells),
        about,
        tasks,
    )


def find_tasks(cells: list[Any], where: str) -> list[Task]:
    """The tasks of some cells, checked: each exercise has its check, blocks are closed."""
    tasks = []
    for index, cell in enumerate(cells):
        tags = cell.metadata.get("tags", [])
        if "check" in tags:
            before = cells[index - 1].metadata.get("tags", []) if index else []
            expect(
                "exercise" in before, f"{where}: a check without an exercise before it", DataError
            )
        if "exercise" not in tags:
            continue
        match = _TASK.match(cell.source)
        if match is None:
            raise DataError(f'{where}: an exercise must begin with "# Task NN.k: sentence"')
        name, sentence = match.groups()
        following = cells[index + 1] if index + 1 < len(cells) else cell
        expect(
            "check" in following.metadata.get("tags", []) and f'check("{name}"' in following.source,
            f'{where}: the cell after task {name} must be tagged "check" and call '
            f'check("{name}", ...)',
            DataError,
        )
        expect(
            bool(_BLOCK.search(cell.source)),
            f"{where}: task {name} has no block from {BEGIN} to {END}",
            DataError,
        )
        points = int(following.metadata.get("points", 1))
        tasks.append(Task(name, sentence.strip(), index, index + 1, points))
    return tasks


def blank(source: str, task: str) -> str:
    """The cell with its solution taken out.

    Within a function the block becomes `raise NotImplementedError`; at the top level every name
    that the block assigns becomes `name = ...  # your code here`, and every function an empty one.
    """

    def empty(match: re.Match[str]) -> str:
        margin, block = match.groups()
        if margin:
            return f'{margin}raise NotImplementedError("Task {task}")\n'
        return "".join(f"{line}\n" for line in _stubs(block, task))

    return _BLOCK.sub(empty, source).rstrip("\n")


def _stubs(block: str, task: str) -> list[str]:
    """What stands in a blank for the statements of a block at the top level."""
    lines: dict[str, None] = {}
    for node in ast.parse(block).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(part, ast.Name):
                        lines[f"{part.id} = ...  # your code here"] = None
        elif isinstance(node, ast.FunctionDef):
            head = f"def {node.name}({ast.unparse(node.args)}):"
            lines[f'{head}\n    raise NotImplementedError("Task {task}")'] = None
    return list(lines) or [f'raise NotImplementedError("Task {task}")']


def solved(source: str) -> str:
    """The cell with its solution and without the markers."""
    return _BLOCK.sub(lambda match: match.group(2), source).rstrip("\n")
