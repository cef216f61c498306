"""The same parts, computed faster: norm, ReLU, convolution and sum in one pass over memory.

What a part computes is said by the class it inherits from, in `units` and `attention`. Here
`forward` does it with the backend's fused kernels (docs/speed.md). The plain `forward` runs where
these do not fit: on a backend without them, when a layer was exchanged for another kind, and when
somebody observes the modules (`nn.observe`), who wants to see each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minran import backend, ops
from minran.autograd import Tensor, is_recording
from minran.models.attention import AttentionModule, Head, MaskBranch
from minran.models.units import Build, Kind, PreActUnit
from minran.nn import BatchNormReLU, Conv2d, Module, Sigmoid
from minran.nn.module import is_observed
from minran.ops.fused import NormReLUConv2d, SigmoidGate
from minran.ops.norm import Moments


class Summed(Tensor):
    """A map y with its moments, summed when y was made: the norm that reads it need not."""

    __slots__ = ("moments", "summed")

    def __init__(self, y: Tensor, moments: Moments) -> None:
        super().__init__(y.data)
        self.requires_grad, self.op, self.version = y.requires_grad, y.op, y.version
        self.moments, self.summed = moments, y.data


def moments_of(x: Tensor) -> Moments | None:
    """The moments that came with x, unless it has changed since."""
    if isinstance(x, Summed) and x.data is x.summed and x.version == [0]:
        return x.moments
    return None


def _named_as_its_base(kind: Kind) -> Kind:
    """Summaries and drawings name what a part computes, not how."""
    kind.__name__ = kind.__mro__[1].__name__
    return kind


@_named_as_its_base
class FusedNormReLU(BatchNormReLU):
    """Batch norm and ReLU, with the moments that come with the map."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.batch_norm_relu(x, *self.arguments(), moments=moments_of(x))


@_named_as_its_base
class FusedPreActUnit(PreActUnit):
    """A `PreActUnit` in three fused operations or, in evaluation without gradients, in one."""

    def __init__(self, build: Build, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__(build, cin, cout, stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        s = self.stride
        norms = self.norm1, self.norm2, self.norm3
        convs = (self.conv1, 1, 1), (self.conv2, 3, s), (self.conv3, 1, 1), (self.shortcut, 1, s)
        if _may_fuse(norms, convs):
            training = any(norm.training for norm in norms)
            if backend.has("folded_unit") and not training and not is_recording():
                return self._folded(x, norms)
            if backend.has("norm_relu_conv2d"):
                return self._fused(x)
        return super().forward(x)

    def _fused(self, x: Tensor) -> Tensor:
        y, first = _norm_conv(self.norm1, self.conv1, x)
        if self.shortcut is not None:
            # Each convolution normalises x on its way, so the norm's result is not stored.
            x, _ = _norm_conv(self.norm1, self.shortcut, x, first=first)
        y, _ = _norm_conv(self.norm2, self.conv2, y)
        return _norm_conv(self.norm3, self.conv3, y, x)[0]

    def _folded(self, x: Tensor, norms: Sequence[BatchNormReLU]) -> Tensor:
        return ops.folded_unit(
            x,
            [(n.gamma, n.beta, n.running_mean, n.running_var, n.eps) for n in norms],
            [conv.weight for conv in (self.conv1, self.conv2, self.conv3)],
            None if self.shortcut is None else self.shortcut.weight,
            self.stride,
        )


@_named_as_its_base
class FusedHead(Head):
    """A mask's `Head`, each norm in one pass with the convolution after it."""

    def forward(self, x: Tensor) -> Tensor:
        return self[-1](self.before_activation(x))

    def before_activation(self, x: Tensor) -> Tensor:
        """What the last layer, the activation, is given."""
        layers: list[Any] = list(self)[:-1]
        # Behind post-activation units the first layer is a convolution without a norm.
        first = layers[: len(layers) % 2]
        norms, convs = layers[len(first) :: 2], layers[len(first) + 1 :: 2]
        usual = _may_fuse(norms, [(conv, 1, 1) for conv in convs])
        fused = usual and backend.has("norm_relu_conv2d")
        for layer in first if fused else layers:
            x = layer(x)
        if fused:
            for norm, conv in zip(norms, convs, strict=True):
                x, _ = _norm_conv(norm, conv, x)
        return x


@_named_as_its_base
class FusedAttentionModule(AttentionModule):
    """An `AttentionModule` whose mask's sigmoid is one pass with the gate."""

    def forward(self, x: Tensor) -> Tensor:
        if not (backend.has("sigmoid_gate") and self.ends_in_sigmoid()):
            return super().forward(x)
        u = self.before(x)
        h = self.trunk(u)
        m = self.mask.head.before_activation(self.mask.body(u))  # type: ignore[union-attr]
        return self.after(SigmoidGate(self.learning == "residual")(m, h))

    def ends_in_sigmoid(self) -> bool:
        """Whether the mask is of the usual kind, with a sigmoid, and nobody observes it."""
        return (
            type(self.mask) is MaskBranch
            and type(self.mask.head) is FusedHead
            and type(self.mask.head[-1]) is Sigmoid
            and not is_observed()
        )


FASTER: dict[type[Module], type[Module]] = {
    BatchNormReLU: FusedNormReLU,
    PreActUnit: FusedPreActUnit,
    Head: FusedHead,
    AttentionModule: FusedAttentionModule,
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
    residual: Tensor | None = None,
    first: NormReLUConv2d | None = None,
) -> tuple[Tensor, NormReLUConv2d]:
    """conv(norm(x)) + residual, with its moments where they were summed on the way; what made it.

    first: what made conv(norm(x)) of another convolution before.
    """
    op = NormReLUConv2d(norm.arguments()[2:], conv.stride[0], conv.padding[0], moments_of(x), first)
    y = op(x, norm.gamma, norm.beta, conv.weight, residual)
    return y if op.moments_of_y is None else Summed(y, op.moments_of_y), op


def _may_fuse(norms: Sequence[Module], convs: Sequence[tuple[Module | None, int, int]]) -> bool:
    """Whether all layers are of the usual kind, and nobody observes them.

    convs: with the size of the kernel and the stride that are usual there; None: no projection.
    """
    return (
        not is_observed()
        and all(type(norm) in (BatchNormReLU, FusedNormReLU) for norm in norms)
        and all(conv is None or _is_conv(conv, *window) for conv, *window in convs)
    )


def _is_conv(conv: Module, kernel: int, stride: int) -> bool:
    if type(conv) is not Conv2d or conv.bias is not None:
        return False
    usual = (kernel, kernel), (stride, stride), (kernel // 2, kernel // 2), 1
    return (conv.weight.shape[:2], conv.stride, conv.padding, conv.groups) == usual
