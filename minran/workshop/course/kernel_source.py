"""`show_kernel(file, name)`: one function of our CUDA files, found by its name, with notes.

The text is read from the file that the GPU backend compiles, so it is always the code that runs.
Notes stand beside the first line that holds their fragment. A fragment that is no longer in the
source is not passed over in silence: its note is listed below, marked as out of date.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

import minran.backend
from minran.errors import MinranError
from minran.workshop.course.source import Source, colour_c, display_source, style

# The folder is found without importing the GPU backend: nothing here needs CuPy.
KERNELS = Path(minran.backend.__file__).parent / "gpu" / "kernels"


class KernelSource(Source):
    """Source of a kernel; `notes` by line number, `stale` for those whose line has gone."""

    def __init__(
        self, text: str, where: str, notes: Mapping[int, str], stale: Mapping[str, str]
    ) -> None:
        super().__init__(text, where)
        self.notes, self.stale = dict(notes), dict(stale)

    def __repr__(self) -> str:
        width = max((len(line) for line in self.text.splitlines()), default=0)
        lines = [f"// {self.where}"]
        for number, line in enumerate(self.text.splitlines()):
            note = self.notes.get(number)
            lines.append(f"{line:{width}}  <- {note}" if note else line)
        lines += [f"(no longer in the source: {key!r}: {note})" for key, note in self.stale.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        code = colour_c(self.text).split("\n")
        for number, line in enumerate(code):
            note = escape(self.notes.get(number, ""))
            beside = f'<td class="note">{note}</td>' if note else ""
            span = "" if note else ' colspan="2"'
            rows.append(f"<tr><td{span}><pre>{line or ' '}</pre></td>{beside}</tr>")
        stale = "".join(
            f'<div class="where">no longer in the source: {escape(key)}: {escape(note)}</div>'
            for key, note in self.stale.items()
        )
        return (
            f"<style>{style()}</style>"
            f'<div class="minran-source"><div class="where">{escape(self.where)}</div>'
            f"<table>{''.join(rows)}</table>{stale}</div>"
        )


def show_kernel(file: str, name: str, notes: Mapping[str, str] | None = None) -> None:
    """Show the function `name` of a file of kernels, "elementwise.cu", with the comment above it.

    notes: by a fragment of a line, what that line does. Raises MinranError for an unknown file
    or function.
    """
    display_source(read_kernel(file, name, notes))


def read_kernel(file: str, name: str, notes: Mapping[str, str] | None = None) -> KernelSource:
    """The source of one function, its comment and template line included."""
    path = KERNELS / file
    if not path.is_file():
        known = ", ".join(sorted(p.name for p in KERNELS.glob("*.cu*")))
        raise MinranError(f"show_kernel: there is no file {file!r}; there are {known}")
    lines = path.read_text(encoding="utf-8").splitlines()
    first, last = _extent(lines, file, name)
    found = lines[first:last]
    beside: dict[int, str] = {}
    stale: dict[str, str] = {}
    for fragment, note in (notes or {}).items():
        number = next((i for i, line in enumerate(found) if fragment in line), None)
        if number is None:
            stale[fragment] = note
        else:
            beside[number] = f"{beside[number]}; {note}" if number in beside else note
    where = f"minran/backend/gpu/kernels/{file}, lines {first + 1}-{last}"
    return KernelSource("\n".join(found), where, beside, stale)


def _extent(lines: list[str], file: str, name: str) -> tuple[int, int]:
    """First line, and the line behind the last, of the definition of `name`."""
    heads = re.compile(rf"__(global|device)__\b.*\b{re.escape(name)}\(")
    start = next((i for i, line in enumerate(lines) if heads.search(line)), None)
    if start is None:
        known = re.findall(r"__(?:global|device)__\b.*?\b(\w+)\(", "\n".join(lines))
        raise MinranError(f"show_kernel: {file} has no {name!r}; it has {', '.join(known)}")
    first = start
    while first and re.match(r"\s*(//|template)", lines[first - 1]):
        first -= 1
    depth, opened = 0, False
    for number in range(start, len(lines)):
        code = lines[number].split("//")[0]
        depth += code.count("{") - code.count("}")
        opened = opened or "{" in code
        if opened and depth == 0:
            return first, number + 1
    raise MinranError(f"show_kernel: {name!r} in {file} has no end")
