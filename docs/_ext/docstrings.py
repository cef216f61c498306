"""The house's docstrings, which are plain text, as reStructuredText for Sphinx's autodoc.

Indented blocks are equations (see `equations`) or programs; `code` in single backticks becomes a
link where it names something public; a line that begins with a parameter's `name:` begins an item;
what Sphinx would take for markup by accident is escaped. On a page stands what somebody uses:
functions and classes that their module offers, and of a class what an example names.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from equations import to_latex

PACKAGES = (
    "minran",
    "minran.ops",
    "minran.nn",
    "minran.nn.init",
    "minran.models",
    "minran.optim",
    "minran.gradcheck",
    "minran.data",
    "minran.inspect",
    "minran.train",
    "minran.live",
    "minran.interop",
    "minran.ablate",
    "minran.course",
    "minran.backend",
    "minran.distributed",
    "minran.errors",
)
"""Every module whose names are public, in the order in which a name in a text is looked up."""

ENGINE = ("Op", "Tensor", "no_grad", "tensor")
"""What `minran` itself is the home of; its other names live in the modules below."""

DOCS = Path(__file__).parents[1]

_ITEM = re.compile(r"^([A-Za-z_]\w*)(?:, [A-Za-z_]\w*)*: ")
_ERROR = re.compile(r"\b(?:Shape|Gradient|Data|Backend|Recipe|Checkpoint|Minran)Error\b")
_TABLE_ROW = re.compile(r"^(\w[\w, ]*?) {2,}(\S.*)$")


def public_names(module: str) -> list[str]:
    """What a module offers: its `__all__`, or what it defines without a leading underscore.

    Of `minran.errors` the classes: its functions raise them, within minran.
    """
    found = importlib.import_module(module)
    if hasattr(found, "__all__"):
        return [name for name in found.__all__ if not name.startswith("__")]
    return [
        name
        for name, thing in vars(found).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module
        if inspect.isclass(thing) or (inspect.isfunction(thing) and module != "minran.errors")
    ]


def _rank(thing: Any) -> int:
    """0 for a function, 1 for a class, 2 for an error."""
    return (1 + issubclass(thing, Exception)) if inspect.isclass(thing) else 0


def in_examples() -> set[str]:
    """Every word in an example: of a page, of a docstring, of a notebook."""
    package = Path(str(importlib.import_module("minran").__file__)).parent
    texts = [page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")]
    code = re.findall(r"^```(?:pycon|python)\n(.*?)^```$", "\n".join(texts), flags=re.M | re.S)
    for file in package.rglob("*.py"):
        code += re.findall(r"^ *(?:>>>|\.\.\.) .*$", file.read_text(encoding="utf-8"), flags=re.M)
    code += [file.read_text(encoding="utf-8") for file in DOCS.parent.glob("notebooks/[0-9]*.py")]
    return set(re.findall(r"\w+", "\n".join(code)))


def link_table() -> dict[str, str]:
    """For every way to write a public name, "conv2d" or "ops.conv2d", its full name."""
    table: dict[str, str] = {}
    for module in PACKAGES:
        for name in ENGINE if module == "minran" else public_names(module):
            full = f"{module}.{name}"
            if inspect.ismodule(getattr(importlib.import_module(module), name)):
                continue
            for short in (name, full.removeprefix("minran."), full):
                table.setdefault(short, full)
    return table


def parameters(thing: Any) -> list[str]:
    """The names of what a function or class takes; none for anything else."""
    try:
        return list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return []


def to_rst(
    lines: list[str],
    link: Callable[[str], str | None] = lambda _: None,
    names: Collection[str] = (),
) -> list[str]:
    """A docstring's lines as reStructuredText.

    link: the full name of what `code` names, if it is public. names: of the parameters; a line
    that begins with one of them and a colon begins an item.
    """
    out: list[str] = []
    for block in _blocks(lines):
        if block[0].lstrip().startswith((">>>", "|")):
            out += _example(block)
        elif block[0].startswith("    ") and not _is_equation("\n".join(block)):
            out += [".. code-block:: text", "", *(f"   {line[4:]}" for line in block)]
        elif block[0].startswith("    "):
            out += [".. math::", "", *(f"   {line}" for line in to_latex(block).split("\n"))]
        elif all(_TABLE_ROW.match(line) or line.startswith("      ") for line in block):
            out += _table(block, link)
        else:
            out += _paragraph(block, link, names)
        out.append("")
    return out


def _blocks(lines: list[str]) -> list[list[str]]:
    """Lines between empty ones."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _is_equation(text: str) -> bool:
    """Whether an indented block is an equation, not a program or a command."""
    return " = " in text and not re.search(r"[a-z_]\.[a-z_]+\(", text)


def _example(block: list[str]) -> list[str]:
    """An example as it is; a Markdown table as a literal block."""
    if block[0].lstrip().startswith(">>>"):
        return block
    return ["::", "", *(f"   {line}" for line in block)]


def _table(block: list[str], link: Callable[[str], str | None]) -> list[str]:
    """`name   what it is`, a row each, as a definition list."""
    out: list[str] = []
    for line in block:
        match = _TABLE_ROW.match(line)
        if match:
            out += [f"``{match.group(1)}``", f"   {_inline(match.group(2), link)}"]
        else:
            out.append(f"   {_inline(line.strip(), link)}")
    return out


def _paragraph(
    block: list[str], link: Callable[[str], str | None], names: Collection[str]
) -> list[str]:
    """Text, with its items as a list if there are several."""
    out: list[str] = []
    item = False
    text = _inline("\n".join(block), link).split("\n")
    starts = [match for match in map(_ITEM.match, block) if match and match.group(1) in names]
    if len(starts) < 2:
        return [line.lstrip() for line in text]
    for raw, line in zip(block, text, strict=True):
        match = _ITEM.match(raw)
        if match and match.group(1) in names:
            out += ([] if item or not out else [""]) + [f"* {line.lstrip()}"]
            item = True
        else:
            out.append(f"  {line.lstrip()}" if item else line.lstrip())
    return out


def _inline(text: str, link: Callable[[str], str | None]) -> str:
    """Escape what reStructuredText would read as markup, outside of `code`."""
    parts = re.split(r"`([^`]+)`", text)
    for index, part in enumerate(parts):
        if index % 2 == 0:
            escaped = re.sub(r"([\\*|])", r"\\\1", part)
            escaped = re.sub(r"(?<=\w)_(?!\w)", r"\\_", escaped)
            parts[index] = _ERROR.sub(lambda match: _role(match.group(), link), escaped)
            continue
        code = part.replace("\n", " ")
        # The text keeps its number of lines.
        parts[index] = _role(code, link) + ("\n" if "\n" in part else "")
    return "".join(parts)


def _role(code: str, link: Callable[[str], str | None]) -> str:
    """A link to what `code` names, or the code."""
    full = link(code.removesuffix("()"))
    return f":py:obj:`{code} <{full}>`" if full else f"``{code}``"


def setup(app: Any) -> dict[str, Any]:
    """Have autodoc pass every docstring through `to_rst`."""
    table = link_table()

    def process(_: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
        module = next((m for m in reversed(PACKAGES) if name.startswith(f"{m}.")), "minran")

        names = parameters(thing)

        def link(code: str) -> str | None:
            if code in names:
                return None
            own = f"{module}.{code}"
            return own if own in table else table.get(code)

        lines[:] = to_rst(lines, link, names)

    offered = {name for module in PACKAGES for name in public_names(module)}
    used = in_examples()

    def skip(_: Any, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
        # Python's own words for a field of a named tuple.
        alias = str(getattr(thing, "__doc__", "")).startswith("Alias for field")
        return True if alias or name not in (offered if what == "module" else used) else None

    # What one calls comes first, then what that takes and returns, then what it raises.
    for found in map(importlib.import_module, PACKAGES):
        if hasattr(found, "__all__"):
            found.__all__.sort(key=lambda name, module=found: _rank(getattr(module, name)))
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
