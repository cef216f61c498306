"""The residual units that trunk and mask are built of.

Every unit maps (N, H, W, Cin) to (N, H/stride, W/stride, C) and adds its input to what it
computes. The shortcut is the input itself when shapes agree, else a 1x1 projection; a
projection exists only where it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from minran import ops
from minran.autograd import Tensor
from minran.errors import RecipeError, expect
from minran.nn import BatchNorm2d, BatchNormReLU, Conv2d, Module, Sequential

Kind = TypeVar("Kind", bound=type[Module])


@dataclass(frozen=True)
class Build:
    """What every piece of one network is built with."""

    rng: np.random.Generator
    dtype: Any = np.float32
    unit: str = "preact"
    groups: int = 32

    def conv(
        self, cin: int, cout: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> Conv2d:
        """A convolution without bias: a batch norm follows or precedes each of them."""
        return Conv2d(cin, cout, kernel, stride, padding, groups, rng=self.rng, dtype=self.dtype)

    def norm(self, channels: int) -> BatchNorm2d:
        """Batch norm alone."""
        return BatchNorm2d(channels, dtype=self.dtype)

    def norm_relu(self, channels: int) -> BatchNormReLU:
        """Batch norm and ReLU."""
        return self.kind(BatchNormReLU)(channels, dtype=self.dtype)

    def projection(self, cin: int, cout: int, stride: int) -> Conv2d | None:
        """The shortcut of a unit that changes the shape; None where it is the input itself."""
        return self.conv(cin, cout, 1, stride) if cin != cout or stride != 1 else None

    def kind(self, plain: Kind) -> Kind:
        """The class to make a part of: this one. `models.fused` has faster ones for some."""
        return plain

    @property
    def pre_activation(self) -> bool:
        """Whether batch norm and ReLU stand before each convolution (else after it)."""
        return self.unit == "preact"


class PreActUnit(Module):
    """Pre-activation bottleneck (He et al. 2016), the unit of all Attention-N networks.

    a = relu(bn(x)); y = conv1x1(a) -> C/4; y = conv3x3(relu(bn(y))), with the stride;
    y = conv1x1(relu(bn(y))) -> C; output y + shortcut, where a projecting shortcut is
    conv1x1(a): it reads the pre-activated input.
    """

    def __init__(self, build: Build, cin: int, cout: int, stride: int = 1) -> None:
        expect(cout % 4 == 0, f"PreActUnit: width must divide by 4, got {cout}", RecipeError)
        inner = cout // 4
        self.norm1 = build.norm_relu(cin)
        self.conv1 = build.conv(cin, inner, 1)
        self.norm2 = build.norm_relu(inner)
        self.conv2 = build.conv(inner, inner, 3, stride, padding=1)
        self.norm3 = build.norm_relu(inner)
        self.conv3 = build.conv(inner, cout, 1)
        self.shortcut = build.projection(cin, cout, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, Cin) -> (N, H/stride, W/stride, C)."""
        a = self.norm1(x)
        y = self.conv3(self.norm3(self.conv2(self.norm2(self.conv1(a)))))
        return y + (x if self.shortcut is None else self.shortcut(a))


class ResNeXtUnit(Module):
    """Post-activation bottleneck with grouped 3x3 convolution, the unit of AttentionNeXt-N.

    y = relu(bn(conv1x1(x))) -> C/2; y = relu(bn(conv3x3(y))) in 32 groups, with the stride;
    y = bn(conv1x1(y)) -> C; output relu(y + shortcut). A projecting shortcut has its own bn.
    """

    def __init__(self, build: Build, cin: int, cout: int, stride: int = 1) -> None:
        what = f"half the width {cout} must divide into {build.groups} groups"
        expect(cout % (2 * build.groups) == 0, f"ResNeXtUnit: {what}", RecipeError)
        inner = cout // 2
        self.conv1 = build.conv(cin, inner, 1)
        self.norm1 = build.norm_relu(inner)
        self.conv2 = build.conv(inner, inner, 3, stride, padding=1, groups=build.groups)
        self.norm2 = build.norm_relu(inner)
        self.conv3 = build.conv(inner, cout, 1)
        self.norm3 = build.norm(cout)
        self.shortcut = build.projection(cin, cout, stride)
        self.shortcut_norm = None if self.shortcut is None else build.norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm3(self.conv3(self.norm2(self.conv2(self.norm1(self.conv1(x))))))
        return ops.relu(y + _project(x, self.shortcut, self.shortcut_norm))


class InceptionUnit(Module):
    """Inception-ResNet-A (Szegedy et al. 2016) scaled to width C, for AttentionInception-56.

    With b = C/8, side by side: 1x1 -> b; 1x1 -> b, 3x3 -> b; 1x1 -> b, 3x3 -> 3b/2,
    3x3 -> 2b, each followed by bn and relu. Their 4b channels go through conv1x1 -> C and bn;
    output relu(that + shortcut). The last convolution of each branch has the stride.
    The paper names the variant (Table 7) without publishing it: this block is our choice.
    """

    def __init__(self, build: Build, cin: int, cout: int, stride: int = 1) -> None:
        expect(cout % 16 == 0, f"InceptionUnit: width must divide by 16, got {cout}", RecipeError)
        b = cout // 8

        def branch(*steps: tuple[int, int]) -> Sequential:
            layers: list[Module] = []
            width = cin
            for step, (channels, kernel) in enumerate(steps, 1):
                strides = stride if step == len(steps) else 1
                layers.append(build.conv(width, channels, kernel, strides, kernel // 2))
                layers.append(build.norm_relu(channels))
                width = channels
            return Sequential(*layers)

        self.branch1 = branch((b, 1))
        self.branch2 = branch((b, 1), (b, 3))
        self.branch3 = branch((b, 1), (3 * b // 2, 3), (2 * b, 3))
        self.conv = build.conv(4 * b, cout, 1)
        self.norm = build.norm(cout)
        self.shortcut = build.projection(cin, cout, stride)
        self.shortcut_norm = None if self.shortcut is None else build.norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        y = ops.concat([self.branch1(x), self.branch2(x), self.branch3(x)])
        return ops.relu(self.norm(self.conv(y)) + _project(x, self.shortcut, self.shortcut_norm))


def _project(x: Tensor, shortcut: Conv2d | None, norm: BatchNorm2d | None) -> Tensor:
    return x if shortcut is None or norm is None else norm(shortcut(x))


UNITS: dict[str, type[Any]] = {
    "preact": PreActUnit,
    "resnext": ResNeXtUnit,
    "inception": InceptionUnit,
}


def unit(build: Build, cin: int, cout: int, stride: int = 1) -> Module:
    """One residual unit of the network's kind."""
    return build.kind(UNITS[build.unit])(build, cin, cout, stride)


def units(build: Build, channels: int, count: int) -> Sequential:
    """`count` residual units of one width, one after another."""
    return Sequential(*(unit(build, channels, channels) for _ in range(count)))
