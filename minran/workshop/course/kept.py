"""`my_minran.py`: the file that keeps a learner's answers, one section for each task.

Where a check passes in a notebook, its answer is written here with all that it needs of the
notebook: imports, helpers, constants. A section begins with a line that holds a digest of the
rest, so that what was edited by hand is known, and stays.
"""

from __future__ import annotations

import ast
import hashlib
import re
import symtable
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from minran.errors import DataError, MinranError, expect
from minran.files import write_atomically
from minran.workshop.course.needed import read_names

FILE = "my_minran.py"

HEAD = '''"""My answers to the exercises of the course, which `check` writes here when they pass.

A section that you edit stays as it is: `check` writes only into those that it wrote itself.
Delete a section, its first line too, to have it written anew.
"""
'''
_FIRST_LINE = re.compile(r"^# --- task (\d\d[a-z]?\.\d+), kept by check: ([0-9a-f]{8}) ---\n", re.M)


def keep(task: str, name: str, cells: Iterable[str], others: Iterable[str], file: Path) -> str:
    """Write the answer `name` into its section of the file; returns what to tell the learner.

    cells: the sources that the notebook ran, in order. others: names of other tasks' answers,
    which have sections of their own.
    """
    body = section(name, cells, set(others))
    if body is None:
        return f"Not kept in {file}: there, the answer must be a function or class named {name}."
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else HEAD
        sections = _read(text)
        _, digest, old = sections.pop(task, ("", "", ""))
        if digest and digest != _digest(old):
            return (
                f"{file}: the section of task {task} was edited by hand, and stays. Delete it to "
                "have this answer there."
            )
        elsewhere = "\n".join(part[2] for part in sections.values())
        if _defines(name, elsewhere):
            return f"{file} has a {name} outside of the section of task {task}; that one stays."
        sections[task] = task, _digest(body), body
        write_atomically(file, _write(sections), DataError)
    except (OSError, UnicodeDecodeError, MinranError) as error:
        return f"Not kept in {file}: {error}"
    return f"Kept in {file}."


def _read(text: str) -> dict[str, tuple[str, str, str]]:
    """By task ("" for what stands before all): the task, the digest, and the text of a section."""
    parts = ["", "", *_FIRST_LINE.split(text)]
    sections: dict[str, tuple[str, str, str]] = {}
    for task, digest, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        expect(task not in sections, f"it has two sections of task {task}", DataError)
        sections[task] = task, digest, body
    return sections


def _write(sections: dict[str, tuple[str, str, str]]) -> str:
    text = ""
    for task, digest, body in sorted(sections.values()):
        line = f"# --- task {task}, kept by check: {digest} ---\n" if task else ""
        text += f"{line}{body.rstrip()}\n\n\n"
    return text.rstrip() + "\n"


def _defines(name: str, code: str) -> bool:
    return re.search(rf"^(def|class) {name}\b", code, re.M) is not None


def _digest(body: str) -> str:
    return hashlib.sha256(body.strip().encode()).hexdigest()[:8]


def section(name: str, cells: Iterable[str], others: set[str]) -> str | None:
    """The last definition of the function or class `name`, after all that it needs of the cells.

    None if there is none. What comes from `my_minran` or is one of the `others` is left out.
    """
    bound: dict[str, str] = {}
    for cell in cells:
        with suppress(SyntaxError):
            for node in ast.parse(cell).body:
                bound.update(_bindings(node, cell.splitlines()))
    if not _defines(name, bound.get(name, "")):
        return None
    seen, codes = others - {name}, dict[str, None]()

    def visit(one: str) -> None:
        if one in bound and one not in seen:
            seen.add(one)
            names = read_names(bound[one])
            for other in sorted(names.uses) if names else ():
                visit(other)
            codes[bound[one]] = None

    visit(name)
    imports = sorted(code for code in codes if code.startswith(("import ", "from ")))
    rest = [code for code in codes if code not in imports]
    return "\n\n\n".join(["\n".join(imports)] * bool(imports) + rest)


def _bindings(node: ast.stmt, lines: list[str]) -> dict[str, str]:
    """By name, the code of what a statement binds at the top level; imports one at a time."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        found = {}
        for alias in node.names * (getattr(node, "module", "") != Path(FILE).stem):
            one: ast.stmt = ast.Import([alias])
            if isinstance(node, ast.ImportFrom):
                one = ast.ImportFrom(node.module, [alias], node.level)
            found[alias.asname or alias.name.split(".")[0]] = ast.unparse(one)
        return found
    return dict.fromkeys(_names(node), _code(node, lines))


def _names(node: ast.stmt) -> list[str]:
    if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign):
        return []
    found = symtable.symtable(ast.unparse(node), "statement", "exec").get_symbols()
    return [one.get_name() for one in found if one.is_assigned()]


def _code(node: ast.stmt, lines: list[str]) -> str:
    """The lines of a statement, with its decorators and the comments directly above."""
    decorators = getattr(node, "decorator_list", [])
    first = min(one.lineno for one in (node, *decorators)) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])


def is_kept(answer: Any) -> bool:
    """Whether an answer was imported from the file."""
    return bool(getattr(answer, "__module__", "") == Path(FILE).stem)


def cells_that_ran() -> list[str]:
    """The sources of the cells that this notebook has run; none where there is no notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return [] if shell is None else list(shell.user_ns.get("In", []))
