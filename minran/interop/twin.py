"""The Residual Attention Network once more, in PyTorch, to compare minran's networks against.

Written from the paper and its authors' Caffe files alone, never from `minran.models`: two
independent readings that agree to ten digits are unlikely to share a mistake. Module names are
minran's, so weights travel both ways by name (`minran.interop.weights`). Layout is PyTorch's NCHW,
`channels_last` memory works too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minran.errors import RecipeError, expect

UnitFactory = Callable[..., nn.Module]  # (in_channels, out_channels, stride=1) -> unit


def conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution that keeps the size (at stride 1), without a bias: a BN always follows."""
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d | None:
    """The shortcut of a unit whose shape changes."""
    changes = in_channels != out_channels or stride != 1
    return conv(in_channels, out_channels, 1, stride) if changes else None


class BatchNormReLU(nn.BatchNorm2d):
    """max(bn(x), 0) in one module, so that its names are those of minran's fused layer."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input), inplace=True)


class ChannelAttention(nn.Module):
    """f2(x)_{i,c} = x_{i,c} / ||x_i||, the L2 norm over channels at each position (Eq. 5)."""

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt((x * x).sum(dim=1, keepdim=True) + 1e-12)


class SpatialAttention(nn.Module):
    """f3(x)_{i,c} = sigmoid((x_{i,c} - mean_c) / std_c), over each channel's own map (Eq. 6)."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        return torch.sigmoid((x - mean) / torch.sqrt(variance + 1e-5))


ATTENTION = {"mixed": nn.Sigmoid, "channel": ChannelAttention, "spatial": SpatialAttention}


class PreActUnit(nn.Module):
    """The pre-activation bottleneck: y = conv3(act(conv2(act(conv1(a))))) + shortcut, a = act(x).

    act is BN-ReLU, the bottleneck is C/4 wide. The shortcut is x itself, or a 1x1 convolution of a
    (not of x) where the shape changes. He et al. 2016, Identity Mappings.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        narrow = out_channels // 4
        self.norm1 = BatchNormReLU(in_channels)
        self.conv1 = conv(in_channels, narrow, 1)
        self.norm2 = BatchNormReLU(narrow)
        self.conv2 = conv(narrow, narrow, 3, stride)
        self.norm3 = BatchNormReLU(narrow)
        self.conv3 = conv(narrow, out_channels, 1)
        self.shortcut = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        a = self.norm1(x)
        y = self.conv3(self.norm3(self.conv2(self.norm2(self.conv1(a)))))
        return y + (x if self.shortcut is None else self.shortcut(a))


class PostActUnit(nn.Module):
    """What the two post-activation units share: relu(body(x) + shortcut), shortcut x or BN-conv."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.shortcut = projection(in_channels, out_channels, stride)
        self.shortcut_norm = nn.BatchNorm2d(out_channels) if self.shortcut else nn.Identity()

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        identity = self.shortcut_norm(self.shortcut(x)) if self.shortcut else x
        return F.relu(self.body(x) + identity)


class ResNeXtUnit(PostActUnit):
    """1x1 to C/2, 3x3 in `groups` groups, 1x1 to C, a BN after each (Xie et al. 2017)."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 32
    ) -> None:
        super().__init__(in_channels, out_channels, stride)
        narrow = out_channels // 2
        self.conv1 = conv(in_channels, narrow, 1)
        self.norm1 = BatchNormReLU(narrow)
        self.conv2 = conv(narrow, narrow, 3, stride, groups)
        self.norm2 = BatchNormReLU(narrow)
        self.conv3 = conv(narrow, out_channels, 1)
        self.norm3 = nn.BatchNorm2d(out_channels)

    def body(self, x: Tensor) -> Tensor:
        return self.norm3(self.conv3(self.norm2(self.conv2(self.norm1(self.conv1(x))))))


class InceptionUnit(PostActUnit):
    """Inception-ResNet-A of Szegedy et al. 2016, scaled to width C by b = C/8.

    Branches 1x1 b | 1x1 b, 3x3 b | 1x1 b, 3x3 3b/2, 3x3 2b, concatenated (4b), then 1x1 to C with
    a BN. In a branch a BN-ReLU follows each convolution; the branch's last one has the stride.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, stride)
        b = out_channels // 8
        self.branch1 = branch(conv(in_channels, b, 1, stride))
        self.branch2 = branch(conv(in_channels, b, 1), conv(b, b, 3, stride))
        self.branch3 = branch(
            conv(in_channels, b, 1), conv(b, 3 * b // 2, 3), conv(3 * b // 2, 2 * b, 3, stride)
        )
        self.conv = conv(4 * b, out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels)

    def body(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.branch1(x), self.branch2(x), self.branch3(x)], dim=1)
        return self.norm(self.conv(joined))


def branch(*convolutions: nn.Conv2d) -> nn.Sequential:
    """The convolutions in a row, a BN-ReLU after each."""
    layers: list[nn.Module] = []
    for convolution in convolutions:
        layers += [convolution, BatchNormReLU(convolution.out_channels)]
    return nn.Sequential(*layers)


def chain(unit: UnitFactory, channels: int, count: int) -> nn.Sequential:
    """`count` units of one width, one after the other."""
    return nn.Sequential(*(unit(channels, channels) for _ in range(count)))


@dataclass(frozen=True)
class TwinSpec:
    """One network: the columns of the paper's Table 2, plus the options of its ablations.

    `depths` are the numbers of poolings in the masks of each stage, `p, t, r` the paper's
    hyper-parameters (units before and after the split, in the trunk, between two poolings).
    `units` make the baseline of Table 5: units in each stage instead of attention modules.
    """

    stem: str = "cifar"  # a key of STEMS
    stem_width: int = 16
    widths: Sequence[int] = (64, 128, 256)
    modules: Sequence[int] = (1, 1, 1)
    depths: Sequence[int] = (3, 2, 1)
    units: int = 1
    tail_units: int = 3
    tail_width: int = 256
    tail_stride: int = 1
    num_classes: int = 10
    unit: str = "preact"
    groups: int = 32
    p: int = 1
    t: int = 2
    r: int = 1
    learning: str = "residual"
    attention: str = "mixed"
    mask: str = "hourglass"

    def make_unit(self) -> UnitFactory:
        """The class of every residual unit of this network."""
        return (
            partial(ResNeXtUnit, groups=self.groups) if self.unit == "resnext" else UNITS[self.unit]
        )


UNITS = {"preact": PreActUnit, "resnext": ResNeXtUnit, "inception": InceptionUnit}


class Hourglass(nn.Module):
    """The mask's encoder-decoder: pools, recurses at half the size, interpolates back.

    d = down(pool(x));  y = up(skip(d) + inner(d)) while levels remain, else y = bottom(d);
    the output is y interpolated to the size of x. Nothing else is added anywhere.
    x: (N, C, H, W) -> (N, C, H, W). Section 3.1 and Figure 2 of the paper.
    """

    def __init__(self, unit: UnitFactory, channels: int, depth: int, r: int) -> None:
        super().__init__()
        self.depth = depth
        # Caffe's pooling: no padding, sizes rounded up (56 -> 28 -> 14 -> 7, never 27).
        self.pool = nn.MaxPool2d(3, stride=2, padding=0, ceil_mode=True)
        self.down = chain(unit, channels, r)
        if depth > 1:
            self.skip = unit(channels, channels)
            self.inner = Hourglass(unit, channels, depth - 1, r)
            self.up = chain(unit, channels, r)
        else:
            self.bottom = chain(unit, channels, r)

    def forward(self, x: Tensor) -> Tensor:
        d = self.down(self.pool(x))
        y = self.up(self.skip(d) + self.inner(d)) if self.depth > 1 else self.bottom(d)
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=True)


class MaskBranch(nn.Module):
    """M(x): the body (hourglass, or Table 4's three local units), then the head.

    Head: [BN-ReLU] conv1x1 BN-ReLU conv1x1 activation; the first BN-ReLU only where the body's
    units are pre-activation ones. No BN stands directly before the activation.
    """

    def __init__(self, spec: TwinSpec, channels: int, depth: int) -> None:
        super().__init__()
        unit, local = spec.make_unit(), spec.mask != "hourglass"
        self.body: nn.Module = (
            chain(unit, channels, 3) if local else Hourglass(unit, channels, depth, spec.r)
        )
        first = [BatchNormReLU(channels)] if spec.unit == "preact" else []
        self.head = nn.Sequential(
            *first,
            conv(channels, channels, 1),
            BatchNormReLU(channels),
            conv(channels, channels, 1),
            ATTENTION[spec.attention](),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class AttentionModule(nn.Module):
    """before -> split into trunk T and mask M -> H -> after.

    H = (1 + M) T (learning="residual", Eq. 3) or H = M T ("naive", Eq. 1) or T (mask="none").
    x: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, spec: TwinSpec, channels: int, depth: int) -> None:
        super().__init__()
        unit = spec.make_unit()
        self.residual = spec.learning == "residual"
        self.before = chain(unit, channels, spec.p)
        self.trunk = chain(unit, channels, spec.t)
        self.mask = MaskBranch(spec, channels, depth) if spec.mask != "none" else None
        self.after = chain(unit, channels, spec.p)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        h = self.trunk(x)
        if self.mask is not None:
            m = self.mask(x)
            h = (1 + m) * h if self.residual else m * h
        return self.after(h)


STEMS: dict[str, Callable[[int], list[nn.Module]]] = {
    "cifar": lambda width: [conv(3, width, 3)],
    "pooled": lambda width: [conv(3, width, 3), nn.MaxPool2d(2, stride=2)],
    "imagenet": lambda width: [
        conv(3, width, 7, stride=2),
        BatchNormReLU(width),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
    ],
}
"""What stands before the first stage, (N, 3, H, W) -> (N, width, H', W')."""


class Twin(nn.Module):
    """A whole network: stem, stages, tail, last norm, mean over positions, classifier.

    In each stage a unit, then attention modules; units for a tail (Table 2 of the paper).
    images: (N, 3, H, W) -> logits (N, K). He initialisation (fan-in) of convolutions;
    std 1/sqrt(in) and no bias for the classifier.
    """

    def __init__(self, spec: TwinSpec) -> None:
        super().__init__()
        unit, channels = spec.make_unit(), spec.stem_width
        self.stem = nn.Sequential(*STEMS[spec.stem](channels))
        self.stages, self.tail = nn.Sequential(), nn.Sequential()
        for width, count, depth in zip(spec.widths, spec.modules, spec.depths, strict=True):
            first = unit(channels, width, stride=2 if self.stages else 1)
            more = chain(unit, width, spec.units - 1)
            modules = (AttentionModule(spec, width, depth) for _ in range(count))
            self.stages.append(nn.Sequential(first, *more, *modules))
            channels = width
        for _ in range(spec.tail_units):
            stride = 1 if self.tail else spec.tail_stride
            self.tail.append(unit(channels, spec.tail_width, stride=stride))
            channels = spec.tail_width
        # What ends in a pre-activation unit has seen no BN-ReLU since the last sum.
        self.norm = BatchNormReLU(channels) if spec.unit == "preact" else nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, spec.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        nn.init.normal_(self.fc.weight, std=channels**-0.5)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.tail(self.stages(self.stem(images))))
        return self.fc(self.pool(x).flatten(1))


_IMAGENET = TwinSpec(
    stem="imagenet",
    stem_width=64,
    widths=(256, 512, 1024),
    tail_width=2048,
    tail_stride=2,
    num_classes=1000,
)
_CIFAR = TwinSpec()
_POOLED = TwinSpec(stem="pooled", tail_units=1)

SPECS: dict[str, TwinSpec] = {
    "attention56": _IMAGENET,
    "attention92": replace(_IMAGENET, modules=(1, 2, 3)),
    "attentionnext56": replace(_IMAGENET, unit="resnext"),
    "attentionnext92": replace(_IMAGENET, unit="resnext", modules=(1, 2, 3)),
    "attentioninception56": replace(_IMAGENET, unit="inception"),
    **{
        f"attention{36 * m + 20}_cifar": replace(_CIFAR, modules=(m, m, m)) for m in (1, 2, 3, 4, 6)
    },
    "attention452_cifar": replace(_CIFAR, modules=(6, 6, 6), p=2, t=4, r=3),
    "attention_small_cifar": replace(
        _POOLED, stem_width=32, widths=(32, 64, 128), depths=(2, 1, 1), tail_width=128
    ),
    "attention_nano": replace(
        _POOLED, widths=(16, 32), modules=(1, 1), depths=(2, 1), tail_width=32
    ),
    "resnet164_cifar": replace(_CIFAR, units=18, tail_units=0),
}

CHOICES = {
    "learning": ("residual", "naive"),
    "attention": tuple(ATTENTION),
    "mask": ("hourglass", "local", "none"),
    "unit": tuple(UNITS),
}


def build(name: str, options: dict[str, Any]) -> Twin:
    """The twin of a network of minran; options are the fields of `TwinSpec` but `units`.

    resnet164_cifar has num_classes, widths, units and stem_width. Raises RecipeError for an
    unknown name, option or choice.
    """
    message = f"create_twin: no network {name!r}; there are {', '.join(SPECS)}"
    expect(name in SPECS, message, RecipeError)
    resnet = name == "resnet164_cifar"
    known = {field.name for field in fields(TwinSpec)} - {"units"}
    known = {"num_classes", "widths", "units", "stem_width"} if resnet else known
    unknown = sorted(options.keys() - known)
    message = f"create_twin: {name} has no option {', '.join(unknown)}; it has {sorted(known)}"
    expect(not unknown, message, RecipeError)
    spec = replace(SPECS[name], **options)
    if resnet:
        none = [0] * len(spec.widths)
        spec = replace(spec, modules=none, depths=none)
    for option, allowed in CHOICES.items():
        value = getattr(spec, option)
        message = f"create_twin: {option} must be one of {', '.join(allowed)}; got {value!r}"
        expect(value in allowed, message, RecipeError)
    lengths = {len(spec.widths), len(spec.modules), len(spec.depths)}
    message = "create_twin: widths, modules and depths must name the same number of stages"
    expect(len(lengths) == 1, message, RecipeError)
    return Twin(spec)
