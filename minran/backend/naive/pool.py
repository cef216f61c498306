"""Pools and interpolation: an output pixel is the maximum, or a weighted mean, of input pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minran.backend.geometry import Pair, pool_sizes, resize_matrix
from minran.backend.naive.loops import Array, Index, in_float64, windows


def _first_maximum(x: Array, pixels: list[Index]) -> Index:
    """The pixel with the largest value; of equal ones the first. NaN counts as largest."""
    winner = pixels[0]
    for p in pixels:
        if x[p] > x[winner] or math.isnan(x[p]):
            winner = p
    return winner


@in_float64
def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """Keep the largest value of every window.

        y[n, i, j, c] = max over a, b of x[n, i stride - padding + a, j stride - padding + b, c]

    over the pixels inside the image only: a padded zero would win over negative values.

    x: (N, H, W, C), y: (N, OH, OW, C), sizes rounded down, or up in `ceil_mode`.
    """
    sizes = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode)
    y = np.zeros((len(x), *sizes, x.shape[3]))
    for q, window in windows(x.shape, sizes, kernel, stride, padding):
        y[q] = np.max([x[p] for _, p in window], axis=0)
    return y


@in_float64
def max_pool2d_backward(
    gy: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Give each output's gradient to the pixel that was its maximum; the others get nothing.

        gx[p] += gy[q]  where p is the first maximum (row by row) of the window of q

    gy and y: (N, OH, OW, C), gx: as x. Faster backends find the maximum by comparing with y.
    """
    gx = np.zeros(x.shape)
    for q, window in windows(x.shape, gy.shape[1:3], kernel, stride, padding):
        for c in range(x.shape[3]):
            gx[_first_maximum(x, [(*p, c) for _, p in window])] += gy[*q, c]
    return gx


@in_float64
def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Average every window.

        y[n, i, j, c] = 1 / (KH KW) sum over a, b of
            x[n, i stride - padding + a, j stride - padding + b, c]

    x: (N, H, W, C), y: (N, OH, OW, C). Outside the image x is 0 and counts: the divisor is
    the kernel's area everywhere.
    """
    sizes = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode=False)
    y = np.zeros((len(x), *sizes, x.shape[3]))
    for q, window in windows(x.shape, sizes, kernel, stride, padding):
        for _, p in window:
            y[q] += x[p] / math.prod(kernel)
    return y


@in_float64
def avg_pool2d_backward(
    gy: Array, x_shape: Index, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Share each output's gradient equally among the pixels of its window.

        gx[p] += gy[q] / (KH KW)  for every p in the window of q

    gy: (N, OH, OW, C), gx: x_shape.
    """
    gx = np.zeros(x_shape)
    for q, window in windows(x_shape, gy.shape[1:3], kernel, stride, padding):
        for _, p in window:
            gx[p] += gy[q] / math.prod(kernel)
    return gx


@in_float64
def global_avg_pool(x: Array) -> Array:
    """Average every map: y[n, c] = 1 / (H W) sum over i, j of x[n, i, j, c].

    x: (N, H, W, C), y: (N, C).
    """
    return x.mean((1, 2))


@in_float64
def global_avg_pool_backward(gy: Array, x_shape: Index) -> Array:
    """Share each map's gradient equally: gx[n, i, j, c] = gy[n, c] / (H W).

    gy: (N, C), gx: x_shape.
    """
    gx = np.zeros(x_shape)
    gx[...] = gy[:, None, None, :] / (x_shape[1] * x_shape[2])
    return gx


def _weights(
    x_shape: Index, size: Pair, align_corners: bool
) -> Iterator[tuple[Index, float, Index]]:
    """All products of an interpolation, as (p, weight, q) of y[q] += weight x[p]."""
    pictures, height, width, _ = x_shape
    r_h = resize_matrix(height, size[0], align_corners, np.float64)
    r_w = resize_matrix(width, size[1], align_corners, np.float64)
    for n, i, j, a, b in np.ndindex(pictures, *size, height, width):
        if r_h[i, a] and r_w[j, b]:  # zero times an infinite pixel would be NaN
            yield (n, a, b), r_h[i, a] * r_w[j, b], (n, i, j)


@in_float64
def upsample_bilinear2d(x: Array, size: Pair, align_corners: bool) -> Array:
    """Interpolate x to `size` = (OH, OW), by one small matrix for the rows, one for the columns.

        y[n, i, j, c] = sum over a, b of R_h[i, a] R_w[j, b] x[n, a, b, c],   Y = R_h X R_w^T

    Row i of R_h says which rows of x are next to output row i, and how close they are
    (`geometry.resize_matrix`): at most two of its numbers are not 0.

    x: (N, H, W, C), y: (N, OH, OW, C), R_h: (OH, H), R_w: (OW, W).
    """
    y = np.zeros((len(x), *size, x.shape[3]))
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
