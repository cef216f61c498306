"""Every measured figure in a text is that of a file in docs/results; see `quoted.py`."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest
import quoted
from quoted import RESULTS, ROOT

from minran.workshop.ablate.spread import number
from minran.workshop.bench.report import markdown

MADE = ("_build", "_ext", "_generated")
KEPT = {"ledger.md", "README.md", "owed.md"}
"""Of the pages in docs/results, those that quote; the others are records of a run."""
PAGES = [
    page
    for page in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
    if not set(MADE) & set(page.relative_to(ROOT).parts)
    and (RESULTS not in page.parents or page.name in KEPT)
    and not str(page.relative_to(ROOT)).startswith(quoted.ELSEWHERE)
]
PROGRAMS = [
    *sorted((ROOT / "notebooks").glob("[0-9]*.py")),
    *sorted((ROOT / "minran").rglob("*.py")),
]

UNIT = r"times|seconds?|s|minutes?|min|hours?|ms|microseconds|[kMG]B|GFLOP|points|passed|percent"
WITH_UNIT = rf"(?<![\w.,^\\]){{}}(?: (?:{UNIT})\b| ?\\?%)"
WHOLE, DECIMAL = r"\d[\d,]*(?:\.\d+)?", r"\d+\.\d+"
FIGURE = re.compile(WITH_UNIT.format(WHOLE))
IN_A_PAGE = re.compile(rf"{FIGURE.pattern}|(?<![\w.+]){DECIMAL}(?![\w.]*\.\d|\w)")
"""In pages any number with a point, too; versions such as 3.11.7 are none."""


def words(page: Path) -> str:
    """What a reader reads, on one line: a page without code, the comments of a program."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".py":
        text = "\n".join(comments(text))
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(
        r"\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)|</?\w[^>]*>|\*\*|\[(?=[\w`])", " ", text, flags=re.S
    )
    return " ".join(text.split()).replace(" ,", ",").replace(" )", ")").replace("( ", "(")


def comments(text: str) -> list[str]:
    """The comments and docstrings of a program, in their order."""
    found = [
        (token.start[0], token.string.lstrip("# "))
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]
    found += [
        (node.lineno, node.value.value)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    return [string for _, string in sorted(found)]


def unexplained(page: Path, text: str) -> list[str]:
    """The figures in a text that are neither quoted nor known as no measurements."""
    name = str(page.relative_to(ROOT))
    for known in by_page().get(name, ()):
        text = text.replace(known, " ... ")
    for known in [*quoted.NOT_MEASURED[""], *quoted.NOT_MEASURED.get(name, ())]:
        text = re.sub(known, " ... ", text)
    text = re.sub(r"`[^`]*`", " ... ", text)
    pattern = FIGURE if page.suffix == ".py" else IN_A_PAGE
    return [
        text[max(0, found.start() - 40) : found.end() + 40].strip()
        for found in pattern.finditer(text)
    ]


@cache
def by_page() -> dict[str, list[str]]:
    """What `quoted.py` makes of the files, by the page that should say it; this takes seconds."""
    found: dict[str, list[str]] = {}
    for text, *pages in quoted.quotes():
        for page in pages:
            found.setdefault(page, []).append(text)
    return found


def test_a_quoted_figure_is_that_of_its_file() -> None:
    missing = {}
    for name, texts in by_page().items():
        page = words(ROOT / name)
        if left := [text for text in texts if text not in page]:
            missing[name] = left
    assert not missing, f"pages should say, by docs/results: {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_figure_of_a_page_has_a_file(page: Path) -> None:
    left = unexplained(page, words(page))
    assert not left, f"quote these in tests/quoted.py, or take them out of {page.name}: {left}"


def test_every_figure_of_a_program_has_a_file() -> None:
    left = {page.name: found for page in PROGRAMS if (found := unexplained(page, words(page)))}
    assert not left, f"quote these in tests/quoted.py, or take them out: {left}"


def test_no_exception_is_out_of_date() -> None:
    for name, known in quoted.NOT_MEASURED.items():
        text = words(ROOT / name) if name else " ".join(map(words, PAGES + PROGRAMS))
        assert not [one for one in known if not re.search(one, text)], name


def test_a_new_figure_is_seen() -> None:
    page = ROOT / "docs" / "paper" / "faq.md"
    for figure in ("1.96 times", "17 s", "93.2%", "700 MB", "12 points", "a ratio of 1.25"):
        assert unexplained(page, f"It takes {figure}, we think.") != [], figure
    assert unexplained(page, "`-n 17 s` in 2 processes with NumPy 2.4.6 at 3f2a1.") == []


def test_generated_tables_are_those_of_their_files() -> None:
    made = markdown(json.loads((RESULTS / "cpu-ops.json").read_text()))
    assert made in (RESULTS / "cpu-ops.md").read_text(encoding="utf-8")
    for file in sorted((RESULTS / "ablations-nano").glob("*.json")):
        page = file.with_suffix(".md").read_text(encoding="utf-8")
        for cell in json.loads(file.read_text())["cells"]:
            spread = f"{number(cell['mean'])} \u00b1 {number(cell['standard_deviation'])}"
            assert f"| {spread} |" in page
            if "margin" in cell:
                assert f"\u00b1 {number(cell['margin'])}: {cell['verdict']}" in page
