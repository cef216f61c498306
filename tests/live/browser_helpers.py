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
        found = self.find_elements(By.CSS_SELECTOR, "#classes .share")
        return [float(each.get_attribute("data-share")) for each in found]

    def pixels(self) -> np.ndarray:
        """The picture as it is now, (32, 32, 3) uint8."""
        sent = self.execute_script("return [...state.pixels]")
        return np.array(sent, np.uint8).reshape(32, 32, 3)

    def choose(self, which: str, value: str) -> None:
        """Select an option by its value."""
        Select(self.find_element(By.ID, which)).select_by_value(value)

    def requested(self) -> list[str]:
        """The addresses that the page asked for since the last call, but the browser's own."""
        messages = [json.loads(each["message"])["message"] for each in self.get_log("performance")]
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        # The browser's first page, of its own, may still be loading.
        urls = [e["request"]["url"] for e in sent if not e["documentURL"].startswith("chrome")]
        return [url for url in urls if not url.startswith(("data:", "blob:", "chrome"))]


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser within the block, with `folder` for its files."""
    options = ChromeOptions()
    options.binary_location = BROWSER
    for option in (*OPTIONS.split(), f"--user-data-dir={folder}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    page = Page(options, Service(DRIVER))
    yield page
    page.quit()
