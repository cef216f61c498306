"""Convolution as a matrix product whose matrices are never stored: `conv.cu`.

With a batch norm, a ReLU and an addition around it, it is still one pass over the memory: the
kernels normalise what they read, add what is to be added, and sum for the next batch norm while
they hold the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minran.backend.geometry import Pair, conv_sizes
from minran.backend.gpu import launch
from minran.backend.gpu.engine import CONV, Engine, choose
from minran.backend.gpu.launch import (
    TILE,
    TILE_ROWS,
    Array,
    ceil_divide,
    empty,
    empty_like,
    operand,
    operands,
)
from minran.backend.gpu.norm import TileMoments, scale_and_shift

Window = tuple[Pair, Pair, int]
"""Stride, padding and groups."""

Vectors = Sequence[Array]
"""gamma, beta, mean and inv_std, (C,) each; then, if `finish_norm` gave them, those of `Affine`."""

Affine = Sequence[Array | None]
"""A batch norm as scale (x - centre) + shift: these three, (C,) each, in the dtype of w."""

NO_NORM: Affine = (None, None, None)

SLICED_THREADS = 132 * 512
"""How many threads the filters' gradient should have: as many as an H100 holds at once."""


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair, groups: int) -> Array:
    """y[n, i, j, o] = sum_abc x[n, i s - p + a, j s - p + b, c] w[a, b, c, o]."""
    x = operand(x)
    return _forward(x, operand(w, launch.weight_dtype(x.dtype)), (stride, padding, groups))[0]


def conv2d_backward(
    gy: Array, x: Array, w: Array, stride: Pair, padding: Pair, groups: int, need_gx: bool = True
) -> tuple[Array | None, Array]:
    """gx, or None unless `need_gx`, and gw: what of gy reaches x and w."""
    x, gy = operands(x, gy)
    w = operand(w, launch.weight_dtype(x.dtype))
    window = stride, padding, groups
    gw, parts, _, filters = _filter_gradient(gy, x, w, window)
    with launch.device().concurrently(filters):
        gx = _input_gradient(gy, x, w, window) if need_gx else None
    _sum_gradients(gw, parts)
    return gx, gw


def norm_relu_conv2d(
    x: Array,
    norm: Vectors,
    w: Array,
    stride: int,
    padding: int,
    residual: Array | None,
    with_moments: bool,
) -> tuple[Array, TileMoments | None]:
    """y = conv2d(max(gamma (x - mean) inv_std + beta, 0), w) + residual, and y's moments."""
    x, residual = operands(x, residual)
    w, gamma, beta = operands(w, *norm[:2], dtype=launch.weight_dtype(x.dtype))
    window = (stride, stride), (padding, padding), 1
    affine = scale_and_shift(gamma, beta, *norm[2:])
    return _forward(x, w, window, affine, residual, with_moments)


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

    gx = a (g - gbeta/count - xhat ggamma/count) + earlier, with the sums of the whole batch,
    `whole(ggamma, gbeta)`, and a = gamma inv_std; g is the gradient at the norm's result, already
    cut by the ReLU. The filters' gradient comes first, and brings the sums of g with it, so g goes
    through the norm where it is made, and is never written.
    """
    x, gy, earlier = operands(x, gy, earlier)
    w, gamma, beta = operands(w, *norm[:2], dtype=launch.weight_dtype(x.dtype))
    mean, inv_std = operands(*norm[2:4], dtype=np.float64)
    affine = scale_and_shift(gamma, beta, mean, inv_std, *norm[4:])
    window = (stride, stride), (padding, padding), 1
    gw, parts, tile_sums, filters = _filter_gradient(gy, x, w, window, affine)
    filters()
    ggamma, gbeta, *gradients = _sum_gradients(gw, parts, (mean, inv_std), tile_sums)
    of_gamma, of_beta, count = whole(ggamma, gbeta)
    sums = operands(of_gamma, of_beta, dtype=np.float64)
    gx = _input_gradient(gy, x, w, window, affine, (mean, inv_std, *sums), count, earlier)
    return gx, gw, *gradients


def linear(x: Array, w: Array) -> Array:
    """y = x w: (N, D), (D, K) -> (N, K), as a 1x1 convolution of images of one pixel.

    CuPy's own products go to cuBLAS through a handle that refuses to be captured; ours can be.
    Features in bfloat16 become float32 here: they are few, and scores of classes are what a loss
    wants digits of.
    """
    return conv2d(_pixels(x), w[None, None], (1, 1), (0, 0), 1)[:, 0, 0]


def linear_backward(
    gy: Array, x: Array, w: Array, need_gx: bool = True
) -> tuple[Array | None, Array]:
    """gx = gy w^T, or None unless `need_gx`, and gw = x^T gy."""
    window = (1, 1), (0, 0), 1
    gx, gw = conv2d_backward(_pixels(gy), _pixels(x), w[None, None], *window, need_gx)
    return None if gx is None else operand(gx[:, 0, 0], x.dtype), gw[0, 0]


def _pixels(x: Array) -> Array:
    """(N, D) as N images of one pixel with D channels."""
    return operand(x, launch.weight_dtype(x.dtype))[:, None, None, :]


# From here on arguments are operands already: contiguous, on the device, the maps of one dtype, w
# and the norm of its `weight_dtype`.


def _forward(
    x: Array,
    w: Array,
    window: Window,
    norm: Affine = NO_NORM,
    residual: Array | None = None,
    with_moments: bool = False,
) -> tuple[Array, TileMoments | None]:
    """y = conv2d(x or relu(norm of x), w) + residual, and mean and variance of y's channels."""
    stride, padding, groups = window
    y_sizes = conv_sizes(x.shape[1:3], w.shape[:2], stride, padding)
    y = empty((len(x), *y_sizes, w.shape[3]), x.dtype)
    pixels, outputs = y.size // y.shape[3], y.shape[3]
    piece = _piece(groups, w, x, *norm, residual)
    engine = _known(choose(x.dtype, pixels, outputs // groups, piece), w, window, norm)
    tiles = engine.tiles(pixels, outputs // groups)
    parts = empty((tiles[0], 2, outputs), w.dtype) if with_moments else None
    args = x, w, *norm, residual, y, parts, *_sizes(x, w, y, window)
    engine.launch("conv_forward", (*tiles, groups), *args)
    return y, None if parts is None else TileMoments(parts, engine.rows, pixels)


def _input_gradient(
    gy: Array,
    x: Array,
    w: Array,
    window: Window,
    norm: Affine = NO_NORM,
    vectors: Sequence[Array | None] = (None,) * 4,
    count: int | None = None,
    earlier: Array | None = None,
) -> Array:
    """gx. With `norm` gx + earlier, before the norm; vectors: mean, inv_std, ggamma, gbeta."""
    gx, inputs = empty_like(x), x.shape[3] // window[2]
    pixels = x.size // x.shape[3]
    piece = _piece(window[2], w, x, gy, *norm, earlier)
    engine = _known(choose(x.dtype, pixels, inputs, piece), w, window, norm, "UNIT_STRIDE")
    args = gy, w, x, *norm, *vectors, earlier, gx, w.dtype.type(1 / count if count else 0)
    grid = *engine.tiles(pixels, inputs), window[2]
    engine.launch("conv_input", grid, *args, *_sizes(x, w, gy, window))
    return gx


def _filter_gradient(
    gy: Array, x: Array, w: Array, window: Window, norm: Affine = NO_NORM
) -> tuple[Array, Array, Array | None, Callable[[], None]]:
    """gw = sum over the pixels of y of gy times x, or times relu(norm of x).

    It is made by the function that comes last, in parts, (slices, *w.shape), or at once if there is
    one; with `norm`, the sums of g, too: (tiles, 2, C).
    """
    gw, groups = empty_like(w), window[2]
    pixels, outputs = gy.size // gy.shape[3], gy.shape[3]
    taps = w.size // outputs
    piece = _piece(groups, w, x, gy)
    engine = choose(x.dtype, taps, outputs // groups, piece, sliced=True)
    engine = _known(engine, w, window, norm)
    tiles = engine.tiles(taps, outputs // groups)
    slices, slice_pixels = slices_of(tiles[0] * tiles[1] * groups * engine.threads, pixels)
    parts = gw[None] if slices == 1 else empty((slices, *w.shape), w.dtype)
    tile_sums = None
    if norm[0] is not None:
        count = slices * tiles[1] * w.shape[0] * w.shape[1]
        tile_sums = empty((count, 2, x.shape[3]), w.dtype)
    args = x, gy, w, *norm, parts, tile_sums, slice_pixels, *_sizes(x, w, gy, window)
    run = partial(engine.launch, "conv_filters", (*tiles, slices * groups), *args)
    return gw, parts, tile_sums, run


def _sum_gradients(
    gw: Array, parts: Array, statistics: Sequence[Array] = (), tile_sums: Array | None = None
) -> list[Array]:
    """In one launch: gw of its parts, and of tiles the norm's ggamma and gbeta, twice.

    In float64, then in the dtype of gw. `statistics` are the norm's mean and inv_std in float64.
    """
    of_filters: Sequence[Any] = (None, None, 0, 0)
    if len(parts) > 1:
        of_filters = parts, gw, len(parts), gw.size
    of_norm: Sequence[Any] = (*(None,) * 7, 0, 0)
    sums = []
    if tile_sums is not None:
        kinds = np.float64, np.float64, gw.dtype, gw.dtype
        sums = [empty((tile_sums.shape[2],), dtype) for dtype in kinds]
        of_norm = tile_sums, *statistics, *sums, len(tile_sums), tile_sums.shape[2]
    blocks = ceil_divide(of_norm[-1], TILE) + ceil_divide(of_filters[-1], TILE_ROWS)
    args = *of_filters, *of_norm
    CONV.launch(f"sum_gradients<{launch.real(gw.dtype)}>", (blocks,), (TILE, TILE_ROWS), *args)
    return sums


def slices_of(threads: int, pixels: int) -> tuple[int, int]:
    """Into how many slices of how many pixels sums are cut that take so many threads uncut.

    Enough for SLICED_THREADS and no more, as each is written and read; but with 128 pixels or more.
    The sizes alone decide, never the GPU: the order of the sums is the same everywhere.
    """
    wanted = max(1, min(SLICED_THREADS // threads, pixels // 128))
    slice_pixels = ceil_divide(pixels, wanted)
    return ceil_divide(pixels, slice_pixels), slice_pixels


def _known(
    engine: Engine, w: Array, window: Window, norm: Affine, unit_stride: str = "ANY"
) -> Engine:
    """`engine` for what is known of the windows; `unit_stride`: if they move by one pixel."""
    known = _window(w, window)
    known = unit_stride if known == "UNIT_STRIDE" else known
    return replace(engine, normed=norm[0] is not None, window=known)


def _window(w: Array, window: Window) -> str:
    """What is known of the windows, as conv_views.cuh calls it."""
    if window[0] != (1, 1):
        return "ANY"
    return "POINTWISE" if w.shape[:2] == (1, 1) and window[1] == (0, 0) else "UNIT_STRIDE"


def _piece(groups: int, w: Array, x: Array, *others: Array | None) -> int:
    """How many neighbouring channels a thread reads at once, so that they never are out of step."""
    both = w.shape[2], w.shape[3] // groups
    return min(launch.piece_of(x, channels, w, *others) for channels in both)


def _sizes(x: Array, w: Array, y: Array, window: Window) -> tuple[int, ...]:
    """N, H, W, C, OH, OW, O, KH, KW, SH, SW, PH, PW, G: the last arguments of the kernels."""
    stride, padding, groups = window
    return (*x.shape, *y.shape[1:], *w.shape[:2], *stride, *padding, groups)
