"""The core, which a newcomer reads in a weekend (docs/architecture.md), stays as short as that."""

from __future__ import annotations

import re
from pathlib import Path

import minran

ROOT = Path(minran.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"

CORE = {
    "errors.py": 131,
    "backend/naive": 671,
    "autograd.py": 516,
    "ops": 1060,
    "gradcheck/check.py": 167,
    "nn": 510,
    "models": 528,
    "optim/sgd.py": 95,
    "optim/schedules.py": 85,
    "train/steps.py": 138,
    "train/loop.py": 164,
}
"""The parts of the core, and how many lines each may have."""

LIMIT = 4_065
"""Of all together."""

OUTSIDE = {"ops/fused.py", "models/fused.py"}
"""In the same folders, but not of the core: what is computed faster."""


def lines(part: str) -> dict[str, int]:
    """The files of a part with their lines."""
    path = ROOT / part
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    named = {file.relative_to(ROOT).as_posix(): file for file in files}
    return {
        name: len(file.read_text(encoding="utf-8").splitlines())
        for name, file in named.items()
        if name not in OUTSIDE
    }


def test_the_core_is_read_in_a_weekend() -> None:
    found = {part: lines(part) for part in CORE}
    grown = {
        part: f"{sum(files.values())} lines, {CORE[part]} allowed: {files}"
        for part, files in found.items()
        if sum(files.values()) > CORE[part]
    }
    assert not grown
    assert sum(CORE.values()) <= LIMIT


def test_the_page_names_the_parts_of_the_core_and_its_limit() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("## The core") : text.index("### A weekend")]
    named = {
        name.rstrip("/")
        for name in re.findall(r"^\| .*? \|", table, re.M)
        for name in re.findall(r"`([\w/.]+)`", name)
    }
    assert named - OUTSIDE == set(CORE)
    assert f"at most {LIMIT:,} lines" in text


def test_the_core_meets_nothing_that_is_only_faster() -> None:
    """No fused kernel, no folded weights, no recorded graph: their words do not occur."""
    words = re.compile(r"norm_relu_conv2d|folded|recorder|capture|launch|rank\b")
    found = {
        name: sorted(set(words.findall((ROOT / name).read_text(encoding="utf-8"))))
        for part in CORE
        for name in lines(part)
        if not name.endswith("__init__.py")  # which lists all public names
    }
    assert not {name: hits for name, hits in found.items() if hits}
