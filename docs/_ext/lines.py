"""Lines of code as elements of their own: a long one goes on below, indented further than it began.

Printed tables stay as they are: their columns stand under each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pygments.formatters import HtmlFormatter
from sphinx.highlighting import PygmentsBridge

_COLUMNS = re.compile(r"\S {2,}[^\s#]")


class Lines(HtmlFormatter):
    """Pygments' HTML, each line of code in a <span> that knows its indent."""

    def wrap(self, source: Any) -> Iterator[tuple[int, str]]:
        """Called with every line as HTML, and a 1 before it."""
        lines = list(source)
        texts = [re.sub("<[^>]*>", "", line) for _, line in lines]
        if 3 * sum(bool(_COLUMNS.search(text)) for text in texts) <= len(texts):
            indents = [len(text) - len(text.lstrip(" ")) for text in texts]
            lines = [
                (code, f'<span class="line" style="--indent: {indent}">{line}</span>')
                for (code, line), indent in zip(lines, indents, strict=True)
            ]
        yield from super().wrap(lines)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx highlights all code of all pages with this."""
    PygmentsBridge.html_formatter = Lines
    return {"parallel_read_safe": True}
