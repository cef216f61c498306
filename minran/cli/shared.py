"""What several commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from minran import backend
from minran.errors import DataError, RecipeError

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


def save_figure(figure: Any, path: str) -> None:
    """Write a figure to a file of the format that its ending names, and say where.

    Raises DataError if there is no such folder or format.
    """
    try:
        figure.savefig(path, dpi=150, facecolor=figure.get_facecolor())
    except (OSError, ValueError) as error:
        raise DataError(f"could not write the figure {path}: {error}") from error
    print(path)


def read_numbers(text: str | None, option: str) -> list[int] | None:
    """Read "0,5,17" as [0, 5, 17]; None if the option was not given. Raises RecipeError."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise RecipeError(f"{option} wants whole numbers such as 1,3; got {text!r}") from error
