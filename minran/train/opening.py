"""What happens before the first step: a run is begun, or found where it stands.

Of several processes (`minran.distributed`) the first reads and writes the files.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from minran import distributed
from minran.data import Dataset
from minran.train.checkpoint import Checkpoint, Progress
from minran.train.history import History
from minran.train.recipe import Recipe, parse
from minran.train.run import Run
from minran.train.setup import Parts, build


def expect_may_start(run: Run, recipe: Recipe, resume: bool, force: bool) -> bool:
    """Whether there is anything to do. Raises CheckpointError unless the run may begin or go on."""
    distributed.expect_alike(recipe.entries())
    if not resume:
        distributed.from_leader(lambda: run.expect_free(force))
        return True
    checkpoint = distributed.from_leader(lambda: run.continued(recipe, any_length=True))
    if checkpoint is None or not checkpoint.progress.finished:
        return True
    return parse(checkpoint.recipe).length() != recipe.length()


@contextmanager
def opened(
    run: Run, recipe: Recipe, resume: bool, force: bool, data_dir: str | Path | None
) -> Iterator[tuple[Parts, Progress, History]]:
    """The run's parts, and where it stands; within the block no other process trains in it."""
    with distributed.leader_first():
        parts = build(recipe, data_dir)
    expect_same_pictures(training=parts.train.dataset, test=parts.test.dataset)
    with run.lock() if distributed.leads() else nullcontext():
        checkpoint, history = distributed.from_leader(
            lambda: _open(run, recipe, resume, force, parts.total_steps)
        )
        history.writes = distributed.leads()
        progress = Progress()
        if checkpoint is not None:
            parts.restore(checkpoint)
            progress = checkpoint.progress
        progress.total_steps = parts.total_steps
        # The same seed makes the same weights, but perhaps not on another kind of processor.
        parts.model.load_state_dict(distributed.from_leader(parts.model.state_dict))
        yield parts, progress, history


def _open(
    run: Run, recipe: Recipe, resume: bool, force: bool, steps: int
) -> tuple[Checkpoint | None, History]:
    """Start the run's files, or find where they stand: the checkpoint to go on from, if any."""
    checkpoint = None
    if resume:
        # Read once more: until now another process may have worked in the folder.
        checkpoint = run.continued(recipe, any_length=True)
        run.change_length(recipe, checkpoint, steps)
    else:
        run.create(recipe, force)
    history = History(run.history_file, keep=checkpoint.progress.rows if checkpoint else 0)
    run.note_session()
    return checkpoint, history


def expect_same_pictures(**datasets: Dataset) -> None:
    """Raise BackendError, in all processes, unless each has the same; alone, nothing is read.

    datasets: by what they are called in the message (training=..., test=...).
    """
    if distributed.current().size == 1:
        return
    facts: dict[str, Any] = {}
    for which, data in datasets.items():
        facts |= {
            f"the number of {which} pictures": len(data),
            f"the list of classes of {which} pictures": list(data.class_names),
            f"the checksum of the {which} labels": zlib.crc32(data.labels.tobytes()),
            f"the checksum of the {which} pictures": zlib.crc32(data.images.tobytes()),
        }
    distributed.expect_alike(facts)
