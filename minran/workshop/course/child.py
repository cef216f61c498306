"""What runs in the student's process: cells, and the calls that the grader asks for.

Everything here can be changed by the student's code. It gets what a call needs and never what
comes out of it; what it sends back is data, which the grader does not trust.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import os
import socket
from collections.abc import Callable
from inspect import isgenerator
from typing import Any

import numpy as np

from minran.workshop.course.checking import Wrong, place_of
from minran.workshop.course.copies import need
from minran.workshop.course.wire import Line


def serve(number: int) -> None:
    """Answer the grader's requests on a socket until it hangs up."""
    student = Student(Line(socket.socket(fileno=number)))
    student.send({"ready": True})
    owner = os.getpid()
    while True:
        request = student.line.receive(student.borrow)
        reply = getattr(student, f"do_{request.pop('do')}")(**request)
        if os.getpid() != owner:
            return  # a cell has called os.fork, and this is the copy
        student.send(reply)


class Student:
    """The notebook's names, and the objects that the grader knows by number."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.lent: list[Any] = []
        self.shell = _shell()

    def send(self, message: Any) -> None:
        """Send a message; one that cannot be sent becomes an error."""
        try:
            self.line.send(message, self._lend)
        except (ValueError, MemoryError, RuntimeError) as error:
            self.line.send(_raised(error), self._lend)

    def do_cell(self, source: str) -> dict[str, Any]:
        """Run a cell."""
        result = self.shell.run_cell(source)
        error = result.error_before_exec or result.error_in_exec
        return {} if error is None else _raised(error)

    def do_get(self, name: str) -> dict[str, Any]:
        """What a name stands for."""
        self.lent.clear()
        names = self.shell.user_ns
        return {"value": names[name]} if name in names else {}

    def do_call(self, target: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a function, and say which of the arrays that it was given have changed."""
        arrays = [one for one in (*args, *options.values()) if isinstance(one, np.ndarray)]
        before = [array.copy() for array in arrays]
        try:
            value = target(*args, **options)
        except BaseException as error:
            return _raised(error)
        pairs = enumerate(zip(before, arrays, strict=True))
        changed = {k: new for k, (old, new) in pairs if old.tobytes() != new.tobytes()}
        steps = isgenerator(value)
        return {
            "value": _goer(value, arrays) if steps else value,
            "steps": steps,
            "changed": changed,
        }

    def _lend(self, value: Any) -> list[Any] | None:
        if not callable(value):
            return None
        self.lent.append(value)
        kind = "class" if isinstance(value, type) else "function"
        while isinstance(value, functools.partial):
            value = value.func  # what is called in the end
        home = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
        return [kind, len(self.lent) - 1, *map(str, home)]

    def borrow(self, note: list[Any]) -> Any:
        """What the grader's note stands for: an object of ours, of the library, or its function."""
        kind, what = note
        if kind == "lent":
            return self.lent[what]
        if kind == "named":
            module, name = what.split(":")
            return functools.reduce(getattr, name.split("."), importlib.import_module(module))

        def call_back(*args: Any, **options: Any) -> Any:
            self.send({"back": what, "args": args, "options": options})
            reply = self.line.receive(self.borrow)
            if "raised" in reply:
                name, text = reply["raised"]
                raise getattr(builtins, name, RuntimeError)(text)
            return reply["value"]

        return call_back


def _goer(generator: Any, arrays: list[np.ndarray]) -> Callable[..., bool]:
    """A generator as a function that goes to the next `yield` and says whether there was none.

    It is called with the grader's arrays, which stand for those that the generator works on.
    """

    def go_on(*now: np.ndarray) -> bool:
        for own, array in zip(arrays, now, strict=True):
            own[...] = array
        ended = next(generator, generator) is generator
        for own, array in zip(arrays, now, strict=True):
            array[...] = own
        return ended

    return go_on


def _raised(error: BaseException) -> dict[str, Any]:
    if isinstance(error, Wrong):
        return {"raised": ("Wrong", error.message, error.where, error.hint)}
    try:
        text = str(error)[:2000]
    except Exception:
        text = "(its text cannot be read)"
    # Python 3.13.0 has a private name for the SyntaxError of code that breaks off.
    name = next(kind.__name__ for kind in type(error).__mro__ if not kind.__name__.startswith("_"))
    return {"raised": (name, text, place_of(error), "")}


def _shell() -> Any:
    """IPython without a terminal: magics, `await`, and no history on disk."""
    need("IPython.core.history").HistoryManager.enabled = False
    shell = need("IPython.core.interactiveshell").InteractiveShell.instance()
    shell.showtraceback = shell.showsyntaxerror = lambda *args, **options: None
    shell.enable_gui = lambda gui=None: None
    shell.enable_matplotlib = lambda gui=None: (gui, "agg")
    shell.ask_exit = lambda: None
    return shell
