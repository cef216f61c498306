"""Bilinear interpolation: every output pixel is a mix of the four input pixels around it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minran.backend.geometry import Pair, resize_matrix
from minran.backend.naive.precision import Array, in_float64

Index = tuple[int, ...]


def _weights(
    x_shape: Index, size: Pair, align_corners: bool
) -> Iterator[tuple[Index, float, Index]]:
    """All products of an interpolation, as (p, weight, q) of y[q] += weight x[p]."""
    pictures, height, width, channels = x_shape
    r_h = resize_matrix(height, size[0], align_corners, np.float64)
    r_w = resize_matrix(width, size[1], align_corners, np.float64)
    for n, i, j, c in np.ndindex(pictures, *size, channels):
        for a, b in np.ndindex(height, width):
            if r_h[i, a] and r_w[j, b]:  # zero times an infinite pixel would be NaN
                yield (n, a, b, c), r_h[i, a] * r_w[j, b], (n, i, j, c)


@in_float64
def upsample_bilinear2d(x: Array, size: Pair, align_corners: bool) -> Array:
    """Interpolate x to `size` = (OH, OW), by one small matrix for the rows, one for the columns.

        y[n, i, j, c] = sum over a, b of R_h[i, a] R_w[j, b] x[n, a, b, c],   Y = R_h X R_w^T

    Row i of R_h says which rows of x are next to output row i, and how close they are
    (`geometry.resize_matrix`): at most two of its numbers are not 0.

    x: (N, H, W, C), y: (N, OH, OW, C), R_h: (OH, H), R_w: (OW, W).
    """
    y = np.zeros((x.shape[0], *size, x.shape[3]))
    for p, weight, q in _weights(x.shape, size, align_corners):
        y[q] += weight * x[p]
    return y


@in_float64
def upsample_bilinear2d_backward(gy: Array, x_shape: Index, align_corners: bool) -> Array:
    """Send each output's gradient to the pixels it was mixed from, with the same weights.

        gx[n, a, b, c] = sum over i, j of R_h[i, a] R_w[j, b] gy[n, i, j, c],   R_h^T gY R_w

    gy: (N, OH, OW, C), gx: x_shape.
    """
    gx = np.zeros(x_shape)
    for p, weight, q in _weights(x_shape, gy.shape[1:3], align_corners):
        gx[p] += weight * gy[q]
    return gx
