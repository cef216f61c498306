"""Pooling: every output pixel is the maximum, or the mean, of a window of input pixels."""

from __future__ import annotations

import math

import numpy as np

from minran.backend.geometry import Pair, pool_sizes
from minran.backend.naive.precision import Array, in_float64

Index = tuple[int, ...]


def _window(q: Index, x_shape: Index, kernel: Pair, stride: Pair, padding: Pair) -> list[Index]:
    """The real pixels under the window of output pixel q = (n, i, j, c), row by row."""
    n, i, j, c = q
    pixels: list[Index] = []
    for a, b in np.ndindex(kernel):
        row = i * stride[0] - padding[0] + a
        column = j * stride[1] - padding[1] + b
        if 0 <= row < x_shape[1] and 0 <= column < x_shape[2]:
            pixels.append((n, row, column, c))
    return pixels


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

    over the pixels inside the picture only: a padded zero would win over negative values.

    x: (N, H, W, C), y: (N, OH, OW, C), sizes rounded down, or up in `ceil_mode`.
    """
    sizes = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode)
    y = np.zeros((x.shape[0], *sizes, x.shape[3]))
    for q in np.ndindex(y.shape):
        y[q] = x[_first_maximum(x, _window(q, x.shape, kernel, stride, padding))]
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
    for q in np.ndindex(gy.shape):
        gx[_first_maximum(x, _window(q, x.shape, kernel, stride, padding))] += gy[q]
    return gx


@in_float64
def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Average every window.

        y[n, i, j, c] = 1 / (KH KW) sum over a, b of
            x[n, i stride - padding + a, j stride - padding + b, c]

    x: (N, H, W, C), y: (N, OH, OW, C). Outside the picture x is 0 and counts: the divisor is
    the kernel's area everywhere.
    """
    sizes = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode=False)
    y = np.zeros((x.shape[0], *sizes, x.shape[3]))
    for q in np.ndindex(y.shape):
        for p in _window(q, x.shape, kernel, stride, padding):
            y[q] += x[p] / (kernel[0] * kernel[1])
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
    for q in np.ndindex(gy.shape):
        for p in _window(q, x_shape, kernel, stride, padding):
            gx[p] += gy[q] / (kernel[0] * kernel[1])
    return gx


@in_float64
def global_avg_pool(x: Array) -> Array:
    """Average every map: y[n, c] = 1 / (H W) sum over i, j of x[n, i, j, c].

    x: (N, H, W, C), y: (N, C).
    """
    pictures, height, width, channels = x.shape
    y = np.zeros((pictures, channels))
    for n, i, j, c in np.ndindex(x.shape):
        y[n, c] += x[n, i, j, c] / (height * width)
    return y


@in_float64
def global_avg_pool_backward(gy: Array, x_shape: Index) -> Array:
    """Share each map's gradient equally: gx[n, i, j, c] = gy[n, c] / (H W).

    gy: (N, C), gx: x_shape.
    """
    _, height, width, _ = x_shape
    gx = np.zeros(x_shape)
    for n, i, j, c in np.ndindex(x_shape):
        gx[n, i, j, c] += gy[n, c] / (height * width)
    return gx
