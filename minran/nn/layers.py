"""The layers of the network: each holds the parameters of one operation of `minran.ops`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import checks, ops
from minran.autograd import Array, Tensor
from minran.errors import ShapeError, expect, expect_bool, expect_number, expect_whole
from minran.nn import init
from minran.nn.module import Module, Parameter

Size = int | tuple[int, int]


class Conv2d(Module):
    """`ops.conv2d` with weight (KH, KW, Cin/groups, Cout) and, if asked for, bias (Cout,).

    >>> layer = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    >>> layer(tensor(np.zeros((1, 8, 8, 3), "float32"))).shape, layer.weight.shape
    ((1, 4, 4, 8), (3, 3, 3, 8))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        groups: int = 1,
        bias: bool = False,
        *,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        checks.expect_groups("Conv2d", in_channels, out_channels, groups)
        self.stride = checks.sides(stride, "Conv2d: stride")
        self.padding = checks.sides(padding, "Conv2d: padding", 0)
        self.groups = groups
        kernel = checks.sides(kernel_size, "Conv2d: kernel_size")
        shape = (*kernel, in_channels // groups, out_channels)
        dtype = checks.floating(dtype, "Conv2d: dtype")
        self.weight = Parameter(init.he_normal(checks.generator(rng), shape, dtype))
        self.bias = Parameter(init.constant((out_channels,), 0, dtype)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, Cin) -> (N, Ho, Wo, Cout)."""
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.groups)


class Linear(Module):
    """`ops.linear` with weight (in, out) and bias (out,).

    >>> nn.Linear(4, 10)(tensor(np.zeros((2, 4), "float32"))).shape
    (2, 10)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        checks.expect_counts("Linear", in_features=in_features, out_features=out_features)
        dtype = checks.floating(dtype, "Linear: dtype")
        shape = in_features, out_features
        self.weight = Parameter(init.uniform_fan_in(checks.generator(rng), shape, dtype))
        self.bias = Parameter(init.constant((out_features,), 0, dtype)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return ops.linear(x, self.weight, self.bias)


class BatchNorm2d(Module):
    """`ops.batch_norm` with gamma and beta (trained), running_mean and running_var (tracked).

    >>> norm = nn.BatchNorm2d(3)
    >>> norm(tensor(np.random.default_rng(0).standard_normal((4, 2, 2, 3)), dtype="float32")).shape
    (4, 2, 2, 3)
    >>> norm.eval().training
    False
    """

    buffer_names = ("running_mean", "running_var")

    def __init__(
        self, channels: int, momentum: float = 0.1, eps: float = 1e-5, *, dtype: Any = np.float32
    ) -> None:
        expect_whole(channels, "BatchNorm2d: channels")
        expect_number(momentum, "BatchNorm2d: momentum")
        expect(momentum <= 1, f"BatchNorm2d: momentum must be at most 1, got {momentum}")
        expect_number(eps, "BatchNorm2d: eps")
        dtype = checks.floating(dtype, "BatchNorm2d: dtype")
        self.momentum, self.eps = momentum, eps
        self.gamma = Parameter(init.constant((channels,), 1, dtype))
        self.beta = Parameter(init.constant((channels,), 0, dtype))
        self.running_mean = init.constant((channels,), 0, dtype)
        self.running_var = init.constant((channels,), 1, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        return ops.batch_norm(x, *self.arguments())

    def arguments(self) -> tuple[Tensor, Tensor, Array, Array, bool, float, float]:
        """What the operation takes after x."""
        running = self.running_mean, self.running_var
        return self.gamma, self.beta, *running, self.training, self.momentum, self.eps


class BatchNormReLU(BatchNorm2d):
    """Batch norm and the ReLU after it as one operation: `ops.batch_norm_relu`.

    >>> x = tensor(np.random.default_rng(0).standard_normal((4, 2, 2, 3)), dtype="float32")
    >>> float(nn.BatchNormReLU(3)(x).numpy().min())
    0.0
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.batch_norm_relu(x, *self.arguments())


class ReLU(Module):
    """`ops.relu`: max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class Sigmoid(Module):
    """`ops.sigmoid`: 1 / (1 + exp(-x)); mixed attention, f1 (Eq. 4)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class ChannelAttention(Module):
    """`ops.channel_attention`: f2 (Eq. 5), (N, H, W, C) -> (N, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.channel_attention(x)


class SpatialAttention(Module):
    """`ops.spatial_attention`: f3 (Eq. 6), (N, H, W, C) -> (N, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.spatial_attention(x)


class GlobalAvgPool(Module):
    """`ops.global_avg_pool`: (N, H, W, C) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.global_avg_pool(x)


class MaxPool2d(Module):
    """`ops.max_pool2d`: (N, H, W, C) -> (N, Ho, Wo, C).

    >>> pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # of the masks
    >>> pool(tensor(np.zeros((1, 32, 32, 4), "float32"))).shape
    (1, 16, 16, 4)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = checks.sides(kernel_size, "MaxPool2d: kernel_size")
        self.stride = None if stride is None else checks.sides(stride, "MaxPool2d: stride")
        self.padding = checks.sides(padding, "MaxPool2d: padding", 0)
        expect_bool(ceil_mode, "MaxPool2d: ceil_mode")
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode)


class UpsampleBilinear2d(Module):
    """`ops.upsample_bilinear2d` to a fixed size, or to the size given in the call.

    >>> small, large = (tensor(np.zeros((1, n, n, 4), "float32")) for n in (4, 7))
    >>> nn.UpsampleBilinear2d()(small, large).shape
    (1, 7, 7, 4)
    """

    def __init__(self, size: Size | None = None, align_corners: bool = True) -> None:
        expect_bool(align_corners, "UpsampleBilinear2d: align_corners")
        self.size = None if size is None else checks.sides(size, "UpsampleBilinear2d: size")
        self.align_corners = align_corners

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """(N, h, w, C) -> (N, H, W, C), with the height and width of `like` if it is given."""
        size = self.size if like is None else like.shape[1:3]
        if size is None:
            raise ShapeError("UpsampleBilinear2d: give a size, or a tensor whose size to take")
        return ops.upsample_bilinear2d(x, (size[0], size[1]), self.align_corners)
