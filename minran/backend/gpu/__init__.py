"""Our CUDA kernels on an NVIDIA GPU, through CuPy's arrays.

Read `launch` first (how a kernel file becomes a launch), then a pair of files at a time: the
Python that knows shapes and the CUDA that knows numbers, `pool.py` and `kernels/pool.cu`. The
convolution comes last: `conv.py`, `kernels/conv.cu`, `conv_views.cuh`, `product.cuh`, and
`tensorcore.cuh`. Each kernel has the name and the meaning of its loop version in `backend/naive`.
Everything is launched on CuPy's current stream, and nothing here waits for the GPU or copies to
it, so that a training step can be captured as a CUDA graph: `graph.py` does that.
"""

from __future__ import annotations

from typing import Any

from minran.backend.gpu import launch
from minran.backend.gpu.activation import (
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
from minran.backend.gpu.augment import augmented_batch, augmented_batch_on_host, one_hot_batch
from minran.backend.gpu.conv import conv2d, conv2d_backward
from minran.backend.gpu.cuda import describe, ensure_available
from minran.backend.gpu.engine import activations, precision, set_precision
from minran.backend.gpu.fused import norm_relu_conv2d, norm_relu_conv2d_backward
from minran.backend.gpu.launch import is_recording, place, recorder
from minran.backend.gpu.linear import linear, linear_backward
from minran.backend.gpu.loss import (
    addresses,
    cross_entropy,
    cross_entropy_backward,
    gather,
    log_softmax,
    log_softmax_backward,
    record_step,
    sgd_update,
    softmax,
    softmax_backward,
)
from minran.backend.gpu.norm import (
    batch_moments,
    batch_norm,
    batch_norm_backward_input,
    batch_norm_backward_sums,
    batch_statistics,
    norm_backward_inplace,
)
from minran.backend.gpu.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool,
    global_avg_pool_backward,
    max_pool2d,
    max_pool2d_backward,
)
from minran.backend.gpu.resize import upsample_bilinear2d, upsample_bilinear2d_backward

name = "cupy"

__all__ = [
    "activations",
    "add",
    "addresses",
    "augmented_batch",
    "augmented_batch_on_host",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_moments",
    "batch_norm",
    "batch_norm_backward_input",
    "batch_norm_backward_sums",
    "batch_statistics",
    "channel_attention",
    "channel_attention_backward",
    "conv2d",
    "conv2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "describe",
    "ensure_available",
    "gate",
    "gate_backward",
    "gather",
    "global_avg_pool",
    "global_avg_pool_backward",
    "is_recording",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "name",
    "norm_backward_inplace",
    "norm_relu_conv2d",
    "norm_relu_conv2d_backward",
    "one_hot_batch",
    "place",
    "precision",
    "record_step",
    "recorder",
    "relu",
    "relu_backward",
    "set_precision",
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


def __getattr__(attribute: str) -> Any:
    """`xp`, CuPy itself, is imported when somebody asks for it."""
    if attribute == "xp":
        return launch.device().xp
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
