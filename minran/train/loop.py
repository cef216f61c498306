"""The training loop, on one page: `train` runs a recipe, `evaluate` tests a network.

Read `train_step` first, then `_Session.fit` around it, then `train` around that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minran import backend, ops
from minran.autograd import Tensor, no_grad, tensor
from minran.data import Batch, Loader
from minran.errors import MinranError, RecipeError, expect
from minran.nn import Module
from minran.optim import SGD
from minran.train.checkpoint import Checkpoint, Progress, save_checkpoint
from minran.train.history import History
from minran.train.progress import Reporter, StopRequest
from minran.train.recipe import Recipe, parse
from minran.train.run import Run
from minran.train.setup import Parts, build, load_model

OnRow = Callable[[dict[str, Any]], Any]


@dataclass
class Result:
    """What became of a run: its files, its history, and whether it came to its end."""

    run: Run
    model: Module
    history: History
    finished: bool


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    data_dir: str | Path | None = None,
    quiet: bool = False,
    on_row: OnRow | None = None,
) -> Result:
    """Train the recipe's network in `folder`; `resume` goes on where the run there stopped.

    A run that was interrupted and resumed has the losses of one that was not, bit for bit on
    one backend. Ctrl-C finishes the step, writes a checkpoint and returns. `on_row` is called
    with every new row of the history (for live curves in a notebook).

    Raises RecipeError, DataError or CheckpointError before anything is written; MinranError if
    the loss diverges.
    """
    expect(not (resume and force), "train: resume and force exclude each other", RecipeError)
    # What is run is what is stored: checked, and with the kinds that TOML has.
    recipe = parse(recipe.to_toml())
    run = Run(folder)
    if resume:
        checkpoint = run.continued(recipe)
        if checkpoint is not None and checkpoint.progress.finished:
            Reporter(0, 0, quiet).say(f"the run in {folder} is finished already")
            return Result(run, load_model(run.last_file)[0], History(run.history_file), True)
    else:
        run.expect_free(force)
    parts = build(recipe, data_dir)
    with run.lock():
        progress = Progress()
        if not resume:
            run.create(recipe, force)
        # Read once more: until now another process may have worked in the folder.
        elif (checkpoint := run.continued(recipe)) is not None:
            parts.restore(checkpoint)
            progress = checkpoint.progress
        progress.total_steps = parts.total_steps
        history = History(run.history_file, keep=progress.rows)
        run.note_session()
        reporter = Reporter(parts.total_steps, parts.train.batch_size, quiet)
        with StopRequest() as stop, reporter:
            session = _Session(recipe, parts, run, progress, history, stop, reporter, on_row)
            finished = session.fit()
    return Result(run, parts.model.eval(), history, finished)


@dataclass
class _Session:
    """What one session of a run works with: `fit` takes it from where it stands to its end."""

    recipe: Recipe
    parts: Parts
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
            if self.stop.requested and not progress.finished:
                self.reporter.say(
                    f"stopped after step {progress.step}; go on with --resume {self.run.folder}"
                )
                return False
        return True

    def _steps(self) -> None:
        """The steps of this epoch that are still to do, or those until a request to stop."""
        progress, parts, settings = self.progress, self.parts, self.recipe.training
        clock = time.perf_counter()
        # closing: the thread that prepares batches ends with the loop, however that ends.
        with closing(parts.train.epoch(progress.epoch, start=progress.batch)) as batches:
            for batch in batches:
                lr = parts.optimizer.lr = parts.schedule(progress.step)
                loss, correct = train_step(
                    parts.model, parts.optimizer, batch, settings.label_smoothing
                )
                progress.step += 1
                if not math.isfinite(loss):
                    raise self._diverged(f"the loss of step {progress.step} is {loss}")
                progress.batch += 1
                progress.loss_sum += loss * len(batch[0])
                progress.correct += correct
                progress.seen += len(batch[0])
                now = time.perf_counter()
                progress.seconds += now - clock
                clock = now
                self.reporter.step(progress, loss, lr)
                if progress.step % settings.log_every == 0:
                    self._log("step", loss=loss, lr=lr)
                if self._epoch_is_done() or self.stop.requested:
                    return
                if settings.checkpoint_every and progress.step % settings.checkpoint_every == 0:
                    self._save(self.run.last_file)

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

    def _log(self, kind: str, **values: Any) -> dict[str, Any]:
        """Add a row to the history, and tell whoever wants to know."""
        progress = self.progress
        row = {"kind": kind, "step": progress.step, "epoch": progress.epoch + 1, **values}
        row = self.history.append(row)
        progress.rows = len(self.history.rows)
        if self.on_row is not None:
            self.on_row(row)
        return row

    def _save(self, path: Path) -> None:
        parts = self.parts
        self._expect_finite_state()
        checkpoint = Checkpoint(
            recipe=self.recipe.to_toml(),
            model=parts.model.state_dict(),
            preprocess=parts.preprocess.state(),
            class_names=parts.class_names,
            progress=self.progress,
            optimizer=parts.optimizer.state_dict(),
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


def train_step(
    model: Module, optimizer: SGD, batch: Batch, label_smoothing: float = 0.0
) -> tuple[float, int]:
    """One step of gradient descent on a batch; returns its loss and how many it got right.

    batch: images (N, H, W, 3) float32, labels (N,) integers, and with mixup soft labels (N, K),
    which the loss is then taken against.
    """
    images, labels, targets = batch[0], batch[1], batch[-1]
    logits = model(_inputs(model, images))
    loss = ops.cross_entropy(logits, targets, label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item(), _count_correct(logits, labels)


def evaluate(model: Module, loader: Loader) -> tuple[float, float]:
    """The mean loss and the accuracy (0 to 1) of `model` on all pictures of `loader`.

    The network is in evaluation mode meanwhile, and afterwards in the mode it had before.
    """
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    loss_sum, correct, seen = 0.0, 0, 0
    try:
        with no_grad(), closing(loader.epoch(0)) as batches:
            for images, labels, *_ in batches:
                logits = model(_inputs(model, images))
                loss_sum += ops.cross_entropy(logits, labels).item() * len(labels)
                correct += _count_correct(logits, labels)
                seen += len(labels)
    finally:
        for module, training in modes:
            module.training = training
    return loss_sum / seen, correct / seen


def _inputs(model: Module, images: np.ndarray) -> Tensor:
    """Pictures as a Tensor of the network's precision."""
    _, parameter = next(model.named_parameters())
    return tensor(images, dtype=parameter.dtype)


def _count_correct(logits: Tensor, labels: np.ndarray) -> int:
    return int((logits.numpy().argmax(1) == labels).sum())
