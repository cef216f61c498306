"""Differentiable operations on tensors: each states its equation, shapes and errors."""

from minran.ops.activation import (
    LEARNING,
    channel_attention,
    gate,
    relu,
    sigmoid,
    spatial_attention,
)
from minran.ops.conv import conv2d, linear
from minran.ops.fused import folded_unit, norm_relu_conv2d
from minran.ops.loss import cross_entropy, log_softmax, softmax
from minran.ops.norm import batch_norm, batch_norm_relu
from minran.ops.pool import avg_pool2d, global_avg_pool, max_pool2d, upsample_bilinear2d
from minran.ops.shape import concat

__all__ = [
    "LEARNING",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_relu",
    "channel_attention",
    "concat",
    "conv2d",
    "cross_entropy",
    "folded_unit",
    "gate",
    "global_avg_pool",
    "linear",
    "log_softmax",
    "max_pool2d",
    "norm_relu_conv2d",
    "relu",
    "sigmoid",
    "softmax",
    "spatial_attention",
    "upsample_bilinear2d",
]
