"""A recipe is everything that decides a run, in one TOML file.

    seed = 0

    [model]
    name = "attention_small_cifar"
    options = { learning = "residual" }

    [data]
    name = "cifar10"

    [optimizer]
    lr = 0.2

`--set optimizer.lr=0.05` changes one entry. A key that does not exist or a value of the wrong
kind is named with the nearest right one; nothing is guessed.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from minran.errors import RecipeError, expect


@dataclass
class ModelRecipe:
    """Which network, and the options of `create_model`."""

    name: str = "attention_small_cifar"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataRecipe:
    """Which pictures: a name `minran.data.load` knows, how many (0: all), label noise, scale."""

    name: str = "cifar10"
    train_count: int = 0
    test_count: int = 0
    label_noise: float = 0.0
    """Share of wrong training labels, 1 - r of Eq. 7."""
    std: float = 64.0
    """What the centred pixels (0..255) are divided by; the paper divides by nothing (1)."""


@dataclass
class AugmentRecipe:
    """What is done to training pictures."""

    pad_crop_flip: bool = True
    cutout: int = 0
    mixup: float = 0.0


@dataclass
class OptimizerRecipe:
    """SGD (`minran.optim.SGD`)."""

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4


@dataclass
class ScheduleRecipe:
    """How the learning rate moves: "constant", "multistep", "cosine" or "one_cycle"."""

    kind: str = "one_cycle"
    milestones: list[int] = field(default_factory=list)
    """multistep: the steps at which the rate is multiplied by `factor`."""
    factor: float = 0.1
    warmup: float = 0.25
    """one_cycle: share of the steps on the way up; cosine: the same."""


@dataclass
class TrainingRecipe:
    """How long, in which batches."""

    epochs: int = 8
    iterations: int = 0
    """Stop after this many steps; 0: after `epochs`."""
    batch_size: int = 128
    label_smoothing: float = 0.0
    test_batch_size: int = 250
    test_every: int = 1
    """Epochs between two tests."""
    log_every: int = 50
    """Steps between two rows of the history."""
    checkpoint_every: int = 0
    """Steps between two checkpoints; 0: one after every epoch."""


@dataclass
class Recipe:
    """A whole run. See the module's text for an example."""

    name: str = "unnamed"
    description: str = ""
    seed: int = 0
    precision: str = "fp32"
    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)

    def to_toml(self) -> str:
        """The recipe as TOML that `parse` reads back."""
        lines = [f"{key} = {_toml(value)}" for key, value in _plain(self) if value is not None]
        for section in dataclasses.fields(self):
            table = getattr(self, section.name)
            if dataclasses.is_dataclass(table):
                lines += ["", f"[{section.name}]"]
                lines += [f"{key} = {_toml(value)}" for key, value in _plain(table)]
        return "\n".join(lines) + "\n"


def list_recipes() -> list[str]:
    """The names of the recipes that come with minran."""
    folder = resources.files("minran.train") / "recipes"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")


def load_recipe(name_or_file: str | Path, changes: Iterable[str] = ()) -> Recipe:
    """The recipe of that name or in that file, with `changes` such as "optimizer.lr=0.05".

    Raises RecipeError if there is none, or naming the entry that is wrong.
    """
    path = Path(name_or_file)
    shipped = list_recipes()
    if str(name_or_file) in shipped:
        folder = resources.files("minran.train") / "recipes"
        text = (folder / f"{name_or_file}.toml").read_text(encoding="utf-8")
    elif path.suffix == ".toml" or path.is_file():
        expect(path.is_file(), f"there is no recipe file {path}", RecipeError)
        text = path.read_text(encoding="utf-8")
    else:
        raise RecipeError(f"unknown recipe {str(name_or_file)!r}{_nearest(path.name, shipped)}")
    return parse(text, str(name_or_file), changes)


def parse(text: str, source: str = "recipe", changes: Iterable[str] = ()) -> Recipe:
    """The recipe that `text` (TOML) describes, with `changes`. Raises RecipeError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source} is not valid TOML: {error}") from error
    for change in changes:
        key, equals, value = change.partition("=")
        expect(equals == "=", f"--set wants KEY=VALUE, got {change!r}", RecipeError)
        *sections, last = key.strip().split(".")
        inner = table
        for section in sections:
            inner = inner.setdefault(section, {})
            expect(isinstance(inner, dict), f"--set {key}: {section!r} is no table", RecipeError)
        inner[last] = _value(value.strip())
    recipe = _build(Recipe, table, "")
    if recipe.name == "unnamed":
        recipe.name = Path(source).stem
    return recipe


def _build(kind: Any, table: dict[str, Any], prefix: str) -> Any:
    """A dataclass from a table, entry by entry."""
    hints = typing.get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            raise RecipeError(f"unknown entry {prefix + key!r}{_nearest(key, list(hints))}")
        arguments[key] = _convert(hints[key], value, prefix + key)
    return kind(**arguments)


def _convert(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        expect(isinstance(value, dict), f"{name} must be a table, got {value!r}", RecipeError)
        return _build(hint, value, name + ".")
    origin = typing.get_origin(hint)
    if isinstance(hint, types.UnionType):  # pragma: no cover - no such entry yet
        raise TypeError(f"{name}: unions are not supported in recipes")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    base = origin or hint
    good = isinstance(value, base) and (base is not int or not isinstance(value, bool))
    if good and origin is list:
        good = all(isinstance(v, typing.get_args(hint)[0]) for v in value)
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    wanted = words.get(base, "a list of whole numbers" if base is list else "a table")
    expect(good, f"{name} must be {wanted}, got {value!r}", RecipeError)
    return value


def _value(text: str) -> Any:
    """A value of --set: as TOML reads it, or else the bare word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _plain(table: Any) -> list[tuple[str, Any]]:
    pairs = ((f.name, getattr(table, f.name)) for f in dataclasses.fields(table))
    return [(key, value) for key, value in pairs if not dataclasses.is_dataclass(value)]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    # JSON's numbers, booleans and escaped strings are TOML's too.
    return json.dumps(value)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
