"""The training loop, on one page: `train` runs a recipe, `evaluate` tests a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minran import ops
from minran.autograd import no_grad, tensor
from minran.data import Batch, Loader
from minran.errors import MinranError, expect
from minran.nn import Module
from minran.optim import SGD
from minran.train.checkpoint import Checkpoint, Progress, save_checkpoint
from minran.train.history import History
from minran.train.progress import Reporter, StopRequest
from minran.train.recipe import Recipe
from minran.train.run import Run
from minran.train.setup import Parts, build

Report = Callable[[dict[str, Any]], Any]


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
    on_row: Report | None = None,
) -> Result:
    """Train the recipe's network in `folder`; `resume` goes on where the run there stopped.

    A run that was interrupted and resumed has the losses of one that was not, bit for bit on
    one backend. Ctrl-C finishes the step, writes a checkpoint and returns. `on_row` is called
    with every new row of the history (for live curves in a notebook).

    Raises RecipeError, DataError or CheckpointError before anything is written.
    """
    run = Run(folder)
    checkpoint = run.checkpoint() if resume and run.last_file.exists() else None
    parts = build(recipe, data_dir)
    if not resume:
        run.create(recipe, force)
    progress = Progress()
    if checkpoint is not None:
        progress = checkpoint.progress
        parts.model.load_state_dict(checkpoint.model)
        parts.optimizer.load_state_dict(checkpoint.optimizer)
    history = History(run.history_file, keep=progress.rows)
    run.note_session()
    reporter = Reporter(parts.total_steps, len(parts.train), parts.train.batch_size, quiet)
    with StopRequest() as stop, reporter:
        finished = _fit(recipe, parts, run, progress, history, stop, reporter, on_row)
    return Result(run, parts.model.eval(), history, finished)


def _fit(
    recipe: Recipe,
    parts: Parts,
    run: Run,
    progress: Progress,
    history: History,
    stop: StopRequest,
    reporter: Reporter,
    on_row: Report | None,
) -> bool:
    """Epochs of steps until the recipe's end (True) or a request to stop (False)."""
    settings = recipe.training

    def log(row: dict[str, Any]) -> None:
        history.append(row)
        progress.rows = len(history.rows)
        if on_row is not None:
            on_row(row)

    def save(path: Path) -> None:
        save_checkpoint(
            path,
            Checkpoint(
                recipe.to_toml(),
                parts.model.state_dict(),
                parts.preprocess.state(),
                parts.class_names,
                progress,
                parts.optimizer.state_dict(),
            ),
        )

    while progress.step < parts.total_steps:
        parts.model.train()
        clock = time.perf_counter()
        for batch in parts.train.epoch(progress.epoch, start=progress.batch):
            parts.optimizer.lr = parts.schedule(progress.step)
            loss, correct = train_step(
                parts.model, parts.optimizer, batch, settings.label_smoothing
            )
            _expect_finite(loss, progress.step)
            progress.step += 1
            progress.batch += 1
            progress.loss_sum += loss * len(batch[0])
            progress.correct += correct
            progress.seen += len(batch[0])
            now = time.perf_counter()
            progress.seconds += now - clock
            clock = now
            reporter.step(progress, loss, parts.optimizer.lr)
            if progress.step % settings.log_every == 0:
                log(
                    {
                        "kind": "step",
                        "step": progress.step,
                        "epoch": progress.epoch,
                        "loss": loss,
                        "lr": parts.optimizer.lr,
                    }
                )
            if settings.checkpoint_every and progress.step % settings.checkpoint_every == 0:
                save(run.last_file)
            if progress.step >= parts.total_steps or stop.requested:
                break
        epoch_done = progress.batch == len(parts.train) or progress.step >= parts.total_steps
        if epoch_done:
            _close_epoch(parts, progress, settings.test_every, log, reporter)
            accuracy = history.rows[-1].get("test_accuracy", -1.0)
            if accuracy > progress.best_accuracy:
                progress.best_accuracy = accuracy
                save(run.best_file)
        save(run.last_file)
        if stop.requested:
            reporter.say(f"stopped after step {progress.step}; go on with --resume {run.folder}")
            return progress.step >= parts.total_steps
    return True


def train_step(
    model: Module, optimizer: SGD, batch: Batch, label_smoothing: float = 0.0
) -> tuple[float, int]:
    """One step of gradient descent on a batch; returns its loss and how many it got right.

    batch: images (N, H, W, 3) float32, labels (N,) integers, and with mixup soft labels (N, K),
    which the loss is then taken against.
    """
    images, labels = batch[:2]
    logits = model(tensor(images))
    loss = ops.cross_entropy(logits, batch[-1], label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item(), int((logits.numpy().argmax(1) == labels).sum())


def evaluate(model: Module, loader: Loader) -> tuple[float, float]:
    """The mean loss and the accuracy (0 to 1) of `model` on all pictures of `loader`."""
    was_training = model.training
    model.eval()
    loss_sum, correct, seen = 0.0, 0, 0
    try:
        with no_grad():
            for images, labels, *_ in loader.epoch(0):
                logits = model(tensor(images))
                loss_sum += ops.cross_entropy(logits, labels).item() * len(labels)
                correct += int((logits.numpy().argmax(1) == labels).sum())
                seen += len(labels)
    finally:
        model.train(was_training)
    return loss_sum / seen, correct / seen


def _close_epoch(
    parts: Parts, progress: Progress, test_every: int, log: Report, reporter: Reporter
) -> None:
    """The epoch's row: averages over its batches, and the test if it is due."""
    last = progress.step >= parts.total_steps
    row: dict[str, Any] = {
        "kind": "epoch",
        "step": progress.step,
        "epoch": progress.epoch,
        "train_loss": progress.loss_sum / progress.seen,
        "train_accuracy": progress.correct / progress.seen,
        "lr": parts.optimizer.lr,
    }
    progress.epoch += 1
    progress.batch = progress.seen = progress.correct = 0
    progress.loss_sum = 0.0
    if last or progress.epoch % test_every == 0:
        row["test_loss"], row["test_accuracy"] = evaluate(parts.model, parts.test)
    row["seconds"] = round(progress.seconds, 2)
    log(row)
    reporter.epoch(row)


def _expect_finite(loss: float, step: int) -> None:
    expect(
        np.isfinite(loss).item(),
        f"the loss of step {step} is {loss}: training diverged. Try a smaller optimizer.lr; "
        "the last checkpoint is from before",
        MinranError,
    )
