"""The table that `str(summary)` is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minran.inspect.summary import Row
from minran.streams import text_table

if TYPE_CHECKING:
    from minran.inspect.summary import Summary

HEAD = ("module", "kind", "output", "parameters", "multiply-adds", "share")


def table(summary: Summary, depth: int | None) -> str:
    """Lines of modules, then the totals."""
    lines: list[tuple[str, ...]] = [HEAD]
    _add(lines, [summary.root], summary.root, depth, level=0)
    text = text_table(lines, right=(3, 4, 5))
    rule = "-" * max(map(len, text))
    return "\n".join([text[0], rule, *text[1:], rule, *_totals(summary)])


def _add(
    lines: list[tuple[str, ...]], copies: list[Row], root: Row, depth: int | None, level: int
) -> None:
    """Append the line of `copies` (equal neighbours), then the lines of their children."""
    row, last = copies[0], copies[-1]
    label = row.name.rpartition(".")[2] or "(model)"
    kind = row.kind
    if len(copies) > 1:
        # "1-3" for neighbours; copies that lie in several parents have the same label already.
        siblings = row.name.rpartition(".")[0] == last.name.rpartition(".")[0]
        label = f"{label}-{last.name.rpartition('.')[2]}" if siblings else label
        kind = f"{len(copies)} x {kind}"
    cost = sum(copy.multiply_adds for copy in copies)
    share = f"{100 * cost / root.multiply_adds:.1f}%" if root.multiply_adds else ""
    lines.append(
        (
            "  " * level + label,
            kind,
            "x".join(map(str, row.shape)) if row.shape else "",
            f"{sum(copy.parameters for copy in copies):,}",
            quantity(cost) if cost else "",
            share if cost else "",
        )
    )
    if (row.closed if depth is None else level >= depth) or not row.children:
        return
    for first, end in _runs(row.children):
        group = [child for copy in copies for child in copy.children[first:end]]
        _add(lines, group, root, depth, level + 1)


def _runs(rows: list[Row]) -> list[tuple[int, int]]:
    """Start and end of every run of equal neighbours."""
    runs: list[tuple[int, int]] = []
    keys = [_key(row) for row in rows]
    for index, key in enumerate(keys):
        if runs and keys[runs[-1][0]] == key:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _key(row: Row) -> tuple[object, ...]:
    inside = tuple(_key(child) for child in row.children)
    return row.kind, row.shape, row.parameters, row.multiply_adds, inside


def _totals(summary: Summary) -> list[str]:
    rows, columns, channels = summary.image_shape
    lines = [
        f"parameters     {summary.parameters:,} "
        f"({summary.parameters_without_norm:,} without batch norm)",
        f"multiply-adds  {quantity(summary.multiply_adds, decimals=3)} "
        f"for one picture of {rows}x{columns}x{channels}, forward",
    ]
    if summary.mask_parameters:
        lines.append(
            f"masks          {summary.mask_parameters / summary.parameters:.1%} of the "
            f"parameters, {summary.mask_multiply_adds / summary.multiply_adds:.1%} of the "
            "multiply-adds"
        )
    if summary.trunk_depth is not None:
        m = summary.modules_per_stage
        formula = "" if m is None else f" = 36 m + 20 with m = {m:g} (attention modules per stage)"
        lines.append(f"trunk depth    {summary.trunk_depth} layers{formula}")
    return lines


def quantity(number: int, decimals: int = 1) -> str:
    """6,271,000,000 as "6.271 G": thousands k, millions M, billions G."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            digits = 3 if size == 10**9 else decimals
            return f"{number / size:.{digits}f} {letter}"
    return str(number)
