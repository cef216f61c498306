"""Grading: right, wrong, blank, endless, crashing and mutilated notebooks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from course_helpers import FILES, NOTEBOOKS, command

from minran.errors import DataError
from minran.workshop.course.copies import make_copy, read_notebook, run_cells, to_text
from minran.workshop.course.grade import grade

nbformat = pytest.importorskip("nbformat")
code = nbformat.v4.new_code_cell
FIRST = next(file for file in FILES if file.name.startswith("01_"))


@pytest.fixture(scope="module")
def student() -> Any:
    """Notebook 01 without the cells that no task needs: quick to run."""
    notebook = read_notebook(FIRST)
    node = make_copy(notebook, "student")
    wanted = {"setup", "exercise", "check"}
    node.cells = [cell for cell in node.cells if wanted & set(cell.metadata.get("tags", []))]
    # What a busy machine imports must not be mistaken for an endless loop.
    node.cells[0].source = "import numpy as np\nfrom minran.course import check"
    return node


RIGHT = {
    "01.1": "def vjp_mul(gy, a, b):\n    return gy * b, gy * a",
    "01.2": "def vjp_sum(gy, s, axis):\n    return np.zeros(s) + np.expand_dims(gy, axis)",
}


def answered(student: Any, **answers: str) -> Any:
    """The student's notebook with other exercise cells; answers by task, "t01_1"."""
    node = copy.deepcopy(student)
    for cell in node.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "").replace("task-", "")
        key = "t" + name.replace("-", "_")
        if key in answers:
            cell.source = cell.source.split("\n")[0] + "\n" + answers[key]
    return node


@pytest.fixture
def graded(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(node: Any, **options: Any) -> dict[str, Any]:
        file = tmp_path / "handed_in.ipynb"
        file.write_text(to_text(node), encoding="utf-8")
        return grade(file, **options).as_dict()

    return run


def statuses(result: dict[str, Any]) -> list[str]:
    return [task["status"] for task in result["tasks"]]


def test_right_wrong_and_blank(student: Any, graded: Callable[..., Any]) -> None:
    node = answered(
        student,
        t01_1=RIGHT["01.1"],
        t01_2="def vjp_sum(gy, shape, axis):\n    return np.ones(shape)",
    )
    result = graded(node)
    assert statuses(result) == ["passed", "wrong", "blank"]
    assert (result["points"], result["worth"], result["notebook"]) == (1, 3, "01")
    wrong = result["tasks"][1]
    assert "worst at" in wrong["where"] and wrong["hint"] and wrong["sentence"]


def test_an_error_an_endless_loop_and_a_crash_lose_no_other_task(
    student: Any, graded: Callable[..., Any]
) -> None:
    node = answered(
        student,
        t01_1="def vjp_mul(gy, a, b):\n    while True:\n        pass",
        t01_2=RIGHT["01.2"],
        t01_3="import os\ndef reverse(tape, last):\n    os._exit(1)",
    )
    node.cells.insert(1, code("1 / 0"))
    result = graded(node, cell_timeout=5)
    assert statuses(result) == ["error", "passed", "error"]
    assert "stopped after 5 seconds" in result["tasks"][0]["where"]
    assert "ended the Python process" in result["tasks"][2]["where"]


def test_mutilated_notebooks(student: Any, graded: Callable[..., Any]) -> None:
    node = answered(student, t01_1=RIGHT["01.1"], t01_2="def vjp_sum(gy, shape, axis:")
    node.cells = node.cells[:-1]
    for cell in node.cells:
        cell.metadata = nbformat.from_dict({})  # as some editors leave it
        cell.source = cell.source.replace("# Task 01.2: ", "# ")
    result = graded(node)
    assert statuses(result) == ["passed", "error", "blank"]
    assert "SyntaxError" in result["tasks"][1]["message"]


def test_check_cells_do_not_count(student: Any, graded: Callable[..., Any]) -> None:
    node = answered(student, t01_1="def vjp_mul(gy, a, b):\n    return a, b")
    for cell in node.cells:
        if "01.1" in cell.source and "check(" in cell.source:
            cell.source = 'check("01.1", lambda gy, a, b: (gy * b, gy * a))'
    node.cells = [cell for cell in node.cells if 'check("01.2"' not in cell.source]
    assert statuses(graded(node)) == ["wrong", "blank", "blank"]
    assert statuses(graded(node, source=NOTEBOOKS)) == ["wrong", "blank", "blank"]


def test_the_time_of_the_whole(student: Any, graded: Callable[..., Any]) -> None:
    node = answered(student, t01_1=RIGHT["01.1"], t01_2=f"{RIGHT['01.2']}\nprint(slept)")
    node.cells.insert(3, code("import time; slept = time.sleep(60)"))
    result = graded(node, timeout=8)
    assert statuses(result) == ["passed", "not reached", "not reached"]
    assert "time ran out" in result["tasks"][1]["message"]


def test_cells_that_no_task_needs_cost_no_time(student: Any, graded: Callable[..., Any]) -> None:
    node = answered(student, t01_1=RIGHT["01.1"])
    node.cells.insert(1, code("import time; time.sleep(60)"))
    result = graded(node, timeout=30)
    assert statuses(result) == ["passed", "blank", "blank"] and result["seconds"] < 30


def test_what_only_the_whole_notebook_shows_counts(
    student: Any, graded: Callable[..., Any]
) -> None:
    """A name that no text defines: the answer is wrong at first, and right after all cells."""
    node = answered(
        student,
        t01_1="def vjp_mul(gy, a, b):\n    return times(gy, b), times(gy, a)",
        t01_2="def vjp_sum(gy, s, axis):\n    return np.ones(s)",
    )
    node.cells.insert(1, code("globals()['ti' + 'mes'] = lambda x, y: x * y"))
    assert statuses(graded(node)) == ["passed", "wrong", "blank"]


def test_it_is_offline_and_leaves_no_files(student: Any, tmp_path: Path) -> None:
    node = copy.deepcopy(student)
    node.cells = [
        code("import socket; socket.create_connection(('example.com', 80), timeout=5)"),
        code("import pathlib; pathlib.Path('litter').write_text('x'); print(pathlib.Path.cwd())"),
    ]
    result = run_cells(node)
    assert "offline" in result.error(0)[1]
    place = Path(result.node.cells[1].outputs[0].text.strip())
    assert place != Path.cwd() and not place.exists()


def test_what_is_no_notebook_is_named(tmp_path: Path, student: Any) -> None:
    file = tmp_path / "01_thing.ipynb"
    with pytest.raises(DataError, match="there is no notebook"):
        grade(file)
    for text in ("no JSON", "{}", '{"cells": 3}', "[]"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"is no Jupyter notebook|tasks"):
            grade(file)
    other = copy.deepcopy(student)
    del other.metadata["minran"]
    nameless = tmp_path / "mine.ipynb"
    nameless.write_text(to_text(other), encoding="utf-8")
    with pytest.raises(DataError, match="does not say which notebook"):
        grade(nameless)
    other.metadata["minran"] = {"number": 77}
    nameless.write_text(to_text(other), encoding="utf-8")
    with pytest.raises(DataError, match="has no tasks"):
        grade(nameless)


def test_the_command(student: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "01_mine.ipynb"
    file.write_text(to_text(answered(student, t01_1=RIGHT["01.1"])), encoding="utf-8")
    gone = tmp_path / "gone.ipynb"
    assert command("course", "grade", str(file), str(gone), "--json") == 1
    first, second = json.loads(capsys.readouterr().out)
    assert statuses(first) == ["passed", "blank", "blank"]
    assert "no notebook" in second["error"]
    assert command("course", "grade", str(gone)) == 1
    assert "cannot be graded" in capsys.readouterr().out
    assert command("course", "list", "--notebooks", str(NOTEBOOKS)) == 0
    assert "Reverse mode" in capsys.readouterr().out
    copies = tmp_path / "sources"
    copies.mkdir()
    (copies / FIRST.name).write_text(FIRST.read_text("utf-8"), "utf-8")
    assert command("course", "build", "--check", "--notebooks", str(copies)) == 1
    arguments = ("course", "build", "--pair", "--out", str(tmp_path / "out"))
    assert command(*arguments, "--notebooks", str(copies)) == 0
    assert command("course", "build", "--check", "--notebooks", str(copies)) == 0
    assert len(list((tmp_path / "out").rglob("*.ipynb"))) == 3
