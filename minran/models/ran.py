"""The networks: the Residual Attention Networks, a baseline without attention, and their table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minran import checks
from minran.autograd import Tensor
from minran.errors import RecipeError
from minran.models.attention import AttentionModule
from minran.models.fused import FusedBuild
from minran.models.units import Build, unit, units
from minran.nn import GlobalAvgPool, Linear, MaxPool2d, Module, Sequential


@dataclass(frozen=True)
class Spec:
    """Everything that tells one Residual Attention Network from another.

    stem            "imagenet" (conv 7x7/2, bn, relu, max-pool), "cifar" (conv 3x3) or
                    "pooled" (conv 3x3, max-pool 2x2: for small networks on a CPU)
    widths          channels of each stage; the first unit of every stage but the first halves
                    the image
    modules         attention modules in each stage
    depths          max-pools in the masks of each stage
    tail            width, number of units and first stride of the units after the last stage
    p, t, r         units before and after the split, in the trunk, and between mask poolings
    image_size      height and width that the network was drawn for
    """

    stem: str
    stem_width: int
    widths: tuple[int, ...]
    modules: tuple[int, ...]
    depths: tuple[int, ...]
    tail_width: int
    tail_units: int = 3
    tail_stride: int = 1
    unit: str = "preact"
    groups: int = 32
    p: int = 1
    t: int = 2
    r: int = 1
    learning: str = "residual"
    attention: str = "mixed"
    mask: str = "hourglass"
    num_classes: int = 10
    image_size: int = 32


@dataclass(frozen=True)
class ResNetSpec:
    """Widths and number of units of each stage."""

    stem_width: int = 16
    widths: tuple[int, ...] = (64, 128, 256)
    units: tuple[int, ...] = (18, 18, 18)
    num_classes: int = 10
    image_size: int = 32


# Stem and its width; of each stage the width, modules and depth of the masks; width of the tail.
_IMAGENET = Spec("imagenet", 64, (256, 512, 1024), (1, 1, 1), (3, 2, 1), 2048, tail_stride=2)
_IMAGENET = replace(_IMAGENET, num_classes=1000, image_size=224)
_CIFAR = Spec("cifar", 16, (64, 128, 256), (1, 1, 1), (3, 2, 1), 256)
_SMALL = Spec("pooled", 32, (32, 64, 128), (1, 1, 1), (2, 1, 1), 128, tail_units=1)

SPECS: dict[str, Any] = {
    # ImageNet (paper Tables 2 and 7; the authors' published network files)
    "attention56": _IMAGENET,
    "attention92": replace(_IMAGENET, modules=(1, 2, 3)),
    "attentionnext56": replace(_IMAGENET, unit="resnext"),
    "attentionnext92": replace(_IMAGENET, unit="resnext", modules=(1, 2, 3)),
    "attentioninception56": replace(_IMAGENET, unit="inception"),
    # CIFAR (paper Tables 3 and 6): trunk depth 36 m + 20 with m modules in every stage
    "attention56_cifar": _CIFAR,
    "attention92_cifar": replace(_CIFAR, modules=(2, 2, 2)),
    "attention128_cifar": replace(_CIFAR, modules=(3, 3, 3)),
    "attention164_cifar": replace(_CIFAR, modules=(4, 4, 4)),
    "attention236_cifar": replace(_CIFAR, modules=(6, 6, 6)),
    "attention452_cifar": replace(_CIFAR, modules=(6, 6, 6), p=2, t=4, r=3),
    # For CPUs and lessons
    "attention_small_cifar": _SMALL,
    "attention_nano": Spec("pooled", 16, (16, 32), (1, 1), (2, 1), 32, tail_units=1),
    # The baseline the paper compares with in Table 5 (He et al. 2016)
    "resnet164_cifar": ResNetSpec(),
}
"""Every network by its name."""


class ResidualAttentionNetwork(Module):
    """Stem, stages of (unit, attention modules), tail of units, pool, classifier.

    x: (N, H, W, 3) -> logits (N, num_classes).
    """

    def __init__(self, spec: Spec, seed: int = 0, dtype: Any = np.float32) -> None:
        self.spec = spec
        build = FusedBuild(np.random.default_rng(seed), dtype, spec.unit, spec.groups)
        names = ("p", "t", "r", "learning", "attention", "mask")
        options = {name: getattr(spec, name) for name in names}
        self.stem = _stem(build, spec)
        stages: list[Module] = []
        tail: list[Module] = []
        width = spec.stem_width
        for channels, count, depth in zip(spec.widths, spec.modules, spec.depths, strict=True):
            first = unit(build, width, channels, stride=2 if stages else 1)
            module = build.kind(AttentionModule)
            modules = (module(build, channels, depth, **options) for _ in range(count))
            stages.append(Sequential(first, *modules))
            width = channels
        for _ in range(spec.tail_units):
            tail.append(unit(build, width, spec.tail_width, 1 if tail else spec.tail_stride))
            width = spec.tail_width
        self.stages, self.tail = Sequential(*stages), Sequential(*tail)
        # Pre-activation units end in a sum: the last batch norm and ReLU are still to come.
        self.norm = build.norm_relu(width) if build.pre_activation else None
        self.pool = GlobalAvgPool()
        self.fc = Linear(width, spec.num_classes, rng=build.rng, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, 3) -> logits (N, num_classes)."""
        x = self.tail(self.stages(self.stem(x)))
        if self.norm is not None:
            x = self.norm(x)
        return self.fc(self.pool(x))


class ResNet(Module):
    """Stem conv3x3, stages of pre-activation units, BN-ReLU, pool, classifier.

    x: (N, H, W, 3) -> logits (N, num_classes).
    """

    def __init__(self, spec: ResNetSpec, seed: int = 0, dtype: Any = np.float32) -> None:
        self.spec = spec
        build = FusedBuild(np.random.default_rng(seed), dtype)
        self.stem = Sequential(build.conv(3, spec.stem_width, 3, padding=1))
        stages: list[Module] = []
        width = spec.stem_width
        for channels, count in zip(spec.widths, spec.units, strict=True):
            first = unit(build, width, channels, stride=2 if stages else 1)
            stages.append(Sequential(first, *units(build, channels, count - 1)))
            width = channels
        self.stages = Sequential(*stages)
        self.norm = build.norm_relu(width)
        self.pool = GlobalAvgPool()
        self.fc = Linear(width, spec.num_classes, rng=build.rng, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.norm(self.stages(self.stem(x)))))


def _stem(build: Build, spec: Spec) -> Sequential:
    """The first layers; only ImageNet's has a norm (on CIFAR the first unit's own comes next)."""
    checks.expect_one_of(spec.stem, ("imagenet", "cifar", "pooled"), "stem", RecipeError)
    width = spec.stem_width
    if spec.stem == "imagenet":
        conv = build.conv(3, width, 7, stride=2, padding=3)
        return Sequential(conv, build.norm_relu(width), MaxPool2d(3, stride=2, ceil_mode=True))
    conv = build.conv(3, width, 3, padding=1)
    return Sequential(conv) if spec.stem == "cifar" else Sequential(conv, MaxPool2d(2))
