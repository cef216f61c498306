"""Softmax and cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array, Op, Tensor, as_array
from minran.errors import ShapeError, expect, expect_number


class Softmax(Op):
    """y_k = e^{x_k} / sum_j e^{x_j}; gx = y (gy - <gy, y>)."""

    def forward(self, x: Array) -> Array:
        self.y = backend.current().softmax(x) if x.size else x.copy()
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().softmax_backward(gy, self.y) if gy.size else gy,)


class LogSoftmax(Op):
    """y_k = x_k - log sum_j e^{x_j}; gx = gy - softmax(x) sum_j gy_j."""

    def forward(self, x: Array) -> Array:
        self.y = backend.current().log_softmax(x) if x.size else x.copy()
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().log_softmax_backward(gy, self.y) if gy.size else gy,)


class CrossEntropy(Op):
    """L = -1/N sum_nk t_nk log p_nk; glogits = (p - t) / N for targets that sum to 1."""

    def __init__(self, targets: Array) -> None:
        self.targets = targets

    def forward(self, logits: Array) -> Array:
        loss, self.log_probabilities = backend.current().cross_entropy(logits, self.targets)
        return loss

    def backward(self, gy: Array) -> tuple[Array]:
        glogits = backend.current().cross_entropy_backward(gy, self.log_probabilities, self.targets)
        return (glogits,)


def softmax(x: Tensor) -> Tensor:
    """Probabilities from logits.

        y_k = exp(x_k) / sum_j exp(x_j)

    Over the last axis, along which y sums to 1; any shape (..., K).

    >>> ops.softmax(tensor([0.0, 1000.0])).numpy()
    array([0., 1.], dtype=float32)
    """
    return Softmax()(x)


def log_softmax(x: Tensor) -> Tensor:
    """The logarithm of `softmax`, without overflow.

        y_k = x_k - log sum_j exp(x_j)

    Over the last axis; any shape (..., K).

    >>> ops.log_softmax(tensor([0.0, 1000.0])).numpy()
    array([-1000.,     0.], dtype=float32)
    """
    return LogSoftmax()(x)


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
    expect(
        isinstance(logits, Tensor),
        f"cross_entropy: logits must be a Tensor, got {type(logits).__name__}",
    )
    expect(
        logits.ndim == 2 and logits.size > 0,
        f"cross_entropy: logits must be (N, K) with N, K >= 1, got {logits.shape}",
    )
    expect_number(label_smoothing, "cross_entropy: label_smoothing", 0, 1)
    targets = _targets(labels, logits)
    if label_smoothing:
        targets = (1 - label_smoothing) * targets + label_smoothing / logits.shape[1]
    return CrossEntropy(targets)(logits)


def _targets(labels: Any, logits: Tensor) -> Array:
    """Labels as probabilities (N, K) in the dtype of the logits, on their device."""
    n, classes = logits.shape
    xp = backend.current().xp
    array = labels.data if isinstance(labels, Tensor) else labels
    if not hasattr(array, "dtype"):
        array = as_array(array, None, "cross_entropy: labels")
    if tuple(array.shape) == (n, classes) and array.dtype.kind == "f":
        if isinstance(array, np.ndarray):  # on a GPU a look at them would stall it
            _expect_probabilities(array)
            array = array.copy()  # their owner may go on writing into them
        return xp.asarray(array, logits.dtype)
    expect(
        tuple(array.shape) == (n,) and array.dtype.kind in "iu",
        f"cross_entropy: for logits {logits.shape} the labels must be integers ({n},) or "
        f"probabilities ({n}, {classes}), got {array.dtype} {tuple(array.shape)}",
    )
    if isinstance(array, np.ndarray):  # reading a label back from a GPU would stall it
        expect(
            array.size == 0 or (int(array.min()) >= 0 and int(array.max()) < classes),
            f"cross_entropy: labels must lie in 0..{classes - 1}, got values from "
            f"{array.min() if array.size else 0} to {array.max() if array.size else 0}",
        )
    array = xp.asarray(array)
    return (array[:, None] == xp.arange(classes)).astype(logits.dtype)


def _expect_probabilities(targets: np.ndarray) -> None:
    """Rows of numbers >= 0 whose sums are 1, to what float16 can say of them (0.001)."""
    sums = targets.sum(1, dtype=np.float64)
    wrong = ~((targets >= 0).all(1) & (abs(sums - 1) <= 1e-3))
    if wrong.any():
        row = int(wrong.argmax())
        raise ShapeError(
            "cross_entropy: probabilities must be at least 0 and sum to 1, but those of sample "
            f"{row} go from {targets[row].min():.6g} and sum to {sums[row]:.6g}"
        )
