"""The machine and what is installed on it: the facts that must stand next to any figure."""

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
from threadpoolctl import ThreadpoolController

from minran._version import __version__


def cores() -> set[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _linux_says(file: str, key: str) -> str | None:
    """What stands after the first `key` in a file of /proc; None where there is none."""
    try:
        lines = Path("/proc", file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def processor() -> str:
    """The processor's name."""
    return _linux_says("cpuinfo", "model name") or platform.processor() or platform.machine()


def blas() -> str:
    """The library of NumPy's matrix products, and the processor that it takes its kernels for."""
    for library in ThreadpoolController().select(user_api="blas").info():
        known = (library.get(key) for key in ("internal_api", "version", "architecture"))
        return " ".join(str(word) for word in known if word)
    return "unknown"


def peak_bytes() -> int:
    """Bytes of resident memory at this process's peak.

    Linux's VmHWM counts this program alone. `ru_maxrss` would hand on the peak of the
    parent that started it, so a small program started from a large one looks large; it is
    what there is elsewhere.
    """
    if kilobytes := _linux_says("self/status", "VmHWM:"):
        return int(kilobytes.split()[0]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process may still take, by the machine and by a container's limit.

    group: where Linux keeps that limit. More than any machine has where the system does not say.
    """
    free = [1 << 60]
    if kilobytes := _linux_says("meminfo", "MemAvailable:"):
        free.append(int(kilobytes.split()[0]) * 1024)
    try:
        limit, used = (int((group / f"memory.{n}").read_text()) for n in ("max", "current"))
        rows = (row.split() for row in (group / "memory.stat").read_text().splitlines())
        given_back = next((int(size) for name, size in rows if name == "inactive_file"), 0)
        free.append(limit - used + given_back)
    except (OSError, ValueError):  # no container, or "max": without a limit
        pass
    return max(0, min(free))


def commit() -> str | None:
    """The commit of the source tree minran is imported from, if it is one."""
    tree = Path(__file__).resolve().parents[1]
    # An installed minran may lie in a virtual environment within some other project's tree.
    if not os.path.exists(tree / ".git"):  # (Path.exists raises where it may not look)
        return None
    try:
        command = ["git", "-C", str(tree), "describe", "--always", "--dirty", "--abbrev=12"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def facts() -> dict[str, Any]:
    """Versions, hardware, time and command line of this process."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "minran": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "platform": platform.platform(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "command": shlex.join(sys.argv),
    }
