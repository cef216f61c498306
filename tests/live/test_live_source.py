"""The page's source is short, and a page of docs says what each file is for."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = [
    *(ROOT / "minran" / "live").glob("*.py"),
    *(ROOT / "minran" / "live" / "page").iterdir(),
    ROOT / "minran" / "cli" / "live.py",
    *(ROOT / "docs" / "_ext").glob("live.*"),
]


def test_the_source_is_at_most_1500_lines() -> None:
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in SOURCE}
    assert sum(lines.values()) <= 1500, lines


def test_the_page_about_it_names_every_file() -> None:
    text = (ROOT / "docs" / "explain" / "live.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:minran|docs)/[\w./-]+)`", text))
    files = {str(file.relative_to(ROOT)) for file in SOURCE if file.name != "__init__.py"}
    assert named == files


def test_nothing_is_loaded_from_elsewhere() -> None:
    for file in SOURCE:
        assert not re.search(r"https?://(?!127\.|\{)", file.read_text(encoding="utf-8")), file


def test_the_readme_shows_it_and_notebooks_link_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("live", "live-dark"):
        picture = f"docs/images/{name}.png"
        assert f'"{picture}"' in readme and (ROOT / picture).exists()
    for number in ("00", "08", "09", "13"):
        (notebook,) = (ROOT / "notebooks").glob(f"{number}_*.py")
        assert "](../docs/howto/live.md)" in notebook.read_text(encoding="utf-8"), notebook
