"""Checkpoints: one safetensors file with arrays and a JSON header, written all or not at all.

A checkpoint holds what a run needs to go on bit for bit: the model's state, the optimiser's
velocities, the statistics of the preprocessing, the recipe and the position in the epoch. It
is plain data: nothing in it is ever executed. The same file, without the optimiser, is what
`load_model` and `minran predict` read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from minran._version import __version__
from minran.errors import CheckpointError, expect

FORMAT = "minran-checkpoint-1"


@dataclass
class Progress:
    """Where a run stands: enough to take the next step as if nothing had happened."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    """Batches of this epoch that are done, and the sums over their pictures so far."""
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    best_accuracy: float = -1.0
    seconds: float = 0.0
    """Training time of all sessions."""
    rows: int = 0
    """Rows of the history written when this checkpoint was made."""


@dataclass
class Checkpoint:
    """The contents of a checkpoint file."""

    recipe: str
    model: dict[str, np.ndarray]
    preprocess: dict[str, np.ndarray]
    class_names: list[str]
    progress: Progress = field(default_factory=Progress)
    optimizer: dict[str, np.ndarray] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`; the file there before stays whole until the new one is.

    Raises CheckpointError if the disk refuses (full, not writable).
    """
    arrays: dict[str, np.ndarray] = {}
    for group in ("model", "preprocess", "optimizer"):
        for name, array in getattr(checkpoint, group).items():
            arrays[f"{group}/{name}"] = np.ascontiguousarray(array)
    header = {
        "format": FORMAT,
        "minran": __version__,
        "recipe": checkpoint.recipe,
        "class_names": json.dumps(checkpoint.class_names),
        "progress": json.dumps(asdict(checkpoint.progress)),
    }
    write_atomically(path, to_bytes(arrays, header))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError if it is missing, damaged or something else."""
    path = Path(path)
    expect(path.is_file(), f"there is no checkpoint {path}", CheckpointError)
    groups: dict[str, dict[str, np.ndarray]] = {"model": {}, "preprocess": {}, "optimizer": {}}
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            expect(
                header.get("format") == FORMAT,
                f"{path} is a safetensors file but no minran checkpoint",
                CheckpointError,
            )
            for key in file.keys():  # noqa: SIM118 - a safetensors file is no dict
                group, _, name = key.partition("/")
                groups[group][name] = file.get_tensor(key)
        return Checkpoint(
            recipe=header["recipe"],
            class_names=json.loads(header["class_names"]),
            progress=Progress(**json.loads(header["progress"])),
            **groups,
        )
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {error}") from error


def write_atomically(
    path: Path, data: bytes, replace: Callable[[Any, Any], None] = os.replace
) -> None:
    """Write `data` beside `path`, force it to the disk, then put it in place in one move."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except OSError as error:
        raise CheckpointError(
            f"could not write {path} ({error.strerror or error}); the file that was there "
            "before is unchanged"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
