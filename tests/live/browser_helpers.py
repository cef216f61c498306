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


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """A browser within the block, with `folder` for its files."""
    options = ChromeOptions()
    options.binary_location = BROWSER
    for option in (*OPTIONS.split(), f"--user-data-dir={folder}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    yield driver
    driver.quit()


def wait(condition: Any) -> Any:
    end = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < end, "the page did not come so far in 30 s"
        time.sleep(0.02)
    return found


def count(page: Any) -> int:
    return int(page.execute_script("return document.body.dataset.answered") or 0)


def answered(page: Any, before: int) -> None:
    """Wait for the last answer: a question came, and none is on its way."""
    wait(lambda: count(page) > before and not page.execute_script("return running || waiting"))


def shares(page: Any) -> list[float]:
    found = page.find_elements(By.CSS_SELECTOR, "#classes .share")
    return [float(each.get_attribute("data-share")) for each in found]


def pixels(page: Any) -> np.ndarray:
    return np.array(page.execute_script("return [...state.pixels]"), np.uint8).reshape(32, 32, 3)


def choose(page: Any, which: str, value: str) -> None:
    Select(page.find_element(By.ID, which)).select_by_value(value)


def requested(browser: Any) -> list[str]:
    """The addresses that the page asked for since the last call, but the browser's own."""
    messages = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    urls = [each["request"]["url"] for each in sent]
    return [url for url in urls if not url.startswith(("data:", "blob:", "chrome://"))]
