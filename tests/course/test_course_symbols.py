"""One notation: the table of symbols against the code and against the LaTeX of every notebook."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from course_helpers import FILES

import minran
from minran import create_model
from minran.workshop.course.copies import read_notebook

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "symbols.md"
ROW = re.compile(
    r"^(?:# )?\| (?P<symbol>\$.+?) \| (?P<what>.+?) \| (?P<code>`.+?) \| (?P<where>[\db, ]+) \|$"
)
WORDS = """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi
pi rho sigma tau phi varphi chi psi omega"""
GREEK = set(WORDS.split())
START, *OTHERS = [(file, read_notebook(file)) for file in FILES]


def rows(text: str) -> list[dict[str, str]]:
    return [match.groupdict() for line in text.splitlines() if (match := ROW.match(line))]


ROWS = rows(PAGE.read_text(encoding="utf-8"))
SHORT = rows(START[0].read_text(encoding="utf-8"))
NAMES = sorted({name for row in (*ROWS, *SHORT) for name in re.findall(r"`(.+?)`", row["code"])})


def find(name: str) -> Any:
    """`ops.gate` within minran, or a module or parameter of a network."""
    network = create_model("attention_small_cifar")
    parts: dict[str, Any] = dict(network.named_modules())
    parts |= dict(network.named_parameters()) | dict(network.named_buffers())
    if name in parts:
        return parts[name]
    found: Any = minran
    for part in name.split("."):
        if not hasattr(found, part):
            found = importlib.import_module(f"{found.__name__}.{part}")
        else:
            found = getattr(found, part)
    return found


def formulas(text: str) -> list[str]:
    """The LaTeX of a text in Markdown."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)
    shown = re.findall(r"\$\$(.*?)\$\$", text, re.S)
    return [*shown, *re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.*?\$\$", "", text, flags=re.S))]


def letters(formula: str) -> set[str]:
    r"""The letters of a formula with their accents: "g", r"\mu", r"\hat x".

    Indices and exponents do not count, nor do words in upright letters, \mathrm{relu}.
    """
    text = re.sub(r"\\(?:tag|text|begin|end|mathrm)\s*\{[^}]*\}|\\\\\[\w+\]", " ", formula)
    while (shorter := re.sub(r"([_^])\s*\{[^{}]*\}", " ", text)) != text:
        text = shorter
    while (shorter := re.sub(r"([_^]\s*\{[^{}]*)\{([^{}]*)\}", r"\1\2", text)) != text:
        text = re.sub(r"[_^]\s*\{[^{}]*\}", " ", shorter)
    text = re.sub(r"[_^]\s*(?:\\[a-zA-Z]+|.)", " ", text, flags=re.S)
    accents = r"\\(hat|bar)\s*\{?\s*([A-Za-z])\s*\}?"
    found = {rf"\{accent} {letter}" for accent, letter in re.findall(accents, text)}
    text = re.sub(accents + r"|\\math[a-z]+\s*\{?\s*\w\s*\}?", " ", text)
    found |= {f"\\{word}" for word in re.findall(r"\\([a-zA-Z]+)", text) if word in GREEK}
    return found | set(re.findall("[A-Za-z]", re.sub(r"\\[a-zA-Z]+", " ", text)))


def used() -> dict[str, set[str]]:
    """By notebook, the letters of its formulas."""
    return {
        notebook.number: set().union(
            *(
                letters(formula)
                for cell in notebook.cells
                if cell.cell_type == "markdown"
                for formula in formulas(cell.source)
            )
        )
        for _, notebook in OTHERS
    }


def told() -> dict[str, set[str]]:
    """By notebook, the letters of the table's rows that name it."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in ROWS:
        for number in row["where"].split(", "):
            for formula in formulas(row["symbol"]):
                found[number] |= letters(formula)
    return found


def test_letters_of_a_formula() -> None:
    assert letters(r"g_{x_j} = \sum_i g_{y_i}\,J_{ij} \tag{1.3}") == {"g", "J"}
    assert letters(r"\hat x = \frac{x - \mu}{\sqrt{v + \varepsilon}}") == {
        *(r"\hat x", "x", r"\mu", "v", r"\varepsilon")
    }
    assert letters(r"x_{\pi(q_{m})}^{L^{2}} + \mathrm{relu}(a) \text{ for } \mathbb{E}[b]") == {
        *("x", "a", "b")
    }


def test_the_tables_are_there() -> None:
    assert len(ROWS) >= 100 and 8 <= len(SHORT) <= 12
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if "| $" in line]
    assert len(lines) == len(ROWS), [line for line in lines if not ROW.match(line)]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_table_exists(name: str) -> None:
    plain, _, argument = name.partition("(")
    found = find(plain)
    if argument:
        assert argument.removesuffix(")") in inspect.signature(found).parameters


@pytest.mark.parametrize("number", [notebook.number for _, notebook in OTHERS])
def test_the_table_has_the_letters_of_the_notebook_and_no_others(number: str) -> None:
    mine, theirs = used()[number], told()[number]
    assert not mine - theirs, "no row of docs/reference/symbols.md says what these are there"
    assert not theirs - mine, "a row names this notebook, which does not use the letter"


def test_the_short_table_is_a_part_of_the_long_one() -> None:
    for row in SHORT:
        for number in row["where"].split(", "):
            for formula in formulas(row["symbol"]):
                assert letters(formula) <= told()[number], row


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_one_notation(file: Path) -> None:
    """A gradient is g_y, an adjoint has \\top, a small number is \\varepsilon."""
    text = file.read_text(encoding="utf-8")
    for other in (r"g\^[A-Za-z]\b", r"\\mathsf", r"\\epsilon", r"\^T\b", r"\\phi\b"):
        assert not re.search(other, text), other
