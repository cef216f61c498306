"""Debian's Chromium, and what tests ask of the live page in it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver import ChromeOptions  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.actions import interaction  # noqa: E402
from selenium.webdriver.common.actions.action_builder import ActionBuilder  # noqa: E402
from selenium.webdriver.common.actions.pointer_input import PointerInput  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium")
needs_chromium = [
    pytest.mark.skipif(not (DRIVER and BROWSER), reason="no chromium with its driver"),
    pytest.mark.xdist_group("browser"),
]
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)

CUT = """
const wide = document.documentElement.clientWidth, out = [];
for (const each of document.querySelectorAll("html, body *:not(.hidden, option, script)")) {
  const box = each.getBoundingClientRect(), said = `${each.tagName} ${each.id} ${each.textContent}`;
  const hides = getComputedStyle(each).overflowX !== "visible" || each.tagName === "HTML";
  if (!box.width) continue;
  if (box.left < 0 || box.right > wide + 0.5) out.push(`beyond the side: ${said}`);
  if (hides && each.scrollWidth > each.clientWidth) out.push(`wider than its place: ${said}`);
}
return out;
"""
PALE = """
const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const numbers = (text) => text.match(/[\\d.]+/g).map(Number), out = {};
for (const each of document.querySelectorAll("body *:not(option, script)")) {
  const own = [...each.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !each.getBoundingClientRect().width || each.disabled) continue;
  let under = each, back = [0, 0, 0, 0];
  for (; back[3] === 0 && under; under = under.parentElement)
    back = numbers(getComputedStyle(under).backgroundColor);
  const both = [light(numbers(getComputedStyle(each).color)), light(back)].sort((a, b) => b - a);
  const ratio = (both[0] + 0.05) / (both[1] + 0.05);
  if (ratio < 4.5) out[`${each.className} ${each.textContent.slice(0, 30)}`] = ratio;
}
return out;
"""


class Page(webdriver.Chrome):
    """A browser with the live page, and what tests ask of it."""

    def wait(self, condition: Any) -> Any:
        """Until something is there; returns it."""
        end = time.monotonic() + 30
        while not (found := condition()):
            assert time.monotonic() < end, "the page did not come so far in 30 s"
            time.sleep(0.02)
        return found

    def count(self) -> int:
        """How many answers have come."""
        return int(self.execute_script("return document.body.dataset.answered") or 0)

    def answered(self, before: int) -> None:
        """Wait for the last answer: a question came, and none is on its way."""
        idle = "return !(running || waiting)"
        self.wait(lambda: self.count() > before and self.execute_script(idle))

    def shares(self) -> list[float]:
        """The probabilities that stand there."""
        found = self.find_elements(By.CSS_SELECTOR, "#classes [data-share]")
        return [float(each.get_attribute("data-share")) for each in found]

    def logits(self) -> list[float]:
        """The logits that came."""
        return self.execute_script("return state.answer.logits")

    def pixels(self) -> np.ndarray:
        """The picture as it is now, (32, 32, 3) uint8."""
        sent = self.execute_script("return [...state.pixels]")
        return np.array(sent, np.uint8).reshape(32, 32, 3)

    def choose(self, which: str, value: str) -> None:
        """Select an option by its value."""
        Select(self.find_element(By.ID, which)).select_by_value(value)

    def screen(self, width: int, dark: bool = False, still: bool = False) -> None:
        """A screen as wide as that, and what the reader's system asks of pages."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def cut(self) -> list[str]:
        """What lies beyond the side of the screen, or is cut off."""
        return self.execute_script(CUT)

    def pale(self) -> dict[str, float]:
        """Texts with less contrast to what is behind them than 4.5 (WCAG, level AA)."""
        return self.execute_script(PALE)

    def drop(self, *files: Path) -> None:
        """Drop files onto the page, as from a file manager."""
        names = [str(file) for file in files]
        for kind in ("dragEnter", "dragOver", "drop"):
            data = {"items": [], "files": names, "dragOperationsMask": 1}
            event = {"type": kind, "x": 200, "y": 200, "data": data}
            self.execute_cdp_cmd("Input.dispatchDragEvent", event)

    def touch(self, element: Any, *points: tuple[int, int]) -> None:
        """A finger put down on an element, drawn over places relative to its middle, and lifted."""
        finger = PointerInput(interaction.POINTER_TOUCH, "finger")
        actions = ActionBuilder(self, mouse=finger)
        for k, (x, y) in enumerate(points):
            actions.pointer_action.move_to(element, x, y)
            if k == 0:
                actions.pointer_action.pointer_down()
        actions.pointer_action.pointer_up()
        actions.perform()

    def requested(self) -> list[str]:
        """The addresses that the page asked for since the last call, but the browser's own."""
        messages = [json.loads(each["message"])["message"] for each in self.get_log("performance")]
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        # The browser's first page, of its own, may still be loading.
        urls = [e["request"]["url"] for e in sent if not e["documentURL"].startswith("chrome")]
        return [url for url in urls if not url.startswith(("data:", "blob:", "chrome"))]


@contextmanager
def chromium(folder: Path, *more: str) -> Iterator[Page]:
    """A browser within the block, with `folder` for its files; more: options."""
    options = ChromeOptions()
    options.binary_location = BROWSER
    for option in (*OPTIONS.split(), *more, f"--user-data-dir={folder}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    page = Page(options, Service(DRIVER))
    yield page
    page.quit()
