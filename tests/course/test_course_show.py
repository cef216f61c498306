"""What notebooks show: sources, pictures to step through, backward step by step."""

from __future__ import annotations

import re

import numpy as np
import pytest

from minran import nn, ops, tensor
from minran.course import explore, frames, show_source
from minran.errors import GradientError, MinranError, ShapeError
from minran.inspect.style import new_figure
from minran.workshop.course.checking import judge
from minran.workshop.course.show import passed_tasks, read_source
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


def test_mask_and_trunk_have_the_colours_of_their_symbols() -> None:
    html = read_source(ops.gate)._repr_html_()
    assert '<span class="n symbol-M">mask</span>' in html and ".symbol-M{color:#" in html
    assert 'symbol-T">trunk<' in html and 'class="n symbol' not in read_source(nn)._repr_html_()


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


def test_explore_draws_all_combinations() -> None:
    asked = []

    def draw(size: int, odd: bool) -> object:
        asked.append((size, odd))
        return new_figure(1, 1, dark=False)

    shown = explore(draw, size=[1, 2, 3], odd=[False, True])
    assert asked == [(n, odd) for n in (1, 2, 3) for odd in (False, True)]
    assert shown.captions[3] == "size = 2, odd = True"
    html = shown._repr_html_()
    assert html.count("<figure ") == 6 and html.count(" hidden>") == 5 and "<script" not in html
    assert html.count('type="radio"') == 3 + 2 and html.count(" checked ") == 2
    first = re.search(r'<figure class="f([\d-]+)"><figcaption>(.*?)<', html).groups()
    assert first == ("1-1", "size = 2, odd = True"), "the middle values come first"
    assert re.search(r"#[\w-]+-0-1:checked~#[\w-]+-1-1:checked~\.f1-1\{display:block\}", html)
    assert 'alt="size = 2, odd = True"' in html


def test_explore_draws_few_figures() -> None:
    with pytest.raises(ShapeError, match="at most 60 figures are drawn, got 63"):
        explore(len, a=range(9), b=range(7))
