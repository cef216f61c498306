"""Plausible wrong answers to the exercises of notebook 04."""

import numpy as np

_AXES = (0, 1, 2)


def _backward(gy, x, gamma, mean, inv_std, count=None, keep_mean=True, keep_variance=True):
    xhat = (x - mean) * inv_std
    count = count or x.size // x.shape[-1]
    ggamma, gbeta = (gy * xhat).sum(_AXES), gy.sum(_AXES)
    gx = gy
    if keep_mean:
        gx = gx - gbeta / count
    if keep_variance:
        gx = gx - xhat * ggamma / count
    return gamma * inv_std * gx, ggamma, gbeta


def statistics_are_constants(*args):
    """The gradient of evaluation."""
    return _backward(*args, keep_mean=False, keep_variance=False)


def forgets_the_variance(*args):
    """Only the mean is differentiated."""
    return _backward(*args, keep_variance=False)


def counts_all_channels(gy, x, gamma, mean, inv_std):
    """m = N H W C."""
    return _backward(gy, x, gamma, mean, inv_std, count=x.size)


def means_for_sums(gy, x, gamma, mean, inv_std):
    """The gradients of gamma and beta as means."""
    gx, ggamma, gbeta = _backward(gy, x, gamma, mean, inv_std)
    count = x.size // x.shape[-1]
    return gx, ggamma / count, gbeta / count


def forgets_gamma(gy, x, gamma, mean, inv_std):
    """gx without the factor gamma."""
    return _backward(gy, x, np.ones_like(gamma), mean, inv_std)


def _update(running_mean, running_var, x, momentum, correction, weight):
    mean, var = x.mean(_AXES), x.var(_AXES) * correction
    return (
        (1 - weight) * running_mean + weight * mean,
        (1 - weight) * running_var + weight * var,
    )


def biased_variance(running_mean, running_var, x, momentum=0.1):
    """Without m / (m - 1)."""
    return _update(running_mean, running_var, x, momentum, 1, momentum)


def momentum_the_other_way(running_mean, running_var, x, momentum=0.1):
    """Keeps `momentum` of the old value."""
    count = x.size // x.shape[-1]
    return _update(running_mean, running_var, x, momentum, count / (count - 1), 1 - momentum)


WRONG = {
    "04.1": [
        ("takes the statistics for constants", statistics_are_constants),
        ("forgets the variance", forgets_the_variance),
        ("counts all channels", counts_all_channels),
        ("means for sums", means_for_sums),
        ("forgets gamma", forgets_gamma),
    ],
    "04.2": [
        ("biased variance", biased_variance),
        ("momentum the other way round", momentum_the_other_way),
    ],
}
