"""Tables of wrong calls: a row a line, or several where only a part differs."""

from __future__ import annotations

import itertools
import re


def rows(table: str) -> list[str]:
    """The rows of a table: `f(<<0; "a">>) | word` stands for `f(0) | word` and `f("a") | word`."""
    found: list[str] = []
    for line in filter(None, table.splitlines()):
        parts = re.split("<<(.*?)>>", line)
        choices = [part.split("; ") if k % 2 else [part] for k, part in enumerate(parts)]
        found += map("".join, itertools.product(*choices))
    return found
