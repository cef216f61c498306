"""Checkpoints: one safetensors file with arrays and a JSON header, written all or not at all.

A checkpoint holds what a run needs to go on bit for bit: the model's state, the optimiser's
velocities, the statistics of the preprocessing, the recipe and the position in the epoch. It
is plain data: nothing in it is ever executed. `load_model` and `minran predict` read the same
file, without the optimiser's part.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from minran._version import __version__
from minran.errors import CheckpointError, expect
from minran.files import write_atomically

FORMAT = "minran-checkpoint-1"
GROUPS = ("model", "preprocess", "optimizer")


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
    total_steps: int = 0
    """Steps at which the run ends."""

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return 0 < self.total_steps <= self.step


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
    arrays = {
        f"{group}/{name}": np.asarray(array, order="C")
        for group in GROUPS
        for name, array in getattr(checkpoint, group).items()
    }
    header = {
        "format": FORMAT,
        "minran": __version__,
        "recipe": checkpoint.recipe,
        "class_names": json.dumps(checkpoint.class_names),
        "progress": json.dumps(asdict(checkpoint.progress)),
    }
    header["crc32"] = _fingerprint(arrays, header)
    write_atomically(path, to_bytes(arrays, header))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError if it is missing, damaged or something else."""
    path = Path(path)
    header, arrays = _read(path)
    expect(
        header.pop("crc32", None) == _fingerprint(arrays, header),
        f"{path} is damaged: its contents do not match their checksum",
        CheckpointError,
    )
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in GROUPS}
    for key, array in arrays.items():
        group, _, name = key.partition("/")
        groups[group][name] = array
    return Checkpoint(
        recipe=header["recipe"],
        class_names=json.loads(header["class_names"]),
        progress=_progress(path, header),
        **groups,
    )


def load_progress(path: str | Path) -> Progress:
    """Read only where the run of a checkpoint stands: quick, whatever the size of the network.

    Raises CheckpointError as `load_checkpoint`, but does not compare the checksum.
    """
    path = Path(path)
    return _progress(path, _read(path, with_arrays=False)[0])


def _read(path: Path, with_arrays: bool = True) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The header and the arrays of a file that says it is a checkpoint."""
    expect(path.is_file(), f"there is no checkpoint {path}", CheckpointError)
    try:
        with safe_open(path, framework="numpy") as file:
            header = dict(file.metadata() or {})
            expect(
                header.get("format") == FORMAT,
                f"{path} is a safetensors file but no checkpoint of this version of minran",
                CheckpointError,
            )
            keys = file.keys() if with_arrays else []
            return header, {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {error}") from error


def _progress(path: Path, header: dict[str, str]) -> Progress:
    try:
        return Progress(**json.loads(header["progress"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not say where its run stands: {error}") from error


def _fingerprint(arrays: dict[str, np.ndarray], header: dict[str, str]) -> str:
    """A checksum of everything in the file.

    safetensors itself notices a file that was cut, but no other damage, and a network with one
    wrong byte would go on as if it were right.
    """
    crc = zlib.crc32(json.dumps(sorted(header.items())).encode())
    for name in sorted(arrays):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(arrays[name].tobytes(), crc)
    return f"{crc:08x}"
