r"""Equations without the tables that MathJax would make around them: their cells never break.

A number, `\tag{3.5}`, becomes text next to its equation. And Sphinx puts what has a `\\` into a
`split`; within an environment of its own, `\cr` says the same. So `equations.js` can break an
equation where a screen is narrow.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes

_TAG = re.compile(r"\s*\\tag\{([^}]*)\}")


def number(app: Any, tree: nodes.document) -> None:
    """Give the tagged equations of a page their numbers, and leave no `split` to be made."""
    for node in tree.findall(nodes.math_block):
        text = node.astext()
        if match := _TAG.search(text):
            node["number"] = match[1]
            text = _TAG.sub("", text)
        if r"\begin" in text:
            text = re.sub(r"\\\\(\[\w+\])?", r"\\cr ", text)
        node.children = [nodes.Text(text)]


def setup(app: Any) -> dict[str, Any]:
    """Look at every page once it is read."""
    app.connect("doctree-read", number)
    return {"parallel_read_safe": True}
