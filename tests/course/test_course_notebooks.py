"""Every notebook of the course: its form, its pair, and checks that tell right from wrong."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from course_helpers import FILES, NOTEBOOKS, names, run_tasks, wrong_answers

from minran.workshop.course.checking import checks_of, judge
from minran.workshop.course.checks import NOTEBOOKS as NOTEBOOKS_OF
from minran.workshop.course.copies import (
    code_cells,
    find_tasks,
    make_copy,
    read_notebook,
    read_pair,
    to_text,
)
from minran.workshop.course.show import read_kernel

every_notebook = pytest.mark.parametrize("file", FILES, ids=names)
TASKS = [task for file in FILES for task in checks_of(file.name.split("_")[0])]
WRONG = wrong_answers()
NOT_IN_THE_LIBRARY = {
    **dict.fromkeys(("00.1", "00b.2"), "what the learner finds or paints"),
    **dict.fromkeys(("07.1", "08.1", "08.3", "11.1", "11.2"), "counted by building the network"),
    **dict.fromkeys(("09.2", "09.3", "14.2", "15.2", "17.1"), "an equation that it never computes"),
    **dict.fromkeys((f"16.{k}" for k in range(1, 7)), "a test of the learner's own"),
    "17.2": "a kernel to read and to write anew: it stands before the task",
    **dict.fromkeys(("18.2", "18.3"), "not part of this network"),
}
"""The tasks whose answer has no counterpart that the notebook could show."""


@every_notebook
def test_the_form(file: Path) -> None:
    notebook = read_notebook(file)
    text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    start, end = text[0], "\n".join(text)
    for wanted in ("**You will be able to**", "**Time**", "**Needs**"):
        assert wanted in start, wanted
    for wanted in ("## Summary", "## Questions", "## References"):
        assert wanted in end, wanted
    assert notebook.number == "00" or re.search(r"\bpredict", end.split("\n## 1")[1]), "no question"
    questions = end.split("## Questions")[1]
    assert 3 <= questions.count("<details>") <= 6
    assert questions.count("<details>") == questions.count("</details>")
    minutes, seconds = re.search(r"\*\*Time\*\*: (\d+) minutes.*?in (\d+) seconds", start).groups()
    assert (float(minutes), float(seconds)) == (notebook.minutes, notebook.seconds)
    assert notebook.seconds <= 60
    assert "setup" in notebook.cells[1].metadata.get("tags", [])
    assert notebook.number == "00" or notebook.tasks, "an exercise is missing"


@every_notebook
def test_plotting_is_folded(file: Path) -> None:
    """Cells of which four lines or more draw are folded, on the site and in JupyterLab."""
    line = r"^.*(\b(axes|axis|figure|left|right)\b[.\[(]|new_figure|\b(dress|show|legend)\().*$"
    for cell in make_copy(read_notebook(file), "solution").cells:
        if cell.cell_type == "code" and len(re.findall(line, cell.source, re.M)) >= 4:
            assert cell.metadata.get("jupyter", {}).get("source_hidden"), cell.source


@every_notebook
def test_the_source_is_python(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"))


@every_notebook
def test_notes_beside_kernels_are_up_to_date(file: Path) -> None:
    """Each note of a `show_kernel` stands beside a line that is still there."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "show_kernel":
            shown = read_kernel(*map(ast.literal_eval, node.args))
            assert not shown.stale, f"{shown.where}: {shown.stale}"


@every_notebook
def test_the_pair_has_not_drifted(file: Path) -> None:
    pair = file.with_suffix(".ipynb")
    assert pair.exists(), "run `minran course build --pair`"
    node = read_pair(read_notebook(file))
    assert pair.read_text(encoding="utf-8") == to_text(node), "run `minran course build --pair`"
    assert "outputs" in node.metadata.minran, "run `python docs/_ext/outputs.py`"


PAIRS = [file.with_suffix(".ipynb") for file in FILES]
FREE = {"text/plain", "image/png"}
"""What every viewer shows."""


@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_the_outputs_of_a_pair(pair: Path) -> None:
    """They are what every viewer shows, small, of no machine, and none gives an answer away."""
    assert pair.stat().st_size <= 700_000
    some = 0
    for cell in code_cells(nbformat.read(pair, as_version=4)):
        assert not cell.outputs or "nbgrader" not in cell.metadata
        assert not cell.outputs or 'after="' not in cell.source
        assert cell.execution_count is None
        for output in cell.outputs:
            data = output.get("data", {})
            assert set(data) <= FREE or '<div class="minran-source">' in data["text/html"]
            if "image/png" in data:
                assert len(output.metadata["image/png"]["alt"]) >= 10, cell.source
                some += 1
            else:
                text = str(output)
                assert not re.search(r"/(tmp|home|root|work|usr|Users)\b|\w:\\\\", text), text
    assert some >= 1


def test_the_size_of_all_pairs() -> None:
    assert sum(pair.stat().st_size for pair in PAIRS) <= 5_000_000


def test_no_pair_is_an_orphan() -> None:
    sources = {file.stem for file in FILES}
    assert not [file for file in NOTEBOOKS.glob("*.ipynb") if file.stem not in sources]


def test_the_total_time() -> None:
    assert sum(read_notebook(file).seconds for file in FILES) <= 20 * 60


@every_notebook
def test_tasks_and_checks_match(file: Path) -> None:
    notebook = read_notebook(file)
    assert [task.name for task in notebook.tasks] == list(checks_of(notebook.number))


def test_no_checks_without_a_notebook() -> None:
    numbers = {number for numbers in NOTEBOOKS_OF.values() for number in numbers}
    assert numbers <= {file.name.split("_")[0] for file in FILES}


@every_notebook
def test_every_solution_passes(file: Path, tmp_path: Path) -> None:
    notebook = read_notebook(file)
    statuses = run_tasks(notebook, solution=True, folder=tmp_path)
    assert statuses == {task.name: "passed" for task in notebook.tasks}


@every_notebook
def test_every_blank_fails(file: Path, tmp_path: Path) -> None:
    notebook = read_notebook(file)
    statuses = run_tasks(notebook, solution=False, folder=tmp_path)
    assert statuses == {task.name: "blank" for task in notebook.tasks}


@every_notebook
def test_the_source_is_shown_after_its_check_and_not_before(file: Path) -> None:
    notebook = read_notebook(file)
    cells = [cell.source for cell in notebook.cells]
    for task in notebook.tasks:
        shown = [k for k, source in enumerate(cells) if f'after="{task.name}"' in source]
        assert bool(shown) != (task.name in NOT_IN_THE_LIBRARY), task.name
        assert not shown or task.check < shown[0], task.name


@pytest.mark.parametrize("task", TASKS)
def test_wrong_answers_fail_with_words_that_help(task: str) -> None:
    assert len(WRONG.get(task, [])) >= 2, f"task {task} needs two wrong answers at least"
    for what, answer, *words in WRONG[task]:
        outcome = judge(task, answer)
        assert outcome.status == "wrong", f"{what}: {outcome.status} {outcome.message}"
        assert outcome.message
        assert outcome.where or outcome.hint, what
        for one in words:
            assert one in str(outcome), f"{what}: {outcome}"


@every_notebook
def test_copies(file: Path) -> None:
    notebook = read_notebook(file)
    copies = {kind: make_copy(notebook, kind) for kind in ("student", "solution", "teacher")}
    for kind, node in copies.items():
        for task in notebook.tasks:
            (cell,) = [c for c in node.cells if f"# Task {task.name}:" in c.source]
            place = node.cells.index(cell)
            assert ("BEGIN SOLUTION" in cell.source) == (kind == "teacher")
            blank = "NotImplementedError" in cell.source or "your code here" in cell.source
            assert blank == (kind == "student")
            assert cell.metadata.nbgrader.solution
            check = node.cells[place + 1].metadata.nbgrader
            assert check.grade and check.locked and check.points >= 1
    for kind in ("student", "teacher"):  # nbgrader's students get the teacher's text
        text = "\n".join(c.source for c in copies[kind].cells if c.cell_type == "markdown")
        assert "details>" not in text and "Answer</summary>" not in text
        assert text.count("*Your answer:*") >= 3
    assert "Answer</summary>" in to_text(copies["solution"])
    assert not [c for node in copies.values() for c in code_cells(node) if c.outputs]
    teacher = [c for c in copies["teacher"].cells if c.cell_type == "code"]
    assert len(find_tasks(copies["teacher"].cells, "teacher")) == len(notebook.tasks)
    ids = [c.metadata.nbgrader.grade_id for c in teacher if "nbgrader" in c.metadata]
    assert len(ids) == len(set(ids)) == 2 * len(notebook.tasks)
