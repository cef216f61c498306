"""Suspects for notebook 02: operations of which one has a wrong gradient.

Notebook 02 asks the reader to find it by testing, so read this file afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minran import ops
from minran.autograd import Array, Tensor
from minran.ops.loss import Softmax
from minran.ops.pool import AvgPool2d, UpsampleBilinear2d

Suspect = tuple[Callable[..., Tensor], tuple[np.ndarray, ...]]
"""A function of Tensors, and inputs to check it at."""

MADE_WRONG = "average pool"


class AveragePool(AvgPool2d):
    """The mean over windows with zeros around the image; its backward is wrong.

    Forward divides every window by all its positions, the zeros included. Backward divides by the
    number of real pixels, which differs at the border: the two belong to different operations.
    """

    def backward(self, gy: Array) -> tuple[Array]:
        return super().backward(gy / self.forward(np.ones(self.shape, gy.dtype)))


class InterpolationOtherCorners(UpsampleBilinear2d):
    """Bilinear interpolation with align_corners=True whose backward is that of False."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(size, True)

    def backward(self, gy: Array) -> tuple[Array]:
        self.align_corners = False
        return super().backward(gy)


class SoftmaxSameForAll(Softmax):
    """Softmax whose backward forgets that all outputs share one denominator, except in the mean.

    Right: gx = y (gy - sum(gy y)). Here: gx = y (gy - mean(gy)).
    """

    def backward(self, gy: Array) -> tuple[Array]:
        return (self.y * (gy - gy.mean(-1, keepdims=True)),)


def planted(seed: int = 7) -> dict[str, Suspect]:
    """The suspects by name; one of them is wrong."""
    rng = np.random.default_rng(seed)
    picture = rng.standard_normal((1, 8, 9, 2))
    steps = np.round(2 * rng.standard_normal((1, 8, 9, 2)))  # equal neighbours: ties in a max
    filters = rng.standard_normal((3, 3, 2, 2))
    return {
        "convolution": (lambda x, w: ops.conv2d(x, w, stride=2, padding=1), (picture, filters)),
        "max pool": (lambda x: ops.max_pool2d(x, 3, 2), (steps,)),
        "average pool": (lambda x: AveragePool(3, 1, 1)(x), (picture,)),
        "interpolation": (lambda x: ops.upsample_bilinear2d(x, (13, 12)), (picture,)),
        "channel attention": (ops.channel_attention, (picture,)),
        "gate": (ops.gate, (rng.uniform(0, 1, picture.shape), picture)),
    }
