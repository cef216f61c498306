"""Suspects for notebook 02: operations of which one has a wrong gradient.

Notebook 02 asks the reader to find it by testing, so read this file afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minran import ops
from minran.autograd import Op, Tensor
from minran.backend.cpu import loss, pool

Suspect = tuple[Callable[..., Tensor], tuple[np.ndarray, ...]]
"""A function of Tensors, and inputs to check it at."""

MADE_WRONG = "average pool"


class AveragePool(Op):
    """The mean over 3x3 windows with zeros around the picture; its backward is wrong.

    Forward divides every window by 9, the zeros included. Backward divides by the number of
    real pixels, which differs at the border: the two belong to different operations.
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        return pool.avg_pool2d(x, (3, 3), (1, 1), (1, 1))

    def backward(self, gy: np.ndarray) -> tuple[np.ndarray]:
        real = 9 * pool.avg_pool2d(np.ones(self.shape, gy.dtype), (3, 3), (1, 1), (1, 1))
        return (pool.avg_pool2d_backward(gy * (9 / real), self.shape, (3, 3), (1, 1), (1, 1)),)


class InterpolationOtherCorners(Op):
    """Bilinear interpolation with align_corners=True whose backward is that of False."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        return pool.upsample_bilinear2d(x, self.size, True)

    def backward(self, gy: np.ndarray) -> tuple[np.ndarray]:
        return (pool.upsample_bilinear2d_backward(gy, self.shape, False),)


class SoftmaxSameForAll(Op):
    """Softmax whose backward forgets that all outputs share one denominator, but for the mean.

    Right: gx = y (gy - sum(gy y)). Here: gx = y (gy - mean(gy)).
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.y = loss.softmax(x)
        return self.y

    def backward(self, gy: np.ndarray) -> tuple[np.ndarray]:
        return (self.y * (gy - gy.mean(-1, keepdims=True)),)


def planted(seed: int = 7) -> dict[str, Suspect]:
    """The suspects by name; one of them is wrong."""
    rng = np.random.default_rng(seed)
    picture = rng.standard_normal((1, 8, 9, 2))
    steps = np.round(2 * rng.standard_normal((1, 8, 9, 2)))  # equal neighbours: ties in a max
    return {
        "convolution": (
            lambda x, w: ops.conv2d(x, w, stride=2, padding=1),
            (picture, rng.standard_normal((3, 3, 2, 2))),
        ),
        "max pool": (lambda x: ops.max_pool2d(x, 3, 2), (steps,)),
        "average pool": (lambda x: AveragePool()(x), (picture,)),
        "interpolation": (lambda x: ops.upsample_bilinear2d(x, (13, 12)), (picture,)),
        "channel attention": (ops.channel_attention, (picture,)),
        "gate": (ops.gate, (rng.uniform(0, 1, picture.shape), picture)),
    }
