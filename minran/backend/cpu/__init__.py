"""The NumPy kernels: blocks of samples that fit the cache, on every core.

Read in this order: `blocks` (how work is split), `memory` (where arrays come from),
then `conv`, `pool`, `resize`, `norm`, `activation`, `loss`. Each kernel has the name and
the meaning of its loop version in `backend/naive`, which is its oracle.
"""

import numpy as xp

from minran.backend.cpu.activation import (
    add,
    channel_attention,
    channel_attention_backward,
    gate,
    gate_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    spatial_attention,
    spatial_attention_backward,
)
from minran.backend.cpu.blocks import ensure_available, set_threads, threads
from minran.backend.cpu.conv import conv2d, conv2d_backward
from minran.backend.cpu.folded import folded_unit
from minran.backend.cpu.fused import (
    norm_backward_inplace,
    norm_relu_conv2d,
    norm_relu_conv2d_backward,
)
from minran.backend.cpu.loss import (
    cross_entropy,
    cross_entropy_backward,
    log_softmax,
    log_softmax_backward,
    sgd_update,
    softmax,
    softmax_backward,
)
from minran.backend.cpu.norm import (
    batch_moments,
    batch_norm,
    batch_norm_backward_input,
    batch_norm_backward_sums,
)
from minran.backend.cpu.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool,
    global_avg_pool_backward,
    max_pool2d,
    max_pool2d_backward,
)
from minran.backend.cpu.resize import upsample_bilinear2d, upsample_bilinear2d_backward

name = "numpy"

__all__ = [
    "add",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_moments",
    "batch_norm",
    "batch_norm_backward_input",
    "batch_norm_backward_sums",
    "channel_attention",
    "channel_attention_backward",
    "conv2d",
    "conv2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "ensure_available",
    "folded_unit",
    "gate",
    "gate_backward",
    "global_avg_pool",
    "global_avg_pool_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "name",
    "norm_backward_inplace",
    "norm_relu_conv2d",
    "norm_relu_conv2d_backward",
    "relu",
    "relu_backward",
    "set_threads",
    "sgd_update",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "spatial_attention",
    "spatial_attention_backward",
    "threads",
    "upsample_bilinear2d",
    "upsample_bilinear2d_backward",
    "xp",
]
