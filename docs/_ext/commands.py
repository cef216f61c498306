"""The command line's own help as a page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from minran.cli import make_parser


def write_page(file: Path) -> None:
    """Write `minran COMMAND --help` of every command, sub-commands too, as Markdown."""
    os.environ["COLUMNS"] = "88"
    parts = [_section(parser) for parser in _parsers(make_parser())]
    text = "\n".join(parts)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parser, and those of its commands."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in dict.fromkeys(action.choices.values()):
                found += _parsers(inner)
    return found


def _section(parser: argparse.ArgumentParser) -> str:
    return f"## {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```\n"
