"""`my_minran.py`: what a check keeps there, and the network that trains with it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
from course_helpers import NOTEBOOKS, wrong_answers

from minran.course import check, train_mine
from minran.errors import DataError
from minran.workshop.course import train_mine as project
from minran.workshop.course.checking import NBGRADER, Outcome, judge
from minran.workshop.course.copies import run_cells, solved_pieces
from minran.workshop.course.kept import FILE, keep, section

WRONG = wrong_answers()
CELLS = [
    "import numpy as np, math\nfrom minran import nn, ops\nfrom my_minran import gated",
    "HALF = 0.5\ndef unused():\n    pass",
    "get_ipython().run_line_magic('time', '')",
    "this does not parse",
    "# how to double\ndef twice(x):\n    return x / HALF",
    "# Task 01.1: it\ndef answer(x):\n    unused = x\n    return np.abs(twice(x)) + other(x)",
    "def other(x):\n    return math.pi\nprint(answer(3))",
]


def test_a_section_holds_what_the_answer_needs_and_no_more() -> None:
    text = section("answer", CELLS, {"answer", "other"})
    assert text == (
        "import numpy as np\n\n\nHALF = 0.5\n\n\n# how to double\ndef twice(x):\n"
        "    return x / HALF\n\n\n# Task 01.1: it\ndef answer(x):\n    unused = x\n"
        "    return np.abs(twice(x)) + other(x)"
    )
    assert "math.pi" in str(section("answer", CELLS, set()))
    assert section("HALF", CELLS, set()) is section("nothing", CELLS, set()) is None


def test_the_last_definition_counts_and_recursion_ends() -> None:
    cells = [
        "def f(n):\n    return 1",
        "@trace\ndef f(n):\n    return f(n - 1)",
        "def trace(f): ...",
    ]
    assert section("f", cells, {"f"}) == (
        "def trace(f): ...\n\n\n@trace\ndef f(n):\n    return f(n - 1)"
    )
    assert section("f", ["from a import b as f"], set()) is None


def answer(value: int) -> list[str]:
    return [f"def f():\n    return {value}", f"def g():\n    return {value}"]


def kept(file: Path, task: str, name: str, value: int) -> str:
    return keep(task, name, answer(value), {"f", "g"}, file)


def run(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(file.read_text("utf-8"), found)
    return found


def test_the_file_grows_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    file = tmp_path / FILE
    assert kept(file, "03.1", "g", 1) == f"Kept in {file}."
    kept(file, "00b.2", "f", 1)
    text = file.read_text("utf-8")
    assert text.index("task 00b.2") < text.index("def f") < text.index("task 03.1")
    kept(file, "00b.2", "f", 2)
    assert (run(file)["f"](), run(file)["g"]()) == (2, 1)
    kept(file, "00b.2", "f", 1)
    assert file.read_text("utf-8") == text, "the same answers make the same file"


def test_what_was_written_by_hand_stays(tmp_path: Path) -> None:
    file = tmp_path / FILE
    kept(file, "03.1", "f", 1)
    kept(file, "03.2", "g", 1)
    edited = file.read_text("utf-8").replace("return 1", "return 7", 1)
    edited = edited.replace('"""My', '"""Ada\'s own words. My').replace("\n", "\r\n")
    file.write_bytes(edited.encode())
    assert "edited by hand" in kept(file, "03.1", "f", 2)
    assert "Kept" in kept(file, "03.2", "g", 2)
    assert (run(file)["f"](), run(file)["g"]()) == (7, 2)
    assert "Ada's own words" in file.read_text("utf-8")

    file.write_text("def f():\n    return 8\n", encoding="utf-8")
    assert "outside of the section of task 03.1" in kept(file, "03.1", "f", 2)
    assert run(file)["f"]() == 8

    file.unlink()
    kept(file, "03.1", "f", 1)
    twice = file.read_text("utf-8") * 2
    file.write_text(twice, encoding="utf-8")
    assert "two sections of task 03.1" in kept(file, "03.1", "f", 2)
    assert file.read_text("utf-8") == twice


def test_what_cannot_be_kept_is_said(tmp_path: Path) -> None:
    file = tmp_path / FILE
    assert "function or class named h" in kept(file, "03.1", "h", 1)
    assert not file.exists()
    file.write_bytes(b"\xff\xfe\x00")
    assert kept(file, "03.1", "f", 1).startswith("Not kept")
    assert kept(tmp_path / "nowhere" / FILE, "03.1", "f", 1).startswith("Not kept")


def test_only_a_notebook_keeps_what_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "# Task 00.2: gate\ndef gated(M, T):\n    return (1 + M) * T"
    found: dict[str, Any] = {}
    exec(text, found)
    check("00.2", found["gated"])
    assert not Path(FILE).exists(), "there is no notebook"
    shell = SimpleNamespace(user_ns={"In": ["", text]})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    check("00.2", lambda M, T: M * T)
    check("00.2", lambda M, T: T + M * T)
    assert "class named gated" in capsys.readouterr().out and not Path(FILE).exists()
    check("02.3", "average pool")
    assert "ept in" not in capsys.readouterr().out, "a word is not for the file"
    monkeypatch.setenv(NBGRADER, "autograde")
    check("00.2", found["gated"])
    assert not Path(FILE).exists()
    monkeypatch.delenv(NBGRADER)
    check("00.2", found["gated"])
    assert capsys.readouterr().out.endswith(f"Task 00.2: passed\nKept in {FILE}.\n")
    check("00.2", project.read_pieces(Path(FILE))["gated"])
    assert capsys.readouterr().out == "Task 00.2: passed\n", "imported from there"


def test_a_kernel_keeps_its_answers() -> None:
    """In a real kernel, with IPython's own record of the cells."""
    sources = [
        "import numpy as np\nfrom minran.course import check",
        "def vjp_sum(gy, shape, axis):\n    return np.ones(shape) * helper(gy, axis)",
        "def helper(gy, axis):\n    return np.expand_dims(gy, axis)",
        'check("01.2", vjp_sum)',
        "%reset -f",
        "from my_minran import np, vjp_sum\nprint(vjp_sum(np.ones(2), (2, 1), 1))",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    result = run_cells(nbformat.v4.new_notebook(cells=cells))
    assert not [place for place in range(len(cells)) if result.error(place)]
    texts = ["".join(out.get("text", "") for out in cell.outputs) for cell in result.node.cells]
    assert texts[3] == f"Task 01.2: passed\nKept in {FILE}.\n"
    assert texts[5] == "[[1.]\n [1.]]\n"


# --- the network


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("solved")
    solved_pieces(NOTEBOOKS, "10", folder / FILE)
    return folder


@pytest.fixture
def short(solved: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two steps, in the folder where everything is solved."""
    monkeypatch.setattr(project, "STEPS", 2)
    monkeypatch.chdir(solved)
    return solved


def test_all_pieces_match_the_library(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(project.read_pieces(short / FILE)) == list(project.TASKS)
    train_mine()
    printed = capsys.readouterr().out
    assert "18 pieces are yours. From the library: none." in printed
    assert "Your pieces match the library" in printed


def test_each_piece_takes_part(short: Path) -> None:
    """What a piece returns reaches the losses: with one that fails, training fails."""
    pieces = project.read_pieces(short / FILE)

    def failing(*args: Any, **options: Any) -> Any:
        raise ZeroDivisionError

    for name in project.TASKS:
        if name == "col2im":  # is called by conv2d_backward
            pieces["conv2d_backward"].__globals__["col2im"] = failing
            used = {"conv2d_backward": pieces["conv2d_backward"]}
        elif isinstance(pieces[name], type):
            used = {name: type(name, (pieces[name],), {"forward": failing})}
        else:
            used = {name: failing}
        with pytest.raises(ZeroDivisionError):
            project.train_with(used)


def test_missing_pieces_are_named_and_can_be_borrowed(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    train_mine()
    assert f"{FILE} has no gated (task 00.2), linear_logits (task 00b.1)" in capsys.readouterr().out
    text = (short / FILE).read_text("utf-8")
    Path(FILE).write_text(text.replace("def reverse(", "def old("), encoding="utf-8")
    train_mine(borrow=["gated"])
    printed = capsys.readouterr().out
    assert f"{FILE} has no reverse (task 01.3)." in printed
    assert "train_mine(borrow=['gated', 'reverse'])" in printed and "loss" not in printed
    train_mine(borrow=["gated", "reverse"])
    printed = capsys.readouterr().out
    assert "16 pieces are yours. From the library: gated, reverse." in printed
    assert "match the library:" in printed


@pytest.mark.parametrize("name", project.TASKS)
def test_a_wrong_piece_is_named_with_a_hint(
    name: str, short: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The planted wrong answers of its task, in the place of the piece."""
    pieces = project.read_pieces(short / FILE)
    (_, wrong, *_), *_ = WRONG[project.TASKS[name]]
    monkeypatch.setattr(project, "read_pieces", lambda file: {**pieces, name: wrong})
    passed = {pieces[one]: Outcome(project.TASKS[one], "passed") for one in pieces if one != name}
    monkeypatch.setattr(project, "judge", lambda task, one: passed.get(one) or judge(task, one))
    train_mine()
    printed = capsys.readouterr().out
    assert printed.startswith(f"{name} in {FILE}: Task {project.TASKS[name]}: not yet - ")
    assert "hint:" in printed and "loss" not in printed


def test_a_piece_that_only_the_network_shows_wrong_is_found(
    short: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each check passes, and the running variance is not corrected: only the test loss shows it."""
    pieces = project.read_pieces(short / FILE)
    (what, wrong), *_ = WRONG["04.2"]
    assert what == "biased variance"
    monkeypatch.setattr(project, "read_pieces", lambda file: {**pieces, "update_running": wrong})
    monkeypatch.setattr(project, "judge", lambda task, one: Outcome(task, "passed"))
    train_mine()
    printed = capsys.readouterr().out
    assert "do not match the library" in printed and "these differ: update_running." in printed


def test_files_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(FILE).write_text("def reverse(:", encoding="utf-8")
    with pytest.raises(DataError, match=f"{FILE} cannot be run: SyntaxError"):
        train_mine()
    with pytest.raises(DataError, match="did you mean 'col2im'"):
        train_mine(borrow=["col2img"])


def test_the_tolerance_follows_from_float32() -> None:
    right, rough = np.array([2.0, 3.0, 4.0]), np.array([2.0, 3.5, 4.0])
    terms = project.BATCH * project.SIDE**2 / 2**29
    expected = [2 / 2**24 * terms, 0.5 * terms, 0.5 * terms]
    assert np.allclose(project.tolerance(right, rough), expected, rtol=1e-12, atol=0)
    assert not project.agree(np.array([np.nan]), np.ones(1), np.ones(1))
