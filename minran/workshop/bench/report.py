"""Measurements as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minran.errors import DataError
from minran.files import write_atomically
from minran.streams import text_table
from minran.workshop.bench.compare import Measurement
from minran.workshop.bench.stats import spread

FORMAT = 1
"""Version of the JSON's structure."""

JOBS = {
    "step": "training step",
    "inference": "inference",
    "units": "pre-activation units, forward and backward",
    "data": "next augmented batch",
    "copy": "copy of a large array",
    "import": "start of Python",
    "op": "operation",
}


def describe(measured: Measurement) -> str:
    """What was measured, in words."""
    options = measured.options
    parts = [JOBS[measured.job]]
    if measured.job == "units":
        size = options["size"]
        parts = [f"{options['count']} {parts[0]}, {size} x {size} x {options['width']}"]
    if measured.job == "op":
        parts = [describe_op(options)]
    if "model" in options:
        parts = [options["model"], *parts]
    if "batch" in options:
        parts.append(f"batch {options['batch']}")
    return ", ".join(parts)


def describe_op(options: dict[str, Any]) -> str:
    """An operation with its shape: `conv2d 3x3 16 -> 16 at 32x32`."""
    shape, kind = options["shape"], options["kind"]
    words = [kind]
    if "kernel" in options:
        k, stride = options["kernel"], options["stride"]
        words.append(f"{k}x{k}" + (f"/{stride}" if stride > 1 else ""))
        words.append(f"{shape[-1]}->{options['out']}")
    else:
        words.append(f"{shape[-1]}")
    if len(shape) == 4:
        words.append(f"at {shape[1]}x{shape[2]}")
    return " ".join(words)


def milliseconds(seconds: float) -> str:
    """Three figures or so."""
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they must be, the first to the left, the others to the right."""
    lines = text_table([headings, *rows], right=range(1, len(headings)))
    return "\n".join(f"  {line}" for line in lines)


def text(measured: Measurement) -> str:
    """One measurement: a line for each contender, then what must be said about the rounds."""
    title = describe(measured)
    if not measured.rounds:
        return "\n".join([title, *(f"  - {note}" for note in measured.notes or ["no result"])])
    rows = measured.to_json()["contenders"]
    memory = measured.job in ("step", "inference", "units")
    headings = ["", "median ms", "min..max", "quartiles", f"{measured.reference or '-'} / it"]
    headings += ["it / torch c.l."]
    headings += ["peak MB", "beyond import"] if memory else []
    lines = [_line(row, memory) for row in rows if row["seconds"]]
    parts = [f"{title} ({measured.to_json()['kept_rounds']} rounds in turn)"]
    parts.append(table(headings, lines))
    counts = {row.get("parameters") for row in rows} - {None}
    if len(counts) > 1:
        parts.append(f"  ! the networks differ: {sorted(counts)} parameters")
    return "\n".join([*parts, *remarks(measured)])


def _line(row: dict[str, Any], memory: bool) -> list[str]:
    time = row["seconds"]
    ms = milliseconds
    cells = [
        row["label"],
        ms(time["median"]),
        f"{ms(time['low'])}..{ms(time['high'])}",
        f"{ms(time['first_quartile'])}..{ms(time['third_quartile'])}",
        _times(row["ratio"]),
        _times(row["to_torch"]),
    ]
    if memory:
        on_device = row.get("device_bytes")
        peak = on_device if on_device is not None else row.get("peak_bytes", 0)
        beyond = "" if on_device is not None else megabytes(peak - row.get("import_bytes", 0))
        cells += [megabytes(peak), beyond]
    return cells


def _times(ratio: dict[str, float] | None) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}..{ratio['high']:.2f})" if ratio else ""


def megabytes(size: int) -> str:
    """Whole megabytes, of 10^6 bytes."""
    return f"{size / 1e6:.0f}"


def remarks(measured: Measurement) -> list[str]:
    """What a reader must know: rounds that others disturbed, and who is missing."""
    lines = []
    discarded = len(measured.rounds) - sum(each.kept for each in measured.rounds)
    watched = any(turn.others is not None for r in measured.rounds for turn in r.turns.values())
    if not watched:
        lines.append("  ? nobody could tell whether other programs were at work (no /proc)")
    elif measured.disturbed:
        worst = max(each.others for each in measured.rounds if each.kept)
        lines.append(
            f"  ! {measured.disturbed} of the rounds that count were DISTURBED: others used up "
            f"to {worst:.2f} cores; measure again on a quiet machine"
        )
    if discarded:
        lines.append(f"  - {discarded} disturbed rounds were measured again")
    if measured.job == "import":
        lines.append(f"  import minran takes {import_cost(measured):.3f} s more than import numpy")
    return lines + [f"  - {note}" for note in measured.notes]


def import_cost(measured: Measurement) -> float:
    """Seconds of `import minran` beyond `import numpy`, median of the differences in a round."""
    both = zip(measured.times("minran"), measured.times("numpy"), strict=True)
    return spread([ours - numpy for ours, numpy in both]).median


def ops_text(pairs: Iterable[tuple[Measurement, Measurement]]) -> str:
    """The table of operations; each pair is (forward alone, forward and backward)."""
    rows, disturbed, count = [], 0, 0
    for forward, both in pairs:
        count += 2
        disturbed += bool(forward.disturbed) + bool(both.disturbed)
        ours, product = both.median("minran"), both.median("products")
        rows.append(
            [
                describe_op(both.options),
                _ms(forward.median("minran")),
                _ratio(forward, "torch_channels_last"),
                _ms(ours),
                _ms(both.median("torch_channels_last")),
                _ratio(both, "torch_channels_last"),
                _ms(product),
                f"{100 * product / ours:.0f}%" if ours and product else "",
            ]
        )
    headings = ["operation", "forward", "/ torch", "fwd+bwd", "torch", "/ torch", "products"]
    lines = [table([*headings, "share"], rows), "  milliseconds; share: products of minran's time"]
    if disturbed:
        lines.append(f"  ! {disturbed} of {count} lines were DISTURBED by other programs")
    return "\n".join(lines)


def scaling_text(measured: Iterable[Measurement]) -> str:
    """One line for each model and batch size."""
    rows = []
    for each in measured:
        ours, batch = each.median("minran"), each.options["batch"]
        rows.append(
            [
                f"{each.options['model']}, batch {batch}" + (" !" if each.disturbed else ""),
                _ms(ours),
                _ms(ours / batch if ours else None),
                _ms(each.median("torch_channels_last")),
                _ratio(each, "torch_channels_last"),
                _peak(each, "minran"),
                _peak(each, "torch_channels_last"),
            ]
        )
    headings = ["training step", "minran ms", "a picture", "torch ms", "/ torch", "MB", "torch MB"]
    return table(headings, rows) + "\n  !: disturbed by other programs; torch is channels_last"


def _ms(seconds: float | None) -> str:
    return milliseconds(seconds) if seconds else ""


def _peak(measured: Measurement, name: str) -> str:
    size = measured.facts.get(name, {}).get("peak_bytes")
    return megabytes(size) if size else ""


def _ratio(measured: Measurement, name: str) -> str:
    ratio = measured.ratio(name)
    return f"{ratio['median']:.2f}" if ratio else ""


def facts(environment: dict[str, Any], settings: dict[str, Any]) -> str:
    """Where and when, in a few words for the head of the report."""
    place = environment.get("device") or f"{environment['cpu']}, {environment['cores']} cores"
    return (
        f"minran {environment['minran']} ({environment['commit'] or 'no commit'}), "
        f"Python {environment['python']}, NumPy {environment['numpy']}; {place}; "
        f"{settings['threads']} threads; {environment['date']}"
    )


def save(path: str | Path, document: dict[str, Any]) -> None:
    """Write the JSON, whole or not at all; its folder is made."""
    text = json.dumps({"format": FORMAT, **document}, indent=1) + "\n"
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text, DataError)
