"""Plain data between the grader and the student's process: bytes that hold no code.

A message is JSON with the numbers of its arrays behind it, in order. Numbers, texts and lists stand
for themselves, {"kind": ...} for all else. What is neither a number, a text, an array nor a list,
tuple or dictionary of those arrives as an object that says its type and nothing else. Functions
stay where they are: `lend` turns one into a note, `borrow` a note into something to call. Whatever
bytes come, `loads` returns data or raises ValueError.
"""

from __future__ import annotations

import io
import json
import math
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minran.autograd import Tensor

MOST_BYTES = 1 << 26
"""A message may be so long."""

_DTYPE = re.compile(r"[<>|][fiubcU]\d{1,5}")
_DEPTH = 30
_HEAD = struct.Struct(">QI")
_MARK = 0x6D696E72


def dumps(value: Any, lend: Callable[[Any], list[Any] | None]) -> bytes:
    """The value as bytes. `lend(object)` gives the note for what can be called, or None."""
    behind = bytearray()

    def array(kind: str, value: np.ndarray) -> Any:
        if not _DTYPE.fullmatch(value.dtype.str):
            return {"other": type(value).__name__}
        behind.extend(value.tobytes())
        return {kind: [value.dtype.str, list(value.shape)]}

    def octets(value: bytes) -> Any:
        behind.extend(value)
        return {"bytes": len(value)}

    def number(value: int) -> Any:
        return value if abs(value) < 1 << 256 else {"other": "very large int"}

    def all_of(values: Iterable[Any], depth: int) -> list[Any]:
        return [tree(one, depth + 1) for one in values]

    writers: tuple[tuple[Any, Callable[[Any, int], Any]], ...] = (
        (np.generic, lambda value, _: array("scalar", np.asarray(value))),
        ((type(None), bool, str, float), lambda value, _: value),
        (int, lambda value, _: number(value)),
        (complex, lambda value, _: {"complex": [value.real, value.imag]}),
        (type(...), lambda value, _: {"ellipsis": 0}),
        (bytes, lambda value, _: octets(value)),
        (np.ndarray, lambda value, _: array("array", np.asarray(value))),
        (Tensor, lambda value, _: array("tensor", value.numpy())),
        ((list, range), all_of),
        (tuple, lambda value, depth: {"tuple": all_of(value, depth)}),
        (dict, lambda value, depth: {"dict": [all_of(one, depth) for one in value.items()]}),
    )

    def tree(value: Any, depth: int) -> Any:
        if depth <= _DEPTH:
            for types, write in writers:
                if isinstance(value, types):
                    return write(value, depth)
            if (note := lend(value)) is not None:
                return {"lent": note}
        return {"other": type(value).__name__}

    front = json.dumps(tree(value, 0)).encode()
    return struct.pack(">I", len(front)) + front + behind


def loads(data: bytes, borrow: Callable[[list[Any]], Any]) -> Any:
    """The value of these bytes. `borrow(note)` gives what stands for a lent function."""
    try:
        (length,) = struct.unpack_from(">I", data)
        behind = io.BytesIO(data[4 + length :])
        readers: dict[str, Callable[[Any], Any]] = {
            "array": lambda rest: _array(behind, *rest),
            "scalar": lambda rest: _array(behind, *rest)[()],
            "tensor": lambda rest: Tensor(_array(behind, *rest)),
            "complex": lambda rest: complex(float(rest[0]), float(rest[1])),
            "ellipsis": lambda rest: ...,
            "bytes": lambda rest: behind.read(_whole(rest)),
            "tuple": tuple,
            "dict": dict,
            "lent": borrow,
            "other": lambda rest: type(str(rest).replace("\0", "")[:80], (), {})(),
        }

        def value(node: dict[str, Any]) -> Any:
            ((kind, rest),) = node.items()
            return readers[kind](rest)

        return json.loads(data[4 : 4 + length], object_hook=value)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, struct.error) as e:
        raise ValueError(f"no message: {e}") from e


def _array(behind: io.BytesIO, dtype: Any, shape: Any) -> np.ndarray:
    if not _DTYPE.fullmatch(dtype) or len(shape) > 32:
        raise ValueError(f"an array of {dtype}")
    kind = np.dtype(dtype)
    sizes = [_whole(size) for size in shape]
    count = math.prod(sizes)
    if count == 0 and max(sizes) < 1 << 40:
        return np.zeros(sizes, kind)
    return np.frombuffer(behind.read(count * kind.itemsize), kind, count).reshape(sizes).copy()


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no size")
    return value


class Line:
    """One end of the line between the two processes; `deadline` is a time of time.monotonic."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.deadline: float | None = None

    def send(self, data: bytes) -> None:
        """Send a message; ValueError if it is too long, OSError if nobody takes it."""
        if len(data) > MOST_BYTES:
            raise ValueError(f"a message of {len(data) / 1e6:.0f} MB is too long")
        self._wait()
        self.end.sendall(_HEAD.pack(len(data), _MARK) + data)

    def receive(self) -> bytes:
        """The next message; EOFError if there will be none, TimeoutError if time is up."""
        length, mark = _HEAD.unpack(self._read(_HEAD.size))
        if mark != _MARK or length > MOST_BYTES:
            raise ValueError("this is no message")
        return self._read(length)

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
