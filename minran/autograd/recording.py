"""Whether operations are recorded for `backward`: `no_grad` says no, for a block or a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

from minran.errors import GradientError, expect

_closed: ContextVar[int] = ContextVar("closed", default=0)
"""How many `no_grad` blocks are open here. A number, so that blocks may end in any order."""


def is_recording() -> bool:
    """Whether operations are recorded for `backward`."""
    return _closed.get() == 0


class no_grad:  # noqa: N801 - reads as a verb, like use
    """Compute without recording: results need no gradient and keep nothing for one.

    Works as a context manager and as a decorator, with or without parentheses, nested and as
    often as you like; it holds for its own thread (and asyncio task) only. A decorated generator
    runs without recording, and its caller records as before; a block around a `yield` holds for
    the caller too until the generator goes on.

    Raises GradientError for a decorated thing that is no function.
    """

    def __new__(cls, function: Any = None) -> Any:
        """`@no_grad` alone is `@no_grad()`."""
        return super().__new__(cls) if function is None else cls()(function)

    def __enter__(self) -> None:
        _closed.set(_closed.get() + 1)

    def __exit__(self, *error: object) -> None:
        # A generator that another thread drops leaves a block there that it did not enter.
        _closed.set(max(0, _closed.get() - 1))

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        expect(
            callable(function) and not inspect.isasyncgenfunction(function),
            f"no_grad: expected a function to decorate, got {function!r}",
            GradientError,
        )
        if inspect.isgeneratorfunction(function):
            return self._around_generator(function)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **options: Any) -> Any:
                with self:
                    return await function(*args, **options)

            return awaited

        @functools.wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            with self:
                return function(*args, **options)

        return called

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The generator with a block around each of its stretches, from one yield to the next."""

        @functools.wraps(function)
        def stretches(*args: Any, **options: Any) -> Generator[Any, Any, Any]:
            generator = function(*args, **options)
            resume, value = generator.send, None
            try:
                while True:
                    try:
                        with self:
                            result = resume(value)
                    except StopIteration as end:
                        return end.value
                    try:
                        value = yield result
                        resume = generator.send
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        resume, value = generator.throw, error
            finally:
                with self:
                    generator.close()

        return stretches
