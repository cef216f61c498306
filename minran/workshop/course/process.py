"""The student's process, seen from the grader: run a cell, fetch an answer, call it.

The answer that a check gets is a `Remote`: calling it sends the arguments as data to the
student's process, runs the student's function there and brings back data. Verdicts, and what an
answer is compared with, stay on this side.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minran.errors import MinranError, expect
from minran.workshop.course.checking import Raised, Remote, Wrong
from minran.workshop.course.start import (
    START_SECONDS,
    TOO_MUCH_MEMORY,
    Limits,
    Walls,
    launch,
    strengths,
)
from minran.workshop.course.wire import Line, dumps, loads


class Stopped(BaseException):
    """The student's process is gone, or had to be stopped."""


class Process:
    """A student's process in an empty folder; a context manager that leaves nothing behind."""

    _found: Walls | None = None

    def __init__(self, limits: Limits, walls: Walls | None = None) -> None:
        expect(os.name == "posix", "grading needs Linux or macOS (on Windows: WSL)", MinranError)
        self.limits = limits
        tried = [walls] if walls else [Process._found] if Process._found else strengths()
        for walls in tried:
            problem = self._start(walls)
            if not problem:
                self.walls = walls
                if len(tried) > 1:
                    Process._found = walls
                return
        raise MinranError(f"the student's process cannot be started: {problem}")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
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
        with_time = self._within(seconds)
        reply = self._ask({"do": "cell", "source": source}, with_time)
        if "raised" not in reply:
            return None
        name, text, _ = _texts(reply["raised"], 3)
        return name, text

    def answer(self, name: str) -> Any:
        """What a name stands for in the notebook; KeyError if for nothing. Starts a judgement."""
        reply = self._ask({"do": "get", "name": name}, self._within(self.limits.seconds))
        return reply["value"]

    def call(self, target: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call something in the student's process with arguments from here."""
        back: list[Callable[..., Any]] = []
        arrays = [one for one in (*args, *options.values()) if isinstance(one, np.ndarray)]
        request = {"do": "call", "target": target, "args": args, "options": options}
        reply = self._ask(request, self._deadline, back)
        if "wrong" in reply:
            raise Wrong(*_texts(reply["wrong"], 3))
        self._take(reply, arrays)
        value = reply.get("value")
        return self._steps(value.number, arrays) if isinstance(value, _Steps) else value

    def _steps(self, number: int, arrays: list[np.ndarray]) -> Iterator[None]:
        while True:
            reply = self._ask({"do": "step", "number": number, "arrays": arrays}, self._deadline)
            self._take(reply, arrays)
            if reply.get("done", True):
                return
            yield

    def _take(self, reply: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Raise what the student's code raised, or put what it wrote into our arrays."""
        if "raised" in reply:
            name, text, where = _texts(reply["raised"], 3)
            if name == "NotImplementedError":
                raise NotImplementedError(text)
            raise Raised(name, text, where)
        changed = reply.get("changed")
        for place, new in changed.items() if isinstance(changed, dict) else ():
            if isinstance(place, int) and 0 <= place < len(arrays):
                old = arrays[place]
                if isinstance(new, np.ndarray) and (new.shape, new.dtype) == (old.shape, old.dtype):
                    old[...] = new

    # --- the line

    def _within(self, seconds: float) -> float:
        self._allowed = seconds
        self._deadline = time.monotonic() + seconds
        return self._deadline

    def _ask(self, request: Any, deadline: float, back: list[Any] | None = None) -> dict[str, Any]:
        """Send a request and wait for its reply; calls back what the student's code calls back."""
        functions: list[Callable[..., Any]] = [] if back is None else back

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

        self._line.deadline = deadline
        try:
            while True:
                self._line.send(dumps(request, lend))
                reply = loads(self._line.receive(), self._borrow)
                if not isinstance(reply, dict):
                    raise ValueError("no dictionary")
                if "back" not in reply:
                    return reply
                function = functions[reply["back"]]
                request = _call_back(function, reply["args"], reply["options"])
        except TimeoutError as error:
            raise Stopped(f"it was stopped after {self._allowed:.0f} seconds") from error
        except (EOFError, OSError) as error:
            raise Stopped(self._how_it_ended()) from error
        except (ValueError, LookupError, TypeError, MemoryError) as error:
            raise Stopped("what its process sent back cannot be read") from error

    def _borrow(self, note: list[Any]) -> Any:
        kind, number, module, name = note
        if kind == "steps":
            return _Steps(int(number))
        return Remote(self.call, int(number), kind == "class", str(module), str(name))

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(2)
        except subprocess.TimeoutExpired:
            status = 0
        if status == TOO_MUCH_MEMORY:
            return f"it took more than {self.limits.memory / 2**30:.1f} GB of memory"
        return "it ended the Python process"

    # --- the start

    def _start(self, walls: Walls) -> str:
        """Start the process; returns what went wrong, or nothing."""
        self._folder = tempfile.TemporaryDirectory(
            prefix="minran-course-", ignore_cleanup_errors=True
        )
        ours, theirs = socket.socketpair()
        self._line = Line(ours)
        said = Path(self._folder.name) / "said"
        with said.open("wb") as stream:
            self._process = launch(self.limits, walls, said.parent, theirs.fileno(), stream)
        theirs.close()
        try:
            self._line.deadline = self._within(START_SECONDS)
            loads(self._line.receive(), self._borrow)
            return ""
        except (EOFError, OSError, ValueError):
            text = said.read_text(errors="replace").strip()
            self.close()
            return text.rpartition("\n")[2] or "it did not start"


@dataclass(frozen=True)
class _Steps:
    number: int


def _call_back(function: Callable[..., Any], args: Any, options: Any) -> dict[str, Any]:
    try:
        return {"value": function(*args, **options)}
    except Exception as error:
        return {"raised": (type(error).__name__, str(error), "")}


def _texts(values: Any, count: int) -> list[str]:
    if not isinstance(values, tuple) or len(values) != count:
        raise Stopped("what its process sent back cannot be read")
    return [str(value) for value in values]
