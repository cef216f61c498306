"""Single values in TOML: Python's standard library reads the format, but does not write it."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from minran.errors import RecipeError, expect


def read_value(text: str) -> Any:
    """A value as TOML reads it (`0.1`, `true`, `[1, 2]`, `"text"`), or else the bare word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


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
