"""The site's front page in a browser: the live network above the fold, in the colours of the site.

Set MINRAN_SITE to the folder that sphinx-build wrote (.ci/run does).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_helpers import Page, chromium, needs_chromium
from live_helpers import files_served
from selenium.webdriver.common.by import By

SITE = Path(os.environ.get("MINRAN_SITE") or "no-site")
pytestmark = [
    *needs_chromium,
    pytest.mark.skipif(
        not (SITE / "live" / "runtime.wasm.gz").exists(), reason="no built site with a live page"
    ),
]
BYTES = """return [...performance.getEntriesByType("resource"),
  ...performance.getEntriesByType("navigation")].reduce((s, e) => s + e.encodedBodySize, 0)"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """The front page, its live network answered; at the end no error, and no other address."""
    with files_served(SITE) as url, chromium(tmp_path) as page:
        page.screen(1400)
        page.get(f"{url}index.html")
        page.switch_to.frame(page.find_element(By.CSS_SELECTOR, "iframe.live"))
        page.wait(lambda: page.find_elements(By.ID, "main"))
        page.answered(0)
        page.switch_to.default_content()
        yield page
        assert page.get_log("browser") == []
        assert [asked for asked in page.requested() if not asked.startswith(url)] == []


def test_the_live_network_is_above_the_fold_and_the_first_view_is_small(page: Page) -> None:
    frame = page.find_element(By.CSS_SELECTOR, "iframe.live")
    top, size = frame.rect["y"], page.execute_script(BYTES)
    command = page.find_element(By.XPATH, "//pre[contains(., 'minran quickstart')]")
    assert top < command.rect["y"]
    page.switch_to.frame(frame)
    # On a screen of 900 pixels: picture, answer and masks.
    for part in ("#picture", "#classes", "#modules canvas"):
        box = page.find_element(By.CSS_SELECTOR, part).rect
        assert top + box["y"] + box["height"] < 900, part
    assert 3e6 < size + page.execute_script(BYTES) < 8e6


def test_the_live_network_has_the_colours_of_the_site(page: Page) -> None:
    frame = page.find_element(By.CSS_SELECTOR, "iframe.live")
    paper = "return getComputedStyle(document.body).backgroundColor"
    for theme, expected in (("dark", "rgb(20, 24, 29)"), ("light", "rgb(255, 255, 255)")):
        page.execute_script("document.body.dataset.theme = arguments[0]", theme)
        page.switch_to.frame(frame)
        page.wait(lambda expected=expected: page.execute_script(paper) == expected)
        page.switch_to.default_content()


@pytest.mark.parametrize("width", [400, 1400])
def test_the_front_page_is_not_wider_than_the_screen(page: Page, width: int) -> None:
    page.screen(width)
    wide = "return document.documentElement.scrollWidth <= innerWidth"
    page.wait(lambda: page.execute_script(wide))
    page.switch_to.frame(page.find_element(By.CSS_SELECTOR, "iframe.live"))
    assert page.cut() == []
