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
from pathlib import Path
from typing import Any

from minran import backend
from minran.arguments import add_options
from minran.errors import BackendError, MinranError, RecipeError, expect, import_extra
from minran.files import write_atomically
from minran.train import Recipe, Run, environment, load_recipe
from minran.train.loop import Session
from minran.train.report import Reporter, StopRequest
from minran.train.start import opened


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

    Raises BackendError without PyTorch or the GPU, RecipeError for a recipe with mixup or ema,
    DataError or CheckpointError as `minran.train.train` does, MinranError if the loss diverges.
    """
    end = time.perf_counter() + max_seconds
    torch = import_extra("torch", "test", "train_twin needs PyTorch, which is not installed")
    expect(
        device == "cpu" or torch.cuda.is_available(),
        "train_twin --device gpu: this PyTorch finds no NVIDIA GPU; use --device cpu",
        BackendError,
    )
    expect(not recipe.augment.mixup, "train_twin: the twin's trainer has no mixup", RecipeError)
    expect(not recipe.training.ema, "train_twin: the twin's trainer has no ema", RecipeError)
    from minran.workshop.bench.twin_steps import TwinSteps

    run = Run(folder)
    run.expect_free(force)
    backend.use("numpy")
    with opened(run, recipe, False, force, data_dir) as (parts, progress, history):
        reporter = Reporter(parts.total_steps, parts.train.batch_size, quiet)
        with StopRequest(quiet, end) as stop, reporter:
            clock = time.perf_counter()
            steps = TwinSteps(recipe, parts, device, capture)
            progress.seconds = time.perf_counter() - clock  # setting up counts, tests do not
            facts = {**environment(), **steps.facts}
            _write(run, facts)
            session = _Session(recipe, parts, steps, run, progress, history, stop, reporter)
            finished = session.fit()
            if not finished:
                reporter.say(f"stopped after step {progress.step} of {progress.total_steps}")
            _write(run, {**facts, "last_step": progress.step, "finished": finished})
    return history.rows


def _write(run: Run, facts: dict[str, Any]) -> None:
    """environment.json: a list of sessions, as a run has it; here there is one."""
    write_atomically(run.environment_file, json.dumps([facts], indent=2).encode())


class _Session(Session):
    """A run without checkpoints, in which the last step closes its epoch with a test."""

    def _is_due(self, step: int) -> bool:
        return super()._is_due(step) or self.stop.asked()

    def _epoch_is_done(self) -> bool:
        return super()._epoch_is_done() or self.stop.asked()

    def _test_is_due(self) -> bool:
        return super()._test_is_due() or self.stop.asked()

    def _save(self, path: Path) -> None:
        pass


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and train; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m minran.workshop.bench.train_twin",
        description="Train the PyTorch twin by a recipe of minran.",
    )
    add_options(
        parser,
        ("--recipe", "a shipped recipe or a TOML file", {"required": True}),
        ("--out", "folder of the run (new)", {"required": True, "metavar": "FOLDER"}),
        ("--data-dir", "where the data set lies", {"metavar": "FOLDER"}),
        ("--device", "(default: cpu)", {"choices": ["cpu", "gpu"], "default": "cpu"}),
        (
            "--set",
            "change a recipe entry",
            {"action": "append", "default": [], "metavar": "KEY=VALUE"},
        ),
        (
            "--max-seconds",
            "stop, test and write then",
            {"type": float, "default": math.inf, "metavar": "S"},
        ),
        (
            "--no-capture",
            "on a GPU, record no graph",
            {"action": "store_false", "dest": "capture"},
        ),
        ("--force", "overwrite the run in FOLDER", False),
        ("--quiet", "print nothing while training", False),
    )
    options = vars(parser.parse_args(arguments))
    try:
        recipe = load_recipe(options.pop("recipe"), options.pop("set"))
        rows = train_twin(recipe, options.pop("out"), **options)
    except MinranError as error:
        print(f"minran.workshop.bench.train_twin: {error}", file=sys.stderr)
        return 2
    last = rows[-1]
    print(f"test accuracy {last['test_accuracy']:.2%}, {last['seconds'] / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
