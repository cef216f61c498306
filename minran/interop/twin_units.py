"""The pieces of the PyTorch twin: attention activations, residual units, hourglass, stem."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UnitFactory = Callable[..., nn.Module]  # (in_channels, out_channels, stride=1) -> unit


def conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution that keeps the size (at stride 1), without a bias: a BN always follows."""
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )


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
        changes = in_channels != out_channels or stride != 1
        self.shortcut = conv(in_channels, out_channels, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        a = self.norm1(x)
        y = self.conv3(self.norm3(self.conv2(self.norm2(self.conv1(a)))))
        return y + (x if self.shortcut is None else self.shortcut(a))


class PostActUnit(nn.Module):
    """What the two post-activation units share: relu(body(x) + shortcut), shortcut x or BN-conv."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        changes = in_channels != out_channels or stride != 1
        self.shortcut = conv(in_channels, out_channels, 1, stride) if changes else None
        self.shortcut_norm = nn.BatchNorm2d(out_channels) if changes else None

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        if self.shortcut is not None and self.shortcut_norm is not None:
            identity = self.shortcut_norm(self.shortcut(x))
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


def make_stem(kind: str, width: int) -> nn.Sequential:
    """What stands before the first stage, (N, 3, H, W) -> (N, width, H', W')."""
    if kind == "imagenet":
        pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        return nn.Sequential(conv(3, width, 7, stride=2), BatchNormReLU(width), pool)
    if kind == "pooled":
        return nn.Sequential(conv(3, width, 3), nn.MaxPool2d(2, stride=2))
    return nn.Sequential(conv(3, width, 3))


def initialise(model: nn.Module) -> None:
    """He initialisation (fan-in) of convolutions; std 1/sqrt(in) and no bias for the classifier."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)
