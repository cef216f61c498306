"""The page in a real browser, Debian's Chromium: what a reader does, and what then stands there."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_helpers import serving

from minran import inspect
from minran.live import Server

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver import ActionChains, ChromeOptions  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(not (DRIVER and BROWSER), reason="no chromium with its driver"),
    pytest.mark.xdist_group("browser"),
]
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = ChromeOptions()
    options.binary_location = BROWSER
    for option in (*OPTIONS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The page, answered once; after the test: no error, and no address but the server's."""
    browser.set_window_size(1400, 1000)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(server.url)
    answered(browser, 0)
    yield browser
    assert browser.get_log("browser") == []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            assert url.startswith((server.url, "data:", "blob:", "chrome://")), url


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


def expected(server: Server, picture: np.ndarray, network: str = "trained") -> np.ndarray:
    model = server.networks[network]
    return inspect.class_probabilities(model, server.prepare(picture[None]))[0]


def choose(page: Any, which: str, value: str) -> None:
    Select(page.find_element(By.ID, which)).select_by_value(value)


def test_ten_pictures_have_minrans_answers_and_masks(page: Any, server: Server) -> None:
    for k, button in enumerate(page.find_elements(By.CSS_SELECTOR, "#gallery button")):
        before = count(page)
        button.click()
        answered(page, before)
        np.testing.assert_array_equal(pixels(page), server.pictures[k])
        np.testing.assert_allclose(shares(page), expected(server, server.pictures[k]), atol=1e-4)
        model, picture = server.networks["trained"], server.prepare(server.pictures[k : k + 1])
        for module, found in enumerate(inspect.attention_maps(model, picture)):
            drawn = page.execute_script(
                "return [...mapOf(maskStep(state.answer.modules[arguments[0]]).map).values]", module
            )
            np.testing.assert_allclose(drawn, found.mask[0].mean(axis=2).ravel(), atol=1e-4)


def test_painting_changes_the_picture_and_the_answer(page: Any, server: Server) -> None:
    before, asked = pixels(page), count(page)
    picture = page.find_element(By.ID, "picture")
    ActionChains(page).drag_and_drop_by_offset(picture, 60, 40).perform()
    answered(page, asked)
    after = pixels(page)
    changed = (after != before).any(axis=2)
    assert 10 < changed.sum() < 512
    assert (after[changed] == 128).all()
    np.testing.assert_allclose(shares(page), expected(server, after), atol=1e-4)
    asked = count(page)
    page.find_element(By.ID, "undo").click()
    answered(page, asked)
    np.testing.assert_array_equal(pixels(page), before)


def test_it_is_painted_by_keyboard(page: Any) -> None:
    before, asked = pixels(page), count(page)
    picture = page.find_element(By.ID, "picture")
    picture.send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP, " ")
    answered(page, asked)
    changed = (pixels(page) != before).any(axis=2)
    assert changed[15, 15] and 0 < changed.sum() < 100
    choose(page, "tool", "object")
    true, asked = page.execute_script("return [...state.object]"), count(page)
    ActionChains(page).key_down(Keys.SHIFT).perform()
    picture.send_keys(Keys.ARROW_DOWN)
    answered(page, asked)
    ActionChains(page).key_up(Keys.SHIFT).perform()
    moved = page.execute_script("return [...state.object]")
    np.testing.assert_array_equal(moved, [0] * 32 + true[:-32])
    choose(page, "tool", "paint")


def test_the_object_moves_alone(page: Any) -> None:
    choose(page, "tool", "object")
    true = np.array(page.execute_script("return [...state.object]")).reshape(32, 32)
    before, asked = pixels(page), count(page)
    ActionChains(page).drag_and_drop_by_offset(page.find_element(By.ID, "picture"), 36, 0).perform()
    answered(page, asked)
    moved = np.array(page.execute_script("return [...state.object]")).reshape(32, 32)
    step = int(np.flatnonzero(moved.any(axis=0))[0] - np.flatnonzero(true.any(axis=0))[0])
    assert 1 <= step <= 5
    np.testing.assert_array_equal(moved[:, step:], true[:, :-step])
    inside = moved.astype(bool)
    np.testing.assert_array_equal(pixels(page)[inside], np.roll(before, step, 1)[inside])
    choose(page, "tool", "paint")


def test_other_weights_scales_and_channels(page: Any, server: Server) -> None:
    asked = count(page)
    choose(page, "network", "random weights")
    answered(page, asked)
    np.testing.assert_allclose(
        shares(page), expected(server, pixels(page), "random weights"), atol=1e-4
    )
    said = page.find_element(By.CSS_SELECTOR, "#modules .range")
    assert "drawn on 0 to 1" in said.text
    choose(page, "scale", "own")
    assert "from least to greatest" in page.find_element(By.CSS_SELECTOR, "#modules .range").text
    asked = count(page)
    choose(page, "all", "one")
    answered(page, asked)
    sent = page.execute_script("return [...mapOf(maskStep(state.answer.modules[0]).map).values]")
    model, picture = server.networks["random weights"], server.prepare(pixels(page)[None])
    mask = inspect.attention_maps(model, picture)[0].mask[0, ..., 0]
    np.testing.assert_allclose(sent, mask.ravel(), atol=1e-5)


def test_a_mask_is_painted(page: Any) -> None:
    before, asked = shares(page), count(page)
    page.find_element(By.CSS_SELECTOR, "[data-fill=zero]").click()
    answered(page, asked)
    assert "(yours)" in page.find_element(By.CSS_SELECTOR, "#modules figcaption b").text
    assert np.abs(np.subtract(shares(page), before)).max() > 1e-6
    asked = count(page)
    own = page.find_element(By.ID, "own")
    ActionChains(page).drag_and_drop_by_offset(own, 20, 20).perform()
    answered(page, asked)
    drawn = page.execute_script("return [...mapOf(maskStep(state.answer.modules[0]).map).values]")
    assert set(drawn) == {0.0, 1.0}
    asked = count(page)
    page.find_element(By.ID, "own-off").click()
    answered(page, asked)
    np.testing.assert_allclose(shares(page), before, atol=1e-6)


def test_files_are_taken_or_refused_by_a_sentence(page: Any, tmp_path: Path) -> None:
    from PIL import Image

    field = page.find_element(By.ID, "file")
    good, broken, text = (tmp_path / name for name in ("good.png", "broken.png", "words.txt"))
    Image.new("RGB", (400, 300), (10, 200, 30)).save(good)
    broken.write_bytes(good.read_bytes()[:60])
    text.write_text("no picture")
    asked = count(page)
    field.send_keys(str(good))
    answered(page, asked)
    assert (pixels(page) == (10, 200, 30)).all()
    assert "not known" in page.find_element(By.ID, "scores").text
    for file in (broken, text):
        before = pixels(page)
        field.send_keys(str(file))
        problem = page.find_element(By.ID, "problem")
        wait(lambda name=file.name, said=problem: said.text.startswith(name))
        assert "is no picture" in problem.text
        np.testing.assert_array_equal(pixels(page), before)
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(70 << 20)
    field.send_keys(str(huge))
    wait(lambda: "huge.png has 73 MB" in page.find_element(By.ID, "problem").text)


@pytest.mark.parametrize("width", [500, 1400])
def test_nothing_is_cut_off_at_the_side(page: Any, width: int) -> None:
    page.set_window_size(width, 900)
    wide = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    wait(lambda: page.execute_script(wide))
