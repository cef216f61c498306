"""Batch norm, ReLU and convolution in one pass: the step a pre-activation network repeats.

`conv(relu(a x + b)) + residual` is computed block by block: the normalised block lives in the
cache, is multiplied with the weights, and is forgotten; the moments of the result, which the
next batch norm will ask for, are summed while the result is still there. Backward computes the
normalised block again. Against the separate kernels that is half the memory traffic and half
the memory, for one more pass of cheap arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran.backend.cpu import norm as bn
from minran.backend.cpu.blocks import HAND_OVER_PRODUCTS, map_blocks, masked, sum_of
from minran.backend.cpu.conv import columns_of, framed, general_adjoints, turned_adjoints
from minran.backend.cpu.memory import empty
from minran.backend.cpu.product import tall_product
from minran.backend.geometry import conv_sizes

Array = np.ndarray
Vectors = tuple[Array, Array, Array, Array]
"""gamma, beta, mean and inv_std, (C,) each."""

SAFE, LEAST = 4, 1e-12
"""The factor a goes into the weights where gamma > max(|beta|, LEAST) / SAFE in all channels:
dividing by it costs at most a factor 1 + SAFE of the precision, and nothing underflows."""

BLOCK_BYTES = {1: 1 << 21, 3: 1 << 19}
"""Bytes of a block by kernel size: the columns of a 3x3 convolution are nine times as many."""

UNIT_BLOCK_BYTES = 1 << 20
"""Bytes of the widest map of a block that goes through a whole unit."""


def norm_relu_conv2d(
    x: Array,
    norm: Vectors,
    w: Array,
    stride: int,
    padding: int,
    residual: Array | None,
    with_moments: bool,
) -> tuple[Array, tuple[Array, Array] | None]:
    """y = conv2d(max(gamma (x - mean) inv_std + beta, 0), w) + residual, and y's moments."""
    kernel, strides = w.shape[:2], (stride, stride)
    out = conv_sizes(x.shape[1:3], kernel, strides, (padding, padding))
    y = empty((len(x), *out, w.shape[3]), x.dtype)
    factor, steps = _factored(norm, x)
    flat = (w if factor is None else w * factor[:, None]).reshape(-1, w.shape[3])

    def block(samples: slice) -> bn.Moments | None:
        p = normalise(x[samples], steps, padding)
        part = y[samples]
        columns = columns_of(p, kernel, strides, (0, 0), out, 1)
        tall_product(columns, flat, part.reshape(-1, w.shape[3]))
        if residual is not None:
            np.add(part, residual[samples], out=part)
        return bn.block_moments(part) if with_moments else None

    parts = _map(block, x, y, kernel[0])
    return y, bn.join_moments([part for part in parts if part]) if with_moments else None


def norm_relu_conv2d_backward(
    gy: Array,
    x: Array,
    norm: Vectors,
    w: Array,
    stride: int,
    padding: int,
    whole: Callable[..., tuple[Array, Array, int | None]],
    earlier: Array | None,
) -> tuple[Array, Array, Array, Array]:
    """The gradients gx (N, H, W, C), gw, ggamma and gbeta.

    With g the gradient at a x + b, cut by the ReLU: gbeta = sum g, ggamma = sum g xhat, and
    gx = a (g - gbeta/count - xhat ggamma/count) + earlier with the sums of the whole batch,
    `whole(ggamma, gbeta)`. The blocks write a g, which becomes gx in place. Where the factor a
    goes into the weights (see `_factored`), both sums come almost for nothing: with
    p = relu(gamma xhat + beta), which is 0 wherever g is cut,

        gamma ggamma + beta gbeta = sum g p = sum_abk w[a, b, c, k] gw[a, b, c, k].

    Elsewhere the sums are taken one by one.
    """
    h = empty(x.shape, x.dtype)
    gamma, beta, mean, inv_std = norm
    factor, steps = _factored(norm, x)
    scale = steps[1]
    scaled, rim = w if factor is None else w * factor[:, None], (padding, padding)
    if stride == 1:
        adjoints, whole_gw = turned_adjoints(scaled, rim)
    else:
        adjoints, whole_gw = general_adjoints(scaled, (stride, stride), rim, 1)
    tiled_mean = bn.tile(mean, x)

    def block(samples: slice) -> tuple[Array, ...]:
        xs, part = x[samples], h[samples]
        p = normalise(xs, steps, 0)
        gw = adjoints(gy[samples], p, part)
        masked(part, p != 0, out=part)
        sums = bn.channel_sums(part)
        if scale is None:  # a is in the weights
            return gw, sums
        centred = p  # it has done its work: its memory is used again
        np.subtract(bn.rows_of(xs), tiled_mean, out=bn.rows_of(centred))
        dots = bn.channel_dots(part, centred)
        np.multiply(bn.rows_of(part), scale, out=bn.rows_of(part))
        return gw, sums, dots

    gw, gbeta, *dots = map(sum_of, zip(*_map(block, x, gy, len(w))))
    gw = whole_gw(gw)
    if factor is None:
        ggamma = bn.gamma_gradient(dots[0], gbeta, mean, inv_std, x.dtype)
    else:
        gw *= factor[:, None]
        gbeta /= gamma * inv_std
        along = np.einsum("abck,abck->c", w, gw, dtype=np.float64)
        ggamma = (along - beta * gbeta) / gamma
    of_gamma, of_beta, count = whole(ggamma, gbeta)
    pull = None  # where mean and variance are constants, and gx = a g
    if count is not None:
        pull = bn.pull_of(x, gamma * inv_std, mean, inv_std, of_gamma, of_beta, count)

    def finish(samples: slice) -> None:
        if pull is not None:
            bn.add_steps(x[samples], pull, h[samples])
        if earlier is not None:
            np.add(h[samples], earlier[samples], out=h[samples])

    map_blocks(finish, len(x), x[:1].nbytes)
    return h, gw, ggamma.astype(gamma.dtype), gbeta.astype(gamma.dtype)


def _map(block: Callable[[slice], Any], x: Array, y: Array, kernel: int) -> list[Any]:
    """`block` of all samples, in blocks by the larger of their two maps."""
    sample_bytes = max(x[:1].nbytes, y[:1].nbytes)
    return map_blocks(block, len(x), sample_bytes, block_bytes(kernel), HAND_OVER_PRODUCTS)


def block_bytes(kernel: int) -> int:
    """Bytes of the larger map of a block, for a kernel of this side."""
    return BLOCK_BYTES.get(kernel, 1 << 18)


def _factored(norm: Vectors, x: Array) -> tuple[Array | None, bn.Steps]:
    """Batch norm as a factor (C,), or None, and the steps before it.

    gamma xhat + beta = a (x - mean) + beta. Either a is positive, so that it can wait after the
    ReLU and go into the weights, and the steps lead to x - mean + beta / a, without a scale; or
    it cannot, and is part of the steps.
    """
    gamma, beta, mean, inv_std = norm
    a = gamma * inv_std
    if (gamma * SAFE > np.maximum(np.abs(beta), LEAST)).all() and (a > 0).all():
        return a.astype(x.dtype), bn.steps_of(x, mean, inv_std, None, beta / a)
    return None, bn.steps_of(x, mean, inv_std, a, beta)


def normalise(x: Array, steps: bn.Steps, padding: int) -> Array:
    """max(y, 0) of a block (n, H, W, C) after `steps`, inside a rim of `padding` zeros."""
    y = empty(x.shape, x.dtype)
    rows = bn.take_steps(x, steps, y)
    if padding:
        return framed_relu(y, padding)
    np.maximum(rows, bn.zero_row(x), out=rows)
    return y


def framed_relu(x: Array, padding: int) -> Array:
    """max(x, 0) inside a rim of zeros: (n, H, W, C) -> (n, H + 2 padding, W + 2 padding, C)."""
    padded, inside = framed(x.shape, (padding, padding), x.dtype)
    width, channels = x.shape[2:]
    np.maximum(x, bn.zero_row(x)[: width * channels].reshape(width, channels), out=inside)
    return padded


def folded_unit(
    x: Array,
    first: Vectors,
    w1: Array,
    shift2: Array,
    w2: Array,
    shift3: Array,
    w3: Array,
    projection: Array | None,
    stride: int,
) -> Array:
    """A pre-activation unit in evaluation: no map between its convolutions leaves the cache.

    There a batch norm is a fixed a x + b. After a convolution its a goes into the weights and
    only + b is left, and no statistics are wanted in between: a block of samples goes through the
    whole unit at once. The equations are in `contract`.

    x (N, H, W, C), w1 (1, 1, C, D), w2 (3, 3, D, D), w3 (1, 1, D, Cout), projection (1, 1, C, Cout)
    or None -> y (N, H/stride, W/stride, Cout).
    """
    n, height, width, c = x.shape
    inner, strides = w1.shape[-1], (stride, stride)
    sizes = conv_sizes((height, width), (3, 3), strides, (1, 1))
    y = empty((n, *sizes, w3.shape[-1]), x.dtype)
    gamma, beta, mean, inv_std = first
    steps = bn.steps_of(x, mean, inv_std, gamma * inv_std, beta)

    def block(samples: slice) -> None:
        xs, part = x[samples], y[samples]
        p = normalise(xs, steps, 0)
        u = empty((len(xs), height, width, inner), x.dtype)
        tall_product(p.reshape(-1, c), w1[0, 0], u.reshape(-1, inner))
        np.add(bn.rows_of(u), bn.tile(shift2, u), out=bn.rows_of(u))

        v = empty((len(xs), *sizes, inner), x.dtype)
        columns = columns_of(framed_relu(u, 1), (3, 3), strides, (0, 0), sizes, 1)
        tall_product(columns, w2.reshape(-1, inner), v.reshape(-1, inner))
        np.add(bn.rows_of(v), bn.tile(shift3, v), out=bn.rows_of(v))
        np.maximum(bn.rows_of(v), bn.zero_row(v), out=bn.rows_of(v))

        tall_product(v.reshape(-1, inner), w3[0, 0], part.reshape(-1, w3.shape[-1]))
        if projection is None:
            np.add(bn.rows_of(part), bn.rows_of(xs), out=bn.rows_of(part))
        else:
            seen = np.ascontiguousarray(p[:, ::stride, ::stride]).reshape(-1, c)
            np.add(part, (seen @ projection[0, 0]).reshape(part.shape), out=part)

    sample_bytes = max(x[:1].nbytes, y[:1].nbytes)
    map_blocks(block, n, sample_bytes, UNIT_BLOCK_BYTES, HAND_OVER_PRODUCTS)
    return y
