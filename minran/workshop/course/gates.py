"""Parts and replacing of gates, for notebook 18: what could stand where the mask stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran.autograd import tensor
from minran.inspect.probe import call_shapes, multiply_adds
from minran.models import AttentionModule
from minran.nn import Conv2d, GlobalAvgPool, Linear, Module, UpsampleBilinear2d


class SqueezeExciteParts(Module):
    """The layers of a squeeze-and-excitation gate (Hu et al. 2018); `forward` is the exercise."""

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        few = channels // reduction
        self.squeeze = GlobalAvgPool()
        self.reduce = Linear(channels, few, rng=rng, dtype=dtype)
        self.expand = Linear(few, channels, rng=rng, dtype=dtype)
        self.spread = UpsampleBilinear2d()


def replace_masks(model: Module, make: Callable[[int], Module]) -> Module:
    """Put `make(channels)` where the mask of every attention module is; returns the model."""
    for _, module in list(model.named_modules()):
        if isinstance(module, AttentionModule):
            convolutions = [m for _, m in module.after.named_modules() if isinstance(m, Conv2d)]
            module.mask = make(convolutions[-1].weight.shape[-1])  # type: ignore[assignment]
    return model


def cost(module: Module, size: int, channels: int) -> tuple[int, int]:
    """Parameters, and multiply-adds of its convolutions and linear layers for one map.

    The map has size x size positions of `channels` numbers; counted by running it.
    """
    dtype = module.parameters()[0].dtype
    calls = call_shapes(module, tensor(np.zeros((1, size, size, channels), dtype)))
    return module.num_parameters(), sum(multiply_adds(part, shape) for part, _, shape in calls)
