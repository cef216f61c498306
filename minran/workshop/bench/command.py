"""`minran bench` and `python -m minran.bench`: the options, and what they start."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from minran.arguments import Parser
from minran.cli.shared import add_command
from minran.errors import MinranError

Row = tuple[str, str, Any]
"""An option, its help, and its default (False: a flag; a number) or what argparse is told."""

OPTIONS: dict[str, tuple[Row, ...]] = {
    "what to measure (default: networks, data and import)": (
        (
            "--model",
            "networks (default: attention56_cifar)",
            {"nargs": "+", "action": "extend", "metavar": "NAME"},
        ),
        (
            "--batch",
            "batch sizes (default: 64; gpu: 128 64 512)",
            {"nargs": "+", "type": int, "metavar": "N"},
        ),
        (
            "--jobs",
            "only these of the default jobs",
            {"nargs": "+", "choices": ["step", "inference", "data", "import"]},
        ),
        ("--ops", "the table of operations", False),
        ("--peers", "units beside JAX, tinygrad, DeZero, if installed", False),
        ("--scaling", "by batch size and by depth", False),
        ("--decisions", "the step with one design decision taken back", False),
        ("--only", "only these contenders", {"nargs": "+", "default": [], "metavar": "NAME"}),
    ),
    "how": (
        ("--rounds", "rounds that count", 5),
        ("--warmup", "calls before the rounds", 2),
        ("--threads", "threads for everybody (default: the cores)", {"type": int}),
        ("--processes", "of the minran that mpiexec starts", 2),
        ("--limit", "cores that other programs may use before a round is repeated", 0.1),
        ("--extra-rounds", "how many rounds more may replace disturbed ones", 5),
        ("--patience", "seconds to wait for a quiet moment before a round", 5.0),
        ("--device", "(default: cpu)", {"choices": ["cpu", "gpu"], "default": "cpu"}),
        (
            "--precision",
            "on the gpu, for everybody; bf16 is autocast for PyTorch (default: tf32)",
            {"choices": ["fp32", "tf32", "bf16"], "default": "tf32"},
        ),
        ("--budget", "gpu: seconds after which nothing more is started", 440.0),
    ),
    "where the results go, besides the screen": (
        ("--json", "everything, all rounds included", {"metavar": "FILE"}),
        ("--plot", "the ratios as a picture", {"metavar": "FILE"}),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minran bench` and of `python -m minran.bench`."""
    for title, rows in OPTIONS.items():
        group = parser.add_argument_group(title)
        for option, words, told in rows:
            if told is False:
                group.add_argument(option, help=words, action="store_true")
            elif isinstance(told, dict):
                group.add_argument(option, help=words, **told)
            else:
                words = f"{words} (default: {told:g})"
                group.add_argument(option, help=words, type=type(told), default=told)


def add_commands(commands: Any) -> None:
    """The command of the command line."""
    parser = add_command(
        commands,
        "bench",
        run,
        "time a training step, beside PyTorch if it is installed",
        """
  minran bench
  minran bench --model attention56_cifar --batch 64 --rounds 5
  python -m minran.bench --json docs/results/bench.json""",
    )
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure what `args` ask for, print it, write the files; returns the exit status."""
    from minran.workshop.bench import session

    return session.run(args)


def main() -> int:
    """Read the command line and measure."""
    parser = Parser(
        prog="python -m minran.bench",
        description="The same as `minran bench`. Needs NumPy alone, and for --device gpu CuPy.",
    )
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except MinranError as error:
        print(f"minran.bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minran.bench: interrupted", file=sys.stderr)
        return 130
