"""One run of the benchmark: from the options to tables, JSON and picture."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minran import machine
from minran.arguments import takes
from minran.errors import RecipeError, expect
from minran.files import PICTURES, expect_ending
from minran.train import environment
from minran.workshop.bench import report, sections
from minran.workshop.bench.compare import Measurement, Settings


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
    session.start()
    (session.on_gpu if args.device == "gpu" else session.on_cpu)()
    session.save()
    if args.plot:
        from minran.workshop.bench.plot import plot

        plot(session.document(), args.plot)
        print(f"picture: {args.plot}")
    if args.json:
        print(f"results: {args.json}")
    return 0 if any(each.rounds for found in session.found.values() for each in found) else 1


def _expect_used(args: argparse.Namespace) -> None:
    """Refuse options that what is measured has no use for."""
    always = ["only", "rounds", "warmup", "threads", "device", "json", "plot"]
    if args.device == "gpu":
        takes(args, "bench --device gpu", *always, "model", "batch", "precision", "budget")
        return
    tables = [name for name in ("ops", "peers", "scaling", "decisions") if getattr(args, name)]
    jobs = set(args.jobs or ([] if tables else [*sections.NETWORK_JOBS, *sections.OTHER_JOBS]))
    models = bool(jobs.intersection(sections.NETWORK_JOBS))
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
            sections.network_options(model, 1)  # an unknown name is told before anything runs
        self.batches: list[int] = args.batch or ([128, 64, 512] if gpu else [64])
        self.environment = environment()
        # As a reader would type it, without the folder that this minran lies in.
        program = "minran" if Path(sys.argv[0]).name == "minran" else "python -m minran.bench"
        self.environment["command"] = shlex.join([*program.split(), *sys.argv[1:]])
        self.roofline: list[dict[str, Any]] = []
        self.found: dict[str, list[Measurement]] = {}

    def start(self) -> None:
        """Say where and when."""
        print(report.facts(self.environment, asdict(self.settings)), flush=True)

    def on_cpu(self) -> None:
        """The sections that were asked for; networks, data and import if none was."""
        args, settings = self.args, self.settings
        if args.ops:
            self.ops()
        if args.peers:
            for measured in sections.peers(self.batches[0], settings):
                self.add("peers", measured)
        if args.scaling:
            for measured in sections.scaling(settings):
                self.add("scaling", measured)
            print("\n" + report.scaling_text(self.found["scaling"]))
        if args.decisions:
            self.add("decisions", sections.decisions(self.models[0], self.batches[0], settings))
        jobs = args.jobs or [*sections.NETWORK_JOBS, *sections.OTHER_JOBS]
        if args.jobs or not (args.ops or args.peers or args.scaling or args.decisions):
            self.networks(jobs)

    def networks(self, jobs: list[str]) -> None:
        """Step, inference, data and start-up."""
        for measured in sections.networks(self.models, self.batches, jobs, self.settings):
            self.add("networks", measured)
        if "step" in jobs:
            self.add_roofline()
        if "data" in jobs:
            for measured in sections.data(self.batches, self.settings):
                self.add("data", measured)
        if "import" in jobs:
            self.add("import", sections.imports(self.settings))

    def ops(self) -> None:
        """The table of operations, printed when it is complete."""
        for number, measured in enumerate(sections.ops(self.batches[0], self.settings)):
            self.add("ops", measured, show=False)
            if sys.stdout.isatty():
                print(f"\r  operations: {number // 2 + 1}", end="", flush=True)
        done = self.found["ops"]
        print("\n" + report.ops_text(zip(done[::2], done[1::2], strict=True)))

    def on_gpu(self) -> None:
        """The training step, with the byte roofline and the kernels of the eager step."""
        for measured in sections.gpu(self.models, self.batches, self.settings):
            self.add("networks", measured)
            if measured.kernels:
                rows = [[k, report.milliseconds(s)] for k, s in measured.kernels.items()]
                print(report.table(["kernels of our eager step", "ms"], rows), flush=True)
        self.add_roofline()

    def add(self, section: str, measured: Measurement, show: bool = True) -> None:
        """Keep a measurement, show it, save what there is."""
        self.found.setdefault(section, []).append(measured)
        if show:
            print("\n" + report.text(measured), flush=True)
        self.save()

    def add_roofline(self) -> None:
        """How near each step comes to the time in which its bytes could be moved."""
        steps = [each for each in self.found.get("networks", []) if each.job == "step"]
        copied = sections.copies(self.settings)
        rate = sections.bandwidth(copied)
        self.found["copy"] = [copied]
        for measured in steps if rate else []:
            options = measured.options
            name = measured.reference
            seconds = measured.median(name) if name else None
            size = measured.facts.get("minran", {}).get("step_bytes")
            if not (seconds and rate and size):
                continue
            row = {
                **options,
                "contender": name,
                "bytes": size,
                "bytes_per_second": rate,
                "share": size / rate / seconds,
            }
            self.roofline.append(row)
            print(
                f"\n{options['model']}, batch {options['batch']}: a step moves about "
                f"{size / 1e9:.1f} GB of maps; copying runs at {rate / 1e9:.1f} GB/s, so "
                f"{report.milliseconds(size / rate)} ms, {100 * row['share']:.0f}% of the step",
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
            "sections": {
                section: [{"title": report.describe(m), **m.to_json()} for m in measured]
                for section, measured in self.found.items()
            },
            "roofline": self.roofline,
        }

    def save(self) -> None:
        """Write the JSON, if one was asked for."""
        if self.args.json:
            report.save(self.args.json, self.document())
