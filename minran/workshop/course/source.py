"""`show_source(obj)`: the real source of a function or class, coloured, in a cell's output."""

from __future__ import annotations

import inspect
from html import escape
from pathlib import Path
from typing import Any

from minran.errors import MinranError

_STYLE = """
.minran-source{--p:#f6f8fa;--t:#1f2328;--k:#a3262e;--s:#0a5a2b;--c:#59636e;--n:#6639ba;--d:#0550ae}
@media (prefers-color-scheme:dark){
.minran-source{--p:#161b22;--t:#e6edf3;--k:#ff7b72;--s:#7ee787;--c:#9aa4af;--n:#d2a8ff;--d:#79c0ff}}
.minran-source{background:var(--p);border-radius:6px;padding:10px 14px;margin:4px 0;overflow-x:auto}
.minran-source pre{background:none!important;color:var(--t)!important;margin:6px 0 0;padding:0;
border:0;font:12.5px/1.45 ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}
.minran-source .where{color:var(--c);font:12px system-ui,sans-serif}
.minran-source .k,.minran-source .ow{color:var(--k)}.minran-source .s{color:var(--s)}
.minran-source .c{color:var(--c);font-style:italic}.minran-source .n{color:var(--n)}
.minran-source .d{color:var(--d)}
.minran-source table{border-collapse:collapse;border:0;margin:6px 0 0;background:none!important}
.minran-source tr{background:none!important}
.minran-source td{padding:0!important;border:0;vertical-align:top;
text-align:left!important;background:none!important;max-width:none;white-space:normal}
.minran-source td pre{margin:0}
.minran-source td.note{padding-left:18px!important;color:var(--s);
font:12.5px/1.45 system-ui,sans-serif;
white-space:normal;min-width:13em}
"""


class Source:
    """Source text that a notebook shows in colours and that prints as it is."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where

    def __repr__(self) -> str:
        return f"# {self.where}\n{self.text}"

    def _repr_html_(self) -> str:
        return (
            f"<style>{_STYLE}</style>"
            f'<div class="minran-source"><div class="where">{escape(self.where)}</div>'
            f"<pre>{_coloured(self.text)}</pre></div>"
        )


def show_source(*objects: Any, docstring: bool = True) -> None:
    """Show the source of functions, classes or modules, with file and lines.

    docstring=False leaves out the docstring of each object. Raises MinranError for what has no
    Python source.
    """
    for thing in objects:
        display_source(read_source(thing, docstring))


def display_source(found: Source) -> None:
    """Show a source as a cell's output, or print it where there is no notebook."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        print(found)
        return
    if get_ipython() is None:
        print(found)
    else:
        display(found)


def read_source(thing: Any, docstring: bool = True) -> Source:
    """The source of one object, dedented."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if not (inspect.isroutine(thing) or inspect.isclass(thing) or inspect.ismodule(thing)):
        thing = type(thing)
    try:
        lines, first = inspect.getsourcelines(thing)
        file = inspect.getsourcefile(thing) or ""
    except (OSError, TypeError) as error:
        raise MinranError(f"show_source: {thing!r} has no Python source to show") from error
    last = first + len(lines) - 1 if first else len(lines)
    text = _dedent(lines)
    if not docstring:
        text = _without_docstring(text)
    return Source(text.rstrip("\n"), f"{_short(file)}, lines {max(first, 1)}-{last}")


def _dedent(lines: list[str]) -> str:
    margin = len(lines[0]) - len(lines[0].lstrip())
    return "".join(line[margin:] if line[:margin].isspace() else line for line in lines)


def _without_docstring(text: str) -> str:
    import ast

    body = ast.parse(text).body
    node = body[0] if body else None
    if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or ast.get_docstring(node) is None:
        return text
    first = node.body[0]
    lines = text.splitlines()
    rest = lines[first.end_lineno :]
    while rest and not rest[0].strip():
        rest = rest[1:]
    return "\n".join(lines[: first.lineno - 1] + rest)


def _short(file: str) -> str:
    """The path from the package on: minran/ops/gate.py."""
    path = Path(file)
    root = Path(__file__).parents[3]
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def style() -> str:
    """The style sheet of shown sources."""
    return _STYLE


def colour_c(text: str) -> str:
    """CUDA source as HTML; each line of it is complete by itself."""
    return _coloured(text, "CudaLexer")


def _coloured(text: str, language: str = "PythonLexer") -> str:
    """HTML with a class for keywords, strings, comments and defined names."""
    try:
        from pygments import lex, lexers
        from pygments.token import Token
    except ImportError:
        return escape(text)
    classes = (
        (Token.Keyword, "k"),
        (Token.Operator.Word, "ow"),
        (Token.Literal.String, "s"),
        (Token.Comment, "c"),
        (Token.Name.Function, "n"),
        (Token.Name.Class, "n"),
        (Token.Name.Decorator, "n"),
        (Token.Literal.Number, "d"),
        (Token.Name.Builtin, "d"),
    )
    parts = []
    for kind, value in lex(text, getattr(lexers, language)(stripnl=False)):
        name = next((name for token, name in classes if kind in token), "")
        pieces = [
            f'<span class="{name}">{escape(one)}</span>' if name and one else escape(one)
            for one in value.split("\n")
        ]
        parts.append("\n".join(pieces))
    return "".join(parts).rstrip("\n")
