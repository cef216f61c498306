"""gradcheck."""

from __future__ import annotations

import argparse
from typing import Any

from minran.arguments import takes
from minran.cli.shared import add_command, add_device, use_device


def add_commands(commands: Any) -> None:
    """The command about being right."""
    parser = add_command(
        commands,
        "gradcheck",
        gradcheck,
        "compare an operation's gradient with finite differences, and show where it differs",
        "  minran gradcheck conv2d\n  minran gradcheck --all",
    )
    parser.add_argument("op", nargs="?", help="name of the operation")
    parser.add_argument("--all", action="store_true", help="check every operation, a line each")
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs")
    add_device(parser)


def gradcheck(args: argparse.Namespace) -> int:
    """Print the report; the exit status is 1 if a gradient is wrong."""
    from minran.errors import BackendError, RecipeError, expect
    from minran.gradcheck import OPS, check_op

    use_device(args)
    expect(args.seed >= 0, f"gradcheck --seed must be at least 0, got {args.seed}", RecipeError)
    expect(
        args.all or args.op is not None,
        f"name an operation or say --all; known: {', '.join(OPS)}",
        RecipeError,
    )
    if args.all:
        takes(args, "gradcheck --all", "all", "seed", "device")
    else:
        report = check_op(args.op, seed=args.seed)
        print(report)
        return 0 if report.passed else 1
    good = True
    for name in OPS:
        try:
            report = check_op(name, seed=args.seed)
        except BackendError as error:  # a fused operation that this backend does without
            print(f"-     {name:24} {error}")
            continue
        verdict = "ok   " if report.passed else "WRONG"
        print(f"{verdict} {name:24} worst relative error {report.relative_error:.1e}")
        good = good and report.passed
    return 0 if good else 1
