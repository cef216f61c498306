"""The training loop, on one page: `train` runs a recipe, `evaluate` tests a network.

Read `train_step` (in `steps`) first, then `HostSteps` and `_Session.fit` around it, then `train`
around that. On a GPU `DeviceSteps` (in `device`) takes the place of `HostSteps`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minran import backend, distributed
from minran.errors import MinranError, RecipeError, expect
from minran.hints import checked
from minran.nn import Module
from minran.train.checkpoint import Checkpoint, Progress, save_checkpoint
from minran.train.device import DeviceSteps, on_device
from minran.train.history import History
from minran.train.progress import Reporter, StopRequest
from minran.train.recipe import Recipe, parse
from minran.train.run import Run
from minran.train.setup import Parts, build, load_model
from minran.train.steps import (
    Outcome,
    Steps,
    evaluate,
    expect_same_pictures,
    train_step,
)

OnRow = Callable[[dict[str, Any]], Any]


@dataclass
class Result:
    """What became of a run: its files, its history, and whether it came to its end."""

    run: Run
    model: Module
    history: History
    finished: bool
    parts: Parts | None = None
    """What it was made of; None where nothing was left to do."""


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
    before: the run then ends there, and from here on has the learning rates of a run of that
    length. Ctrl-C finishes the step, writes a checkpoint and returns. `on_row` is called
    with every new row of the history (for live curves in a notebook). On a GPU the step is
    recorded once and replayed as one graph if `capture`; the losses are the same without.

    Under mpiexec (`minran.distributed`) every process calls this and computes its share of each
    batch; process 0 writes the files, prints and calls `on_row`.

    Raises RecipeError, DataError or CheckpointError before anything is written; MinranError if
    the loss diverges.
    """
    expect(not (resume and force), "train: resume and force exclude each other", RecipeError)
    # What is run is what is stored: checked, and with the kinds that TOML has.
    recipe = parse(recipe.to_toml())
    distributed.expect_alike(recipe.entries())
    run, leads = Run(folder), distributed.leads()
    quiet = quiet or not leads
    if resume:
        checkpoint = distributed.from_leader(lambda: run.continued(recipe, any_length=True))
        longer = checkpoint and parse(checkpoint.recipe).length() != recipe.length()
        if checkpoint is not None and checkpoint.progress.finished and not longer:
            Reporter(0, 0, quiet).say(f"the run in {folder} is finished already")
            return Result(run, load_model(run.last_file)[0], History(run.history_file), True)
    else:
        distributed.from_leader(lambda: run.expect_free(force))
    with distributed.leader_first():
        parts = build(recipe, data_dir)
    expect_same_pictures(training=parts.train.dataset, test=parts.test.dataset)
    with run.lock() if leads else nullcontext():
        checkpoint, history = distributed.from_leader(
            lambda: _open(run, recipe, resume, force, parts.total_steps)
        )
        history.writes = leads
        progress = Progress()
        if checkpoint is not None:
            parts.restore(checkpoint)
            progress = checkpoint.progress
        progress.total_steps = parts.total_steps
        # The same seed makes the same weights, but perhaps not on another kind of processor.
        parts.model.load_state_dict(distributed.from_leader(parts.model.state_dict))
        reporter = Reporter(parts.total_steps, parts.train.batch_size, quiet)
        with StopRequest(quiet=not leads) as stop, reporter:
            steps = DeviceSteps(recipe, parts, capture) if on_device() else HostSteps(recipe, parts)
            session = _Session(recipe, parts, steps, run, progress, history, stop, reporter, on_row)
            finished = session.fit()
    return Result(run, parts.model.eval(), history, finished, parts)


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


class HostSteps:
    """Step by step, on batches that the loader prepares meanwhile."""

    def __init__(self, recipe: Recipe, parts: Parts) -> None:
        self.parts, self.label_smoothing = parts, recipe.training.label_smoothing

    def epoch(self, progress: Progress) -> Generator[list[Outcome], None, None]:
        """The outcome of one step at a time."""
        parts = self.parts
        # closing: the thread that prepares batches ends with the loop, however that ends.
        with closing(parts.train.epoch(progress.epoch, start=progress.batch)) as batches:
            for batch in batches:
                parts.optimizer.lr = parts.schedule(progress.step)
                yield [train_step(parts.model, parts.optimizer, batch, self.label_smoothing)]


@dataclass
class _Session:
    """What one session of a run works with: `fit` takes it from where it stands to its end."""

    recipe: Recipe
    parts: Parts
    steps: Steps
    run: Run
    progress: Progress
    history: History
    stop: StopRequest
    reporter: Reporter
    on_row: OnRow | None

    def fit(self) -> bool:
        """Epochs of steps until the recipe's end (True) or a request to stop (False)."""
        progress, parts = self.progress, self.parts
        while not progress.finished:
            parts.model.train()
            self._steps()
            if self._epoch_is_done():
                self._close_epoch()
            self._save(self.run.last_file)
            if not progress.finished and self._asked_to_stop():
                self.reporter.say(
                    f"stopped after step {progress.step}; go on with --resume {self.run.folder}"
                )
                return False
        return True

    def _steps(self) -> None:
        """The steps of this epoch that are still to do, or those until a request to stop."""
        progress, parts, settings = self.progress, self.parts, self.recipe.training
        clock, size = time.perf_counter(), parts.train.batch_size
        with closing(self.steps.epoch(progress)) as stretches:
            for outcomes in stretches:
                now = time.perf_counter()
                progress.seconds += now - clock
                clock = now
                for loss, correct in outcomes:
                    lr = parts.schedule(progress.step)
                    progress.step += 1
                    if not math.isfinite(loss):
                        raise self._diverged(f"the loss of step {progress.step} is {loss}")
                    progress.batch += 1
                    progress.loss_sum += loss * size
                    progress.correct += correct
                    progress.seen += size
                    self.reporter.step(progress, loss, lr)
                    if progress.step % settings.log_every == 0:
                        self._log("step", loss=loss, lr=lr)
                if self._epoch_is_done() or self._asked_to_stop():
                    return
                if settings.checkpoint_every and progress.step % settings.checkpoint_every == 0:
                    self._save(self.run.last_file)

    def _asked_to_stop(self) -> bool:
        """Whether any process was asked to: all end with the same step, or none does."""
        return distributed.sum_numbers(self.stop.requested) != [0]

    def _epoch_is_done(self) -> bool:
        return self.progress.finished or self.progress.batch == len(self.parts.train)

    def _close_epoch(self) -> None:
        """The epoch's row: averages over its batches, and the test if it is due."""
        progress, parts = self.progress, self.parts
        self._expect_finite_state()
        values: dict[str, Any] = {
            "train_loss": progress.loss_sum / progress.seen,
            "train_accuracy": progress.correct / progress.seen,
            "lr": parts.schedule(progress.step - 1),
        }
        accuracy = -1.0
        if progress.finished or (progress.epoch + 1) % self.recipe.training.test_every == 0:
            values["test_loss"], accuracy = evaluate(parts.model, parts.test)
            values["test_accuracy"] = accuracy
        values["seconds"] = round(progress.seconds, 2)
        row = self._log("epoch", **values)
        self.reporter.epoch(row)

        progress.epoch += 1
        progress.batch = progress.seen = progress.correct = 0
        progress.loss_sum = 0.0
        # Best before last: killed in between, the run goes on from the last one before, tests
        # this epoch again and writes the same best file again.
        if accuracy > progress.best_accuracy:
            progress.best_accuracy = accuracy
            self._save(self.run.best_file)
        keep = self.recipe.training.keep_every
        if keep and progress.epoch % keep == 0:
            self._save(self.run.epoch_file(progress.epoch))

    def _log(self, kind: str, **values: Any) -> dict[str, Any]:
        """Add a row to the history, and tell whoever wants to know."""
        progress = self.progress
        row = {"kind": kind, "step": progress.step, "epoch": progress.epoch + 1, **values}
        self.run.expect_there()
        row = self.history.append(row)
        progress.rows = len(self.history.rows)
        if self.on_row is not None and distributed.leads():
            self.on_row(row)
        return row

    def _save(self, path: Path) -> None:
        parts = self.parts
        self._expect_finite_state()
        if not distributed.leads():
            return
        self.run.expect_there()
        checkpoint = Checkpoint(
            recipe=self.recipe.to_toml(),
            model=parts.model.state_dict(),
            preprocess=parts.preprocess.state(),
            class_names=parts.class_names,
            progress=self.progress,
            optimizer=parts.optimizer.state_dict(),
            data=parts.data,
        )
        save_checkpoint(path, checkpoint)

    def _expect_finite_state(self) -> None:
        """A step may break the network although its loss was finite: never save or test that."""
        model, isfinite = self.parts.model, backend.current().xp.isfinite
        arrays = [p.data for p in model.parameters()] + [b for _, b in model.named_buffers()]
        if not all(bool(isfinite(array).all()) for array in arrays):
            raise self._diverged(f"step {self.progress.step} left weights that are not finite")

    def _diverged(self, what: str) -> MinranError:
        last = self.run.last_file
        kept = f"; {last} is from before that" if last.exists() else ""
        return MinranError(f"training diverged: {what}; try a smaller optimizer.lr{kept}")
