"""The live page as it stands on the site: onnxruntime in the browser answers as minran does."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser_helpers import Page, chromium, needs_chromium
from live_helpers import files_served
from selenium.webdriver.common.by import By

import minran
from minran import inspect
from minran.live import load_network, look
from minran.live.server import COMPARED

pytest.importorskip("onnx", reason="the onnx package is not installed")
pytestmark = [*needs_chromium, pytest.mark.skipif(not shutil.which("npm"), reason="no npm")]
EXTENSIONS = Path(__file__).parents[2] / "docs" / "_ext"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address and the folder of the page as the site's build writes it."""
    sys.path.insert(0, str(EXTENSIONS))
    import live

    folder = tmp_path_factory.mktemp("site")
    live.write(folder)
    if not (folder / "runtime.wasm.gz").exists():
        pytest.skip("npm has no registry")
    with files_served(folder) as url:
        yield url, folder


@pytest.fixture(scope="module")
def page(site: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, answered once; at the end no error, and no address but the site's."""
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        browser.get("about:blank")
        browser.requested()  # the browser's own first page
        browser.get(site[0])
        browser.answered(0)
        yield browser
        assert browser.get_log("browser") == []
        assert [url for url in browser.requested() if not url.startswith(site[0])] == []


def maps(page: Page) -> list[np.ndarray]:
    sent = page.execute_script(
        "return state.answer.modules.map((m) => m.steps.map((s) => [...mapOf(s.map).values]))"
    )
    return [np.array(step) for module in sent for step in module]


def test_the_first_view_is_small(page: Page, site: tuple[str, Path]) -> None:
    """What the browser got before anything was chosen: one network of the six, and it untrained."""
    got = page.execute_script(
        "return performance.getEntriesByType('resource').map((e) => [e.name, e.encodedBodySize])"
    )
    networks = {Path(name).name for name, _ in got if name.endswith(".onnx")}
    assert networks == {"quickstart.onnx", "quickstart-random.onnx"}
    page_itself = (site[1] / "index.html").stat().st_size
    assert 3e6 < sum(size for _, size in got) + page_itself < 8e6


@pytest.mark.parametrize("name", ["quickstart", *COMPARED[1:], "attention56_cifar"])
def test_ten_pictures_have_minrans_answers_and_maps(page: Page, name: str) -> None:
    asked = page.count()
    if page.find_element(By.ID, "network").get_attribute("value") != name:
        page.choose("network", name)
        page.answered(asked)
    trained = minran.load_pretrained(name)
    strange = "knows no such class" in page.find_element(By.ID, "none").text
    assert strange == (name not in COMPARED)
    for button in page.find_elements(By.CSS_SELECTOR, "#gallery button"):
        asked = page.count()
        button.click()
        page.answered(asked)
        picture = trained.preprocess(page.pixels()[None])
        own = inspect.class_probabilities(trained.model, picture)[0]
        np.testing.assert_allclose(page.shares(), own, atol=1e-4)
        shown = look(trained.model, picture[0])
        np.testing.assert_allclose(page.logits(), shown.logits, atol=1e-4)
        steps = [step for module in shown.modules.values() for step in module]
        for got, step in zip(maps(page), steps, strict=True):
            # Float32 of either side: 1e-4 of the greatest number.
            scale = max(1.0, float(np.abs(step.values).max()))
            np.testing.assert_allclose(got, step.values.mean(axis=2).ravel(), atol=1e-4 * scale)


def test_a_mask_is_painted(page: Page) -> None:
    asked = page.count()
    page.choose("network", "quickstart")
    page.answered(asked)
    asked = page.count()
    page.find_element(By.CSS_SELECTOR, "[data-fill=zero]").click()
    page.answered(asked)
    mask = {"stages.0.1": np.zeros((16, 16), np.float32)}
    for name in ("quickstart", "quickstart_naive"):
        if name != "quickstart":
            asked = page.count()
            page.choose("network", name)
            page.answered(asked)
        trained = minran.load_pretrained(name)
        picture = trained.preprocess(page.pixels()[None])[0]
        shown = look(trained.model, picture, mask)
        np.testing.assert_allclose(page.shares(), shown.probabilities, atol=1e-4)
    asked = page.count()
    page.find_element(By.ID, "own-off").click()
    page.answered(asked)


def test_random_weights_are_minrans_too(page: Page) -> None:
    asked = page.count()
    page.find_element(By.ID, "random").click()
    page.answered(asked)
    name = page.find_element(By.ID, "network").get_attribute("value")
    network = load_network(name)
    picture = network.prepare(page.pixels()[None])
    own = inspect.class_probabilities(network.random, picture)[0]
    np.testing.assert_allclose(page.shares(), own, atol=1e-4)
    asked = page.count()
    page.find_element(By.ID, "random").click()
    page.answered(asked)


def test_a_site_that_was_built_without_npm_shows_a_picture(
    site: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import live

    monkeypatch.setenv("PATH", "")
    live.write(tmp_path)
    text = (tmp_path / "index.html").read_text()
    loads = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert live.NOTHING in text and "<script" not in text and 'id="still" hidden' not in text
    files = {name for name in loads if not name.startswith(("data:", "../"))}
    assert files == {"live.css", "still.png"} <= {file.name for file in tmp_path.iterdir()}


def test_a_site_that_is_opened_as_a_file_says_how_to_serve_it(
    site: tuple[str, Path], tmp_path: Path
) -> None:
    with chromium(tmp_path) as page:
        page.get((site[1] / "index.html").as_uri())
        said = page.find_element(By.ID, "problem")
        page.wait(lambda: "python -m http.server" in said.text)
        assert page.find_element(By.CSS_SELECTOR, "#still img").is_displayed()


def test_a_site_without_its_networks_says_so(site: tuple[str, Path], page: Page) -> None:
    (site[1] / "networks.json").rename(site[1] / "gone.json")
    try:
        page.get(site[0])
        page.wait(
            lambda: "the site has no networks.json" in page.find_element(By.ID, "problem").text
        )
        assert page.find_element(By.CSS_SELECTOR, "#still img").is_displayed()
        # The browser notes the file that was not there.
        assert all("networks.json" in each["message"] for each in page.get_log("browser"))
    finally:
        (site[1] / "gone.json").rename(site[1] / "networks.json")


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("without", ["scripts", "WebAssembly"])
def test_without_scripts_or_webassembly_it_shows_a_picture_and_says_so(
    site: tuple[str, Path], tmp_path: Path, without: str, width: int
) -> None:
    options = ["--blink-settings=scriptEnabled=false"] if without == "scripts" else []
    with chromium(tmp_path, *options) as page:
        page.screen(width)
        lacks = {"source": "delete globalThis.WebAssembly"}
        page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", lacks)
        page.get(site[0])
        words = {"scripts": "needs scripts, which are off", "WebAssembly": "has no WebAssembly"}
        text = page.find_element(By.TAG_NAME, "body")
        page.wait(lambda: words[without] in text.text)
        still = page.find_element(By.CSS_SELECTOR, "noscript img, #still:not([hidden]) img")
        assert still.is_displayed() and still.rect["width"] > 300
        assert page.execute_script("return document.querySelector('img').naturalWidth") > 300
        assert page.find_element(By.ID, "h-words").is_displayed()
        assert not page.find_element(By.ID, "main").is_displayed()
        assert page.cut() == [] and page.get_log("browser") == []
