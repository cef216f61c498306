"""Every kernel as plain loops over numbers: the oracle, and the place to start reading.

Read in this order: `conv`, `pool`, `resize`, `activation`, `norm`, `loss`. Slow on purpose:
each kernel spells its equation and nothing else, and the fast backends are tested against it.

A backward kernel is the adjoint of its forward kernel, spelled by the same loops. For what is
linear there is one rule: wherever forward reads `x[p]`, multiplies by a weight and adds to
`y[q]`, backward reads `gy[q]`, multiplies by the same weight and adds to `gx[p]`. (`gy` is the
gradient of the loss with respect to y: it has y's shape, as `gx` has x's.)

Letters: N pictures, H rows, W columns, C channels; OH, OW the rows and columns of an output;
`stride`, `padding` and `kernel` are pairs (rows, columns). All kernels calculate in float64 and
return the dtype of their first array; `precision` does that, so that no equation has to.
"""

import numpy as xp

from minran.backend.naive.activation import (
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
from minran.backend.naive.conv import conv2d, conv2d_backward
from minran.backend.naive.loss import (
    cross_entropy,
    cross_entropy_backward,
    log_softmax,
    log_softmax_backward,
    sgd_update,
    softmax,
    softmax_backward,
)
from minran.backend.naive.norm import (
    batch_moments,
    batch_norm,
    batch_norm_backward_input,
    batch_norm_backward_sums,
)
from minran.backend.naive.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool,
    global_avg_pool_backward,
    max_pool2d,
    max_pool2d_backward,
)
from minran.backend.naive.resize import upsample_bilinear2d, upsample_bilinear2d_backward

name = "naive"

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
    "gate",
    "gate_backward",
    "global_avg_pool",
    "global_avg_pool_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "name",
    "relu",
    "relu_backward",
    "sgd_update",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "spatial_attention",
    "spatial_attention_backward",
    "upsample_bilinear2d",
    "upsample_bilinear2d_backward",
    "xp",
]
