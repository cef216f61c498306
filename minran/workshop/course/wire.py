"""Plain data between the grader and the student's process: bytes that hold no code.

A message is JSON. Texts, numbers and lists stand for themselves, {kind: ...} for all else. What is
of no kind here arrives as an object that says its type and nothing else. Functions stay where they
are: `lend` turns one into a note, `borrow` a note into something to call. Whatever bytes come,
`loads` returns data or raises ValueError.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minran.autograd import Tensor

MOST_BYTES = 1 << 26
"""A message may be so long."""

_DTYPE = re.compile(r"[<>|][fiubcU][1-9]\d{0,4}")
_DEPTH = 30
_HEAD = struct.Struct(">Q")


def _packed(array: np.ndarray) -> list[Any] | None:
    kind, shape = array.dtype.str, list(array.shape)
    return [kind, shape, b64encode(array.tobytes()).decode()] if _DTYPE.fullmatch(kind) else None


def _array(dtype: str, shape: list[int], numbers: str) -> np.ndarray:
    if not _DTYPE.fullmatch(dtype) or min(shape, default=0) < 0:
        raise ValueError(f"an array of {dtype}")
    return np.ndarray(shape, dtype, b64decode(numbers)).copy()


_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "scalar": (np.generic, lambda it: _packed(np.asarray(it)), lambda said: _array(*said)[()]),
    "array": (np.ndarray, _packed, lambda said: _array(*said)),
    "tensor": (Tensor, lambda it: _packed(it.numpy()), lambda said: Tensor(_array(*said))),
    "complex": (complex, lambda it: [it.real, it.imag], lambda said: complex(*map(float, said))),
    "ellipsis": (type(...), lambda it: 0, lambda said: ...),
    "bytes": (bytes, lambda it: b64encode(it).decode(), b64decode),
}
"""What it is; what is said of it, or None; what is made of that."""


def dumps(value: Any, lend: Callable[[Any], list[Any] | None]) -> bytes:
    """The value as bytes. `lend(object)` gives the note for what can be called, or None."""

    def tree(value: Any, depth: int) -> Any:
        def all_of(values: Iterable[Any]) -> list[Any]:
            return [tree(one, depth + 1) for one in values]

        other = {"other": type(value).__name__}
        if depth > _DEPTH:
            return other
        for kind, (types, write, _) in _KINDS.items():
            if isinstance(value, types):
                said = write(value)
                return other if said is None else {kind: said}
        if value is None or isinstance(value, (bool, str, float)):
            return value
        if isinstance(value, int):
            return value if abs(value) < 1 << 256 else other
        if isinstance(value, (list, range)):
            return all_of(value)
        if isinstance(value, tuple):
            return {"tuple": all_of(value)}
        if isinstance(value, dict):
            return {"dict": [all_of(item) for item in value.items()]}
        return other if (note := lend(value)) is None else {"lent": note}

    return json.dumps(tree(value, 0)).encode()


def loads(data: bytes, borrow: Callable[[list[Any]], Any]) -> Any:
    """The value of these bytes. `borrow(note)` gives what stands for a lent function."""
    readers: dict[str, Callable[[Any], Any]] = {
        **{kind: read for kind, (_, _, read) in _KINDS.items()},
        "tuple": tuple,
        "dict": dict,
        "lent": borrow,
        "other": lambda said: type(str(said).replace("\0", "")[:80], (), {})(),
    }

    def value(node: dict[str, Any]) -> Any:
        ((kind, said),) = node.items()
        return readers[kind](said)

    try:
        return json.loads(data, object_hook=value)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as e:
        raise ValueError(f"no message: {e}") from e


class Line:
    """One end of the line between the two processes; `deadline` is a time of time.monotonic."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.deadline: float | None = None

    def send(self, message: Any, lend: Callable[[Any], list[Any] | None]) -> None:
        """Send a message; ValueError if it is too long, OSError if nobody takes it."""
        data = dumps(message, lend)
        if len(data) > MOST_BYTES:
            raise ValueError(f"a message of {len(data) / 1e6:.0f} MB is too long")
        self._wait()
        self.end.sendall(_HEAD.pack(len(data)) + data)

    def receive(self, borrow: Callable[[list[Any]], Any]) -> Any:
        """The next message; EOFError if there will be none, TimeoutError if time is up."""
        (length,) = _HEAD.unpack(self._read(_HEAD.size))
        if length > MOST_BYTES:
            raise ValueError("this is no message")
        return loads(self._read(length), borrow)

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._wait()
            part = self.end.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def _wait(self) -> None:
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.end.settimeout(left)
