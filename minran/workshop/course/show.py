"""What a notebook shows: sources in colours, kernels with notes, figures to step through.

`frames` and `explore` need neither JavaScript nor a kernel, so they work in a saved page too.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import minran
from minran.errors import MinranError, expect, shortened
from minran.hints import checked
from minran.inspect.themes import SYMBOLS

PACKAGE = Path(minran.__file__).parent

# The folder is found without importing the GPU backend: nothing here needs CuPy.
KERNELS = PACKAGE / "backend" / "gpu" / "kernels"

# The classes of colours are those of Pygments: k keywords, s strings, c comments, m numbers ...
_STYLE = """
.minran-source{--p:#f6f8fa;--t:#1f2328;--k:#a3262e;--s:#0a5a2b;--c:#59636e;--n:#6639ba;--d:#0550ae}
@media (prefers-color-scheme:dark){
.minran-source{--p:#161b22;--t:#e6edf3;--k:#ff7b72;--s:#7ee787;--c:#9aa4af;--n:#d2a8ff;--d:#79c0ff}}
.minran-source{background:var(--p);border-radius:6px;padding:10px 14px;margin:4px 0;overflow-x:auto}
.minran-source pre{background:none!important;color:var(--t)!important;margin:6px 0 0;padding:0;
border:0;font:12.5px/1.45 ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}
.minran-source .where{color:var(--c);font:12px system-ui,sans-serif}
.minran-source [class^=k],.minran-source .ow{color:var(--k)}
.minran-source [class^=s]{color:var(--s)}
.minran-source [class^=c]{color:var(--c);font-style:italic}
.minran-source .nf,.minran-source .fm,.minran-source .nc,.minran-source .nd{color:var(--n)}
.minran-source [class^=m],.minran-source .nb,.minran-source .bp{color:var(--d)}
.minran-source pre:has(~.note),.minran-source .note~pre{margin:0}
.minran-source .note{position:sticky;left:0;margin:1px 0 5px 2em;color:var(--s);
font:12.5px/1.45 system-ui,sans-serif}
"""
for _dark, _where in enumerate(("{}", "@media (prefers-color-scheme:dark){{{}}}")):
    for _symbol, _pair in SYMBOLS.items():
        _STYLE += _where.format(f".minran-source .symbol-{_symbol}{{color:{_pair[_dark]}}}")

_SYMBOL_OF = {"mask": "M", "trunk": "T", "gy": "g"}
"""The names, in the code of the gate, of what equations call so."""


@dataclass
class Source:
    """Source text that a notebook shows in colours and that prints as it is."""

    text: str
    where: str
    language: str = "python"
    notes: Mapping[int, str] = field(default_factory=dict)
    """By line number, what stands next to the line."""
    stale: Mapping[str, str] = field(default_factory=dict)
    """By fragment, the notes whose line is no longer in the source; they are listed below it."""

    def __repr__(self) -> str:
        code = self.text.splitlines()
        width = max(map(len, code), default=0)
        lines = [f"{'#' if self.language == 'python' else '//'} {self.where}"]
        for number, line in enumerate(code):
            note = self.notes.get(number)
            lines.append(f"{line:{width}}  <- {note}" if note else line)
        lines += [f"(no longer in the source: {key!r}: {note})" for key, note in self.stale.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        code = _coloured(self.text, self.language)
        body = f"<pre>{code}</pre>"
        if self.notes:
            # A note stands below its line: beside a long one, a narrow page would cut it off.
            body = ""
            for number, line in enumerate(code.split("\n")):
                note = escape(self.notes.get(number, ""))
                body += (
                    f"<pre>{line or ' '}</pre>"
                    + f'<div class="note">&#8593; {note}</div>' * bool(note)
                )
        words = [f"no longer in the source: {key}: {note}" for key, note in self.stale.items()]
        above, *below = (f'<div class="where">{escape(one)}</div>' for one in (self.where, *words))
        frame = f'<div class="minran-source">{above}{body}{"".join(below)}</div>'
        return f"<style>{_STYLE}</style>{frame}"


def _coloured(text: str, language: str) -> str:
    """HTML with Pygments' classes; each line of it is complete by itself."""
    try:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import get_lexer_by_name
    except ImportError:
        return escape(text)
    lexer = get_lexer_by_name(language, stripnl=False)
    code = str(highlight(text, lexer, HtmlFormatter(nowrap=True))).rstrip("\n")
    if re.search(r"\bmask\b", text) and re.search(r"\btrunk\b", text):
        for name, symbol in _SYMBOL_OF.items():
            code = code.replace(f'"n">{name}</span>', f'"n symbol-{symbol}">{name}</span>')
    return code


def _display(found: Source) -> None:
    """Show a source as a cell's output, or print it where there is no notebook."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(found)
    else:
        ipython.display.display(found)


passed_tasks: set[str] = set()
"""The tasks whose check has passed in this process."""


@checked()
def show_source(*objects: Any, docstring: bool = True, after: str = "") -> None:
    """Show the source of functions, classes or modules, with file and lines.

    docstring=False leaves out the docstring of each object. after: a task, "05.2", whose check
    must have passed; until then a line says so. Raises MinranError for what has no Python source.
    """
    if after and after not in passed_tasks:
        print(f"The library's source is shown here once task {after} has passed.")
        return
    for thing in objects:
        _display(read_source(thing, docstring))


def read_source(thing: Any, docstring: bool = True) -> Source:
    """The source of one object, dedented."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if not (inspect.isroutine(thing) or inspect.isclass(thing) or inspect.ismodule(thing)):
        thing = type(thing)
    try:
        lines, first = inspect.getsourcelines(thing)
        file = Path(inspect.getsourcefile(thing) or "")
    except (OSError, TypeError) as error:
        raise MinranError(f"show_source: {thing!r} has no Python source to show") from error
    text = textwrap.dedent("".join(lines)).rstrip("\n")
    root, first = PACKAGE.parent, max(first, 1)
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    where = f"{name}, lines {first}-{first + len(lines) - 1}"
    return Source(text if docstring else _without_docstring(text), where)


def _without_docstring(text: str) -> str:
    node = next(iter(ast.parse(text).body), None)
    if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or ast.get_docstring(node) is None:
        return text
    words, lines = node.body[0], text.splitlines()
    rest = itertools.dropwhile(lambda line: not line.strip(), lines[words.end_lineno :])
    return "\n".join([*lines[: words.lineno - 1], *rest])


@checked()
def show_kernel(file: str, name: str, notes: Mapping[str, str] | None = None) -> None:
    """Show the function `name` of a file of kernels, "elementwise.cu", with the comment above it.

    The text is read from the file that the GPU backend compiles. notes: by a fragment of a line,
    what that line does; a fragment that is no longer there is listed below, as out of date. Raises
    MinranError for an unknown file or function.
    """
    _display(read_kernel(file, name, notes))


def read_kernel(file: str, name: str, notes: Mapping[str, str] | None = None) -> Source:
    """The source of one function, its comment and template line included."""
    path = KERNELS / file
    if not path.is_file():
        known = ", ".join(sorted(p.name for p in KERNELS.glob("*.cu*")))
        raise MinranError(f"show_kernel: there is no file {file!r}; there are {known}")
    text = path.read_text(encoding="utf-8")
    # Comment and template lines, the head, and all up to the end of its line or to the next "}" as
    # far to the left as the head.
    above, margin = r"(?:^[ \t]*(?://|template).*\n)*", r"^([ \t]*)(?:\S.*)?"
    head = rf"{above}{margin}__(?:global|device)__\b.*\b{re.escape(name)}\("
    match = re.search(head + r"(?:.*\}$|[\s\S]*?^\1\}.*)", text, re.M)
    if match is None:
        there = re.findall(r"__(?:global|device)__\b.*?\b(\w+)\(", text)
        raise MinranError(f"show_kernel: {file} has no {name!r}; it has {', '.join(there)}")
    code = match.group().split("\n")
    beside: dict[int, str] = {}
    stale = dict(notes or {})
    for fragment in tuple(stale):
        number = next((i for i, line in enumerate(code) if fragment in line), None)
        if number is not None:
            beside[number] = "; ".join([*filter(None, [beside.get(number)]), stale.pop(fragment)])
    first = text.count("\n", 0, match.start()) + 1
    where = f"minran/backend/gpu/kernels/{file}, lines {first}-{first + len(code) - 1}"
    return Source(match.group(), where, "cuda", beside, stale)


# --- figures to step through

MOST = 60
"""Figures that `explore` draws at most: all are in the page."""

_count = itertools.count()


@dataclass
class Frames:
    """Figures to step through by clicking, or with the arrow keys; see `frames` and `explore`."""

    pictures: Sequence[Any]
    captions: Sequence[str]
    choices: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """By name, a row of buttons each; the figures are those of all combinations, in order."""

    def __repr__(self) -> str:
        return "\n".join(f"{k}. {text}" for k, text in enumerate(self.captions))

    def _repr_html_(self) -> str:
        # Radio buttons that show a figure after them: a browser does it alone, without scripts.
        name = f"minran-frames-{os.getpid()}-{next(_count)}"
        rows = self.choices or {"": range(len(self.pictures))}
        first = [len(values) // 2 if self.choices else 0 for values in rows.values()]
        rules, buttons, bodies = "", "", ""
        for row, (what, values) in enumerate(rows.items()):
            buttons += f"<span>{escape(what)} </span>" * bool(what)
            for k, value in enumerate(values):
                one, checked = f"{name}-{row}-{k}", " checked" * (k == first[row])
                words = escape(f"{what} {value}" if what else self.captions[k])
                buttons += f'<input type="radio" name="{name}-{row}" id="{one}"{checked} '
                buttons += f'aria-label="{words}"><label for="{one}">{escape(str(value))}</label>'
            buttons += "<br>"
        places = list(itertools.product(*(range(len(values)) for values in rows.values())))
        for place, picture, text in zip(places, self.pictures, self.captions, strict=True):
            kind = "f" + "-".join(map(str, place))
            hidden = "" if list(place) == first else " hidden"  # where no style is let through
            body = _as_html(picture, text, enough=not self.choices)
            words = f"<figcaption>{escape(text)}</figcaption>"
            bodies += f'<figure class="{kind}"{hidden}>{words}{body}</figure>'
            rules += "~".join(f"#{name}-{row}-{k}:checked" for row, k in enumerate(place))
            rules += f"~.{kind}{{display:block}}"
        style = (
            f".{name}{{font:14px system-ui,sans-serif}}"
            f".{name} figure{{display:none;margin:8px 0;overflow-x:auto}}"
            f".{name} figcaption{{margin:6px 0;min-height:1.4em}}"
            f".{name} span{{display:inline-block;min-width:6em}}"
            f".{name} input{{position:absolute;opacity:0}}"
            f".{name} label{{display:inline-block;min-width:1.3em;text-align:center;cursor:pointer;"
            "border:1px solid #8884;border-radius:4px;padding:1px 5px;margin:1px}"
            f".{name} input:checked+label{{background:#0072B2;color:#fff;border-color:#0072B2}}"
            f".{name} input:focus-visible+label{{outline:2px solid #E69F00}}{rules}"
        )
        return f'<style>{style}</style><div class="{name}">{buttons}{bodies}</div>'


def _as_html(picture: Any, words: str, enough: bool) -> str:
    """The figure; words say what is seen, or, if they are not enough, begin to say it."""
    if hasattr(picture, "_repr_svg_"):
        return str(picture._repr_svg_())
    if not enough:
        words = f"{words}: {picture.seen()}".rstrip(": ")
    # On a narrow page the figure around it scrolls: its numbers stay large enough to read.
    return str(picture.as_html(words, "max-width:max(100%,600px)"))


@checked()
def frames(pictures: Sequence[Any], captions: Sequence[str]) -> Frames:
    """Figures (SVG drawings or matplotlib figures) to step through, each with its caption.

    Raises ShapeError if there are not as many captions as figures.
    """
    got = f"{len(pictures)} figures and {len(captions)} captions"
    expected = f"frames: expected a caption for each figure, got {got}"
    expect(len(pictures) == len(captions) > 0, expected)
    return Frames(pictures, captions)


@checked()
def explore(draw: Callable[..., Any], **choices: Sequence[Any]) -> Frames:
    """Draw `draw(name=value, ...)` for all combinations of values; buttons choose what is seen.

    choices: by name of the argument, the values to choose from; the middle one comes first. All
    figures are drawn now and lie in the page, so that nothing needs to run when it is read. Raises
    ShapeError for a name without values, and for more than 60 combinations.
    """
    for name, values in choices.items():
        several = isinstance(values, Collection) and len(values) > 0
        expect(several, f"explore: {name} must list values to choose from, got {shortened(values)}")
    count = math.prod(map(len, choices.values()))
    expect(count <= MOST, f"explore: at most {MOST} figures are drawn, got {count} combinations")
    states = [dict(zip(choices, values)) for values in itertools.product(*choices.values())]
    words = [", ".join(f"{name} = {value}" for name, value in one.items()) for one in states]
    return Frames([draw(**one) for one in states], words, choices)
