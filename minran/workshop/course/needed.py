"""Which cells of a notebook its tasks need, read from the cells' text without running them."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

LONGEST = 100_000
"""A cell with more characters is not read, but taken as needed."""


@dataclass
class Names:
    """The names of a cell: those that it defines or changes, uses, and imports."""

    makes: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)


def unneeded_cells(sources: list[str], wanted: Iterable[int], names: Iterable[str]) -> set[int]:
    """The cells that neither the `wanted` cells nor the values of `names` depend on.

    A cell is needed if it defines or changes a name that a needed cell uses: `x = 1`, `x[0] = 1`,
    `x.append(1)`. So is one that cannot be read, or has `import *` or a line of IPython's. What
    changes something unnamed (a library's state, an array under another name) is not seen.
    """
    read = [read_names(source) for source in sources]
    needed = {place for place, found in enumerate(read) if found is None} | set(wanted)
    imported = set().union(*(found.imports for found in read if found))
    used = set(names)
    while True:
        used |= {name for place in needed if (found := read[place]) for name in found.uses}
        more = {
            place
            for place, found in enumerate(read)
            # `np.seterr(...)` does not make every cell with an `np` in it depend on it
            if found and used & (found.makes - imported | found.imports)
        }
        if more <= needed:
            return set(range(len(sources))) - needed
        needed |= more


@lru_cache(maxsize=1000)
def read_names(source: str) -> Names | None:
    """What a cell makes, uses and imports; None if that cannot be read from its text."""
    if len(source) > LONGEST:
        return None
    try:
        tree, table = ast.parse(source), symtable.symtable(source, "cell", "exec")
        found = Names(makes=set(_changed(tree)))
        for block in _blocks(table):
            for one in block.get_symbols():
                outside = block is table or one.is_global()
                if outside and one.is_referenced():
                    found.uses.add(one.get_name())
                if outside and one.is_imported():
                    found.imports.add(one.get_name())
                elif outside and one.is_assigned():
                    found.makes.add(one.get_name())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    star = (isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in tree.body)
    return None if any(star) else found


def _blocks(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _blocks(child)


def _changed(tree: ast.AST) -> Iterator[str]:
    """The names whose objects a cell changes in place: `x[0] = 1`, `x.a = 1`, `x.append(1)`."""
    for node in ast.walk(tree):
        target: ast.AST | None = None
        if isinstance(node, (ast.Attribute, ast.Subscript)):
            target = None if isinstance(node.ctx, ast.Load) else node
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            target = node.value.func
        while isinstance(target, (ast.Attribute, ast.Subscript, ast.Call)):
            target = target.func if isinstance(target, ast.Call) else target.value
            if isinstance(target, ast.Name):
                yield target.id
