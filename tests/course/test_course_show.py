"""What notebooks show: sources, pictures to step through, backward step by step."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from minran import nn, ops, tensor
from minran.course import explore, frames, show_source
from minran.errors import GradientError, MinranError, ShapeError
from minran.inspect.style import new_figure
from minran.workshop.course.checking import judge
from minran.workshop.course.show import STATIC, passed_tasks, read_source
from minran.workshop.course.steps import backward_steps


def test_source_is_the_real_one(capsys: pytest.CaptureFixture[str]) -> None:
    show_source(ops.gate, nn.Conv2d)
    printed = capsys.readouterr().out
    assert "# minran/ops/activation.py, lines" in printed
    assert "def gate(mask: Tensor" in printed and "class Conv2d(Module)" in printed
    assert "residual (Eq. 3)" in printed
    short = read_source(ops.gate, docstring=False)
    assert "Eq. 3" not in short.text and "return Gate" in short.text


def test_source_after_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    passed_tasks.discard("00.2")
    show_source(ops.gate, after="00.2")
    assert capsys.readouterr().out.endswith("once task 00.2 has passed.\n")
    assert judge("00.2", lambda M, T: (1 + M) * T).passed
    show_source(ops.gate, after="00.2")
    assert "def gate(mask: Tensor" in capsys.readouterr().out


def test_source_is_dedented_and_escaped() -> None:
    source = read_source(nn.Conv2d.forward)
    assert source.text.startswith("def forward")
    html = source._repr_html_()
    assert '<span class="k">def</span>' in html and "-&gt;" in html
    assert re.sub(r"<[^>]+>", "", html).count("def forward") == 1


def test_source_of_objects_and_of_none() -> None:
    assert read_source(nn.ReLU()).text.startswith("class ReLU")
    assert "lines 1-" in read_source(nn).where
    with pytest.raises(MinranError, match="no Python source"):
        show_source(len)


def test_backward_step_by_step() -> None:
    a, b, c = (tensor([value], requires_grad=True) for value in (2.0, 3.0, -1.0))
    p = a * b
    q = p + c
    loss = p * q
    steps = backward_steps(loss, a=a, b=b, c=c, p=p, q=q, L=loss)
    assert len(steps.pictures) == 2 + 3
    assert "p has 5 so far; q has 6 so far" in steps.captions[2]
    assert "p has 11 so far" in steps.captions[3]
    assert "a has 33 so far; b has 22 so far" in steps.captions[4]
    assert "gradient" not in steps.pictures[0].text
    assert "value 6 · gradient 11" in steps.pictures[4].text
    assert a.grad is None
    loss.backward()  # the graph is still there
    assert a.grad == 33


def test_backward_steps_of_arrays_constants_and_wrong_things() -> None:
    x = tensor(np.ones((2, 3)), requires_grad=True)
    text = backward_steps((x * 2.0).sum(), x=x).pictures[-1].text
    assert "gradient 2×3" in text and "constant" in text
    with pytest.raises(GradientError, match="one number"):
        backward_steps(x * x)
    y = x.sum()
    for _ in range(50):
        y = y + 1.0
    with pytest.raises(GradientError, match="too many to follow"):
        backward_steps(y)


def test_frames() -> None:
    figure = new_figure(1, 1, dark=False)
    shown = frames([figure, figure], ["one <", "two"])
    html = shown._repr_html_()
    assert html.count('type="radio"') == 2 and html.count(" checked ") == 1
    assert "one &lt;" in html and "data:image/png" in html and "<script" not in html
    assert html != shown._repr_html_(), "two of them on a page must not share buttons"
    assert repr(shown) == "0. one <\n1. two"
    with pytest.raises(ShapeError, match="2 figures and 1 captions"):
        frames([figure, figure], ["one"])


def test_explore_without_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATIC, "1")
    assert explore(lambda a, b: (a, b), a=[1, 2, 3], b="xy") == (2, "y")
    monkeypatch.delenv(STATIC)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert explore(lambda a: a, a=[1, 2, 3]) == 2


def test_explore_with_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv(STATIC, raising=False)
    box = explore(lambda size: size, size=[1, 2, 3])
    assert box.children[0].value == 2
