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
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minran.workshop.course.checking import RECORD
from minran.workshop.course.copies import need
from minran.workshop.course.show import PACKAGE, STATIC

_OFFLINE = "import minran.workshop.course.run as _; _.go_offline()"


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


def run_cells(node: Any, timeout: float = 600, cell_timeout: float = 120) -> Execution:
    """Run a notebook (of nbformat) from top to bottom; the notebook itself stays as it is.

    timeout: seconds for all cells together, cell_timeout: for one.
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
        STATIC: "1",
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
