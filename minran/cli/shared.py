"""What several commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from minran import backend
from minran.errors import RecipeError, expect

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


def add_set(parser: argparse.ArgumentParser, what: str = "change a recipe entry") -> None:
    """--set, shared by everything that reads a recipe."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=what)


def read_changes(args: argparse.Namespace, **shorter: str) -> list[str]:
    """All changes of a recipe: --set, and options that are a shorter way to write one.

    shorter: the recipe's entry that each such option stands for. Raises RecipeError if an entry
    is given twice: one of its values would be ignored.
    """
    from minran.train.toml import write_value

    changes = list(args.set)
    for option, key in shorter.items():
        if option in args.given:
            changes.append(f"{key}={write_value(getattr(args, option), key)}")
    keys = [change.partition("=")[0].strip() for change in changes]
    twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
    expect(not twice, f"{' and '.join(twice)} is given twice", RecipeError)
    return changes


def expect_data_dir_used(args: argparse.Namespace, name: str) -> None:
    """Refuse --data-dir beside the data set `name`, if that does not lie there."""
    expect(
        args.data_dir is None or name.startswith("cifar"),
        f"--data-dir is where CIFAR lies; the data set {name} does not take it",
        RecipeError,
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
    """Write a figure to a file of the format that its ending names, and say where."""
    from minran.inspect.style import save_figure as save

    print(save(figure, path))


def read_numbers(text: str | None, option: str) -> list[int] | None:
    """Read "0,5,17" as [0, 5, 17]; None if the option was not given. Raises RecipeError."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise RecipeError(f"{option} wants whole numbers such as 1,3; got {text!r}") from error
