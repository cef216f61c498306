"""Where a gradient check cannot tell it says so; it never says passed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minran import Op, Tensor, ops, tensor
from minran.errors import GradientError, MinranError
from minran.gradcheck import GradcheckReport, gradcheck

X = np.array([1.0, -2.0, 0.5])


class Scaled(Op):
    """y = x, with a gradient of `factor`."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, x: Any) -> Any:
        return x * 1

    def backward(self, gy: Any) -> tuple[Any]:
        return (gy * self.factor,)


SIZES = [1e-12, 1e-6, 1.0, 1e4, 1e7, 1e8, 1e9, 1e10, 1e12, 1e15, 1e30, 1e150]


@pytest.mark.parametrize("count", [3, 600])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("factor", [0.0, 0.9, 1.1, -1.0, 1 + 1e-4])
def test_a_wrong_gradient_never_passes(factor: float, size: float, count: int) -> None:
    x = size * np.random.default_rng(0).uniform(1, 2, count)
    report = gradcheck(lambda x: Scaled(factor)(x), x, max_entries=20, directions=2)
    assert report.verdict == "FAILED"


@pytest.mark.parametrize("count", [3, 600])
@pytest.mark.parametrize("size", SIZES)
def test_a_right_one_passes_at_any_size(size: float, count: int) -> None:
    x = size * np.random.default_rng(0).uniform(1, 2, count)
    report = gradcheck(lambda x: Scaled(1.0)(x), x, max_entries=20, directions=2)
    assert report.passed, report


@pytest.mark.parametrize("eps", [1e-9, 1e-10, 1e-12, 1e-14, 1e-16])
@pytest.mark.parametrize("factor", [0.0, 0.9, 1.0, 7.0])
@pytest.mark.parametrize("x", [X, 1e8 * X, np.array([1.0] * 600)], ids=["1", "1e8", "many"])
def test_steps_that_rounding_swallows(x: np.ndarray, factor: float, eps: float) -> None:
    report = gradcheck(lambda x: Scaled(factor)(x), x, eps=eps, max_entries=20)
    assert not report.passed
    if report.verdict == "CANNOT TELL":
        assert "cannot tell: rounding of f hides errors of up to" in str(report)
        assert "take eps=" in str(report)
        assert "kink" not in str(report)


def test_the_advice_helps() -> None:
    report = gradcheck(lambda x: x * x, X, eps=1e-12)
    assert report.verdict == "CANNOT TELL"
    eps = float(str(report).split("take eps=")[1].split()[0])
    assert gradcheck(lambda x: x * x, X, eps=eps).passed


@pytest.mark.parametrize("offset", [1e5, 1e8, 1e12, 1e15])
@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_large_constants_hide_the_gradient(factor: float, offset: float) -> None:
    report = gradcheck(lambda x: Scaled(factor)(x) + offset, X)
    assert not report.passed, report
    assert report.verdict == "CANNOT TELL" or factor != 1


def test_no_gradient_at_all_is_seen() -> None:
    assert gradcheck(lambda x: ops.softmax(x).sum(-1), X.reshape(1, 3)).passed
    assert gradcheck(lambda x, y: x * 0 + y, X, X).passed


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_single_precision_within_f(dtype: Any) -> None:
    """Rounding is that of the precision in which f answers."""

    def f(x: Tensor) -> Tensor:
        return Cast(dtype)(x)

    report = gradcheck(f, X)
    assert report.verdict == "CANNOT TELL"
    assert "f returned" in str(report)
    assert gradcheck(ops.sigmoid, X.astype(dtype)).passed  # inputs are converted


class Cast(Op):
    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def forward(self, x: Any) -> Any:
        return (x * x).astype(self.dtype) + 0 * self.keep(x)

    def keep(self, x: Any) -> Any:
        self.x = x
        return x.astype(self.dtype)

    def backward(self, gy: Any) -> tuple[Any]:
        return ((2 * self.x * gy).astype(self.x.dtype),)


# --- operations that write where they may not


class InPlace(Op):
    def forward(self, x: Any) -> Any:
        np.maximum(x, 0, out=x)
        self.y = x
        return x

    def backward(self, gy: Any) -> tuple[Any]:
        return (gy * (self.y > 0),)


class InPlaceBehind(InPlace):
    """Changes its input, returns another array."""

    def forward(self, x: Any) -> Any:
        y = np.maximum(x, 0)
        x *= 2
        self.y = y
        return y


class SpoilsGy(Op):
    def forward(self, x: Any) -> Any:
        self.x = x
        return x * x

    def backward(self, gy: Any) -> tuple[Any]:
        gy *= 2 * self.x
        return (gy,)


class SpoilsView(SpoilsGy):
    def backward(self, gy: Any) -> tuple[Any]:
        view = gy.reshape(-1)[:1]
        right = gy * 2 * self.x
        view[...] = 0
        return (right,)


class SpoilsInput(SpoilsGy):
    def backward(self, gy: Any) -> tuple[Any]:
        right = 2 * gy * self.x
        self.x[...] = 0
        return (right,)


class GivesInput(SpoilsGy):
    """Returns the memory of x as gradient, with the right numbers in it."""

    def backward(self, gy: Any) -> tuple[Any]:
        self.x[...] = 2 * gy * self.x
        return (self.x,)


class Buffered(SpoilsGy):
    buffer = np.empty(3)

    def backward(self, gy: Any) -> tuple[Any]:
        np.multiply(gy, 2 * self.x, out=self.buffer)
        return (self.buffer,)


class BufferedForward(SpoilsGy):
    result = np.empty(3)

    def forward(self, x: Any) -> Any:
        self.x = x.copy()
        return np.multiply(x, x, out=self.result)

    def backward(self, gy: Any) -> tuple[Any]:
        return (2 * gy * self.x,)


class Forgetful(SpoilsGy):
    """Right in its first call only."""

    calls: list[int] = []  # noqa: RUF012 - that is the fault

    def backward(self, gy: Any) -> tuple[Any]:
        self.calls.append(1)
        return (2 * gy * self.x * (1 if len(self.calls) == 1 else 2),)


BAD: list[tuple[type[Op], str]] = [
    (InPlace, r"InPlace\.forward overwrites its input 0"),
    (InPlaceBehind, r"InPlaceBehind\.forward overwrites its input 0"),
    (SpoilsGy, r"SpoilsGy\.backward overwrites gy"),
    (SpoilsView, r"SpoilsView\.backward overwrites gy"),
    (SpoilsInput, r"SpoilsInput\.backward overwrites input 0"),
    (GivesInput, r"GivesInput\.backward returns the memory of an input as gradient 0"),
    (Buffered, r"Buffered\.backward returns a buffer that it uses again"),
    (BufferedForward, r"BufferedForward\.forward returns a buffer that it uses again"),
    (Forgetful, "differ between two runs"),
]

PLACES: dict[str, Callable[[type[Op]], Callable[[Tensor], Tensor]]] = {
    "alone": lambda kind: lambda x: kind()(x),
    "inside": lambda kind: lambda x: kind()(x * 1.5) * 2.0,
    "of a view": lambda kind: lambda x: kind()(x.reshape(3)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("kind", "words"), BAD, ids=[kind.__name__ for kind, _ in BAD])
def test_operations_that_write_where_they_may_not(kind: Any, words: str, place: str) -> None:
    if kind is Forgetful:
        kind.calls.clear()
    x = X.copy()
    report = gradcheck(PLACES[place](kind), x)
    assert report.verdict == "FAILED"
    assert any(re.search(words, fault) for fault in report.faults), report
    assert "kink" not in str(report)
    np.testing.assert_array_equal(x, X)


def test_views_and_shared_gradients_are_no_fault() -> None:
    for f in (
        lambda x: x.reshape(1, 3).transpose(),
        lambda x: x + x,
        lambda x: ops.concat([x, x]),
        lambda x: x[1:] + x[:-1],
        lambda x: x,
    ):
        report = gradcheck(f, X)
        assert report.passed, report
        assert not report.faults


# --- what is no question


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gradcheck(lambda x: x, [1.0, np.nan]), "input 0 holds numbers that are not fin"),
        (lambda: gradcheck(lambda x: x, [np.inf]), "not finite"),
        (lambda: gradcheck(lambda x: x * np.inf, X), "f's result is not finite"),
        (lambda: gradcheck(lambda x: x / np.zeros(3), X), "f's result is not finite"),
        (lambda: gradcheck(lambda x: x, X, eps=np.nan), "eps must be"),
        (lambda: gradcheck(lambda x: x, X, eps=10), "eps must be"),
        (lambda: gradcheck(lambda x: x, X, eps=1e-20), r"1 \+ eps must not be 1, got eps=1e-20"),
        (lambda: gradcheck(lambda x: x, X, tolerance=5.0), "tolerance must be"),
        (lambda: gradcheck(lambda x: x, X, directions=0), "directions must be"),
        (lambda: gradcheck(lambda x: x, X, max_entries=1.5), "max_entries must be"),
        (lambda: gradcheck(lambda x: x, X, seed=-1), "seed must be"),
        (lambda: gradcheck(None, X), "f must be a function"),
        (lambda: gradcheck(lambda x: x, "abc"), "input 0: expected a number"),
        (lambda: gradcheck(lambda x: Tensor(x.data.astype(int)), X), r"result \(int64\) depends"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_questions_without_an_answer(call: Callable[[], GradcheckReport], words: str) -> None:
    with pytest.raises(MinranError, match=words):
        call()


def test_empty_inputs_do_not_pass() -> None:
    report = gradcheck(lambda x: x * 2, np.zeros((0, 3)))
    assert report.verdict == "CANNOT TELL"
    assert "the inputs are empty" in str(report)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_steps_that_leave_the_domain_do_not_pass() -> None:
    report = gradcheck(lambda x: x.sqrt(), np.array([1e-9, 1.0]))
    assert not report.passed


def test_random_gradients_do_not_pass() -> None:
    rng = np.random.default_rng(0)

    class Random(Scaled):
        def backward(self, gy: Any) -> tuple[Any]:
            return (gy * rng.choice([1.0, 2.0]),)

    assert not gradcheck(lambda x: Random(1.0)(x), np.ones(3)).passed
    with pytest.raises(GradientError, match="two calls"):
        gradcheck(lambda x: x * tensor(rng.random(3)), X)
