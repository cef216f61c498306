"""Measurements as text and figures for people, and as JSON for programs."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minran.errors import DataError
from minran.files import make_folder, write_atomically
from minran.streams import text_table
from minran.workshop.bench.compare import Measurement
from minran.workshop.bench.contenders import TORCH
from minran.workshop.bench.rounds import spread, worst

FORMAT = 1
"""Version of the JSON's structure."""

JOBS = {
    "step": "training step",
    "inference": "inference",
    "units": "{count} pre-activation units, forward and backward, {size} x {size} x {width}",
    "data": "next augmented batch",
    "copy": "copy of a large array",
    "import": "start of Python",
}


def save(path: str | Path, document: dict[str, Any]) -> None:
    """Write the JSON, whole or not at all; its folder is made."""
    text = json.dumps({"format": FORMAT, **document}, indent=1) + "\n"
    make_folder(Path(path).parent)
    write_atomically(path, text, DataError)


# What was measured, in words


def describe(measured: Measurement) -> str:
    """What was measured: `attention56_cifar, training step, batch 64`."""
    job, options = measured["job"], measured["options"]
    if job == "op":
        return describe_op(**options)
    batch = f"batch {options['batch']}" if "batch" in options else ""
    cores = f"{measured['cores']} cores" if "cores" in measured else ""
    return ", ".join(
        filter(None, [options.get("model"), JOBS[job].format(**options), batch, cores])
    )


def describe_op(
    kind: str, shape: Sequence[int], out: int = 0, kernel: int = 0, stride: int = 1, **rest: Any
) -> str:
    """An operation with its shape: `conv2d 3x3 16->16 at 32x32`."""
    words = [kind, f"{shape[-1]}"]
    if kernel:
        size = f"{kernel}x{kernel}" + (f"/{stride}" if stride > 1 else "")
        words = [kind, size, f"{shape[-1]}->{out}"]
    if len(shape) == 4:
        words.append(f"at {shape[1]}x{shape[2]}")
    return " ".join(words)


def facts(environment: dict[str, Any], settings: dict[str, Any]) -> str:
    """Where and when, in a few words for the head of the report."""
    return (
        f"minran {environment['minran']} ({environment['commit'] or 'no commit'}), "
        f"Python {environment['python']}, NumPy {environment['numpy']}; {_place(environment)}; "
        f"{settings['threads']} threads; {environment['date']}"
    )


def _place(environment: dict[str, Any]) -> str:
    here = environment["cpu"], f"{environment['cores']} cores", environment.get("blas")
    return str(environment.get("device") or ", ".join(filter(None, here)))


# Numbers of a measurement


def row(measured: Measurement, name: str | None) -> dict[str, Any]:
    """What is known about a contender; nothing, if it did not take part."""
    return next((row for row in measured["contenders"] if row["name"] == name), {})


def median(measured: Measurement, name: str | None) -> float | None:
    """The median time of a contender, None if it was not measured."""
    seconds = row(measured, name).get("seconds")
    return seconds["median"] if seconds else None


def milliseconds(seconds: float | None) -> str:
    """Three figures or so."""
    value = 1e3 * (seconds or 0)
    shown = f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return shown if seconds else ""


def megabytes(size: int | None) -> str:
    """Whole megabytes, of 10^6 bytes."""
    return f"{size / 1e6:.0f}" if size is not None else ""


def _times(ratio: dict[str, float] | None, to: str = "..") -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}{to}{ratio['high']:.2f})" if ratio else ""


def _to_torch(measured: Measurement) -> str:
    ratio = row(measured, TORCH).get("ratio")
    return f"{ratio['median']:.2f}" if ratio else ""


def _flag(measured: Measurement, mark: str = " (!)") -> str:
    return mark if measured["disturbed_rounds"] else ""


def _op_rows(measurements: Any, mark: str = "{}", flag: str = "") -> list[list[str]]:
    """A row for each operation: measured forward alone, then forward and backward, and so on."""
    rows = []
    for forward, both in zip(measurements[::2], measurements[1::2], strict=True):
        ours, product = median(both, "minran"), median(both, "products")
        name = mark.format(describe(both)) + (_flag(forward, flag) or _flag(both, flag))
        cells = [name, milliseconds(median(forward, "minran")), _to_torch(forward)]
        cells += [milliseconds(ours), milliseconds(median(both, TORCH)), _to_torch(both)]
        share = f"{100 * product / ours:.0f}%" if ours and product else ""
        rows.append([*cells, milliseconds(product), share])
    return rows


# On the screen


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they must be, the first to the left, the others to the right."""
    lines = text_table([headings, *rows], right=range(1, len(headings)))
    return textwrap.indent("\n".join(lines), "  ")


def text(measured: Measurement) -> str:
    """One measurement: a line for each contender, then what must be said about the rounds."""
    title, rows = describe(measured), measured["contenders"]
    if not measured["rounds"]:
        notes = measured["notes"] or ["no result"]
        return "\n".join([title, *(f"  - {note}" for note in notes)])
    memory = measured["job"] in ("step", "inference", "units")
    headings = ["", "median ms", "min..max", "quartiles", f"{measured['reference'] or '-'} / it"]
    headings += ["it / torch c.l.", *(["peak MB", "beyond import"] if memory else [])]
    parts = [f"{title} ({measured['kept_rounds']} rounds in turn)"]
    parts.append(table(headings, [_line(row, memory) for row in rows if row["seconds"]]))
    counts = {row.get("parameters") for row in rows} - {None}
    if len(counts) > 1:
        parts.append(f"  ! the networks differ: {sorted(counts)} parameters")
    parts += remarks(measured)
    kernels = measured.get("kernels")
    if kernels and "cores" not in measured:
        times = [[name, milliseconds(seconds)] for name, seconds in kernels.items()]
        parts.append(table(["kernels of our eager step", "ms"], times))
    return "\n".join(parts)


def _line(row: dict[str, Any], memory: bool) -> list[str]:
    names = ("low", "first_quartile", "median", "third_quartile", "high")
    low, first, middle, third, high = (milliseconds(row["seconds"][name]) for name in names)
    cells = [row["label"], middle, f"{low}..{high}", f"{first}..{third}"]
    cells += [_times(row["ratio"]), _times(row["to_torch"])]
    if memory and row.get("device_bytes") is not None:
        cells += [megabytes(row["device_bytes"]), ""]
    elif memory:
        peak = row.get("peak_bytes", 0)
        cells += [megabytes(peak), megabytes(peak - row.get("import_bytes", 0))]
    return cells


def remarks(measured: Measurement) -> list[str]:
    """What a reader must know: rounds that others disturbed, and who is missing."""
    lines, rounds = [], measured["rounds"]
    kept = [each for each in rounds if each["kept"]]
    if not any(seen is not None for each in rounds for seen in each["others_cores"].values()):
        lines.append("  ? nobody could tell whether other programs were at work (no psutil)")
    elif measured["disturbed_rounds"]:
        lines.append(
            f"  ! {measured['disturbed_rounds']} of the rounds that count were DISTURBED: others "
            f"used up to {max(map(worst, kept)):.2f} cores; measure again on a quiet machine"
        )
    if len(rounds) > len(kept):
        lines.append(f"  - {len(rounds) - len(kept)} disturbed rounds were measured again")
    if measured["job"] == "import":
        beyond = spread([each["seconds"]["minran"] - each["seconds"]["numpy"] for each in kept])
        lines.append(f"  import minran takes {beyond['median']:.3f} s more than import numpy")
    return lines + [f"  - {note}" for note in measured["notes"]]


def ops_text(measurements: Sequence[Measurement]) -> str:
    """The table of operations."""
    headings = ["operation", "forward", "/ torch", "fwd+bwd", "torch", "/ torch", "products"]
    lines = [table([*headings, "share"], _op_rows(measurements))]
    lines.append("  milliseconds; share: products of minran's time")
    if disturbed := sum(bool(each["disturbed_rounds"]) for each in measurements):
        count = f"{disturbed} of {len(measurements)} lines"
        lines.append(f"  ! {count} were DISTURBED by other programs")
    return "\n".join(lines)


def scaling_text(measurements: Iterable[Measurement]) -> str:
    """One line for each model and batch size."""
    rows = []
    for each in measurements:
        ours, batch = median(each, "minran"), each["options"]["batch"]
        name = f"{each['options']['model']}, batch {batch}{_flag(each, ' !')}"
        cells = [name, milliseconds(ours), milliseconds(ours / batch if ours else None)]
        cells += [milliseconds(median(each, TORCH)), _to_torch(each)]
        rows.append(
            [*cells, *(megabytes(row(each, w).get("peak_bytes")) for w in ("minran", TORCH))]
        )
    headings = ["training step", "minran ms", "an image", "torch ms", "/ torch", "MB", "torch MB"]
    return table(headings, rows) + "\n  !: disturbed by other programs; torch is channels_last"


# On several cores


def utilisation(row: dict[str, float]) -> float:
    """Cores that were at work on average."""
    return row["processor_seconds"] / row["seconds"]


def alone(row: dict[str, float], threads: int) -> float:
    """The serial part by processor time: the share of it in which one thread worked alone.

    In t seconds `threads` threads could give threads t of processor time. What is missing they
    spent waiting for one that worked, for (threads t - processor time) / (threads - 1) seconds.
    """
    idle = threads * row["seconds"] - row["processor_seconds"]
    return idle / (threads - 1) / row["processor_seconds"]


def amdahl(one: float, many: float, threads: int) -> float:
    """The serial part s by times: many = one (s + (1 - s) / threads).

    What cores take from each other (memory, a cache, the clock) counts as serial here.
    """
    return (threads * many / one - 1) / (threads - 1)


def whole(measured: Measurement) -> dict[str, float]:
    """All kernels of a step and what is between them together."""
    rows = measured["kernels"].values()
    return {what: sum(row[what] for row in rows) for what in ("seconds", "processor_seconds")}


def cores_text(measurements: Sequence[Measurement]) -> str:
    """Threads and processes by number of cores, then each kernel on several cores."""
    ones = {each["options"]["batch"]: each for each in measurements if each["cores"] == 1}
    head = ["training step", "threads ms", "/ torch", "processes ms", "/ torch", "in use"]
    lines: list[list[str]] = []
    tables: list[str] = []
    for each in measurements:
        batch, cores = each["options"]["batch"], each["cores"]
        one = ones.get(batch)
        cells = [f"batch {batch}, {cores} cores{_flag(each, ' !')}"]
        for name in ("minran", "minran_mpi"):
            to_torch = row(each, name).get("to_torch")
            cells += [milliseconds(median(each, name)), _times(to_torch).partition(" ")[0]]
        if "kernels" in each:
            cells += _serial(whole(one) if one else None, whole(each), cores)
            tables.append(f"batch {batch}, {cores} cores\n{_kernels_on(each, one)}")
        lines.append(cells)
    head += ["alone", "by times"]
    notes = (
        "  in use: cores at work on average; alone: share of the processor time in which one\n"
        "  thread worked and the others waited; by times: the serial part by Amdahl's law, of the\n"
        "  times on one core and on several; all three of threads, measured kernel by kernel\n"
        "  !: disturbed by other programs; torch is channels_last"
    )
    return "\n\n".join([f"{table(head, lines)}\n{notes}", *tables])


def _serial(one: dict[str, float] | None, many: dict[str, float], cores: int) -> list[str]:
    shares = [alone(many, cores) if cores > 1 else None]
    shares.append(amdahl(one["seconds"], many["seconds"], cores) if one and cores > 1 else None)
    percent = [f"{100 * share:.0f}%" if share is not None else "" for share in shares]
    return [f"{utilisation(many):.2f}", *percent]


def _kernels_on(measured: Measurement, one: Measurement | None) -> str:
    """A row for each kernel that takes a hundredth of the step or more."""
    total, rows = whole(measured)["seconds"], []
    for name, found in measured["kernels"].items():
        if found["seconds"] >= 0.01 * total:
            before = one["kernels"].get(name) if one else None
            cells = [name, f"{found['calls']:.0f}", milliseconds((before or {}).get("seconds"))]
            cells += [milliseconds(found["seconds"]), *_serial(before, found, measured["cores"])]
            rows.append(cells)
    heads = ["", "calls", "on one, ms", "ms", "in use", "alone", "by times"]
    return table(heads, rows)


# As the tables of docs/speed.md


def print_markdown(files: Iterable[str]) -> None:
    """Print the tables of each JSON file."""
    for name in files:
        print(markdown(json.loads(Path(name).read_text(encoding="utf-8"))))


def markdown(document: dict[str, Any]) -> str:
    """Every section as a table, with where, when and how it was measured in front."""
    facts, settings, sections = (document[k] for k in ("environment", "settings", "sections"))
    versions: dict[str, str] = {}
    for each in itertools.chain(*sections.values()):
        for contender in each["contenders"]:
            versions |= contender.get("versions", {})
    parts = [
        f"`{facts['command']}`: {_place(facts)}, {settings['threads']} threads, Python "
        f"{facts['python']}, {', '.join(f'{name} {v}' for name, v in versions.items())}; median of "
        f"{settings['rounds']} rounds in turn, in brackets the range; {facts['date']}, commit "
        f"{facts['commit']}."
    ]
    for section, measurements in sections.items():
        head, *rows = _op_page(measurements) if section == "ops" else _page(measurements)
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        if any(map(_flag, measurements)):
            parts.append("(!): other programs were at work in some of the rounds that count.")
    return "\n\n".join(parts) + "\n"


def _page(measurements: Sequence[Measurement]) -> list[list[str]]:
    lines = [["", "", "ms", "it / PyTorch channels_last", "minran / it", "peak MB"]]
    for each in measurements:
        for row in filter(lambda row: row["seconds"], each["contenders"]):
            cells = [each["title"] + _flag(each), row["label"]]
            cells += [milliseconds(row["seconds"]["median"]), _times(row["to_torch"], "-")]
            memory = megabytes(row.get("device_bytes") or row.get("peak_bytes"))
            lines.append([*cells, _times(row["ratio"], "-"), memory])
    return lines


def _op_page(measurements: Sequence[Measurement]) -> list[list[str]]:
    head = ["operation", "forward ms", "/ PyTorch", "both ms", "PyTorch ms", "/ PyTorch", ""]
    rows = [[*head, "products alone"], *_op_rows(measurements, "`{}`", " (!)")]
    return [[*row[:6], row[7]] for row in rows]


# As a picture

TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 30, 50)


def points(document: dict[str, Any]) -> list[tuple[str, str, float, float, float]]:
    """(measurement, contender, median, lowest, highest time) of everything compared with PyTorch.

    A decision taken back is left out: for that there are tables.
    """
    found = []
    for section, measurements in document["sections"].items():
        for each in measurements if section != "import" else []:
            if section == "ops" and not each["options"]["backward"]:
                continue
            label = each["title"] + _flag(each, " (disturbed)")
            for contender in each["contenders"]:
                time = contender["to_torch"]
                if time and not contender["name"].startswith("without_"):
                    numbers = time["median"], time["low"], time["high"]
                    found.append((label, contender["label"], *numbers))
    return found


def plot(document: dict[str, Any], path: str | Path) -> None:
    """Draw a point for each time, with its range over the rounds, and save it as `path`."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    from minran.inspect.style import dress, legend, new_figure, save_figure, theme

    found = points(document)
    labels = list(dict.fromkeys(label for label, *_ in found))
    names = list(dict.fromkeys(name for _, name, *_ in found))
    colours = theme()
    height = 0.2 + 0.11 * len(names)
    figure = new_figure(10, 1.3 + height * len(labels), dark=False)
    title = "Time relative to PyTorch channels_last"
    words = "median and range of the rounds; left of 1: faster"
    axes = dress(figure.add_subplot(), colours, title, words)
    style: dict[str, Any] = {"fmt": "o", "markersize": 5, "elinewidth": 1.2}
    for k, name in enumerate(names):
        mine = [point for point in found if point[1] == name]
        middle, low, high = np.array([numbers for _, _, *numbers in mine]).T
        shift = 0.7 * ((k + 0.5) / len(names) - 0.5)
        places = [labels.index(label) + shift for label, *_ in mine]
        reach, colour = [middle - low, high - middle], colours.colours[k % len(colours.colours)]
        axes.errorbar(middle, places, xerr=reach, label=name, color=colour, **style)
    axes.axvline(1, color=colours.text, linewidth=1)
    # Twice as fast and half as fast are equally far from 1.
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_yticks(range(len(labels)), [textwrap.fill(label, 45) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    legend(axes, colours, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path, dpi=110)
