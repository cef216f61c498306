"""The Residual Attention Network once more, in PyTorch, to compare minran's networks against.

Written from the paper and its authors' Caffe files alone, never from `minran.models`: two
independent readings that agree to ten digits are unlikely to share a mistake. Module names are
minran's, so weights travel both ways by name (`minran.interop.weights`). Layout is PyTorch's NCHW,
`channels_last` memory works too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from minran.errors import RecipeError, expect
from minran.interop.twin_units import (
    BatchNormReLU,
    ChannelAttention,
    Hourglass,
    InceptionUnit,
    PreActUnit,
    ResNeXtUnit,
    SpatialAttention,
    UnitFactory,
    chain,
    conv,
    initialise,
    make_stem,
)

ATTENTION = {"mixed": nn.Sigmoid, "channel": ChannelAttention, "spatial": SpatialAttention}


@dataclass(frozen=True)
class TwinSpec:
    """One network: the columns of the paper's Table 2, plus the options of its ablations.

    `depths` are the numbers of poolings in the masks of each stage, `p, t, r` the paper's
    hyper-parameters (units before and after the split, in the trunk, between two poolings).
    """

    stem: str = "cifar"  # "imagenet": 7x7/2, BN-ReLU, pool; "cifar": 3x3; "pooled": 3x3, pool 2x2
    stem_width: int = 16
    widths: Sequence[int] = (64, 128, 256)
    modules: Sequence[int] = (1, 1, 1)
    depths: Sequence[int] = (3, 2, 1)
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

    @property
    def preactivation(self) -> bool:
        """Whether BN-ReLU stands before the convolutions (then the net needs one at its end)."""
        return self.unit == "preact"

    def make_unit(self) -> UnitFactory:
        """The class of every residual unit of this network."""
        if self.unit == "resnext":
            return partial(ResNeXtUnit, groups=self.groups)
        return InceptionUnit if self.unit == "inception" else PreActUnit


class MaskBranch(nn.Module):
    """M(x): the body (hourglass, or Table 4's three local units), then the head.

    Head: [BN-ReLU] conv1x1 BN-ReLU conv1x1 activation; the first BN-ReLU only where the body's
    units are pre-activation ones. No BN stands directly before the activation.
    """

    def __init__(self, spec: TwinSpec, channels: int, depth: int) -> None:
        super().__init__()
        unit = spec.make_unit()
        self.body: nn.Module
        if spec.mask == "hourglass":
            self.body = Hourglass(unit, channels, depth, spec.r)
        else:
            self.body = chain(unit, channels, 3)
        first = [BatchNormReLU(channels)] if spec.preactivation else []
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


class ResidualAttentionTwin(nn.Module):
    """The whole network: stem, stages of a unit and attention modules, tail, norm, pool, fc.

    images: (N, 3, H, W) -> logits (N, K). Table 2 of the paper.
    """

    def __init__(self, spec: TwinSpec) -> None:
        super().__init__()
        unit = spec.make_unit()
        self.stem = make_stem(spec.stem, spec.stem_width)
        channels = spec.stem_width
        stages = []
        for s, (width, count, depth) in enumerate(
            zip(spec.widths, spec.modules, spec.depths, strict=True)
        ):
            first = unit(channels, width, stride=1 if s == 0 else 2)
            modules = [AttentionModule(spec, width, depth) for _ in range(count)]
            stages.append(nn.Sequential(first, *modules))
            channels = width
        self.stages = nn.Sequential(*stages)
        tail = []
        for i in range(spec.tail_units):
            tail.append(unit(channels, spec.tail_width, stride=spec.tail_stride if i == 0 else 1))
            channels = spec.tail_width
        self.tail = nn.Sequential(*tail)
        self.norm = BatchNormReLU(channels) if spec.preactivation else nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, spec.num_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.tail(self.stages(self.stem(images)))
        return self.fc(self.pool(self.norm(x)).flatten(1))


class ResNetTwin(nn.Module):
    """The baseline of the paper's Table 5: pre-activation bottleneck ResNet-164 for CIFAR."""

    def __init__(
        self,
        num_classes: int = 10,
        widths: Sequence[int] = (64, 128, 256),
        units: int = 18,
        stem_width: int = 16,
    ) -> None:
        super().__init__()
        self.stem = make_stem("cifar", stem_width)
        channels = stem_width
        stages = []
        for s, width in enumerate(widths):
            first = PreActUnit(channels, width, stride=1 if s == 0 else 2)
            stages.append(
                nn.Sequential(first, *(PreActUnit(width, width) for _ in range(1, units)))
            )
            channels = width
        self.stages = nn.Sequential(*stages)
        self.norm = BatchNormReLU(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.stages(self.stem(images)))
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

SPECS: dict[str, TwinSpec] = {
    "attention56": _IMAGENET,
    "attention92": replace(_IMAGENET, modules=(1, 2, 3)),
    "attentionnext56": replace(_IMAGENET, unit="resnext"),
    "attentionnext92": replace(_IMAGENET, unit="resnext", modules=(1, 2, 3)),
    "attentioninception56": replace(_IMAGENET, unit="inception"),
    "attention56_cifar": _CIFAR,
    "attention92_cifar": replace(_CIFAR, modules=(2, 2, 2)),
    "attention128_cifar": replace(_CIFAR, modules=(3, 3, 3)),
    "attention164_cifar": replace(_CIFAR, modules=(4, 4, 4)),
    "attention236_cifar": replace(_CIFAR, modules=(6, 6, 6)),
    "attention452_cifar": replace(_CIFAR, modules=(6, 6, 6), p=2, t=4, r=3),
    "attention_small_cifar": replace(
        _CIFAR,
        stem="pooled",
        stem_width=32,
        widths=(32, 64, 128),
        depths=(2, 1, 1),
        tail_units=1,
        tail_width=128,
    ),
    "attention_nano": replace(
        _CIFAR,
        stem="pooled",
        widths=(16, 32),
        modules=(1, 1),
        depths=(2, 1),
        tail_units=1,
        tail_width=32,
    ),
}

CHOICES = {
    "learning": ("residual", "naive"),
    "attention": tuple(ATTENTION),
    "mask": ("hourglass", "local", "none"),
    "unit": ("preact", "resnext", "inception"),
}


def create_twin(name: str, num_classes: int | None = None, **options: object) -> nn.Module:
    """Build the PyTorch twin of `minran.create_model(name, num_classes, **options)`.

    Options are the fields of `TwinSpec` (learning, attention, mask, unit, p, t, r, and the widths
    and counts for small variants); for resnet164_cifar widths, units, stem_width.
    Raises RecipeError for an unknown name, option or choice.
    """
    if num_classes is not None:
        options["num_classes"] = num_classes
    if name == "resnet164_cifar":
        known = {"num_classes", "widths", "units", "stem_width"}
        _expect_known(name, options, known)
        return ResNetTwin(**options)  # type: ignore[arg-type]
    names = ", ".join([*SPECS, "resnet164_cifar"])
    expect(name in SPECS, f"create_twin: no network {name!r}; there are {names}", RecipeError)
    _expect_known(name, options, {field.name for field in fields(TwinSpec)})
    spec = replace(SPECS[name], **options)  # type: ignore[arg-type]
    for option, allowed in CHOICES.items():
        value = getattr(spec, option)
        message = f"create_twin: {option} must be one of {', '.join(allowed)}; got {value!r}"
        expect(value in allowed, message, RecipeError)
    lengths = {len(spec.widths), len(spec.modules), len(spec.depths)}
    message = "create_twin: widths, modules and depths must name the same number of stages"
    expect(len(lengths) == 1, message, RecipeError)
    return ResidualAttentionTwin(spec)


def _expect_known(name: str, options: dict[str, object], known: set[str]) -> None:
    unknown = sorted(set(options) - known)
    message = f"create_twin: {name} has no option {', '.join(unknown)}; it has {sorted(known)}"
    expect(not unknown, message, RecipeError)


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Count the multiply-adds of one image's forward pass in convolutions and linear layers.

    Runs on PyTorch's `meta` device, where tensors have shapes but no values: instant at any size.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = cast(Tensor, layer.weight)
        positions = output.shape[2:].numel() if isinstance(layer, nn.Conv2d) else 1
        total += weight.numel() * positions

    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            model(torch.empty(1, 3, image_size, image_size, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return total
