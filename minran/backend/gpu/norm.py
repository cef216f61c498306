"""Batch normalisation: `norm.cu`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minran.backend.gpu import launch
from minran.backend.gpu.launch import (
    TILE,
    TILE_ROWS,
    Array,
    Program,
    empty,
    empty_like,
    operand,
    operands,
)

_OF_MAPS, _OF_VECTORS = Program("norm.cu"), Program("norm.cu", launch.real)

_BLOCKS = 1024
"""How many blocks share the pixels: a constant, so that every GPU adds in the same order."""


def batch_moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel over N, H, W, in float64: two (C,) arrays."""
    x = operand(x)
    first = x.reshape(-1)[: x.shape[-1]]  # the first pixel
    return _sums("moments_of_chunk", f"moments<{launch.stored(x.dtype)}>", x, (x,), (first,))


def batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, inv_std: Array, relu: bool
) -> Array:
    """y = gamma (x - mean) inv_std + beta, then max(y, 0) if `relu`."""
    x = operand(x)
    affine = operands(gamma, beta, dtype=launch.weight_dtype(x.dtype))
    statistics = operands(mean, inv_std, dtype=np.float64)
    y = empty_like(x)
    args = x, *affine, *statistics, y, relu, x.size, x.shape[-1]
    return _OF_MAPS.fill("batch_norm", y, *args, piece=launch.piece_of(x, x.shape[-1]))


def batch_norm_backward_sums(
    gy: Array, x: Array, y: Array | None, mean: Array, inv_std: Array
) -> tuple[Array, Array]:
    """ggamma_c = sum g xhat and gbeta_c = sum g, with g = gy (y > 0), or gy if y is None."""
    x, gy, y = operands(x, gy, y)
    mean, inv_std = operands(mean, inv_std, dtype=np.float64)
    return _sums("backward_sums_of_chunk", "backward_sums", x, (gy, x, y, mean), (inv_std,))


def _sums(
    first: str, last: str, x: Array, arrays: tuple[Array, ...], more: tuple[Array, ...]
) -> tuple[Array, Array]:
    """Two sums over the pixels, float64 (C,): `first` adds up chunks of them, `last` the chunks."""
    channels = x.shape[-1]
    pixels, tiles = x.size // channels, launch.ceil_divide(channels, TILE)
    # At least 4 pixels for each of a block's 16 rows of threads.
    chunk_pixels = max(launch.ceil_divide(pixels, max(1, _BLOCKS // tiles)), 4 * TILE)
    chunks = launch.ceil_divide(pixels, chunk_pixels)
    partial = empty((2, chunks, channels), np.float64)
    one, other = empty((channels,), np.float64), empty((channels,), np.float64)
    args = *arrays, partial, pixels, channels, chunk_pixels
    _OF_MAPS.tiles(first, x, channels, (chunks,), *args)
    args = *more, partial, one, other, pixels, channels, chunks
    _OF_MAPS.launch(last, (tiles,), (TILE, TILE), *args)
    return one, other


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
    number, piece = launch.weight_dtype(x.dtype), launch.piece_of(x, x.shape[-1], gy, y)
    vectors = operands(mean, inv_std, ggamma, gbeta, dtype=np.float64)
    gx, per_count = empty_like(x), number.type(1 / count if count else 0)
    args = gy, x, y, operand(gamma, number), *vectors, gx, per_count, x.size, x.shape[-1]
    return _OF_MAPS.fill("batch_norm_backward_input", gx, *args, piece=piece)


class TileMoments(Sequence[Array]):
    """Mean and variance that lie in parts yet, (tiles, 2, C), as `conv_forward` leaves them.

    The norm that reads the map adds them up in its own launch; whoever asks before gets a launch.
    """

    def __init__(self, parts: Array, rows: int, pixels: int) -> None:
        """rows: pixels of a tile."""
        self.device, self.parts, self.sizes = launch.device(), parts, (rows, pixels)
        self.sums: tuple[Array, ...] = ()

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        if not self.sums:
            with launch.using(self.device):
                _finish(self, ())
        return self.sums[index]


def finish_norm(
    moments: Sequence[Array],
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    momentum: float,
    eps: float,
    count: int,
) -> tuple[Array, ...]:
    """gamma, beta, mean, inv_std, and the norm as scale (x - centre) + shift, in one launch.

        inv_std = 1 / sqrt(var + eps)
        running = (1 - momentum) running + momentum batch,   variance count / (count - 1) var

    mean, var and inv_std in float64; the running arrays move, in place.
    """
    running = operands(running_mean, running_var)
    numbers = (np.float64(number) for number in (momentum, count / (count - 1), eps))
    arrays = *operands(gamma, beta, dtype=running[0].dtype), *running
    norm = _finish(moments, arrays, *numbers)
    launch.put_back((running_mean, running_var), running)
    return norm


def _finish(moments: Sequence[Array], arrays: Sequence[Array], *numbers: Any) -> tuple[Array, ...]:
    """Sum the parts, if there are any; then, given gamma, beta and the running arrays, the rest."""
    parts, sizes = None, (0, 0)
    if isinstance(moments, TileMoments) and not moments.sums:
        parts, sizes = moments.parts, moments.sizes
        tiles, _, channels = parts.shape
        sums = empty((channels,), np.float64), empty((channels,), np.float64)
        moments.sums, moments.parts = sums, None
    else:
        sums = tuple(operands(*moments, dtype=np.float64))
        tiles, channels = 0, sums[0].size
    known = arrays[0] if arrays else parts
    inv_std = empty_like(sums[1]) if arrays else None
    affine = [empty_like(arrays[0]) if arrays else None for _ in range(3)]
    args = parts, *sums, *(arrays or [None] * 4), inv_std, *affine
    args = *args, *(numbers or [np.float64(0)] * 3), tiles, *sizes, channels
    _OF_VECTORS.tiles("finish_norm", known, channels, (), *args, rows=TILE_ROWS)
    return (*arrays[:2], sums[0], inv_std, *affine)


def scale_and_shift(
    gamma: Array, beta: Array, mean: Array, inv_std: Array, *known: Array
) -> tuple[Array, ...]:
    """Batch norm as scale (x - centre) + shift: these three in the dtype of gamma, or `known`."""
    if known:
        return known
    gamma, beta = operands(gamma, beta)
    mean, inv_std = operands(mean, inv_std, dtype=np.float64)
    scale, shift, centre = empty_like(gamma), empty_like(beta), empty_like(gamma)
    args = gamma, beta, mean, inv_std, scale, shift, centre, gamma.size
    return _OF_VECTORS.fill("scale_and_shift", scale, *args), shift, centre
