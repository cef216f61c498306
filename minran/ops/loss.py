"""Softmax and cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import backend, checks
from minran.autograd import Array, Op, Tensor
from minran.errors import expect_number


class Softmax(Op):
    """y_k = e^{x_k} / sum_j e^{x_j}; gx = y (gy - <gy, y>)."""

    def forward(self, x: Array) -> Array:
        self.y = backend.current().softmax(x) if x.size else x.copy()
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().softmax_backward(gy, self.y) if gy.size else gy,)


def softmax(x: Tensor) -> Tensor:
    """Probabilities from logits.

        y_k = exp(x_k) / sum_j exp(x_j)

    Over the last axis, along which y sums to 1; any shape (..., K).

    >>> ops.softmax(tensor([0.0, 1000.0])).numpy()
    array([0., 1.], dtype=float32)
    """
    return Softmax()(x)


class LogSoftmax(Op):
    """y_k = x_k - log sum_j e^{x_j}; gx = gy - softmax(x) sum_j gy_j."""

    def forward(self, x: Array) -> Array:
        self.y = backend.current().log_softmax(x) if x.size else x.copy()
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().log_softmax_backward(gy, self.y) if gy.size else gy,)


def log_softmax(x: Tensor) -> Tensor:
    """The logarithm of `softmax`, without overflow.

        y_k = x_k - log sum_j exp(x_j)

    Over the last axis; any shape (..., K).

    >>> ops.log_softmax(tensor([0.0, 1000.0])).numpy()
    array([-1000.,     0.], dtype=float32)
    """
    return LogSoftmax()(x)


class CrossEntropy(Op):
    """L = -1/N sum_nk t_nk log p_nk; glogits = (p - t) / N for targets that sum to 1."""

    def __init__(self, labels: Array, label_smoothing: float = 0.0) -> None:
        self.labels, self.label_smoothing = labels, label_smoothing

    def forward(self, logits: Array) -> Array:
        t, e, classes = _targets(self.labels, logits), self.label_smoothing, logits.shape[-1]
        self.targets = (1 - e) * t + e / classes if e else t
        loss, self.log_probabilities = backend.current().cross_entropy(logits, self.targets)
        return loss

    def backward(self, gy: Array) -> tuple[Array]:
        kept = self.log_probabilities, self.targets
        return (backend.current().cross_entropy_backward(gy, *kept),)


def _targets(labels: Array, logits: Array) -> Array:
    """Labels as probabilities (N, K) in the dtype of the logits, on their device."""
    checks.expect_labels(labels, logits)
    xp = backend.current().xp
    if labels.ndim == 2:
        # A copy: their owner may go on writing into them. On a GPU that is the training step.
        labels = labels.copy() if isinstance(labels, np.ndarray) else labels
        return xp.asarray(labels, logits.dtype)
    return (xp.asarray(labels)[:, None] == xp.arange(logits.shape[1])).astype(logits.dtype)


def cross_entropy(logits: Tensor, labels: Any, label_smoothing: float = 0.0) -> Tensor:
    """The mean surprise of the model at the true labels, in nats.

        L = -1/N sum_n sum_k t_nk log softmax(logits_n)_k

    logits: (N, K); labels: integers (N,), or probabilities (N, K) -> L: a scalar. With label
    smoothing e, the targets become t = (1 - e) t + e / K.

    Raises ShapeError if shapes do not fit, a label lies outside 0..K-1, probabilities are
    negative or sum to something else than 1, or e lies outside [0, 1).

    >>> logits = tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> round(ops.cross_entropy(logits, [0, 1]).item(), 4)  # log 2: no idea
    0.6931
    """
    expect_number(label_smoothing, "cross_entropy: label_smoothing", 0, 1)
    labels = labels.data if isinstance(labels, Tensor) else labels
    if not hasattr(labels, "dtype"):
        labels = checks.as_array(labels, None, "cross_entropy: labels")
    return CrossEntropy(labels, label_smoothing)(logits)
