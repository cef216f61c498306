"""The command line: `minran COMMAND --help` says what each command does, with examples.

A mistake ends with one sentence and exit status 2; `--debug` shows the traceback. A command does
its work to the end whoever reads along: after a reader (`head`) or a terminal has gone away, the
rest is not shown.
"""

from __future__ import annotations

import argparse
import importlib
import warnings
from collections.abc import Sequence

from minran import distributed
from minran._version import __version__
from minran.arguments import Parser
from minran.errors import MinranError, OutputError
from minran.streams import sturdy

COMMANDS = (
    "minran.cli.training",
    "minran.workshop.ablate.command",
    "minran.cli.look",
    "minran.cli.attention",
    "minran.cli.live",
    "minran.workshop.bench.command",
    "minran.workshop.course.command",
)
"""The modules whose `add_commands` add to the command line, in the order of `minran --help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        with sturdy(), warnings.catch_warnings():
            args = make_parser().parse_args(arguments)
            return int(args.run(args) or 0) if args.debug else _run(args)
    except OutputError as error:
        return distributed.fail(f"minran: {error}", 2)


def _run(args: argparse.Namespace) -> int:
    """Run one command; a mistake is a sentence, and a warning too."""
    # A run that diverges says so in a sentence of its own; NumPy's warnings would hide it.
    warnings.simplefilter("ignore", RuntimeWarning)
    as_before = warnings.formatwarning
    warnings.formatwarning = lambda message, *place, **line: f"minran: {message}\n"
    status = 2
    try:
        return int(args.run(args) or 0)
    except MinranError as error:
        words = str(error)
    except ImportError as error:
        words = f"{error} (is an extra missing? pip install 'minran[EXTRA]')"
    except MemoryError as error:
        words = f"out of memory ({error}); use a smaller batch"
    except KeyboardInterrupt:
        words, status = "interrupted", 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        words = f"{where}{error.strerror or error}"
    finally:
        warnings.formatwarning = as_before
    return distributed.fail(f"minran: {words}", status)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="minran",
        description="The Residual Attention Network from nothing but arrays: train it, test it, "
        "look inside.",
        epilog="Start with `minran quickstart`.",
    )
    parser.add_argument("--version", action="version", version=f"minran {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in COMMANDS:
        importlib.import_module(module).add_commands(commands)
    return parser
