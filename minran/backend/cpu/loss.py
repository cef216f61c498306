"""Softmax, cross-entropy and the optimiser's update: small arrays, plain NumPy."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def softmax(x: Array) -> Array:
    """y_k = exp(x_k - max x) / sum_j exp(x_j - max x) over the last axis."""
    with np.errstate(over="ignore", invalid="ignore"):
        y = np.exp(x - x.max(-1, keepdims=True))
        y /= y.sum(-1, keepdims=True)
    return y


def softmax_backward(gy: Array, y: Array) -> Array:
    """gx = y (gy - sum_j gy_j y_j)."""
    return y * (gy - (gy * y).sum(-1, keepdims=True))


def log_softmax(x: Array) -> Array:
    """y_k = x_k - log sum_j exp(x_j), with the maximum taken out first."""
    with np.errstate(over="ignore", invalid="ignore"):
        shifted = x - x.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def log_softmax_backward(gy: Array, y: Array) -> Array:
    """gx = gy - exp(y) sum_j gy_j."""
    return gy - np.exp(y) * gy.sum(-1, keepdims=True)


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """L = -1/N sum_nk t_nk log p_nk: the loss (a 0-d array) and log p (N, K).

    What has the target 0 adds nothing, even where p is 0, of which the logarithm is infinite.
    """
    log_probabilities = log_softmax(logits)
    with np.errstate(over="ignore", invalid="ignore"):
        products = np.where(targets == 0, targets, targets * log_probabilities)
        loss = -products.sum() / len(logits)
    return np.asarray(loss, logits.dtype), log_probabilities


def cross_entropy_backward(gy: Array, log_probabilities: Array, targets: Array) -> Array:
    """glogits = gy (p sum_k t_k - t) / N; the sum is 1 for probabilities."""
    probabilities = np.exp(log_probabilities)
    total = targets.sum(-1, keepdims=True)
    return (probabilities * total - targets) * (gy / len(targets))


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """In place: g += wd p; v = mu v + g; p -= lr (g + mu v) if `nesterov`, else lr v."""
    with np.errstate(under="ignore"):
        g = grad + weight_decay * param if weight_decay else grad
        velocity *= momentum
        velocity += g
        param -= lr * (g + momentum * velocity) if nesterov else lr * velocity
