"""ResNet-164 for CIFAR (He et al. 2016), the baseline the paper compares with in Table 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minran.autograd import Tensor
from minran.models.fused import FusedBuild
from minran.models.units import unit
from minran.nn import GlobalAvgPool, Linear, Module, Sequential


@dataclass(frozen=True)
class ResNetSpec:
    """Widths and number of units of each stage."""

    stem_width: int = 16
    widths: tuple[int, ...] = (64, 128, 256)
    units: tuple[int, ...] = (18, 18, 18)
    num_classes: int = 10
    image_size: int = 32


SPECS = {"resnet164_cifar": ResNetSpec()}


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
            others = (unit(build, channels, channels) for _ in range(count - 1))
            stages.append(Sequential(first, *others))
            width = channels
        self.stages = Sequential(*stages)
        self.norm = build.norm_relu(width)
        self.pool = GlobalAvgPool()
        self.fc = Linear(width, spec.num_classes, rng=build.rng, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, 3) -> logits (N, num_classes)."""
        return self.fc(self.pool(self.norm(self.stages(self.stem(x)))))
