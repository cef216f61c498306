"""The networks by name: `create_model("attention56_cifar")`; read `units`, `attention`, `ran`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minran import checks
from minran.errors import RecipeError, did_you_mean, expect_whole
from minran.models.attention import AttentionModule, Hourglass, MaskBranch
from minran.models.ran import SPECS, ResidualAttentionNetwork, ResNet, ResNetSpec
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
    return list(SPECS)


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
    if num_classes is not None:
        options["num_classes"] = num_classes
    expect_whole(seed, "create_model: seed", 0, error=RecipeError)
    if not isinstance(name, str) or name not in SPECS:
        raise RecipeError(f"unknown model {name!r}; {did_you_mean(str(name), SPECS)}")
    options = checks.model_options(name, options, SPECS[name])
    checks.expect_one_of(options.get("unit", "preact"), UNITS, f"{name}: unit", RecipeError)
    spec = replace(SPECS[name], **options)
    checks.expect_stages(name, spec)
    network: Any = ResNet if isinstance(spec, ResNetSpec) else ResidualAttentionNetwork
    return network(spec, seed, checks.precision(name, dtype))
