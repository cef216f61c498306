"""Plausible wrong answers to the tasks of notebook 02."""

from __future__ import annotations

import numpy as np


def one_sided(f, x, h):
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        moved = x.copy()
        moved[i] += h
        gradient[i] = (f(moved) - f(x)) / h
    return gradient


def divides_by_h(f, x, h):
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[i] = h
        gradient[i] = (f(x + step) - f(x - step)) / h
    return gradient


def moves_all_at_once(f, x, h):
    return np.full(x.shape, (f(x + h) - f(x - h)) / (2 * h))


def leaves_x_moved(f, x, h):
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        x[i] += h
        ahead = f(x)
        x[i] -= 2 * h
        gradient[i] = (ahead - f(x)) / (2 * h)
    return gradient


def only_added_axes(grad, shape):
    return grad.sum(tuple(range(grad.ndim - len(shape))))


def only_stretched_axes(grad, shape):
    axes = tuple(i for i, n in enumerate(shape) if n == 1)
    return grad.sum(axes, keepdims=True) if axes else grad


def takes_a_slice(grad, shape):
    for _ in range(grad.ndim - len(shape)):
        grad = grad[0]
    return grad[tuple(slice(0, n) for n in shape)]


def means(grad, shape):
    added = grad.ndim - len(shape)
    axes = [*range(added), *(added + i for i, n in enumerate(shape) if n == 1)]
    return grad.mean(tuple(axes), keepdims=True).reshape(shape)


WRONG = {
    "02.1": [
        ("a one-sided difference", one_sided),
        ("divides by h", divides_by_h),
        ("moves every entry at once", moves_all_at_once),
        ("leaves x moved", leaves_x_moved),
    ],
    "02.2": [
        ("sums over added axes only", only_added_axes),
        ("sums over stretched axes only", only_stretched_axes),
        ("cuts instead of summing", takes_a_slice),
        ("takes the mean", means),
        ("does nothing", lambda grad, shape: grad),
    ],
    "02.3": [
        ("accuses the kink", "max pool"),
        ("accuses the convolution", "convolution"),
        ("names something else", "softmax"),
    ],
}
