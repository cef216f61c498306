"""The training loop, on one page: `train` runs a recipe, `Session` takes its steps.

Read `train_step` (in `steps`) first, then `Session.fit`, then `train` around that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minran import backend, distributed
from minran.errors import MinranError, RecipeError, expect
from minran.hints import checked
from minran.nn import Module
from minran.train.checkpoint import Progress
from minran.train.gpu import steps_for
from minran.train.history import History
from minran.train.opening import expect_may_start, opened
from minran.train.recipe import Recipe, parse
from minran.train.report import Reporter, StopRequest
from minran.train.run import Run
from minran.train.setup import Parts, load_model
from minran.train.steps import Steps

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
    recipe, run, leads = parse(recipe.to_toml()), Run(folder), distributed.leads()
    quiet = quiet or not leads
    if not expect_may_start(run, recipe, resume, force):
        Reporter(0, 0, quiet).say(f"the run in {folder} is finished already")
        return Result(run, load_model(run.last_file)[0], History(run.history_file), True)
    with opened(run, recipe, resume, force, data_dir) as (parts, progress, history):
        reporter = Reporter(parts.total_steps, parts.train.batch_size, quiet)
        with StopRequest(quiet=not leads) as stop, reporter:
            steps = steps_for(recipe, parts, capture)
            told = on_row if leads else None
            session = Session(recipe, parts, steps, run, progress, history, stop, reporter, told)
            if not session.fit():
                reporter.say(
                    f"stopped after step {progress.step}; go on with --resume {run.folder}"
                )
    if parts.average:
        parts.average.apply()
    return Result(run, parts.model.eval(), history, progress.finished, parts)


@dataclass
class Session:
    """What one session of a run works with: `fit` takes it from where it stands to its end."""

    recipe: Recipe
    parts: Parts
    steps: Steps
    run: Run
    progress: Progress
    history: History
    stop: StopRequest
    reporter: Reporter
    on_row: OnRow | None = None

    def fit(self) -> bool:
        """Epochs of steps until the recipe's end (True) or a request to stop (False)."""
        progress = self.progress
        while not progress.finished:
            self.parts.model.train()
            self._take_steps()
            if self._epoch_is_done():
                self._close_epoch()
            self._save(self.run.last_file)
            if not progress.finished and self.stop.asked():
                return False
        return True

    def _take_steps(self) -> None:
        """The steps of this epoch that are still to do, or those until a request to stop."""
        progress, parts, clock = self.progress, self.parts, time.perf_counter()
        # closing: the thread that prepares batches ends with the loop, however that ends.
        with closing(self.steps.batches(progress.epoch, progress.batch)) as batches:
            for step, batch in enumerate(batches, progress.step):
                parts.optimizer.lr = parts.schedule(step)
                outcomes = self.steps.take(batch, step, look=self._is_due(step + 1))
                if not outcomes:
                    continue
                now = time.perf_counter()
                progress.seconds += now - clock
                clock = now
                for loss, correct in outcomes:
                    self._book(loss, correct)
                if self._epoch_is_done() or self.stop.asked():
                    return
                if _divides(self.recipe.training.checkpoint_every, progress.step):
                    self._save(self.run.last_file)

    def _is_due(self, step: int) -> bool:
        """Whether a row, a checkpoint or an end is due after so many steps."""
        progress, training = self.progress, self.recipe.training
        return (
            step == progress.total_steps
            or progress.batch + step - progress.step == len(self.parts.train)
            or _divides(training.log_every, step)
            or _divides(training.checkpoint_every, step)
        )

    def _book(self, loss: float, correct: int) -> None:
        """Count a step: in the sums of its epoch, in the history if its row is due."""
        progress, size = self.progress, self.parts.train.batch_size
        lr = self.parts.schedule(progress.step)
        progress.step += 1
        if not math.isfinite(loss):
            raise self._diverged(f"the loss of step {progress.step} is {loss}")
        progress.batch += 1
        progress.loss_sum += loss * size
        progress.correct += correct
        progress.seen += size
        self.reporter.step(progress, loss, lr)
        if _divides(self.recipe.training.log_every, progress.step):
            self._log("step", loss=loss, lr=lr)

    def _epoch_is_done(self) -> bool:
        return self.progress.finished or self.progress.batch == len(self.parts.train)

    def _test_is_due(self) -> bool:
        every = self.recipe.training.test_every
        return self.progress.finished or _divides(every, self.progress.epoch + 1)

    def _close_epoch(self) -> None:
        """The epoch's row: averages over its batches, and the test if it is due."""
        progress, training = self.progress, self.recipe.training
        self._expect_finite_state()
        values: dict[str, Any] = {
            "train_loss": progress.loss_sum / progress.seen,
            "train_accuracy": progress.correct / progress.seen,
            "lr": self.parts.schedule(progress.step - 1),
        }
        accuracy = -1.0
        if self._test_is_due():
            values["test_loss"], accuracy = self.steps.test()
            values["test_accuracy"] = accuracy
        values["seconds"] = round(progress.seconds, 2)
        self.reporter.epoch(self._log("epoch", **values))

        progress.epoch += 1
        progress.batch = progress.seen = progress.correct = 0
        progress.loss_sum = 0.0
        # Best before last: killed in between, the run goes on from the last one before, tests
        # this epoch again and writes the same best file again.
        if accuracy > progress.best_accuracy:
            progress.best_accuracy = accuracy
            self._save(self.run.best_file)
        if _divides(training.keep_every, progress.epoch):
            self._save(self.run.epoch_file(progress.epoch))

    def _log(self, kind: str, **values: Any) -> dict[str, Any]:
        """Add a row to the history, and tell whoever wants to know."""
        progress = self.progress
        row = {"kind": kind, "step": progress.step, "epoch": progress.epoch + 1, **values}
        self.run.expect_there()
        row = self.history.append(row)
        progress.rows = len(self.history.rows)
        if self.on_row is not None:
            self.on_row(row)
        return row

    def _save(self, path: Path) -> None:
        self._expect_finite_state()
        self.run.save(path, self.parts.checkpoint(self.recipe, self.progress))

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


def _divides(every: int, count: int) -> bool:
    """Whether something that happens every so many times (0: never) happens now."""
    return every > 0 and count % every == 0
