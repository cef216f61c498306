"""Batch normalisation on NHWC blocks.

A block is seen as long rows: several image rows of W * C numbers, with the per-channel
vectors repeated as often, so that NumPy's inner loops are long. Per-channel sums are one product
with ones. Sums are accumulated over blocks in float64.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from minran.backend.cpu.blocks import map_blocks, masked, sum_of
from minran.backend.cpu.memory import empty

Array = np.ndarray

LONG = 8192
"""Numbers in a row from which on NumPy's broadcast loops are faster: docs/speed.md, long rows."""


def batch_moments(x: Array) -> tuple[Array, Array]:
    """mean_c and (biased) var_c of x (N, H, W, C) over N, H, W: two float64 arrays (C,)."""
    return join_moments(map_blocks(lambda samples: block_moments(x[samples]), len(x), x[:1].nbytes))


Moments = tuple[int, Array]
"""Of one block: how many values a channel has, and three rows (C,) in float64: see below."""

NEAR = 4
"""Squares are summed as they are where mean^2 <= NEAR var: costs at most a factor 1 + NEAR of the
precision."""

FAR = 8
"""A mean more than FAR deviations from 0, in any channel, is subtracted before anything else: the
digits of x that it takes up would be lost in a x + b. Nearer, that form saves a pass, and its
roundings (of a, of a x, of b) cost at most 3 FAR of the unit of a number of size gamma."""


def block_moments(block: Array) -> Moments:
    """Count n, and per channel a shift s, the sum of x - s and the sum of (x - s)^2.

    The variance is what (x - s)^2 adds up to beyond n (mean - s)^2, so s has to be near the
    mean, measured in deviations. Where 0 is near enough in all channels, a pass over the block
    is saved; else s is the block's own mean, rounded to its dtype. Where 0 is FAR, or sums and
    squares overflow, float32 has too few digits for the mean itself: the block becomes float64.
    """
    count = block.size // block.shape[-1]
    parts = np.zeros((3, block.shape[-1]))
    shifts, sums, squares = parts
    with np.errstate(over="ignore", invalid="ignore"):  # it is noticed, two lines below
        sums[...] = channel_sums(block)
        squares[...] = channel_dots(block, block)
        above = sums**2 / count
        rest = squares - above
    if np.isfinite(squares).all() and (above <= NEAR * rest).all():
        return count, parts
    widest = block.dtype == np.float64
    if not (widest or (np.isfinite(squares) & (above <= FAR**2 * rest)).all()):
        return block_moments(block.astype(np.float64))
    shift = (sums / count).astype(block.dtype)
    shifted = empty(block.shape, block.dtype)
    np.subtract(rows_of(block), tile(shift, block), out=rows_of(shifted))
    shifts[...] = shift
    sums[...] = channel_sums(shifted) if widest else sums - count * shifts
    squares[...] = channel_dots(shifted, shifted)
    return count, parts


def join_moments(moments: list[Moments]) -> tuple[Array, Array]:
    """mean and var from the blocks' parts, in float64 and in block order.

    n mean = sum_b (n_b s + sum d)
    n var  = sum_b [sum d^2 - 2 (mean - s) sum d + n_b (mean - s)^2]
    """
    counts = np.array([[count] for count, _ in moments], np.float64)
    shifts, sums, squares = np.stack([parts for _, parts in moments], 1)
    total = counts.sum()
    mean = (counts * shifts + sums).sum(0) / total
    away = mean - shifts
    var = (squares - 2 * away * sums + counts * away**2).sum(0) / total
    return mean, np.maximum(var, 0)


def batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, inv_std: Array, relu: bool
) -> Array:
    """y = gamma (x - mean) inv_std + beta, then max(y, 0) if `relu`."""
    steps = steps_of(x, mean, inv_std, gamma * inv_std, beta)
    y = empty(x.shape, x.dtype)

    def block(samples: slice) -> None:
        out = take_steps(x[samples], steps, y[samples])
        if relu:
            np.maximum(out, zero_row(x), out=out)

    map_blocks(block, len(x), x[:1].nbytes)
    return y


def finish_norm(
    moments: tuple[Array, Array],
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    momentum: float,
    eps: float,
    count: int,
) -> tuple[Array, Array, Array, Array]:
    """inv_std = 1 / sqrt(var + eps), and running = (1 - momentum) running + momentum batch."""
    mean, var = moments
    for running, batch in (running_mean, mean), (running_var, var * (count / (count - 1))):
        running *= 1 - momentum
        running += (momentum * batch).astype(running.dtype)
    return gamma, beta, mean, 1 / (var + eps) ** 0.5


def batch_norm_backward_sums(
    gy: Array, x: Array, y: Array | None, mean: Array, inv_std: Array
) -> tuple[Array, Array]:
    """ggamma_c = sum g xhat and gbeta_c = sum g, with g = gy (y > 0), or gy if y is None."""
    tiled_mean = tile(mean, x)

    def block(samples: slice) -> tuple[Array, Array]:
        g = _through_relu(gy, y, samples)
        centred = empty(g.shape, x.dtype)
        np.subtract(rows_of(x[samples]), tiled_mean, out=rows_of(centred))
        return channel_dots(g, centred), channel_sums(g)

    dots, gbeta = map(sum_of, zip(*map_blocks(block, len(x), x[:1].nbytes)))
    return gamma_gradient(dots, gbeta, mean, inv_std, x.dtype), gbeta


def gamma_gradient(
    dots: Array, gbeta: Array, mean: Array, inv_std: Array, dtype: np.dtype
) -> Array:
    """sum g xhat from dots = sum g (x - mean), where that mean had been rounded to `dtype`."""
    centre = centre_of(mean, inv_std, dtype)
    return (dots if centre is None else dots - (mean - centre) * gbeta) * inv_std


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
    """gx = gamma inv_std (g - gbeta/count - xhat ggamma/count), or gamma inv_std g without count.

    Written as a g + `pull_of`, with a = gamma inv_std: four passes over a block.
    """
    a = gamma * inv_std
    tiled_a = tile(a, x)
    pull = pull_of(x, a, mean, inv_std, ggamma, gbeta, count) if count else None
    gx = empty(x.shape, x.dtype)

    def block(samples: slice) -> None:
        out = gx[samples]
        np.multiply(rows_of(_through_relu(gy, y, samples)), tiled_a, out=rows_of(out))
        if pull:
            add_steps(x[samples], pull, out)

    map_blocks(block, len(x), x[:1].nbytes)
    return gx


Steps = tuple[Array | None, Array | None, Array]
"""What to subtract, multiply with (if anything) and add: vectors as `tile` repeats them."""


def steps_of(x: Array, mean: Array, inv_std: Array, scale: Array | None, offset: Array) -> Steps:
    """The steps to scale (x - mean) + offset; without a scale it is 1.

    Near 0 they are those of a x + b with b = offset - scale mean. FAR from it the mean, as a
    number of x's dtype, is subtracted first: of numbers of one size that is exact. What the
    rounding left of the mean goes into b.
    """
    centre = centre_of(mean, inv_std, x.dtype)
    rest = mean if centre is None else mean - centre
    shift = offset - (rest if scale is None else rest * scale)
    return (
        None if centre is None else tile(centre, x),
        None if scale is None else tile(scale, x),
        tile(shift, x),
    )


def centre_of(mean: Array, inv_std: Array, dtype: np.dtype) -> Array | None:
    """The mean in `dtype` if it is FAR from 0 in some channel, else None."""
    return None if (np.abs(mean) * inv_std <= FAR).all() else mean.astype(dtype)


def take_steps(x: Array, steps: Steps, out: Array) -> Array:
    """Out = scale (x - centre) + shift, a pass for each step; returns the rows of `out`."""
    centre, scale, shift = steps
    rows, made = rows_of(x), rows_of(out)
    if centre is not None:
        rows = np.subtract(rows, centre, out=made)
    if scale is not None:
        rows = np.multiply(rows, scale, out=made)
    return np.add(rows, shift, out=made)


def add_steps(x: Array, steps: Steps, out: Array) -> None:
    """Out += scale (x - centre) + shift."""
    rows = rows_of(out)
    np.add(rows, take_steps(x, steps, empty(x.shape, x.dtype)), out=rows)


def pull_of(
    x: Array, a: Array, mean: Array, inv_std: Array, ggamma: Array, gbeta: Array, count: int
) -> Steps:
    """The steps to -a (gbeta + xhat ggamma) / count: gx through mean and variance."""
    return steps_of(x, mean, inv_std, -a * inv_std * ggamma / count, -a * gbeta / count)


def rows_of(block: Array) -> Array:
    """(n, H, W, C) as (n H / m, m W C), m image rows in one; a view when contiguous."""
    return block.reshape(-1, _row_length(*block.shape[1:]))


def tile(vector: Array, x: Array) -> Array:
    """The per-channel `vector` repeated for the pixels of a row of `rows_of(x)`, in x's dtype."""
    channels = x.shape[-1]
    pixels = _row_length(*x.shape[1:]) // channels
    row = np.empty((pixels, channels), x.dtype)  # np.tile takes twice as long
    row[...] = vector
    return row.ravel()


def zero_row(x: Array) -> Array:
    """Zeros as long as a row of `rows_of(x)`: with the number 0, `np.maximum` is half as fast."""
    return _row(_row_length(*x.shape[1:]), 0, x.dtype.char)


@lru_cache(maxsize=256)
def _row_length(height: int, width: int, channels: int) -> int:
    """Numbers of the fewest image rows, a divisor of `height`, that have `LONG`; else of all."""
    line = width * channels
    fitting = (m for m in range(1, height) if height % m == 0 and m * line >= LONG)
    return next(fitting, height) * line


@lru_cache(maxsize=128)
def _row(length: int, value: int, dtype: str) -> Array:
    return np.full(length, value, dtype)


def channel_sums(block: Array) -> Array:
    """Sum over pixels, per channel: a product with ones, then the W repeats in float64."""
    n, height, width, channels = block.shape
    rows = block.reshape(n * height, width * channels)
    return _add_repeats(_row(len(rows), 1, rows.dtype.char) @ rows, channels)


def channel_dots(a: Array, b: Array) -> Array:
    """Sum over pixels of a * b, per channel."""
    n, height, width, channels = a.shape
    shape = n * height, width * channels
    return _add_repeats(np.einsum("nr,nr->r", a.reshape(shape), b.reshape(shape)), channels)


def _add_repeats(sums: Array, channels: int) -> Array:
    """The sums of a row's pixels, (W C,), added up in float64: (C,)."""
    return np.add.reduce(sums.reshape(-1, channels), 0, np.float64)


def _through_relu(gy: Array, y: Array | None, samples: slice) -> Array:
    """A block of gy where the ReLU let y pass, 0 elsewhere; of gy itself without a ReLU."""
    g = gy[samples]
    return g if y is None else masked(g, y[samples] != 0, empty(g.shape, g.dtype))
