"""The documentation: its examples run, its links lead somewhere, its tables are true."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minran
from minran import inspect as look

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = ("_build", "_ext", "_generated")
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    if not set(MADE) & set(page.relative_to(ROOT).parts)
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
NEEDS = {"torch.": "torch", "export_onnx": "onnx", "PIL": "PIL"}
"""What an example with such a word in it needs; without it, it is left out."""


def extension(name: str) -> ModuleType:
    """A module of docs/_ext."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(DOCS / "_ext"))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def examples(text: str) -> list[str]:
    """The interactive examples of a page."""
    return re.findall(r"^```pycon\n(.*?)^```$", text, flags=re.M | re.S)


def runnable(block: str) -> bool:
    return all(
        importlib.util.find_spec(package) for word, package in NEEDS.items() if word in block
    )


USUAL = {
    "np": np,
    "minran": minran,
    "data": minran.data,
    "inspect": look,
    "nn": minran.nn,
    "ops": minran.ops,
    "optim": minran.optim,
    "tensor": minran.tensor,
}
"""What the reference says that the examples in docstrings have imported."""

WITH_EXAMPLES = [page for page in PAGES if examples(page.read_text(encoding="utf-8"))]


def run_examples(source: str, names: dict[str, Any], where: str) -> doctest.TestResults:
    test = doctest.DocTestParser().get_doctest(source, names, where, where, 0)
    return doctest.DocTestRunner(optionflags=OPTIONS).run(test, clear_globs=False)


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name_of)
def test_examples_of_the_pages(page: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in examples(page.read_text(encoding="utf-8")) if runnable(block)]
    if page.name == "interop.md":
        pytest.importorskip("torch")  # which some Pythons have not yet
    result = run_examples("\n".join(blocks), {}, name_of(page))
    assert result.failed == 0 and result.attempted > 0


def documented() -> Iterator[tuple[str, Any]]:
    """Every module, function and class of minran with an example in its docstring."""
    for file in sorted((ROOT / "minran").rglob("*.py")):
        if ">>>" not in file.read_text(encoding="utf-8"):
            continue
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name, importlib.import_module(name)


@pytest.mark.parametrize("name", [name for name, _ in documented()])
def test_examples_in_docstrings(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    names = {**vars(module), **USUAL}
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = [test for test in finder.find(module, globs=names) if test.examples]
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for test in tests:
        runner.run(test)
    assert tests and runner.summarize(verbose=False).failed == 0


def test_a_wrong_example_is_seen() -> None:
    assert run_examples(">>> 1 + 1\n3\n", {}, "here").failed == 1


def test_every_public_name_has_an_example() -> None:
    docstrings = extension("docstrings")
    text = "\n".join(
        block for page in WITH_EXAMPLES for block in examples(page.read_text(encoding="utf-8"))
    )
    used = set(re.findall(r"\w+", text))
    missing = {
        f"{module}.{name}"
        for module in docstrings.PACKAGES
        for name in docstrings.public_names(module)
        if name not in used
        and ">>>" not in str(vars(importlib.import_module(module))[name].__doc__)
    }
    assert not missing, f"no example in docs/reference or in a docstring for {sorted(missing)}"


def test_every_package_has_its_page() -> None:
    docstrings = extension("docstrings")
    pages = "\n".join(
        page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md")
    )
    shown = set(re.findall(r"automodule:: (\S+)", pages)) | set(
        re.findall(r"py:module:: (\S+)", pages)
    )
    assert shown == set(docstrings.PACKAGES)


REFERENCE = [page for page in PAGES if page.parent == DOCS / "reference"]


@pytest.mark.parametrize("page", REFERENCE, ids=name_of)
def test_reference_pages_say_first_what_there_is_then_show_examples(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names, shown = text.find(".. auto"), text.find("```pycon")
    assert shown < 0 or 0 <= names < text.index("## Examples") < shown


def test_what_no_example_uses_is_not_in_the_reference() -> None:
    docstrings = extension("docstrings")
    used = docstrings.in_examples()
    assert {"conv2d", "detach", "named_buffers", "to_toml", "subset"} <= used
    assert not {"note_session", "changed_in_place", "expect_free", "FAREWELL"} & used
    assert set(docstrings.public_names("minran.errors")) >= {"ShapeError", "MinranError"}
    assert not {"expect", "nearest", "pip_install"} & set(docstrings.public_names("minran.errors"))


# Links


def prose(page: Path) -> str:
    """A page without its code."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path, text: str) -> list[str]:
    """Links to files that are not there, or to headings that are not in them."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        wrong_anchor = anchor and target.suffix == ".md" and target.exists()
        if not target.exists() or (wrong_anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links(page: Path) -> None:
    assert not dead_links(page, prose(page))


def test_a_dead_link_is_seen() -> None:
    page = ROOT / "README.md"
    text = "[a](docs/nowhere.md) [b](docs/speed.md#no-such-heading) [c](docs/speed.md)"
    assert dead_links(page, text) == ["docs/nowhere.md", "docs/speed.md#no-such-heading"]


def test_every_linked_file_is_in_git() -> None:
    """A file that lies here and is ignored would be missing in everybody else's copy."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    known = set(listing.stdout.splitlines())
    folders = {str(parent) for name in known for parent in Path(name).parents}
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose(page)):
            if not re.match(r"[a-z]+:", link):
                name = str((page.parent / link).resolve().relative_to(ROOT))
                assert name in known | folders, f"{name_of(page)} links {name}"


def test_every_file_named_on_a_page_exists() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:tests|minran|notebooks)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{name_of(page)} names {name}, which is not there"


# Tables and drawings


def little_said(text: str) -> list[str]:
    """What is said in place of the images of a page where that is less than three words."""
    said = re.findall(r"!\[([^\]]*)\]\(", text)
    for block in re.findall(r"^```\{(?:image|figure)\}.*?^```$|<img [^>]*>", text, re.M | re.S):
        said += re.findall(r'^:alt: (.*)$|alt="([^"]*)"', block, re.M)[:1] or [""]
    return [words for words in map("".join, said) if len(words.split()) < 3]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_image_says_what_is_seen(page: Path) -> None:
    assert not little_said(page.read_text(encoding="utf-8"))


def test_an_image_that_says_little_is_found() -> None:
    text = '![a](b.png) ![one two three](b.png) <img src="x" alt=""> <img src="x">'
    assert little_said(text) == ["a", "", ""]
    assert little_said("```{image} x.svg\n:width: 3\n```") == [""]


def test_the_table_of_counts() -> None:
    text = (DOCS / "paper" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+)% \| ([\d.]+)% \|", text, re.M
    )
    assert len(rows) == 11
    for name, parameters, plain, work, share, work_share in rows:
        counts = look.summary(minran.create_model(name))
        assert counts.parameters == int(parameters.replace(",", "")), name
        assert counts.parameters_without_norm == int(plain.replace(",", "")), name
        assert f"{counts.multiply_adds / 1e9:.3f}" == work, name
        assert f"{100 * counts.mask_parameters / counts.parameters:.1f}" == share, name
        assert f"{100 * counts.mask_multiply_adds / counts.multiply_adds:.1f}" == work_share, name


def test_drawings_are_up_to_date() -> None:
    for name, drawing in extension("diagrams").drawings().items():
        file = DOCS / "images" / name
        assert file.read_text(encoding="utf-8") == drawing.text, (
            f"{name}: run python docs/_ext/diagrams.py"
        )


# Docstrings as pages


def test_equations_become_latex() -> None:
    to_latex = extension("equations").to_latex
    assert to_latex(["y = gamma (x - mean) / sqrt(var + eps) + beta"]) == (
        r"y = \gamma\, (x - \mathrm{mean}) / \sqrt{\mathrm{var} + \varepsilon} + \beta"
    )
    assert to_latex(["y[n, c] = sum_{a, b} x[a, b]"]) == r"y[n, c] = \sum_{a, b} \, x[a, b]"
    aligned = to_latex(["a = b_i   with rain", "a = 1e-4   without"])
    assert aligned.splitlines()[1:-1] == [
        r"a &= b_{i} \qquad \text{with rain} \\",
        r"a &= 10^{-4} \qquad \text{without}",
    ]
    powers = to_latex(["a_t = d^(t-(s+1)) b", "    = a_(t-1) (c)"])
    assert powers.splitlines()[1:-1] == [r"a_{t} &= d^{t-(s+1)}\, b \\", r"&= a_{t-1}\, (c)"]


def test_docstrings_become_pages() -> None:
    to_rst = extension("docstrings").to_rst
    lines = ["Scale x*.", "", "    y = 2 x", "", "x: (N, C), see `relu` and `2 x`", "place: y"]
    lines += ["k: a number", ""]
    assert to_rst(lines, {"relu": "minran.ops.relu"}.get, ["x", "k"]) == [
        r"Scale x\*.",
        "",
        ".. math::",
        "",
        r"   y = 2\, x",
        "",
        "* x: (N, C), see :py:obj:`relu <minran.ops.relu>` and ``2 x``",
        "  place: y",
        "* k: a number",
        "",
    ]
    program = ["    mine = share(len(images))", "    loss.backward()"]
    assert to_rst(program)[:3] == [".. code-block:: text", "", "   mine = share(len(images))"]
    assert to_rst(["    mpiexec -n 2 minran train"])[0] == ".. code-block:: text"
    known = {"ShapeError": "minran.errors.ShapeError"}.get
    assert to_rst(["x: one item. Raises ShapeError."], known, ["x"]) == [
        "x: one item. Raises :py:obj:`ShapeError <minran.errors.ShapeError>`.",
        "",
    ]


def test_pages_of_notebooks() -> None:
    """Each task is there twice: as a blank, and as the solution that is folded away."""
    pytest.importorskip("jupytext")
    learn = extension("learn")
    notebook = learn.read_notebook(ROOT / "notebooks" / "03_convolution.py")
    page = learn.as_page(notebook, learn.make_copy(notebook, "solution"))
    words = [cell.metadata.get("mystnb", {}).get("code_prompt_show", "") for cell in page.cells]
    blanks = [cell for cell in page.cells if cell.id.endswith("-blank")]
    assert len(blanks) == len(notebook.tasks) > 0
    solutions = [word for word in words if word.startswith("Solution of task")]
    assert len(solutions) == len(notebook.tasks)
    assert all(
        "raise NotImplementedError" in cell.source or "..." in cell.source for cell in blanks
    )
    learn.nbformat.validate(page)


def test_pages_have_formulas_in_light_and_dark_colours() -> None:
    pytest.importorskip("jupytext")
    learn = extension("learn")
    notebook = learn.read_notebook(ROOT / "notebooks" / "09_residual_attention.py")
    page = learn.as_page(notebook, learn.make_copy(notebook, "solution"))
    text = "\n".join(cell.source for cell in page.cells if cell.cell_type == "markdown")
    assert r"= (1 + \class{symbol-M}{M}" in text and r"\class{symbol-g}{g_T}" in text
    assert r"\color" not in text
