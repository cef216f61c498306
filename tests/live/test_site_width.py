"""Every page of the site in a browser, on a phone, in a window of half a screen, and in a wide one.

Equations and code fit their column: they break. Tables, printed columns and drawings, which lose
their sense when broken, may scroll within themselves. Nothing makes the page itself scroll.

Set MINRAN_SITE to the folder that sphinx-build wrote (.ci/run does).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser_helpers import chromium, needs_chromium
from live_helpers import files_served

SITE = Path(os.environ.get("MINRAN_SITE") or "no-site")
pytestmark = [
    *needs_chromium,
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="MINRAN_SITE names no site"),
]
WIDTHS = 360, 735, 1200
PAGES = sorted(
    page.relative_to(SITE).as_posix()
    for page in SITE.rglob("*.html")
    if page.relative_to(SITE).parts[0] not in ("_modules", "_static", "live")
)
SET = """
const done = arguments[0];
for (const each of document.querySelectorAll("article details")) each.open = true;
const ready = () => !window.MathJax || document.body.dataset.equations === "fit";
const drawn = () => requestAnimationFrame(() => requestAnimationFrame(done));
const wait = () => (ready() ? drawn() : setTimeout(wait, 20));
wait();
"""
TOO_WIDE = """
const out = [], all = document.documentElement;
const every = (which) => document.querySelectorAll(`article :is(${which})`);
function compare(each, inner, outer) {
  const words = each.textContent.trim().slice(0, 60);
  if (outer && inner > outer + 1) out.push(`${inner} in ${outer}: ${words}`);
}
if (all.scrollWidth > all.clientWidth) out.push("the page itself");
for (const each of every("mjx-container[display], pre:has(.line)"))
  compare(each, each.scrollWidth, each.clientWidth);
for (const each of every(":is(p, li) > .math > mjx-container > mjx-math"))
  compare(each, each.offsetWidth, each.closest("p, li").offsetWidth);
return out;
"""


def test_nothing_is_wider_than_its_column(tmp_path: Path) -> None:
    assert len(PAGES) > 80
    found = {}
    with files_served(SITE) as url, chromium(tmp_path) as page:
        page.set_script_timeout(120)
        for name in PAGES:
            page.get(url + name)
            for width in WIDTHS:
                page.screen(width)
                page.execute_async_script(SET)
                if wide := page.execute_script(TOO_WIDE):
                    found[f"{name} at {width}"] = wide
    assert not found
