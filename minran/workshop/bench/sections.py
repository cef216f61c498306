"""The sections of a report: which jobs are measured, and for whom."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from minran.errors import RecipeError, expect
from minran.workshop.bench import contenders
from minran.workshop.bench.compare import Measurement, Settings, Team, compare, quick
from minran.workshop.bench.contenders import Contender, is_installed
from minran.workshop.bench.guard import Watch, this_machine, wait_until_quiet
from minran.workshop.bench.processes import environment
from minran.workshop.bench.rounds import in_turn

STAGES = ((64, 32), (128, 16), (256, 8))
"""Width and size of the maps in the three stages of the CIFAR networks."""

SCALING_BATCHES = (16, 32, 64, 128, 256)
SCALING_MODELS = ("attention56_cifar", "attention92_cifar", "attention128_cifar")

NETWORK_JOBS = ("step", "inference")
OTHER_JOBS = ("data", "import")

COPY_BYTES = 1 << 28


def network_options(model: str, batch: int) -> dict[str, Any]:
    """The options of a network's jobs. Raises RecipeError for a model that does not exist."""
    from minran.models import ran, resnet

    specs: dict[str, Any] = {**ran.SPECS, **resnet.SPECS}
    expect(model in specs, f"no model {model!r}; there are {', '.join(specs)}", RecipeError)
    spec = specs[model]
    return {"model": model, "batch": batch, "size": spec.image_size, "classes": spec.num_classes}


def networks(
    models: list[str], batches: list[int], jobs: list[str], settings: Settings
) -> Iterator[Measurement]:
    """Step and inference of every model at every batch size."""
    for model in models:
        for batch in batches:
            for job in (each for each in jobs if each in NETWORK_JOBS):
                yield compare(job, network_options(model, batch), contenders.NETWORKS, settings)


def data(batches: list[int], settings: Settings) -> Iterator[Measurement]:
    """What a batch of augmented pictures costs."""
    for batch in batches:
        yield compare("data", {"batch": batch}, ("minran",), settings)


def copies(settings: Settings) -> Measurement:
    """Copying a large array: the rate at which this machine moves bytes."""
    return compare("copy", {"bytes": COPY_BYTES}, ("minran",), settings)


def bandwidth(measured: Measurement) -> float | None:
    """Bytes a second that a copy reads and writes."""
    seconds = measured.median("minran")
    return 2 * COPY_BYTES / seconds if seconds else None


def peers(batch: int, settings: Settings, count: int = 3) -> Iterator[Measurement]:
    """Three pre-activation units at the width and size of each stage, forward and backward."""
    for width, size in STAGES:
        options = {"batch": batch, "width": width, "size": size, "count": count}
        yield compare("units", options, contenders.PEERS, settings)


def decisions(model: str, batch: int, settings: Settings) -> Measurement:
    """The training step with one design decision taken back at a time."""
    return compare("step", network_options(model, batch), contenders.DECISIONS, settings)


def scaling(settings: Settings) -> Iterator[Measurement]:
    """The training step by batch size, then by depth."""
    names = ("minran", "torch_channels_last")
    for batch in SCALING_BATCHES:
        yield compare("step", network_options(SCALING_MODELS[0], batch), names, settings)
    for model in SCALING_MODELS[1:]:
        yield compare("step", network_options(model, 64), names, settings)


def op_cases(batch: int) -> list[dict[str, Any]]:
    """Every operation of Attention-56 for CIFAR, at the shapes that it has there."""
    cases: list[dict[str, Any]] = [_op("conv2d", batch, 32, 3, out=16, kernel=3, stride=1)]
    for width, size in STAGES:
        narrow = width // 4
        for kind in ("conv2d", "norm_relu_conv2d"):
            cases += [
                _op(kind, batch, size, width, out=narrow, kernel=1, stride=1),
                _op(kind, batch, size, narrow, out=narrow, kernel=3, stride=1),
                _op(kind, batch, size, narrow, out=width, kernel=1, stride=1),
            ]
        cases += [
            _op("norm_relu_conv2d", batch, size, width, out=width, kernel=1, stride=1),
            _op("batch_norm_relu", batch, size, width),
            _op("max_pool2d", batch, size, width),
            _op("upsample_bilinear2d", batch, size // 2, width, out=size),
            _op("sigmoid", batch, size, width),
            _op("gate", batch, size, width),
        ]
    cases += [
        _op("norm_relu_conv2d", batch, 32, 32, out=32, kernel=3, stride=2),
        _op("norm_relu_conv2d", batch, 16, 64, out=64, kernel=3, stride=2),
        _op("global_avg_pool", batch, 8, 256),
        {"kind": "linear", "shape": [batch, 256], "out": 10},
        {"kind": "cross_entropy", "shape": [batch, 10]},
    ]
    return cases


def _op(kind: str, batch: int, size: int, channels: int, **options: int) -> dict[str, Any]:
    return {"kind": kind, "shape": [batch, size, size, channels], **options}


def ops(batch: int, settings: Settings) -> Iterator[Measurement]:
    """Every case forward alone, then forward and backward; the workers stay for all of them."""
    with Team(contenders.OPS, quick(settings)) as team:
        for case in op_cases(batch):
            for backward in (False, True):
                yield team.measure("op", {**case, "backward": backward})


IMPORTS = {
    "python": ("Python alone", "pass", ()),
    "numpy": ("import numpy", "import numpy", ()),
    "minran": ("import minran", "import minran", ()),
    "torch": ("import torch", "import torch", ("torch",)),
}


def imports(settings: Settings) -> Measurement:
    """A fresh Python that imports minran, beside one that imports NumPy alone."""
    entries = [
        Contender(name, label, code, needs)
        for name, (label, code, needs) in IMPORTS.items()
        if all(map(is_installed, needs))
    ]
    machine = this_machine()
    result = Measurement("import", {}, entries, calls=dict.fromkeys((e.name for e in entries), 1))
    runners = {entry.name: _starter(entry.adapter, settings.threads) for entry in entries}
    for start in runners.values():
        start()  # files come from the disk's cache from now on
    result.rounds = in_turn(
        runners,
        lambda name: Watch(os.getpid(), machine),
        settings.rounds,
        settings.extra_rounds if machine else 0,
        # A start lasts a tenth of a second, in which the counters move by tenths themselves.
        max(settings.limit, 0.3),
        lambda: wait_until_quiet(machine, settings.patience, settings.limit),
    )
    return result


def _starter(code: str, threads: int) -> Callable[[], float]:
    def start() -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], env=environment(threads), check=True)
        return time.perf_counter() - begin

    return start


def gpu(models: list[str], batches: list[int], settings: Settings) -> Iterator[Measurement]:
    """The training step on a GPU, most important batch first, until the time is up."""
    # Launches are asynchronous and the host may share its cores: longer turns, no repeats.
    settings = replace(settings, extra_rounds=0, patience=0.0, warmup=max(5, settings.warmup))
    for model in models:
        for batch in batches:
            with Team(contenders.GPU, settings) as team:
                yield team.measure("step", network_options(model, batch), kernels=True)
        # It compiles for minutes: what was measured before is safe.
        for batch in batches:
            with Team(contenders.GPU_COMPILED, settings) as team:
                yield team.measure("step", network_options(model, batch))
