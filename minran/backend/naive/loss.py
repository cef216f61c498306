"""From scores to a loss, and from a gradient to a step: softmax, cross-entropy, SGD."""

from __future__ import annotations

import numpy as np

from minran.backend.naive.loops import Array, in_float64


@in_float64
def softmax(x: Array) -> Array:
    """Turn the scores of the last axis into probabilities: y[k] = exp(x[k]) / sum exp(x).

    x and y: (..., K). The largest score is subtracted first: y stays, exp cannot overflow.
    """
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@in_float64
def softmax_backward(gy: Array, y: Array) -> Array:
    """Compare each gradient with their average under y.

        gx[k] = y[k] (gy[k] - sum over m of gy[m] y[m])

    All (..., K). Probabilities add up to 1: what one wins the others lose, hence the sum.
    """
    return y * (gy - (gy * y).sum(-1, keepdims=True))


@in_float64
def log_softmax(x: Array) -> Array:
    """The logarithm of softmax, without leaving logarithms: y[k] = x[k] - log sum exp(x).

    x and y: (..., K).
    """
    scores = x - x.max(-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


@in_float64
def log_softmax_backward(gy: Array, y: Array) -> Array:
    """Take from each gradient the probability's share of their sum.

        gx[k] = gy[k] - exp(y[k]) sum over m of gy[m]

    All (..., K).
    """
    return gy - np.exp(y) * gy.sum(-1, keepdims=True)


@in_float64
def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """How surprised the scores are by the targets, on average over the images.

        loss = -1/N sum over n, k of targets[n, k] log softmax(logits[n])[k]

    logits and targets (probabilities; one-hot or soft): (N, K). Returns the loss, (), and
    the log probabilities, (N, K), which backward needs.
    """
    log_probabilities = log_softmax(logits)
    wanted = targets != 0  # zero times the logarithm of zero is zero
    total = sum(targets[wanted] * log_probabilities[wanted])
    return -total / len(logits), log_probabilities


@in_float64
def cross_entropy_backward(gy: Array, log_probabilities: Array, targets: Array) -> Array:
    """Probability minus target, the famous gradient.

        glogits[n, k] = gy / N (p[n, k] sum over m of targets[n, m] - targets[n, k])

    where p = softmax(logits), and the sum is 1 if the targets are probabilities.

    gy: (), the others: (N, K).
    """
    p, total = np.exp(log_probabilities), targets.sum(-1, keepdims=True)
    return gy / len(targets) * (p * total - targets)


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """One step of stochastic gradient descent on param and velocity, in place.

        g = grad + weight_decay param
        velocity = momentum velocity + g
        param = param - lr (g + momentum velocity if nesterov else velocity)

    All three arrays have one shape. This is PyTorch's definition, without dampening: the
    learning rate multiplies the step, and is no part of the velocity.
    """
    for p in np.ndindex(param.shape):
        g = float(grad[p]) + weight_decay * float(param[p])
        v = momentum * float(velocity[p]) + g
        step = g + momentum * v if nesterov else v
        velocity[p] = v
        param[p] = float(param[p]) - lr * step
