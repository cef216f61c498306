"""The measuring stick: `minran bench`, beside PyTorch and others where they are installed.

Read `stats`, `guard` and `rounds` (how numbers are taken), `worker` and `processes` (where the
contenders live), `compare` (one measurement), `sections` (what is measured), `report`.
`train_twin` trains the PyTorch twin by a recipe, to lay its curve beside that of a run.
`docs/speed.md` says what came out.
"""

from __future__ import annotations

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minran bench` and of `python -m minran.bench`."""
    what = parser.add_argument_group("what to measure (default: networks, data and import)")
    what.add_argument(
        "--model",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="networks (default: attention56_cifar)",
    )
    what.add_argument(
        "--batch",
        nargs="+",
        type=int,
        metavar="N",
        help="batch sizes (default: 64; gpu: 128 64 512)",
    )
    what.add_argument(
        "--jobs",
        nargs="+",
        choices=["step", "inference", "data", "import"],
        help="only these of the default jobs",
    )
    what.add_argument("--ops", action="store_true", help="the table of operations")
    what.add_argument(
        "--peers", action="store_true", help="units beside JAX, tinygrad, DeZero, if installed"
    )
    what.add_argument("--scaling", action="store_true", help="by batch size and by depth")
    what.add_argument(
        "--decisions", action="store_true", help="the step with one design decision taken back"
    )
    what.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these contenders")

    how = parser.add_argument_group("how")
    how.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    how.add_argument("--warmup", type=int, default=2, help="calls before the rounds (default: 2)")
    how.add_argument("--threads", type=int, help="threads for everybody (default: the cores)")
    how.add_argument(
        "--processes", type=int, default=2, help="of the minran that mpiexec starts (default: 2)"
    )
    how.add_argument(
        "--limit",
        type=float,
        default=0.1,
        help="cores that other programs may use before a round is repeated (default: 0.1)",
    )
    how.add_argument(
        "--extra-rounds",
        type=int,
        default=5,
        help="how many rounds more may replace disturbed ones (default: 5)",
    )
    how.add_argument(
        "--patience",
        type=float,
        default=5.0,
        help="seconds to wait for a quiet moment before a round (default: 5)",
    )
    how.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="(default: cpu)")
    how.add_argument(
        "--precision",
        choices=["fp32", "tf32", "bf16"],
        default="tf32",
        help="on the gpu, for everybody; bf16 is autocast for PyTorch (default: tf32)",
    )
    how.add_argument(
        "--budget",
        type=float,
        default=440.0,
        help="gpu: seconds after which nothing more is started (default: 440)",
    )

    where = parser.add_argument_group("where the results go, besides the screen")
    where.add_argument("--json", metavar="FILE", help="everything, all rounds included")
    where.add_argument("--plot", metavar="FILE", help="the ratios as a picture")


def run(args: argparse.Namespace) -> int:
    """Measure what `args` ask for, print it, write the files; returns the exit status."""
    from minran.workshop.bench.session import run as run_session

    return run_session(args)
