"""One run of the bench: from the options to what is measured, and to tables, JSON and picture."""

from __future__ import annotations

import argparse
import itertools
import math
import shlex
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from minran import machine
from minran.arguments import takes
from minran.errors import RecipeError, expect
from minran.files import PICTURES, expect_ending
from minran.train import environment
from minran.workshop.bench import contenders, report
from minran.workshop.bench.compare import Measurement, compare, team_of
from minran.workshop.bench.rounds import Settings

STAGES = ((64, 32), (128, 16), (256, 8))
"""Width and size of the maps in the three stages of the CIFAR networks."""

SCALING_BATCHES = (16, 32, 64, 128, 256)
SCALING_MODELS = ("attention56_cifar", "attention92_cifar", "attention128_cifar")

NETWORK_JOBS = ("step", "inference")
JOBS = (*NETWORK_JOBS, "data", "import")
TABLES = ("ops", "peers", "scaling", "decisions")

COPY_BYTES = 1 << 28


def run(args: argparse.Namespace) -> int:
    """Measure, print and save as `args` say; 1 if not a single job could be measured."""
    for name in ("rounds", "warmup", "threads", "processes"):
        value = getattr(args, name)
        expect(
            value is None or value >= 1,
            f"bench: --{name} must be at least 1, got {value}",
            RecipeError,
        )
    expect(
        all(batch >= 1 for batch in args.batch or []),
        f"bench: --batch must be at least 1, got {args.batch}",
        RecipeError,
    )
    _expect_used(args)
    for name, endings in (("json", (".json",)), ("plot", PICTURES)):
        if getattr(args, name) is not None:
            expect_ending(getattr(args, name), endings, f"bench: --{name}")
    session = Session(args)
    print(report.facts(session.environment, asdict(session.settings)), flush=True)
    (session.on_gpu if args.device == "gpu" else session.on_cpu)()
    session.save()
    if args.plot:
        report.plot(session.document(), args.plot)
        print(f"picture: {args.plot}")
    if args.json:
        print(f"results: {args.json}")
    return 0 if any(each["rounds"] for found in session.found.values() for each in found) else 1


def _expect_used(args: argparse.Namespace) -> None:
    """Refuse options that what is measured has no use for."""
    always = ["only", "rounds", "warmup", "threads", "device", "json", "plot"]
    if args.device == "gpu":
        takes(args, "bench --device gpu", *always, "model", "batch", "precision", "budget")
        return
    tables = [name for name in TABLES if getattr(args, name)]
    jobs = set(args.jobs or ([] if tables else JOBS))
    models = bool(jobs.intersection(NETWORK_JOBS))
    batches = models or "data" in jobs
    used = [*always, "limit", "extra_rounds", "patience", "jobs", *tables]
    used += ["model"] if models or args.decisions else []
    used += ["batch"] if batches or set(tables) - {"scaling"} else []
    used += ["processes"] if models else []
    mode = " ".join(f"--{name}" for name in [*tables, *(["jobs"] if args.jobs else [])])
    takes(args, f"bench {mode or '--device cpu'}", *used)
    for name, several in (("model", models), ("batch", batches)):
        values = getattr(args, name) or []
        expect(
            several or len(values) <= 1,
            f"bench {mode} takes one --{name}, got {' and '.join(map(str, values))}",
            RecipeError,
        )


class Session:
    """What was measured so far; the JSON is written again after each measurement."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        gpu = args.device == "gpu"
        self.settings = Settings(
            rounds=args.rounds,
            extra_rounds=args.extra_rounds,
            warmup=args.warmup,
            threads=args.threads or len(machine.cores()),
            limit=args.limit,
            patience=args.patience,
            processes=args.processes,
            device=args.device,
            precision=args.precision if gpu else "fp32",
            only=tuple(args.only),
            **({"deadline": time.monotonic() + args.budget} if gpu else {}),
        )
        self.models: list[str] = args.model or ["attention56_cifar"]
        for model in self.models:
            network_options(model, 1)  # an unknown name is told before anything runs
        self.batches: list[int] = args.batch or ([128, 64, 512] if gpu else [64])
        self.environment = environment()
        # As a reader would type it, without the folder that this minran lies in.
        program = "minran" if Path(sys.argv[0]).name == "minran" else "python -m minran.bench"
        self.environment["command"] = shlex.join([*program.split(), *sys.argv[1:]])
        self.roofline: list[dict[str, Any]] = []
        self.found: dict[str, list[Measurement]] = {}

    def on_cpu(self) -> None:
        """The sections that were asked for; networks, data and import if none was."""
        args, settings = self.args, self.settings
        if args.ops:
            self.ops()
        if args.peers:
            # Pre-activation units at the width and size of each stage, forward and backward.
            for width, size in STAGES:
                options = {"batch": self.batches[0], "width": width, "size": size, "count": 3}
                self.add("peers", compare("units", options, contenders.PEERS, settings))
        if args.scaling:
            self.scaling()
        if args.decisions:
            options = network_options(self.models[0], self.batches[0])
            self.add("decisions", compare("step", options, contenders.DECISIONS, settings))
        jobs = args.jobs or ([] if any(getattr(args, table) for table in TABLES) else JOBS)
        asked = [job for job in jobs if job in NETWORK_JOBS]
        for model, batch, job in itertools.product(self.models, self.batches, asked):
            options = network_options(model, batch)
            self.add("networks", compare(job, options, contenders.NETWORKS, settings))
        if "step" in jobs:
            self.add_roofline()
        if "data" in jobs:
            for batch in self.batches:
                self.add("data", compare("data", {"batch": batch}, ("minran",), settings))
        if "import" in jobs:
            # A start lasts a tenth of a second, in which the counters move by tenths themselves.
            limit = max(settings.limit, 0.3)
            once = replace(settings, turn_seconds=0.0, limit=limit, only=())
            names = tuple(contenders.IMPORTS)
            self.add("import", compare("import", {}, names, once, contenders.IMPORTS))

    def ops(self) -> None:
        """Every case forward alone, then forward and backward; the workers stay for all of them."""
        # Shorter turns; a disturbed one is repeated, not waited for. In a short turn the hundredths
        # of a second of the counters weigh more: the limit is wider.
        settings = self.settings
        limit = max(settings.limit, 0.15)
        quick = replace(settings, turn_seconds=0.3, patience=0.0, limit=limit)
        with team_of(contenders.OPS, quick) as team:
            for number, case in enumerate(op_cases(self.batches[0]), 1):
                for backward in (False, True):
                    measured = team.measure("op", {**case, "backward": backward})
                    self.add("ops", measured, show=False)
                if sys.stdout.isatty():
                    print(f"\r  operations: {number}", end="", flush=True)
        print("\n" + report.ops_text(self.found["ops"]))

    def scaling(self) -> None:
        """The training step by batch size, then by depth."""
        sizes = [(SCALING_MODELS[0], batch) for batch in SCALING_BATCHES]
        for model, batch in [*sizes, *((model, 64) for model in SCALING_MODELS[1:])]:
            options, names = network_options(model, batch), ("minran", contenders.TORCH)
            self.add("scaling", compare("step", options, names, self.settings))
        print("\n" + report.scaling_text(self.found["scaling"]))

    def on_gpu(self) -> None:
        """The training step, most important batch first, until the time is up; then the roofline.

        Launches are asynchronous and the host may share its cores: longer turns, no repeats.
        """
        settings = replace(
            self.settings, extra_rounds=0, patience=0.0, warmup=max(5, self.settings.warmup)
        )
        for model in self.models:
            # The second group compiles for minutes: what was measured before is safe.
            for group in (contenders.GPU, contenders.GPU_COMPILED):
                for batch in self.batches:
                    with team_of(group, settings) as team:
                        options = network_options(model, batch)
                        measured = team.measure("step", options, group == contenders.GPU)
                    self.add("networks", measured)
                    if "kernels" in measured:
                        rows = [
                            [name, report.milliseconds(seconds)]
                            for name, seconds in measured["kernels"].items()
                        ]
                        print(report.table(["kernels of our eager step", "ms"], rows), flush=True)
        self.add_roofline()

    def add(self, section: str, measured: Measurement, show: bool = True) -> None:
        """Keep a measurement, show it, save what there is."""
        measured = {"title": report.describe(measured), **measured}
        self.found.setdefault(section, []).append(measured)
        if show:
            print("\n" + report.text(measured), flush=True)
        self.save()

    def add_roofline(self) -> None:
        """How near each step comes to the time in which its bytes could be moved.

        Copying a large array shows at which rate this machine moves bytes: each is read and
        written.
        """
        steps = [each for each in self.found.get("networks", []) if each["job"] == "step"]
        copied = compare("copy", {"bytes": COPY_BYTES}, ("minran",), self.settings)
        self.found["copy"] = [{"title": report.describe(copied), **copied}]
        rate = 2 * COPY_BYTES / (report.median(copied, "minran") or math.inf)
        for measured in steps:
            options, name = measured["options"], measured["reference"]
            seconds = report.median(measured, name)
            size = report.row(measured, "minran").get("step_bytes")
            if not (seconds and rate and size):
                continue
            share = size / rate / seconds
            self.roofline.append(
                {
                    **options,
                    "contender": name,
                    "bytes": size,
                    "bytes_per_second": rate,
                    "share": share,
                }
            )
            print(
                f"\n{options['model']}, batch {options['batch']}: a step moves about "
                f"{size / 1e9:.1f} GB of maps; copying runs at {rate / 1e9:.1f} GB/s, so "
                f"{report.milliseconds(size / rate)} ms, {100 * share:.0f}% of the step",
                flush=True,
            )

    def document(self) -> dict[str, Any]:
        """What the JSON holds."""
        settings = {**asdict(self.settings), "deadline": None}
        if self.args.device == "gpu":
            settings["budget"] = self.args.budget
        return {
            "environment": self.environment,
            "settings": settings,
            "sections": self.found,
            "roofline": self.roofline,
        }

    def save(self) -> None:
        """Write the JSON, if one was asked for."""
        if self.args.json:
            report.save(self.args.json, self.document())


def network_options(model: str, batch: int) -> dict[str, Any]:
    """The options of a network's jobs. Raises RecipeError for a model that does not exist."""
    from minran.models.ran import SPECS

    expect(model in SPECS, f"no model {model!r}; there are {', '.join(SPECS)}", RecipeError)
    spec = SPECS[model]
    return {"model": model, "batch": batch, "size": spec.image_size, "classes": spec.num_classes}


def op_cases(batch: int) -> list[dict[str, Any]]:
    """Every operation of Attention-56 for CIFAR, at the shapes that it has there."""

    def op(kind: str, size: int, channels: int, **options: int) -> dict[str, Any]:
        return {"kind": kind, "shape": [batch, size, size, channels], **options}

    cases = [op("conv2d", 32, 3, out=16, kernel=3, stride=1)]
    for width, size in STAGES:
        narrow = width // 4
        for kind in ("conv2d", "norm_relu_conv2d"):
            cases += [
                op(kind, size, width, out=narrow, kernel=1, stride=1),
                op(kind, size, narrow, out=narrow, kernel=3, stride=1),
                op(kind, size, narrow, out=width, kernel=1, stride=1),
            ]
        cases += [
            op("norm_relu_conv2d", size, width, out=width, kernel=1, stride=1),
            op("batch_norm_relu", size, width),
            op("max_pool2d", size, width),
            op("upsample_bilinear2d", size // 2, width, out=size),
            op("sigmoid", size, width),
            op("gate", size, width),
        ]
    return [
        *cases,
        op("norm_relu_conv2d", 32, 32, out=32, kernel=3, stride=2),
        op("norm_relu_conv2d", 16, 64, out=64, kernel=3, stride=2),
        op("global_avg_pool", 8, 256),
        {"kind": "linear", "shape": [batch, 256], "out": 10},
        {"kind": "cross_entropy", "shape": [batch, 10]},
    ]
