"""Batch normalisation: `norm.cu`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran.backend.gpu.activation import TILE
from minran.backend.gpu.launch import (
    Program,
    ceil_divide,
    empty,
    empty_like,
    for_maps,
    in_pieces,
    operand,
    operands,
    piece_of,
    put_back,
    real,
    stored,
    weight_dtype,
)

Array = Any

_PROGRAM = Program(
    "norm.cu",
    ("batch_statistics", "scale_and_shift"),
    (
        "backward_sums",
        *for_maps("moments_of_chunk", "moments", "batch_norm", "backward_sums_of_chunk"),
        *in_pieces("batch_norm_backward_input"),
    ),
)

_BLOCKS = 1024
"""How many blocks share the pixels: a constant, so that every GPU adds in the same order."""


def batch_moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel over N, H, W, in float64: two (C,) arrays."""
    x = operand(x)
    pixels, channels, chunks, chunk_pixels = _chunks(x)
    tiles = ceil_divide(channels, TILE)
    partial = empty((2, chunks, channels), np.float64)
    mean, var = empty((channels,), np.float64), empty((channels,), np.float64)
    _PROGRAM.launch(
        f"moments_of_chunk<{stored(x.dtype)}>",
        (tiles, chunks),
        (TILE, TILE),
        *(x, partial, pixels, channels, chunk_pixels),
    )
    _PROGRAM.launch(
        f"moments<{stored(x.dtype)}>",
        (tiles,),
        (TILE, TILE),
        *(x, partial, mean, var, pixels, channels, chunks),
    )
    return mean, var


def batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, inv_std: Array, relu: bool
) -> Array:
    """y = gamma (x - mean) inv_std + beta, then max(y, 0) if `relu`."""
    x = operand(x)
    gamma, beta = operand(gamma, weight_dtype(x.dtype)), operand(beta, weight_dtype(x.dtype))
    mean, inv_std = operand(mean, np.float64), operand(inv_std, np.float64)
    y = empty_like(x)
    _PROGRAM.map(
        f"batch_norm<{stored(x.dtype)}>",
        x.size,
        *(x, gamma, beta, mean, inv_std, y, relu, x.size, x.shape[-1]),
    )
    return y


def batch_norm_backward_sums(
    gy: Array, x: Array, y: Array | None, mean: Array, inv_std: Array
) -> tuple[Array, Array]:
    """ggamma_c = sum g xhat and gbeta_c = sum g, with g = gy (y > 0), or gy if y is None."""
    x, gy, y = operands(x, gy, y)
    mean, inv_std = operand(mean, np.float64), operand(inv_std, np.float64)
    pixels, channels, chunks, chunk_pixels = _chunks(x)
    tiles = ceil_divide(channels, TILE)
    partial = empty((2, chunks, channels), np.float64)
    ggamma, gbeta = empty((channels,), np.float64), empty((channels,), np.float64)
    _PROGRAM.launch(
        f"backward_sums_of_chunk<{stored(x.dtype)}>",
        (tiles, chunks),
        (TILE, TILE),
        *(gy, x, y, mean, partial, pixels, channels, chunk_pixels),
    )
    _PROGRAM.launch(
        "backward_sums",
        (tiles,),
        (TILE, TILE),
        *(partial, inv_std, ggamma, gbeta, channels, chunks),
    )
    return ggamma, gbeta


def batch_norm_backward_input(
    gy: Array,
    x: Array,
    y: Array | None,
    gamma: Array,
    mean: Array,
    inv_std: Array,
    ggamma: Array,
    gbeta: Array,
    count: int | None,
) -> Array:
    """gx = gamma inv_std (g - gbeta/count - xhat ggamma/count), without count gamma inv_std g."""
    x, gy, y = operands(x, gy, y)
    return _backward_input(gy, x, y, gamma, (mean, inv_std, ggamma, gbeta), count, empty_like(x))


def norm_backward_inplace(
    g: Array,
    x: Array,
    norm: tuple[Array, Array, Array, Array],
    ggamma: Array,
    gbeta: Array,
    count: int | None,
) -> Array:
    """g becomes gx, as `batch_norm_backward_input` makes it; norm: gamma, beta, mean, inv_std."""
    gamma, _, mean, inv_std = norm
    x, g = operands(x, g)
    return _backward_input(g, x, None, gamma, (mean, inv_std, ggamma, gbeta), count, g)


def _backward_input(
    gy: Array,
    x: Array,
    y: Array | None,
    gamma: Array,
    vectors: tuple[Array, Array, Array, Array],
    count: int | None,
    gx: Array,
) -> Array:
    """Write gx, which may be gy: each number is read before it is written."""
    gamma = operand(gamma, weight_dtype(x.dtype))
    statistics = [operand(vector, np.float64) for vector in vectors]
    per_count = weight_dtype(x.dtype).type(1 / count if count else 0)
    piece = piece_of(x, x.shape[-1], gy, y)
    _PROGRAM.map(
        f"batch_norm_backward_input<{stored(x.dtype)}, {piece}>",
        x.size // piece,
        *(gy, x, y, gamma, *statistics, gx, per_count, x.size, x.shape[-1]),
    )
    return gx


def batch_statistics(
    mean: Array,
    var: Array,
    running_mean: Array,
    running_var: Array,
    momentum: float,
    eps: float,
    count: int,
) -> Array:
    """inv_std = 1 / sqrt(var + eps), (C,) float64; the running arrays move, in place.

        running = (1 - momentum) running + momentum batch,   variance count / (count - 1) var

    One launch for what would be a dozen; mean and var are those of `batch_moments`.
    """
    mean, var = operand(mean, np.float64), operand(var, np.float64)
    running = operands(running_mean, running_var)
    inv_std = empty_like(var)
    _PROGRAM.map(
        f"batch_statistics<{real(running[0].dtype)}>",
        var.size,
        *(mean, var, *running, inv_std),
        *(np.float64(number) for number in (momentum, count / (count - 1), eps)),
        var.size,
    )
    put_back((running_mean, running_var), running)
    return inv_std


def scale_and_shift(
    gamma: Array, beta: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """Batch norm as scale (x - centre) + shift: these three, in the dtype of gamma."""
    gamma, beta = operands(gamma, beta)
    mean, inv_std = operand(mean, np.float64), operand(inv_std, np.float64)
    scale, shift, centre = empty_like(gamma), empty_like(beta), empty_like(gamma)
    _PROGRAM.map(
        f"scale_and_shift<{real(gamma.dtype)}>",
        gamma.size,
        *(gamma, beta, mean, inv_std, scale, shift, centre, gamma.size),
    )
    return scale, shift, centre


def _chunks(x: Array) -> tuple[int, int, int, int]:
    """Pixels, channels, and into how many chunks of how many pixels the sums are cut."""
    channels = x.shape[-1]
    pixels = x.size // channels
    wanted = max(1, _BLOCKS // ceil_divide(channels, TILE))
    # At least 4 pixels for each of a block's 16 rows of threads.
    chunk_pixels = max(ceil_divide(pixels, wanted), 4 * TILE)
    return pixels, channels, ceil_divide(pixels, chunk_pixels), chunk_pixels
