"""Convolution as a matrix product over NHWC blocks.

A 1x1 convolution is the product `x.reshape(-1, C) @ w[0, 0]`, nothing else. A larger one
copies, for every output pixel, the window it sees into a row (im2col): in NHWC each
window row is one run of KW * C neighbouring numbers, so the copy is quick.
"""

from __future__ import annotations

import math

import numpy as np

from minran.backend.cpu.blocks import map_blocks
from minran.backend.cpu.memory import empty
from minran.backend.cpu.product import summed_product, tall_product
from minran.backend.geometry import conv_output_size

Pair = tuple[int, int]

COLUMN_BLOCK_BYTES = 1 << 21


def conv2d(x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, groups: int) -> np.ndarray:
    """y[n, i, j, k] = sum_abc x[n, s i + a - p, s j + b - p, c] w[a, b, c, k].

    x (N, H, W, C), w (KH, KW, C/groups, K) -> y (N, Ho, Wo, K).
    """
    n, height, width, _ = x.shape
    kh, kw, _, k = w.shape
    ho = conv_output_size(height, kh, stride[0], padding[0])
    wo = conv_output_size(width, kw, stride[1], padding[1])
    y = empty((n, ho, wo, k), x.dtype)

    def block(samples: slice) -> None:
        columns = columns_of(x[samples], (kh, kw), stride, padding, (ho, wo), groups)
        _grouped_product(columns, w, y[samples].reshape(-1, k), groups)

    map_blocks(block, n, *_block_size(x, y, kh * kw))
    return y


def conv2d_backward(
    gy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    stride: Pair,
    padding: Pair,
    groups: int,
    need_gx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray]:
    """Adjoints of `conv2d` in x and in w: gx (N, H, W, C) or None, gw (KH, KW, C/groups, K)."""
    kh, kw = w.shape[:2]
    if need_gx and stride == (1, 1) and groups == 1 and padding[0] < kh and padding[1] < kw:
        return _backward_stride_one(gy, x, w, padding)
    return _backward_general(gy, x, w, stride, padding, groups, need_gx)


def _backward_stride_one(
    gy: np.ndarray, x: np.ndarray, w: np.ndarray, padding: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """Both adjoints from one im2col of gy, see `stride_one_adjoints`."""
    kernel, turned = w.shape[:2], turned_kernel(w)
    gx = empty(x.shape, x.dtype)

    def block(samples: slice) -> np.ndarray:
        return stride_one_adjoints(gy[samples], x[samples], turned, kernel, padding, gx[samples])

    gw = sum_of(map_blocks(block, len(x), *_block_size(gy, gx, math.prod(kernel))))
    return gx, turned_back(gw, w.shape)


def turned_kernel(w: np.ndarray) -> np.ndarray:
    """(KH, KW, C, K) turned by 180 degrees, its channel axes swapped: a matrix (KH KW K, C)."""
    return np.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3)).reshape(-1, w.shape[2])


def turned_back(gw: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What `stride_one_adjoints` gives, (C, KH KW K), as the gradient of w, (KH, KW, C, K)."""
    kh, kw, c, k = shape
    return np.ascontiguousarray(gw.reshape(c, kh, kw, k)[:, ::-1, ::-1].transpose(1, 2, 0, 3))


def stride_one_adjoints(
    gy: np.ndarray, x: np.ndarray, turned: np.ndarray, kernel: Pair, padding: Pair, gx: np.ndarray
) -> np.ndarray:
    """Write gx of a convolution with stride 1; returns gw as (C, KH KW K), turned.

    gy (N, Ho, Wo, K), x and gx (N, H, W, C), turned (KH KW K, C): see `turned_kernel`.
    With stride 1, gx is itself a convolution, of gy with the kernel turned by 180 degrees and
    its channel axes swapped, padded by K - 1 - p. The columns of gy made for it give gw too:
    gw[a, b, c, k] = sum over pixels of x[pixel, c] * gy[pixel + p - (a, b), k].
    """
    _, height, width, c = x.shape
    reach = (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1])
    columns = columns_of(gy, kernel, (1, 1), reach, (height, width), 1)
    tall_product(columns, turned, gx.reshape(-1, c))
    return summed_product(x.reshape(-1, c), columns)


def _backward_general(
    gy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    stride: Pair,
    padding: Pair,
    groups: int,
    need_gx: bool,
) -> tuple[np.ndarray | None, np.ndarray]:
    """Both adjoints by im2col and its own adjoint, see `general_adjoints`."""
    kh, kw, cg, k = w.shape
    gx = empty(x.shape, x.dtype) if need_gx else None
    # (K, KH KW C/g) per group: the transpose of the matrix that forward multiplied with.
    flat = w.reshape(kh * kw * cg, groups, k // groups).transpose(1, 2, 0)

    def block(samples: slice) -> np.ndarray:
        part = None if gx is None else gx[samples]
        return general_adjoints(gy[samples], x[samples], flat, (kh, kw), stride, padding, part)

    gw = sum_of(map_blocks(block, len(x), *_block_size(x, gy, kh * kw)))
    gw = gw.reshape(groups, kh, kw, cg, k // groups).transpose(1, 2, 3, 0, 4)
    return gx, np.ascontiguousarray(gw).reshape(w.shape)


def general_adjoints(
    gy: np.ndarray,
    x: np.ndarray,
    flat: np.ndarray,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    gx: np.ndarray | None,
) -> np.ndarray:
    """Write gx of a convolution, if it is wanted; returns gw as (groups, KH KW C/g, K/g).

    gw = columns(x)^T gy and gx = col2im(gy w^T), group by group, for any stride.
    gy (N, Ho, Wo, K), x and gx (N, H, W, C), flat (groups, K/g, KH KW C/g): each group's w^T.
    """
    groups, kg, taps = flat.shape
    out = gy.shape[1:3]
    columns = columns_of(x, kernel, stride, padding, out, groups)
    grouped = gy.reshape(-1, groups, kg).transpose(1, 0, 2)
    gw = np.matmul(columns.reshape(groups, -1, taps).swapaxes(1, 2), grouped)
    if gx is not None:
        _col2im(np.matmul(grouped, flat), gx, kernel, stride, padding, out)
    return gw


def columns_of(
    x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, out: Pair, groups: int
) -> np.ndarray:
    """im2col: (N Ho Wo, KH KW C) for one group, (groups, N Ho Wo, KH KW C/groups) for more."""
    n, _, _, c = x.shape
    kh, kw = kernel
    if kernel == (1, 1) and padding == (0, 0) and groups == 1:
        return np.ascontiguousarray(x[:, :: stride[0], :: stride[1]]).reshape(-1, c)
    padded = _pad(x, padding)
    # From the shape: NumPy gives an axis of one number any stride, which no view may read with.
    *_, rows, width, _ = padded.shape
    sc = x.itemsize
    sw, sh, sn = c * sc, width * c * sc, rows * width * c * sc
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    if groups == 1:
        # One window row is a run of KW * C neighbouring numbers of the padded picture.
        shape = (n, *out, kh, kw * c)
        strides = (sn, sh * stride[0], sw * stride[1], sh, sc)
        columns = empty((n * math.prod(out), kh * kw * c), x.dtype)
    else:
        cg = c // groups
        shape = (groups, n, *out, kh, kw, cg)
        strides = (sc * cg, sn, sh * stride[0], sw * stride[1], sh, sw, sc)
        columns = empty((groups, n * math.prod(out), kh * kw * cg), x.dtype)
    # The windows overlap in memory: a view that only an array's constructor makes (as_strided does
    # the same, but takes ten times as long).
    windows = np.ndarray(shape, x.dtype, padded, strides=strides)
    np.copyto(columns.reshape(shape), windows)
    return columns


def _col2im(
    gcolumns: np.ndarray, gx: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, out: Pair
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


def _pad(x: np.ndarray, padding: Pair) -> np.ndarray:
    """`x` with `padding` zeros around rows and columns, C-contiguous; only the rim is cleared."""
    if padding == (0, 0):
        return np.ascontiguousarray(x)
    padded, inside = framed(x.shape, padding, x.dtype)
    inside[...] = x
    return padded


def framed(shape: tuple[int, ...], padding: Pair, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """An array with a rim of `padding` zeros, and the view of its inside, (N, H, W, C), to fill."""
    n, height, width, c = shape
    ph, pw = padding
    padded = empty((n, height + 2 * ph, width + 2 * pw, c), dtype)
    padded[:, :ph] = 0
    padded[:, ph + height :] = 0
    padded[:, :, :pw] = 0
    padded[:, :, pw + width :] = 0
    return padded, padded[:, ph : ph + height, pw : pw + width]


def _grouped_product(columns: np.ndarray, w: np.ndarray, y: np.ndarray, groups: int) -> None:
    """y = columns @ w, group by group when there are several."""
    k = w.shape[-1]
    if groups == 1:
        tall_product(columns, w.reshape(-1, k), y)
        return
    matrices = w.reshape(-1, groups, k // groups).transpose(1, 0, 2)
    out = y.reshape(-1, groups, k // groups).transpose(1, 0, 2)
    out[...] = np.matmul(columns, matrices)


def sum_of(parts: list[np.ndarray]) -> np.ndarray:
    """The sum of the blocks' results, in block order."""
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def _block_size(x: np.ndarray, y: np.ndarray, taps: int) -> tuple[int, int]:
    """Bytes of one sample's largest operand, which is its columns, and of a block."""
    return max(taps * x[:1].nbytes, y[:1].nbytes), COLUMN_BLOCK_BYTES
