"""A class: several notebooks at once, rows kept as they come, feedback, Moodle's table."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from course_helpers import FILES, command

from minran.errors import DataError, RecipeError
from minran.workshop.course.checking import answer_of, checks_of
from minran.workshop.course.copies import read_notebook, solved
from minran.workshop.course.marks import Marks, feedback, in_own_process, student_of
from minran.workshop.course.needed import unneeded_cells

if os.name != "posix":
    pytest.skip("grading needs Linux or macOS", allow_module_level=True)

SETTINGS = {"timeout": 60, "cell_timeout": 30, "source": None, "memory": 4, "number": None}
SETUP = "import numpy as np\nfrom minran.course import check"
RIGHT = "def vjp_mul(gy, a, b):\n    return gy * b, gy * a"
WRONG = "def vjp_mul(gy, a, b):\n    return gy * a, gy * b"


def notebook(*sources: str, number: int = 1) -> str:
    cells = [{"cell_type": "code", "source": source} for source in sources]
    metadata = {"minran": {"number": number}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def hand_in(folder: Path, **answers: str) -> list[str]:
    """A notebook 01 for each student, who is at uni.example."""
    files = []
    for student, source in answers.items():
        file = folder / f"{student}@uni.example" / "01_reverse_mode.ipynb"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(notebook(SETUP, f"# Task 01.1: a product\n{source}"), "utf-8")
        files.append(str(file))
    return files


def table(file: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(file.read_text("utf-8"))))


# --- which cells


@pytest.mark.parametrize(
    ("cells", "needed"),
    [
        (["import numpy as np", "x = 1", "def f():\n    return np.ones(3)"], {0, 2}),
        (["a = 1", "b = a", "def f():\n    return b"], {0, 1, 2}),
        (["a = []", "a.append(1)", "a[0] = 2", "a.n = 3", "print(a)", "def f(): return a"], {4}),
        (["x = 1", "def f():\n    x = 2\n    return x"], {1}),
        (["x = 1", "def f(x): return [y for y in x]", "y = 2"], {1}),
        (["def g():\n    global x\n    x = 1", "g()", "def f(): return x"], {0, 2}),
        (["from math import *", "def f(): return pi"], {0, 1}),
        (["%matplotlib inline", "z = 1", "def f(): return 1"], {0, 2}),
        (["f = 1\nprint(f)", "other = 1", "def f(): return 1"], {0, 2}),
        (["class A:\n    k = q", "q = 1", "r = 1", "f = A"], {0, 1, 3}),
        (["import numpy as np", "np.seterr(all='raise')", "def f(): return np"], {0, 2}),
    ],
)
def test_the_cells_that_a_name_needs(cells: list[str], needed: set[int]) -> None:
    if cells[0] == "a = []":
        needed = {0, 1, 2, 3, 5}
    left = unneeded_cells(cells, [], ["f"])
    assert set(range(len(cells))) - left == needed


@pytest.mark.parametrize("odd", ["def (", "x = '\ud800'", "\0", "(" * 5000, "#" * 200_000])
def test_a_cell_that_cannot_be_read_is_needed(odd: str) -> None:
    assert unneeded_cells([odd, "y = 1"], [], ["f"]) == {1}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_tasks_of_a_notebook_need_few_of_its_cells(file: Path) -> None:
    """A class of a hundred is graded in time because of this."""
    source = read_notebook(file)
    cells = [cell for cell in source.cells if cell.cell_type == "code"]
    wanted = [k for k, cell in enumerate(cells) if "exercise" in cell.metadata.get("tags", [])]
    names = [answer_of(check)[0] for check in checks_of(source.number).values()]
    left = unneeded_cells([solved(cell.source) for cell in cells], wanted, names)
    assert len(left) >= len(cells) / 2


# --- a class


@pytest.mark.parametrize(
    ("file", "student"),
    [
        ("in/ada@uni.org/03_convolution.ipynb", "ada@uni.org"),
        ("in/ada@uni.org_03_convolution.ipynb", "ada@uni.org"),
        ("in/ada@uni.org.ipynb", "ada@uni.org"),
        ("in/ada/03_convolution/03_convolution.ipynb", "ada"),
        ("in/Ada Lovelace_4711_assignsubmission_file/00b_x.ipynb", "Ada Lovelace_4711"),
        ("in/Ada Lovelace_4711_assignsubmission_file_00b_x.ipynb", "Ada Lovelace_4711"),
        ("in/ada/../bob/03_x.ipynb", "bob"),
    ],
)
def test_whose_notebook_it_is(file: str, student: str) -> None:
    assert student_of(file) == student


def test_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = hand_in(tmp_path, ada=RIGHT, bob=WRONG, eve="import os; os.kill(os.getppid(), 9)")
    out, marks = tmp_path / "out", tmp_path / "marks.csv"
    bad = tmp_path / "zoe@uni.example" / "01_reverse_mode.ipynb"
    bad.parent.mkdir()
    bad.write_text("no notebook", "utf-8")
    options = ("--jobs", "2", "--out", str(out), "--csv", str(marks))
    assert command("course", "grade", *files, str(bad), *options) == 1
    said = capsys.readouterr().out
    assert "3 notebooks: 1 of 9 points" in said and "cannot be graded" in said
    head, *rows = table(marks)
    assert head == ["Student", "Task 01.1", "Task 01.2", "Task 01.3", "Points", "Feedback"]
    assert [row[0] for row in rows] == [
        f"{who}@uni.example" for who in ("ada", "bob", "eve", "zoe")
    ]
    assert [row[1:5] for row in rows] == [
        ["1", "0", "0", "1"],
        ["0", "0", "0", "0"],
        ["0", "0", "0", "0"],
        ["-", "-", "-", "-"],  # Moodle: no mark
    ]
    told = {
        who: (out / "feedback" / f"{who}@uni.example" / "01_reverse_mode.txt").read_text("utf-8")
        for who in ("ada", "bob", "eve", "zoe")
    }
    assert [row[5] for row in rows] == list(told.values())
    assert "Task 01.1: a product\n  passed (1 of 1)" in told["ada"]
    assert re.search(r"  wrong \(0 of 1\)\n  .+\n  where: .+\n  hint: .+", told["bob"])
    for who, text in told.items():
        assert not [other for other in told if other != who and f"{other}@" in text]
    # Everything is there: nothing runs again, and the same is said.
    before = (out / "grades.jsonl").read_text("utf-8")
    marks.unlink()
    assert command("course", "grade", *files, *options) == 1
    assert "3 notebooks: 1 of 9 points" in capsys.readouterr().out
    assert (out / "grades.jsonl").read_text("utf-8") == before
    assert table(marks) == [head, *rows[:3]]


def test_a_second_start_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = hand_in(tmp_path, ada=RIGHT, bob=WRONG)
    out = tmp_path / "out"
    ran: list[str] = []

    def graded(file: str, *unused: Any) -> dict[str, Any]:
        ran.append(file)
        if file == files[1] and len(ran) == 2:
            raise KeyboardInterrupt
        row = {"file": file, "notebook": "01", "points": 1, "worth": 1, "tasks": []}
        return {"file": file, "error": "x"} if len(ran) == 4 else row

    monkeypatch.setattr("minran.workshop.course.marks.in_own_process", graded)
    with pytest.raises(KeyboardInterrupt):
        list(Marks(files, SETTINGS, str(out)).grade(1))
    record = out / "grades.jsonl"
    record.write_bytes(record.read_bytes() + b'{"student": "bob", "key')  # a crash cut it off
    assert len(list(Marks(files, SETTINGS, str(out)).grade(1))) == 2
    assert ran == [files[0], files[1], files[1]]
    Path(files[0]).write_text(notebook(SETUP, WRONG), "utf-8")  # handed in anew
    for _ in range(2):  # and what could not be graded is tried again
        list(Marks(files, SETTINGS, str(out)).grade(1))
    assert ran[3:] == [files[0], files[0]]
    list(Marks(files, {**SETTINGS, "timeout": 9}, str(out)).grade(1))
    assert ran[5:] == files
    record.write_text("no record\n", "utf-8")
    with pytest.raises(DataError, match="no record of grades"):
        Marks(files, SETTINGS, str(out))


def test_moodles_addresses(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(
        "\ufeffIdentifier,Full name,Email address\nParticipant 4711,Ada,ada@uni.example\n", "utf-8"
    )
    file = f"{tmp_path}/Ada Lovelace_4711_assignsubmission_file/01_x.ipynb"
    assert Marks([file], SETTINGS, worksheet=str(sheet)).students == {file: "ada@uni.example"}
    with pytest.raises(RecipeError, match=r"no participant for .*Bob_12"):
        Marks(
            [f"{tmp_path}/Bob_12_assignsubmission_file/01_x.ipynb"],
            SETTINGS,
            None,
            None,
            str(sheet),
        )


def test_one_notebook_twice(tmp_path: Path) -> None:
    files = hand_in(tmp_path, ada=RIGHT)
    copy = Path(files[0]).with_name("01_again.ipynb")
    copy.write_text(notebook(SETUP, RIGHT), "utf-8")
    with pytest.raises(RecipeError, match="handed in notebook 01 twice"):
        Marks([*files, str(copy)], SETTINGS, str(tmp_path / "out"))


def test_the_table_holds_no_formulas(tmp_path: Path) -> None:
    file = str(tmp_path / "=cmd()|x.ipynb")
    marks = Marks([file], SETTINGS, None, str(tmp_path / "m.csv"))
    list(marks.grade(1))
    assert table(tmp_path / "m.csv")[1][0] == "'=cmd()|x"


def test_a_grader_that_ends_costs_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minran.workshop.course.marks._begin", os._exit)
    row = in_own_process("a.ipynb", frozenset(), 1, {})
    assert "its grader ended without a word" in row["error"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_when_the_command_is_killed_nothing_goes_on(tmp_path: Path) -> None:
    (file,) = hand_in(tmp_path, ada="import time\ntime.sleep(100)")
    words = [sys.executable, "-m", "minran", "course", "grade", file, "--out", str(tmp_path / "o")]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    # command, grader (and multiprocessing's tracker), wall, first process inside, student
    wait(lambda: len(below(process.pid)) >= 5)
    begun = below(process.pid)
    process.kill()
    process.wait()
    wait(lambda: not begun & running().keys())


def running() -> dict[int, int]:
    """The parent of every process that is no zombie."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (place / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(place.name)] = int(parent)
    return found


def below(pid: int) -> set[int]:
    parents, found = running(), {pid}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_feedback_of_a_student_copy_says_blank() -> None:
    row = {"notebook": "01", "points": 0, "worth": 1, "tasks": []}
    task = {"task": "01.1", "sentence": "do it", "status": "blank", "points": 0, "worth": 1}
    row["tasks"] = [{**task, "message": "the answer is still blank", "where": "", "hint": ""}]
    assert feedback(row) == (
        "Notebook 01: 0 of 1 points\n\nTask 01.1: do it\n  blank (0 of 1)\n"
        "  the answer is still blank\n"
    )
