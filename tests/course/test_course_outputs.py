"""The outputs that the committed notebooks have: what every viewer shows."""

from __future__ import annotations

import base64
import importlib
import io
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from minran.inspect import module_graph
from minran.inspect.style import new_figure, show, theme
from minran.inspect.themes import PAGES
from minran.models import create_model
from minran.workshop.course.show import explore, frames, read_source
from minran.workshop.course.slides import BROWSERS

Image = pytest.importorskip("PIL.Image")
TOOLS = Path(__file__).parents[2] / "docs" / "_ext"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setenv(PAGES, "1")
    return importlib.import_module("outputs")


def figure(seed: int = 0) -> Any:
    drawn = new_figure(3, 2, False)
    noise = np.random.default_rng(seed).random((20, 30, 3))
    show(drawn.subplots(), noise, theme(), f"noise {seed}")
    return drawn


def shown(thing: Any) -> NotebookNode:
    """The output of a cell that ends with the thing."""
    if hasattr(thing, "_repr_mimebundle_"):
        data, metadata = thing._repr_mimebundle_()
        return new_output("execute_result", data=data, metadata=metadata)
    if hasattr(thing, "_repr_svg_"):
        return new_output("display_data", data={"image/svg+xml": thing._repr_svg_()})
    data = {"text/html": thing._repr_html_(), "text/plain": repr(thing)}
    return new_output("display_data", data=data)


def pixels(png: str | bytes) -> Any:
    data = base64.b64decode(png) if isinstance(png, str) else png
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_a_figure_is_one_small_png_with_words(tool: ModuleType) -> None:
    drawn = figure()
    (found,) = tool.still([shown(drawn)])
    assert set(found.data) == {"image/png", "text/plain"}
    assert found.metadata["image/png"]["alt"] == found.data["text/plain"] == drawn.seen() != ""
    before = drawn._repr_png_()
    assert len(base64.b64decode(found.data["image/png"])) < 0.6 * len(before)
    assert abs(pixels(found.data["image/png"]) - pixels(before)).max() <= 32
    assert (pixels(found.data["image/png"])[0, 0] == 255).all()


def test_steps_follow_each_other(tool: ModuleType) -> None:
    found = list(tool.still([shown(frames([figure(0), figure(1)], ["one <", "two"]))]))
    kinds = [sorted(output.data) for output in found]
    assert kinds == [["text/plain"], ["image/png", "text/plain"]] * 2
    assert [output.data["text/plain"] for output in found[::2]] == ["one <", "two"]
    light = pixels(figure(1)._repr_png_())
    assert abs(pixels(found[3].data["image/png"]) - light).max() <= 32, "the light one of both"


def test_of_figures_to_choose_from_the_first_stays(tool: ModuleType) -> None:
    words, one = tool.still([shown(explore(lambda k, j: figure(k), k=[1, 2, 3], j=[True, False]))])
    assert words.data["text/plain"].startswith("k = 2, j = False\n(one of 6 figures")
    assert "noise 2" in one.metadata["image/png"]["alt"]


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="there is no Chromium")
def test_a_drawing_is_drawn(tool: ModuleType) -> None:
    graph = module_graph(create_model("attention_nano"), depth=1)
    (found,) = tool.still([shown(graph)])
    assert set(found.data) == {"image/png", "text/plain"}
    drawn = pixels(found.data["image/png"])
    assert f'width="{drawn.shape[1]}" height="{drawn.shape[0]}"' in graph.text
    assert (drawn != 255).any(axis=2).mean() > 0.05, "nothing is drawn"
    assert found.metadata["image/png"]["alt"] == "drawing of ResidualAttentionNetwork"


def test_what_is_printed_in_parts_is_one_text(tool: ModuleType) -> None:
    parts = [new_output("stream", text=text) for text in ("4", "\n", "5\n")]
    first, image, last = tool.still([*parts[:2], shown(figure()), parts[2]])
    assert (first.text, last.text) == ("4\n", "5\n") and "image/png" in image.data


def test_tasks_have_none(tool: ModuleType) -> None:
    printed = [new_output("stream", text="3\n")]
    task = {"nbgrader": {"grade_id": "task-01-1"}}
    cells = [
        new_code_cell("x = 3", metadata=task, outputs=printed),
        new_code_cell('show_source(x, after="01.1")', outputs=printed),
        new_code_cell("print(x)", outputs=printed),
    ]
    assert tool.outputs(new_notebook(cells=cells)) == [[], [], printed]


def test_what_is_out_of_date_differs(tool: ModuleType) -> None:
    ways = {
        "none": [],
        "text": [new_output("stream", text="3\n")],
        "figure": [shown(figure())],
        "source": [shown(read_source(figure))],
        "other": [shown(read_source(pixels))],
    }
    gists = {name: tool.gist(found) for name, found in ways.items()}
    assert len({str(one) for one in gists.values()}) == len(ways)
    for name, found in ways.items():
        assert tool.gist(list(tool.still(found))) == gists[name], name
    chosen = [shown(explore(figure, seed=[1, 2, 3]))]
    assert tool.gist(chosen) == tool.gist(list(tool.still(chosen))) == ["figure"]
    moved = [shown(read_source(figure))]
    moved[0].data["text/plain"] = moved[0].data["text/plain"].replace("lines ", "lines 1")
    moved[0].data["text/html"] = moved[0].data["text/html"].replace("<style>", "<style>pre{}")
    assert tool.gist(moved) == gists["source"], "neither lines moved down nor a look is a source"
