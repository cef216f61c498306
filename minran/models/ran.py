"""The Residual Attention Networks: one class, one table of specifications."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minran.autograd import Tensor
from minran.errors import RecipeError, expect
from minran.models.attention import AttentionModule
from minran.models.fused import FusedBuild
from minran.models.units import Build, unit
from minran.nn import Conv2d, GlobalAvgPool, Linear, MaxPool2d, Module, Sequential


@dataclass(frozen=True)
class Spec:
    """Everything that tells one Residual Attention Network from another.

    stem            "imagenet" (conv 7x7/2, bn, relu, max-pool), "cifar" (conv 3x3) or
                    "pooled" (conv 3x3, max-pool 2x2: for small networks on a CPU)
    widths          channels of each stage; the first unit of every stage but the first halves
                    the picture
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


_IMAGENET = Spec(
    stem="imagenet",
    stem_width=64,
    widths=(256, 512, 1024),
    modules=(1, 1, 1),
    depths=(3, 2, 1),
    tail_width=2048,
    tail_stride=2,
    num_classes=1000,
    image_size=224,
)
_CIFAR = Spec(
    stem="cifar",
    stem_width=16,
    widths=(64, 128, 256),
    modules=(1, 1, 1),
    depths=(3, 2, 1),
    tail_width=256,
)
_SMALL = Spec(
    stem="pooled",
    stem_width=32,
    widths=(32, 64, 128),
    modules=(1, 1, 1),
    depths=(2, 1, 1),
    tail_width=128,
    tail_units=1,
)


def _cifar(modules: int, **changes: Any) -> Spec:
    return replace(_CIFAR, modules=(modules,) * 3, **changes)


SPECS: dict[str, Spec] = {
    # ImageNet (paper Tables 2 and 7; the authors' published network files)
    "attention56": _IMAGENET,
    "attention92": replace(_IMAGENET, modules=(1, 2, 3)),
    "attentionnext56": replace(_IMAGENET, unit="resnext"),
    "attentionnext92": replace(_IMAGENET, unit="resnext", modules=(1, 2, 3)),
    "attentioninception56": replace(_IMAGENET, unit="inception"),
    # CIFAR (paper Tables 3 and 6): trunk depth 36 m + 20 with m modules in every stage
    "attention56_cifar": _cifar(1),
    "attention92_cifar": _cifar(2),
    "attention128_cifar": _cifar(3),
    "attention164_cifar": _cifar(4),
    "attention236_cifar": _cifar(6),
    "attention452_cifar": _cifar(6, p=2, t=4, r=3),
    # For CPUs and lessons
    "attention_small_cifar": _SMALL,
    "attention_nano": replace(
        _SMALL, stem_width=16, widths=(16, 32), modules=(1, 1), depths=(2, 1), tail_width=32
    ),
}


class ResidualAttentionNetwork(Module):
    """Stem, stages of (unit, attention modules), tail of units, pool, classifier.

    x: (N, H, W, 3) -> logits (N, num_classes).
    """

    def __init__(self, spec: Spec, seed: int = 0, dtype: Any = np.float32) -> None:
        self.spec = spec
        build = FusedBuild(np.random.default_rng(seed), dtype, spec.unit, spec.groups)
        self.stem = _stem(build, spec)
        self.stages = Sequential()
        width = spec.stem_width
        for stage, channels in enumerate(spec.widths):
            first = unit(build, width, channels, stride=1 if stage == 0 else 2)
            modules = [
                AttentionModule(
                    build,
                    channels,
                    spec.depths[stage],
                    spec.p,
                    spec.t,
                    spec.r,
                    spec.learning,
                    spec.attention,
                    spec.mask,
                )
                for _ in range(spec.modules[stage])
            ]
            setattr(self.stages, str(stage), Sequential(first, *modules))
            width = channels
        self.tail = Sequential()
        for index in range(spec.tail_units):
            stride = spec.tail_stride if index == 0 else 1
            setattr(self.tail, str(index), unit(build, width, spec.tail_width, stride))
            width = spec.tail_width
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


def _stem(build: Build, spec: Spec) -> Sequential:
    """The first layers; only ImageNet's has a norm (on CIFAR the first unit's own comes next)."""
    width = spec.stem_width
    if spec.stem == "imagenet":
        conv: Conv2d = build.conv(3, width, 7, stride=2, padding=3)
        return Sequential(conv, build.norm_relu(width), MaxPool2d(3, stride=2, ceil_mode=True))
    expect(
        spec.stem in ("cifar", "pooled"),
        f"stem must be one of ('imagenet', 'cifar', 'pooled'), got {spec.stem!r}",
        RecipeError,
    )
    conv = build.conv(3, width, 3, padding=1)
    return Sequential(conv) if spec.stem == "cifar" else Sequential(conv, MaxPool2d(2))
