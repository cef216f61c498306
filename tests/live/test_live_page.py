"""The page in a real browser, Debian's Chromium: what a reader does, and what then stands there."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser_helpers import Page, chromium, needs_chromium
from live_helpers import serving
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import minran
from minran import inspect
from minran.live import Server, look
from minran.live.network import about

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
    browser.screen(1400)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(server.url)
    browser.answered(0)
    yield browser
    assert browser.get_log("browser") == []
    assert [url for url in browser.requested() if not url.startswith(server.url)] == []


@pytest.mark.parametrize("network", ["quickstart", "quickstart_no_mask"])
def test_without_scripts_it_shows_the_pictures_and_says_so(tmp_path: Path, network: str) -> None:
    with (
        serving(network) as server,
        chromium(tmp_path, "--blink-settings=scriptEnabled=false") as page,
    ):
        page.screen(400)
        page.get(server.url)
        assert "needs scripts, which are off" in page.find_element(By.TAG_NAME, "body").text
        still = page.find_element(By.CSS_SELECTOR, "noscript img")
        assert still.is_displayed() and still.rect["width"] > 300
        assert page.execute_script("return document.querySelector('img').naturalWidth") > 300
        assert page.cut() == [] and page.get_log("browser") == []


def expected(
    server: Server, picture: np.ndarray, name: str = "quickstart", random: bool = False
) -> np.ndarray:
    network = server.networks[name]
    model = network.random if random else network.trained
    return inspect.class_probabilities(model, network.prepare(picture[None]))[0]


def test_ten_pictures_have_minrans_answers_and_masks(page: Page, server: Server) -> None:
    for k, button in enumerate(page.find_elements(By.CSS_SELECTOR, "#gallery button")):
        before = page.count()
        button.click()
        page.answered(before)
        np.testing.assert_array_equal(page.pixels(), server.pictures[k])
        np.testing.assert_allclose(page.shares(), expected(server, server.pictures[k]), atol=1e-4)
        network = server.networks["quickstart"]
        picture = network.prepare(server.pictures[k : k + 1])
        logits = network.trained(minran.tensor(picture)).numpy()[0]
        np.testing.assert_allclose(page.logits(), logits, atol=1e-4)
        for module, found in enumerate(inspect.attention_maps(network.trained, picture)):
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
    # The pointer was seen at both ends only; between them is a line.
    scale = 32 / picture.rect["width"]
    for share in np.linspace(0, 1, 9):
        assert changed[int(16 + share * 40 * scale), int(16 + share * 60 * scale)]
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


def test_an_object_of_another_picture_is_added(page: Page, server: Server) -> None:
    page.choose("tool", "other")
    asked = page.count()
    page.find_element(By.ID, "picture").send_keys(" ")  # the ring begins in the middle
    page.answered(asked)
    rows, columns = np.nonzero(server.true_masks[1])
    expected_picture = server.pictures[0].copy()
    down, right = (16 - int(np.floor(at.mean() + 0.5)) for at in (rows, columns))
    inside = (np.abs(rows + down - 15.5) < 16) & (np.abs(columns + right - 15.5) < 16)
    rows, columns = rows[inside], columns[inside]
    expected_picture[rows + down, columns + right] = server.pictures[1][rows, columns]
    np.testing.assert_array_equal(page.pixels(), expected_picture)
    np.testing.assert_allclose(page.shares(), expected(server, expected_picture), atol=1e-4)
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
    page.find_element(By.ID, "random").click()
    page.answered(asked)
    np.testing.assert_allclose(
        page.shares(), expected(server, page.pixels(), random=True), atol=1e-4
    )
    said = "#modules .mask .drawn"
    assert "drawn on 0 to 1" in page.find_element(By.CSS_SELECTOR, said).text
    page.choose("scale", "own")
    assert "drawn on this range" in page.find_element(By.CSS_SELECTOR, said).text
    asked = page.count()
    page.choose("all", "one")
    page.answered(asked)
    sent = page.execute_script("return [...mapOf(maskStep(state.answer.modules[0]).map).values]")
    network = server.networks["quickstart"]
    picture = network.prepare(page.pixels()[None])
    mask = inspect.attention_maps(network.random, picture)[0].mask[0, ..., 0]
    np.testing.assert_allclose(sent, mask.ravel(), atol=1e-5)
    printed = page.find_element(By.CSS_SELECTOR, "#modules .mask .range").text
    low, high = map(float, printed.split(" to "))
    assert (low, high) == pytest.approx((mask.min(), mask.max()), rel=0.006)  # three digits
    number, asked = page.find_element(By.ID, "channel"), page.count()
    number.clear()
    number.send_keys("20", Keys.TAB)
    page.answered(asked)
    shapes = page.find_elements(By.CSS_SELECTOR, "#modules .mask .shape")
    assert [shape.text.partition(", ")[2] for shape in shapes] == [
        "channel 15",
        "channel 20",
        "channel 20",
    ]


def test_a_mask_is_painted(page: Page) -> None:
    before, asked = page.shares(), page.count()
    page.find_element(By.CSS_SELECTOR, "[data-fill=zero]").click()
    page.answered(asked)
    assert "(yours)" in page.find_element(By.CSS_SELECTOR, "#modules .mask b").text
    assert np.abs(np.subtract(page.shares(), before)).max() > 1e-6
    printed = [
        float(each.text) for each in page.find_elements(By.CSS_SELECTOR, "#classes .logit")[1:]
    ]
    np.testing.assert_allclose(printed, page.logits(), atol=0.0051)
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
    text.write_text("no image")
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
        assert "is no image" in problem.text
        np.testing.assert_array_equal(page.pixels(), before)
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(70 << 20)
    field.send_keys(str(huge))
    page.wait(lambda: "huge.png has 73 MB" in page.find_element(By.ID, "problem").text)


def black_png(side: int) -> bytes:
    """A whole PNG file of one bit a pixel: 30,000 pixels a side are half a MB, and 3.6 GB drawn."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (1 + -(-side // 8))), 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_files_are_dropped_onto_the_page(page: Page, tmp_path: Path) -> None:
    """As from a file manager."""
    from PIL import Image

    good, broken, text, huge, many = (
        tmp_path / name for name in ("good.png", "broken.png", "words.txt", "huge.png", "many.png")
    )
    many.write_bytes(black_png(30_000))
    Image.new("RGB", (64, 48), (10, 200, 30)).save(good)
    broken.write_bytes(good.read_bytes()[:60])
    text.write_text("no image")
    with huge.open("wb") as file:
        file.truncate(70 << 20)
    page.execute_script("window.addEventListener('drop', (e) => { kept = e.defaultPrevented; })")
    asked = page.count()
    page.drop(good)
    page.answered(asked)
    assert page.execute_script("return kept")  # or the browser would open the file instead
    assert (page.pixels() == (10, 200, 30)).all()
    for file, words in (
        (broken, "broken.png is no image"),
        (text, "words.txt is no image"),
        (huge, "huge.png has 73 MB"),
        (many, "many.png is no image that this browser can read"),
    ):
        page.drop(file)
        page.wait(lambda words=words: words in page.find_element(By.ID, "problem").text)
        assert (page.pixels() == (10, 200, 30)).all()
    asked = page.count()
    page.drop(good, broken)
    page.answered(asked)
    assert "2 files" in page.find_element(By.ID, "problem").text


def test_another_network_keeps_picture_painting_and_module(page: Page, server: Server) -> None:
    asked = page.count()
    picture = page.find_element(By.ID, "picture")
    ActionChains(page).drag_and_drop_by_offset(picture, 40, 30).perform()
    page.answered(asked)
    page.choose("module", "stages.1.1")
    asked = page.count()
    page.find_element(By.CSS_SELECTOR, "[data-fill=one]").click()
    page.answered(asked)
    painted, mask = page.pixels(), {"stages.1.1": np.ones((8, 8), np.float32)}
    assert (painted != server.pictures[0]).any()
    # Back to the first at the end.
    for name in [*list(server.networks)[1:], "quickstart"]:
        asked = page.count()
        page.choose("network", name)
        page.answered(asked)
        network, masked = server.networks[name], name != "quickstart_no_mask"
        np.testing.assert_array_equal(page.pixels(), painted)
        assert page.find_element(By.ID, "module").get_attribute("value") == "stages.1.1"
        prepared = network.prepare(painted[None])[0]
        shown = look(network.trained, prepared, mask if masked else {})
        np.testing.assert_allclose(page.shares(), shown.probabilities, atol=1e-4)
        said = page.find_element(By.ID, "words").text
        assert said == f"{name}: {about(network.trained)['words']}"
        drawn = [each.text for each in page.find_elements(By.CSS_SELECTOR, "#modules b")]
        assert [title.endswith("(yours)") for title in drawn].count(True) == masked
        assert any(": M" in title for title in drawn) == masked
        assert [title.partition(": ")[2] for title in drawn].count("H") == 3
        assert page.find_element(By.ID, "maskless").is_displayed() != masked
        assert page.find_element(By.ID, "own").is_displayed() == masked
        keys = page.execute_script("return chosen().steps.map((s) => s.key)")
        assert keys == [step.key for step in shown.modules["stages.1.1"]]
        ways = page.find_element(By.ID, "ways").text
        assert shown.modules["stages.1.1"][-1].equation in ways
    page.find_element(By.ID, "own-off").click()


def test_channel_attention_has_a_scale_of_its_own(page: Page) -> None:
    asked = page.count()
    page.choose("network", "quickstart_channel")
    page.answered(asked)
    page.choose("scale", "fixed")
    said = page.find_element(By.CSS_SELECTOR, "#modules .mask .drawn").text
    assert said == "drawn on -1 to 1"


def test_scores_stand_beside_the_middle_and_random_weights(page: Page, server: Server) -> None:
    """Correlation and IoU of the page, computed again by NumPy."""
    network, object_ = server.networks["quickstart"], server.true_masks[0]
    picture = network.prepare(server.pictures[:1])
    means = {
        f"mask of {found.title}{words}": inspect.channel_mean(found.mask)
        for model, words in (
            (network.trained, ""),
            (network.random, ", random weights (baseline)"),
        )
        for found in inspect.attention_maps(model, picture)
    }
    means["a spot in the middle (baseline)"] = inspect.centre_map((32, 32))[None]
    rows = page.find_elements(By.CSS_SELECTOR, "#scores tr")[1:]
    got = [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]
    assert {row[0] for row in got} == set(means) and len(got) == 7
    for name, correlation, overlap in got:
        values = inspect.resize_maps(means[name], (32, 32))[0]
        highest = np.zeros(1024, bool)
        highest[np.argsort(-values.ravel(), kind="stable")[: object_.sum()]] = True
        both, either = highest & object_.ravel(), highest | object_.ravel()
        # Two decimals stand there; pixels of nearly equal values may change places by rounding.
        r = np.corrcoef(values.ravel(), object_.ravel())[0, 1]
        assert float(correlation) == pytest.approx(r, abs=0.0051)
        assert float(overlap) == pytest.approx(both.sum() / either.sum(), abs=0.02)


def test_it_is_painted_by_touch_and_the_page_stays(page: Page) -> None:
    page.screen(400)
    for name in ("picture", "own"):
        canvas = page.find_element(By.ID, name)
        page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", canvas)
        at, asked = page.execute_script("return scrollY"), page.count()
        drawn = page.execute_script("return arguments[0].toDataURL()", canvas)
        page.touch(canvas, (0, 0), (10, 40), (0, -60))
        page.answered(asked)
        assert page.execute_script("return scrollY") == at
        assert page.execute_script("return arguments[0].toDataURL()", canvas) != drawn
    # Elsewhere a finger scrolls.
    at = page.execute_script("return scrollY")
    page.touch(page.find_element(By.ID, "h-own"), (0, 0), (0, 30), (0, 120))
    page.wait(lambda: page.execute_script("return scrollY") < at)
    page.execute_script("scrollTo(0, 0)")
    page.find_element(By.ID, "own-off").click()


@pytest.mark.parametrize("name", ["quickstart", "quickstart_no_mask"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_is_read_on_narrow_and_wide_screens_in_light_and_dark(
    page: Page, width: int, dark: bool, name: str
) -> None:
    page.screen(width, dark)
    asked = page.count()
    page.choose("network", name)
    page.execute_script("document.querySelector('details').open = true")
    page.wait(lambda: page.count() > asked or name == "quickstart")
    assert page.execute_script("return innerWidth") == width
    assert page.cut() == []
    assert page.pale() == {}
    paper = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper))) < 64) == dark


def test_nothing_moves_by_itself_where_motion_is_reduced(page: Page) -> None:
    moving = """return [...document.querySelectorAll("*")].filter((e) => {
      const s = getComputedStyle(e), zero = (t) => t.split(", ").every((v) => parseFloat(v) === 0);
      return s.animationName !== "none" || !zero(s.transitionDuration); }).length"""
    page.screen(1400)
    assert page.execute_script(moving) > 0  # the bars of the classes
    page.screen(1400, still=True)
    assert page.execute_script(moving) == 0


def test_everything_has_a_label(page: Page) -> None:
    """Names as Chromium tells screen readers."""
    parts = "button, select, input, canvas, summary, a"
    for each in page.find_elements(By.CSS_SELECTOR, parts):
        if each.is_displayed() and each.find_elements(By.XPATH, "ancestor::button") == []:
            assert each.accessible_name, each.get_attribute("outerHTML")
