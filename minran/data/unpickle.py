"""Read the pickles of CIFAR's Python edition without running them.

A pickle is a program for a small stack machine, and `pickle.load` lets it call whatever it names;
even NumPy's own constructors can be made to take the file's bytes for addresses in memory. So this
is a machine of its own, which builds numbers, text, bytes, lists, tuples and dictionaries, and
nothing else. Where a pickle calls one of the functions that rebuild an array, it only notes shape,
dtype and bytes, of which `np.frombuffer` makes an array at the end.
"""

from __future__ import annotations

import codecs
import io
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minran.data.dataset import need
from minran.errors import DataError
from minran.files import read_bytes

MAX_BYTES = 1 << 28  # the largest published file has 155 million bytes
# The longest published program has 200,000 steps, or 500,000 as Python 3 writes it. A step takes
# a hundred bytes or two of memory, besides what it copies from the file.
MAX_STEPS = 2_000_000


def load_pickle(path: Path) -> dict[str, Any]:
    """Read a dictionary of arrays, lists, numbers, text and bytes from the pickle at `path`.

    Nothing in the file is called, and memory stays within a small multiple of the file's size. Keys
    come as str, whichever Python wrote them; arrays are read-only.

    Raises DataError naming the file when it is damaged, asks for anything else, has more than
    MAX_BYTES bytes or MAX_STEPS steps, or is not a dictionary.
    """
    program = read_bytes(path, MAX_BYTES)
    try:
        content = _run(program)
        found = isinstance(content, dict)
        need(found, f"expected a dictionary, got {type(content).__name__}")
        return {key: _finished(value) for key, value in content.items()}
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # A damaged pickle can raise nearly anything.
        reason = f"{type(error).__name__}: {error!s:.200}"
        raise DataError(f"{path}: not a readable pickle ({reason})") from error


@dataclass
class _DType:
    """What a pickle says of a dtype: a name such as u1, and a byte order."""

    name: Any
    order: Any = "="

    def set_state(self, state: Any) -> None:
        """(version, order, then what only structured dtypes have)."""
        self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        text = _text(self.order) + _text(self.name)
        known = re.fullmatch("[=<>|]([iu][1248]|f[248]|b1)", text)
        need(known is not None, f"refused: an array of dtype {text:.99}")
        return np.dtype(text)


@dataclass
class _Array:
    """What a pickle says of an array."""

    shape: Any = ()
    dtype: Any = None
    content: Any = b""
    order: Any = "C"

    def set_state(self, state: Any) -> None:
        """(version, shape, dtype, whether columns come first, bytes)."""
        _, self.shape, self.dtype, by_columns, self.content = state
        self.order = "F" if by_columns else "C"

    def numpy(self) -> np.ndarray:
        plain = isinstance(self.dtype, _DType) and isinstance(self.content, (bytes, bytearray))
        need(plain, "refused: an array without a plain dtype or without bytes")
        kind = type(self.shape).__name__
        need(kind == "tuple", f"refused: an array whose shape is a {kind}")
        flat = np.frombuffer(self.content, self.dtype.numpy())
        return flat.reshape(self.shape, order=self.order)


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    """Stand in for _codecs.encode, with which Python 3 writes bytes into old pickles."""
    known = encoding == "latin1" and isinstance(text, str)
    need(known, f"refused: bytes in the encoding {encoding!s:.99}")
    return text.encode("latin-1")


# The functions that rebuild an array, under the names of old and new versions of NumPy.
_STAND_INS: dict[tuple[Any, Any], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): lambda name, align=False, copy=False: _DType(name),
    ("_codecs", "encode"): _encode,
}
for _core in ("numpy.core", "numpy._core"):
    _STAND_INS[f"{_core}.multiarray", "_reconstruct"] = lambda kind, shape, dtype: _Array()
    _STAND_INS[f"{_core}.numeric", "_frombuffer"] = lambda content, dtype, shape, order: _Array(
        shape, dtype, content, order
    )


class _Function:
    """A stand-in on the stack, where nothing else can be called."""

    def __init__(self, module: Any, name: Any) -> None:
        named = isinstance(module, str) and isinstance(name, str)
        need(named, "refused: the pickle asks for something that has no name")
        asked = f"the pickle asks for {module:.99}.{name:.99}"
        need((module, name) in _STAND_INS, f"refused: {asked}, which no array needs")
        self.call = _STAND_INS[module, name]


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS = {"STRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_LITERALS = _NUMBERS | _TEXTS | _BYTES
_STEPS = {step.code: step for step in pickletools.opcodes}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _run(program: bytes) -> Any:
    """What the pickle's machine has on its stack when the program stops."""
    stream = io.BytesIO(program)
    stack: list[Any] = []
    marked: list[list[Any]] = []
    memo: dict[int, Any] = {}
    for _ in range(MAX_STEPS):
        name, argument = _read_step(stream)
        if name in _LITERALS:
            stack.append(argument)
        elif name in ("BINSTRING", "SHORT_BINSTRING"):
            stack.append(argument.encode("latin-1"))  # Python 2's str: bytes
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            marked.append(stack)
            stack = []
        elif name in ("LIST", "TUPLE", "DICT", "APPENDS", "SETITEMS"):
            items, stack = stack, marked.pop()
            if name in ("LIST", "TUPLE"):
                stack.append(items if name == "LIST" else tuple(items))
                continue
            if name == "DICT":
                stack.append({})
            _extend(stack[-1], items, list if name == "APPENDS" else dict)
        elif name == "APPEND":
            item = stack.pop()
            _extend(stack[-1], [item], list)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _extend(stack[-1], [key, value], dict)
        elif name in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[name])]
            stack.append(tuple(reversed(items)))
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name == "GLOBAL":
            stack.append(_Function(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            function = stack.pop()
            stack[-1] = _Function(stack[-1], function)
        elif name == "REDUCE":
            arguments = stack.pop()
            is_function = isinstance(stack[-1], _Function)
            need(is_function, "refused: the pickle calls something that is no function")
            stack[-1] = stack[-1].call(*arguments)
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].set_state(state)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise DataError(f"refused: the pickle has the step {name}, which no array needs")
    raise DataError(f"refused: the pickle has more than {MAX_STEPS:,} steps")


def _read_step(stream: io.BytesIO) -> tuple[str, Any]:
    """The name and the argument of the next step."""
    code = stream.read(1)
    step = _STEPS.get(code.decode("latin-1"))
    if step is None:
        raise ValueError(f"unknown step {code!r}" if code else "it ends too early")
    if step.name == "STRING":  # a literal of Python 2, which pickletools wants in ASCII
        line = stream.readline()
        if len(line) < 3 or line[-1:] != b"\n" or line[0] != line[-2] or line[:1] not in b"'\"":
            raise ValueError("a text without quotes")
        return step.name, codecs.escape_decode(line[1:-2])[0]
    return step.name, None if step.arg is None else step.arg.reader(stream)


def _extend(target: Any, items: list[Any], kind: type[Any]) -> None:
    """Add items to a list, or keys and values in turn to a dictionary."""
    if type(target) is not kind:
        raise DataError(f"refused: items for a {kind.__name__} go to a {type(target).__name__}")
    if kind is list:
        target.extend(items)
        return
    for key, value in zip(items[::2], items[1::2], strict=True):
        # A key may not be a tuple: hashing one that is a million deep ends the process.
        target[_text(key)] = value


def _text(key: Any) -> str:
    kind = type(key).__name__
    need(isinstance(key, (str, bytes)), f"expected text, such as a dictionary's key, got {kind}")
    return key if isinstance(key, str) else key.decode("latin-1")


def _finished(value: Any) -> Any:
    alone = isinstance(value, (_DType, _Function))
    need(not alone, "refused: what belongs into an array stands alone")
    return value.numpy() if isinstance(value, _Array) else value
