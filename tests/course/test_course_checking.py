"""Checks: what they say about wrong answers, and what `check` prints and records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from course_helpers import recording

from minran import tensor
from minran.course import Wrong, check, compare, compare_gradients, unpack
from minran.errors import DataError, MinranError
from minran.workshop.course.checking import NBGRADER, checks_of, find_check, judge


def test_right_answers_pass() -> None:
    compare("y", np.arange(3.0), [0, 1, 2.0])
    compare("y", tensor(np.ones(2)), np.ones(2))
    compare("y", 3, 3)
    compare("y", np.float32(0.5), 0.5)
    compare("a count", 17 / 16 * 64**2, 4352)
    compare("y", [np.inf, np.nan], [np.inf, np.nan])
    compare("y", np.array(["a"]), np.array(["a"]))
    compare("y", np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("got", "expected", "message", "where"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), r"shape \(2, 3\), expected \(3, 2\)", ""),
        ([1.0, 2, 4], [1.0, 2, 3], "is wrong", r"at \[2\]: expected 3, got 4; 1 of 3"),
        ([2.0, 4, 6], [1.0, 2, 3], "2 times the right answer", r"3 of 3"),
        ([0.0, 0], [1.0, 2], "zero everywhere", ""),
        (5.0, 4.0, "is wrong", "expected 4, got 5"),
        ([1, 2], [1.0, 2.5], "is wrong", r"at \[1\]"),
        ([1.0, 2.0], np.array([1, 2]), "dtype float64, expected int64", ""),
        (3.5, 3, "is wrong", "expected 3, got 3.5"),
        ([1.0, np.nan], [1.0, 2.0], "not finite", r"at \[1\]: expected 2, got nan"),
        ([True, False], [True, True], "differs|is wrong", r"\[1\]"),
        (["a", "c"], ["a", "b"], "differs", "'b', got"),
        (None, 1.0, "is None", ""),
        ("x", 1.0, "dtype", ""),
        ({}, 1.0, "must hold numbers", ""),
        ([[1.0], [1.0, 2]], [1.0], "cannot be read", ""),
    ],
)
def test_wrong_answers_say_where(got, expected, message, where) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Wrong, match=message) as caught:
        compare("y", got, expected, hint="think again")
    assert re.search(where, caught.value.where)
    assert caught.value.hint


def test_the_worst_entry_is_named() -> None:
    expected = np.zeros((3, 4)) + 1
    got = expected.copy()
    got[1, 2] += 0.5
    got[0, 0] += 0.1
    with pytest.raises(Wrong) as caught:
        compare("y", got, expected, where="stride 2")
    assert (
        caught.value.where
        == "stride 2; worst at [1, 2]: expected 1, got 1.5; 2 of 12 entries differ"
    )


def test_unpack() -> None:
    assert unpack("f", (1, 2), "a", "b") == (1, 2)
    with pytest.raises(Wrong, match="3 values"):
        unpack("f", (1, 2, 3), "a", "b")
    with pytest.raises(Wrong, match="a None"):
        unpack("f", None, "a", "b")


def test_gradients() -> None:
    compare_gradients("square", lambda x: x * x, np.ones(3))
    with pytest.raises(Wrong, match="differs from central differences") as caught:
        compare_gradients("square", lambda x: x * x.detach(), np.arange(1.0, 4.0))
    assert "0.5 times" in caught.value.where


def right(gy, a, b):  # type: ignore[no-untyped-def]
    return gy * b, gy * a


def blank(gy, a, b):  # type: ignore[no-untyped-def]
    raise NotImplementedError("Task 01.1")


def broken(gy, a, b):  # type: ignore[no-untyped-def]
    return gy @ a[:, :1] @ b


def test_outcomes(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge("01.1", right).passed
    assert judge("01.1", blank).status == judge("01.1", ...).status == "blank"
    outcome = judge("01.1", broken)
    assert outcome.status == "error"
    assert "ValueError" in outcome.message and "in broken" in outcome.where.replace("of ", "in ")
    check("01.1", right)
    check("01.1", lambda gy, a, b: (b, a))
    printed = capsys.readouterr().out
    assert "Task 01.1: passed" in printed
    assert "Task 01.1: not yet - ga is wrong" in printed and "hint:" in printed


def in_numpy(gy, shape, axis):  # type: ignore[no-untyped-def]
    return np.broadcast_to(gy, (99, 99))


def test_an_error_names_the_line_of_the_answer_and_the_hint() -> None:
    outcome = judge("01.2", in_numpy)
    assert outcome.status == "error" and outcome.where.startswith("line")
    assert "in_numpy" in outcome.where and "expand_dims" in outcome.hint


def moves_x_in_place(f, x, h):  # type: ignore[no-untyped-def]
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        x[i] += h
        ahead = f(x)
        x[i] -= 2 * h
        gradient[i] = (ahead - f(x)) / (2 * h)
        x[i] += h
    return gradient


def work_in_floats(size, channels, depth, p=1, t=2, r=1):  # type: ignore[no-untyped-def]
    unit, total = 17 / 16 * channels**2, 2.0 * channels**2 * size**2
    total += (2 * p + t) * unit * size**2
    for level in range(1, depth + 1):
        size //= 2
        total += (2 * r + (level < depth)) * unit * size**2
    return total


def in_split_blocks(x, gamma, beta, mean, var, eps, out):  # type: ignore[no-untyped-def]
    scale = gamma / np.sqrt(var + eps)
    for given, block in zip(np.array_split(x, len(x)), np.array_split(out, len(x)), strict=True):
        np.multiply(given, scale, out=block)
        np.add(block, beta - mean * scale, out=block)
        np.maximum(block, 0, out=block)


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        ("02.1", moves_x_in_place),
        ("11.3", work_in_floats),
        ("17.3", in_split_blocks),
        ("18.1", lambda c, size, k=4: (2 * c * c / k + c / k + c, 2 * c * c / k)),
    ],
)
def test_right_answers_written_in_another_way_pass(task: str, answer: Any) -> None:
    assert str(judge(task, answer)) == f"Task {task}: passed"


def test_nearly_equal_numbers_are_written_so_that_they_differ() -> None:
    with pytest.raises(Wrong) as caught:
        compare("y", [1 + 1e-11, 2.0], [1.0, 2.0], tol=0)
    assert caught.value.message == "y is wrong", "not 1 times the right answer"
    assert "expected 1, got 1.00000000001" in caught.value.where


def test_a_factor_is_named_only_if_it_holds_at_zeros_too() -> None:
    with pytest.raises(Wrong, match="y is wrong: it is 2 times the right answer everywhere"):
        compare("y", [2.0, 4, 0], [1.0, 2, 0])
    with pytest.raises(Wrong, match=r"y is wrong\n"):
        compare("y", [2.0, 4, 1], [1.0, 2, 0])


def test_outcomes_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "record"
    with recording(file):
        check("01.1", right)
        check("01.1", blank)
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [(line["task"], line["status"]) for line in lines] == [
        ("01.1", "passed"),
        ("01.1", "blank"),
    ]
    monkeypatch.setenv(NBGRADER, "autograde")
    check("01.1", right)
    with pytest.raises(Wrong, match="still blank"):
        check("01.1", blank)


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(DataError, match=r"there is no check for task 01\.9; notebook 01 has 01\.1"):
        check("01.9", 1)
    with pytest.raises(DataError, match=r"there is no check for task 77\.1; notebook 77 has none"):
        find_check("77.1")
    with pytest.raises(MinranError, match=r'named like "03\.1"'):
        check("one", 1)
    assert checks_of("77") == {}
