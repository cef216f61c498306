"""From scores to a loss, and from a gradient to a step: softmax, cross-entropy, SGD."""

from __future__ import annotations

import math

import numpy as np

from minran.backend.naive.precision import Array, in_float64


@in_float64
def softmax(x: Array) -> Array:
    """Turn the scores of the last axis into probabilities: y[k] = exp(x[k]) / sum exp(x).

    x and y: (..., K). The largest score is subtracted first: y stays, exp cannot overflow.
    """
    y = np.zeros(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        scores = x[row].tolist()
        largest = max(scores)
        total = sum(math.exp(score - largest) for score in scores)
        for k, score in enumerate(scores):
            y[row][k] = math.exp(score - largest) / total
    return y


@in_float64
def softmax_backward(gy: Array, y: Array) -> Array:
    """Compare each gradient with their average under y.

        gx[k] = y[k] (gy[k] - sum over m of gy[m] y[m])

    All (..., K). Probabilities add up to 1: what one wins the others lose, hence the sum.
    """
    gx = np.zeros(y.shape)
    for row in np.ndindex(y.shape[:-1]):
        average = sum(g * p for g, p in zip(gy[row], y[row], strict=True))
        for k in range(y.shape[-1]):
            gx[row][k] = y[row][k] * (gy[row][k] - average)
    return gx


@in_float64
def log_softmax(x: Array) -> Array:
    """The logarithm of softmax, without leaving logarithms: y[k] = x[k] - log sum exp(x).

    x and y: (..., K).
    """
    y = np.zeros(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        scores = x[row].tolist()
        largest = max(scores)
        total = sum(math.exp(score - largest) for score in scores)
        for k, score in enumerate(scores):
            y[row][k] = score - largest - math.log(total)
    return y


@in_float64
def log_softmax_backward(gy: Array, y: Array) -> Array:
    """Take from each gradient the probability's share of their sum.

        gx[k] = gy[k] - exp(y[k]) sum over m of gy[m]

    All (..., K).
    """
    gx = np.zeros(y.shape)
    for row in np.ndindex(y.shape[:-1]):
        total = sum(gy[row])
        for k in range(y.shape[-1]):
            gx[row][k] = gy[row][k] - math.exp(y[row][k]) * total
    return gx


@in_float64
def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """How surprised the scores are by the targets, on average over the pictures.

        loss = -1/N sum over n, k of targets[n, k] log softmax(logits[n])[k]

    logits and targets (probabilities; one-hot or soft): (N, K). Returns the loss, (), and
    the log probabilities, (N, K), which backward needs.
    """
    log_probabilities = log_softmax(logits)
    loss = np.zeros(())
    for n, k in np.ndindex(logits.shape):
        if targets[n, k] != 0:  # zero times the logarithm of zero is zero
            loss[()] -= targets[n, k] * log_probabilities[n, k] / logits.shape[0]
    return loss, log_probabilities


@in_float64
def cross_entropy_backward(gy: Array, log_probabilities: Array, targets: Array) -> Array:
    """Probability minus target, the famous gradient.

        glogits[n, k] = gy / N (p[n, k] sum over m of targets[n, m] - targets[n, k])

    where p = softmax(logits), and the sum is 1 if the targets are probabilities.

    gy: (), the others: (N, K).
    """
    pictures, classes = targets.shape
    glogits = np.zeros(targets.shape)
    for n in range(pictures):
        total = sum(targets[n])
        for k in range(classes):
            probability = math.exp(log_probabilities[n, k])
            glogits[n, k] = gy / pictures * (probability * total - targets[n, k])
    return glogits


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
