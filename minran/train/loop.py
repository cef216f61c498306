"""The training loop: epochs of steps, what comes of them in the history, the network in files.

Read `train_step` (in `steps`) first, then `Session`. `train` (in `start`) begins a run, or finds
where it stands, and makes a session of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minran import backend
from minran.errors import MinranError
from minran.train.checkpoint import Progress
from minran.train.history import History
from minran.train.precise import renew_statistics
from minran.train.recipe import Recipe
from minran.train.report import Reporter, StopRequest
from minran.train.run import Run
from minran.train.setup import Parts
from minran.train.steps import Steps

OnRow = Callable[[dict[str, Any]], Any]


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
            self.parts.train_mode()
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
        ends = progress.total_steps, progress.step + len(self.parts.train) - progress.batch
        every = training.log_every, training.checkpoint_every
        return step in ends or any(_divides(count, step) for count in every)

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
        self.reporter.step(progress, loss)
        if _divides(self.recipe.training.log_every, progress.step):
            self._log("step", loss=loss, lr=lr)

    def _epoch_is_done(self) -> bool:
        return self.progress.finished or self.progress.batch == len(self.parts.train)

    def _test_is_due(self) -> bool:
        every = self.recipe.training.test_every
        return self.progress.finished or _divides(every, self.progress.epoch + 1)

    def _close_epoch(self) -> None:
        """The epoch's row: averages over its batches, and the test if it is due."""
        progress = self.progress
        self._expect_finite_state()
        values: dict[str, Any] = {
            "train_loss": progress.loss_sum / progress.seen,
            "train_accuracy": progress.correct / progress.seen,
            "lr": self.parts.schedule(progress.step - 1),
        }
        kept = _divides(self.recipe.training.keep_every, progress.epoch + 1)
        if kept or self._test_is_due():
            renew_statistics(self.parts)
        if self._test_is_due():
            values["test_loss"], values["test_accuracy"] = self.steps.test()
        accuracy = values.get("test_accuracy", -1.0)
        self.reporter.epoch(self._log("epoch", **values, seconds=round(progress.seconds, 2)))

        progress.epoch += 1
        progress.batch, progress.seen, progress.correct, progress.loss_sum = 0, 0, 0, 0.0
        # Best before last: killed in between, the run goes on from the last one before, tests
        # this epoch again and writes the same best file again.
        if accuracy > progress.best_accuracy:
            progress.best_accuracy = accuracy
            self._save(self.run.best_file)
        if kept:
            self._save(self.run.epoch_file(progress.epoch))

    def _log(self, kind: str, **values: Any) -> dict[str, Any]:
        """Add a row to the history, and tell whoever wants to know."""
        progress = self.progress
        self.run.expect_there()
        now = {"kind": kind, "step": progress.step, "epoch": progress.epoch + 1}
        row = self.history.append({**now, **values})
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
