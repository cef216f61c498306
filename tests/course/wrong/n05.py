"""Plausible wrong answers to the exercises of notebook 05."""

import math

import numpy as np

from minran.backend import cpu
from minran.backend.geometry import resize_matrix


def always_floor(size, kernel, stride, padding, ceil_mode):
    """Ceil mode is not there."""
    return (size + 2 * padding - kernel) // stride + 1


def forgets_the_condition(size, kernel, stride, padding, ceil_mode):
    """A window may start behind the picture."""
    rounded = math.ceil if ceil_mode else math.floor
    return rounded((size + 2 * padding - kernel) / stride) + 1


def forgets_the_first_window(size, kernel, stride, padding, ceil_mode):
    """Without the + 1."""
    return always_floor(size, kernel, stride, padding, ceil_mode) - 1


def leaves_a_fraction(size, kernel, stride, padding, ceil_mode):
    """Divides without rounding."""
    return (size + 2 * padding - kernel) / stride + 1


def _route(gy, x, kernel, stride, add=True, ties="first", offset=True):
    gx = np.zeros_like(x)
    for i, j in np.ndindex(gy.shape):
        top, left = i * stride, j * stride
        window = x[top : top + kernel, left : left + kernel]
        hits = np.argwhere(window == window.max())
        chosen = {"first": hits[:1], "last": hits[-1:], "all": hits}[ties]
        for a, b in chosen:
            place = (top + a, left + b) if offset else (a, b)
            gx[place] = gx[place] + gy[i, j] if add else gy[i, j]
    return gx


def assigns(gy, x, kernel, stride):
    """The last window wins."""
    return _route(gy, x, kernel, stride, add=False)


def feeds_all_ties(gy, x, kernel, stride):
    """Every maximum gets the whole gradient: gx = gy * (x == y)."""
    return _route(gy, x, kernel, stride, ties="all")


def takes_the_last_tie(gy, x, kernel, stride):
    """The last of equal maxima."""
    return _route(gy, x, kernel, stride, ties="last")


def forgets_the_offset(gy, x, kernel, stride):
    """Indexes the picture with the place in the window."""
    return _route(gy, x, kernel, stride, offset=False)


def interpolates_down(gy, x_shape, align_corners):
    """Resizes the gradient: averages instead of sums."""
    return cpu.upsample_bilinear2d(gy, x_shape[1:3], align_corners)


def swaps_the_matrices(gy, x_shape, align_corners):
    """R_w along the rows: fails or goes wrong unless the picture is square."""
    rows = resize_matrix(x_shape[1], gy.shape[1], align_corners, gy.dtype)
    cols = resize_matrix(x_shape[2], gy.shape[2], align_corners, gy.dtype)
    if rows.shape == cols.shape:
        return np.einsum("il,jm,njic->nlmc", rows, cols, gy)
    return np.einsum("il,jm,nijc->nmlc", rows, cols, gy)


def ignores_the_option(gy, x_shape, align_corners):
    """Corners are always aligned."""
    return cpu.upsample_bilinear2d_backward(gy, x_shape, True)


WRONG = {
    "05.1": [
        ("always floor", always_floor),
        ("forgets the condition", forgets_the_condition),
        ("forgets the first window", forgets_the_first_window),
        ("leaves a fraction", leaves_a_fraction),
    ],
    "05.2": [
        ("assigns instead of adding", assigns),
        ("feeds all equal maxima", feeds_all_ties),
        ("takes the last of equal maxima", takes_the_last_tie),
        ("forgets the window's offset", forgets_the_offset),
    ],
    "05.3": [
        ("interpolates the gradient down", interpolates_down),
        ("swaps the matrices", swaps_the_matrices),
        ("ignores align_corners", ignores_the_option),
    ],
}
