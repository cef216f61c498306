"""The student's process, seen from the grader: start it within walls, run a cell, call an answer.

The answer that a check gets is a `Remote`: calling it sends the arguments as data to the
student's process, runs the student's function there and brings back data. Verdicts, and what an
answer is compared with, stay on this side.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minran.errors import MinranError, expect
from minran.workshop.course.checking import GRADING, Raised, Remote, Wrong
from minran.workshop.course.show import PACKAGE
from minran.workshop.course.wire import Line

START_SECONDS = 120
"""A busy machine may need long to import NumPy."""

TOO_MUCH_MEMORY = 97
"""The exit status that says so."""

FIRST_USER = 61_200
"""Of the numbers that systems give to no person, where the grader is root."""

_WALL = str(Path(__file__).with_name("wall.py"))
_KEPT = ("LD_LIBRARY_PATH", "MINRAN_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/fonts", "/etc/passwd", "/etc/group"),
    *("/etc/nsswitch.conf", "/etc/alternatives"),
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"),
)


@dataclass(frozen=True)
class Limits:
    """What a student's process may take; seconds are those of one cell or one judgement."""

    memory: int = 4 << 30
    disk: int = 256 << 20
    files: int = 512
    processes: int = 64
    seconds: float = 120


_OUTSIDE = ("reaching the network", "reading your files")
WALLS = {
    "namespaces": (),
    "nobody": _OUTSIDE,
    "limits": (*_OUTSIDE, "changing your files and the installed package", "ending your processes"),
}
"""The kinds of walls, the strongest first, and what each is no wall against."""


def strengths() -> list[str]:
    """The walls that may be tried here, the strongest first."""
    root = hasattr(os, "getuid") and os.getuid() == 0
    offered = {"namespaces": sys.platform == "linux", "nobody": root, "limits": True}
    return [walls for walls in WALLS if offered[walls]]


class Stopped(BaseException):
    """The student's process is gone, or had to be stopped."""


class Process(AbstractContextManager["Process"]):
    """A student's process in an empty folder; a context manager that leaves no file."""

    _found: str | None = None

    def __init__(self, limits: Limits, walls: str | None = None) -> None:
        expect(os.name == "posix", "grading needs Linux or macOS (on Windows: WSL)", MinranError)
        self.limits = limits
        known = walls or Process._found
        for self.walls in [known] if known else strengths():
            problem = self._start()
            if not problem:
                Process._found = Process._found if walls else self.walls
                return
        raise MinranError(f"the student's process cannot be started: {problem}")

    def __exit__(self, *unused: object) -> None:
        """End every process of the student's, and remove the folder."""
        self._line.end.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def run(self, source: str, seconds: float) -> tuple[str, str] | None:
        """Run a cell; returns the name and the text of the error that it raised, if any."""
        self._within(seconds)
        reply = self._ask({"do": "cell", "source": source})
        if "raised" not in reply:
            return None
        name, text, _, _ = _texts(reply["raised"])
        return name, text

    def answer(self, name: str) -> Any:
        """What a name stands for in the notebook; KeyError if for nothing. Starts a judgement."""
        self._within(self.limits.seconds)
        return self._ask({"do": "get", "name": name})["value"]

    def call(self, target: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call something in the student's process with arguments from here.

        Raises what the student's code raised, else puts what it wrote into our arrays.
        """
        arrays = [one for one in (*args, *options.values()) if isinstance(one, np.ndarray)]
        reply = self._ask({"do": "call", "target": target, "args": args, "options": options})
        if "raised" in reply:
            name, text, where, hint = _texts(reply["raised"])
            if name == "NotImplementedError":
                raise NotImplementedError(text)
            raise Wrong(text, where, hint) if name == "Wrong" else Raised(name, text, where)
        changed, value = reply.get("changed"), reply.get("value")
        for place, old in enumerate(arrays):
            new = changed.get(place) if isinstance(changed, dict) else None
            if isinstance(new, np.ndarray) and (new.shape, new.dtype) == (old.shape, old.dtype):
                old[...] = new
        if isinstance(value, Remote) and reply.get("steps") is True:
            return _steps(value, arrays)
        return value

    # --- the line

    def _within(self, seconds: float) -> None:
        self._allowed = seconds
        self._line.deadline = time.monotonic() + seconds

    def _ask(self, request: Any) -> dict[str, Any]:
        """Send a request and wait for its reply; calls back what the student's code calls back."""
        functions: list[Callable[..., Any]] = []

        def lend(value: Any) -> list[Any] | None:
            if isinstance(value, Remote):
                return ["lent", value.number]
            if not callable(value):
                return None
            module, name = value.__module__, value.__qualname__
            if module.startswith("minran.") and "<" not in name:
                return ["named", f"{module}:{name}"]
            functions.append(value)
            return ["back", len(functions) - 1]

        try:
            while True:
                self._line.send(request, lend)
                reply = self._line.receive(self._borrow)
                if not isinstance(reply, dict):
                    raise ValueError("no dictionary")
                if "back" not in reply:
                    return reply
                function = functions[reply["back"]]
                try:
                    request = {"value": function(*reply["args"], **reply["options"])}
                except Exception as error:
                    request = {"raised": (type(error).__name__, str(error))}
        except TimeoutError as error:
            raise Stopped(f"it was stopped after {self._allowed:.0f} seconds") from error
        except (EOFError, OSError) as error:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
            most = f"it took more than {self.limits.memory / 2**30:.1f} GB of memory"
            too_much = self._process.returncode == TOO_MUCH_MEMORY
            raise Stopped(most if too_much else "it ended the Python process") from error
        except (ValueError, LookupError, TypeError, MemoryError) as error:
            raise Stopped(_UNREADABLE) from error

    def _borrow(self, note: list[Any]) -> Any:
        kind, number, module, name = note
        return Remote(self.call, int(number), str(kind), str(module), str(name))

    # --- the start

    def _start(self) -> str:
        """Start the process within `self.walls`; returns what went wrong, or nothing."""
        self._folder = tempfile.TemporaryDirectory(
            prefix="minran-course-", ignore_cleanup_errors=True
        )
        place = Path(self._folder.name)
        work, said = place / "work", place / "said"
        work.mkdir()
        # Without Matplotlib's list of fonts every start would look for all fonts again.
        cache = os.environ.get("MPLCONFIGDIR") or Path.home() / ".cache" / "matplotlib"
        for file in Path(cache).glob("fontlist-*.json"):
            shutil.copyfile(file, work / file.name)
        # A user for each grader: the processes of one student's user count together.
        user = FIRST_USER + os.getpid() % 4000
        if self.walls == "nobody":
            place.chmod(0o711)
            work.chmod(0o700)
            os.chown(work, user, -1)
        ours, theirs = socket.socketpair()
        self._line = Line(ours)
        settings = {
            **asdict(self.limits),
            "walls": self.walls,
            "line": theirs.fileno(),
            "too_much": TOO_MUCH_MEMORY,
            "visible": _visible(),
            "user": user,
        }
        with said.open("wb") as told, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", _WALL, json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                env=_environment(),
                cwd=place,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            self._within(START_SECONDS)
            self._line.receive(self._borrow)
            return ""
        except (EOFError, OSError, ValueError):
            text = said.read_text(errors="replace").strip()
            self.__exit__()
            return text.rpartition("\n")[2] or "it did not start"


def _steps(go_on: Remote, arrays: list[np.ndarray]) -> Iterator[None]:
    """A generator of the student's; `go_on` says whether it has ended."""
    while go_on(*arrays) is False:
        yield


_UNREADABLE = "what its process sent back cannot be read"


def _texts(values: Any) -> Iterator[str]:
    """The name of an error, its text, where it came from, and a hint."""
    if not isinstance(values, tuple) or len(values) != 4:
        raise Stopped(_UNREADABLE)
    return map(str, values)


def _environment() -> dict[str, str]:
    """The environment of the process: none of our own but what Python and its threads need."""
    root, here = str(PACKAGE.parent), os.getcwd()
    places = [one for one in sys.path if os.path.isabs(one) and one not in (root, here)]
    return {
        **{key: value for key, value in os.environ.items() if key in _KEPT or "BLAS" in key},
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "USER": "student",
        "PYTHONPATH": os.pathsep.join([root, *places]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "agg",
        GRADING: "1",
    }


def _visible() -> list[str]:
    """The files that the process sees within namespaces: Python, its packages, devices."""
    # Of the path only folders of packages: others may hold the class's notebooks or solutions.
    packages = [one for one in sys.path if one.endswith(("site-packages", "dist-packages"))]
    packages += [str(Path(np.__file__).parents[1]), str(PACKAGE)]
    places = [sys.prefix, sys.base_prefix, sys.exec_prefix, *packages, *_SYSTEM]
    return [one for one in places if os.path.exists(one)]
