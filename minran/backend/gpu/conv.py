"""Convolution as a matrix product whose matrices are never stored: `conv.cu`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran.backend.geometry import conv_output_size
from minran.backend.gpu.activation import TILE
from minran.backend.gpu.engine import PLAIN, choose
from minran.backend.gpu.launch import (
    ceil_divide,
    empty,
    empty_like,
    operand,
    operands,
    piece_of,
    real,
    weight_dtype,
)

Array = Any
Pair = tuple[int, int]
Sizes = tuple[int, ...]
Affine = tuple[Array, Array, Array]
"""A batch norm as scale (x - centre) + shift: these three, (C,) each, in the dtype of w."""

NO_NORM = (None, None, None)

SLICED_BLOCKS = 1536
"""How many blocks the filters' gradient should have: small ones, of which a GPU holds many."""

TILE_ROWS = 64
"""Rows of threads that add up tiles (TILE_ROWS in conv.cu)."""


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair, groups: int) -> Array:
    """y[n, i, j, o] = sum_abc x[n, i s - p + a, j s - p + b, c] w[a, b, c, o].

    x: (N, H, W, C), w: (KH, KW, C/groups, O), y: (N, OH, OW, O).
    """
    x = operand(x)
    w = operand(w, weight_dtype(x.dtype))
    return forward(x, w, stride, padding, groups)[0]


def conv2d_backward(
    gy: Array,
    x: Array,
    w: Array,
    stride: Pair,
    padding: Pair,
    groups: int,
    need_gx: bool = True,
) -> tuple[Array | None, Array]:
    """gx, or None unless `need_gx`, and gw: what of gy reaches x and w."""
    x, gy = operands(x, gy)
    w = operand(w, weight_dtype(x.dtype))
    gx = input_gradient(gy, x, w, stride, padding, groups)[0] if need_gx else None
    return gx, filter_gradient(gy, x, w, stride, padding, groups)


def forward(
    x: Array,
    w: Array,
    stride: Pair,
    padding: Pair,
    groups: int,
    norm: Affine | None = None,
    residual: Array | None = None,
    with_moments: bool = False,
) -> tuple[Array, tuple[Array, Array] | None]:
    """y = conv2d(x or relu(norm of x), w) + residual, and mean and variance of y's channels.

    The arguments are operands already: contiguous, on the device, the maps of one dtype, w and the
    norm of its `weight_dtype`.
    """
    y = empty(_output_shape(x, w, stride, padding), x.dtype)
    pixels, outputs = y.size // y.shape[3], y.shape[3]
    engine = choose(x.dtype, pixels, outputs // groups, _piece(groups, w, x, *norm or (), residual))
    tiles = engine.tiles(pixels, outputs // groups)
    parts = empty((tiles[0], 2, outputs), w.dtype) if with_moments else None
    engine.launch(
        "conv_forward",
        (*tiles, groups),
        *(x, w, *(norm or NO_NORM), residual, y, parts),
        *_sizes(x, w, y, stride, padding, groups),
    )
    if parts is None:
        return y, None
    mean, var = empty((outputs,), np.float64), empty((outputs,), np.float64)
    _add_tiles("moments_of_tiles", parts, mean, var, tiles[0], engine.rows, pixels, outputs)
    return y, (mean, var)


def input_gradient(
    gy: Array,
    x: Array,
    w: Array,
    stride: Pair,
    padding: Pair,
    groups: int,
    norm: Affine | None = None,
    statistics: tuple[Array, Array] | None = None,
) -> tuple[Array, tuple[Array, Array] | None]:
    """gx, and None. Or, with `norm`, what arrives before its ReLU, and that norm's gradients.

    `statistics` are the norm's mean and inv_std in float64; its gradients are ggamma and gbeta.
    """
    gx = empty_like(x)
    pixels, inputs = x.size // x.shape[3], x.shape[3]
    engine = choose(x.dtype, pixels, inputs // groups, _piece(groups, w, x, gy, *norm or ()))
    tiles = engine.tiles(pixels, inputs // groups)
    parts = empty((tiles[0], 2, inputs), w.dtype) if norm else None
    engine.launch(
        "conv_input",
        (*tiles, groups),
        *(gy, w, x, *(norm or NO_NORM), gx, parts),
        *_sizes(x, w, gy, stride, padding, groups),
    )
    if parts is None:
        return gx, None
    ggamma, gbeta = empty((inputs,), np.float64), empty((inputs,), np.float64)
    _add_tiles("sums_of_tiles", parts, *(statistics or ()), ggamma, gbeta, tiles[0], inputs)
    return gx, (ggamma, gbeta)


def filter_gradient(
    gy: Array,
    x: Array,
    w: Array,
    stride: Pair,
    padding: Pair,
    groups: int,
    norm: Affine | None = None,
) -> Array:
    """gw = sum over the pixels of y of gy times x, or times relu(norm of x)."""
    gw = empty_like(w)
    pixels, outputs = gy.size // gy.shape[3], gy.shape[3]
    taps = w.size // outputs
    engine = choose(x.dtype, taps, outputs // groups, _piece(groups, w, x, gy), sliced=True)
    tiles = engine.tiles(taps, outputs // groups)
    slices, slice_pixels = _slices(tiles[0] * tiles[1] * groups, pixels)
    parts = gw if slices == 1 else empty((slices, *w.shape), w.dtype)
    engine.launch(
        "conv_filters",
        (*tiles, slices * groups),
        *(x, gy, *(norm or NO_NORM), parts, slice_pixels),
        *_sizes(x, w, gy, stride, padding, groups),
    )
    if slices > 1:
        PLAIN.launch(
            f"sum_of_slices<{real(w.dtype)}>",
            (ceil_divide(w.size, TILE),),
            (TILE, TILE),
            *(parts, gw, slices, w.size),
        )
    return gw


def _slices(tiles: int, pixels: int) -> tuple[int, int]:
    """Into how many slices of how many pixels the sums of `tiles` tiles are cut.

    Enough to have SLICED_BLOCKS blocks, but each with 128 pixels or more. The sizes alone decide,
    never the GPU: the order of the sums is the same everywhere.
    """
    wanted = max(1, min(SLICED_BLOCKS // tiles, pixels // 128))
    slice_pixels = ceil_divide(pixels, wanted)
    return ceil_divide(pixels, slice_pixels), slice_pixels


def _add_tiles(kernel: str, parts: Array, *args: Any) -> None:
    """Add up, for each channel, what the tiles of a product left: (tiles, 2, C)."""
    grid = (ceil_divide(parts.shape[2], TILE),)
    PLAIN.launch(f"{kernel}<{real(parts.dtype)}>", grid, (TILE, TILE_ROWS), parts, *args)


def _piece(groups: int, w: Array, *others: Array | None) -> int:
    """How many neighbouring channels a thread reads at once: 4 if they never are out of step."""
    return min(piece_of(w, channels, *others) for channels in (w.shape[2], w.shape[3] // groups))


def _output_shape(x: Array, w: Array, stride: Pair, padding: Pair) -> tuple[int, ...]:
    sizes = zip(x.shape[1:3], w.shape[:2], stride, padding, strict=True)
    return (x.shape[0], *(conv_output_size(*numbers) for numbers in sizes), w.shape[3])


def _sizes(x: Array, w: Array, y: Array, stride: Pair, padding: Pair, groups: int) -> Sizes:
    """N, H, W, C, OH, OW, O, KH, KW, SH, SW, PH, PW, G: the last arguments of the kernels."""
    return (*x.shape, *y.shape[1:], *w.shape[:2], *stride, *padding, groups)
