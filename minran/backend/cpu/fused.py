"""Batch norm, ReLU and convolution in one pass: the step a pre-activation network repeats.

`conv(relu(a x + b)) + residual` is computed block by block: the normalised block lives in the
cache, is multiplied with the weights, and is forgotten; the moments of the result, which the
next batch norm will ask for, are summed while the result is still there. Backward computes the
normalised block again. Against the separate kernels that is half the memory traffic and half
the memory, for one more pass of cheap arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minran.backend.cpu.blocks import map_blocks, masked
from minran.backend.cpu.conv import (
    columns_of,
    framed,
    general_adjoints,
    stride_one_adjoints,
    sum_of,
    turned_back,
    turned_kernel,
)
from minran.backend.cpu.memory import empty
from minran.backend.cpu.norm import (
    Moments,
    Steps,
    block_moments,
    channel_dots,
    channel_sums,
    gamma_gradient,
    join_moments,
    pull_of,
    rows_of,
    steps_of,
    take_steps,
    tile,
    zero_row,
)
from minran.backend.cpu.product import tall_product
from minran.backend.geometry import conv_output_size

Pair = tuple[int, int]
Vectors = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""gamma, beta, mean and inv_std, (C,) each."""

SAFE, LEAST = 4, 1e-12
"""The factor a goes into the weights where gamma > max(|beta|, LEAST) / SAFE in all channels:
dividing by it costs at most a factor 1 + SAFE of the precision, and nothing underflows."""

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
    factor, steps = _factored(norm, x)
    flat = (w if factor is None else w * factor[:, None]).reshape(-1, out)

    def block(samples: slice) -> Moments | None:
        p = normalise(x[samples], steps, padding)
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
    whole: Callable[..., tuple[np.ndarray, np.ndarray, int | None]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The gradients gx (N, H, W, C), gw, and, in float64, ggamma and gbeta.

    With g the gradient at a x + b, cut by the ReLU: gbeta = sum g, ggamma = sum g xhat, and
    gx = a (g - gbeta/count - xhat ggamma/count) with the sums of the whole batch,
    `whole(ggamma, gbeta)`. The blocks write a g, which becomes gx in place. Where the factor a
    goes into the weights (see `_factored`), both sums come almost for nothing: with
    p = relu(gamma xhat + beta), which is 0 wherever g is cut,

        gamma ggamma + beta gbeta = sum g p = sum_abk w[a, b, c, k] gw[a, b, c, k].

    Elsewhere the sums are taken one by one.
    """
    n = len(x)
    kernel, out = w.shape[0], w.shape[-1]
    h = empty(x.shape, x.dtype)
    gamma, beta, mean, inv_std = norm
    factor, steps = _factored(norm, x)
    scale = steps[1]
    a = gamma * inv_std
    scaled = w if factor is None else w * factor[:, None]
    flat = turned_kernel(scaled) if stride == 1 else scaled.reshape(-1, out).T[None]
    tiled_mean = tile(mean, x)
    window, strides, rim = (kernel, kernel), (stride, stride), (padding, padding)

    def block(samples: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        xs, gs = x[samples], gy[samples]
        part = h[samples]
        p = normalise(xs, steps, 0)
        if stride == 1:
            gw = stride_one_adjoints(gs, p, flat, window, rim, part)
        else:
            gw = general_adjoints(gs, p, flat, window, strides, rim, part)
        masked(part, p != 0, out=part)
        sums = channel_sums(part)
        if scale is None:  # a is in the weights
            return gw, sums, None
        centred = p  # it has done its work: its memory is used again
        np.subtract(rows_of(xs), tiled_mean, out=rows_of(centred))
        dots = channel_dots(part, centred)
        np.multiply(rows_of(part), scale, out=rows_of(part))
        return gw, sums, dots

    parts = map_blocks(block, n, max(x[:1].nbytes, gy[:1].nbytes), BLOCK_BYTES.get(kernel, 1 << 18))
    gw = sum_of([part[0] for part in parts])
    gw = turned_back(gw, w.shape) if stride == 1 else gw.reshape(w.shape)
    gbeta = sum_of([part[1] for part in parts])
    if factor is None:
        dots = sum_of([part[2] for part in parts if part[2] is not None])
        ggamma = gamma_gradient(dots, gbeta, mean, inv_std, x.dtype)
    else:
        gw *= factor[:, None]
        gbeta /= a
        along = np.einsum("abck,abck->c", w, gw, dtype=np.float64)
        ggamma = (along - beta * gbeta) / gamma
    of_gamma, of_beta, count = whole(ggamma, gbeta)
    if count is not None:  # else mean and variance are constants, and gx = a g
        _add(h, x, pull_of(x, gamma, mean, inv_std, of_gamma, of_beta, count))
    return h, gw, ggamma, gbeta


def _add(h: np.ndarray, x: np.ndarray, pull: Steps) -> None:
    """H += what `pull` makes of x, block by block."""

    def block(samples: slice) -> None:
        rows = rows_of(h[samples])
        pulled = empty(rows.shape, x.dtype)
        take_steps(rows_of(x[samples]), pull, pulled)
        np.add(rows, pulled, out=rows)

    map_blocks(block, len(x), x[:1].nbytes)


def _factored(norm: Vectors, x: np.ndarray) -> tuple[np.ndarray | None, Steps]:
    """Batch norm as a factor (C,), or None, and the steps before it.

    gamma xhat + beta = a (x - mean) + beta. Either a is positive, so that it can wait behind the
    ReLU and go into the weights, and the steps lead to x - mean + beta / a, without a scale; or
    it cannot, and is part of the steps.
    """
    gamma, beta, mean, inv_std = norm
    a = gamma * inv_std
    if (gamma * SAFE > np.maximum(np.abs(beta), LEAST)).all() and (a > 0).all():
        return a.astype(x.dtype), steps_of(x, mean, inv_std, None, beta / a)
    return None, steps_of(x, mean, inv_std, a, beta)


def normalise(x: np.ndarray, steps: Steps, padding: int) -> np.ndarray:
    """max(y, 0) of a block (n, H, W, C) after `steps`, inside a rim of `padding` zeros."""
    y = empty(x.shape, x.dtype)
    rows = rows_of(y)
    take_steps(rows_of(x), steps, rows)
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
