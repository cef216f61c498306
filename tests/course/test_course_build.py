"""Reading notebooks, taking solutions out, and the copies."""

from __future__ import annotations

from pathlib import Path

import pytest
from course_helpers import HEADER, write
from nbformat.v4 import new_output

from minran.errors import DataError
from minran.workshop.course.copies import (
    BEGIN,
    END,
    blank,
    build_copies,
    build_pairs,
    drifted_pairs,
    make_copy,
    make_pair,
    notebook_files,
    read_notebook,
    read_pair,
    solved,
    to_text,
)

TITLE = '# %% [markdown]\n# # 01 · Small\n\n# %% tags=["setup"]\nimport minran\n\n'
TASK = """# %% tags=["exercise"]
# Task 01.1: double it
def double(x):
    ### BEGIN SOLUTION
    y = x + x
    return y
    ### END SOLUTION


# %% tags=["check"] points=3
check("01.1", double)
"""


OURS = "  # your code here\n"
NOTHING = 'raise NotImplementedError("Task 01.1")'
BLANKS = {
    "a function": ("def f(x):\n    @    return 2 * x\n    #", f"def f(x):\n    {NOTHING}"),
    "what is around a block stays": (
        "def f(x):\n    y = 1\n    @    y = 2\n\n    #\n    return y",
        f"def f(x):\n    y = 1\n    {NOTHING}\n    return y",
    ),
    "assignments": (
        "@a, b = 1, 2\nc: int = 3\na = 4\n\n#\nprint(a)",
        f"a = ...{OURS}b = ...{OURS}c = ...{OURS}print(a)",
    ),
    "a function at the top level": (
        "@def f(x, *, k=1):\n    return x\n#",
        f"def f(x, *, k=1):\n    {NOTHING}",
    ),
    "two blocks": (
        "@a = 1\n#\nb = 2\n@c = 3\n#",
        f"a = ...{OURS}b = 2\nc = ...{OURS}".rstrip(),
    ),
}
"""@ begins a solution, # ends it."""


@pytest.mark.parametrize("name", BLANKS)
def test_what_becomes_blank(name: str) -> None:
    short, expected = BLANKS[name]
    source = short.replace("#", END).replace("@", f"{BEGIN}\n")
    assert blank(source, "01.1") == expected
    if name == "a function":
        assert solved(source) == "def f(x):\n    return 2 * x"


def test_copies(tmp_path: Path) -> None:
    more = '# %% [markdown] tags=["teacher"]\n# For teachers.\n'
    notebook = write(tmp_path, TITLE + TASK + "\n" + more)
    texts = {kind: to_text(make_copy(notebook, kind)) for kind in ("student", "solution", "pair")}
    teacher = make_copy(notebook, "teacher")
    assert "x + x" not in texts["student"] and "details" not in texts["student"]
    assert "x + x" in texts["solution"] and "BEGIN SOLUTION" not in texts["solution"]
    assert "<summary>Solution of task 01.1" in texts["pair"]
    assert [cell.cell_type for cell in teacher.cells].count("markdown") == 2
    assert "For teachers" not in texts["student"]
    check = teacher.cells[3].metadata["nbgrader"]
    assert check == {
        "grade": True,
        "grade_id": "check-01-1",
        "locked": True,
        "points": 3,
        "schema_version": 3,
        "solution": False,
        "task": False,
    }
    answer = teacher.cells[2].metadata["nbgrader"]
    assert answer["solution"] and not answer["grade"] and "points" not in answer
    assert "points" not in teacher.cells[3].metadata


def test_copies_are_the_same_every_time(tmp_path: Path) -> None:
    notebook = write(tmp_path, TITLE + TASK)
    for kind in ("pair", "student", "solution", "teacher"):
        assert to_text(make_copy(notebook, kind)) == to_text(make_copy(notebook, kind))
    build_copies(tmp_path, tmp_path / "a")
    build_copies(tmp_path, tmp_path / "b")
    first = sorted((tmp_path / "a").rglob("*.ipynb"))
    assert len(first) == 3
    for file in first:
        twin = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert file.read_bytes() == twin.read_bytes()


def test_pairs_drift(tmp_path: Path) -> None:
    write(tmp_path, TITLE + TASK)
    assert list(drifted_pairs(tmp_path)) == ["01_small.ipynb"]
    assert [file.name for file in build_pairs(tmp_path)] == ["01_small.ipynb"]
    assert build_pairs(tmp_path) == list(drifted_pairs(tmp_path)) == []
    pair = tmp_path / "01_small.ipynb"
    pair.write_text(pair.read_text(encoding="utf-8").replace("double it", "double"), "utf-8")
    (tmp_path / "02_gone.ipynb").write_text("{}", "utf-8")
    assert list(drifted_pairs(tmp_path)) == ["01_small.ipynb", "02_gone.ipynb"]


def shown(folder: Path) -> list[str]:
    """What the code cells of the pair show, after it was built anew."""
    build_pairs(folder)
    pair = read_pair(read_notebook(folder / "01_small.py"))
    outputs = [cell.outputs for cell in pair.cells if cell.cell_type == "code"]
    return [one[0]["text"] for one in outputs if one]


def test_a_pair_keeps_the_outputs_of_its_code(tmp_path: Path) -> None:
    notebook = write(tmp_path, TITLE + TASK)
    outputs = [[new_output("stream", text=text)] for text in "abc"]
    pair = tmp_path / "01_small.ipynb"
    pair.write_text(to_text(make_pair(notebook, outputs)), "utf-8")
    assert drifted_pairs(tmp_path) == {} and shown(tmp_path) == ["a", "b", "c"]
    for kind in ("student", "solution", "teacher"):
        assert '"stdout"' not in to_text(make_copy(notebook, kind))
    write(tmp_path, TITLE + "# %% [markdown]\n# More.\n\n" + TASK)
    assert list(drifted_pairs(tmp_path)) == ["01_small.ipynb"]
    assert shown(tmp_path) == ["a", "b", "c"]
    kept = pair.read_text(encoding="utf-8")
    pair.write_text(kept.replace('"b"', '"x"'), "utf-8")  # of no run
    assert shown(tmp_path) == []
    pair.write_text(kept, "utf-8")
    assert shown(tmp_path) == ["a", "b", "c"]
    write(tmp_path, TITLE + "# %% [markdown]\n# More.\n\n" + TASK.replace("x + x", "2 * x"))
    assert shown(tmp_path) == [], "the solution gave them, too"
    pair.write_text("no notebook", "utf-8")
    assert shown(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TITLE.replace("01 ·", "02 ·") + TASK, "must begin with"),
        (TITLE + TASK.replace("# Task 01.1: double it", "# double"), "must begin with"),
        (TITLE + TASK.replace('["check"]', '["other"]'), 'must be tagged "check"'),
        (TITLE + TASK.replace("### END SOLUTION", ""), "has no block"),
        (TITLE + '# %% tags=["check"]\ncheck("01.1", 3)\n', "without an exercise"),
    ],
)
def test_what_is_out_of_place_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path, text)


def test_headers_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "02_other.py"
    file.write_text(HEADER + TITLE, encoding="utf-8")
    with pytest.raises(DataError, match=r"minran\.number is 1"):
        read_notebook(file)
    file.write_text(HEADER.replace("#     minutes: 10\n", "") + TITLE, encoding="utf-8")
    with pytest.raises(DataError, match=r"lacks minran\.minutes"):
        read_notebook(file)
    with pytest.raises(DataError, match="there are no notebooks"):
        notebook_files(tmp_path / "nothing")
    with pytest.raises(DataError, match="is named like"):
        read_notebook(tmp_path / "notes.py")
