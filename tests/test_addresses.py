"""No address that nobody has confirmed: those of papers and data, and `_version.REPOSITORY`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from test_words import NOTEBOOKS, PAGES, PROGRAMS

from minran import _version
from minran.workshop.course.copies import make_copy, read_notebook, to_text

ROOT = Path(__file__).parents[1]
FILES = [
    *PAGES,
    *NOTEBOOKS,
    *(file.with_suffix(".ipynb") for file in NOTEBOOKS),
    *PROGRAMS,
    *(ROOT / "minran" / "live" / "page").iterdir(),
    *(ROOT / name for name in ("pyproject.toml", "CITATION.cff", ".ci/run", "docs/conf.py")),
]
HOSTS = (
    "arxiv.org",  # papers
    "zenodo.org",  # CIFAR
    "www.cs.toronto.edu",
    "www.w3.org",  # the name of SVG's elements
    "127.0.0.1",
    "teacher.example",  # an example, and no address of anybody
)
OUTSIDE = re.compile(
    r"https?:/*([\w.-]+)"
    r"|((?:github|gitlab|codeberg|colab|mybinder|readthedocs|shields|pypi)\.[\w.]+)"
    r"|(git\+)|pip install ['\"]?(minran)"
)
"""A host, with or without the scheme; lines that install from elsewhere than the folder."""
SAID = {
    "minran/workshop/course/copies.py": {"colab.research.google.com", "github.com", "git+"},
    # An installed minran says which of its extras is missing: pip finds minran itself there.
    "minran/errors.py": {"minran"},
    "minran/cli/look.py": {"minran"},
    "minran/cli/__init__.py": {"minran"},
    "minran/workshop/course/slides.py": {"minran"},
}


def addresses(text: str) -> set[str]:
    """What a text names outside of it that nobody has confirmed."""
    if _version.REPOSITORY:
        text = text.replace(_version.REPOSITORY, "").replace("colab.research.google.com", "")
    found = {next(filter(None, match.groups())) for match in OUTSIDE.finditer(text)}
    return {one for one in found if one not in HOSTS}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_unconfirmed_address(file: Path) -> None:
    said = SAID.get(str(file.relative_to(ROOT)), set())
    text = re.sub(
        r'"image/png": "[^"]*"', "", file.read_text(encoding="utf-8")
    )  # letters of images
    assert addresses(text) == said


def test_an_unconfirmed_address_is_found() -> None:
    text = "see https://arxiv.org/abs/1704.06904 and https://example.com/x, or github.com/a/b"
    assert addresses(text) == {"example.com", "github.com"}
    assert addresses('pip install "minran[gpu]" "x @ git+ssh"') == {"minran", "git+"}


def test_the_address_makes_badge_and_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = read_notebook(NOTEBOOKS[0])
    assert "colab" not in to_text(make_copy(notebook, "pair"))
    monkeypatch.setattr(_version, "REPOSITORY", "https://github.com/OWNER/NAME")
    first, setup = make_copy(notebook, "pair").cells[:2]
    page = "colab.research.google.com/github/OWNER/NAME/blob/main/notebooks/00_start_here.ipynb)"
    assert (
        first.source.startswith("# 00 · Start here\n\n[![Open in Colab]") and page in first.source
    )
    assert '"minran[notebooks] @ git+https://github.com/OWNER/NAME"' in setup.source
    compile(setup.source, "setup", "exec")


def test_one_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"].get("Repository", "") == _version.REPOSITORY
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert ("repository-code:" in citation) == bool(_version.REPOSITORY)
