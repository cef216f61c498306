"""Plausible wrong answers to the tasks of notebooks 03 to 06."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from minran.backend import cpu
from minran.backend.geometry import conv_output_size, resize_matrix


def _col2im(gcolumns, x_shape, kernel, stride, padding, add=True, swap=False, crop=True):
    n, height, width, channels = x_shape
    (kh, kw), (sh, sw), (ph, pw) = kernel, stride, padding
    ho = conv_output_size(height, kh, sh, ph)
    wo = conv_output_size(width, kw, sw, pw)
    windows = gcolumns.reshape(n, ho, wo, kh, kw, channels)
    padded = np.zeros((n, height + 2 * ph, width + 2 * pw, channels))
    for a in range(kh):
        for b in range(kw):
            at = np.s_[:, a : a + sh * ho : sh, b : b + sw * wo : sw]
            part = windows[:, :, :, a, b]
            if swap and kh == kw:
                part = windows[:, :, :, b, a]
            padded[at] = padded[at] + part if add else part
    return padded[:, ph : ph + height, pw : pw + width] if crop else padded


def averages_the_overlap(gcolumns, x_shape, kernel, stride, padding):
    total = _col2im(gcolumns, x_shape, kernel, stride, padding)
    seen = _col2im(np.ones_like(gcolumns), x_shape, kernel, stride, padding)
    return total / np.maximum(seen, 1)


def _conv_backward(gy, x, w, stride, padding, turned=False, mean=False):
    kh, kw, _, outputs = w.shape
    columns = cpu.conv.columns_of(x, (kh, kw), stride, padding, gy.shape[1:3], 1)
    g = gy.reshape(-1, outputs)
    gw = (columns.T @ g).reshape(w.shape)
    if mean:
        gw = gw / len(x)
    weights = w[::-1, ::-1] if turned else w
    gcolumns = g @ weights.reshape(-1, outputs).T
    return _col2im(gcolumns, x.shape, (kh, kw), stride, padding), gw


_AXES = (0, 1, 2)


def _norm_backward(gy, x, gamma, mean, inv_std, count=None, keep_mean=True, keep_variance=True):
    xhat = (x - mean) * inv_std
    count = count or x.size // x.shape[-1]
    ggamma, gbeta = (gy * xhat).sum(_AXES), gy.sum(_AXES)
    gx = gy
    if keep_mean:
        gx = gx - gbeta / count
    if keep_variance:
        gx = gx - xhat * ggamma / count
    return gamma * inv_std * gx, ggamma, gbeta


def counts_all_channels(gy, x, gamma, mean, inv_std):
    return _norm_backward(gy, x, gamma, mean, inv_std, count=x.size)


def means_for_sums(gy, x, gamma, mean, inv_std):
    gx, ggamma, gbeta = _norm_backward(gy, x, gamma, mean, inv_std)
    count = x.size // x.shape[-1]
    return gx, ggamma / count, gbeta / count


def forgets_gamma(gy, x, gamma, mean, inv_std):
    return _norm_backward(gy, x, np.ones_like(gamma), mean, inv_std)


def _update(running_mean, running_var, x, momentum, correction, weight):
    mean, var = x.mean(_AXES), x.var(_AXES) * correction
    return ((1 - weight) * running_mean + weight * mean, (1 - weight) * running_var + weight * var)


def biased_variance(running_mean, running_var, x, momentum=0.1):
    return _update(running_mean, running_var, x, momentum, 1, momentum)


def momentum_the_other_way(running_mean, running_var, x, momentum=0.1):
    count = x.size // x.shape[-1]
    return _update(running_mean, running_var, x, momentum, count / (count - 1), 1 - momentum)


def always_floor(size, kernel, stride, padding, ceil_mode):
    return (size + 2 * padding - kernel) // stride + 1


def forgets_the_condition(size, kernel, stride, padding, ceil_mode):
    rounded = math.ceil if ceil_mode else math.floor
    return rounded((size + 2 * padding - kernel) / stride) + 1


def forgets_the_first_window(size, kernel, stride, padding, ceil_mode):
    return always_floor(size, kernel, stride, padding, ceil_mode) - 1


def leaves_a_fraction(size, kernel, stride, padding, ceil_mode):
    return (size + 2 * padding - kernel) / stride + 1


def _route(gy, x, kernel, stride, add=True, ties="first", offset=True, step="stride"):
    gx = np.zeros_like(x)
    for i, j in np.ndindex(gy.shape):
        top, left = i * stride, j * stride
        window = x[top : top + kernel, left : left + kernel]
        hits = np.argwhere(window == window.max())
        chosen = {"first": hits[:1], "last": hits[-1:], "all": hits}[ties]
        for a, b in chosen:
            place = (top + a, left + b) if offset else (a, b)
            if step == "kernel":
                place = i * kernel + a, j * kernel + b
            gx[place] = gx[place] + gy[i, j] if add else gy[i, j]
    return gx


def interpolates_down(gy, x_shape, align_corners):
    return cpu.upsample_bilinear2d(gy, x_shape[1:3], align_corners)


def swaps_the_matrices(gy, x_shape, align_corners):
    rows = resize_matrix(x_shape[1], gy.shape[1], align_corners, gy.dtype)
    cols = resize_matrix(x_shape[2], gy.shape[2], align_corners, gy.dtype)
    if rows.shape == cols.shape:
        return np.einsum("il,jm,njic->nlmc", rows, cols, gy)
    return np.einsum("il,jm,nijc->nmlc", rows, cols, gy)


def ignores_the_option(gy, x_shape, align_corners):
    return cpu.upsample_bilinear2d_backward(gy, x_shape, True)


def _softmax(z, shift=True):
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(z - z.max(1, keepdims=True) if shift else z)
        return e / e.sum(1, keepdims=True)


def overflows(logits, targets):
    return (_softmax(logits, shift=False) - targets) / len(logits)


def one_maximum_for_all(logits, targets):
    return overflows(logits - logits.max(), targets)


def softmax_over_the_batch(logits, targets):
    return (_softmax(logits.T).T - targets) / len(logits)


def heavy_ball(p, grad, v, lr, momentum, weight_decay):
    v = momentum * v + grad + weight_decay * p
    return p - lr * v, v


def steps_with_the_old_velocity(p, grad, v, lr, momentum, weight_decay):
    g = grad + weight_decay * p
    return p - lr * (g + momentum * v), momentum * v + g


def steps_too_early(p, grad, v, lr, momentum, weight_decay):
    return p - lr * v, momentum * v + grad + weight_decay * p


def decays_outside_of_the_velocity(p, grad, v, lr, momentum, weight_decay):
    v = momentum * v + grad
    return p - lr * (grad + momentum * v) - lr * weight_decay * p, v


def learning_rate_in_the_velocity(p, grad, v, lr, momentum, weight_decay):
    g = grad + weight_decay * p
    v = momentum * v - lr * g
    return p + momentum * v - lr * g, v


WRONG = {
    "03.1": [
        ("forgets the overlap", partial(_col2im, add=False)),
        ("swaps rows and columns", partial(_col2im, swap=True)),
        ("keeps the padding", partial(_col2im, crop=False)),
        ("averages the overlap", averages_the_overlap),
    ],
    "03.2": [
        ("turns the filter", partial(_conv_backward, turned=True)),
        ("averages over the batch", partial(_conv_backward, mean=True)),
        ("swaps the results", lambda *args: _conv_backward(*args)[::-1]),
    ],
    "04.1": [
        (
            "takes the statistics for constants",
            partial(_norm_backward, keep_mean=False, keep_variance=False),
        ),
        ("forgets the variance", partial(_norm_backward, keep_variance=False)),
        ("counts all channels", counts_all_channels),
        ("means for sums", means_for_sums),
        ("forgets gamma", forgets_gamma),
    ],
    "04.2": [
        ("biased variance", biased_variance),
        ("momentum the other way round", momentum_the_other_way),
    ],
    "05.1": [
        ("always floor", always_floor),
        ("forgets the condition", forgets_the_condition),
        ("forgets the first window", forgets_the_first_window),
        ("leaves a fraction", leaves_a_fraction),
    ],
    "05.2": [
        ("assigns instead of adding", partial(_route, add=False)),
        ("feeds all equal maxima", partial(_route, ties="all")),
        ("takes the last of equal maxima", partial(_route, ties="last")),
        ("forgets the window's offset", partial(_route, offset=False)),
        ("windows start at i * kernel", partial(_route, step="kernel"), "(i stride, j stride)"),
    ],
    "05.3": [
        ("interpolates the gradient down", interpolates_down),
        ("swaps the matrices", swaps_the_matrices),
        ("ignores align_corners", ignores_the_option),
    ],
    "06.1": [
        ("overflows", overflows),
        ("takes out one maximum for the batch", one_maximum_for_all, "its own largest score"),
        ("forgets the mean", lambda logits, targets: _softmax(logits) - targets),
        ("wrong sign", lambda logits, targets: (targets - _softmax(logits)) / len(logits)),
        ("softmax over the batch", softmax_over_the_batch),
    ],
    "06.2": [
        ("heavy ball", heavy_ball, "the heavy ball"),
        ("steps with g and the old velocity", steps_with_the_old_velocity, "the heavy ball"),
        ("steps before it updates the velocity", steps_too_early, "before its update"),
        ("decays outside of the velocity", decays_outside_of_the_velocity),
        ("learning rate in the velocity", learning_rate_in_the_velocity),
    ],
}
