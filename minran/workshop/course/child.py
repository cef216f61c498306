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
from minran.workshop.course.wire import Line, dumps, loads


def serve(number: int) -> None:
    """Answer the grader's requests on a socket until it hangs up."""
    student = Student(Line(socket.socket(fileno=number)))
    student.send({"ready": True})
    owner = os.getpid()
    while True:
        request = student.receive()
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
            self.line.send(dumps(message, self._lend))
        except (ValueError, MemoryError, RuntimeError) as error:
            self.line.send(dumps(_raised(error), self._lend))

    def receive(self) -> Any:
        """The next message of the grader."""
        return loads(self.line.receive(), self._borrow)

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
        except Wrong as wrong:
            return {"wrong": (wrong.message, wrong.where, wrong.hint)}
        except BaseException as error:
            return _raised(error)
        pairs = enumerate(zip(before, arrays, strict=True))
        changed = {k: new for k, (old, new) in pairs if old.tobytes() != new.tobytes()}
        return {"value": Steps(value, arrays) if isgenerator(value) else value, "changed": changed}

    def _lend(self, value: Any) -> list[Any] | None:
        if not callable(value):
            return None
        kind = "class" if isinstance(value, type) else "function"
        self.lent.append(value)
        return ["steps" if type(value) is Steps else kind, len(self.lent) - 1, *_home(value)]

    def _borrow(self, note: list[Any]) -> Any:
        kind, what = note
        if kind == "lent":
            return self.lent[what]
        if kind == "named":
            module, name = what.split(":")
            return functools.reduce(getattr, name.split("."), importlib.import_module(module))
        return self._calling_back(what)

    def _calling_back(self, number: int) -> Callable[..., Any]:
        def function(*args: Any, **options: Any) -> Any:
            self.send({"back": number, "args": args, "options": options})
            reply = self.receive()
            if "raised" in reply:
                name, text, _ = reply["raised"]
                kind = getattr(builtins, name, RuntimeError)
                raise kind(text)
            return reply["value"]

        return function


class Steps:
    """A generator as a function; what it is called with stands for the arrays that it works on."""

    def __init__(self, generator: Any, arrays: list[np.ndarray]) -> None:
        self.generator, self.arrays = generator, arrays

    def __call__(self, *now: np.ndarray) -> bool:
        """Go on to the next `yield`; returns whether the generator has ended."""
        for own, array in zip(self.arrays, now, strict=True):
            own[...] = array
        ended = next(self.generator, self) is self
        for own, array in zip(self.arrays, now, strict=True):
            array[...] = own
        return ended


def _raised(error: BaseException) -> dict[str, Any]:
    try:
        text = str(error)[:2000]
    except Exception:
        text = "(its text cannot be read)"
    # Python 3.13.0 has a private name for the SyntaxError of code that breaks off.
    name = next(kind.__name__ for kind in type(error).__mro__ if not kind.__name__.startswith("_"))
    return {"raised": (name, text, place_of(error))}


def _home(value: Any) -> tuple[str, str]:
    """The module and the name of what is called in the end."""
    while isinstance(value, functools.partial):
        value = value.func
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    return str(module), str(name)


def _shell() -> Any:
    """IPython without a terminal: magics, `await`, and no history on disk."""
    kind = need("IPython.core.interactiveshell").InteractiveShell
    need("IPython.core.history").HistoryManager.enabled = False
    shell = kind.instance()
    shell.showtraceback = shell.showsyntaxerror = lambda *args, **options: None
    shell.enable_gui = lambda gui=None: None
    shell.enable_matplotlib = lambda gui=None: (gui, "agg")
    shell.ask_exit = lambda: None
    return shell
