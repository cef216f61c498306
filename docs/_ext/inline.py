"""Drawings within the page itself: a click folds a box, and their colours follow the page's."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes


def inline(app: Any, tree: nodes.document) -> None:
    """Replace the <img> of an SVG file by the drawing, named by the image's alternative text."""
    for node in tree.findall(nodes.image):
        if node["uri"].endswith(".svg"):
            text = (Path(app.srcdir) / node["uri"]).read_text(encoding="utf-8")
            named = f'role="img" aria-label="{escape(node["alt"])}"'
            if "width" in node:
                named += f' style="width: {node["width"]}"'
            drawn = text.replace('role="img"', named, 1)
            shown = f'<span class="drawing">{drawn}</span>'
            node.replace_self(nodes.raw("", shown, format="html"))


def setup(app: Any) -> dict[str, Any]:
    """Look at every page once its images are found."""
    app.connect("doctree-read", inline, priority=900)
    return {"parallel_read_safe": True}
