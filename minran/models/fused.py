"""The same parts, computed faster: norm, ReLU, convolution and sum in one pass over memory.

What the parts compute is said by the classes they inherit from, in `units` and `attention`. Here
`forward` does it with the backend's fused kernels (docs/speed.md). The plain `forward` runs
wherever these do not fit: on a backend without them, when a part was exchanged for another kind,
and when somebody observes the modules (`nn.observe`), who wants to see each.
"""

from __future__ import annotations

from typing import Any

from minran import backend, ops
from minran.autograd import Tensor, is_recording
from minran.models.attention import Head
from minran.models.units import Build, Kind, PreActUnit
from minran.nn import BatchNormReLU, Conv2d, Module
from minran.nn.module import is_observed
from minran.ops.fused import NormReLUConv2d
from minran.ops.norm import Moments


def _named_as_its_base(kind: Kind) -> Kind:
    """Summaries and drawings name what a part computes, not how."""
    kind.__name__ = kind.__mro__[1].__name__
    return kind


class Summed(Tensor):
    """A map with its moments: mean and variance per channel, summed when the map was made.

    Between two parts they travel with the map, so that the norm that reads it need not sum again.
    """

    __slots__ = ("_moments", "_of")

    def __init__(self, y: Tensor, moments: Moments) -> None:
        super().__init__(y.data)
        self.requires_grad, self.op, self.version = y.requires_grad, y.op, y.version
        self._moments, self._of = moments, y.data

    @property
    def moments(self) -> Moments | None:
        """They, unless the map has changed since."""
        return self._moments if self.data is self._of and self.version == [0] else None


def moments_of(x: Tensor) -> Moments | None:
    """The moments that came with x, or None."""
    return x.moments if isinstance(x, Summed) else None


@_named_as_its_base
class FusedNormReLU(BatchNormReLU):
    """Batch norm and ReLU, with the moments that come with the map."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        return ops.batch_norm_relu(x, *self._arguments(), moments=moments_of(x))


@_named_as_its_base
class FusedPreActUnit(PreActUnit):
    """A `PreActUnit` in three fused operations or, in evaluation without gradients, in one."""

    def __init__(self, build: Build, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__(build, cin, cout, stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, Cin) -> (N, H/stride, W/stride, C)."""
        if self._is_as_built() and not is_observed():
            training = self.norm1.training or self.norm2.training or self.norm3.training
            if backend.has("folded_unit") and not training and not is_recording():
                return self._folded(x)
            if backend.has("norm_relu_conv2d"):
                return self._fused(x)
        return super().forward(x)

    def _is_as_built(self) -> bool:
        """Whether no part was exchanged for one of another kind."""
        return (
            all(_is_norm_relu(norm) for norm in (self.norm1, self.norm2, self.norm3))
            and _is_conv(self.conv1, 1)
            and _is_conv(self.conv2, 3, self.stride)
            and _is_conv(self.conv3, 1)
            and (self.shortcut is None or _is_conv(self.shortcut, 1, self.stride))
        )

    def _fused(self, x: Tensor) -> Tensor:
        if self.shortcut is None:
            y, moments = _norm_conv(self.norm1, self.conv1, x, moments_of(x))
            shortcut = x
        else:
            a = self.norm1(x)
            y, moments = self.conv1(a), None
            shortcut = self.shortcut(a)
        y, moments = _norm_conv(self.norm2, self.conv2, y, moments)
        y, moments = _norm_conv(self.norm3, self.conv3, y, moments, shortcut)
        return y if moments is None else Summed(y, moments)

    def _folded(self, x: Tensor) -> Tensor:
        norms = self.norm1, self.norm2, self.norm3
        return ops.folded_unit(
            x,
            [(n.gamma, n.beta, n.running_mean, n.running_var, n.eps) for n in norms],
            [conv.weight for conv in (self.conv1, self.conv2, self.conv3)],
            None if self.shortcut is None else self.shortcut.weight,
            self.stride,
        )


@_named_as_its_base
class FusedHead(Head):
    """A mask's `Head`, each norm in one pass with the convolution behind it."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        layers: list[Any] = list(self)
        activation = layers.pop()
        before = layers[: len(layers) % 2]  # behind post-activation units: a convolution
        norms, convs = layers[len(before) :: 2], layers[len(before) + 1 :: 2]
        if (
            is_observed()
            or not backend.has("norm_relu_conv2d")
            or not all(map(_is_norm_relu, norms))
            or not all(_is_conv(conv, 1) for conv in convs)
        ):
            return super().forward(x)
        for layer in before:
            x = layer(x)
        moments = moments_of(x)
        for norm, conv in zip(norms, convs, strict=True):
            x, moments = _norm_conv(norm, conv, x, moments)
        return activation(x)


FASTER: dict[type[Module], type[Module]] = {
    BatchNormReLU: FusedNormReLU,
    PreActUnit: FusedPreActUnit,
    Head: FusedHead,
}


class FusedBuild(Build):
    """Builds a network of the faster kinds, where there is one."""

    def kind(self, plain: Kind) -> Kind:
        """The faster kind."""
        return FASTER.get(plain, plain)  # type: ignore[return-value]


def _norm_conv(
    norm: BatchNormReLU,
    conv: Conv2d,
    x: Tensor,
    moments: Moments | None,
    residual: Tensor | None = None,
) -> tuple[Tensor, Moments | None]:
    """conv(norm(x)) + residual, and its moments; `moments` are those of x, if they are known."""
    op = NormReLUConv2d(
        norm.running_mean,
        norm.running_var,
        norm.training,
        norm.momentum,
        norm.eps,
        conv.stride[0],
        conv.padding[0],
        moments,
    )
    y = op(x, norm.gamma, norm.beta, conv.weight, residual)
    return y, op.moments_of_y


def _is_norm_relu(norm: Module) -> bool:
    return type(norm) in (BatchNormReLU, FusedNormReLU)


def _is_conv(conv: Module, kernel: int, stride: int = 1) -> bool:
    """Whether it is a plain convolution that keeps the size, but for the stride."""
    return (
        type(conv) is Conv2d
        and conv.weight.shape[:2] == (kernel, kernel)
        and conv.stride == (stride, stride)
        and conv.padding == (kernel // 2, kernel // 2)
        and conv.groups == 1
        and conv.bias is None
    )
