"""The networks by name: `create_model("attention56_cifar")`; read `units`, `attention`, `ran`."""

from __future__ import annotations

from dataclasses import fields, replace
from numbers import Integral
from typing import Any

import numpy as np

from minran.errors import RecipeError, did_you_mean, expect_whole
from minran.models import ran, resnet
from minran.models.attention import AttentionModule, Hourglass, MaskBranch
from minran.models.ran import ResidualAttentionNetwork
from minran.models.resnet import ResNet
from minran.models.units import UNITS, InceptionUnit, PreActUnit, ResNeXtUnit
from minran.nn import Module

__all__ = [
    "AttentionModule",
    "Hourglass",
    "InceptionUnit",
    "MaskBranch",
    "PreActUnit",
    "ResNeXtUnit",
    "ResNet",
    "ResidualAttentionNetwork",
    "create_model",
    "list_models",
]


def list_models() -> list[str]:
    """The names that `create_model` knows.

    >>> minran.list_models()[:2]
    ['attention56', 'attention92']
    """
    return [*ran.SPECS, *resnet.SPECS]


def create_model(
    name: str,
    num_classes: int | None = None,
    *,
    dtype: Any = "float32",
    seed: int = 0,
    **options: Any,
) -> Module:
    """A network with fresh weights on the current backend.

    num_classes: 1000 for the ImageNet networks and 10 for the others unless said.
    dtype: "float32" or "float64". seed: the same seed gives the same weights.
    options: any field of the network's specification; for the attention networks
    `learning="residual"|"naive"`, `attention="mixed"|"channel"|"spatial"`,
    `mask="hourglass"|"local"|"none"`, `unit="preact"|"resnext"|"inception"`, `p`, `t`, `r`,
    `widths`, `modules`, `depths`, ...

    Raises RecipeError naming an unknown model or option and the nearest known one.

    >>> model = minran.create_model("attention_nano", num_classes=5, learning="naive")
    >>> model(tensor(np.zeros((2, 32, 32, 3), "float32"))).shape
    (2, 5)
    """
    specs: dict[str, Any] = {**ran.SPECS, **resnet.SPECS}
    if num_classes is not None:
        options["num_classes"] = num_classes
    expect_whole(seed, "create_model: seed", 0, error=RecipeError)
    if not isinstance(name, str) or name not in specs:
        raise RecipeError(f"unknown model {name!r}; {did_you_mean(str(name), specs)}")
    spec = specs[name]
    known = [field.name for field in fields(spec)]
    for option, value in options.items():
        if option not in known:
            raise RecipeError(f"{name}: unknown option {option!r}; {did_you_mean(option, known)}")
        _expect_kind(name, option, value, getattr(spec, option))
        if isinstance(value, list):
            options[option] = tuple(value)
    if options.get("unit", "preact") not in UNITS:
        raise RecipeError(f"{name}: unit must be one of {tuple(UNITS)}, got {options['unit']!r}")
    try:
        dtype = np.dtype(dtype)
    except TypeError as error:
        raise RecipeError(f"{name}: unknown dtype {dtype!r}") from error
    if dtype not in (np.float32, np.float64):
        raise RecipeError(f"{name}: dtype must be float32 or float64, got {dtype}")
    spec = replace(spec, **options)
    per_stage = {field: value for field, value in vars(spec).items() if isinstance(value, tuple)}
    if len({len(value) for value in per_stage.values()}) != 1:
        listed = ", ".join(f"{field} {value}" for field, value in per_stage.items())
        raise RecipeError(f"{name}: {listed} must have one entry per stage each")
    network = ResNet if name in resnet.SPECS else ResidualAttentionNetwork
    return network(spec, seed, dtype)


def _expect_kind(name: str, option: str, value: Any, default: Any) -> None:
    """An option's value is of the kind of its default: a whole number, a word, a tuple of them."""
    least = 0 if option in ("modules", "tail_units") else 1
    several = isinstance(default, tuple)
    if isinstance(default, str):
        good, wanted = isinstance(value, str), f"a word such as {default!r}"
    else:
        number = f"whole number{'s' if several else ''} of at least {least}"
        wanted = f"{number} such as {default}" if several else f"a {number}"
        # True and False are integers to Python, but never a size.
        good = (isinstance(value, tuple | list) or not several) and all(
            isinstance(n, Integral) and type(n) is not bool and int(n) >= least
            for n in (value if several else [value])
        )
    if not good:
        raise RecipeError(f"{name}: option {option!r} must be {wanted}, got {value!r}")
