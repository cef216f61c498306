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
import math
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from minran.errors import RecipeError, did_you_mean, expect, nearest
from minran.files import read_bytes
from minran.hints import checked
from minran.train.toml import MAX_BYTES, read_table, read_value, write_value

LENGTH = ("training.epochs", "training.iterations")
"""What may change when a run goes on: how long it trains."""


def _number(default: float, least: float = 0, below: float = math.inf, **more: Any) -> Any:
    """An entry for a number of [least, below)."""
    return field(default=default, metadata={"least": least, "below": below, **more})


def _choice(default: str, *choices: str) -> Any:
    return field(default=default, metadata={"choices": choices})


@dataclass
class ModelRecipe:
    """Which network, and the options of `create_model`."""

    name: str = "attention_small_cifar"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataRecipe:
    """Which pictures: a name `minran.data.load` knows, how many (0: all), label noise, scale."""

    name: str = "cifar10"
    train_count: int = _number(0)
    test_count: int = _number(0)
    label_noise: float = _number(0.0, below=1)
    """Share of wrong training labels, 1 - r of Eq. 7."""
    std: float = 64.0
    """What the centred pixels (0..255) are divided by; the paper divides by nothing (1)."""


@dataclass
class AugmentRecipe:
    """What is done to training pictures."""

    pad_crop_flip: bool = True
    cutout: int = _number(0)
    mixup: float = _number(0.0)


@dataclass
class OptimizerRecipe:
    """SGD (`minran.optim.SGD`)."""

    lr: float = _number(0.1)
    momentum: float = _number(0.9, below=1)
    nesterov: bool = True
    weight_decay: float = _number(1e-4)


@dataclass
class ScheduleRecipe:
    """How the learning rate moves: "constant", "multistep", "cosine" or "one_cycle"."""

    kind: str = _choice("one_cycle", "constant", "multistep", "cosine", "one_cycle")
    milestones: list[int] = field(default_factory=list, metadata={"kinds": ("multistep",)})
    """multistep: the steps at which the rate is multiplied by `factor`."""
    factor: float = _number(0.1, kinds=("multistep",))
    warmup: float = _number(0.25, below=1, kinds=("one_cycle", "cosine"))
    """one_cycle: share of the steps on the way up; cosine: the same."""


@dataclass
class TrainingRecipe:
    """How long, in which batches."""

    epochs: int = _number(8)
    iterations: int = _number(0)
    """Stop after this many steps; 0: after `epochs`."""
    batch_size: int = _number(128, least=1)
    label_smoothing: float = _number(0.0, below=1)
    ema: float = _number(0.0, below=1)
    """Decay of the averaged weights (`optim.Average`) that are tested and saved; 0: no average."""
    test_batch_size: int = _number(250, least=1)
    test_every: int = _number(1, least=1)
    """Epochs between two tests."""
    log_every: int = _number(50, least=1)
    """Steps between two rows of the history."""
    checkpoint_every: int = _number(0)
    """Steps between two checkpoints; 0: one after every epoch."""
    keep_every: int = _number(0)
    """Epochs between two checkpoints that stay (epoch-003.safetensors); 0: none does."""


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
        sections: dict[str, Any] = {}
        for name, value in vars(self).items():
            if dataclasses.is_dataclass(value):
                sections |= {f"{name}.{key}": entry for key, entry in vars(value).items()}
            else:
                found[name] = value
        return found | sections

    def to_toml(self) -> str:
        """The recipe as TOML that `parse` reads back. Raises RecipeError for what TOML has not."""
        lines, before = [], ""
        for key, value in self.entries().items():
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
        if self.training.iterations:
            found["training.epochs"] = f"training.iterations is {self.training.iterations}"
        return found


def list_recipes() -> list[str]:
    """The names of the recipes that come with minran."""
    folder = resources.files("minran.train") / "recipes"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")


@checked(RecipeError)
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
        try:
            text = read_bytes(path, MAX_BYTES, RecipeError).decode()
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path} is no text in UTF-8: {error}") from error
    else:
        advice = did_you_mean(path.name, shipped)
        raise RecipeError(f"unknown recipe {str(name_or_file)!r}; {advice}")
    return parse(text, str(name_or_file), changes)


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
        expect(isinstance(change, str), f"--set wants KEY=VALUE, got {change!r}", RecipeError)
        key, equals, value = change.partition("=")
        expect(equals == "=", f"--set wants KEY=VALUE, got {change!r}", RecipeError)
        changed.append(key.strip())
        *sections, last = changed[-1].split(".")
        inner = table
        for section in sections:
            inner = inner.setdefault(section, {})
            expect(isinstance(inner, dict), f"--set {key}: {section!r} is no table", RecipeError)
        inner[last] = read_value(value.strip(), f"--set {changed[-1]}")
    recipe: Recipe = _build(Recipe, table, "")
    if "training.epochs" in changed and "training.iterations" not in changed:
        recipe.training.iterations = 0
    for key, reason in recipe.unused().items():
        expect(key not in changed, f"--set {key} would have no effect: {reason}", RecipeError)
        section, _, entry = key.partition(".")
        if section == "schedule" and "schedule.kind" in changed:
            setattr(recipe.schedule, entry, getattr(ScheduleRecipe(), entry))
    return recipe


def _build(kind: Any, table: dict[str, Any], prefix: str) -> Any:
    """A dataclass from a table, entry by entry."""
    hints = typing.get_type_hints(kind)
    limits = {entry.name: entry.metadata for entry in dataclasses.fields(kind)}
    arguments: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            raise RecipeError(f"unknown entry {prefix + key!r:.99}; {_advice(key, prefix, hints)}")
        arguments[key] = _convert(hints[key], limits[key], value, prefix + key)
    return kind(**arguments)


def _convert(hint: Any, limits: Mapping[str, Any], value: Any, name: str) -> Any:
    """`value` as the kind that the entry `name` wants; raises RecipeError if it is another."""
    if dataclasses.is_dataclass(hint):
        expect(isinstance(value, dict), f"{name} must be a table, got {value!r:.99}", RecipeError)
        return _build(hint, value, name + ".")
    kind = typing.get_origin(hint) or hint
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    wanted = words.get(kind, "a list of whole numbers" if kind is list else "a table")
    # bool is a kind of int in Python, not in a recipe: `type`, not `isinstance`.
    good = type(value) is kind or (kind is float and type(value) is int)
    if good and kind is list:
        good = all(type(item) is int for item in value)
    if good and kind is float:
        value = float(value)
        good = math.isfinite(value)
    expect(good, f"{name} must be {wanted}, got {value!r:.99}", RecipeError)
    if "least" in limits:
        least, below = limits["least"], limits["below"]
        words_of_range = f"at least {least}" + (f" and below {below}" if below < math.inf else "")
        expect(least <= value < below, f"{name} must be {words_of_range}, got {value}", RecipeError)
    if "choices" in limits:
        choices = " or ".join(map(repr, limits["choices"]))
        good = value in limits["choices"]
        expect(good, f"{name} must be {choices}, got {value!r:.99}", RecipeError)
    return value


def _advice(key: str, prefix: str, siblings: Collection[str]) -> str:
    """The entry that someone who wrote `key` may have meant: beside it, or in another section."""
    if close := nearest(key.lower(), siblings):
        return f"did you mean {prefix + close!r}?"
    elsewhere = {name.rpartition(".")[2]: name for name in Recipe().entries()}
    if close := nearest(key.lower(), elsewhere, cutoff=0.75):
        return f"did you mean {elsewhere[close]!r}?"
    known = ", ".join(prefix + sibling for sibling in siblings)
    hint = " (the network's own options are entries of model.options)" if prefix == "model." else ""
    return f"known: {known}{hint}"
