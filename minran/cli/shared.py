"""What several commands have in common: options, and what is done with them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minran
from minran.arguments import Option, add_command
from minran.errors import CheckpointError, RecipeError, expect

CHECKPOINT: Option = ("checkpoint", "a checkpoint file, or a run", {})
DARK = ("--dark", "for dark pages", False)
CIFAR = (
    (
        "--data-dir",
        "where CIFAR lies or goes (default: $MINRAN_DATA, then the user's cache)",
        {"metavar": "FOLDER"},
    ),
    (
        "--mirror",
        "where CIFAR (170 MB) is downloaded from, http:, https: or file: (default: "
        "$MINRAN_CIFAR_URL, then public addresses in turn)",
        {"metavar": "URL"},
    ),
)
"""Options of commands that need a data set which may be CIFAR; see `find_cifar`."""
CPU_OR_GPU = {"choices": ["cpu", "gpu"], "default": "cpu"}
DEVICE = ("--device", "where to compute (default: cpu)", CPU_OR_GPU)
SET = {"action": "append", "default": [], "metavar": "KEY=VALUE"}
"""How --set is read, with words of each command's own."""


class Commands:
    """The commands of a file: `@commands(option, ...)` before a function makes it one."""

    def __init__(self) -> None:
        self.found: list[tuple[Any, ...]] = []

    def __call__(self, *options: Any, name: str = "") -> Callable[..., Any]:
        """Note a function and its options; name: of the command, if not the function's."""

        def note(run: Callable[..., Any]) -> Callable[..., Any]:
            self.found.append((run, options, name))
            return run

        return note

    def add(self, parsers: Any) -> None:
        """Add all to the command line."""
        for run, options, name in self.found:
            add_command(parsers, run, *options, name=name)


def read_changes(args: argparse.Namespace, **shorter: str) -> list[str]:
    """All changes of a recipe: --set, and options that are a shorter way to write one.

    shorter: the recipe's entry that each such option stands for. Raises RecipeError if an entry
    is given twice: one of its values would be ignored.
    """
    from minran.train.recipe import write_value

    changes = list(args.set)
    for option, key in shorter.items():
        if option in args.given:
            changes.append(f"{key}={write_value(getattr(args, option), key)}")
    keys = [change.partition("=")[0].strip() for change in changes]
    twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
    expect(not twice, f"{' and '.join(twice)} is given twice", RecipeError)
    return changes


def find_cifar(args: argparse.Namespace, name: str) -> None:
    """Let --mirror be used; refuse it, and --data-dir, with a data set that is not CIFAR."""
    for option, value in (("--data-dir", args.data_dir), ("--mirror", args.mirror)):
        message = f"{option} says where CIFAR is; the data set {name} does not take it"
        expect(value is None or name.startswith("cifar"), message, RecipeError)
    if args.mirror is not None:
        minran.data.cifar.mirror(args.mirror)
        os.environ["MINRAN_CIFAR_URL"] = args.mirror


def expect_least(value: int | None, option: str, least: int) -> None:
    """Refuse a number of an option, if one was given, that is too small."""
    message = f"{option} must be at least {least}, got {value}"
    expect(value is None or value >= least, message, RecipeError)


def load(args: argparse.Namespace) -> tuple[Path, Any, Any, Any]:
    """A checkpoint file, or the best (else the last) of a run, and what it holds.

    Returns the file, the trained network, the preparation of its images, and the checkpoint.
    """
    file = Path(args.checkpoint)
    if file.is_dir():
        file = minran.train.Run(file).trained_file()
    expect(file.is_file(), f"there is no checkpoint {file}", CheckpointError)
    return file, *minran.train.load_model(file)


def read_pictures(files: Any, prepare: Any, checkpoint: Any) -> Any:
    """Image files, as large and made square as those that the network was trained on."""
    fit = minran.train.parse(checkpoint.recipe).data.fit
    return minran.data.read_pictures(files, prepare.mean.shape[0], fit)


def test_set(args: argparse.Namespace, recipe: Any) -> Any:
    """The test images of a recipe's data, where --data-dir says, if anything."""
    find_cifar(args, recipe.data.name)
    return minran.train.load_data(recipe, args.data_dir)[1]


def save_figure(figure: Any, path: str | Path) -> None:
    """Write a figure to a file of the format that its ending names, and say where."""
    print(minran.inspect.style.save_figure(figure, path))
