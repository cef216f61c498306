"""What the command line takes: every option of every mode that has no use for it is refused."""

from __future__ import annotations

import argparse

import pytest

from minran.arguments import Parser, takes
from minran.errors import RecipeError


def parser() -> Parser:
    top = Parser(prog="top")
    top.add_argument("--debug", action="store_true")
    command = top.add_subparsers(required=True).add_parser("look")
    command.add_argument("checkpoint")
    command.add_argument("files", nargs="*")
    command.add_argument("extra", nargs="?", default="none")
    command.add_argument("-t", "--top", type=int, default=2)
    command.add_argument("--class", dest="wanted")
    command.add_argument("--also", action="append", default=[])
    command.set_defaults(run=print)
    return top


def test_what_was_given_is_known_and_defaults_are_kept() -> None:
    args = parser().parse_args(["look", "run"])
    assert args.given == {"checkpoint": "checkpoint"}
    assert (args.files, args.extra, args.top, args.wanted, args.also) == ([], "none", 2, None, [])
    assert args.run is print and args.debug is False
    args = parser().parse_args(["look", "run", "a", "b", "-t", "2", "--also", "x", "--also=y"])
    assert args.given == {
        "checkpoint": "checkpoint",
        "files": "files",
        "top": "--top",
        "also": "--also",
    }
    assert (args.files, args.also) == (["a", "b"], ["x", "y"])


def test_an_option_with_its_default_value_is_refused_too() -> None:
    args = parser().parse_args(["look", "run", "--top", "2", "--class", "cat"])
    takes(args, "look", "checkpoint wanted", "top")
    with pytest.raises(RecipeError, match="look --fast does not take --top and --class"):
        takes(args, "look --fast", "checkpoint")


def test_parsing_twice_does_not_hide_a_usage_error(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["look", "run", "--top", "two"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("invalid int value") == 1
    assert isinstance(parser().parse_args(["look", "run"]), argparse.Namespace)
