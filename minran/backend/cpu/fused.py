"""Batch norm, ReLU and convolution in one pass: the step a pre-activation network repeats.

`conv(relu(a x + b)) + residual` is computed block by block: the normalised block lives in the
cache, is multiplied with the weights, and is forgotten; the moments of the result, which the
next batch norm will ask for, are summed while the result is still there. Backward computes the
normalised block again. Against the separate kernels that is half the memory traffic and half
the memory, for one more pass of cheap arithmetic.
"""

from __future__ import annotations

import numpy as np

from minran.backend.cpu.blocks import map_blocks
from minran.backend.cpu.conv import columns_of, framed, sum_of
from minran.backend.cpu.memory import empty, zeros
from minran.backend.cpu.norm import (
    block_moments,
    channel_dots,
    channel_sums,
    join_moments,
    rows_of,
    tile,
    zero_row,
)
from minran.backend.cpu.product import summed_product, tall_product
from minran.backend.geometry import conv_output_size

Pair = tuple[int, int]
Vectors = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""gamma, beta, mean and inv_std, (C,) each."""

SAFE = 4
"""ggamma is read off gw where |gamma| > |beta| / SAFE in all channels: costs at most a factor 5."""

BLOCK_BYTES = {1: 1 << 21, 3: 1 << 19}
"""Bytes of a block by kernel size: the columns of a 3x3 convolution are nine times as many."""


def norm_relu_conv2d(
    x: np.ndarray,
    norm: Vectors,
    w: np.ndarray,
    stride: int,
    padding: int,
    residual: np.ndarray | None,
    with_moments: bool,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """y = conv2d(max(gamma (x - mean) inv_std + beta, 0), w) + residual, and y's moments.

    x (N, H, W, C), w (K, K, C, Cout), residual like y or None -> y (N, Ho, Wo, Cout).
    """
    n, height, width, _ = x.shape
    kernel, out = w.shape[0], w.shape[-1]
    ho = conv_output_size(height, kernel, stride, padding)
    wo = conv_output_size(width, kernel, stride, padding)
    y = empty((n, ho, wo, out), x.dtype)
    flat = w.reshape(-1, out)
    scale, shift = _affine(norm, x)

    def block(samples: slice) -> tuple[int, np.ndarray, np.ndarray, np.ndarray] | None:
        p = normalise(x[samples], scale, shift, padding)
        columns = columns_of(p, (kernel, kernel), (stride, stride), (0, 0), (ho, wo), 1)
        part = y[samples]
        tall_product(columns, flat, part.reshape(-1, out))
        if residual is not None:
            np.add(part, residual[samples], out=part)
        return block_moments(part) if with_moments else None

    parts = map_blocks(block, n, max(x[:1].nbytes, y[:1].nbytes), BLOCK_BYTES.get(kernel, 1 << 18))
    return y, join_moments([part for part in parts if part]) if with_moments else None


def norm_relu_conv2d_backward(
    gy: np.ndarray,
    x: np.ndarray,
    norm: Vectors,
    w: np.ndarray,
    stride: int,
    padding: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The gradients behind the convolution: h (N, H, W, C), gw, ggamma and gbeta (float64).

    With g the gradient at a x + b, cut by the ReLU: h = a g, gbeta = sum g, ggamma = sum g xhat.
    `norm_backward_inplace` makes gx of h (on a GPU the two hand on g itself). The factor a goes
    into the weights, and both sums come almost for nothing: with p = relu(gamma xhat + beta),
    which is 0 wherever g is cut,

        gamma ggamma + beta gbeta = sum g p = sum_abk w[a, b, c, k] gw[a, b, c, k].

    For a gamma so small that this would cost digits, the sums are taken one by one.
    """
    n, height, width, c = x.shape
    kernel, out = w.shape[0], w.shape[-1]
    ho, wo = gy.shape[1:3]
    h = empty(x.shape, x.dtype)
    gamma, beta, mean, inv_std = norm
    a = gamma * inv_std
    divides = bool((np.abs(gamma) * SAFE > np.abs(beta)).all())
    turned = np.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3)).reshape(-1, c)
    if divides:
        turned = turned * a.astype(w.dtype)  # not in place: with one channel it is w itself
    reach = kernel - 1 - padding
    scale, shift = _affine(norm, x)
    tiled_a, tiled_mean = tile(a, x), tile(mean, x)

    def block(samples: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        xs, gs = x[samples], gy[samples]
        part = h[samples]
        p = normalise(xs, scale, shift, 0)
        if kernel == 1:
            seen = p if stride == 1 else np.ascontiguousarray(p[:, ::stride, ::stride])
            flat = gs.reshape(-1, out)
            gw = summed_product(seen.reshape(-1, c), flat)
            if stride == 1:
                tall_product(flat, turned, part.reshape(-1, c))
            else:
                part[...] = 0
                part[:, ::stride, ::stride] = (flat @ turned).reshape(seen.shape)
        else:
            # Each gy sits in every stride-th cell of a picture of zeros; one im2col of it serves
            # both the product with the turned kernel and the one with p.
            if stride == 1:
                spread, inside = framed(gs.shape, (reach, reach), x.dtype)
            else:
                spread = zeros((len(gs), height + kernel - 1, width + kernel - 1, out), x.dtype)
                stop_h, stop_w = reach + stride * ho, reach + stride * wo
                inside = spread[:, reach:stop_h:stride, reach:stop_w:stride]
            inside[...] = gs
            columns = columns_of(spread, (kernel, kernel), (1, 1), (0, 0), (height, width), 1)
            tall_product(columns, turned, part.reshape(-1, c))
            gw = summed_product(p.reshape(-1, c), columns)
        np.multiply(part, p > 0, out=part)
        sums = channel_sums(part)
        if divides:
            return gw, sums, None
        centred = p  # it has done its work: its memory is used again
        np.subtract(rows_of(xs), tiled_mean, out=rows_of(centred))
        dots = channel_dots(part, centred)
        np.multiply(rows_of(part), tiled_a, out=rows_of(part))
        return gw, sums, dots

    parts = map_blocks(block, n, max(x[:1].nbytes, gy[:1].nbytes), BLOCK_BYTES.get(kernel, 1 << 18))
    gw = sum_of([part[0] for part in parts])
    if kernel == 1:
        gw = gw.reshape(w.shape)
    else:
        gw = gw.reshape(c, kernel, kernel, out)[:, ::-1, ::-1].transpose(1, 2, 0, 3)
    gw = np.ascontiguousarray(gw)
    gbeta = sum_of([part[1] for part in parts])
    if divides:
        gbeta = gbeta / a
        along = np.einsum("abck,abck->c", w, gw, dtype=np.float64)
        ggamma = (along - beta * gbeta) / gamma
    else:
        ggamma = sum_of([part[2] for part in parts if part[2] is not None]) * inv_std
    return h, gw, ggamma, gbeta


def norm_backward_inplace(
    h: np.ndarray,
    x: np.ndarray,
    norm: Vectors,
    ggamma: np.ndarray,
    gbeta: np.ndarray,
    count: int | None,
) -> np.ndarray:
    """h = a g becomes gx = a (g - gbeta/count - xhat ggamma/count), a = gamma inv_std; see `norm`.

    Without count (mean and variance are constants) gx = a g, which h is already.
    """
    if count is None:
        return h
    gamma, _, mean, inv_std = norm
    a = gamma * inv_std
    c1 = -a * inv_std * ggamma / count
    tiled_c1, tiled_c0 = tile(c1, x), tile(-a * gbeta / count - c1 * mean, x)

    def block(samples: slice) -> None:
        rows = rows_of(h[samples])
        pulled = empty(rows.shape, x.dtype)
        np.multiply(rows_of(x[samples]), tiled_c1, out=pulled)
        np.add(pulled, tiled_c0, out=pulled)
        np.add(rows, pulled, out=rows)

    map_blocks(block, len(x), x[:1].nbytes)
    return h


def _affine(norm: Vectors, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Batch norm as a x + b: both vectors repeated for the W pixels of a row."""
    gamma, beta, mean, inv_std = norm
    scale = gamma * inv_std
    return tile(scale, x), tile(beta - mean * scale, x)


def normalise(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, padding: int) -> np.ndarray:
    """max(a x + b, 0) of a block (n, H, W, C), inside a rim of `padding` zeros.

    scale, shift: a and b as `tile` repeats them.
    """
    y = empty(x.shape, x.dtype)
    rows = rows_of(y)
    np.multiply(rows_of(x), scale, out=rows)
    np.add(rows, shift, out=rows)
    if padding:
        return framed_relu(y, padding)
    np.maximum(rows, zero_row(x), out=rows)
    return y


def framed_relu(x: np.ndarray, padding: int) -> np.ndarray:
    """max(x, 0) inside a rim of zeros: (n, H, W, C) -> (n, H + 2 padding, W + 2 padding, C)."""
    padded, inside = framed(x.shape, (padding, padding), x.dtype)
    width, channels = x.shape[2:]
    np.maximum(x, zero_row(x)[: width * channels].reshape(width, channels), out=inside)
    return padded
