"""What a run ran on: the facts that must stand beside any figure."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from minran import backend, distributed
from minran._version import __version__


def environment() -> dict[str, Any]:
    """Versions, hardware, time and command line of this process."""
    kernels = backend.current()
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "minran": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "backend": kernels.name,
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "processes": distributed.current().size,
        "command": shlex.join(sys.argv),
    }
    if backend.has("threads"):
        facts["threads"] = kernels.threads()
    if backend.has("describe"):
        facts["device"] = kernels.describe()
    return facts


def _commit() -> str | None:
    """The commit of the source tree minran is imported from, if it is one."""
    tree = Path(__file__).resolve().parents[2]
    # An installed minran may lie in a virtual environment within some other project's tree.
    if not os.path.exists(tree / ".git"):  # (Path.exists raises where it may not look)
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(tree), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
