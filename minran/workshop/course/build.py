"""One source, four copies: `minran course build`.

pair       `NN_name.ipynb` beside the source, for people who learn alone: blanks to fill in, and
           each solution folded away under its check
student    blanks, nothing folded
solution   everything filled in
teacher    solutions between nbgrader's markers: the source of an nbgrader assignment

All carry nbgrader's cell metadata and no outputs. The same source gives the same bytes.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from minran.errors import DataError, expect
from minran.workshop.course.extras import need
from minran.workshop.course.notebook import (
    Notebook,
    Task,
    blank,
    notebook_files,
    read_notebook,
    solved,
)

COPIES = ("student", "solution", "teacher")

_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def build_pairs(folder: str | Path) -> list[Path]:
    """Write the .ipynb beside every source that differs from it; returns those written."""
    written = []
    for file in notebook_files(folder):
        text = to_text(make_copy(read_notebook(file), "pair"))
        target = file.with_suffix(".ipynb")
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8", newline="\n")
            written.append(target)
    return written


def drifted_pairs(folder: str | Path) -> list[str]:
    """The .ipynb files that are missing, differ from what their source makes, or have none."""
    names = []
    files = notebook_files(folder)
    for file in files:
        target = file.with_suffix(".ipynb")
        text = to_text(make_copy(read_notebook(file), "pair"))
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            names.append(target.name)
    sources = {file.stem for file in files}
    orphans = [file.name for file in Path(folder).glob("*.ipynb") if file.stem not in sources]
    return names + sorted(orphans)


def build_copies(folder: str | Path, out: str | Path) -> list[Path]:
    """Write out/student, out/solution and out/teacher; returns the files."""
    written = []
    for file in notebook_files(folder):
        notebook = read_notebook(file)
        for kind in COPIES:
            target = Path(out) / kind / f"{file.stem}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            text = to_text(make_copy(notebook, kind))
            target.write_text(text, encoding="utf-8", newline="\n")
            written.append(target)
    return written


def make_copy(notebook: Notebook, kind: str) -> Any:
    """The nbformat notebook of one kind: "pair", "student", "solution" or "teacher"."""
    kinds = ("pair", *COPIES)
    expect(kind in kinds, f"a copy is one of {', '.join(kinds)}, got {kind!r}", DataError)
    nbformat = need("nbformat")
    node = nbformat.v4.new_notebook()
    node.metadata = nbformat.from_dict(
        {
            "kernelspec": dict(_KERNEL),
            "language_info": {"name": "python"},
            "minran": {**notebook.metadata, "copy": kind},
        }
    )
    exercises = {task.exercise: task for task in notebook.tasks}
    checks = {task.check: task for task in notebook.tasks}
    for index, original in enumerate(notebook.cells):
        if "teacher" in original.metadata.get("tags", []) and kind != "teacher":
            continue
        cell = copy.deepcopy(original)
        cell.id = f"n{notebook.number:02}-{index:03}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if index in exercises:
            _write_exercise(cell, exercises[index], kind)
        elif index in checks:
            cell.metadata["nbgrader"] = nbgrader(checks[index], "check")
            cell.metadata.pop("points", None)
        node.cells.append(cell)
        if index in checks and kind == "pair":
            task = checks[index]
            text = folded(task, notebook.cells[task.exercise].source)
            more = nbformat.v4.new_markdown_cell(text, metadata={"tags": ["solution"]})
            more.id = f"n{notebook.number:02}-{index:03}-solution"
            node.cells.append(more)
    nbformat.validate(node)
    return node


def _write_exercise(cell: Any, task: Task, kind: str) -> None:
    if kind in ("pair", "student"):
        cell.source = blank(cell.source, task.name)
    elif kind == "solution":
        cell.source = solved(cell.source)
    cell.metadata["nbgrader"] = nbgrader(task, "task")


def nbgrader(task: Task, role: str) -> dict[str, Any]:
    """nbgrader's metadata for a task's answer ("task") or its test ("check")."""
    is_check = role == "check"
    metadata: dict[str, Any] = {
        "grade": is_check,
        "grade_id": f"{role}-{task.name.replace('.', '-')}",
        "locked": is_check,
        "schema_version": 3,
        "solution": not is_check,
        "task": False,
    }
    # nbgrader's schema allows points only where something is graded.
    return {**metadata, "points": task.points} if is_check else metadata


def folded(task: Task, source: str) -> str:
    """Markdown that shows the solution when one clicks on it."""
    code = re.sub(r"^# Task [^\n]*\n", "", solved(source))
    return (
        f"<details>\n<summary>Solution of task {task.name}</summary>\n\n"
        f"```python\n{code}\n```\n\n</details>"
    )


def to_text(node: Any) -> str:
    """The notebook as the text of an .ipynb file; the same notebook gives the same text."""
    text: str = need("nbformat").writes(node, indent=1, sort_keys=True, ensure_ascii=False)
    return text.rstrip("\n") + "\n"
