"""The page in a real browser, Debian's Chromium: what a reader does, and what then stands there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser_helpers import Page, chromium, needs_chromium
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
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def page(browser: Page, server: Server) -> Iterator[Page]:
    """The page, answered once; after the test: no error, and no address but the server's."""
    browser.set_window_size(1400, 1000)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(server.url)
    browser.answered(0)
    yield browser
    assert browser.get_log("browser") == []
    assert [url for url in browser.requested() if not url.startswith(server.url)] == []


def expected(server: Server, picture: np.ndarray, network: str = "trained") -> np.ndarray:
    model = server.networks[network]
    return inspect.class_probabilities(model, server.prepare(picture[None]))[0]


def test_ten_pictures_have_minrans_answers_and_masks(page: Page, server: Server) -> None:
    for k, button in enumerate(page.find_elements(By.CSS_SELECTOR, "#gallery button")):
        before = page.count()
        button.click()
        page.answered(before)
        np.testing.assert_array_equal(page.pixels(), server.pictures[k])
        np.testing.assert_allclose(page.shares(), expected(server, server.pictures[k]), atol=1e-4)
        model, picture = server.networks["trained"], server.prepare(server.pictures[k : k + 1])
        for module, found in enumerate(inspect.attention_maps(model, picture)):
            drawn = page.execute_script(
                "return [...mapOf(maskStep(state.answer.modules[arguments[0]]).map).values]", module
            )
            np.testing.assert_allclose(drawn, found.mask[0].mean(axis=2).ravel(), atol=1e-4)


def test_painting_changes_the_picture_and_the_answer(page: Page, server: Server) -> None:
    before, asked = page.pixels(), page.count()
    picture = page.find_element(By.ID, "picture")
    ActionChains(page).drag_and_drop_by_offset(picture, 60, 40).perform()
    page.answered(asked)
    after = page.pixels()
    changed = (after != before).any(axis=2)
    assert 10 < changed.sum() < 512
    assert (after[changed] == 128).all()
    np.testing.assert_allclose(page.shares(), expected(server, after), atol=1e-4)
    asked = page.count()
    page.find_element(By.ID, "undo").click()
    page.answered(asked)
    np.testing.assert_array_equal(page.pixels(), before)


def test_it_is_painted_by_keyboard(page: Page) -> None:
    before, asked = page.pixels(), page.count()
    picture = page.find_element(By.ID, "picture")
    picture.send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP, " ")
    page.answered(asked)
    changed = (page.pixels() != before).any(axis=2)
    assert changed[15, 15] and 0 < changed.sum() < 100
    middle = picture.rect["x"] + 15.5 / 32 * picture.rect["width"]
    ring = page.find_element(By.CSS_SELECTOR, "#picture + .ring")
    assert ring.is_displayed() and abs(ring.rect["x"] + ring.rect["width"] / 2 - middle) < 2
    page.choose("tool", "object")
    true, asked = page.execute_script("return [...state.object]"), page.count()
    ActionChains(page).key_down(Keys.SHIFT).perform()
    picture.send_keys(Keys.ARROW_DOWN)
    page.answered(asked)
    ActionChains(page).key_up(Keys.SHIFT).perform()
    moved = page.execute_script("return [...state.object]")
    np.testing.assert_array_equal(moved, [0] * 32 + true[:-32])
    page.choose("tool", "paint")


def test_the_object_moves_alone(page: Page) -> None:
    page.choose("tool", "object")
    true = np.array(page.execute_script("return [...state.object]")).reshape(32, 32)
    before, asked = page.pixels(), page.count()
    ActionChains(page).drag_and_drop_by_offset(page.find_element(By.ID, "picture"), 36, 0).perform()
    page.answered(asked)
    moved = np.array(page.execute_script("return [...state.object]")).reshape(32, 32)
    step = int(np.flatnonzero(moved.any(axis=0))[0] - np.flatnonzero(true.any(axis=0))[0])
    assert 1 <= step <= 5
    np.testing.assert_array_equal(moved[:, step:], true[:, :-step])
    inside = moved.astype(bool)
    np.testing.assert_array_equal(page.pixels()[inside], np.roll(before, step, 1)[inside])
    page.choose("tool", "paint")


def test_the_whole_picture_moves_and_its_edge_is_repeated(page: Page, server: Server) -> None:
    page.choose("tool", "shift")
    asked, picture = page.count(), page.find_element(By.ID, "picture")
    picture.send_keys(Keys.SHIFT, Keys.ARROW_RIGHT)
    page.answered(asked)
    first = server.pictures[0]
    np.testing.assert_array_equal(page.pixels(), first[:, [0, *range(31)]])
    moved = np.reshape(page.execute_script("return [...state.object]"), (32, 32))
    np.testing.assert_array_equal(moved, server.true_masks[0][:, [0, *range(31)]])
    page.choose("tool", "paint")


def test_other_weights_scales_and_channels(page: Page, server: Server) -> None:
    asked = page.count()
    page.choose("network", "random weights")
    page.answered(asked)
    np.testing.assert_allclose(
        page.shares(), expected(server, page.pixels(), "random weights"), atol=1e-4
    )
    said = page.find_element(By.CSS_SELECTOR, "#modules .range")
    assert "drawn on 0 to 1" in said.text
    page.choose("scale", "own")
    assert "from least to greatest" in page.find_element(By.CSS_SELECTOR, "#modules .range").text
    asked = page.count()
    page.choose("all", "one")
    page.answered(asked)
    sent = page.execute_script("return [...mapOf(maskStep(state.answer.modules[0]).map).values]")
    model, picture = server.networks["random weights"], server.prepare(page.pixels()[None])
    mask = inspect.attention_maps(model, picture)[0].mask[0, ..., 0]
    np.testing.assert_allclose(sent, mask.ravel(), atol=1e-5)


def test_a_mask_is_painted(page: Page) -> None:
    before, asked = page.shares(), page.count()
    page.find_element(By.CSS_SELECTOR, "[data-fill=zero]").click()
    page.answered(asked)
    assert "(yours)" in page.find_element(By.CSS_SELECTOR, "#modules figcaption b").text
    assert np.abs(np.subtract(page.shares(), before)).max() > 1e-6
    asked = page.count()
    own = page.find_element(By.ID, "own")
    ActionChains(page).drag_and_drop_by_offset(own, 20, 20).perform()
    page.answered(asked)
    drawn = page.execute_script("return [...mapOf(maskStep(state.answer.modules[0]).map).values]")
    assert set(drawn) == {0.0, 1.0}
    asked = page.count()
    page.find_element(By.ID, "own-off").click()
    page.answered(asked)
    np.testing.assert_allclose(page.shares(), before, atol=1e-6)


def test_files_are_taken_or_refused_by_a_sentence(page: Page, tmp_path: Path) -> None:
    from PIL import Image

    field = page.find_element(By.ID, "file")
    good, broken, text = (tmp_path / name for name in ("good.png", "broken.png", "words.txt"))
    Image.new("RGB", (400, 300), (10, 200, 30)).save(good)
    broken.write_bytes(good.read_bytes()[:60])
    text.write_text("no picture")
    asked = page.count()
    field.send_keys(str(good))
    page.answered(asked)
    assert (page.pixels() == (10, 200, 30)).all()
    assert "not known" in page.find_element(By.ID, "scores").text
    picture = Image.new("RGB", (60, 30), (0, 0, 255))
    picture.paste((255, 0, 0), (15, 0, 45, 30))
    picture.save(good)
    found = {}
    for fit in ("cut", "pad", "stretch"):
        page.execute_script("state.setup.fit = arguments[0]", fit)
        asked = page.count()
        field.send_keys(str(good))
        page.answered(asked)
        found[fit] = page.pixels()[16, [1, 10, 16]].tolist(), page.pixels()[2, 16].tolist()
    red, blue, black = [255, 0, 0], [0, 0, 255], [0, 0, 0]
    assert found["cut"] == ([red, red, red], red)
    assert found["pad"] == ([blue, red, red], black)
    assert found["stretch"] == ([blue, red, red], red)
    for file in (broken, text):
        before = page.pixels()
        field.send_keys(str(file))
        problem = page.find_element(By.ID, "problem")
        page.wait(lambda name=file.name, said=problem: said.text.startswith(name))
        assert "is no picture" in problem.text
        np.testing.assert_array_equal(page.pixels(), before)
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(70 << 20)
    field.send_keys(str(huge))
    page.wait(lambda: "huge.png has 73 MB" in page.find_element(By.ID, "problem").text)


@pytest.mark.parametrize("width", [500, 1400])
def test_nothing_is_cut_off_at_the_side(page: Page, width: int) -> None:
    page.set_window_size(width, 900)
    wide = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    page.wait(lambda: page.execute_script(wide))
