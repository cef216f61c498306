"""What a check is: comparisons that say where two answers differ, and `check`, which runs it.

A check is a function `check_3_1(col2im)` in `checks`; its parameter has the name of the answer in
the notebook, and its docstring is the hint for a wrong answer of which no comparison knows more.
It computes what it expects with the library, compares, and raises `Wrong` if the answer differs.
In a notebook the answer is the student's object. In grading it is a `Remote`: calls go to the
student's process and bring back data, so the same check judges where the student's code cannot
reach.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from minran.autograd import Tensor, tensor
from minran.errors import DataError, GradientError, MinranError, expect
from minran.gradcheck import gradcheck
from minran.hints import checked
from minran.workshop.course.checks import NOTEBOOKS
from minran.workshop.course.kept import FILE, cells_that_ran, is_kept, keep
from minran.workshop.course.show import PACKAGE, passed_tasks

RECORD = "MINRAN_COURSE_RECORD"
"""The environment variable that names a file for outcomes; the tests of the notebooks read it."""

GRADING = "MINRAN_GRADING"
"""Set in the student's process: `check` does nothing there, the verdict is made outside."""

NBGRADER = "NBGRADER_EXECUTION"
"""Set by nbgrader, for which a check must raise an error if the answer is wrong."""

PASSED, WRONG, BLANK, ERROR, NOT_REACHED = "passed", "wrong", "blank", "error", "not reached"

Function = Callable[..., Any]
"""What most answers are, others are `type[Module]`; the parameter of a check says so."""


class Wrong(MinranError):  # noqa: N818  (a verdict, not a fault)
    """An answer is wrong: what differed, where, and a hint that does not give it away."""

    def __init__(self, message: str, where: str = "", hint: str = "") -> None:
        parts = (message, where and f"  where: {where}", hint and f"  hint:  {hint}")
        super().__init__("\n".join(filter(None, parts)))
        self.message, self.where, self.hint = message, where, hint


def require(right: bool, message: str, where: str = "", hint: str = "") -> None:
    """Raise Wrong unless the answer is right."""
    if not right:
        raise Wrong(message, where, hint)


class Raised(Exception):  # noqa: N818  (what happened there)
    """The student's code raised an error in its own process."""

    def __init__(self, name: str, message: str, where: str) -> None:
        super().__init__(f"{name}: {message}")
        self.where = where


class Remote:
    """A function, class or generator of the student's process; calling it calls it there."""

    def __init__(self, caller: Function, number: int, kind: str, module: str, name: str) -> None:
        self.caller, self.number, self.kind = caller, number, kind
        self.__module__, self.__qualname__ = module, name

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.caller(self, args, options)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.__qualname__}>"


def beside(function: Function, *args: Any) -> Any:
    """`function(*args)`, run where the answer among the arguments lives.

    For answers that plain data cannot replace: modules, tests of modules. `function` is one of a
    module of minran; it returns data, and knows no right answer.
    """
    remote = next((one for one in args if isinstance(one, Remote)), None)
    return function(*args) if remote is None else remote.caller(function, args, {})


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


def gradients(
    rng: np.random.Generator, f: Function, *inputs: np.ndarray, **options: Any
) -> tuple[Any, ...]:
    """y = f(*inputs), a random gradient gy at y, and what backward makes of it for each input."""
    leaves = [tensor(x.copy(), requires_grad=True) for x in inputs]
    y = f(*leaves, **options)
    gy = rng.standard_normal(y.shape)
    y.backward(gy.copy())
    return y.numpy(), gy, *(leaf.grad for leaf in leaves)


# --- comparisons


@checked()
def compare(
    name: str, got: Any, expected: Any, hint: str = "", tol: float = 1e-10, where: str = ""
) -> None:
    """Raise Wrong unless the numbers `got` are those `expected`, in shape, kind and value.

    got, expected: arrays, Tensors, numbers or nested lists. An entry's error is its distance
    over the largest entry expected; the worst entry is named. where: words about the case
    ("stride 2"), written before the place.
    """
    b, a = _as_array(name, expected), _as_array(name, got, hint)
    if a.shape != b.shape:
        flipped = "the axes came in the opposite order" * (a.shape == b.shape[::-1])
        raise Wrong(f"{name} has shape {a.shape}, expected {b.shape}", where, hint or flipped)
    # A float answer may be of any precision; whole numbers may stand for a float's value, and a
    # float for a count.
    kinds = [one.dtype.kind.replace("u", "i") for one in (a, b)]
    counts = kinds == ["f", "i"] and not isinstance(expected, np.ndarray)
    if kinds[0] != kinds[1] and kinds != ["i", "f"] and not counts:
        text = f"{name} has dtype {a.dtype}, expected {b.dtype}"
        raise Wrong(text, where or "its dtype", hint)
    numbers = kinds[0] in "fibc"
    if numbers:
        a, b = a.astype(np.float64), b.astype(np.float64)
    error = _errors(a, b) if numbers else np.where(a != b, np.inf, 0.0)
    if error.max(initial=0.0) <= tol:
        return
    infinite = ~np.isfinite(a) & np.isfinite(b) if numbers else np.zeros(1)
    place = tuple(map(int, np.argwhere(infinite if infinite.any() else error == error.max())[0]))
    at = f"at {list(place) if place else 'the number'}"
    if not numbers:
        what, text = "differs", f"{at}: expected {b[place].item()!r}, got {a[place].item()!r}"
    elif infinite.any():
        what = "holds numbers that are not finite"
        text = f"{at}: expected {b[place]:.6g}, got {a[place]}"
    else:
        digits = next((n for n in (9, 13) if f"{a[place]:.{n}g}" != f"{b[place]:.{n}g}"), 17)
        text = f"expected {b[place]:.{digits}g}, got {a[place]:.{digits}g}"
        what = f"is wrong{_pattern(a, b)}"
        if error.size > 1:
            many = f"{int((error > tol).sum())} of {error.size} entries differ"
            text = f"worst {at}: {text}; {many}"
    raise Wrong(f"{name} {what}", f"{where}; {text}" if where else text, hint)


def _errors(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far each entry of a is from that of b, over the largest of b; inf where one is none."""
    scale = np.abs(b[np.isfinite(b)]).max(initial=np.finfo(float).tiny)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b) / scale)
    return np.where(np.isnan(error), np.inf, error)


def _pattern(a: np.ndarray, b: np.ndarray) -> str:
    """What all entries have in common, if anything."""
    if not a.any() and b.any():
        return ": it is zero everywhere"
    large = np.isfinite(a) & np.isfinite(b) & (np.abs(b) > 1e-2 * np.abs(b).max())
    if large.sum() >= 2:
        ratio = np.median(a[large] / b[large])
        # Where the right answer is 0, too.
        alike = np.isfinite(a).all() and (_errors(a, ratio * b) <= 1e-6).all()
        if alike and abs(ratio - 1) > 1e-6:
            return f": it is {ratio:.6g} times the right answer everywhere"
    return ""


def _as_array(name: str, value: Any, hint: str = "") -> np.ndarray:
    if value is ...:
        raise NotImplementedError(name)
    require(
        value is not None, f"{name} is None", "", hint or "does the function end with a return?"
    )
    try:
        array = np.asarray(value.numpy() if isinstance(value, Tensor) else value)
    except ValueError as error:
        raise Wrong(f"{name} cannot be read as an array: {error}", hint=hint) from error
    require(array.dtype != object, f"{name} must hold numbers, got {_type(value)}", "", hint)
    return array


def _type(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def known_as(got: Any, right: Any, known: Mapping[str, Any]) -> str:
    """The first hint of those that `got` may need, or "".

    known: by hint, the wrong answer that it is for, whether it fits, or a function of `got` and
    `right` that says so; the function sees only answers of the right shape.
    """
    for hint, wrong in known.items():
        with suppress(TypeError, ValueError), np.errstate(all="ignore"):
            same = np.shape(got) == np.shape(right)
            if callable(wrong):
                wrong = same and bool(wrong(np.asarray(got), right))
            if wrong is True or (wrong is not False and same and np.allclose(got, wrong)):
                return hint
    return ""


@checked()
def unpack(name: str, got: Any, *parts: str) -> tuple[Any, ...]:
    """The parts of an answer that must be a tuple of them; raises Wrong if it is not."""
    if not isinstance(got, (tuple, list)) or len(got) != len(parts):
        wanted = ", ".join(parts)
        what = f"{len(got)} values" if isinstance(got, (tuple, list)) else f"a {_type(got)}"
        raise Wrong(f"{name} returned {what}", f"expected ({wanted})", f"end with: return {wanted}")
    return tuple(got)


@checked(GradientError)
def compare_gradients(
    name: str, f: Callable[..., Tensor], *inputs: Any, hint: str = "", where: str = ""
) -> None:
    """Raise Wrong unless the gradients of f agree with central differences (`gradcheck`)."""
    report = gradcheck(f, *inputs, name=name)
    if not report.passed:
        bad = next(one for one in report.inputs if one.relative_error > report.tolerance)
        place = f"gradient of {bad.name}, worst at {bad.worst}; {bad.hint(report.tolerance)}"
        place = f"{where}; {place}" if where else place
        raise Wrong(f"the gradient of {name} differs from central differences", place, hint)


@checked()
def expect_function(name: str, answer: Any) -> None:
    """Raise Wrong if the answer cannot be called."""
    what = f"{name} must be a function, got {_type(answer)}"
    require(callable(answer), what, "", "pass it without ()")


def _expect_class(name: str, answer: Any, base: type) -> None:
    what = f"{name} must be a class that inherits from {base.__name__}"
    hint = "pass the class itself, without ()"
    require(beside(_inherits, answer, base), what, f"got {answer!r}"[:200], hint)


def _inherits(answer: Any, base: type) -> bool:
    return isinstance(answer, type) and issubclass(answer, base)


# --- outcomes


@dataclass(frozen=True)
class Outcome:
    """How one task stands."""

    task: str
    status: str
    message: str = ""
    where: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.status == PASSED

    def __str__(self) -> str:
        if self.passed:
            return f"Task {self.task}: passed"
        return f"Task {self.task}: not yet - {Wrong(self.message, self.where, self.hint)}"


@checked(DataError)
def check(task: str, answer: Any) -> None:
    """Check an answer and print "passed", or what differed, where, and a hint.

    A function or class that passes in a notebook is kept in the file `my_minran.py` next to it.
    Nothing is raised for a wrong answer, so that a notebook runs on; MinranError says that
    there is no such task.
    """
    if os.environ.get(GRADING):
        return
    outcome = judge(task, answer)
    print(outcome)
    if record := os.environ.get(RECORD):
        with Path(record).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
    if os.environ.get(NBGRADER):
        require(outcome.passed, outcome.message, outcome.where, outcome.hint)
    elif outcome.passed and not is_kept(answer) and (cells := cells_that_ran()):
        named = getattr(answer, "__name__", "") == answer_of(find_check(task))[0]
        if kept := keep_answer(task, cells if named else [], Path(FILE)):
            print(kept)


def keep_answer(task: str, cells: list[str], file: Path) -> str:
    """Keep a task's answer, which the cells define, in the file; "" if it is none for a file."""
    name, kind = answer_of(find_check(task))
    others = [answer_of(checker)[0] for checker in checks_of(task.split(".")[0]).values()]
    return "" if kind is Any else keep(task, name, cells, others, file)


def judge(task: str, answer: Any) -> Outcome:
    """The outcome of a check, without printing it."""
    checker = find_check(task)
    hint = " ".join((checker.__doc__ or "").split())
    try:
        if answer is ...:
            raise NotImplementedError(task)
        home = f"{getattr(answer, '__module__', '')}.{getattr(answer, '__qualname__', '')}"
        theirs = not (callable(answer) and home.startswith("minran."))
        ask = f"task {task} asks for one that you have written"
        require(theirs, f"this is {home}, the library's own", "", ask)
        name, kind = answer_of(checker)
        if kind == Function:
            expect_function(name, answer)
        elif get_origin(kind) is type:
            _expect_class(name, answer, *get_args(kind))
        checker(answer)
    except Wrong as wrong:
        return Outcome(task, WRONG, wrong.message, wrong.where, wrong.hint or hint)
    except NotImplementedError:
        return Outcome(task, BLANK, "the answer is still blank")
    except Raised as error:
        return Outcome(task, ERROR, f"your code raised {error}", error.where, hint)
    except Exception as error:
        message = f"your code raised {type(error).__name__}: {error}"
        return Outcome(task, ERROR, message, place_of(error), hint)
    passed_tasks.add(task)
    return Outcome(task, PASSED)


def place_of(error: BaseException) -> str:
    """The last line of the student's own code that the error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    # The first frames are the check's own; what follows in other files is the answer's, or that
    # of a library that it calls.
    own = str(Path(__file__).parent)
    others = (str(PACKAGE), "<__array", "<frozen", *_LIBRARIES)
    answers = [frame for frame in frames if not frame.filename.startswith(others)]
    inside = answers or [frame for frame in frames if not frame.filename.startswith(own)]
    if not inside:
        return ""
    last = inside[-1]
    return f"line {last.lineno} of {last.name}: {last.line}" if last.line else f"in {last.name}"


_LIBRARIES = tuple(map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")))


# --- which check


def find_check(task: str) -> Callable[[Any], None]:
    """The check of a task "03.1"; DataError if there is none."""
    named = re.fullmatch(r"\d\d[a-z]?\.\d+", task) is not None
    expect(named, f'a task is named like "03.1", got {task!r}', DataError)
    number = task.split(".")[0]
    known = checks_of(number)
    there = f"notebook {number} has {', '.join(known) or 'none'}"
    expect(task in known, f"there is no check for task {task}; {there}", DataError)
    return known[task]


def number_of(value: int | str) -> str:
    """A notebook's number as its file begins: 3 and "3" are "03", "00b" is "00b"."""
    return str(value).zfill(2)


def checks_of(number: str) -> dict[str, Callable[[Any], None]]:
    """The checks of a notebook by task, in order: {"03.1": check_3_1, ...}."""
    for file, numbers in NOTEBOOKS.items():
        if number in numbers:
            found = vars(importlib.import_module(f"minran.workshop.course.checks.{file}"))
            mark = f"check_{number[0].strip('0')}{number[1:]}_"
            names = [name for name in found if name.startswith(mark)]
            return {f"{number}.{name.removeprefix(mark)}": found[name] for name in names}
    return {}


def answer_of(checker: Callable[[Any], None]) -> tuple[str, Any]:
    """The name that the answer has in the notebook, and what it must be: the check's parameter."""
    return next(iter(get_type_hints(checker).items()))
