"""The exam generator: every solution against a formula that does not use minran."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from course_helpers import command

import minran
from minran.inspect import summary
from minran.workshop.course.exam import QUESTIONS, as_html, draw, exam

SEEDS = range(25)
Results = dict[str, Any]


def sizes(side: int, layers: list[Any]) -> Results:
    sides = []
    for kernel, stride, padding in layers:
        side = len(range(-padding, side + padding - kernel + 1, stride))
        sides.append(side)
    return {"sides": sides}


def unit(cin: int, cout: int, stride: int, side: int) -> Results:
    inner, small = cout // 4, -(-side // stride)
    shortcut = cin * cout if (cin, 1) != (cout, stride) else 0
    weights = cin * inner + 9 * inner**2 + inner * cout + shortcut
    work = side**2 * cin * inner + small**2 * (9 * inner**2 + inner * cout + shortcut)
    norms = 2 * (cin + 2 * inner)
    return {
        "weights of convolutions": weights,
        "parameters of norms": norms,
        "multiply-adds": work,
    }


def gate(M: Any, T: Any, g: Any, count: int, mean: float) -> Results:
    return {
        "naive N": M * T,
        "naive g_T": g * M,
        "naive g_M": g * T,
        "residual H": T + M * T,
        "residual g_T": g + g * M,
        "residual g_M": g * T,
        "naive factor": math.prod([mean] * count),
        "residual factor": math.prod([1 + mean] * count),
    }


def field(layers: list[Any]) -> Results:
    def seen(place: int) -> set[int]:
        places = {place}
        for kernel, stride in reversed(layers):
            places = {one * stride + k for one in places for k in range(kernel)}
        return places

    first, second = seen(0), seen(1)
    return {"side": len(first), "shift": min(second) - min(first)}


def interpolation(small: int, large: int, row: Any, g: Any) -> Results:
    places = np.linspace(0, small - 1, large)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(small)))
    return {"R": weights, "output": np.interp(places, range(small), row), "gradient": g @ weights}


def schedule(count: int, batch: int, epochs: int, lr: float, asked: list[int]) -> Results:
    steps = count * epochs // batch
    passed = [(step >= steps / 2) + (step >= 3 * steps / 4) for step in asked]
    first = 10 * lr / steps
    return {
        "steps": steps,
        "in steps": [lr / 10**one for one in passed],
        "cosine": [first, lr, lr / 2],
    }


def adjoint(length: int, kernel: int, v: Any) -> Results:
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(length), kernel).ravel()
    return {"A": np.eye(length)[windows], "A'v": np.bincount(windows, v)}


def norm(x: Any, gamma: float, beta: float, g: Any) -> Results:
    def output(x: Any) -> Any:
        return gamma * (x - x.mean()) / x.std() + beta

    step = 1e-6
    moves = step * np.eye(4)
    return {
        "y": output(x),
        "g_x": [g @ (output(x + move) - output(x - move)) / (2 * step) for move in moves],
    }


def loss(parts: Any, label: int) -> Results:
    p = parts / sum(parts)
    return {"p": p, "L": math.log(sum(parts) / parts[label]), "gradient": p - np.eye(3)[label]}


def mask(depth: int, r: int, m: int, side: int) -> Results:
    down = [side // 2**level for level in range(1, depth + 1)]
    # r units after each pool; r before each interpolation; a skip at each level but the first
    return {
        "heights": [*down, *down[-2::-1], side],
        "units": r * depth + r * depth + (depth - 1),
        "layers": 36 * m + 20,
    }


FORMULAS: dict[str, Callable[..., Results]] = {
    one.__name__: one
    for one in (sizes, unit, gate, field, interpolation, schedule, adjoint, norm, loss, mask)
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_solution_is_that_of_the_formula(name: str, seed: int) -> None:
    one = draw(name, seed)
    expected = FORMULAS[name](**one.given)
    assert one.results.keys() == expected.keys()
    for key, value in expected.items():
        # rounding of float64 in a dozen operations; `norm` differs by h^2 of its differences
        np.testing.assert_allclose(one.results[key], value, rtol=1e-9, atol=1e-8, err_msg=key)


@pytest.mark.parametrize("name", QUESTIONS)
def test_there_are_variants(name: str) -> None:
    assert len({draw(name, seed).text for seed in SEEDS}) > len(SEEDS) / 2


def test_the_depth_is_that_of_the_networks() -> None:
    for m, name in ((1, "attention56_cifar"), (2, "attention92_cifar")):
        assert summary(minran.create_model(name)).trunk_depth == mask(1, 1, m, 16)["layers"]


def test_an_exam() -> None:
    asked, solved = exam(3, ["gate", "loss"])
    assert (asked, solved) == exam(3, ["gate", "loss"])
    assert asked.count("\n## ") == solved.count("\n## ") == 2
    assert "## 2. The loss" in asked and "## 2. The loss" in solved
    for value in draw("loss", 3).results["p"]:
        assert f"{value:.3g}" not in asked.split("## 2.")[1]
    # the numbers of a question do not depend on the others
    assert exam(3)[0].split("The loss\n\n")[1].split("\n\n##")[0] in asked
    page = as_html(asked)
    assert page.count("<section>") == page.count("</section>") == 3
    assert page.count("<pre>") == asked.count("```") // 2 and "break-inside: avoid" in page
    assert "<script" not in as_html("# A <script>\n\nb <script> c\n")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "exam"
    arguments = ("course", "exam", "--seed", "7", "--questions", "norm,mask", "--out", str(out))
    assert command(*arguments) == 0
    names = {file.name for file in out.iterdir()}
    assert names == {f"{name}-7.{end}" for name in ("exam", "solutions") for end in ("md", "html")}
    assert (out / "exam-7.md").read_text("utf-8") == exam(7, ["norm", "mask"])[0]
    assert "solutions-7.html" in capsys.readouterr().out
