"""Bilinear interpolation as two small matrices: Y = R_h X R_w^T.

Row i of R says of which two source rows target row i is made, and with which weights.
The adjoint is the same product with the matrices transposed, so the backward pass needs no
code of its own and adds in a fixed order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from minran.backend.cpu.blocks import map_blocks
from minran.backend.cpu.memory import empty
from minran.backend.geometry import Pair, resize_matrix

Array = np.ndarray


@lru_cache(maxsize=256)
def _matrix(source: int, target: int, align_corners: bool, dtype: str) -> Array:
    matrix = resize_matrix(source, target, align_corners, np.dtype(dtype))
    matrix.flags.writeable = False
    return matrix


def upsample_bilinear2d(x: Array, size: Pair, align_corners: bool) -> Array:
    """Y = R_h X R_w^T for every sample and channel: (N, h, w, C) -> (N, H, W, C)."""
    rows = _matrix(x.shape[1], size[0], align_corners, x.dtype.str)
    cols = _matrix(x.shape[2], size[1], align_corners, x.dtype.str)
    return _apply(x, rows, cols)


def upsample_bilinear2d_backward(gy: Array, x_shape: tuple[int, ...], align_corners: bool) -> Array:
    """GX = R_h^T gY R_w: (N, H, W, C) -> (N, h, w, C)."""
    rows = _matrix(x_shape[1], gy.shape[1], align_corners, gy.dtype.str)
    cols = _matrix(x_shape[2], gy.shape[2], align_corners, gy.dtype.str)
    return _apply(gy, rows.T, cols.T)


def _apply(x: Array, rows: Array, cols: Array) -> Array:
    """Rows (H, h) along the height of x, then cols (W, w) along its width; any linear map.

    The smaller intermediate comes first: down along the height before the width grows, or not.
    """
    n, h, w, c = x.shape
    height, width = len(rows), len(cols)
    y = empty((n, height, width, c), x.dtype)

    def block(samples: slice) -> None:
        part, out = np.ascontiguousarray(x[samples]), y[samples]
        count = len(part)
        tall = empty((count, height, w * c), x.dtype)
        with np.errstate(invalid="ignore"):
            np.matmul(rows, part.reshape(count, h, w * c), out=tall)
            np.matmul(cols, tall.reshape(count * height, w, c), out=out.reshape(-1, width, c))
        # Zero times infinity is NaN: one number that is not finite spoils its whole map, so that
        # one pixel tells.
        if not np.isfinite(out[:, 0, 0]).all():
            out[...] = _mix(cols, _mix(rows, part, 1), 2)

    map_blocks(block, n, max(x[:1].nbytes, y[:1].nbytes))
    return y


def _mix(matrix: Array, x: Array, axis: int) -> Array:
    """The matrix times x along one axis, without the products with zeros."""
    line = np.moveaxis(x, axis, -1)
    mixed = [line[..., row != 0] @ row[row != 0] for row in matrix]
    return np.stack(mixed, axis)
