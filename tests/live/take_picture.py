"""The README's pictures of the live page: python tests/live/take_picture.py docs/images

They are live.png, and live-dark.png for those who read on dark pages.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

from browser_helpers import Page, chromium
from live_helpers import serving
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By

WIDTH = 1000


def main(target: Path, dark: bool) -> None:
    """Down to the masks, after a stroke over a part of the object."""
    with serving() as server, tempfile.TemporaryDirectory() as own, chromium(Path(own)) as page:
        page.screen(WIDTH, dark)
        page.get(server.url)
        page.answered(0)
        asked = page.count()
        page.find_elements(By.CSS_SELECTOR, "#gallery button")[5].click()
        page.answered(asked)
        asked = page.count()
        picture = page.find_element(By.ID, "picture")
        stroke = ActionChains(page).move_to_element_with_offset(picture, -90, -60).click_and_hold()
        stroke.move_by_offset(60, 60).move_by_offset(40, 60).release().perform()
        page.answered(asked)
        page.execute_script("document.body.classList.add('within')")
        page.execute_script("document.activeElement.blur()")
        save(page, target)


def save(page: Page, target: Path) -> None:
    """Write the page down to its maps as a PNG file."""
    box = page.find_element(By.ID, "modules").rect
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 4, "scale": 1}
    how = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    taken = page.execute_cdp_cmd("Page.captureScreenshot", how)
    target.write_bytes(base64.b64decode(taken["data"]))


for dark in (False, True):
    main(Path(sys.argv[1]) / f"live{'-dark' * dark}.png", dark)
