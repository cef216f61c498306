"""The built pages: no dead link, nothing from the network, equations that can break.

Set MINRAN_SITE to the folder that sphinx-build wrote (.ci/run does).
"""

from __future__ import annotations

import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

SITE = Path(os.environ.get("MINRAN_SITE") or "no-site")
pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").exists(), reason="MINRAN_SITE names no folder of built pages"
)
RESULTS = Path(__file__).parents[1] / "docs" / "results"
PAGES = sorted(SITE.rglob("*.html")) if SITE.exists() else []


class Links(HTMLParser):
    """The links of a page, what it loads, the places in it, and what its images say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.words: dict[str, list[str]] = {"": [], "only-light": [], "only-dark": []}
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "img":
            kind = next(
                (kind for kind in self.words if kind and kind in values.get("class", "")), ""
            )
            self.words[kind].append(values.get("alt", ""))
        if "id" in values:
            self.places.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        for name in ("src", "data"):
            if name in values and tag in ("img", "script", "iframe", "object", "video"):
                self.loads.append(values[name])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon"):
            self.loads.append(values["href"])


@cache
def read(page: Path) -> Links:
    return Links(page.read_text(encoding="utf-8"))


def dead(page: Path) -> list[str]:
    """What a page links or loads that is not in the folder, anchors included."""
    found = []
    links = read(page)
    for link in links.links + links.loads:
        if re.match(r"(https?|mailto|data|javascript):", link):
            continue
        path, _, place = link.split("?")[0].partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page.resolve()
        whole = target.is_file() and (
            not place or target.suffix != ".html" or unquote(place) in read(target).places
        )
        if not whole:
            found.append(link)
    return found


def test_no_link_is_dead() -> None:
    """In all pages but those of source code, which have a name for every line."""
    found = {str(page.relative_to(SITE)): dead(page) for page in PAGES}
    assert not {page: links for page, links in found.items() if links}


def test_nothing_comes_from_the_network() -> None:
    for page in PAGES:
        outside = [link for link in read(page).loads if re.match(r"(https?:)?//", link)]
        assert not outside, f"{page.relative_to(SITE)} loads {outside}"


def test_every_notebook_is_there_with_its_outputs() -> None:
    notebooks = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9][0-9]*_*.py"))
    assert notebooks
    for notebook in notebooks:
        page = SITE / "learn" / f"{notebook.stem}.html"
        text = page.read_text(encoding="utf-8")
        assert "cell_output" in text, f"{page.name} has no outputs"
        assert "Traceback (most recent call last)" not in text or "raises-exception" in (
            notebook.read_text(encoding="utf-8")
        ), f"{page.name} shows an error"


def test_no_equation_has_a_tag() -> None:
    """MathJax puts a tagged equation into a table, which never breaks on a narrow screen."""
    for page in PAGES:
        for block in re.findall(
            r'<div class="math[^>]*>(.*?)</div>', page.read_text(encoding="utf-8"), flags=re.S
        ):
            assert r"\tag" not in block, page.name


def says_little(words: str) -> bool:
    """Whether the words about an image are none, too few, or the name of its file."""
    return len(words) < 10 or bool(re.search(r"\.(png|svg)$", words))


def test_every_image_says_what_is_seen() -> None:
    assert says_little("../_images/a_b.png") and says_little("image: M") and says_little("")
    assert not says_little("image: mask M")
    found = {
        str(page.relative_to(SITE)): read(page).words.values()
        for page in PAGES
        if page.name != "py-modindex.html"
    }
    little = {
        page: [one for all_ in words for one in all_ if says_little(one)]
        for page, words in found.items()
    }
    assert not {page: words for page, words in little.items() if words}


def test_every_figure_of_a_notebook_has_its_dark_twin() -> None:
    for notebook in (SITE / "learn").glob("[0-9]*.html"):
        words = read(notebook).words
        assert words["only-light"] == words["only-dark"] and words["only-light"], notebook.name
        assert not words[""], f"{notebook.name} has images for light pages only"


def test_no_other_picture_is_white_on_a_dark_page() -> None:
    """Each has its dark twin, or is a plot, whose colours the style sheet turns round."""
    style = (SITE / "_static" / "minran.css").read_text(encoding="utf-8")
    rules = re.findall(r'img\[src\*="_images/"\]:not\(\[class\*="only-"\]\) { filter', style)
    assert len(rules) == 2, "dark by the reader's choice, and by the system's"
    plots = {plot.name for plot in RESULTS.rglob("*.png")}
    for page in PAGES:
        images = re.findall(r"<img [^>]*>", page.read_text(encoding="utf-8"))
        alone = [image for image in images if "_images/" in image and "only-" not in image]
        names = {re.sub(r'.*_images/([^"]*)".*', r"\1", image) for image in alone}
        assert names <= plots, f"{page.relative_to(SITE)}: no plot of docs/results: {names - plots}"


def test_drawings_stand_in_the_page_itself() -> None:
    for page in PAGES:
        outside = [
            link for link in read(page).loads if link.endswith(".svg") and "favicon" not in link
        ]
        assert not outside, f"{page.relative_to(SITE)} loads {outside}"
    for name in ("architecture.html", "paper/architecture.html", "learn/00_start_here.html"):
        assert '<svg xmlns="http://www.w3.org/2000/svg"' in (SITE / name).read_text(
            encoding="utf-8"
        )


def test_search_has_an_index() -> None:
    index = (SITE / "searchindex.js").read_text(encoding="utf-8")
    assert "attention" in index and "conv2d" in index
