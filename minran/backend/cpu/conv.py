"""Convolution as a matrix product over NHWC blocks.

A 1x1 convolution is the product `x.reshape(-1, C) @ w[0, 0]`, nothing else. A larger one
copies, for every output pixel, the window it sees into a row (im2col): in NHWC each
window row is one run of KW * C neighbouring numbers, so the copy is quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minran.backend.cpu.blocks import HAND_OVER_PRODUCTS, map_blocks, sum_of
from minran.backend.cpu.memory import empty
from minran.backend.cpu.product import summed_product, tall_product
from minran.backend.geometry import Pair, conv_sizes

Array = np.ndarray

COLUMN_BLOCK_BYTES = 1 << 21
"""Bytes of a block's columns."""


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair, groups: int) -> Array:
    """y[n, i, j, k] = sum_abc x[n, s i + a - p, s j + b - p, c] w[a, b, c, k].

    x (N, H, W, C), w (KH, KW, C/groups, K) -> y (N, Ho, Wo, K).
    """
    kernel, k = w.shape[:2], w.shape[3]
    out = conv_sizes(x.shape[1:3], kernel, stride, padding)
    y = empty((len(x), *out, k), x.dtype)

    def block(samples: slice) -> None:
        columns = columns_of(x[samples], kernel, stride, padding, out, groups)
        part = y[samples].reshape(-1, k)
        if groups == 1:
            tall_product(columns, w.reshape(-1, k), part)
            return
        matrices = w.reshape(-1, groups, k // groups).transpose(1, 0, 2)
        part.reshape(-1, groups, k // groups).transpose(1, 0, 2)[...] = np.matmul(columns, matrices)

    _map(block, len(x), _sample_bytes(x, y, kernel))
    return y


def conv2d_backward(
    gy: Array, x: Array, w: Array, stride: Pair, padding: Pair, groups: int, need_gx: bool = True
) -> tuple[Array | None, Array]:
    """Adjoints of `conv2d` in x and in w: gx (N, H, W, C) or None, gw (KH, KW, C/groups, K)."""
    kernel = w.shape[:2]
    turned = need_gx and stride == (1, 1) and groups == 1
    if turned and padding[0] < kernel[0] and padding[1] < kernel[1]:
        adjoints, whole_gw = turned_adjoints(w, padding)
        sample_bytes = _sample_bytes(gy, x, kernel)
    else:
        adjoints, whole_gw = general_adjoints(w, stride, padding, groups)
        sample_bytes = _sample_bytes(x, gy, kernel)
    gx = empty(x.shape, x.dtype) if need_gx else None

    def block(samples: slice) -> Array:
        return adjoints(gy[samples], x[samples], None if gx is None else gx[samples])

    return gx, whole_gw(sum_of(_map(block, len(x), sample_bytes)))


Adjoints = tuple[Callable[[Array, Array, Any], Array], Callable[[Array], Array]]
"""Two functions: of gy, x and gx of a block, to write gx and return a part of gw; and of the sum of
these parts, to return gw."""


def turned_adjoints(w: Array, padding: Pair) -> Adjoints:
    """Both adjoints of a convolution with stride 1 from one im2col of gy.

    gx is itself a convolution, of gy with the kernel turned by 180 degrees and its channel axes
    swapped, padded by K - 1 - p. The columns of gy made for it give gw too:
    gw[a, b, c, k] = sum over pixels of x[pixel, c] * gy[pixel + p - (a, b), k].
    """
    kh, kw, c, k = w.shape
    turned = np.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3)).reshape(-1, c)
    reach = kh - 1 - padding[0], kw - 1 - padding[1]

    def block(gy: Array, x: Array, gx: Array) -> Array:
        columns = columns_of(gy, (kh, kw), (1, 1), reach, x.shape[1:3], 1)
        tall_product(columns, turned, gx.reshape(-1, c))
        return summed_product(x.reshape(-1, c), columns)

    def whole(gw: Array) -> Array:
        gw = gw.reshape(c, kh, kw, k)[:, ::-1, ::-1]
        return np.ascontiguousarray(gw.transpose(1, 2, 0, 3))

    return block, whole


def general_adjoints(w: Array, stride: Pair, padding: Pair, groups: int) -> Adjoints:
    """Both adjoints by im2col and its own adjoint, group by group.

    gw = columns(x)^T gy and gx = col2im(gy w^T); gx is left out where it is None.
    """
    kh, kw, cg, k = w.shape
    # (K, KH KW C/g) per group: the transpose of the matrix that forward multiplied with.
    flat = w.reshape(kh * kw * cg, groups, k // groups).transpose(1, 2, 0)

    def block(gy: Array, x: Array, gx: Array | None) -> Array:
        out = gy.shape[1:3]
        columns = columns_of(x, (kh, kw), stride, padding, out, groups)
        grouped = gy.reshape(-1, groups, k // groups).transpose(1, 0, 2)
        gw = np.matmul(columns.reshape(groups, -1, kh * kw * cg).swapaxes(1, 2), grouped)
        if gx is not None:
            _col2im(np.matmul(grouped, flat), gx, (kh, kw), stride, padding, out)
        return gw

    def whole(gw: Array) -> Array:
        gw = gw.reshape(groups, kh, kw, cg, k // groups).transpose(1, 2, 3, 0, 4)
        return np.ascontiguousarray(gw).reshape(w.shape)

    return block, whole


def columns_of(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, out: Pair, groups: int
) -> Array:
    """im2col: (N Ho Wo, KH KW C) for one group, (groups, N Ho Wo, KH KW C/groups) for more."""
    n, _, _, c = x.shape
    kh, kw = kernel
    if kernel == (1, 1) and padding == (0, 0) and groups == 1:
        return np.ascontiguousarray(x[:, :: stride[0], :: stride[1]]).reshape(-1, c)
    if padding == (0, 0):
        padded = np.ascontiguousarray(x)
    else:
        padded, inside = framed(x.shape, padding, x.dtype)
        inside[...] = x
    # From the shape: NumPy gives an axis of one number any stride, which no view may read with.
    *_, rows, width, _ = padded.shape
    sc = x.itemsize
    sw, sh, sn = c * sc, width * c * sc, rows * width * c * sc
    cg = c // groups
    shape = groups, n, *out, kh, kw, cg
    strides = cg * sc, sn, sh * stride[0], sw * stride[1], sh, sw, sc
    # The windows overlap in memory: a view that only an array's constructor makes (as_strided does
    # the same, but takes ten times as long). Of one group, a window row is a run of KW * C numbers.
    windows = np.ndarray(shape, x.dtype, padded, strides=strides)
    columns = empty((groups, n * math.prod(out), kh * kw * cg), x.dtype)
    np.copyto(columns.reshape(shape), windows)
    return columns if groups > 1 else columns[0]


def _col2im(
    gcolumns: Array, gx: Array, kernel: Pair, stride: Pair, padding: Pair, out: Pair
) -> None:
    """The adjoint of im2col: add every window's numbers back onto the pixels they came from."""
    n, height, width, c = gx.shape
    (ph, pw), (ho, wo) = padding, out
    groups = len(gcolumns)
    windows = gcolumns.reshape(groups, n, ho, wo, *kernel, c // groups)
    rim = padding != (0, 0)
    padded = empty((n, height + 2 * ph, width + 2 * pw, c), gx.dtype) if rim else gx
    padded[...] = 0
    grouped = padded.reshape(*padded.shape[:3], groups, c // groups)
    for a in range(kernel[0]):
        for b in range(kernel[1]):
            rows = slice(a, a + stride[0] * ho, stride[0])
            cols = slice(b, b + stride[1] * wo, stride[1])
            grouped[:, rows, cols] += windows[:, :, :, :, a, b].transpose(1, 2, 3, 0, 4)
    if rim:
        gx[...] = padded[:, ph : ph + height, pw : pw + width]


def framed(shape: tuple[int, ...], padding: Pair, dtype: np.dtype) -> tuple[Array, Array]:
    """An array with a rim of `padding` zeros, and the view of its inside, (N, H, W, C), to fill."""
    n, height, width, c = shape
    ph, pw = padding
    padded = empty((n, height + 2 * ph, width + 2 * pw, c), dtype)
    padded[:, :ph] = 0
    padded[:, ph + height :] = 0
    padded[:, :, :pw] = 0
    padded[:, :, pw + width :] = 0
    return padded, padded[:, ph : ph + height, pw : pw + width]


def _map(block: Callable[[slice], Any], count: int, sample_bytes: int) -> list[Any]:
    return map_blocks(block, count, sample_bytes, COLUMN_BLOCK_BYTES, HAND_OVER_PRODUCTS)


def _sample_bytes(x: Array, y: Array, kernel: Pair) -> int:
    """Bytes of one sample's largest operand, which is its columns, as a rule."""
    return max(math.prod(kernel) * x[:1].nbytes, y[:1].nbytes)
