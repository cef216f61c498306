"""The words of notebooks, pages and the package: the field's, so that they can be looked up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MADE = ("_build", "_ext", "_generated")
PAGES = [
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if not set(MADE) & set(page.relative_to(ROOT).parts)
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
PROGRAMS = sorted((ROOT / "minran").rglob("*.py"))

BE = r"(?:is|are|was|were|has|have|does|do|can|needs?|holds?|belongs?)"
CODED = {
    r"\bpictures?\b": "image; of a drawing: figure",
    r"\b(?:dark|bright) places?\b": "position",
    r"(?<!in )\b(?:the|one|every|each|this|all its|random) places?\b (?:in|of) (?:the|a|its) "
    r"(?:map|mask|image|window)": "position",
    r"(?<!fall )(?<!falls )\bbehind\b": "after",  # one error rate may fall behind another
    r"\bin front of\b": "before",
    r"\bbeside\b": "next to; compared with; together with",
    r"\bbut for\b": "except",
    r"\b(?:puts?|putting) out\b": "outputs",
    rf"[,;] for (?!what|which|who|that)[\w`.]+ {BE}\b": "because",
    r"(?:^|[.:;] |\bfor )[Ww]ho [^.?]*(?:\.|$)": "somebody who",
    r"\bpatients?\b": "a module with a bug",
    r"\bby nobody\b|\bnobody's\b": "by no person; of none of them",
    r"served first|[Tt]heory is cheap|before the wall|[Bb]efore you believe|better thought": "less",
}
"""What is not written, and what to say instead. Code is left out: `Pictures` is a class's name."""


def markdown(notebook: Path) -> str:
    """The text of a notebook's markdown cells."""
    cells = re.split(r"^# %%", notebook.read_text(encoding="utf-8"), flags=re.M)
    return "\n\n".join(
        re.sub(r"^# ?", "", cell.partition("\n")[2], flags=re.M)
        for cell in cells
        if cell.startswith(" [markdown]")
    )


def said(program: Path) -> str:
    """The docstrings and messages of a file, without examples and names of arguments."""
    found = [
        node.value
        for node in ast.walk(ast.parse(program.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"\w \w", node.value)
        and not re.fullmatch(r"[a-z ]+_[a-z_ ]+", node.value)  # a list of options
    ]
    text = re.sub(r"^ *(>>>|\.\.\.) .*$", "", "\n\n".join(found), flags=re.M)
    return re.sub(r"(^ *|[.;,] )\w+:(?=\s)", r"\1", text, flags=re.M)


def prose(text: str) -> list[str]:
    """The paragraphs of a text on a line each, without code, formulas, addresses and tags."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    text = re.sub(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|<[^>]*>", "`x`", text)
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n|\n(?=[|#-])", text)]


def coded(text: str) -> Iterator[str]:
    """What of CODED stands in a text, with what is around it."""
    for paragraph in prose(text):
        for pattern, instead in CODED.items():
            for match in re.finditer(pattern, paragraph):
                around = paragraph[max(match.start() - 30, 0) : match.end() + 30]
                yield f"{match.group()!r} in '...{around}...': say {instead}"


@pytest.mark.parametrize(
    ("files", "read"),
    [(NOTEBOOKS, markdown), (PAGES, Path.read_text), (PROGRAMS, said)],
    ids=["notebooks", "pages", "package"],
)
def test_no_coded_words(files: list[Path], read) -> None:
    assert files
    found = {str(file.relative_to(ROOT)): list(coded(read(file))) for file in files}
    assert not {name: words for name, words in found.items() if words}


@pytest.mark.parametrize(
    "text",
    [
        "The mask sees the whole picture.",
        "Look at the dark places of a mask.",
        "the norm behind a convolution",
        "timed beside PyTorch",
        "the same but for\nrounding",
        "What the gate puts out",
        "It runs once, for `self` holds what belongs to the call.",
        "Who makes the results last sees it.",
        "Give each patient 30 steps.",
        "Look before you believe.",
    ],
)
def test_a_coded_word_is_found(text: str) -> None:
    assert list(coded(text))


@pytest.mark.parametrize(
    "text",
    [
        "An image at every position, after the norm, next to the axes.",
        "`Pictures` reads [a folder](own-pictures.md); in place of the mask; put it in place.",
        "The naive gate falls behind the residual one, for what is singular at 0.",
        "Who sees the page?",
        "People who label images, for what was asked.",
    ],
)
def test_plain_words_are_let_through(text: str) -> None:
    assert not list(coded(text))
