"""The experiment of notebook 09: one network with different gates, trained and measured.

    python -m minran.workshop.course.gate_runs docs/results/gates

trains the runs that are missing in that folder, one file each, and writes `logs/gates.json`
next to this file anew from all of them.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np

from minran import ops
from minran.autograd import Tensor, tensor
from minran.errors import DataError
from minran.files import write_atomically
from minran.inspect.probe import attention_modules
from minran.models import AttentionModule
from minran.nn import Module, observe
from minran.train import (
    Parts,
    Recipe,
    build,
    environment,
    evaluate,
    load_recipe,
    precise_norm,
    train_step,
)
from minran.workshop.course.gates import replace_masks

LOG = Path(__file__).with_name("logs") / "gates.json"
RATE, PROBE = 0.3, 64
GATES: Mapping[str, str] = {
    "residual": "(1 + M) T",
    "naive": "M T",
    "no mask": "T",
    "doubled": "2 M T",
    "half": "T / 2",
}
"""What each kind of gate computes of trunk and mask."""
RUNS = [*((kind, RATE) for kind in GATES), ("naive", 0.1)]
"""Kind and learning rate."""
SEEDS = (0, 1, 2)


class Doubled(Module):
    """Twice a mask: between 0 and 2, and 1 in the mean of a fresh network."""

    def __init__(self, mask: Module) -> None:
        self.mask = mask

    def forward(self, u: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        return self.mask(u) * 2.0


class Half(Module):
    """A mask that looks at nothing: one half everywhere."""

    def forward(self, u: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        return tensor(np.full(u.shape, 0.5, u.dtype))


def gate_options(kind: str) -> dict[str, str]:
    """The options of the library's network that a kind of gate is made from."""
    masked = "none" if kind in ("no mask", "half") else "hourglass"
    return {"learning": "residual" if kind == "residual" else "naive", "mask": masked}


def gate_recipe(kind: str, *changes: str) -> Recipe:
    """How a network with this kind of gate is trained, except `put_gates`."""
    own = [f"model.options.{key}={json.dumps(value)}" for key, value in gate_options(kind).items()]
    return load_recipe("ablation-nano", [*own, *changes])


def put_gates(model: Module, kind: str) -> Module:
    """Give the network the gates that the library has no option for; returns it."""
    if kind == "half":
        return replace_masks(model, lambda channels: Half())
    if kind == "doubled":
        for _, module in attention_modules(model, "put_gates"):
            module.mask = Doubled(cast(Module, module.mask))  # type: ignore[assignment]
    return model


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Of two sets of maps (N, H, W, C), without the mean of each channel."""
    x, y = (z - z.mean(axis=(0, 1, 2), dtype=np.float64) for z in (x, y))
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def measure_gates(model: Module, images: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """One pass forward and back in training mode; of every attention module, in order:

    features: the mean of |output|; gradients: the root mean square of dL/dx at its input; past:
    the correlation of its output with the entry of its stage, which is the input of the stage's
    first module; others: the same with the entry of the next image; means and deviations: of its
    mask, where it has one. The network stays as it was.
    """
    names = {id(m): n for n, m in model.named_modules() if isinstance(m, AttentionModule)}
    masks = {id(m.mask) for _, m in model.named_modules() if isinstance(m, AttentionModule)}
    found: dict[str, list[float]] = defaultdict(list)
    entries: dict[str, np.ndarray] = {}
    inputs = []

    def keep(module: Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        values = output.numpy()
        if id(module) in masks:
            found["means"].append(float(values.mean()))
            found["deviations"].append(float(values.std()))
        if id(module) in names:
            inputs.append(given[0].retain_grad())
            stage = names[id(module)].rpartition(".")[0]
            entry = entries.setdefault(stage, given[0].numpy())
            found["features"].append(float(np.abs(values).mean()))
            found["past"].append(correlation(entry, values))
            found["others"].append(correlation(np.roll(entry, 1, axis=0), values))

    state, mode = model.state_dict(), model.training
    with observe(keep):
        loss = ops.cross_entropy(model.train()(tensor(images)), labels)
    loss.backward()
    model.train(mode).load_state_dict(state)
    model.zero_grad()
    slopes = [np.asarray(x.grad, np.float64) for x in inputs]
    found["gradients"] = [float(np.sqrt((slope**2).mean())) for slope in slopes]
    return dict(found)


def by_epoch(parts: Parts, look: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """Train; what `look` finds, the losses and the accuracy, before the first epoch and after each.

    The running statistics are taken anew before a test, so that they are those of the weights.
    """
    rows: list[dict[str, Any]] = []
    losses: list[float] = []
    for epoch in range(parts.total_steps // len(parts.train) + 1):
        if epoch:
            start, losses = (epoch - 1) * len(parts.train), []
            with closing(parts.train.epoch(epoch - 1)) as batches:
                for step, batch in enumerate(batches, start):
                    parts.optimizer.lr = parts.schedule(step)
                    losses.append(train_step(parts.model, parts.optimizer, batch)[0])
        precise_norm(parts.model.train(), parts.plain, 512)
        loss, accuracy = evaluate(parts.model, parts.test)
        row = {"train_loss": float(np.mean(losses)) if losses else None, "test_loss": loss}
        rows.append({**row, "test_accuracy": accuracy, **look()})
    return rows


def run(kind: str, rate: float, seed: int) -> dict[str, Any]:
    """Train one network, and measure its gates by epoch."""
    changes = "model.options.modules=[4, 4]", f"optimizer.lr={rate}", f"seed={seed}"
    parts = build(gate_recipe(kind, *changes))
    model, test = put_gates(parts.model, kind), parts.test.dataset
    images = parts.preprocess(np.asarray(test.images[:PROBE]))
    rows = by_epoch(parts, lambda: measure_gates(model, images, test.labels[:PROBE]))
    return {"kind": kind, "rate": rate, "seed": seed, "rows": rows, "made": environment()}


def gate_runs() -> list[dict[str, Any]]:
    """The shipped log: kind, rate and seed of each run, and its rows by epoch, from before on."""
    return json.loads(LOG.read_text(encoding="utf-8"))


def names() -> dict[str, tuple[str, float, int]]:
    """Every run by the name of its file."""
    runs = [(kind, rate, seed) for (kind, rate), seed in product(RUNS, SEEDS)]
    return {f"{k.replace(' ', '-')}-{rate:g}-seed-{s}.json": (k, rate, s) for k, rate, s in runs}


def collect(folder: Path, files: Iterable[str]) -> list[dict[str, Any]]:
    """What a log holds, from the files of a folder: all but their environment, in six digits."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(each) for key, each in value.items() if key != "made"}
        if isinstance(value, list):
            return [short(each) for each in value]
        return float(f"{value:.6g}") if isinstance(value, float) else value

    return [short(json.loads((folder / file).read_text(encoding="utf-8"))) for file in files]


def make(
    folder: Path, log: Path, runs: Mapping[str, tuple[Any, ...]], how: Callable[..., Any]
) -> None:
    """Make the files that are missing in the folder, one run after another; then write the log."""
    for file, arguments in runs.items():
        if not (folder / file).exists():
            done = how(*arguments)
            write_atomically(folder / file, json.dumps(done, indent=1) + "\n", DataError)
            print(f"{file}: {done['rows'][-1]['test_accuracy']:.1%}", flush=True)
    write_atomically(log, json.dumps(collect(folder, runs)) + "\n", DataError)


if __name__ == "__main__":
    make(Path(sys.argv[1]), LOG, names(), run)
