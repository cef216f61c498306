"""Layers and the Module they are: read `module`, then `layers`."""

from minran.nn.layers import (
    BatchNorm2d,
    BatchNormReLU,
    ChannelAttention,
    Conv2d,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    ReLU,
    Sigmoid,
    SpatialAttention,
    UpsampleBilinear2d,
)
from minran.nn.module import Module, Parameter, Sequential, observe

__all__ = [
    "BatchNorm2d",
    "BatchNormReLU",
    "ChannelAttention",
    "Conv2d",
    "GlobalAvgPool",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "SpatialAttention",
    "UpsampleBilinear2d",
    "observe",
]
