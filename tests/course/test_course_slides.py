"""Slides: which sections, equations and figures of a notebook they show."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from course_helpers import HEADER, command
from test_course_plans import numbers, tables

from minran.errors import MinranError
from minran.inspect.themes import ON_ANY
from minran.workshop.course.slides import BROWSERS, SETS, _mathjax, print_pdf, write_slides

SOURCE = """# %% [markdown]
# # 02 · Small

# %% tags=["setup"]
import numpy as np

# %% [markdown]
# ## 1 · A <first> part
#
# One **bold** *slanted* `x < y`. A second sentence.
#
# $$ a < b $$
# and $$ c $$
# and $$ d $$
# and $$ e $$
#
# ## 2 · A figure
#
# Look at $M$, [here](there.md). More.

# %%
import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.show()

# %% [markdown]
# ## 3 · Words only
#
# Nothing to see.
#
# ## 4 · A table
#
# The letters:
#
# ## Summary
#
# - one
# - two
#
# ## Questions
#
# 1. Why?
#
#    <details><summary>Answer</summary>
#
#    $$ secret $$
#
#    </details>
"""


def sources(folder: Path, text: str) -> Path:
    file = folder / "notebooks" / "02_small.py"
    file.parent.mkdir()
    file.write_text(HEADER.replace("number: 1", "number: 2") + text, "utf-8")
    return file.parent


@pytest.fixture
def mathjax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tex-svg.js"
    file.write_text("// MathJax", "utf-8")
    monkeypatch.setattr("minran.workshop.course.slides._mathjax", lambda: file)


@pytest.mark.usefixtures("mathjax")
def test_the_slides_of_a_notebook(tmp_path: Path) -> None:
    folder = sources(tmp_path, SOURCE)
    page = write_slides(2, folder, tmp_path / "out")
    shown = re.findall(r"<section>\n(.*?)\n</section>", page.read_text("utf-8"), re.S)
    heads = [re.sub("<.*?>", "", one.split("\n")[0]) for one in shown]
    assert heads == [
        "Small",
        *["1 · A &lt;first&gt; part"] * 2,
        "2 · A figure",
        "3 · Words only",
        "Summary",
    ]
    assert "<p>One <b>bold</b> <i>slanted</i> <code>x &lt; y</code>.</p>" in shown[1]
    assert "$$ a &lt; b $$" in shown[1] and "$$ e $$" in shown[2] and "<p>" not in shown[2]
    assert (
        '<p>Look at $M$, here.</p>\n<figure><img alt="2 · A figure" src="data:image/png' in shown[3]
    )
    assert "<li>one</li><li>two</li>" in shown[5]
    assert "secret" not in page.read_text("utf-8")
    assert (tmp_path / "out" / "mathjax.js").read_text("utf-8") == "// MathJax"


def has_mathjax() -> bool:
    """Is the package there that comes with the extra `docs`?"""
    with contextlib.suppress(MinranError):
        return bool(_mathjax())
    return False


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="there is no Chromium")
@pytest.mark.skipif(not has_mathjax(), reason="there is no sphinx-mathjax-offline")
def test_formulas_in_colours_are_drawn(tmp_path: Path) -> None:
    """One that needs a file that the page does not have stops all others."""
    folder = sources(tmp_path, SOURCE.replace("$M$", "$H = M T$"))
    page = write_slides(2, folder, tmp_path / "out")
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    flags = ["--headless", "--no-sandbox", "--virtual-time-budget=20000", "--dump-dom"]
    dom = subprocess.run([browser, *flags, page.as_uri()], capture_output=True, text=True).stdout
    slides = dom[dom.index("<section>") :]
    assert slides.count("<mjx-container") == 5 and "$" not in slides
    assert f'fill="{ON_ANY["M"]}"' in slides


@pytest.mark.usefixtures("mathjax")
def test_a_notebook_that_does_not_run_is_named(tmp_path: Path) -> None:
    folder = sources(tmp_path, SOURCE.replace("import numpy as np", "1 / 0"))
    with pytest.raises(MinranError, match=r"02_small.py did not run: .*ZeroDivisionError"):
        write_slides(2, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(MinranError, match="there is no notebook 03"):
        write_slides(3, folder, tmp_path / "out")


def test_a_set_is_a_week_of_the_plan() -> None:
    assert [list(one) for one in SETS] == [numbers(row[2]) for row in tables("plans.md")["week"]]


def test_without_a_browser_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MinranError, match="--pdf needs a browser"):
        print_pdf(tmp_path / "slides-01.html")


def test_the_week_is_one_of_twelve() -> None:
    with pytest.raises(MinranError, match="weeks 1 to 12, got 0"):
        command("course", "slides", "--week", "0")
