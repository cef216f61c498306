"""Bilinear interpolation: every output pixel is a mix of the four input pixels around it."""

from __future__ import annotations

import numpy as np

from minran.backend.geometry import resize_matrix
from minran.backend.naive.precision import Array, in_float64


@in_float64
def upsample_bilinear2d(x: Array, size: tuple[int, int], align_corners: bool) -> Array:
    """Interpolate x to `size` = (OH, OW), by one small matrix for the rows, one for the columns.

        y[n, i, j, c] = sum over a, b of R_h[i, a] R_w[j, b] x[n, a, b, c],   Y = R_h X R_w^T

    Row i of R_h says which rows of x are next to output row i, and how close they are
    (`geometry.resize_matrix`): at most two of its numbers are not 0.

    x: (N, H, W, C), y: (N, OH, OW, C), R_h: (OH, H), R_w: (OW, W).
    """
    pictures, height, width, channels = x.shape
    r_h = resize_matrix(height, size[0], align_corners, np.float64)
    r_w = resize_matrix(width, size[1], align_corners, np.float64)
    y = np.zeros((pictures, *size, channels))
    for n, i, j, c in np.ndindex(y.shape):
        for a, b in np.ndindex(height, width):
            if r_h[i, a] and r_w[j, b]:  # zero times an infinite pixel would be NaN
                y[n, i, j, c] += r_h[i, a] * r_w[j, b] * x[n, a, b, c]
    return y


@in_float64
def upsample_bilinear2d_backward(gy: Array, x_shape: tuple[int, ...], align_corners: bool) -> Array:
    """Send each output's gradient to the pixels it was mixed from, with the same weights.

        gx[n, a, b, c] = sum over i, j of R_h[i, a] R_w[j, b] gy[n, i, j, c],   R_h^T gY R_w

    gy: (N, OH, OW, C), gx: x_shape.
    """
    _, height, width, _ = x_shape
    r_h = resize_matrix(height, gy.shape[1], align_corners, np.float64)
    r_w = resize_matrix(width, gy.shape[2], align_corners, np.float64)
    gx = np.zeros(x_shape)
    for n, i, j, c in np.ndindex(gy.shape):
        for a, b in np.ndindex(height, width):
            if r_h[i, a] and r_w[j, b]:
                gx[n, a, b, c] += r_h[i, a] * r_w[j, b] * gy[n, i, j, c]
    return gx
