"""Lines of code as elements of their own: a long one goes on below, indented further than it began.

Printed tables stay as they are: their columns stand under each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pygments.formatters import HtmlFormatter

_COLUMNS = re.compile(r"\S {2,}[^\s#]")


def in_spans(lines: list[str]) -> list[str]:
    """Lines of HTML, each in a <span> that knows its indent; a table as it is."""
    texts = [re.sub("<[^>]*>", "", line) for line in lines]
    if 3 * sum(bool(_COLUMNS.search(text)) for text in texts) > len(texts):
        return lines
    indents = [len(text) - len(text.lstrip(" ")) for text in texts]
    pairs = zip(lines, indents, strict=True)
    return [
        f'<span class="line" style="--indent: {indent}">{line}</span>' for line, indent in pairs
    ]


def in_page(html: str) -> str:
    """The same for every <pre> of a piece of HTML."""

    def broken(match: re.Match[str]) -> str:
        return match[1] + "".join(in_spans(match[2].splitlines(keepends=True))) + match[3]

    return re.sub("(<pre[^>]*>)(.*?)(</pre>)", broken, html, flags=re.S)


class Lines(HtmlFormatter):
    """Pygments' HTML, in lines."""

    def wrap(self, source: Any) -> Iterator[tuple[int, str]]:
        """Called with every line as HTML, and a 1 before it."""
        codes, lines = zip(*source, strict=True)
        yield from super().wrap(zip(codes, in_spans(list(lines)), strict=True))


def setup(app: Any) -> dict[str, Any]:
    """Sphinx highlights all code of all pages with this."""
    from sphinx.highlighting import PygmentsBridge  # `in_page` does without

    PygmentsBridge.html_formatter = Lines
    return {"parallel_read_safe": True}
