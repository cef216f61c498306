"""`train`: a run is begun, or found where it stands, and goes on to its end.

Of several processes (`minran.distributed`) the first reads and writes the files.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minran import backend, distributed
from minran.data import Dataset
from minran.errors import RecipeError, expect
from minran.hints import checked
from minran.inspect.memory import gigabytes, largest, memory
from minran.nn import Module
from minran.train.checkpoint import Checkpoint, Progress
from minran.train.gpu import steps_for
from minran.train.history import History
from minran.train.loop import OnRow, Session
from minran.train.recipe import Recipe, parse
from minran.train.report import Reporter, StopRequest
from minran.train.run import Run
from minran.train.setup import Parts, build, load_model


@dataclass
class Result:
    """What became of a run: its files, its history, and whether it came to its end."""

    run: Run
    model: Module
    history: History
    finished: bool
    parts: Parts | None = None  # what it was made of; None where nothing was left to do


@checked(RecipeError)
def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    data_dir: str | Path | None = None,
    quiet: bool = False,
    on_row: OnRow | None = None,
    capture: bool = True,
) -> Result:
    """Train the recipe's network in `folder`; `resume` goes on where the run there stopped.

    A run that was interrupted and resumed has the losses of one that was not, bit for bit on
    one backend. With `resume`, `training.epochs` and `training.iterations` may be others than
    before: from here on the run has the learning rates of one of that length. Ctrl-C finishes the
    step, writes a checkpoint and returns. `on_row` is called with every new row of the history.
    On a GPU the step is recorded once and replayed as one graph if `capture`.

    Under mpiexec (`minran.distributed`) every process calls this and computes its share of each
    batch; process 0 writes the files, prints and calls `on_row`.

    Raises RecipeError, DataError or CheckpointError before anything is written; MinranError if
    the loss diverges.
    """
    expect(not (resume and force), "train: resume and force exclude each other", RecipeError)
    # What is run is what is stored: checked, and with the kinds that TOML has.
    recipe, run, leads = parse(recipe.to_toml()), Run(folder), distributed.leads()
    quiet = quiet or not leads
    distributed.expect_alike(recipe.entries())
    if resume:
        recipe = distributed.from_leader(lambda: run.filled(recipe))
        checkpoint = distributed.from_leader(lambda: run.continued(recipe, any_length=True))
        longer = checkpoint and parse(checkpoint.recipe).length() != recipe.length()
        if checkpoint is not None and checkpoint.progress.finished and not longer:
            Reporter(0, 0, quiet).say(f"the run in {folder} is finished already")
            return Result(run, load_model(run.last_file)[0], History(run.history_file), True)
    else:
        distributed.from_leader(lambda: run.expect_free(force))
    with opened(run, recipe, resume, force, data_dir) as (parts, progress, history):
        recipe = parts.recipe
        reporter = Reporter(parts.total_steps, parts.train.batch_size, quiet)
        for line in filter(None, (parts.origin, parts.settled)):
            reporter.say(line)
        with StopRequest(quiet=not leads) as stop, reporter:
            warn_unless_it_fits(recipe, parts)
            steps = steps_for(recipe, parts, capture)
            told = on_row if leads else None
            session = Session(recipe, parts, steps, run, progress, history, stop, reporter, told)
            if not session.fit():
                advice = f"go on with --resume {run.folder}"
                reporter.say(f"stopped after step {progress.step}; {advice}")
    if parts.average:
        parts.average.apply()
    return Result(run, parts.model.eval(), history, progress.finished, parts)


@contextmanager
def opened(
    run: Run, recipe: Recipe, resume: bool, force: bool, data_dir: str | Path | None
) -> Iterator[tuple[Parts, Progress, History]]:
    """The run's parts, and where it stands; within the block no other process trains in it."""
    with distributed.leader_first():
        parts = build(recipe, data_dir, begin=not (resume and run.last_file.exists()))
    recipe = parts.recipe
    expect_same_pictures(training=parts.train.dataset, test=parts.test.dataset)

    def open_files() -> tuple[Checkpoint | None, History]:
        checkpoint = None
        if resume:
            # Read once more: until now another process may have worked in the folder.
            checkpoint = run.continued(recipe, any_length=True)
            run.change_length(recipe, checkpoint, parts.total_steps)
        else:
            run.create(recipe, force)
        history = History(run.history_file, keep=checkpoint.progress.rows if checkpoint else 0)
        run.note_session(**({"init": parts.origin} if parts.origin else {}))
        return checkpoint, history

    with run.lock() if distributed.leads() else nullcontext():
        checkpoint, history = distributed.from_leader(open_files)
        history.writes = distributed.leads()
        if checkpoint is not None:
            parts.restore(checkpoint)
        progress = checkpoint.progress if checkpoint else Progress()
        progress.total_steps = parts.total_steps
        # The same seed makes the same weights, but perhaps not on another kind of processor.
        parts.model.load_state_dict(distributed.from_leader(parts.model.state_dict))
        yield parts, progress, history


def warn_unless_it_fits(recipe: Recipe, parts: Parts) -> None:
    """Warn where a step is expected to take more memory than is free, and say which batch fits."""
    kernels, size = backend.current(), distributed.current().size
    if not (backend.has("free_memory") and distributed.leads()):
        return
    gpu, images = backend.has("recorder"), parts.train.dataset.images
    # Each process of a machine takes its share of the batch, and of the processor's memory.
    free = kernels.free_memory() // (1 if gpu else size)
    placed = images.nbytes if gpu and isinstance(images, np.ndarray) else 0

    def needed(batch: int) -> int:
        share, pixels = -(-batch // size), recipe.data.size
        of_test = min(parts.test.batch_size, len(parts.test.dataset)) // size
        options = "gpu" if gpu else "cpu", of_test, parts.average is not None
        return placed + memory(parts.model, share, pixels, *options).total

    batch = parts.train.batch_size
    if (most := needed(batch)) > free:
        smaller = largest(lambda count: needed(count) <= free, batch)
        fits = f"training.batch_size={smaller} fits" if smaller else "not even one image fits"
        warnings.warn(
            f"a step of {batch} images of {recipe.data.size} pixels is expected to take about "
            f"{gigabytes(most)} of memory, and {gigabytes(free)} are free; {fits}, and data.size "
            "can be smaller",
            stacklevel=4,
        )


def expect_same_pictures(**datasets: Dataset) -> None:
    """Raise BackendError, in all processes, unless each has the same; alone, nothing is read.

    datasets: by what they are called in the message (training=..., test=...).
    """
    if distributed.current().size == 1:
        return
    for which, data in datasets.items():
        facts = {
            f"the number of {which} images": len(data),
            f"the list of classes of {which} images": list(data.class_names),
            f"the checksum of the {which} labels": zlib.crc32(data.labels.tobytes()),
            f"the checksum of the {which} images": data.checksum(),
        }
        distributed.expect_alike(facts)
