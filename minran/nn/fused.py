"""Where norms, ReLUs and convolutions follow each other, they may run as one."""

from __future__ import annotations

from collections.abc import Sequence

from minran import ops
from minran.autograd import Tensor
from minran.nn.layers import BatchNorm2d, BatchNormReLU, Conv2d
from minran.nn.module import Module, is_observed


def norm_conv(norm: Module, conv: Module, x: Tensor, residual: Tensor | None = None) -> Tensor:
    """conv(norm(x)) + residual, in one pass if the backend has it.

    Step by step when somebody observes the modules (`nn.observe`), who wants to see each; and
    for anything but a BatchNormReLU before a plain square convolution.
    """
    if (
        isinstance(norm, BatchNormReLU)
        and isinstance(conv, Conv2d)
        and conv.fusable
        and ops.has_fused()
        and not is_observed()
    ):
        return ops.norm_relu_conv2d(
            x,
            norm.gamma,
            norm.beta,
            norm.running_mean,
            norm.running_var,
            norm.training,
            conv.weight,
            conv.stride[0],
            conv.padding[0],
            residual,
            norm.momentum,
            norm.eps,
        )
    y = conv(norm(x))
    return y if residual is None else y + residual


def folds(norms: Sequence[Module], convs: Sequence[Module | None]) -> bool:
    """Whether a unit of these parts may run as `folded_unit`; None stands for no projection.

    If all norms are in evaluation, nobody looks inside, and no part was exchanged for another kind.
    """
    return (
        ops.can_fold()
        and not is_observed()
        and all(isinstance(norm, BatchNormReLU) and not norm.training for norm in norms)
        and all(conv is None or (isinstance(conv, Conv2d) and conv.fusable) for conv in convs)
    )


def folded_unit(
    x: Tensor, norms: Sequence[BatchNorm2d], convs: Sequence[Conv2d], projection: Conv2d | None
) -> Tensor:
    """`ops.folded_unit` of a pre-activation bottleneck's layers; the second has the stride."""
    return ops.folded_unit(
        x,
        [(n.gamma, n.beta, n.running_mean, n.running_var, n.eps) for n in norms],
        [conv.weight for conv in convs],
        None if projection is None else projection.weight,
        convs[1].stride[0],
    )
