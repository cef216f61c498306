"""Checkpoints: one safetensors file with arrays and a JSON header, written all or not at all.

It holds what a run needs to go on bit for bit: the model's state, the optimiser's velocities, the
statistics of the preprocessing, the recipe and the position in the epoch. It is plain data:
nothing in it is ever executed.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minran._version import __version__
from minran.errors import CheckpointError, expect
from minran.files import explained, write_atomically
from minran.hints import checked

FORMAT = "minran-checkpoint-2"
FIRST_FORMAT = "minran-checkpoint-1"
"""Its checksum left out names of dtypes and shapes, and it had no arrays about the data."""
FORMATS = (FORMAT, FIRST_FORMAT)
WEIGHTS = ("F16", "F32", "F64")
"""What the weights in any other safetensors file may be made of."""
MAX_HEADER = 4 << 20
"""Bytes of the header: names and shapes of all arrays, recipe, classes. A network of 452 layers
needs an eighth of it; larger ones are refused before they are read."""
DTYPES = {
    "model": ("F32", "F64"),
    "preprocess": ("F32", "F64"),
    "optimizer": ("F32", "F64"),
    "data": ("F32", "U32"),
    "raw": ("F32", "F64"),
}
"""The groups of arrays, and what they may be made of."""
_BROKEN = (ValueError, KeyError, TypeError, RecursionError)  # what a wrong text raises


@dataclass
class Progress:
    """Where a run stands: enough to take the next step as if nothing had happened."""

    step: int = 0
    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done, and the sums over their pictures so far
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    best_accuracy: float = -1.0
    seconds: float = 0.0  # training time of all sessions
    rows: int = 0  # rows of the history written when this checkpoint was made
    total_steps: int = 0  # steps at which the run ends

    def problem(self) -> str:
        """Why no run can stand here; "" if one can."""
        for name, value in vars(self).items():
            whole = type(getattr(Progress, name)) is int
            kinds: tuple[type, ...] = (int,) if whole else (int, float)
            # bool is a kind of int in Python: `type`, not `isinstance`.
            if type(value) not in kinds or not abs(value) < 2**53:
                return f"{name} is no {'whole ' if whole else ''}number that can be"
            if value < 0 and name not in ("loss_sum", "best_accuracy"):
                return f"{name} is negative"
        possible = {
            "best_accuracy": self.best_accuracy == -1 or 0 <= self.best_accuracy <= 1,
            "epoch and batch": self.epoch + self.batch <= self.step,
            "rows": self.rows <= self.step + self.epoch,
            "correct": self.correct <= self.seen,
            "seen": (self.seen == 0) == (self.batch == 0),
            "total_steps": not 0 < self.total_steps < self.step,
        }
        wrong = [name for name, good in possible.items() if not good]
        return "; ".join(f"{name} cannot be so at step {self.step}" for name in wrong)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return 0 < self.total_steps <= self.step


@checked(CheckpointError)
@dataclass
class Checkpoint:
    """The contents of a checkpoint file.

    data: what tells the training images and labels from others (`Parts.restore`); raw: where
    `model` is an average (`training.ema`), the weights that training goes on from.
    """

    recipe: str
    model: dict[str, np.ndarray]
    preprocess: dict[str, np.ndarray]
    class_names: list[str]
    progress: Progress = field(default_factory=Progress)
    optimizer: dict[str, np.ndarray] = field(default_factory=dict)
    data: dict[str, np.ndarray] = field(default_factory=dict)
    raw: dict[str, np.ndarray] = field(default_factory=dict)


@checked(CheckpointError)
def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path` as `write_atomically`; raises CheckpointError if it fails."""
    arrays = {
        f"{group}/{name}": np.asarray(array, order="C")
        for group in DTYPES
        for name, array in getattr(checkpoint, group).items()
    }
    header = {
        "format": FORMAT,
        "minran": __version__,
        "recipe": checkpoint.recipe,
        "class_names": json.dumps(checkpoint.class_names),
        "progress": json.dumps(asdict(checkpoint.progress)),
    }
    header["checksum"] = _checksum(arrays, header)
    from safetensors.numpy import save

    write_atomically(path, save(arrays, header))


@checked(CheckpointError)
def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises CheckpointError if it is missing, damaged or something else, or holds what no run wrote:
    other dtypes, numbers that are not finite, a variance below 0, a position that cannot be.
    """
    path = Path(path)
    header, arrays = _read(path)
    checksum = header.pop("crc32" if header["format"] == FIRST_FORMAT else "checksum", None)
    damaged = f"{path} is damaged: its contents do not match their checksum"
    expect(checksum == _checksum(arrays, header), damaged, CheckpointError)
    problem = _number_problem(arrays) or _preprocess_problem(arrays)
    expect(not problem, f"{path} cannot be what minran wrote: {problem}", CheckpointError)
    expect("recipe" in header, f"{path} has no recipe", CheckpointError)
    with explained(CheckpointError, f"{path} does not name its classes: ", kinds=_BROKEN):
        names = json.loads(header["class_names"])
        if not isinstance(names, list) or not names or not all(type(n) is str for n in names):
            raise ValueError("they are no list of texts")
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in DTYPES}
    for key, array in arrays.items():
        group, _, name = key.partition("/")
        groups[group][name] = array
    progress = _progress(path, header)
    return Checkpoint(recipe=header["recipe"], class_names=names, progress=progress, **groups)


def load_weights(
    path: str | Path, names: Collection[str]
) -> tuple[dict[str, np.ndarray], list[str], Checkpoint | None]:
    """Read a network's weights from a checkpoint, or from any safetensors file with its names.

    Returns the arrays that have one of the `names`, the names of all others, and the checkpoint
    if it is one. Of another file only those arrays are read. Raises CheckpointError as
    `load_checkpoint`, and for a dtype that is not in WEIGHTS.
    """
    path, checkpoint = Path(path), None
    with _opened(path) as (header, dtypes, file):
        if header.get("format") in FORMATS:
            checkpoint = load_checkpoint(path)
            there: Collection[str] = checkpoint.model
            found = {name: checkpoint.model[name] for name in names if name in there}
        else:
            there = dtypes
            for name in dtypes.keys() & names:
                wrong = f"{path}: the array {name} is {dtypes[name]!s:.9}, expected one of "
                expect(dtypes[name] in WEIGHTS, wrong + ", ".join(WEIGHTS), CheckpointError)
            found = {name: file.get_tensor(name) for name in names if name in there}
    problem = _number_problem(found)
    expect(not problem, f"{path} cannot be what was trained: {problem}", CheckpointError)
    return found, [name for name in there if name not in names], checkpoint


def load_progress(path: str | Path) -> Progress:
    """Read only where the run of a checkpoint stands: quick, whatever the size of the network.

    Raises CheckpointError as `load_checkpoint`, but does not compare the checksum.
    """
    path = Path(path)
    return _progress(path, _read(path, with_arrays=False)[0])


def _read(path: Path, with_arrays: bool = True) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The header and the arrays of a file that says it is a checkpoint."""
    with _opened(path) as (header, dtypes, file):
        known = header.get("format") in FORMATS
        other = f"{path} is a safetensors file but no checkpoint of this version of minran"
        expect(known, other, CheckpointError)
        for key, dtype in dtypes.items():
            good = dtype in DTYPES.get(key.partition("/")[0], ())
            wrong = f"the array {key:.90} is {dtype!s:.9}"
            expect(good, f"{path} cannot be what minran wrote: {wrong}", CheckpointError)
        return header, {key: file.get_tensor(key) for key in dtypes} if with_arrays else {}


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, str], dict[str, str], Any]]:
    """A safetensors file within a block: the texts of its header, the dtypes of its arrays."""
    expect(os.path.isfile(path), f"there is no checkpoint {path}", CheckpointError)
    from safetensors import SafetensorError, safe_open

    kinds = (SafetensorError, OSError, *_BROKEN)
    with explained(CheckpointError, f"{path} is damaged or not a checkpoint: ", kinds=kinds):
        with path.open("rb") as start:
            length = int.from_bytes(start.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"its header would have {length:,} bytes")
        with safe_open(path, framework="numpy") as file:
            dtypes = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
            yield file.metadata() or {}, dtypes, file


def _number_problem(arrays: dict[str, np.ndarray]) -> str:
    """Why no run can have written these numbers; "" if one can."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"{name:.99} has numbers that are not finite"
        if name.endswith("running_var") and (array < 0).any():
            return f"{name:.99} has negative variances"
    return ""


def _preprocess_problem(arrays: dict[str, np.ndarray]) -> str:
    mean, std = arrays.get("preprocess/mean"), arrays.get("preprocess/std")
    if mean is None or std is None or mean.ndim != 3 or std.ndim != 0 or std <= 0:
        return "preprocess is not a mean image and a positive standard deviation"
    return ""


def _progress(path: Path, header: dict[str, str]) -> Progress:
    with explained(CheckpointError, f"{path} does not say where its run stands: ", kinds=_BROKEN):
        progress = Progress(**json.loads(header["progress"]))
        if problem := progress.problem():
            raise ValueError(problem)
    return progress


def _checksum(arrays: dict[str, np.ndarray], header: dict[str, str]) -> str:
    """A checksum of all texts, and of every array's name, dtype, shape and bytes.

    safetensors itself notices a file that was cut, but no other damage. It is no signature: whoever
    writes a file can write its checksum too, so `load_checkpoint` looks at what the file holds.
    """
    crc = zlib.crc32(json.dumps(sorted(header.items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        kind = "" if header.get("format") == FIRST_FORMAT else f" {array.dtype} {array.shape}"
        crc = zlib.crc32(f"{name}{kind}".encode(), crc)
        crc = zlib.crc32(array.tobytes(), crc)
    return f"{crc:08x}"
