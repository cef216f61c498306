"""One source, four copies (`minran course build`), and running them for tests and pages.

A notebook of the course is written as a jupytext percent file. A task is a code cell tagged
"exercise" whose first line is `# Task 03.1: what to do`, followed directly by a code cell tagged
"check" that calls `check("03.1", answer)`. What lies between `### BEGIN SOLUTION` and
`### END SOLUTION` is taken out of a student's copy. The copies:

pair       `NN_name.ipynb` next to the source, for people who learn alone: blanks to fill in, and
           each solution folded away under its check; with the outputs of a run that had the
           solutions, so that it can be read without one (docs/_ext/outputs.py)
student    blanks; of a question's folded answer only the place is left
solution   everything filled in, answers folded
teacher    solutions between nbgrader's markers, no answers: the source of an nbgrader assignment,
           whose students get all that is not between markers

All carry nbgrader's cell metadata; the last three have no outputs. The same source gives the same
bytes.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minran import _version
from minran.errors import DataError, MinranError, expect, import_extra
from minran.inspect.themes import PAGES, in_colours
from minran.workshop.course.checking import RECORD, keep_answer, number_of
from minran.workshop.course.kept import FILE
from minran.workshop.course.show import PACKAGE

_OFFLINE = "import minran.workshop.course.copies as _; _.go_offline()"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
COPIES = ("student", "solution", "teacher")

_TASK = re.compile(r"# Task (\d\d[a-z]?\.\d+): (.+)")
_BLOCK = re.compile(rf"^([ \t]*){BEGIN}[ \t]*\n(.*?)^[ \t]*{END}[ \t]*$\n?", re.M | re.S)
_FOLDED = re.compile(r"<details>.*?</details>", re.S)
_NAME = re.compile(r"(\d\d[a-z]?)_[a-z0-9_]+\.py")


def need(module: str) -> Any:
    """Import what comes with the extra `notebooks`; MinranError says what is missing."""
    needs = f"this needs {module.split('.')[0]}, which is not installed"
    return import_extra(module, "notebooks", needs, MinranError)


@dataclass(frozen=True)
class Task:
    """One exercise: "03.1", its sentence, its cells' places, and what it is worth."""

    name: str
    sentence: str
    exercise: int
    check: int
    points: int = 1


@dataclass(frozen=True)
class Notebook:
    """A source notebook: its file, its number ("03", "00b"), its cells (of nbformat), its tasks."""

    path: Path
    number: str
    title: str
    minutes: float
    seconds: float
    cells: list[Any]
    metadata: dict[str, Any]
    tasks: list[Task]


# --- reading


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
    demand = _demands(path.name)
    demand(_NAME.fullmatch(path.name), "a notebook is named like 03_convolution.py")
    node = need("jupytext").reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    about = dict(node.metadata.get("minran", {}))
    missing = [key for key in ("number", "minutes", "seconds") if key not in about]
    demand(not missing, f"the header lacks minran.{', minran.'.join(missing)}")
    number = path.name.split("_")[0]
    says = f"minran.number is {about['number']}, the file's name says {number}"
    demand(number_of(about["number"]) == number, says)
    first = node.cells[0].source if node.cells else ""
    heading = f"# {number} · "
    demand(re.match(f"{heading}.", first), f'the first cell must begin with "{heading}TITLE"')
    title = first.removeprefix(heading).split("\n")[0].strip()
    minutes, seconds = float(about["minutes"]), float(about["seconds"])
    tasks = find_tasks(node.cells, path.name)
    return Notebook(path, number, title, minutes, seconds, list(node.cells), about, tasks)


def find_tasks(cells: list[Any], where: str) -> list[Task]:
    """The tasks of some cells, checked: each exercise has its check, blocks are closed."""
    demand, tasks = _demands(where), []
    tags = [cell.metadata.get("tags", []) for cell in cells]
    for index, cell in enumerate(cells):
        if "check" in tags[index]:
            demand(index and "exercise" in tags[index - 1], "a check without an exercise before it")
        if "exercise" in tags[index]:
            match = _TASK.match(cell.source)
            demand(match, 'an exercise must begin with "# Task NN.k: sentence"')
            name, sentence = match.groups() if match else ("", "")
            check = min(index + 1, len(cells) - 1)
            call = f'check("{name}"'
            demand(
                "check" in tags[check] and call in cells[check].source,
                f'the cell after task {name} must be tagged "check" and call {call}, ...)',
            )
            demand(_BLOCK.search(cell.source), f"task {name} has no block from {BEGIN} to {END}")
            points = int(cells[check].metadata.get("points", 1))
            tasks.append(Task(name, sentence.strip(), index, check, points))
    return tasks


def _demands(where: str) -> Callable[[Any, str], None]:
    return lambda condition, words: expect(bool(condition), f"{where}: {words}", DataError)


# --- blanks


def blank(source: str, task: str) -> str:
    """The cell with its solution taken out.

    Within a function the block becomes `raise NotImplementedError`; at the top level every name
    that the block assigns becomes `name = ...  # your code here`, and every function an empty one.
    """
    nothing = f'raise NotImplementedError("Task {task}")'

    def empty(match: re.Match[str]) -> str:
        margin, block = match.groups()
        lines = [nothing] if margin else _stubs(block, nothing)
        return "".join(f"{margin}{line}\n" for line in lines)

    return _BLOCK.sub(empty, source).rstrip("\n")


def _stubs(block: str, nothing: str) -> list[str]:
    """What stands in a blank for the statements of a block at the top level."""
    lines: list[str] = []
    for node in ast.parse(block).body:
        if isinstance(node, ast.FunctionDef):
            lines.append(f"def {node.name}({ast.unparse(node.args)}):\n    {nothing}")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                names = [part.id for part in parts if isinstance(part, ast.Name)]
                lines += [f"{name} = ...  # your code here" for name in names]
    return list(dict.fromkeys(lines)) or [nothing]


def solved(source: str) -> str:
    """The cell with its solution and without the markers."""
    return _BLOCK.sub(lambda match: match.group(2), source).rstrip("\n")


# --- copies


def make_copy(notebook: Notebook, kind: str) -> Any:
    """The nbformat notebook of one kind: "pair", "student", "solution" or "teacher"."""
    kinds = ("pair", *COPIES)
    expect(kind in kinds, f"a copy is one of {', '.join(kinds)}, got {kind!r}", DataError)
    nbformat = need("nbformat")
    node = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "minran": {**notebook.metadata, "copy": kind},
        }
    )
    tasks = {task.exercise: task for task in notebook.tasks}
    for index, original in enumerate(notebook.cells):
        if "teacher" in original.metadata.get("tags", []) and kind != "teacher":
            continue
        cell = copy.deepcopy(original)
        cell.id = f"n{notebook.number}-{index:03}"
        if cell.cell_type == "markdown":
            cell.source = in_colours(cell.source)
            if kind in ("student", "teacher"):
                cell.source = _FOLDED.sub("*Your answer:*", cell.source)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if "hide-input" in cell.metadata.get("tags", []):
                cell.metadata["jupyter"] = {"source_hidden": True}  # JupyterLab folds it
        if kind != "solution" and _version.REPOSITORY:
            _from_elsewhere(cell, index, notebook.path.stem, _version.REPOSITORY)
        node.cells.append(cell)
        if task := tasks.get(index):
            cell.metadata["nbgrader"] = _nbgrader(task, "task")
            if kind == "solution":
                cell.source = solved(cell.source)
            elif kind != "teacher":
                cell.source = blank(cell.source, task.name)
        elif task := tasks.get(index - 1):
            cell.metadata["nbgrader"] = _nbgrader(task, "check")
            cell.metadata.pop("points", None)
            if kind == "pair":
                code = re.sub(r"^# Task [^\n]*\n", "", solved(notebook.cells[index - 1].source))
                text = (
                    f"<details>\n<summary>Solution of task {task.name}</summary>\n\n"
                    f"```python\n{code}\n```\n\n</details>"
                )
                more = nbformat.v4.new_markdown_cell(text, metadata={"tags": ["solution"]})
                more.id = f"{cell.id}-solution"
                node.cells.append(more)
    nbformat.validate(node)
    return node


def _from_elsewhere(cell: Any, index: int, stem: str, repository: str) -> None:
    """Add to a cell what opens and runs the notebook in Colab: a badge, lines that install."""
    if index == 0:
        colab = "https://colab.research.google.com"
        page = f"{colab}{repository.removeprefix('https:/').replace('github.com', 'github')}"
        badge = f"[![Open in Colab]({colab}/assets/colab-badge.svg)]"
        title, _, rest = cell.source.partition("\n")
        cell.source = f"{title}\n\n{badge}({page}/blob/main/notebooks/{stem}.ipynb)\n{rest}"
    elif "setup" in cell.metadata.get("tags", []):
        cell.source = (
            "import importlib.util\nimport subprocess\nimport sys\n\n"
            'if importlib.util.find_spec("minran") is None:  # in Colab\n'
            f'    wheel = "minran[notebooks] @ git+{repository}"\n'
            '    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wheel], check=True)'
            f"\n\n{cell.source}"
        )


def _nbgrader(task: Task, role: str) -> dict[str, Any]:
    """nbgrader's metadata for a task's answer ("task") or its test ("check")."""
    is_check = role == "check"
    metadata: dict[str, Any] = {
        "grade": is_check,
        "grade_id": grade_id(task.name, role),
        "locked": is_check,
        "schema_version": 3,
        "solution": not is_check,
        "task": False,
    }
    # nbgrader's schema allows points only where something is graded.
    return {**metadata, "points": task.points} if is_check else metadata


def grade_id(task: str, role: str) -> str:
    """nbgrader's name for the cell of a task's answer ("task") or test ("check")."""
    return f"{role}-{task.replace('.', '-')}"


def to_text(node: Any) -> str:
    """The notebook as the text of an .ipynb file; the same notebook gives the same text."""
    text: str = need("nbformat").writes(node, indent=1, sort_keys=True, ensure_ascii=False)
    return text.rstrip("\n") + "\n"


def solved_pieces(folder: str | Path, before: str, file: Path) -> None:
    """Write `my_minran.py` as one has it who has solved all tasks of the notebooks before one."""
    sources = [one for one in notebook_files(folder) if one.name.split("_")[0] < before]
    for notebook in map(read_notebook, sources):
        cells = [solved(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
        for task in notebook.tasks:
            keep_answer(task.name, cells, file)


# --- outputs of a pair


def code_cells(node: Any) -> list[Any]:
    """The code cells of a notebook."""
    return [cell for cell in node.cells if cell.cell_type == "code"]


def make_pair(notebook: Notebook, outputs: list[Any], mark: str | None = None) -> Any:
    """The pair with outputs, a list for each code cell; without them if `mark` is of others.

    The mark in the metadata says what code gave which outputs: it differs when one of both does.
    """
    node = make_copy(notebook, "pair")
    code = [cell.source for cell in code_cells(make_copy(notebook, "solution"))]
    text = json.dumps([code, outputs], sort_keys=True)
    found = hashlib.sha256(text.encode()).hexdigest()
    if mark in (None, found):
        for cell, shown in zip(code_cells(node), outputs, strict=True):
            cell.outputs = shown
        node.metadata["minran"]["outputs"] = found
    return node


def read_pair(notebook: Notebook) -> Any:
    """The pair that the source makes, with the outputs of the file there if its code gave them."""
    nbformat, file = need("nbformat"), notebook.path.with_suffix(".ipynb")
    try:
        old = nbformat.reads(file.read_text(encoding="utf-8"), as_version=4)
    except (OSError, ValueError):  # no file, or none of JSON
        old = nbformat.v4.new_notebook()
    mark = old.metadata.get("minran", {}).get("outputs", "")
    return make_pair(notebook, [cell.outputs for cell in code_cells(old)], mark)


# --- files


def drifted_pairs(folder: str | Path) -> dict[str, str]:
    """The .ipynb files that are missing or not what their source makes.

    By name: what the source makes, or nothing where there is no source.
    """
    found = {}
    orphans = {file.name for file in Path(folder).glob("*.ipynb")}
    for file in notebook_files(folder):
        pair, text = file.with_suffix(".ipynb"), to_text(read_pair(read_notebook(file)))
        orphans.discard(pair.name)
        if not pair.exists() or pair.read_text(encoding="utf-8") != text:
            found[pair.name] = text
    return found | dict.fromkeys(sorted(orphans), "")


def build_pairs(folder: str | Path) -> list[Path]:
    """Write the .ipynb next to every source that differs from it; returns those written.

    One whose code has changed loses its outputs.
    """
    drifted = drifted_pairs(folder).items()
    return [_write(Path(folder) / name, text) for name, text in drifted if text]


def build_copies(folder: str | Path, out: str | Path) -> list[Path]:
    """Write out/student, out/solution and out/teacher; returns the files."""
    return [
        _write(Path(out) / kind / f"{notebook.path.stem}.ipynb", to_text(make_copy(notebook, kind)))
        for notebook in map(read_notebook, notebook_files(folder))
        for kind in COPIES
    ]


def _write(target: Path, text: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")
    return target


# --- running


@dataclass
class Execution:
    """What running a notebook gave.

    node: the notebook with its outputs. records: by task, the outcome that `check` wrote last.
    left_out: the cell that ended the run, if one did, and why. seconds: spent in cells; starting
    Python is not counted.
    """

    node: Any
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0

    def error(self, index: int) -> tuple[str, str] | None:
        """The error (name, message) that a cell raised, if it did."""
        for output in self.node.cells[index].get("outputs", []):
            if output.output_type == "error":
                return output.ename, output.evalue
        return None


def run_cells(
    node: Any,
    timeout: float = 600,
    cell_timeout: float = 120,
    earlier: str | Path | None = None,
) -> Execution:
    """Run a notebook (of nbformat) from top to bottom; the notebook itself stays as it is.

    It runs in a Jupyter kernel of its own: offline, in a new folder. A cell that raises an error
    does not stop the others; one that takes too long or ends the kernel does. Students' notebooks
    are run by `grade`.

    timeout: seconds for all cells together, cell_timeout: for one. earlier: a folder of sources;
    then the folder that it runs in has a `my_minran.py` with the solutions of those before it.
    """
    exceptions = need("nbclient.exceptions")
    need("ipykernel")
    result = Execution(copy.deepcopy(node))
    cells, left_out = result.node.cells, result.left_out
    client = need("nbclient").NotebookClient(
        result.node, allow_errors=True, kernel_name="python3", shutdown_kernel="immediate"
    )
    with tempfile.TemporaryDirectory(prefix="minran-course-", ignore_cleanup_errors=True) as folder:
        record, work = Path(folder) / "outcomes.jsonl", Path(folder) / "work"
        record.touch()
        work.mkdir()
        if earlier is not None:
            solved_pieces(earlier, number_of(node.metadata["minran"]["number"]), work / FILE)
        # What the process itself says, IPython's start-up warnings, is of no use here.
        quiet = subprocess.DEVNULL
        with client.setup_kernel(env=_environment(record), cwd=str(work), stderr=quiet):
            client.timeout = 120  # a busy machine may need long to import NumPy
            cells.append(need("nbformat").v4.new_code_cell(_OFFLINE))
            client.execute_cell(cells[-1], len(cells) - 1)
            cells.pop()
            deadline = time.monotonic() + timeout
            for index, cell in enumerate(cells):
                if cell.cell_type != "code":
                    continue
                started = time.monotonic()
                left = min(cell_timeout, deadline - started)
                if left <= 0:
                    left_out[index] = "the whole notebook's time ran out"
                    break
                client.timeout = math.ceil(left)  # nbclient wants whole seconds
                try:
                    client.execute_cell(cell, index)
                except exceptions.CellTimeoutError:
                    left_out[index] = f"it was stopped after {client.timeout} seconds"
                    break
                except exceptions.DeadKernelError:
                    left_out[index] = "it ended the Python process"
                    break
                result.seconds += time.monotonic() - started
        rows = map(json.loads, record.read_text(encoding="utf-8").splitlines())
        result.records = {row["task"]: row for row in rows}
    return result


def _environment(record: Path) -> dict[str, str]:
    """The environment of the process: minran importable, outcomes recorded, nothing to fetch."""
    places = str(PACKAGE.parent), os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        RECORD: str(record),
        PAGES: "1",
        **dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9"),  # nobody is there
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def go_offline() -> None:
    """From now on, Python sockets of this process reach this machine only."""

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        host: Any = None
        if event == "socket.connect" and isinstance(args[1], tuple):
            host = args[1][0]
        elif event == "socket.getaddrinfo":
            host = args[0]
        if host not in (None, "", "localhost", "127.0.0.1", "::1"):
            raise OSError(f"the course's notebooks run offline; {host} was asked for")

    sys.addaudithook(refuse)
