"""What a backend is: every kernel once, with its equation, its shapes, and who must have it.

Each backend's package collects from its modules what these tables name (`kernels_of`), and
`tests/backend/test_contract.py` holds the three backends against them: names, arguments and their
order. `backend.has(name)` tells whether the current one has an optional kernel.

Maps x, y, mask, trunk are (N, H, W, C); `gy` is the gradient at y and has its shape, gx that of x.
A vector has one number a channel, (C,). Where two backends could differ, `backend/naive` decides.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

REQUIRED = {
    "add(a, b, out=None)": "y = a + b, of one shape; into `out`, which may be a or b, if given",
    "relu(x)": "y = max(x, 0), any shape; NaN stays NaN",
    "relu_backward(gy, y)": "gx = gy where y is not 0, else 0",
    "sigmoid(x)": "y = 1 / (1 + exp(-x)), any shape",
    "sigmoid_backward(gy, y)": "gx = gy y (1 - y)",
    "channel_attention(x, eps)": "Eq. 5: norm = sqrt(sum_c x^2 + eps), y = x / norm -> y, norm",
    "channel_attention_backward(gy, y, norm)": "gx = (gy - y sum_c gy y) / norm",
    "spatial_attention(x, eps)": "Eq. 6: y = sigmoid((x - mean) inv_std), with the mean and "
    "1 / sqrt(var + eps) of each map -> y, mean, inv_std",
    "spatial_attention_backward(gy, x, y, mean, inv_std)": "gx = inv_std (g - average(g) - "
    "xhat average(g xhat)), g = gy y (1 - y), averages over the pixels of a map",
    "gate(mask, trunk, residual)": "Eq. 3: h = (1 + M) T if residual; Eq. 1: h = M T if not",
    "gate_backward(gy, mask, trunk, residual)": "gM = gy T, gT = gy (1 + M) or gy M -> gM, gT",
    "conv2d(x, w, stride, padding, groups)": "y[n, i, j, o] = sum_abc x[n, i s - p + a, "
    "j s - p + b, c] w[a, b, c, o]; w (KH, KW, C / groups, O), y (N, OH, OW, O)",
    "conv2d_backward(gy, x, w, stride, padding, groups, need_gx=True)": "every y[q] += x[p] w[k] "
    "gives gx[p] += gy[q] w[k], gw[k] += gy[q] x[p] -> gx (None unless need_gx), gw",
    "max_pool2d(x, kernel, stride, padding, ceil_mode)": "y = max of each window's real pixels; "
    "y (N, OH, OW, C)",
    "max_pool2d_backward(gy, x, y, kernel, stride, padding)": "gx[p] += gy[q] where p is the first "
    "maximum, row by row, of the window of q",
    "avg_pool2d(x, kernel, stride, padding)": "y = sum of each window / (KH KW), zeros outside",
    "avg_pool2d_backward(gy, x_shape, kernel, stride, padding)": "gx[p] += gy[q] / (KH KW) for "
    "every p in the window of q",
    "global_avg_pool(x)": "y[n, c] = mean of x[n, :, :, c]; y (N, C)",
    "global_avg_pool_backward(gy, x_shape)": "gx[n, i, j, c] = gy[n, c] / (H W)",
    "upsample_bilinear2d(x, size, align_corners)": "Y = R_h X R_w^T for each map, see "
    "`geometry.resize_matrix`; y (N, OH, OW, C) with (OH, OW) = size",
    "upsample_bilinear2d_backward(gy, x_shape, align_corners)": "GX = R_h^T GY R_w",
    "batch_moments(x)": "mean and biased variance over N, H, W -> two float64 vectors",
    "finish_norm(moments, gamma, beta, running_mean, running_var, momentum, eps, count)": "of "
    "mean, var = moments: inv_std = 1 / sqrt(var + eps); running = (1 - momentum) running + "
    "momentum batch, in place, with the variance count / (count - 1) var -> norm = gamma, beta, "
    "mean, inv_std, and what else the backend's own kernels of a norm read",
    "batch_norm(x, gamma, beta, mean, inv_std, relu)": "y = gamma (x - mean) inv_std + beta, then "
    "max(y, 0) if relu",
    "batch_norm_backward_sums(gy, x, y, mean, inv_std)": "ggamma = sum g xhat, gbeta = sum g, two "
    "float64 vectors; g = gy where y is not 0, else 0, and gy if y is None (no ReLU)",
    "batch_norm_backward_input(gy, x, y, gamma, mean, inv_std, ggamma, gbeta, count)": "gx = "
    "gamma inv_std (g - gbeta / count - xhat ggamma / count); gamma inv_std g if count is None",
    "linear(x, w)": "y = x w: (N, D), (D, K) -> (N, K)",
    "linear_backward(gy, x, w, need_gx=True)": "gx = gy w^T (None unless need_gx), gw = x^T gy",
    "softmax(x)": "y_k = exp(x_k) / sum exp(x) over the last axis, any overflow avoided",
    "softmax_backward(gy, y)": "gx_k = y_k (gy_k - sum gy y)",
    "log_softmax(x)": "y_k = x_k - log sum exp(x) over the last axis",
    "log_softmax_backward(gy, y)": "gx_k = gy_k - exp(y_k) sum gy",
    "cross_entropy(logits, targets)": "loss () = -1/N sum_nk t_nk log p_nk, and log p (N, K)",
    "cross_entropy_backward(gy, log_probabilities, targets)": "gy / N (p_nk sum_m t_nm - t_nk)",
    "sgd_update(param, grad, velocity, lr, momentum, weight_decay, nesterov)": "in place: "
    "g = grad + wd param, v = momentum v + g, param -= lr (g + momentum v if nesterov else v)",
}
"""Kernels that every backend has."""

OPTIONAL = {
    "norm_relu_conv2d(x, norm, w, stride, padding, residual, with_moments)": "y = conv2d(relu(b), "
    "w) + residual with b = batch_norm(x) and norm = gamma, beta, mean, inv_std, or what "
    "`finish_norm` gave; w (K, K, C, O), residual as y or None -> y, and its moments or None: a "
    "pair, which may be summed when somebody asks",
    "norm_relu_conv2d_backward(gy, x, norm, w, stride, padding, whole, earlier)": "-> gx, gw, "
    "ggamma, gbeta; gx as in `batch_norm_backward_input`, of ggamma, gbeta, count = whole(ggamma, "
    "gbeta), in float64, plus `earlier` (as x, or None); what is returned has the dtype of gamma",
    "sigmoid_gate(x, trunk, residual)": "gate(sigmoid(x), trunk, residual)",
    "sigmoid_gate_backward(gy, x, trunk, residual)": "gx = gM M (1 - M) and gT: `gate_backward` "
    "with M = sigmoid(x), and back through the sigmoid",
    "folded_unit(x, first, w1, shift2, w2, shift3, w3, projection, stride)": "a pre-activation "
    "unit in evaluation: p = relu(norm x), u = relu(p w1 + shift2), v = relu(conv3x3(u, w2, "
    "stride) + shift3), y = v w3 + (p[::stride] projection, or x)",
    "augmented_batch(images, order, mean, std, seed_and_step, batch, pad=4, mirror=True, "
    "cutout=0, share=None)": "batch number `step` of an epoch, shifted, mirrored, normalised, or "
    "its slice `share`; images (M, H, W, C) uint8 -> (batch, H, W, C) float32",
    "one_hot_batch(labels, order, seed_and_step, batch, classes, share=None)": "the targets of "
    "that batch, (batch, classes), or of its slice; labels (M,) uint8",
    "record_step(loss, logits, truth, seed_and_step, outcomes)": "outcomes[step % slots] = loss, "
    "and how many rows of logits (N, K) are largest where truth (N, K) is 1",
    "addresses(arrays)": "where each array starts in the device's memory, (P,) uint64",
    "gather(table, places, flat)": "flat[first : first + size] = the array at table[p], with "
    "(first, size) = places[p]; table (P,) from `addresses`, places (P, 2) int32",
}
"""Kernels that a backend may have: faster ones, and those of a training step on the device."""

MACHINE = {
    "ensure_available()": "raises BackendError unless the backend can run on this machine",
    "describe()": "the device and the versions beneath it, as text",
    "threads()": "how many threads the kernels use",
    "set_threads(count)": "let the kernels use `count` threads",
    "precision()": 'how a float32 network calculates: "fp32", "tf32" or "bf16"',
    "set_precision(name)": "choose that; None is the device's default",
    "activations(x)": "x as the network's operations shall store maps: bfloat16 for bf16",
    "place(array)": "a copy of a host's array on the device",
    "free_memory()": "bytes that arrays may still take",
    "release_memory()": "give back what is kept for later arrays of the same sizes",
    "uploader(targets)": "what copies batches into these arrays of the device while it works",
    "recorder()": "what records a training step as a graph and replays it",
}
"""What a backend may say about the machine, and let be chosen."""


def _by_name(table: dict[str, str]) -> dict[str, str]:
    return {signature.partition("(")[0]: signature for signature in table}


SIGNATURES = _by_name(REQUIRED) | _by_name(OPTIONAL) | _by_name(MACHINE)
"""By name: "relu(x)" for "relu"."""

KERNELS = tuple(_by_name(REQUIRED) | _by_name(OPTIONAL))
"""The names of those that calculate."""


def kernels_of(*modules: ModuleType) -> dict[str, Any]:
    """What `modules` define of the contract, by name: a backend's namespace."""
    found = {name: thing for module in modules for name, thing in vars(module).items()}
    return {name: found[name] for name in SIGNATURES if name in found}
