"""How the student's process is started: limits, walls, what it sees of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minran.workshop.course.outcome import GRADING
from minran.workshop.course.show import PACKAGE, STATIC

START_SECONDS = 120
"""A busy machine may need long to import NumPy."""

TOO_MUCH_MEMORY = 97
"""The exit status that says so."""

_WALL = Path(__file__).with_name("wall.py")
_KEPT = ("LD_LIBRARY_PATH", "MINRAN_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix")
_ETC = ("ld.so.cache", "localtime", "fonts", "passwd", "group", "nsswitch.conf", "alternatives")
_DEVICES = ("null", "zero", "full", "random", "urandom")


@dataclass(frozen=True)
class Limits:
    """What a student's process may take; seconds are those of one cell or one judgement."""

    memory: int = 4 << 30
    disk: int = 256 << 20
    files: int = 512
    processes: int = 64
    seconds: float = 120


@dataclass(frozen=True)
class Walls:
    """Which walls stand: the strongest that the system offers is taken."""

    namespaces: bool
    nobody: bool

    def missing(self) -> tuple[str, ...]:
        """What there is no wall against."""
        if self.namespaces:
            return ()
        own = ("reaching the network", "reading your files")
        if self.nobody:
            return own
        return (*own, "changing your files and the installed package", "ending your processes")


STRENGTHS = (Walls(True, True), Walls(False, True), Walls(False, False))


def strengths() -> tuple[Walls, ...]:
    """What may be tried here, the strongest first."""
    linux = sys.platform == "linux"
    root = hasattr(os, "getuid") and os.getuid() == 0
    return tuple(
        one
        for one in STRENGTHS
        if (linux or not one.namespaces) and (root or one.namespaces or not one.nobody)
    )


def launch(
    limits: Limits, walls: Walls, place: Path, line: int, said: Any
) -> subprocess.Popen[bytes]:
    """Start the process in a folder that is there for it; `line` is its end of the socket."""
    root, work = place / "root", place / "work"
    root.mkdir()
    work.mkdir()
    if not walls.namespaces:
        for file in _font_lists():
            (work / file.name).write_bytes(file.read_bytes())
        if walls.nobody:
            place.chmod(0o711)
            work.chmod(0o777)
    settings = {
        "line": line,
        "root": str(root),
        "work": str(work),
        "namespaces": walls.namespaces,
        "nobody": walls.nobody,
        "memory": limits.memory,
        "too_much": TOO_MUCH_MEMORY,
        "disk": limits.disk,
        "limits": _resource_limits(limits),
        "visible": _visible(),
        "files": [str(file) for file in _font_lists()],
    }
    return subprocess.Popen(
        [sys.executable, "-P", str(_WALL), json.dumps(settings)],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        env=_environment(),
        cwd=place,
        pass_fds=[line],
        start_new_session=True,
    )


def _resource_limits(limits: Limits) -> dict[str, int]:
    threads = 2 * (os.cpu_count() or 1)
    return {
        "RLIMIT_AS": limits.memory,
        "RLIMIT_FSIZE": limits.disk,
        "RLIMIT_NOFILE": limits.files,
        "RLIMIT_NPROC": limits.processes + threads,
        "RLIMIT_CORE": 0,
    }


def _environment() -> dict[str, str]:
    """The environment of the process: none of our own but what Python and its threads need."""
    root = str(PACKAGE.parent)
    here = os.getcwd()
    places = [one for one in sys.path if os.path.isabs(one) and one not in (root, here)]
    kept = {key: value for key, value in os.environ.items() if key in _KEPT or "BLAS" in key}
    return {
        **kept,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([root, *places]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "agg",
        STATIC: "1",
        GRADING: "1",
    }


def _visible() -> list[str]:
    """The files that the process sees within namespaces: Python, its packages, devices."""
    # Of the path only folders of packages: others may hold the class's notebooks or solutions.
    packages = [one for one in sys.path if one.endswith(("site-packages", "dist-packages"))]
    packages += [str(Path(np.__file__).parents[1]), str(PACKAGE)]
    places = [sys.prefix, sys.base_prefix, sys.exec_prefix, *packages, *_SYSTEM]
    places += [f"/etc/{name}" for name in _ETC] + [f"/dev/{name}" for name in _DEVICES]
    return [one for one in places if os.path.exists(one)]


def _font_lists() -> list[Path]:
    """Matplotlib's list of fonts: without it every start would look for all fonts again."""
    cache = os.environ.get("MPLCONFIGDIR") or Path.home() / ".cache" / "matplotlib"
    return sorted(Path(cache).glob("fontlist-*.json"))
