"""The page in a real browser, Debian's Chromium: what a reader does, and what then stands there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_helpers import (
    answered,
    choose,
    chromium,
    count,
    needs_chromium,
    pixels,
    requested,
    shares,
    wait,
)
from live_helpers import serving
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from minran import inspect
from minran.live import Server

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


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
    assert all(url.startswith(server.url) for url in requested(browser))


def expected(server: Server, picture: np.ndarray, network: str = "trained") -> np.ndarray:
    model = server.networks[network]
    return inspect.class_probabilities(model, server.prepare(picture[None]))[0]


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
