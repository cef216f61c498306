"""A run that takes half a second, and how to tell whether two runs are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from minran.train import Recipe, Run, load_checkpoint, parse, read_history
from minran.train.checkpoint import DTYPES

TINY = """
name = "tiny"
seed = 31
[model]
name = "attention_nano"
options = { stem_width = 8, widths = [8, 8], tail_width = 8, t = 1 }
[data]
name = "shapes"
train_count = 24
test_count = 40
[optimizer]
lr = 0.2
[training]
epochs = 2
batch_size = 4
log_every = 2
checkpoint_every = 4
"""


def tiny(*changes: str) -> Recipe:
    """Two epochs of six steps, a row every two steps, a checkpoint every four."""
    return parse(TINY, "tiny", changes)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The history but for the seconds, which differ from run to run."""
    rows = read_history(Run(folder).history_file)
    return [{key: row[key] for key in row if key != "seconds"} for row in rows]


def assert_same_arrays(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """The same names, kinds and bits."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert (array.dtype, array.shape) == (other[name].dtype, other[name].shape), name
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def assert_same_run(folder: Path, reference: Path) -> None:
    """Both runs have the same history, and the same checkpoints bit for bit."""
    assert rows_of(folder) == rows_of(reference)
    for name in ("last.safetensors", "best.safetensors"):
        one, other = load_checkpoint(folder / name), load_checkpoint(reference / name)
        one.progress.seconds = other.progress.seconds = 0.0
        assert one.progress == other.progress
        for group in DTYPES:
            assert_same_arrays(getattr(one, group), getattr(other, group))
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


# Trains, and kills itself without a warning at its k-th operation on files: before it forces one
# to the disk, with its last bytes missing ("torn"), or before or after a new file is put in place.
CHILD = """
import os, signal, sys
from pathlib import Path
from minran.train import Run, parse, train

folder, at = Path(sys.argv[1]), int(sys.argv[2])
recipe = parse(sys.stdin.read())
done = 0

def die_at(operation, torn=False):
    def wrapped(*arguments):
        global done
        done += 1
        if done == at:
            if torn:
                os.truncate(arguments[0], max(0, os.fstat(arguments[0]).st_size - 3))
            os.kill(os.getpid(), signal.SIGKILL)
        result = operation(*arguments)
        done += 1
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped

os.fsync = die_at(os.fsync, torn=True)
os.replace = die_at(os.replace)
result = train(
    recipe, folder, resume=Run(folder).exists(), quiet=True,
    on_row=lambda row: print(row["step"], flush=True),
)
print("finished" if result.finished else "stopped", done)
"""


def start_child(recipe: Recipe, folder: Path, at: int = 0) -> subprocess.Popen[str]:
    """Train, or go on, in a process of its own, which dies at file operation `at` (0: never)."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"MINRAN_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert child.stdin is not None
    child.stdin.write(recipe.to_toml())
    child.stdin.close()
    return child
