"""`python -m minran.bench.markdown FILE ...`: results as the tables of docs/speed.md."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minran.workshop.bench.report import describe_op, megabytes, milliseconds

TORCH = "torch_channels_last"


def markdown(document: dict[str, Any]) -> str:
    """Every section as a table, with where, when and how it was measured in front."""
    facts, settings = document["environment"], document["settings"]
    place = facts.get("device") or f"{facts['cpu']}, {facts['cores']} cores"
    head = (
        f"`{facts['command']}`: {place}, {settings['threads']} threads, Python {facts['python']}, "
        f"{_versions(document)}; median of {settings['rounds']} rounds in turn, in brackets the "
        f"range; {facts['date']}, commit {facts['commit']}."
    )
    parts = [head]
    for section, measurements in document["sections"].items():
        table = _ops(measurements) if section == "ops" else _contenders(measurements)
        parts.append(table)
    return "\n\n".join(parts) + "\n"


def _versions(document: dict[str, Any]) -> str:
    found: dict[str, str] = {}
    for measurements in document["sections"].values():
        for each in measurements:
            for row in each["contenders"]:
                found.update(row.get("versions", {}))
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _contenders(measurements: list[dict[str, Any]]) -> str:
    rows = []
    for each in measurements:
        for row in each["contenders"]:
            if row["seconds"] is None:
                continue
            peak = row.get("device_bytes") or row.get("peak_bytes")
            rows.append(
                [
                    each["title"] + _flag(each),
                    row["label"],
                    milliseconds(row["seconds"]["median"]),
                    _range(row["to_torch"]),
                    _range(row["ratio"]),
                    megabytes(peak) if peak else "",
                ]
            )
    headings = ["", "", "ms", "it / PyTorch channels_last", "minran / it", "peak MB"]
    return _table(headings, rows) + _footnote(measurements)


def _ops(measurements: list[dict[str, Any]]) -> str:
    rows = []
    for forward, both in zip(measurements[::2], measurements[1::2], strict=True):
        ours, product = _median(both, "minran"), _median(both, "products")
        rows.append(
            [
                f"`{describe_op(both['options'])}`" + (_flag(forward) or _flag(both)),
                _ms(_median(forward, "minran")),
                _ratio(forward),
                _ms(ours),
                _ms(_median(both, TORCH)),
                _ratio(both),
                f"{100 * product / ours:.0f}%" if ours and product else "",
            ]
        )
    headings = ["operation", "forward ms", "/ PyTorch", "both ms", "PyTorch ms", "/ PyTorch"]
    return _table([*headings, "products alone"], rows) + _footnote(measurements)


def _row(measured: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((row for row in measured["contenders"] if row["name"] == name), None)


def _median(measured: dict[str, Any], name: str) -> float | None:
    row = _row(measured, name)
    return row["seconds"]["median"] if row and row["seconds"] else None


def _ratio(measured: dict[str, Any]) -> str:
    row = _row(measured, TORCH)
    return f"{row['ratio']['median']:.2f}" if row and row["ratio"] else ""


def _ms(seconds: float | None) -> str:
    return milliseconds(seconds) if seconds else ""


def _range(ratio: dict[str, float] | None) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})" if ratio else ""


def _flag(measured: dict[str, Any]) -> str:
    return " (!)" if measured["disturbed_rounds"] else ""


def _footnote(measurements: list[dict[str, Any]]) -> str:
    if not any(map(_flag, measurements)):
        return ""
    return "\n\n(!): other programs were at work in some of the rounds that count."


def _table(headings: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(files: list[str]) -> None:
    """Print the tables of each file."""
    for name in files:
        print(markdown(json.loads(Path(name).read_text(encoding="utf-8"))))
