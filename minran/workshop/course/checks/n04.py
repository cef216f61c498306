"""The checks of notebook 04: the compact backward pass of batch norm, running statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import nn, ops, tensor
from minran.workshop.course.checking import compare, expect_function, generator, unpack

# Two numbers a channel would not do: then gx is all rounding, for any inputs.
_SHAPES = ((4, 3, 5, 2), (3, 1, 1, 3), (6, 2, 2, 1))


def check_4_1(answer: Any) -> None:
    """Judge the compact backward pass against the library's, in training."""
    expect_function("batch_norm_backward", answer)
    rng = generator(41)
    for shape in _SHAPES:
        channels = shape[3]
        # A large mean and a small eps: what a wrong sum does is seen.
        values = 2 + 3 * rng.standard_normal(shape)
        x = tensor(values, requires_grad=True)
        gamma = tensor(rng.uniform(0.5, 2, channels), requires_grad=True)
        beta = tensor(rng.standard_normal(channels), requires_grad=True)
        state = np.zeros(channels), np.ones(channels)
        y = ops.batch_norm(x, gamma, beta, *state, training=True)
        gy = 0.5 + rng.standard_normal(shape)
        y.backward(gy)
        mean, inv_std = values.mean((0, 1, 2)), 1 / np.sqrt(values.var((0, 1, 2)) + 1e-5)
        answered = answer(gy.copy(), values.copy(), gamma.numpy().copy(), mean, inv_std)
        got = unpack("batch_norm_backward", answered, "gx", "ggamma", "gbeta")
        where = f"x {shape}"
        compare("ggamma", got[1], np.asarray(gamma.grad), _SUMS, where=where)
        compare("gbeta", got[2], np.asarray(beta.grad), _SUMS, where=where)
        compare(
            "gx",
            got[0],
            np.asarray(x.grad),
            _hint(got[0], gy, np.asarray(x.grad), gamma.numpy(), inv_std),
            where=where,
        )


_SUMS = "(4.5): sums, not means, over batch, rows and columns; one number for each channel"


def _hint(got: Any, gy: np.ndarray, right: np.ndarray, gamma: np.ndarray, r: np.ndarray) -> str:
    if isinstance(got, np.ndarray) and got.shape == gy.shape:
        if np.allclose(got, gamma * r * gy):
            return (
                "this is evaluation, (4.14): in training x acts through the mean and variance too"
            )
        if not np.allclose(got.sum((0, 1, 2)), 0, atol=1e-8):
            return (
                "the right gx adds up to 0 in every channel, for shifting x changes nothing; "
                "yours does not: look at the term with gbeta"
            )
        if np.allclose(got, gamma * r * (gy - gy.mean((0, 1, 2)))):
            return "the mean is taken out; what x does through the variance is missing"
    return "(4.9): g minus its mean minus xhat times the mean of g xhat, all times gamma inv_std"


def check_4_2(answer: Any) -> None:
    """Judge one step of the running statistics against a layer of the library."""
    expect_function("update_running", answer)
    rng = generator(42)
    for shape in _SHAPES:
        for momentum in (0.1, 0.3):
            layer = nn.BatchNorm2d(shape[3], momentum=momentum, dtype=np.float64)
            layer.running_mean[...] = rng.standard_normal(shape[3])
            layer.running_var[...] = rng.uniform(1, 3, shape[3])
            before = layer.running_mean.copy(), layer.running_var.copy()
            x = 4 + rng.standard_normal(shape)
            layer(tensor(x))
            answered = answer(*(array.copy() for array in before), x.copy(), momentum)
            got = unpack("update_running", answered, "running_mean", "running_var")
            where = f"x {shape}, momentum {momentum}"
            compare(
                "running_mean",
                got[0],
                layer.running_mean,
                "momentum is the weight of the new value, 1 - momentum that of the old",
                where=where,
            )
            compare(
                "running_var",
                got[1],
                layer.running_var,
                _variance_hint(got[1], before[1], x, momentum),
                where=where,
            )


def _variance_hint(got: Any, before: np.ndarray, x: np.ndarray, momentum: float) -> str:
    biased = (1 - momentum) * before + momentum * x.var((0, 1, 2))
    if np.shape(got) == biased.shape and np.allclose(got, biased):
        return "this is the biased variance: (4.13) says what corrects it"
    return "(4.11): the same average as for the mean, of the unbiased variance (divisor m - 1)"
