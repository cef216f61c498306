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
import json
import math
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from minran.errors import RecipeError, did_you_mean, expect, nearest
from minran.files import explained, read_bytes
from minran.hints import checked

MAX_BYTES = 1 << 16  # the longest recipe of minran has a fortieth of that
_MAX_DOTS = 200
_MAX_DEPTH = 20
_ITEMS = {int: "whole numbers", str: "texts"}
_FOLDER = resources.files("minran.train") / "recipes"
_KINDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}
LENGTH = ("training.epochs", "training.iterations")  # what may change when a run goes on


def _number(default: float, least: float = 0, below: float = math.inf, **more: Any) -> Any:
    """An entry for a number of [least, below)."""
    return field(default=default, metadata={"least": least, "below": below, **more})


def _open(least: int) -> Any:
    """An entry for a whole number that a recipe may leave open: `settled` then decides."""
    return field(default=None, metadata={"least": least, "below": math.inf, "kind": int})


def _choice(default: str, *choices: str) -> Any:
    return field(default=default, metadata={"choices": choices})


@dataclass
class ModelRecipe:
    """Which network, and the options of `create_model`."""

    name: str = "attention_small_cifar"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataRecipe:
    """Which images: a name `minran.data.load` knows, how many (0: all), how they are prepared.

    size: pixels a side (CIFAR has 32 and takes no other); fit: how an image of a folder becomes
    a square, and memory: up to how many GiB a folder's squares are held in memory, larger ones
    being read as needed (`load_folder`); mean: what is subtracted, of each "pixel" or "channel"
    (`Preprocess.fit`).
    """

    name: str = "cifar10"
    train_count: int = _number(0)
    test_count: int = _number(0)
    label_noise: float = _number(0.0, below=1)  # share of wrong training labels, 1 - r of Eq. 7
    std: float = 64.0  # what the centred pixels (0..255) are divided by; the paper: by nothing (1)
    size: int = _number(32, least=1, below=4097)
    fit: str = _choice("cut", "cut", "pad", "stretch")
    mean: str = _choice("pixel", "pixel", "channel")
    memory: float = _number(1.0)


@dataclass
class AugmentRecipe:
    """What is done to training images.

    kind: "paper" pads, crops and flips unless `pad_crop_flip` is false; "imagenet" takes windows
    of random area and shape, flips, and changes colours (`minran.data.scale_crop_flip`).
    """

    pad_crop_flip: bool = True
    cutout: int = _number(0)
    mixup: float = _number(0.0)
    kind: str = _choice("paper", "paper", "imagenet")


@dataclass
class OptimizerRecipe:
    """SGD (`minran.optim.SGD`)."""

    lr: float = _number(0.1)
    momentum: float = _number(0.9, below=1)
    nesterov: bool = True
    weight_decay: float = _number(1e-4)


@dataclass
class ScheduleRecipe:
    """How the learning rate moves: "constant", "multistep", "cosine" or "one_cycle".

    milestones: the steps at which "multistep" multiplies the rate by `factor`; warmup: the share
    of the steps on the way up of "one_cycle" and "cosine".
    """

    kind: str = _choice("one_cycle", "constant", "multistep", "cosine", "one_cycle")
    milestones: list[int] = field(default_factory=list, metadata={"kinds": ("multistep",)})
    factor: float = _number(0.1, kinds=("multistep",))
    warmup: float = _number(0.25, below=1, kinds=("one_cycle", "cosine"))


@dataclass
class TrainingRecipe:
    """How long, in which batches. None is left open: `minran.train.settle` says what is taken."""

    epochs: int | None = _open(0)
    iterations: int = _number(0)  # stop after this many steps; 0: after `epochs`
    batch_size: int | None = _open(1)
    label_smoothing: float = _number(0.0, below=1)
    ema: float = _number(0.0, below=1)  # decay of the weights' average, tested and saved; 0: none
    test_batch_size: int = _number(250, least=1)
    test_every: int = _number(1, least=1)  # epochs between two tests
    log_every: int = _number(50, least=1)  # steps between two rows of the history
    checkpoint_every: int = _number(0)  # steps between two checkpoints; 0: one after every epoch
    keep_every: int = _number(0)  # epochs between two that stay (epoch-003.safetensors); 0: none
    init: str = ""
    """The weights to start from: a shipped name, a run's folder, a safetensors file; "": fresh."""
    init_least: float = _number(0.5, below=1)  # share of the network's numbers that must be there
    precise_norm: int | None = _open(0)
    """Training images over which batch norm's statistics are taken before each test; 0: none."""
    freeze: list[str] = field(default_factory=list, metadata={"items": str})
    """Layers that stay as they are, by name: ["stem", "stages.0"]."""


@dataclass
class Recipe:
    """A whole run. See the module's text for an example."""

    name: str = "unnamed"
    description: str = ""
    seed: int = _number(0)
    precision: str = _choice("tf32", "fp32", "tf32", "bf16")
    """How a GPU calculates: its convolutions multiply in "tf32" where it can, in "fp32" everywhere;
    "bf16" also stores the maps between operations in bfloat16. A CPU always uses float32."""
    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)

    def entries(self) -> dict[str, Any]:
        """Every entry by its dotted name, as `--set` takes it: {"optimizer.lr": 0.1, ...}."""
        found: dict[str, Any] = {}
        for name, value in vars(self).items():
            if dataclasses.is_dataclass(value):
                found |= {f"{name}.{key}": entry for key, entry in vars(value).items()}
            else:
                found[name] = value
        return found

    def to_toml(self) -> str:
        """The recipe as TOML that `parse` reads back; what is left open is not in it.

        Raises RecipeError for what TOML has not.
        """
        lines, before, defaults = [], "", Recipe().entries()
        for key, value in self.entries().items():
            if value is None and defaults[key] is None:
                continue
            section, _, name = key.rpartition(".")
            if section != before:
                lines += ["", f"[{section}]"]
            lines.append(f"{name} = {write_value(value, name)}")
            before = section
        return "\n".join(lines) + "\n"

    def length(self) -> list[Any]:
        """How long the recipe trains."""
        return [self.entries()[key] for key in LENGTH]

    def unused(self) -> dict[str, str]:
        """The entries that another one makes useless, and why."""
        kind, found = self.schedule.kind, {}
        for entry in dataclasses.fields(ScheduleRecipe):
            kinds = entry.metadata.get("kinds", (kind,))
            if kind not in kinds:
                users = " and ".join(kinds)
                found[f"schedule.{entry.name}"] = f"schedule.kind is {kind!r}, only {users} use it"
        if self.augment.kind != "paper":
            found["augment.pad_crop_flip"] = f"augment.kind is {self.augment.kind!r}"
        if not self.data.name.startswith("folder:"):
            found["data.fit"] = f"the images of {self.data.name} are square"
            found["data.memory"] = f"the images of {self.data.name} are always in memory"
        if self.training.iterations:
            found["training.epochs"] = f"training.iterations is {self.training.iterations}"
        if not self.training.init:
            found["training.init_least"] = "training.init names no weights to start from"
        return found


def list_recipes() -> list[str]:
    """The names of the recipes that come with minran."""
    return sorted(f.name[:-5] for f in _FOLDER.iterdir() if f.name[-5:] == ".toml")


@checked(RecipeError)
def load_recipe(name_or_file: str | Path, changes: Iterable[str] = ()) -> Recipe:
    """The recipe of that name or in that file, with `changes` such as "optimizer.lr=0.05".

    Raises RecipeError if there is none, or naming the entry that is wrong.
    """
    name, path, shipped = str(name_or_file), Path(name_or_file), list_recipes()
    if name in shipped:
        text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    elif path.suffix == ".toml" or path.is_file():
        expect(path.is_file(), f"there is no recipe file {path}", RecipeError)
        with explained(RecipeError, f"{path} is no text in UTF-8: ", kinds=UnicodeDecodeError):
            text = read_bytes(path, MAX_BYTES, RecipeError).decode()
    else:
        raise RecipeError(f"unknown recipe {name!r}; {did_you_mean(path.name, shipped)}")
    return parse(text, name, changes)


@checked(RecipeError)
def parse(text: str, source: str = "recipe", changes: Iterable[str] = ()) -> Recipe:
    """The recipe that `text` (TOML) describes, with `changes`. Raises RecipeError.

    A recipe that does not say its name takes that of its `source`. A change of training.epochs
    makes training.iterations 0 unless that is changed too, and one of schedule.kind drops what
    only the kind before used; a change that has no effect is refused.
    """
    table = read_table(text, source)
    table.setdefault("name", Path(source).stem)
    changed = []
    for change in changes:
        good = isinstance(change, str) and "=" in change
        expect(good, f"--set wants KEY=VALUE, got {change!r}", RecipeError)
        key, value = map(str.strip, change.split("=", 1))
        changed.append(key)
        *sections, last = key.split(".")
        inner = table
        for section in sections:
            inner = inner.setdefault(section, {})
            expect(isinstance(inner, dict), f"--set {key}: {section!r} is no table", RecipeError)
        inner[last] = _read_value(value, f"--set {key}")
    recipe = Recipe()
    _fill(recipe, table)
    if "training.epochs" in changed and "training.iterations" not in changed:
        recipe.training.iterations = 0
    for key, reason in recipe.unused().items():
        expect(key not in changed, f"--set {key} would have no effect: {reason}", RecipeError)
        section, _, entry = key.partition(".")
        if f"{section}.kind" in changed:
            setattr(getattr(recipe, section), entry, Recipe().entries()[key])
    return recipe


def _fill(section: Any, table: dict[str, Any], prefix: str = "") -> None:
    """Set the entries of a recipe, or of a section of one, that the table has."""
    limits = {entry.name: entry.metadata for entry in dataclasses.fields(section)}
    for key, value in table.items():
        name = prefix + key
        if key not in limits:
            raise RecipeError(f"unknown entry {name!r:.99}; {_advice(key, prefix, limits)}")
        default = getattr(section, key)
        if not dataclasses.is_dataclass(default):
            kind = limits[key].get("kind", type(default))
            setattr(section, key, _convert(kind, limits[key], value, name))
        else:
            _fill(default, _convert(dict, {}, value, name), name + ".")


def _convert(kind: Any, limits: Mapping[str, Any], value: Any, name: str) -> Any:
    """`value` as the kind that the entry `name` wants; raises RecipeError if it is another."""
    if kind is float and type(value) is int:
        value = float(value)
    # bool is a kind of int in Python, not in a recipe: `type`, not `isinstance`.
    good = type(value) is kind
    good = good and (kind is not float or math.isfinite(value))
    words, items = _KINDS[kind], limits.get("items", int)
    if kind is list:
        words = f"{words} of {_ITEMS[items]}"
        good = good and all(type(item) is items for item in value)
    expect(good, f"{name} must be {words}, got {value!r:.99}", RecipeError)
    if "least" in limits:
        least, below = limits["least"], limits["below"]
        words = f"at least {least}" + (f" and below {below}" if below < math.inf else "")
        expect(least <= value < below, f"{name} must be {words}, got {value}", RecipeError)
    if "choices" in limits:
        words, good = " or ".join(map(repr, limits["choices"])), value in limits["choices"]
        expect(good, f"{name} must be {words}, got {value!r:.99}", RecipeError)
    return value


def _advice(key: str, prefix: str, siblings: Collection[str]) -> str:
    """The entry that someone who wrote `key` may have meant: next to it, or in another section."""
    if close := nearest(key.lower(), siblings):
        return f"did you mean {prefix + close!r}?"
    elsewhere = {name.rpartition(".")[2]: name for name in Recipe().entries()}
    if close := nearest(key.lower(), elsewhere, cutoff=0.75):
        return f"did you mean {elsewhere[close]!r}?"
    known = ", ".join(prefix + sibling for sibling in siblings)
    hint = " (the network's own options are entries of model.options)" if prefix == "model." else ""
    return f"known: {known}{hint}"


def read_table(text: str, source: str) -> dict[str, Any]:
    """The table that `text` (TOML) describes.

    Raises RecipeError naming the `source` if it is no TOML, or longer, deeper or with larger
    numbers than any recipe, which could take memory and time without end.
    """
    expect(len(text) <= MAX_BYTES, f"{source} has more than {MAX_BYTES:,} characters", RecipeError)
    # The time for a key with many dots grows with their square.
    dots = max(line.count(".") for line in f"{text}\n".splitlines())
    expect(dots <= _MAX_DOTS, f"{source} has a line with {dots} dots", RecipeError)
    broken = f"{source} is not valid TOML: "
    with explained(RecipeError, broken, kinds=(ValueError, RecursionError)):
        table = tomllib.loads(text.removeprefix("\ufeff"))
    _expect_plain(table, source)
    return table


def _read_value(text: str, name: str) -> Any:
    """A value as TOML reads it (`0.1`, `true`, `[1, 2]`, `"text"`), or else the bare word."""
    none = f"{name} has no value that a recipe can have: "
    with explained(RecipeError, none, kinds=(ValueError, RecursionError)):
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
    _expect_plain(value, name)
    return value


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
        plain = not any("\ud800" <= letter <= "\udfff" for letter in value)
        expect(plain, f"{source} has text that is no Unicode: {value!a:.99}", RecipeError)


def write_value(value: Any, name: str) -> str:
    """Text, numbers, true or false, lists and tables of them as TOML writes them.

    Raises RecipeError, with the entry's `name`, for anything else.
    """
    if isinstance(value, dict):
        pairs = [f"{_key(str(k))} = {write_value(v, f'{name}.{k}')}" for k, v in value.items()]
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(write_value(item, name) for item in value) + "]"
    good = isinstance(value, (str, bool, int, float))
    expect(good, f"{name} cannot be written into a recipe: {value!r}", RecipeError)
    _expect_plain(value, name)
    # JSON's texts are TOML's, but for one control character; its numbers, but for their words.
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def _key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else write_value(name, name)
