"""The errors minran raises, and the one helper that raises them.

Every message names the thing, says what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MinranError(Exception):
    """Base class of every error that minran raises on purpose."""


class ShapeError(MinranError, ValueError):
    """An array has the wrong shape, dtype or value for the operation that received it."""


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


def expect(condition: bool, message: str, error: type[MinranError] = ShapeError) -> None:
    """Raise `error(message)` unless `condition` holds."""
    if not condition:
        raise error(message)


@contextmanager
def naming(op: str, shapes: str) -> Iterator[None]:
    """Add the operation's name and its shapes to a ShapeError raised in the block."""
    try:
        yield
    except ShapeError as error:
        raise ShapeError(f"{op}: {error} ({shapes})") from error
