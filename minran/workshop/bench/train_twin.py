"""`python -m minran.workshop.bench.train_twin`: train the PyTorch twin by one of minran's recipes.

What a run of minran is compared with: the same network, initial weights, order of pictures,
augmentation, optimiser, learning rates and loss, computed by PyTorch. A folder like a run's comes
out, so `minran plot runs/cifar10-modern runs/twin` draws both.

Crops, mirrorings and cutout squares are those that `minran.data.Loader` draws for the recipe's
seed, picture for picture, so on a CPU minran and the twin see the same batches; minran on a GPU
draws its own in a kernel, with the same distribution. The pictures lie on the device and are cut
there. On a GPU, forward and backward pass are recorded as one CUDA graph (`--no-capture`: eager);
`torch.optim.SGD` moves all parameters, which lie in one array, in a few launches behind it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minran import backend
from minran.errors import BackendError, MinranError, RecipeError, expect, import_extra
from minran.files import write_atomically
from minran.train import History, Parts, Progress, Recipe, Run, build, environment, load_recipe
from minran.train.report import Reporter, StopRequest

if TYPE_CHECKING:
    from minran.workshop.bench.twin_steps import TwinSteps


def train_twin(
    recipe: Recipe,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    max_seconds: float = math.inf,
    capture: bool = True,
    force: bool = False,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Train the twin of the recipe's network; returns the rows of the history.

    The folder gets recipe.toml, environment.json and history.jsonl as a run of minran has them.
    After `max_seconds`, or Ctrl-C, the step under way is the last one: it closes its epoch with
    a test, and environment.json says after which step the run stopped. There is no resuming.

    Raises BackendError without PyTorch or the GPU, RecipeError for a recipe with mixup, DataError
    or CheckpointError as `minran.train.train` does, MinranError if the loss diverges.
    """
    began = time.perf_counter()
    _expect_torch(device)
    expect(not recipe.augment.mixup, "train_twin: the twin's trainer has no mixup", RecipeError)
    expect(not recipe.training.ema, "train_twin: the twin's trainer has no ema", RecipeError)
    from minran.workshop.bench.twin_steps import TwinSteps

    run = Run(folder)
    run.expect_free(force)
    backend.use("numpy")
    parts = build(recipe, data_dir)
    with run.lock():
        run.create(recipe, force)
        history = History(run.history_file, keep=0)
        reporter = Reporter(parts.total_steps, parts.train.batch_size, quiet)
        with StopRequest(quiet) as stop, reporter:
            clock = time.perf_counter()
            session = _Session(
                recipe, parts, TwinSteps(recipe, parts, device, capture), history, reporter
            )
            session.progress.seconds = time.perf_counter() - clock
            facts = {**environment(), **session.steps.facts}
            _write(run, facts)
            session.fit(lambda: stop.requested or time.perf_counter() - began > max_seconds)
            _write(run, {**facts, "last_step": session.progress.step, "finished": session.finished})
    return history.rows


class _Session:
    """The loop: `minran.train.loop`'s without checkpoints, and rows only when the device is read.

    `seconds` counts setting up, recording and training, not the tests, as a run's does.
    """

    def __init__(
        self,
        recipe: Recipe,
        parts: Parts,
        steps: TwinSteps,
        history: History,
        reporter: Reporter,
    ) -> None:
        self.recipe, self.parts, self.steps = recipe, parts, steps
        self.history, self.reporter = history, reporter
        self.progress = Progress(total_steps=parts.total_steps)

    @property
    def finished(self) -> bool:
        """Whether all steps of the recipe are done."""
        return self.progress.finished

    def fit(self, should_stop: Callable[[], bool]) -> None:
        """Epochs of steps until the recipe's end or a wish to stop, at least one step."""
        progress, stopping = self.progress, False
        while not (self.finished or stopping):
            clock = time.perf_counter()
            stopping = self._steps(should_stop)
            progress.seconds += time.perf_counter() - clock
            self._close_epoch(stopping)
        if not self.finished:
            self.reporter.say(f"stopped after step {progress.step} of {progress.total_steps}")

    def _steps(self, should_stop: Callable[[], bool]) -> bool:
        """The steps of one epoch, or those until a wish to stop: then True."""
        progress, every = self.progress, self.recipe.training.log_every
        progress.batch = 0
        self.steps.start_epoch(progress.epoch)
        while progress.batch < len(self.parts.train) and not self.finished:
            lr = self.parts.schedule(progress.step)
            self.steps.take(progress.batch, lr)
            progress.step += 1
            progress.batch += 1
            if progress.step % every == 0:
                loss = self._read()
                self._log("step", loss=loss, lr=lr)
                self.reporter.step(progress, loss, lr)
            if should_stop():
                break
        self._read()
        return progress.batch < len(self.parts.train)

    def _read(self) -> float:
        """The last loss; the epoch's sums go to `progress`. Raises MinranError if it diverged."""
        progress = self.progress
        loss, progress.loss_sum, progress.correct = self.steps.read()
        progress.seen = progress.batch * self.parts.train.batch_size
        if not math.isfinite(progress.loss_sum):
            raise MinranError(
                f"training diverged before step {progress.step}: a loss was not finite"
            )
        return loss

    def _close_epoch(self, stopping: bool) -> None:
        """The epoch's row, as `minran.train` writes it, with the test if it is due."""
        progress = self.progress
        values: dict[str, Any] = {
            "train_loss": progress.loss_sum / progress.seen,
            "train_accuracy": progress.correct / progress.seen,
            "lr": self.parts.schedule(progress.step - 1),
        }
        due = (progress.epoch + 1) % self.recipe.training.test_every == 0
        if due or stopping or self.finished:
            values["test_loss"], values["test_accuracy"] = self.steps.test()
        values["seconds"] = round(progress.seconds, 2)
        self.reporter.epoch(self._log("epoch", **values))
        progress.epoch += 1

    def _log(self, kind: str, **values: Any) -> dict[str, Any]:
        progress = self.progress
        row = {"kind": kind, "step": progress.step, "epoch": progress.epoch + 1, **values}
        return self.history.append(row)


def _write(run: Run, facts: dict[str, Any]) -> None:
    """environment.json: a list of sessions, as a run has it; here there is one."""
    write_atomically(run.environment_file, json.dumps([facts], indent=2).encode())


def _expect_torch(device: str) -> None:
    """Raise BackendError unless PyTorch is there, and with it the GPU that is asked for."""
    torch = import_extra("torch", "test", "train_twin needs PyTorch, which is not installed")
    expect(
        device == "cpu" or torch.cuda.is_available(),
        "train_twin --device gpu: this PyTorch finds no NVIDIA GPU; use --device cpu",
        BackendError,
    )


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and train; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m minran.workshop.bench.train_twin",
        description="Train the PyTorch twin by a recipe of minran.",
    )
    parser.add_argument("--recipe", required=True, help="a shipped recipe or a TOML file")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the run (new)")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where the data set lies")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="(default: cpu)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe entry"
    )
    parser.add_argument(
        "--max-seconds", type=float, default=math.inf, metavar="S", help="stop, test and write then"
    )
    parser.add_argument("--no-capture", action="store_true", help="on a GPU, record no graph")
    parser.add_argument("--force", action="store_true", help="overwrite the run in FOLDER")
    parser.add_argument("--quiet", action="store_true", help="print nothing while training")
    args = parser.parse_args(arguments)
    try:
        rows = train_twin(
            load_recipe(args.recipe, args.set),
            args.out,
            data_dir=args.data_dir,
            device=args.device,
            max_seconds=args.max_seconds,
            capture=not args.no_capture,
            force=args.force,
            quiet=args.quiet,
        )
    except MinranError as error:
        print(f"minran.workshop.bench.train_twin: {error}", file=sys.stderr)
        return 2
    last = rows[-1]
    print(f"test accuracy {last['test_accuracy']:.2%}, {last['seconds'] / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
