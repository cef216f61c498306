"""One run of the bench: from the options to what is measured, and to tables, JSON and figure."""

from __future__ import annotations

import argparse
import itertools
import math
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from minran import machine
from minran.arguments import takes
from minran.errors import RecipeError, expect
from minran.files import PICTURES, expect_ending
from minran.models import create_model
from minran.models.ran import SPECS
from minran.train import environment
from minran.workshop.bench import contenders, report
from minran.workshop.bench.adapters.floors import bytes_of_step
from minran.workshop.bench.compare import Measurement, team_of
from minran.workshop.bench.contenders import CONTENDERS, Who
from minran.workshop.bench.rounds import Settings

STAGES = ((64, 32), (128, 16), (256, 8))
"""Width and size of the maps in the three stages of the CIFAR networks."""

SCALING_BATCHES = (16, 32, 64, 128, 256)
SCALING_MODELS = ("attention56_cifar", "attention92_cifar", "attention128_cifar")

NETWORK_JOBS = ("step", "inference")
JOBS = (*NETWORK_JOBS, "data", "import")
TABLES = ("ops", "peers", "scaling", "decisions", "cores")

COPY_BYTES = 1 << 28


def run(args: argparse.Namespace) -> int:
    """Measure, print and save as `args` say; 1 if not a single job could be measured."""
    for name in ("rounds", "warmup", "threads", "processes", "batch", "cores"):
        value = getattr(args, name)
        numbers = value if isinstance(value, list) else [value]
        good = all(number is None or number >= 1 for number in numbers)
        expect(good, f"bench: --{name} must be at least 1, got {value}", RecipeError)
    _expect_used(args)
    for name, endings in (("json", (".json",)), ("plot", PICTURES)):
        if getattr(args, name) is not None:
            expect_ending(getattr(args, name), endings, f"bench: --{name}")
    session = Session(args)
    print(report.facts(session.environment, asdict(session.settings)), flush=True)
    (session.on_gpu if args.device == "gpu" else session.on_cpu)()
    document = session.save()
    if args.plot:
        report.plot(document, args.plot)
        print(f"figure: {args.plot}")
    if args.json:
        print(f"results: {args.json}")
    return 0 if any(each["rounds"] for each in itertools.chain(*session.found.values())) else 1


def _expect_used(args: argparse.Namespace) -> None:
    """Refuse options that what is measured has no use for."""
    always = "only rounds warmup device json plot"
    if args.device == "gpu":
        takes(args, "bench --device gpu", always, "model batch precision budget threads")
        return
    tables, jobs = _asked(args)
    networks = not set(NETWORK_JOBS).isdisjoint(jobs)
    by_cores = tables == ["cores"] and not jobs  # which says the number of threads itself
    batches = networks or by_cores or "data" in jobs
    single = {"model": args.decisions or args.cores, "batch": set(tables) - {"scaling"}}
    many = {"model": networks, "batch": batches, "processes": networks, "threads": not by_cores}
    used = [name for name in many if single.get(name) or many[name]]
    options = [f"--{name}" for name in [*tables, *(["jobs"] if args.jobs else [])]]
    mode = " ".join(["bench", *(options or ["--device cpu"])])
    takes(args, mode, always, "limit extra_rounds patience jobs", *tables, *used)
    for name in ("model", "batch"):
        values = getattr(args, name) or []
        got = f"got {' and '.join(map(str, values))}"
        fits = many[name] or len(values) <= 1
        expect(fits, f"{mode} takes one --{name}, {got}", RecipeError)


def _asked(args: argparse.Namespace) -> tuple[list[str], Sequence[str]]:
    """The tables and the jobs that were asked for; all jobs if nothing was."""
    tables = [name for name in TABLES if getattr(args, name)]
    return tables, args.jobs or (() if tables else JOBS)


class Session:
    """What was measured so far; the JSON is written again after each measurement."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        gpu = args.device == "gpu"
        there = ", ".join(CONTENDERS)
        for name in args.only:
            expect(name in CONTENDERS, f"no contender {name!r}; there are {there}", RecipeError)
        known = [each.name for each in fields(Settings)]
        told = {name: value for name, value in vars(args).items() if name in known}
        told["threads"] = args.threads or len(machine.cores())
        told |= {"deadline": time.monotonic() + args.budget} if gpu else {"precision": "fp32"}
        self.settings = Settings(**told)
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
        tables, jobs = _asked(self.args)
        models, batches, first = self.models, self.batches, self.batches[0]
        if "ops" in tables:
            self.ops()
        if "peers" in tables:
            # Pre-activation units at the width and size of each stage, forward and backward.
            for width, size in STAGES:
                options = {"batch": first, "width": width, "size": size, "count": 3}
                self.compare("peers", "units", options, contenders.PEERS)
        if "scaling" in tables:
            # By batch size, then by depth.
            sizes = [(SCALING_MODELS[0], batch) for batch in SCALING_BATCHES]
            for model, batch in [*sizes, *((model, 64) for model in SCALING_MODELS[1:])]:
                options = network_options(model, batch)
                self.compare("scaling", "step", options, contenders.SCALING)
            print("\n" + report.scaling_text(self.found["scaling"]))
        if "decisions" in tables:
            options = network_options(models[0], first)
            self.compare("decisions", "step", options, contenders.DECISIONS)
        for batch, count in itertools.product(batches, self.args.cores or ()):
            how = replace(self.settings, threads=count, processes=count, kernels=True)
            who, options = contenders.on_cores(count), network_options(models[0], batch)
            self.compare("cores", "step", options, who, how, cores=count)
        if "cores" in tables:
            print("\n" + report.cores_text(self.found["cores"]))
        asked = [job for job in jobs if job in NETWORK_JOBS]
        for model, batch, job in itertools.product(models, batches, asked):
            self.compare("networks", job, network_options(model, batch), contenders.NETWORKS)
        if "step" in jobs:
            self.add_roofline(self.copy_rate())
        for batch in batches if "data" in jobs else ():
            self.compare("data", "data", {"batch": batch}, contenders.OURS)
        if "import" in jobs:
            # A start lasts a tenth of a second, in which the counters move by tenths themselves.
            limit = max(self.settings.limit, 0.3)
            once = replace(self.settings, turn_seconds=0.0, limit=limit, only=())
            self.compare("import", "import", {}, contenders.IMPORTS, once)

    def ops(self) -> None:
        """Every case forward alone, then forward and backward; the workers stay for all of them."""
        # Shorter turns; a disturbed one is repeated, not waited for. In a short turn the hundredths
        # of a second of the counters weigh more: the limit is wider.
        limit = max(self.settings.limit, 0.15)
        quick = replace(self.settings, turn_seconds=0.3, patience=0.0, limit=limit)
        with team_of(contenders.OPS, quick) as team:
            for number, case in enumerate(op_cases(self.batches[0]), 1):
                for backward in (False, True):
                    self.add("ops", team.measure("op", {**case, "backward": backward}))
                if sys.stdout.isatty():
                    print(f"\r  operations: {number}", end="", flush=True)
        print("\n" + report.ops_text(self.found["ops"]))

    def on_gpu(self) -> None:
        """The rate of a copy, then the training step, most important batch first, until time is up.

        Launches are asynchronous and the host may share its cores: longer turns, no repeats.
        """
        rate = self.copy_rate()
        warmup = max(5, self.settings.warmup)
        settings = replace(self.settings, extra_rounds=0, patience=0.0, warmup=warmup, kernels=True)
        # The second group compiles for minutes: what was measured before is safe.
        groups = (contenders.GPU, contenders.GPU_COMPILED)
        for model, who, batch in itertools.product(self.models, groups, self.batches):
            self.compare("networks", "step", network_options(model, batch), who, settings)
        self.add_roofline(rate)

    def compare(
        self,
        section: str,
        job: str,
        options: dict[str, Any],
        who: Who,
        how: Settings | None = None,
        **more: int,
    ) -> None:
        """Measure a job, with fresh workers: so the peak memory of each is the peak of this job."""
        with team_of(who, how or self.settings) as team:
            measured = self.add(section, {**more, **team.measure(job, options)})
        print("\n" + report.text(measured), flush=True)

    def add(self, section: str, measured: Measurement) -> Measurement:
        """Keep a measurement, save what there is."""
        measured = {"title": report.describe(measured), **measured}
        self.found.setdefault(section, []).append(measured)
        self.save()
        return measured

    def copy_rate(self) -> float:
        """Bytes a second that copying a large array moves: each is read and written."""
        with team_of(contenders.OURS, replace(self.settings, only=())) as team:
            copied = self.add("copy", team.measure("copy", {"bytes": COPY_BYTES}))
        return 2 * COPY_BYTES / (report.median(copied, "minran") or math.inf)

    def add_roofline(self, rate: float) -> None:
        """How near each step comes to the time in which its bytes could be moved."""
        for measured in self.found.get("networks", []):
            names = [measured["reference"], *(each["name"] for each in measured["contenders"])]
            options, times = measured["options"], [report.median(measured, each) for each in names]
            name, seconds = next(((n, t) for n, t in zip(names, times, strict=True) if t), ("", 0))
            if measured["job"] != "step" or not (seconds and rate):
                continue
            network = create_model(options["model"])
            itemsize = 2 if self.settings.precision == "bf16" else 4
            size = bytes_of_step(network, options["batch"], options["size"], itemsize)
            share = size / rate / seconds
            found = {"contender": name, "bytes": size, "bytes_per_second": rate, "share": share}
            self.roofline.append({**options, **found})
            print(
                f"\n{options['model']}, batch {options['batch']}: a step moves about "
                f"{size / 1e9:.1f} GB of maps; copying runs at {rate / 1e9:.1f} GB/s, so "
                f"{report.milliseconds(size / rate)} ms, {100 * share:.0f}% of the step",
                flush=True,
            )

    def save(self) -> dict[str, Any]:
        """What the JSON holds, written if it was asked for."""
        budget = {"budget": self.args.budget} if self.args.device == "gpu" else {}
        document = {
            "environment": self.environment,
            "settings": {**asdict(self.settings), "deadline": None, **budget},
            "sections": self.found,
            "roofline": self.roofline,
        }
        if self.args.json:
            report.save(self.args.json, document)
        return document


def network_options(model: str, batch: int) -> dict[str, Any]:
    """The options of a network's jobs. Raises RecipeError for a model that does not exist."""
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
            for cin, cout, kernel in ((width, narrow, 1), (narrow, narrow, 3), (narrow, width, 1)):
                cases.append(op(kind, size, cin, out=cout, kernel=kernel, stride=1))
        cases.append(op("norm_relu_conv2d", size, width, out=width, kernel=1, stride=1))
        cases += [op(kind, size, width) for kind in ("batch_norm_relu", "max_pool2d")]
        cases.append(op("upsample_bilinear2d", size // 2, width, out=size))
        cases += [op(kind, size, width) for kind in ("sigmoid", "gate")]
    return [
        *cases,
        op("norm_relu_conv2d", 32, 32, out=32, kernel=3, stride=2),
        op("norm_relu_conv2d", 16, 64, out=64, kernel=3, stride=2),
        op("global_avg_pool", 8, 256),
        {"kind": "linear", "shape": [batch, 256], "out": 10},
        {"kind": "cross_entropy", "shape": [batch, 10]},
    ]
