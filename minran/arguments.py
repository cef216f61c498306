"""Command lines that ignore nothing: which options were given, and which a mode takes.

Most commands have modes (`masks --score` and `masks --figure epochs`, say), and each mode uses
some of the command's options. A mode says which it `takes`; every other option that stands on
the command line is refused by name, also one that was given its default value.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from minran.errors import RecipeError, expect


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
