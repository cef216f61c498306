"""Run every notebook with its solutions: offline, without an error, within its time.

pytest notebooks              all of them
pytest notebooks -k 03        one

With MINRAN_EXECUTED=FOLDER the notebooks are written there with their outputs; the documentation
takes them from there, so that nothing runs twice.

The committed .ipynb have outputs of an earlier run. Where a cell now gives outputs of another kind,
or shows another source, they are out of date.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from minran.workshop.course.copies import (
    code_cells,
    make_copy,
    read_notebook,
    read_pair,
    run_cells,
    to_text,
)

sys.path.append(str(Path(__file__).parents[1] / "docs" / "_ext"))
from outputs import gist, of_a_task

FILES = sorted(
    Path(__file__).parent.glob("[0-9][0-9]*_*.py"),
    key=lambda file: (-read_notebook(file).seconds, file.name),
)
"""The longest first: one that began last would run alone."""
FACTOR = 5
"""So many times the seconds that a notebook declares (on a quiet machine) it may take: CI runs two
at once, and not every machine of its is as fast."""
AT_LEAST = 10.0
"""Declared seconds below this are not told apart from the noise of a busy machine."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_notebook_runs(file: Path) -> None:
    notebook = read_notebook(file)
    allowed = FACTOR * max(notebook.seconds, AT_LEAST)
    node = make_copy(notebook, "solution")
    result = run_cells(node, timeout=allowed, cell_timeout=allowed, earlier=file.parent)
    assert not result.left_out, {
        result.node.cells[index].source: why for index, why in result.left_out.items()
    }
    for index, cell in enumerate(result.node.cells):
        error = result.error(index)
        expected = "raises-exception" in cell.metadata.get("tags", [])
        assert error is None or expected, f"{error}\nin the cell\n{cell.source}"
        # What `show_kernel` says of a note whose line has gone from the kernel.
        assert "no longer in the source" not in str(cell.get("outputs", "")), cell.source
    statuses = {task: record["status"] for task, record in result.records.items()}
    assert statuses == {task.name: "passed" for task in notebook.tasks}
    if folder := os.environ.get("MINRAN_EXECUTED"):
        kept = Path(folder) / f"{file.stem}.ipynb"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(to_text(result.node), encoding="utf-8")
    kept_and_new = zip(code_cells(read_pair(notebook)), code_cells(result.node), strict=True)
    for old, new in kept_and_new:
        same = of_a_task(new) or gist(old.outputs) == gist(new.outputs)
        assert same, f"run `python docs/_ext/outputs.py {notebook.number}`: {new.source}"
    print(f"{file.stem}: {result.seconds:.1f} s, declared {notebook.seconds:.0f} s")
