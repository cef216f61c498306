"""`python -m minran.bench.train_twin`: train the PyTorch twin by one of minran's recipes.

What a run of minran is compared with: the same network, initial weights, order of images,
augmentation, optimiser, learning rates and loss, computed by PyTorch. A folder like a run's comes
out, so `minran plot runs/cifar10-modern runs/twin` draws both.

Crops, mirrorings and cutout squares are those that `minran.data.Loader` draws for the recipe's
seed, image for image, so on a CPU minran and the twin see the same batches; minran on a GPU
draws its own in a kernel, with the same distribution. The images lie on the device and are cut
there. On a GPU, forward and backward pass are recorded as one CUDA graph (`--no-capture`: eager);
`torch.optim.SGD` moves all parameters, which lie in one array, in a few launches after it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minran import backend
from minran.arguments import add_options
from minran.data import Loader
from minran.data.augment import PAD
from minran.errors import BackendError, MinranError, RecipeError, expect, import_extra
from minran.files import write_atomically
from minran.train import Parts, Recipe, Run, environment, load_recipe
from minran.train.gpu import SLOTS, UnreadSteps
from minran.train.loop import Session
from minran.train.report import Reporter, StopRequest
from minran.train.start import opened

try:
    import torch
    import torch.nn.functional as F

    from minran.interop import create_twin, to_torch_state_dict
except ImportError:  # `train_twin` says so
    pass

WARMUP = 3
"""Eager passes before the recording: cuDNN chooses its kernels, memory comes to rest."""


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

    Raises BackendError without PyTorch or the GPU, RecipeError for mixup, ema, precise_norm and
    freeze, DataError or CheckpointError as `minran.train.train` does, MinranError if the loss
    diverges.
    """
    end = time.perf_counter() + max_seconds
    torch = import_extra("torch", "test", "train_twin needs PyTorch, which is not installed")
    expect(
        device == "cpu" or torch.cuda.is_available(),
        "train_twin --device gpu: this PyTorch finds no NVIDIA GPU; use --device cpu",
        BackendError,
    )
    augment, training = recipe.augment, recipe.training
    asked = {"mixup": augment.mixup, f"augment.kind {augment.kind!r}": augment.kind != "paper"}
    asked |= {name: getattr(training, name) for name in ("ema", "precise_norm", "freeze")}
    for name, value in asked.items():
        expect(not value, f"train_twin: the twin's trainer has no {name}", RecipeError)
    recipe = replace(recipe, training=replace(training, precise_norm=0))
    run = Run(folder)
    run.expect_free(force)
    backend.use("numpy")
    with opened(run, recipe, False, force, data_dir) as (parts, progress, history):
        recipe = parts.recipe
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


class Pictures:
    """The images of a loader on the device, cut there into the batches that it would make."""

    def __init__(self, loader: Loader, place: torch.device) -> None:
        self.loader, self.place = loader, place
        images, preprocess = loader.dataset.images[:], loader.preprocess
        pad = PAD if loader.augment else 0
        padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        self.padded, self.labels, self.mean = (
            torch.from_numpy(array).to(place)
            for array in (padded, loader.dataset.labels, preprocess.mean)
        )
        self.std = float(np.float32(preprocess.std))
        self.rows, self.columns = (torch.arange(n, device=place) for n in images.shape[1:3])

    def plan(self, epoch: int) -> torch.Tensor:
        """The loader's plans of all batches, sent to the device at once: (batches, 6, N) int64."""
        return torch.from_numpy(np.stack(list(self.loader.plans(epoch)))).to(self.place)

    def make(self, plan: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch from its plan: (N, 3, H, W) float32 in channels_last, (N,) labels."""
        number, top, left, mirrored, hidden_top, hidden_left = (part[:, None] for part in plan)
        rows = top + self.rows
        columns = left + torch.where(mirrored > 0, self.columns.flip(0), self.columns)
        cut = self.padded[number[:, :, None], rows[:, :, None], columns[:, None, :]]
        x = (cut.float() - self.mean) / self.std
        if size := self.loader.cutout:
            in_rows = (self.rows >= hidden_top) & (self.rows < hidden_top + size)
            in_columns = (self.columns >= hidden_left) & (self.columns < hidden_left + size)
            x = x.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[..., None], 0.0)
        return x.permute(0, 3, 1, 2), self.labels[plan[0]]


def flatten(model: torch.nn.Module) -> tuple[torch.nn.Parameter, torch.Tensor]:
    """One parameter that holds all of the model's, and its gradient; theirs become views of it.

    `torch.optim.SGD` then moves everything in a few launches. Every parameter keeps its shape and
    memory order, and begins at a multiple of 256 bytes.
    """
    params = list(model.parameters())
    starts = np.cumsum([0, *(-(-p.numel() // 64) * 64 for p in params)]).tolist()
    flat = torch.nn.Parameter(torch.zeros(starts[-1], device=params[0].device))
    gradient = flat.grad = torch.zeros_like(flat)
    for p, start in zip(params, starts):
        view = flat.data.as_strided(p.shape, p.stride(), start)
        view.copy_(p.data)
        p.data = view
        p.grad = gradient.as_strided(p.shape, p.stride(), start)
    return flat, gradient


class TwinSteps(UnreadSteps):
    """Steps of the twin, which starts with minran's initial weights.

    device: "cpu" or "gpu"; capture: whether a GPU records forward and backward pass once and
    replays them.
    """

    def __init__(self, recipe: Recipe, parts: Parts, device: str, capture: bool) -> None:
        super().__init__(recipe, parts)
        self.place = torch.device("cuda" if device == "gpu" else "cpu")
        tf32 = recipe.precision != "fp32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        classes = parts.train.dataset.num_classes
        model = create_twin(recipe.model.name, classes, **recipe.model.options)
        model.load_state_dict(to_torch_state_dict(parts.model.state_dict()))
        # PyTorch's stubs do not know that a Module takes a memory format.
        model.to(self.place, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model.train()
        flat, self.gradient = flatten(self.model)
        ours = recipe.optimizer
        self.optimizer = torch.optim.SGD(
            [flat], ours.lr, ours.momentum, weight_decay=ours.weight_decay, nesterov=ours.nesterov
        )
        self.pictures = Pictures(parts.train, self.place)
        self.plan = torch.zeros(6, parts.train.batch_size, dtype=torch.int64, device=self.place)
        self.outcomes = torch.zeros(SLOTS, 2, dtype=torch.float64, device=self.place)
        self.outcome = self.outcomes.new_zeros(2)
        self.mode = "eager"
        self._run = self._record() if capture and device == "gpu" else self.passes

    @property
    def facts(self) -> dict[str, Any]:
        """Whom this is and what it runs on, for environment.json."""
        on_gpu = self.place.type == "cuda"
        facts = {
            "backend": f"PyTorch twin, channels_last, {self.mode}",
            "torch": str(torch.__version__),
            "precision": self.recipe.precision if on_gpu else "fp32",
        }
        if on_gpu:
            facts["device"] = torch.cuda.get_device_name()
            facts["cudnn"] = str(torch.backends.cudnn.version())
        return facts

    def batches(self, epoch: int, start: int) -> Generator[torch.Tensor, None, None]:
        """The plan of each batch, on the device."""
        yield from self.pictures.plan(epoch)[start:]

    def launch(self, batch: torch.Tensor, step: int) -> None:
        """One step, without waiting for it on a GPU."""
        self.plan.copy_(batch)
        self._run()
        self.optimizer.param_groups[0]["lr"] = self.parts.optimizer.lr
        self.optimizer.step()
        self.outcomes[step % SLOTS] = self.outcome

    def read(self) -> np.ndarray:
        """Losses and right answers of the last steps; waits for the device."""
        return self.outcomes.cpu().numpy()

    def passes(self) -> None:
        """Forward and backward pass on the batch of `plan`: gradients and outcome."""
        images, labels = self.pictures.make(self.plan)
        self.gradient.zero_()
        short = self.place.type == "cuda" and self.recipe.precision == "bf16"
        with torch.autocast(self.place.type, torch.bfloat16, enabled=short):
            logits = self.model(images)
            smoothing = self.recipe.training.label_smoothing
            loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        loss.backward()
        right = (logits.argmax(1) == labels).sum()
        self.outcome.copy_(torch.stack([loss.detach().double(), right.double()]))

    def _record(self) -> Callable[[], object]:
        """`passes` as a CUDA graph; if it cannot be recorded, itself and a warning.

        The network is left as it was: warming up moves nothing but the running statistics, which
        are put back, and recording computes nothing.
        """
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        run: Callable[[], object] = self.passes
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARMUP):
                    self.passes()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.passes()
            run, self.mode = graph.replay, "forward and backward as a CUDA graph"
        except RuntimeError as error:
            torch.cuda.synchronize()
            warnings.warn(f"the twin runs eager: it could not be recorded ({error})", stacklevel=2)
        self.model.load_state_dict(before)
        return run

    def test(self) -> tuple[float, float]:
        """Mean loss (without smoothing) and accuracy on the test images."""
        loader = self.parts.test
        loss_sum, right = 0.0, 0
        self.model.eval()
        with torch.no_grad(), closing(loader.epoch(0)) as batches:
            for batch in batches:
                images, truth = (torch.from_numpy(array).to(self.place) for array in batch)
                logits = self.model(images.permute(0, 3, 1, 2))
                loss_sum += F.cross_entropy(logits, truth, reduction="sum").item()
                right += int((logits.argmax(1) == truth).sum().item())
        self.model.train()
        return loss_sum / len(loader.dataset), right / len(loader.dataset)


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and train; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m minran.bench.train_twin",
        description="Train the PyTorch twin by a recipe of minran.",
    )
    add_options(
        parser,
        ("--recipe", "a shipped recipe or a TOML file", {"required": True}),
        ("--out", "folder of the run (new)", {"required": True, "metavar": "FOLDER"}),
        ("--data-dir", "where the data set lies", {"metavar": "FOLDER"}),
        ("--device", "(default: cpu)", {"choices": ["cpu", "gpu"], "default": "cpu"}),
        ("--set", "change a recipe entry", {"action": "append", "metavar": "KEY=VALUE"}),
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
        recipe = load_recipe(options.pop("recipe"), options.pop("set") or ())
        rows = train_twin(recipe, options.pop("out"), **options)
    except MinranError as error:
        print(f"minran.bench.train_twin: {error}", file=sys.stderr)
        return 2
    last = rows[-1]
    print(f"test accuracy {last['test_accuracy']:.2%}, {last['seconds'] / 60:.1f} minutes")
    return 0
