"""Convolution: every output pixel is a weighted sum of a window of input pixels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from minran.backend.geometry import Pair, conv_sizes
from minran.backend.naive.loops import Array, Index, in_float64, windows


def _products(
    x_shape: Index, w_shape: Index, stride: Pair, padding: Pair, groups: int
) -> Iterator[tuple[Index, Index, Index]]:
    """All products of a convolution, as the indices (p, k, q) of y[q] += x[p] * w[k]."""
    (_, height, width, _), (rows, columns, group_inputs, outputs) = x_shape, w_shape
    sizes = conv_sizes((height, width), (rows, columns), stride, padding)
    # What a window reads outside the picture is 0, and adds nothing.
    for q, window in windows(x_shape, sizes, (rows, columns), stride, padding):
        for (k, p), c, o in product(window, range(group_inputs), range(outputs)):
            # The outputs are cut into `groups` equal parts; each sees its own part of the inputs.
            group = o // (outputs // groups)
            yield (*p, group * group_inputs + c), (*k, c, o), (*q, o)


@in_float64
def conv2d(x: Array, w: Array, stride: Pair, padding: Pair, groups: int) -> Array:
    """Slide the filters w over the images x.

        y[n, i, j, o] = sum over a, b, c of
            x[n, i stride - padding + a, j stride - padding + b, c] w[a, b, c, o]

    where c runs over the input channels of o's group, and x is 0 outside the image.

    x: (N, H, W, C), w: (KH, KW, C / groups, O), y: (N, OH, OW, O).
    """
    sizes = conv_sizes(x.shape[1:3], w.shape[:2], stride, padding)
    y = np.zeros((len(x), *sizes, w.shape[3]))
    for p, k, q in _products(x.shape, w.shape, stride, padding, groups):
        y[q] += x[p] * w[k]
    return y


@in_float64
def conv2d_backward(
    gy: Array, x: Array, w: Array, stride: Pair, padding: Pair, groups: int, need_gx: bool = True
) -> tuple[Array | None, Array]:
    """Send gy back to the pixels and to the filters: y is linear in each of them.

        every y[q] += x[p] w[k] of forward gives  gx[p] += gy[q] w[k]  and  gw[k] += gy[q] x[p]

    gy: (N, OH, OW, O), gx: as x, or None unless `need_gx`, gw: as w.
    """
    gx, gw = np.zeros(x.shape), np.zeros(w.shape)
    for p, k, q in _products(x.shape, w.shape, stride, padding, groups):
        gx[p] += gy[q] * w[k]
        gw[k] += gy[q] * x[p]
    return (gx if need_gx else None), gw


@in_float64
def linear(x: Array, w: Array) -> Array:
    """The fully connected layer: y = x w, or y[n, k] = sum over d of x[n, d] w[d, k].

    x: (N, D), w: (D, K), y: (N, K).
    """
    return x @ w


@in_float64
def linear_backward(
    gy: Array, x: Array, w: Array, need_gx: bool = True
) -> tuple[Array | None, Array]:
    """Send gy back to the features and to the matrix: gx = gy w^T, gw = x^T gy.

    gy: (N, K), gx: as x, or None unless `need_gx`, gw: as w.
    """
    return (gy @ w.T if need_gx else None), x.T @ gy
