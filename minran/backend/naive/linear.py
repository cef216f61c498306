"""The fully connected layer: every output is a weighted sum of all features."""

from __future__ import annotations

import numpy as np

from minran.backend.naive.precision import Array, in_float64


@in_float64
def linear(x: Array, w: Array) -> Array:
    """Multiply by a matrix.

        y[n, k] = sum over d of x[n, d] w[d, k]

    x: (N, D), w: (D, K), y: (N, K).
    """
    y = np.zeros((x.shape[0], w.shape[1]))
    for n, d, k in np.ndindex(*x.shape, w.shape[1]):
        y[n, k] += x[n, d] * w[d, k]
    return y


@in_float64
def linear_backward(
    gy: Array, x: Array, w: Array, need_gx: bool = True
) -> tuple[Array | None, Array]:
    """Send gy back to the features and to the matrix.

    gy: (N, K), gx: as x, or None unless `need_gx`, gw: as w.
    """
    gx, gw = np.zeros(x.shape), np.zeros(w.shape)
    for n, d, k in np.ndindex(*x.shape, w.shape[1]):
        gx[n, d] += gy[n, k] * w[d, k]
        gw[d, k] += gy[n, k] * x[n, d]
    return (gx if need_gx else None), gw
