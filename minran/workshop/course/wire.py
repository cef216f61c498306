"""Plain data between the grader and the student's process: bytes that hold no code.

A message is JSON with the numbers of its arrays behind it. What is neither a number, a text, an
array nor a list, tuple or dictionary of those arrives as an object that says its type and nothing
else. Functions stay where they are: `lend` turns one into a note, `borrow` a note into something
to call. Whatever bytes come, `loads` returns data or raises ValueError.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from minran.autograd import Tensor

MOST_BYTES = 1 << 26
"""A message may be so long."""

_KINDS = "fiubcU"
_DEPTH = 30
_HEAD = struct.Struct(">QI")


def dumps(value: Any, lend: Callable[[Any], list[Any] | None]) -> bytes:
    """The value as bytes. `lend(object)` gives the note for what can be called, or None."""
    blobs: list[bytes] = []

    def blob(data: bytes) -> int:
        blobs.append(data)
        return sum(map(len, blobs)) - len(data)

    def array(kind: str, value: Any) -> list[Any]:
        if value.dtype.kind not in _KINDS:
            return ["other", type(value).__name__]
        return [kind, value.dtype.str, list(value.shape), blob(value.tobytes())]

    def tree(value: Any, depth: int) -> Any:
        if depth > _DEPTH:
            return ["other", type(value).__name__]
        if isinstance(value, np.generic):
            return array("scalar", np.asarray(value))
        if value is None or isinstance(value, (bool, str, float)):
            return value
        if isinstance(value, int):
            return value if abs(value) < 1 << 256 else ["other", "very large int"]
        if isinstance(value, complex):
            return ["complex", value.real, value.imag]
        if value is ...:
            return ["ellipsis"]
        if isinstance(value, bytes):
            return ["bytes", blob(value), len(value)]
        if isinstance(value, np.ndarray):
            return array("array", np.asarray(value))
        if isinstance(value, Tensor):
            return array("tensor", value.numpy())
        if isinstance(value, (list, range)):
            return ["list", [tree(one, depth + 1) for one in value]]
        if isinstance(value, tuple):
            return ["tuple", [tree(one, depth + 1) for one in value]]
        if isinstance(value, dict):
            return ["dict", [[tree(k, depth + 1), tree(v, depth + 1)] for k, v in value.items()]]
        return lend(value) or ["other", type(value).__name__]

    text = json.dumps(tree(value, 0)).encode()
    return struct.pack(">I", len(text)) + text + b"".join(blobs)


def loads(data: bytes, borrow: Callable[[list[Any]], Any]) -> Any:
    """The value of these bytes. `borrow(note)` gives what stands for a lent function."""
    try:
        (length,) = struct.unpack_from(">I", data)
        start = 4 + length
        return _value(json.loads(data[4:start]), memoryview(data)[start:], borrow, 0)
    except (ValueError, TypeError, LookupError, RecursionError, struct.error) as error:
        raise ValueError(f"no message: {error}") from error


def _value(node: Any, blobs: memoryview, borrow: Callable[[list[Any]], Any], depth: int) -> Any:
    if not isinstance(node, list):
        if isinstance(node, dict):
            raise ValueError("a JSON object")
        return node
    if depth > _DEPTH + 2:
        raise ValueError("too deep")

    def inside(one: Any) -> Any:
        return _value(one, blobs, borrow, depth + 1)

    kind, *rest = node
    if kind in ("array", "scalar", "tensor"):
        array = _array(blobs, *rest)
        return array if kind == "array" else array[()] if kind == "scalar" else Tensor(array)
    if kind == "list":
        return [inside(one) for one in rest[0]]
    if kind == "tuple":
        return tuple(inside(one) for one in rest[0])
    if kind == "dict":
        return {inside(key): inside(value) for key, value in rest[0]}
    if kind == "bytes":
        return bytes(blobs[_whole(rest[0]) :][: _whole(rest[1])])
    if kind == "complex":
        return complex(float(rest[0]), float(rest[1]))
    if kind == "ellipsis":
        return ...
    if kind == "other":
        return type(str(rest[0]).replace("\0", "")[:80], (), {})()
    return borrow(node)


def _array(blobs: memoryview, dtype: Any, shape: Any, start: Any) -> np.ndarray:
    kind = np.dtype(str(dtype))
    if kind.kind not in _KINDS or kind.names or kind.subdtype or len(shape) > 32:
        raise ValueError(f"an array of {dtype}")
    sizes = [_whole(size) for size in shape]
    count = math.prod(sizes)
    if kind.itemsize * count > len(blobs) or max(sizes, default=0) >= 1 << 40:
        raise ValueError("an array that is not there")
    if count == 0:
        return np.zeros(sizes, kind)
    data = blobs[_whole(start) :][: count * kind.itemsize]
    return np.frombuffer(data, kind, count).reshape(sizes).copy()


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
        self.end.sendall(_HEAD.pack(len(data), 0x6D696E72) + data)

    def receive(self) -> bytes:
        """The next message; EOFError if there will be none, TimeoutError if time is up."""
        length, mark = _HEAD.unpack(self._read(_HEAD.size))
        if mark != 0x6D696E72 or length > MOST_BYTES:
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
