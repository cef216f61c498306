"""Plausible wrong answers to the tasks of notebook 10."""

from __future__ import annotations

import numpy as np


def spatial(axes=(1, 2), sigmoid=True, mean_term=True, stretch_term=True, scaled=True):
    def backward(gy, x, y, mean, inv_std):
        scale = inv_std[:, None, None, :]
        z = (x - mean[:, None, None, :]) * scale
        h = gy * y * (1 - y) if sigmoid else gy
        gx = h.copy()
        gx -= h.mean(axis=axes, keepdims=True) if mean_term else 0
        gx -= z * (h * z).mean(axis=axes, keepdims=True) if stretch_term else 0
        return gx * scale if scaled else gx

    return backward


def channel(along):
    return lambda gy, y, norm: (gy - y * along(gy, y)) / norm[..., None]


WRONG = {
    "10.1": [
        ("as if the length were constant", lambda gy, y, norm: gy / norm[..., None]),
        ("over positions", channel(lambda gy, y: (gy * y).sum(axis=(1, 2), keepdims=True))),
        ("a mean instead of a sum", channel(lambda gy, y: (gy * y).mean(axis=-1, keepdims=True))),
        ("forgets the length", lambda gy, y, norm: gy - y * (gy * y).sum(-1, keepdims=True)),
        ("the sum of gy alone", channel(lambda gy, y: gy.sum(axis=-1, keepdims=True))),
        ("sigmoid's", lambda gy, y, norm: gy * y * (1 - y)),
    ],
    "10.2": [
        ("averages over the batch, as batch norm", spatial(axes=(0, 1, 2))),
        ("forgets the sigmoid", spatial(sigmoid=False)),
        ("forgets the mean", spatial(mean_term=False)),
        ("forgets the variance", spatial(stretch_term=False)),
        ("forgets to divide", spatial(scaled=False)),
        ("only the sigmoid", lambda gy, x, y, mean, inv_std: gy * y * (1 - y)),
        ("over channels", lambda gy, x, y, mean, inv_std: np.zeros_like(x)),
    ],
}
