"""Command lines as data, which ignore nothing: the options of a command, and which a mode takes.

Most commands have modes (`masks --score` and `masks --figure epochs`, say), and each mode uses
some of the command's options. A mode says which it `takes`; every other option that stands on
the command line is refused by name, also one that was given its default value.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from minran.errors import RecipeError, expect

Option = tuple[str, str, Any]
"""Its name, its help, and its default (False for a flag) or a dictionary of what argparse takes."""
Options = Option | list[Option]
"""One, or several of which exactly one must be given."""


def add_command(
    commands: Any, run: Callable[..., Any], *options: Options, name: str = ""
) -> argparse.ArgumentParser:
    """Add a command that calls `run`, whose docstring is the --help: a sentence, then examples.

    name: if it is not that of the function.
    """
    summary, _, examples = (inspect.getdoc(run) or "").partition("\n\n")
    parser: argparse.ArgumentParser = commands.add_parser(
        name or run.__name__,
        help=summary[:1].lower() + summary[1:].rstrip("."),
        description=summary,
        epilog="examples:\n" + re.sub(r"^(?=minran |python )", "  ", examples, flags=re.MULTILINE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_options(parser, *options)
    return parser


def add_options(parser: Any, *options: Options) -> None:
    """Add options to a parser, or to a group of one."""
    for option in options:
        if isinstance(option, list):
            add_options(parser.add_mutually_exclusive_group(required=True), *option)
            continue
        name, words, told = option
        if told is False:
            told = {"action": "store_true"}
        elif not isinstance(told, dict):
            told = {"type": type(told), "default": told}
        parser.add_argument(name, help=words, **told)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose result also says, as `given`, which options were on the line.

    `given` maps the name of an option ("data_dir") to how it is written ("--data-dir").
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does; parsed once more without defaults, only what was given is there."""
        defaults = [(action, action.default) for action in self._actions]
        kept, self._defaults = self._defaults, {}
        try:
            for action, _ in defaults:
                action.default = argparse.SUPPRESS
            bare, _ = super().parse_known_args(args)
        finally:
            self._defaults = kept
            for action, default in defaults:
                action.default = default
        found, rest = super().parse_known_args(args, namespace)
        if not hasattr(found, "given"):  # a subcommand says it for itself
            found.given = {
                action.dest: max(action.option_strings, key=len, default=action.dest)
                for action in self._actions
                if hasattr(bare, action.dest)
            }
            for name, written in found.given.items():
                value = getattr(found, name)
                if "" in (value if isinstance(value, list) else [value]):
                    # An empty path would mean the current folder, which nobody asked for.
                    self.error(f"{written} is empty")
        return found, rest


def takes(args: argparse.Namespace, mode: str, *options: str) -> None:
    """Raise RecipeError naming the options that were given, but that `mode` does not take.

    mode: as it is typed, such as "masks --score"; options: names such as "data_dir", one or
    several in a text.
    """
    known = " ".join(options).split()
    # Arguments that another parser read, or that were put together by hand, say nothing of this.
    given = getattr(args, "given", {})
    wrong = [written for name, written in given.items() if name not in known]
    expect(not wrong, f"{mode} does not take {' and '.join(wrong)}", RecipeError)
