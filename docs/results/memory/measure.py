"""The memory that `inspect.memory` says, beside what processes took. Prints JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

import numpy as np

import minran
from minran import inspect, machine, optim
from minran.train import load_recipe, train, train_step

STEPS = [  # network, pictures a step, pixels
    ("attention56", 16, 224),
    ("attention56", 4, 320),
    ("attention92", 4, 224),
    ("attentionnext56", 8, 112),
    ("attentioninception56", 8, 112),
    ("attention56_cifar", 16, 32),
    ("attention56_cifar", 128, 32),
    ("attention56_cifar", 32, 64),
    ("attention_small_cifar", 32, 100),
    ("attention_small_cifar", 256, 32),
    ("resnet164_cifar", 32, 32),
]
RUNS = [("attention_small_cifar", 128, 32, 0.0), ("attention56_cifar", 32, 32, 0.99)]
PICTURES, TEST = 1024, 250


def step(name: str, batch: int, size: int) -> int:
    """Two steps on random pictures; the peak of this process."""
    model = minran.create_model(name, num_classes=10).train()
    sgd = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = np.random.default_rng(0).random((batch, size, size, 3), np.float32)
    for _ in range(2):
        train_step(model, sgd, (images, np.arange(batch) % 10))
    return machine.peak_bytes()


def run(name: str, batch: int, size: int, ema: float) -> int:
    """A run of two epochs over built-in shapes, with tests and checkpoints."""
    changes = [f"data.train_count={PICTURES}", f"data.test_count={TEST}", f"data.size={size}"]
    changes += [f"model.name={name}", f"training.batch_size={batch}", f"training.ema={ema}"]
    recipe = load_recipe("cifar10-small", ["data.name=shapes", *changes, "training.epochs=2"])
    with tempfile.TemporaryDirectory() as folder:
        train(recipe, folder + "/run", quiet=True)
    return machine.peak_bytes()


def expected(name: str, batch: int, size: int, test: int = 0, ema: bool = False) -> int:
    """What is said beforehand."""
    model = minran.create_model(name, num_classes=10)
    pictures = (PICTURES + test) * size * size * 3 if test else 0  # those of a run lie in memory
    return pictures + inspect.memory(model, batch, size, test_batch=test, averaged=ema).total


def measured(kind: str, *args: object) -> int:
    """The same in a process of its own."""
    command = [sys.executable, __file__, kind, json.dumps(args)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Every row, in a process of its own."""
    rows = []
    for kind, cases in (("step", STEPS), ("run", RUNS)):
        for name, batch, size, *ema in cases:
            options = (TEST, bool(ema[0])) if ema else ()
            said, took = (
                expected(name, batch, size, *options),
                measured(kind, name, batch, size, *ema),
            )
            rows.append(
                {
                    "kind": kind,
                    "network": name,
                    "batch": batch,
                    "size": size,
                    "expected": said,
                    "measured": took,
                    "ratio": round(said / took, 3),
                }
            )
            print(rows[-1], file=sys.stderr)
    facts = machine.facts() | {"threads": minran.backend.current().threads()}
    print(json.dumps({"environment": facts, "rows": rows}, indent=1))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print({"step": step, "run": run}[sys.argv[1]](*json.loads(sys.argv[2])))
    else:
        main()
