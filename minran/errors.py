"""The errors minran raises, and the helpers that raise them.

Every message names the thing, says what was expected and what came.
"""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Collection, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np


class MinranError(Exception):
    """Base class of every error that minran raises on purpose."""


class ShapeError(MinranError, ValueError):
    """An array has the wrong shape, dtype or value for the operation that received it."""


class NoEntryError(ShapeError, IndexError):
    """An index that a tensor does not have; an IndexError too, which ends Python's loops."""


class GradientError(MinranError, RuntimeError):
    """The gradient that was asked for does not exist (any more)."""


class DataError(MinranError, ValueError):
    """A data file is missing, truncated, renamed or not what it claims to be."""


class BackendError(MinranError, RuntimeError):
    """A backend is unknown or cannot run on this machine."""


class RecipeError(MinranError, ValueError):
    """A recipe or a model option has an unknown key or a value of the wrong kind."""


class CheckpointError(MinranError, ValueError):
    """A checkpoint is missing, damaged, or belongs to another model."""


class OutputError(MinranError, OSError):
    """What was printed did not arrive, and not because its reader went away: a full disk."""


Kind = type[MinranError]  # which of these errors


def expect(condition: bool, message: str, error: Kind = ShapeError) -> None:
    """Raise `error(message)` unless `condition` holds."""
    if not condition:
        raise error(message)


def expect_number(
    value: Any, what: str, least: float = 0, below: float = math.inf, error: Kind = ShapeError
) -> None:
    """Raise `error` unless `value` is a finite number of [least, below)."""
    _expect_within(Real, "a number", value, what, least, below, error)


def expect_whole(
    value: Any, what: str, least: float = 1, below: float = math.inf, error: Kind = ShapeError
) -> None:
    """Raise `error` unless `value` is a whole number of [least, below)."""
    _expect_within(Integral, "a whole number", value, what, least, below, error)


def _expect_within(
    kind: type, name: str, value: Any, what: str, least: float, below: float, error: Kind
) -> None:
    # True is a number to Python, but never one that somebody meant; NaN is in no range.
    good = isinstance(value, kind) and not isinstance(value, bool | np.bool_)
    if not (good and least <= value < below and value > -math.inf):
        limits = f" of at least {least}" if math.isfinite(least) else ""
        limits = f" in [{least}, {below})" if math.isfinite(below) else limits
        raise error(f"{what} must be {name}{limits}, got {shortened(value)}")


def expect_bool(value: Any, what: str, error: Kind = ShapeError) -> None:
    """Raise `error` unless `value` is True or False: "no" would count as True."""
    if not isinstance(value, bool | np.bool_):
        raise error(f"{what} must be True or False, got {shortened(value)}")


def shortened(value: Any) -> str:
    """What `repr` says, cut where it is long."""
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def nearest(word: str, known: Collection[str], cutoff: float = 0.5) -> str | None:
    """The known name that someone who wrote `word` may have meant."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return close[0] if close else None


def did_you_mean(word: str, known: Collection[str]) -> str:
    """The end of a message about a `word` that is not known: the nearest one, else all."""
    close = nearest(word, known)
    return f"did you mean {close!r}?" if close else f"known: {', '.join(known) or 'none'}"


def some(names: Sequence[str], most: int = 3, separator: str = ", ") -> str:
    """The first names, and how many more there are."""
    more = f"{separator.strip(', ')} and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def import_extra(module: str, extra: str, what: str, error: Kind = BackendError) -> Any:
    """Import `module`, which comes with minran's `extra`.

    Raises `error` if it is missing: `what` ("export_onnx needs onnx"), and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise error(f"{what}: {pip_install(extra)}") from problem


def pip_install(extra: str) -> str:
    """How what belongs to an `extra` of minran is installed."""
    return f'pip install "minran[{extra}]"'
