"""What several commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from minran import backend

Command = Callable[[argparse.Namespace], int | None]


def add_command(
    commands: Any, name: str, run: Command, summary: str, examples: str
) -> argparse.ArgumentParser:
    """One command with a summary and examples in its --help."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples.strip("\n"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device, shared by everything that computes."""
    parser.add_argument(
        "--device", choices=["cpu", "gpu"], default="cpu", help="where to compute (default: cpu)"
    )


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """--data-dir, shared by everything that reads CIFAR."""
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="where the data set lies or goes (default: $MINRAN_DATA, then the user's cache)",
    )


def use_device(args: argparse.Namespace) -> None:
    """Switch to the backend that --device names."""
    backend.use(args.device)
