"""The table of symbols in notebook 00: every name in it exists."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest
from course_helpers import FILES

import minran
from minran import create_model

ROW = re.compile(
    r"^# \| (?P<symbol>.+?) \| (?P<what>.+?) \| (?P<code>`.+?) \| (?P<where>[\d, ]+) \|$"
)
ROWS = [
    match.groupdict()
    for line in (FILES[0].read_text(encoding="utf-8").splitlines() if FILES else [])
    if (match := ROW.match(line))
]
NAMES = sorted({name for row in ROWS for name in re.findall(r"`(.+?)`", row["code"])})


def find(name: str) -> Any:
    """`ops.gate` within minran, or a module or parameter of a network."""
    network = create_model("attention_small_cifar")
    parts: dict[str, Any] = dict(network.named_modules())
    parts |= dict(network.named_parameters()) | dict(network.named_buffers())
    if name in parts:
        return parts[name]
    found: Any = minran
    for part in name.split("."):
        if not hasattr(found, part):
            found = importlib.import_module(f"{found.__name__}.{part}")
        else:
            found = getattr(found, part)
    return found


def test_the_table_is_there() -> None:
    assert FILES[0].name.startswith("00_")
    assert len(ROWS) >= 40


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_table_exists(name: str) -> None:
    plain, _, argument = name.partition("(")
    found = find(plain)
    if argument:
        assert argument.removesuffix(")") in inspect.signature(found).parameters


def test_the_notebooks_of_the_table_are_numbers_of_the_course() -> None:
    for row in ROWS:
        assert all(0 <= int(number) <= 18 for number in row["where"].split(", ")), row
