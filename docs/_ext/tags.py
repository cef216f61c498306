r"""Equations of several lines that carry their own number, `\tag{3.5}`.

Sphinx puts an equation with a line break into a `split`, where MathJax allows no tag. Such an
equation is handed over as an `equation*` instead.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes


def unwrap(app: Any, tree: nodes.document) -> None:
    """Wrap the tagged equations of a page ourselves."""
    for node in tree.findall(nodes.math_block):
        text = node.astext()
        if r"\tag" in text and r"\\" in text and not node.get("no-wrap"):
            wrapped = f"\\begin{{equation*}}\n{text.strip()}\n\\end{{equation*}}"
            node.replace_self(
                nodes.math_block(
                    wrapped, wrapped, **{**node.attributes, "no-wrap": True, "nowrap": True}
                )
            )


def setup(app: Any) -> dict[str, Any]:
    """Look at every page once it is read."""
    app.connect("doctree-read", unwrap)
    return {"parallel_read_safe": True}
