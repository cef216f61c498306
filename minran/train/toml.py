"""TOML: Python's standard library reads the format, but neither writes nor limits it."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from minran.errors import RecipeError, expect

MAX_BYTES = 1 << 16
"""The longest recipe of minran has a fortieth of that."""
_MAX_DOTS = 200
_MAX_DEPTH = 20


def read_table(text: str, source: str) -> dict[str, Any]:
    """The table that `text` (TOML) describes.

    Raises RecipeError naming the `source` if it is no TOML, or longer, deeper or with larger
    numbers than any recipe: such a text could take memory and time without end.
    """
    expect(len(text) <= MAX_BYTES, f"{source} has more than {MAX_BYTES:,} characters", RecipeError)
    # The time for a key with many dots grows with their square.
    dots = max(line.count(".") for line in f"{text}\n".splitlines())
    expect(dots <= _MAX_DOTS, f"{source} has a line with {dots} dots", RecipeError)
    try:
        table = tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError as error:
        raise RecipeError(f"{source} is not valid TOML: it is nested too deeply") from error
    except ValueError as error:
        raise RecipeError(f"{source} is not valid TOML: {error!s:.300}") from error
    _expect_plain(table, source)
    return table


def read_value(text: str, name: str) -> Any:
    """A value as TOML reads it (`0.1`, `true`, `[1, 2]`, `"text"`), or else the bare word.

    Raises RecipeError with the entry's `name` for what `read_table` refuses but bare words.
    """
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        _expect_plain(text, name)
        return text
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{name} has no value that a recipe can have: {error!s:.300}") from error
    return read_table(f"value = {text}", name)["value"]


def _expect_plain(value: Any, source: str, depth: int = 0) -> None:
    """Refuse what cannot be written again: numbers of more than 64 bits, text that is no UTF-8."""
    expect(depth <= _MAX_DEPTH, f"{source} is nested too deeply", RecipeError)
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        for item in value:
            _expect_plain(item, source, depth + 1)
    elif isinstance(value, int):
        expect(abs(value) < 2**63, f"{source} has a number of more than 64 bits", RecipeError)
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RecipeError(f"{source} has text that is no Unicode: {value!a:.99}") from error


def write_value(value: Any, name: str) -> str:
    """`value` as TOML writes it: text, numbers, true or false, lists and tables of them.

    Raises RecipeError, with the entry's `name`, for anything else.
    """
    if isinstance(value, dict):
        pairs = [f"{_key(str(k))} = {write_value(v, f'{name}.{k}')}" for k, v in value.items()]
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(write_value(item, name) for item in value) + "]"
    if isinstance(value, str):
        expect(
            not any("\ud800" <= letter <= "\udfff" for letter in value),
            f"{name} has letters that no text file can hold: {value!r}",
            RecipeError,
        )
        return _quoted(value)
    expect(
        isinstance(value, (bool, int, float)),
        f"{name} cannot be written into a recipe: {value!r}",
        RecipeError,
    )
    # JSON's numbers are TOML's, but for the words of those that are not finite.
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def _key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else _quoted(name)


def _quoted(text: str) -> str:
    # JSON's strings are TOML's, but for escaped pairs of surrogates and one control character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
