"""Arguments that are what their annotations say, or a sentence about the one that is not."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import os
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from minran.errors import (
    Kind,
    MinranError,
    ShapeError,
    expect_bool,
    expect_number,
    expect_whole,
    shortened,
)

Thing = TypeVar("Thing", bound=Callable[..., Any])
_KINDS: dict[Any, str] = {np.ndarray: "a NumPy array", str: "text", Path: "a path"}


def checked(
    error: Kind = ShapeError, **limits: float | str | tuple[str, ...]
) -> Callable[[Thing], Thing]:
    """Let a function, or the `__init__` of a class, check its arguments against its annotations.

    Raises `error` naming the function and the argument, before the function runs. Whole numbers,
    finite numbers, True or False, text, paths, arrays, classes of minran, and sequences and
    mappings of those are checked; other annotations are not. What asks for more memory than there
    is raises `error` too.

    limits: by argument, the least number that it, or each of a list, may be; the words; or the axes
    of an array: "(N, 3)".
    """

    def wrap(thing: Thing) -> Thing:
        if isinstance(thing, type):
            thing.__init__ = _wrapped(thing.__init__, thing.__name__, error, limits)  # type: ignore[misc]
            return thing
        return typing.cast(Thing, _wrapped(thing, thing.__name__, error, limits))

    return wrap


def _wrapped(function: Any, name: str, error: Kind, limits: dict[str, Any]) -> Any:
    signature = inspect.signature(function)
    hints: dict[str, Any] = {}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        # Evaluated at the first call: an annotation may name what is defined further down.
        hints.update(hints or _hints(signature, function))
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # Python says what is missing, or too much
        for key, value in given.items():
            if key in hints:
                _check(hints[key], value, f"{name}: {key}", error, limits.get(key, -math.inf))
        try:
            return function(*args, **kwargs)
        except MemoryError as memory:
            raise error(f"{name}: there is not enough memory for that ({memory})") from memory

    return call


def _hints(signature: inspect.Signature, function: Any) -> dict[str, Any]:
    """The annotations that can be evaluated; those for type checkers only cannot."""
    names = vars(sys.modules[function.__module__]) | function.__globals__
    found: dict[str, Any] = {}
    for name, one in signature.parameters.items():
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL) and one.annotation != one.empty:
            # One by one: those of another argument, or of the result, may be beyond reach.
            alone = types.SimpleNamespace(__annotations__={name: one.annotation})
            with contextlib.suppress(NameError, AttributeError):
                found |= typing.get_type_hints(alone, names)
    return found


def _check(hint: Any, value: Any, what: str, error: Kind, limit: Any = -math.inf) -> None:
    """Raise `error` unless `value` is what `hint` says, and within the limit."""
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)

    def need(good: bool, kind: str, given: Any = value) -> None:
        if not good:
            shown = f"{type(given).__name__} {shortened(given)}"
            shown = f"an array {given.shape}" if isinstance(given, np.ndarray) else shown
            raise error(f"{what} must be {kind}, got {shown}")

    if origin in (types.UnionType, typing.Union):
        _check_union(inner, value, what, error, limit)
    elif isinstance(limit, tuple):
        need(isinstance(value, str) and value in limit, " or ".join(map(repr, limit)))
    elif isinstance(limit, str):
        own = value.shape if isinstance(value, np.ndarray) else ()
        axes = [axis for axis in limit.strip("()").split(",") if axis]
        fits = all(not axis.strip().isdigit() or int(axis) == size for axis, size in zip(axes, own))
        need(len(axes) == len(own) and fits, f"an array {limit}")
    elif hint is int:
        expect_whole(value, what, limit, error=error)
    elif hint is float:
        expect_number(value, what, limit, error=error)
    elif hint is bool:
        expect_bool(value, what, error)
    elif origin is tuple and ... not in inner:
        need(isinstance(value, tuple | list) and len(value) == len(inner), f"{len(inner)} values")
        for one, item in zip(inner, value, strict=True):
            _check(one, item, what, error)
    elif origin in (Sequence, list, tuple, Collection):
        many = isinstance(value, Collection)  # can be gone through more than once
        need(many and not isinstance(value, str | bytes | Mapping), "a list")
        if inner and not isinstance(value, np.ndarray):
            for item in value:
                _check(inner[0], item, f"{what}: each", error, limit)
    elif origin in (Mapping, dict):
        need(isinstance(value, Mapping), "a dictionary")
        for key, item in value.items():
            need(inner[0] is not str or isinstance(key, str), "by name", key)
            _check(inner[1], item, f"{what}[{key!r}]", error)
    elif origin is Iterable:
        need(isinstance(value, Iterable) and not isinstance(value, str | bytes), "a list")
    elif origin is Callable:
        need(callable(value), "a function")
    elif hint is Path or origin is os.PathLike:
        need(isinstance(value, str | os.PathLike) and "\0" not in os.fsdecode(value), "a path")
    elif isinstance(hint, type) and hint is not Any:
        need(isinstance(value, hint), _KINDS.get(hint, f"a {hint.__name__}"))


def _check_union(kinds: tuple[Any, ...], value: Any, what: str, error: Kind, limit: Any) -> None:
    """Any of several; with one kind and None, the sentence is about that kind."""
    rest = [kind for kind in kinds if kind is not type(None)]
    if value is None and len(rest) < len(kinds):
        return
    if any(kind is Path or typing.get_origin(kind) is os.PathLike for kind in rest):
        rest = [Path]
    failures = []
    for kind in rest:
        try:
            return _check(kind, value, what, error, limit)
        except MinranError as problem:
            failures.append(problem)
    raise failures[0]  # the wider kind of number or list is written first
