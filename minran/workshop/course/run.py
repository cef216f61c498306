"""Run our own notebooks with their outputs, for their tests and for the pages made of them.

They run in a Jupyter kernel of their own: offline, with time limits, in an empty folder. A cell
that raises an error does not stop the others; one that takes too long or ends the kernel does.
Students' notebooks are run by `grade`.
"""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minran.workshop.course.checking import RECORD
from minran.workshop.course.copies import need
from minran.workshop.course.show import PACKAGE, STATIC

_OFFLINE = "import minran.workshop.course.offline as _; _.go_offline()"


@dataclass
class Execution:
    """What running a notebook gave."""

    node: Any
    """The notebook with its outputs."""
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    """By task: the outcome that `check` wrote last."""
    left_out: dict[int, str] = field(default_factory=dict)
    """The cell that ended the run, if one did, and why (too long, the process died)."""
    out_of_time: bool = False
    """Whether the whole notebook's time ran out before its last cell."""
    seconds: float = 0.0
    """Time spent in cells; starting Python is not counted."""

    def error(self, index: int) -> tuple[str, str] | None:
        """The error (name, message) that a cell raised, if it did."""
        for output in self.node.cells[index].get("outputs", []):
            if output.output_type == "error":
                return output.ename, output.evalue
        return None


def run_cells(node: Any, timeout: float = 600, cell_timeout: float = 120) -> Execution:
    """Run a notebook (of nbformat) from top to bottom; the notebook itself stays as it is.

    timeout: seconds for all cells together, cell_timeout: for one.
    """
    result = Execution(copy.deepcopy(node))
    with tempfile.TemporaryDirectory(prefix="minran-course-", ignore_cleanup_errors=True) as folder:
        record = Path(folder) / "outcomes.jsonl"
        place = Path(folder) / "work"
        place.mkdir()
        _run(result, place, record, time.monotonic() + timeout, cell_timeout)
        result.records = _read(record)
    return result


def _run(
    result: Execution, place: Path, record: Path, deadline: float, cell_timeout: float
) -> None:
    nbclient = need("nbclient")
    exceptions = need("nbclient.exceptions")
    need("ipykernel")
    client = nbclient.NotebookClient(
        result.node, allow_errors=True, kernel_name="python3", shutdown_kernel="immediate"
    )
    spent = 0.0
    try:
        # What the process itself says, IPython's start-up warnings, is of no use here.
        quiet = subprocess.DEVNULL
        with client.setup_kernel(env=_environment(record), cwd=str(place), stderr=quiet):
            offline = need("nbformat").v4.new_code_cell(_OFFLINE)
            client.timeout = 120  # a busy machine may need long to import NumPy
            first = result.node.cells[0]
            client.execute_cell(offline, 0)
            result.node.cells[0] = first  # nbclient puts what it ran in this place
            for index, cell in enumerate(result.node.cells):
                if cell.cell_type != "code":
                    continue
                left = deadline - time.monotonic()
                if left <= 0:
                    result.out_of_time = True
                    return
                limit = math.ceil(min(cell_timeout, left))  # nbclient wants whole seconds
                client.timeout = limit
                started = time.monotonic()
                try:
                    client.execute_cell(cell, index)
                except exceptions.CellTimeoutError:
                    result.left_out[index] = f"it was stopped after {limit} seconds"
                    return
                except exceptions.DeadKernelError:
                    result.left_out[index] = "it ended the Python process"
                    return
                spent += time.monotonic() - started
    finally:
        result.seconds = spent


def _environment(record: Path) -> dict[str, str]:
    """The environment of the process: minran importable, outcomes recorded, nothing to fetch."""
    home = str(PACKAGE.parent)
    path = os.environ.get("PYTHONPATH", "")
    unreachable = "http://127.0.0.1:9"
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([home, path]) if path else home,
        RECORD: str(record),
        STATIC: "1",
        "http_proxy": unreachable,
        "https_proxy": unreachable,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _read(record: Path) -> dict[str, dict[str, str]]:
    """The outcomes that were written; lines that are not ours are passed over."""
    found: dict[str, dict[str, str]] = {}
    if not record.exists():
        return found
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and {"task", "status"} <= entry.keys():
            found[str(entry["task"])] = {key: str(value) for key, value in entry.items()}
    return found
