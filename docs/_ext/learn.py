"""The notebooks of the course as pages: every task with its blank, its solution and the output.

A page is made from `notebooks/NN_name.py`. It is run as the solution copy is, by
`minran.workshop.course.copies` (offline, in a folder with the solutions of the notebooks before it,
`my_minran.py`); `MINRAN_EXECUTED` names the folder
where notebooks that ran are kept, and `pytest notebooks` fills the same folder, so that nothing
runs twice. `MINRAN_DOCS_EXECUTE=0` shows the pages without outputs.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
from lines import in_page

from minran.workshop.course.copies import (
    Notebook,
    blank,
    code_cells,
    make_copy,
    notebook_files,
    read_notebook,
    run_cells,
    to_text,
)

_COLOURED = re.compile(r"\{\\color\{#\w+\}\{(([gMTH])\w*)\}\}")
_LINK = re.compile(r"\]\((\d\d[a-z]?_[a-z0-9_]+)\.py\)")


def write_pages(source: Path, target: Path, kept: Path, execute: bool) -> list[Path]:
    """Write a page for every notebook that differs from the one there; returns all pages."""
    target.mkdir(parents=True, exist_ok=True)
    pages = []
    for file in notebook_files(source):
        notebook = read_notebook(file)
        node = executed(notebook, kept) if execute else make_copy(notebook, "solution")
        page = target / f"{file.stem}.ipynb"
        text = to_text(as_page(notebook, node))
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
        pages.append(page)
    for old in target.glob("[0-9][0-9]*_*.ipynb"):
        if old not in pages:
            old.unlink()
    return pages


def executed(notebook: Notebook, kept: Path) -> Any:
    """The solution copy with its outputs: of the one kept, if its code is the same, or run now."""
    node = make_copy(notebook, "solution")
    file = kept / f"{notebook.path.stem}.ipynb"
    if file.exists():
        old, new = (code_cells(one) for one in (nbformat.read(file, as_version=4), node))
        if [cell.source for cell in old] == [cell.source for cell in new]:
            for cell, kept_one in zip(new, old):
                cell.outputs = kept_one.outputs
            return node
    print(f"running {notebook.path.name}", flush=True)
    most = max(300.0, 10 * notebook.seconds)
    result = run_cells(node, timeout=most, cell_timeout=300, earlier=notebook.path.parent)
    keep(notebook, result, kept)
    return result.node


def keep(notebook: Notebook, result: Any, kept: Path) -> None:
    """Write a notebook that ran to the folder; RuntimeError if a cell of it failed."""
    for index, cell in enumerate(result.node.cells):
        error = result.error(index) or result.left_out.get(index)
        if error and "raises-exception" not in cell.metadata.get("tags", []):
            raise RuntimeError(f"{notebook.path.name}: {error}\nin the cell\n{cell.source}")
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{notebook.path.stem}.ipynb").write_text(to_text(result.node), encoding="utf-8")


def as_page(notebook: Notebook, node: Any) -> Any:
    """The solution copy for readers: the blank of each task, then its solution folded away."""
    page = nbformat.v4.new_notebook(metadata=node.metadata)
    # Sphinx shall neither run it nor look for its language.
    tasks = {f"task-{task.name.replace('.', '-')}": task for task in notebook.tasks}
    for cell in node.cells:
        task = tasks.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
        if task is not None:
            stub = blank(notebook.cells[task.exercise].source, task.name)
            page.cells.append(
                nbformat.v4.new_markdown_cell(f"```python\n{stub}\n```", id=f"{cell.id}-blank")
            )
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
            words = f"Solution of task {task.name}"
            cell.metadata["mystnb"] = {
                "code_prompt_show": words,
                "code_prompt_hide": words,
            }
        elif "setup" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata["tags"], "hide-input"]
            cell.metadata["mystnb"] = {
                "code_prompt_show": "What is imported",
                "code_prompt_hide": "What is imported",
            }
        for output in cell.get("outputs", []):
            if svg := output.get("data", {}).pop("image/svg+xml", None):
                output["data"]["text/html"] = svg  # in the page itself, where a click folds a box
            elif "minran-source" in (html := output.get("data", {}).get("text/html", "")):
                output["data"]["text/html"] = in_page(html)
        if cell.cell_type == "markdown":
            text = _LINK.sub(r"](\1.ipynb)", cell.source)
            text = _COLOURED.sub(r"\\class{symbol-\2}{\1}", text)  # light and dark, by minran.css
            cell.source = text.replace("](../docs/", "](../")  # the pages lie in docs/learn
        page.cells.append(cell)
    return page


def contents(source: Path) -> str:
    """A table of the course: title, minutes, tasks."""
    rows = ["| notebook | minutes | tasks |", "|---|---:|---:|"]
    for file in notebook_files(source):
        notebook = read_notebook(file)
        title = f"[{notebook.number} · {notebook.title}]({file.stem}.ipynb)"
        rows.append(f"| {title} | {notebook.minutes:.0f} | {len(notebook.tasks)} |")
    return "\n".join(rows) + "\n"


def from_environment(docs: Path) -> list[Path]:
    """Write the pages as the environment says; see the top of this file."""
    table = docs / "_generated" / "course.md"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(contents(docs.parent / "notebooks"), encoding="utf-8")
    kept = Path(os.environ.get("MINRAN_EXECUTED") or docs / "_build" / "executed")
    execute = os.environ.get("MINRAN_DOCS_EXECUTE", "1") != "0"
    return write_pages(docs.parent / "notebooks", docs / "learn", kept, execute)
