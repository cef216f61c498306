"""Batch normalisation, in the steps that every backend shares.

A layer in training calls `batch_moments`, `finish_norm`, then `batch_norm`; its backward calls
`batch_norm_backward_sums`, then `batch_norm_backward_input`. They are apart because
processes that share a batch add up moments and sums before they go on.
"""

from __future__ import annotations

import numpy as np

from minran.backend.naive.loops import Array, in_float64


@np.errstate(all="ignore")
def batch_moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, in two passes.

        mean[c] = 1/m sum over n, i, j of x[n, i, j, c],   m = N H W
        var[c] = 1/m sum over n, i, j of (x[n, i, j, c] - mean[c])^2

    x: (N, H, W, C), mean and var: (C,), always float64. (The one-pass formula
    mean(x^2) - mean(x)^2 subtracts two large, nearly equal numbers.)
    """
    mean, var = np.zeros(x.shape[3]), np.zeros(x.shape[3])
    for c in range(x.shape[3]):
        values = x[..., c].astype(np.float64)
        mean[c] = values.mean()
        var[c] = ((values - mean[c]) ** 2).mean()
    return mean, var


def finish_norm(
    moments: tuple[Array, Array],
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    momentum: float,
    eps: float,
    count: int,
) -> tuple[Array, Array, Array, Array]:
    """What a layer in training makes of mean, var = moments; the running arrays move, in place.

        inv_std[c] = 1 / sqrt(var[c] + eps)
        running[c] = (1 - momentum) running[c] + momentum batch[c]

    batch is mean, and the unbiased variance: var count / (count - 1). All arrays (C,).
    Returns gamma, beta, mean and inv_std.
    """
    mean, var = moments
    for running, batch in (running_mean, mean), (running_var, var * count / (count - 1)):
        running[...] = (1 - momentum) * running.astype(np.float64) + momentum * batch
    return gamma, beta, mean, 1 / np.sqrt(var + eps)


@in_float64
def batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, inv_std: Array, relu: bool
) -> Array:
    """Normalise every channel, then scale and shift it.

        y = gamma (x - mean) inv_std + beta,   then max(y, 0) if `relu`

    x and y: (N, H, W, C); gamma, beta, mean and inv_std = 1 / sqrt(var + eps): (C,).
    """
    y = gamma * (x - mean) * inv_std + beta
    return np.where(y < 0, 0.0, y) if relu else y


def batch_norm_backward_sums(
    gy: Array, x: Array, y: Array | None, mean: Array, inv_std: Array
) -> tuple[Array, Array]:
    """The gradients of gamma and beta, which the gradient of x needs as well.

        ggamma[c] = sum over n, i, j of g xhat,   gbeta[c] = sum over n, i, j of g
        xhat = (x - mean) inv_std,   g = gy where y is not 0, else 0

    gy and x: (N, H, W, C), mean and inv_std: (C,), results (C,), always float64.
    y: the output if relu was applied, or None if not; g is then gy.
    """
    ggamma, gbeta = np.zeros(x.shape[3]), np.zeros(x.shape[3])
    for n, i, j, c in np.ndindex(x.shape):
        p = (n, i, j, c)
        g = float(gy[p]) if y is None or y[p] != 0 else 0.0
        ggamma[c] += g * (float(x[p]) - float(mean[c])) * float(inv_std[c])
        gbeta[c] += g
    return ggamma, gbeta


@in_float64
def batch_norm_backward_input(
    gy: Array,
    x: Array,
    y: Array | None,
    gamma: Array,
    mean: Array,
    inv_std: Array,
    ggamma: Array,
    gbeta: Array,
    count: int | None,
) -> Array:
    """The gradient of x, given the sums of `batch_norm_backward_sums`.

        gx = gamma inv_std (g - gbeta / count - xhat ggamma / count)

    The last two terms are what x does through the mean and the variance, which were taken
    over `count` values a channel. In evaluation these are constants: with count None,

        gx = gamma inv_std g

    gy, x and gx: (N, H, W, C), y: as in `batch_norm_backward_sums`, the others: (C,).
    """
    gx = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(x.shape):
        p = (n, i, j, c)
        g = gy[p] if y is None or y[p] != 0 else 0.0
        if count is not None:
            xhat = (x[p] - mean[c]) * inv_std[c]
            g = g - gbeta[c] / count - xhat * ggamma[c] / count
        gx[p] = gamma[c] * inv_std[c] * g
    return gx
