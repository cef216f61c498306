"""Convolution: every output pixel is a weighted sum of a window of input pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minran.backend.geometry import Pair, conv_sizes
from minran.backend.naive.precision import Array, in_float64

Index = tuple[int, ...]


def _products(
    x_shape: Index, w_shape: Index, stride: Pair, padding: Pair, groups: int
) -> Iterator[tuple[Index, Index, Index]]:
    """All products of a convolution, as the indices (p, k, q) of y[q] += x[p] * w[k]."""
    pictures, height, width, _ = x_shape
    rows, columns, group_inputs, outputs = w_shape
    sizes = conv_sizes((height, width), (rows, columns), stride, padding)

    for n, i, j, o in np.ndindex(pictures, *sizes, outputs):
        # The outputs are cut into `groups` equal parts; each sees its own part of the inputs.
        group = o // (outputs // groups)
        for a, b, c in np.ndindex(rows, columns, group_inputs):
            row = i * stride[0] - padding[0] + a
            column = j * stride[1] - padding[1] + b
            # Padding is zeros: what a window reads outside the picture adds nothing.
            if 0 <= row < height and 0 <= column < width:
                yield (n, row, column, group * group_inputs + c), (a, b, c, o), (n, i, j, o)


@in_float64
def conv2d(x: Array, w: Array, stride: Pair, padding: Pair, groups: int) -> Array:
    """Slide the filters w over the pictures x.

        y[n, i, j, o] = sum over a, b, c of
            x[n, i stride - padding + a, j stride - padding + b, c] w[a, b, c, o]

    where c runs over the input channels of o's group, and x is 0 outside the picture.

    x: (N, H, W, C), w: (KH, KW, C / groups, O), y: (N, OH, OW, O).
    """
    sizes = conv_sizes(x.shape[1:3], w.shape[:2], stride, padding)
    y = np.zeros((x.shape[0], *sizes, w.shape[3]))
    for p, k, q in _products(x.shape, w.shape, stride, padding, groups):
        y[q] += x[p] * w[k]
    return y


@in_float64
def conv2d_backward(
    gy: Array,
    x: Array,
    w: Array,
    stride: Pair,
    padding: Pair,
    groups: int,
    need_gx: bool = True,
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
