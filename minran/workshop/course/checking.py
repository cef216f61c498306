"""What a check is made of: `Wrong`, and comparisons that say where two answers differ.

A check is a function `check_3_1(answer)` in `checks.n03`. It computes what it
expects with the library, compares, and raises `Wrong` if the answer differs. In a notebook the
answer is the student's object. In grading it is a `Remote`: calls go to the student's process and
bring back data, so the same check judges where the student's code cannot reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minran.autograd import Tensor
from minran.errors import MinranError
from minran.gradcheck import gradcheck


class Wrong(MinranError):  # noqa: N818  (a verdict, not a fault)
    """An answer is wrong: what differed, where, and a hint that does not give it away."""

    def __init__(self, message: str, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.hint = message, where, hint

    def __str__(self) -> str:
        where = f"\n  where: {self.where}" if self.where else ""
        hint = f"\n  hint:  {self.hint}" if self.hint else ""
        return f"{self.message}{where}{hint}"


class Raised(Exception):  # noqa: N818  (what happened there)
    """The student's code raised an error in its own process."""

    def __init__(self, name: str, message: str, where: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message, self.where = name, message, where


class Remote:
    """A function or class of the student's process; calling it calls it there."""

    def __init__(
        self, caller: Callable[..., Any], number: int, is_class: bool, module: str, name: str
    ) -> None:
        self.caller, self.number, self.is_class = caller, number, is_class
        self.__module__, self.__qualname__ = module, name

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.caller(self, args, options)

    def __repr__(self) -> str:
        return f"<{'class' if self.is_class else 'function'} {self.__qualname__}>"


def beside(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, run where the answer among the arguments lives.

    For answers that plain data cannot replace: modules, tests of modules. `function` is one of a
    module of minran; it returns data, and knows no right answer.
    """
    for one in args:
        if isinstance(one, Remote):
            return one.caller(function, args, {})
    return function(*args)


_secret: list[int] = []


@contextmanager
def secret_inputs(number: int) -> Iterator[None]:
    """Within the block `generator` draws what nobody knows who does not know the number."""
    _secret[:] = [number]
    try:
        yield
    finally:
        _secret.clear()


def generator(*numbers: int) -> np.random.Generator:
    """Where a check's inputs come from: always the same in a notebook, secret in grading."""
    return np.random.default_rng([*numbers, *_secret])


def compare(
    name: str, got: Any, expected: Any, hint: str = "", tol: float = 1e-10, where: str = ""
) -> None:
    """Raise Wrong unless the numbers `got` are those `expected`, in shape, kind and value.

    got, expected: arrays, Tensors, numbers or nested lists. An entry's error is its distance
    over the largest entry expected; the worst entry is named. where: words about the case
    ("stride 2"), written before the place.
    """
    wanted = _as_array(name, expected)
    array = _as_array(name, got, hint)
    case = f"{where}; " if where else ""
    if array.shape != wanted.shape:
        flipped = array.shape == wanted.shape[::-1]
        raise Wrong(
            f"{name} has shape {array.shape}, expected {wanted.shape}",
            where,
            hint or ("the axes came in the opposite order" if flipped else ""),
        )
    # Whole numbers may stand for a float's value; the value is compared anyway.
    kinds = _kind(array), _kind(wanted)
    if kinds[0] != kinds[1] and kinds != ("i", "f"):
        raise Wrong(
            f"{name} has dtype {array.dtype}, expected {wanted.dtype}", where or "its dtype", hint
        )
    if wanted.size == 0:
        return
    if array.dtype.kind not in "fiubc":
        different = array != wanted
        if different.any():
            place = _first(different)
            one, other = wanted[place].item(), array[place].item()
            text = f"{case}at {_name(place)}: expected {one!r}, got {other!r}"
            raise Wrong(f"{name} differs", text, hint)
        return
    _compare_numbers(name, array, wanted, hint, tol, case)


def _compare_numbers(
    name: str, array: np.ndarray, wanted: np.ndarray, hint: str, tol: float, case: str
) -> None:
    a, b = array.astype(np.float64), wanted.astype(np.float64)
    bad = ~np.isfinite(a) & np.isfinite(b)
    if bad.any():
        place = _first(bad)
        text = f"{case}at {_name(place)}: expected {b[place]:.6g}, got {a[place]}"
        raise Wrong(f"{name} holds numbers that are not finite", text, hint)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    scale = max(float(np.abs(b[np.isfinite(b)]).max(initial=0.0)), np.finfo(float).tiny)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(same, 0.0, np.abs(a - b) / scale)
    error[np.isnan(error)] = np.inf
    wrong = error > tol
    if not wrong.any():
        return
    place = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
    many = f"{int(wrong.sum())} of {wrong.size} entries differ" if wrong.size > 1 else "it differs"
    text = f"{case}worst at {_name(place)}: expected {b[place]:.9g}, got {a[place]:.9g}; {many}"
    if wrong.size == 1:
        text = f"{case}expected {b[place]:.9g}, got {a[place]:.9g}"
    pattern = _pattern(a, b)
    raise Wrong(f"{name} is wrong{f': {pattern}' if pattern else ''}", text, hint)


def _pattern(a: np.ndarray, b: np.ndarray) -> str:
    """What all entries have in common, if anything."""
    if not a.any() and b.any():
        return "it is zero everywhere"
    large = np.isfinite(a) & np.isfinite(b) & (np.abs(b) > 1e-2 * np.abs(b).max())
    if large.sum() < 2:
        return ""
    ratios = a[large] / b[large]
    if np.ptp(ratios) < 1e-6 * np.abs(ratios).max():
        return f"it is {np.median(ratios):.6g} times the right answer everywhere"
    return ""


def unpack(name: str, got: Any, *parts: str) -> tuple[Any, ...]:
    """The parts of an answer that must be a tuple of them; raises Wrong if it is not."""
    if not isinstance(got, (tuple, list)) or len(got) != len(parts):
        wanted = ", ".join(parts)
        what = f"{len(got)} values" if isinstance(got, (tuple, list)) else f"a {_type(got)}"
        raise Wrong(f"{name} returned {what}", f"expected ({wanted})", f"end with: return {wanted}")
    return tuple(got)


def compare_gradients(
    name: str, f: Callable[..., Tensor], *inputs: Any, hint: str = "", where: str = ""
) -> None:
    """Raise Wrong unless the gradients of f agree with central differences (`gradcheck`)."""
    report = gradcheck(f, *inputs, name=name)
    if report.passed:
        return
    case = f"{where}; " if where else ""
    bad = next(one for one in report.inputs if one.relative_error > report.tolerance)
    found = bad.hint(report.tolerance)
    place = f"{case}gradient of {bad.name}, worst at {bad.worst}; {found}"
    raise Wrong(f"the gradient of {name} differs from central differences", place, hint)


def expect_function(name: str, answer: Any) -> None:
    """Raise Wrong if the answer cannot be called."""
    if not callable(answer):
        raise Wrong(f"{name} must be a function, got {_type(answer)}", hint="pass it without ()")


def expect_class(name: str, answer: Any, base: type) -> None:
    """Raise Wrong if the answer is no class that inherits from `base`."""
    if not beside(_inherits, answer, base):
        raise Wrong(
            f"{name} must be a class that inherits from {base.__name__}",
            f"got {answer!r}"[:200],
            "pass the class itself, without ()",
        )


def _inherits(answer: Any, base: type) -> bool:
    return isinstance(answer, type) and issubclass(answer, base)


def _as_array(name: str, value: Any, hint: str = "") -> np.ndarray:
    if value is None:
        raise Wrong(f"{name} is None", hint=hint or "does the function end with a return?")
    if value is ...:
        raise NotImplementedError(name)
    if isinstance(value, Tensor):
        value = value.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise Wrong(f"{name} cannot be read as an array: {error}", hint=hint) from error
    if array.dtype == object:
        raise Wrong(f"{name} must hold numbers, got {_type(value)}", hint=hint)
    return array


def _kind(array: np.ndarray) -> str:
    """float, integer, bool or text: a float answer may be of any precision."""
    kind = array.dtype.kind
    return "i" if kind in "iu" else kind


def _first(where: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(where)[0])


def _name(place: tuple[int, ...]) -> str:
    return str(list(place)) if place else "the number"


def _type(value: Any) -> str:
    return "None" if value is None else type(value).__name__
