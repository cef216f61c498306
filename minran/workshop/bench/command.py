"""`minran bench` and `python -m minran.bench`: the options, and what they start."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from minran.arguments import Option, add_command, add_options
from minran.cli.shared import DEVICE
from minran.errors import RecipeError, expect
from minran.hints import checked

MANY = {"nargs": "+", "metavar": "NAME"}
JOBS = {"nargs": "+", "choices": ["step", "inference", "data", "import"]}
PRECISION = {"choices": ["fp32", "tf32", "bf16"], "default": "tf32"}

WHAT: tuple[Option, ...] = (
    ("--model", "networks (default: attention56_cifar)", {**MANY, "action": "extend"}),
    (
        "--batch",
        "batch sizes (default: 64; gpu: 128 64 512)",
        {"nargs": "+", "type": int, "metavar": "N"},
    ),
    ("--jobs", "only these of the default jobs", JOBS),
    ("--ops", "the table of operations", False),
    ("--peers", "units, with JAX, tinygrad, DeZero, if installed", False),
    ("--scaling", "by batch size and by depth", False),
    ("--decisions", "the step with one design decision taken back", False),
    (
        "--cores",
        "the step on so many cores: threads, processes, and which kernels leave cores idle",
        {"nargs": "+", "type": int, "metavar": "N"},
    ),
    ("--static", "a GPU's step, counted without a GPU: launches, bytes, instructions", False),
    ("--only", "only these contenders", {**MANY, "default": []}),
)
HOW: tuple[Option, ...] = (
    ("--rounds", "rounds that count (default: 5)", 5),
    ("--warmup", "calls before the rounds (default: 2)", 2),
    ("--threads", "threads for everybody (default: the cores)", {"type": int}),
    ("--processes", "of the minran that mpiexec starts (default: 2)", 2),
    ("--limit", "cores that other programs may use before a round is repeated (default: 0.1)", 0.1),
    ("--extra-rounds", "how many rounds more may replace disturbed ones (default: 5)", 5),
    ("--patience", "seconds to wait for a quiet moment before a round (default: 5)", 5.0),
    DEVICE,
    (
        "--precision",
        "on the gpu, for everybody; bf16 is autocast for PyTorch (default: tf32)",
        PRECISION,
    ),
    ("--budget", "gpu: seconds after which nothing more is started (default: 440)", 440.0),
)
WHERE: tuple[Option, ...] = (
    ("--json", "everything, all rounds included", {"metavar": "FILE"}),
    ("--plot", "the ratios as a figure", {"metavar": "FILE"}),
)
OPTIONS = {
    "what to measure (default: networks, data and import)": WHAT,
    "how": HOW,
    "where the results go, besides the screen": WHERE,
}


@checked(RecipeError)
def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minran bench` and of `python -m minran.bench`."""
    for title, options in OPTIONS.items():
        add_options(parser.add_argument_group(title), *options)


def add_commands(commands: Any) -> None:
    """The command of the command line."""
    add_arguments(add_command(commands, run, name="bench"))


@checked(RecipeError)
def run(args: argparse.Namespace) -> int:
    """Time a training step, compared with PyTorch if it is installed.

    minran bench
    minran bench --model attention56_cifar --batch 64 --rounds 5
    python -m minran.bench --json docs/results/bench.json
    python -m minran.bench --static --batch 128
    """
    from minran.workshop.bench import session, static

    options = [name for group in OPTIONS.values() for name, *_ in group]
    missing = [name for name in options if not hasattr(args, name[2:].replace("-", "_"))]
    expect(not missing, f"bench: args lack {', '.join(missing)}: see add_arguments", RecipeError)
    return static.run(args) if args.static else session.run(args)


def main() -> int:
    """What `minran bench` does with the same options. Needs NumPy alone, and on a GPU CuPy."""
    from minran.cli import main as command_line

    return command_line(["bench", *sys.argv[1:]])
