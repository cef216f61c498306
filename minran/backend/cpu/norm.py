"""Batch normalisation on NHWC blocks.

A block is seen as rows of W * C numbers, with the per-channel vectors repeated W times: long
inner loops, and per-channel sums as one product with ones. Sums are accumulated over blocks
in float64.
"""

from __future__ import annotations

import numpy as np

from minran.backend.cpu.blocks import map_blocks
from minran.backend.cpu.memory import empty, empty_like


def batch_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mean_c and (biased) var_c of x (N, H, W, C) over N, H, W: two float64 arrays (C,).

    Each block sums d = x - s and d^2, where s is the mean of its first picture: a large mean
    then costs no digits. The blocks are joined in float64 by
    n var = sum_b [sum d^2 - 2 (mean - s) sum d + n_b (mean - s)^2].
    """
    _, _, width, channels = x.shape

    def block(samples: slice) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        rows = _rows(x[samples])
        shift = _rows(x[samples][:1]).mean(0, dtype=np.float64).reshape(width, channels).mean(0)
        shift = shift.astype(x.dtype)
        shifted = empty_like(rows)
        np.subtract(rows, np.tile(shift, width), out=shifted)
        count = rows.size // channels
        sums, squares = _sums(shifted, channels), _dots(shifted, shifted, channels)
        return count, shift.astype(np.float64), sums, squares

    parts = map_blocks(block, len(x), x[:1].nbytes)
    total = sum(count for count, *_ in parts)
    mean = sum(count * shift + sums for count, shift, sums, _ in parts) / total
    var = (
        sum(
            squares - 2 * (mean - shift) * sums + count * (mean - shift) ** 2
            for count, shift, sums, squares in parts
        )
        / total
    )
    return mean, np.maximum(var, 0)


def batch_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    inv_std: np.ndarray,
    relu: bool,
) -> np.ndarray:
    """y = gamma (x - mean) inv_std + beta, as a x + b; then max(y, 0) if `relu`."""
    scale = gamma * inv_std
    tiled_scale = _tile(scale, x)
    tiled_shift = _tile(beta - mean * scale, x)
    y = empty(x.shape, x.dtype)

    def block(samples: slice) -> None:
        out = _rows(y[samples])
        np.multiply(_rows(x[samples]), tiled_scale, out=out)
        np.add(out, tiled_shift, out=out)
        if relu:
            np.maximum(out, 0, out=out)

    map_blocks(block, len(x), x[:1].nbytes)
    return y


def batch_norm_backward_sums(
    gy: np.ndarray,
    x: np.ndarray,
    y: np.ndarray | None,
    mean: np.ndarray,
    inv_std: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """ggamma_c = sum g xhat and gbeta_c = sum g, with g = gy (y > 0), or gy if y is None."""
    channels = x.shape[-1]
    tiled_mean = _tile(mean, x)

    def block(samples: slice) -> tuple[np.ndarray, np.ndarray]:
        g = _through_relu(_rows(gy[samples]), None if y is None else _rows(y[samples]))
        centred = empty(g.shape, x.dtype)
        np.subtract(_rows(x[samples]), tiled_mean, out=centred)
        return _dots(g, centred, channels), _sums(g, channels)

    parts = map_blocks(block, len(x), x[:1].nbytes)
    ggamma = sum((part[0] for part in parts), np.zeros(channels)) * inv_std
    gbeta = sum((part[1] for part in parts), np.zeros(channels))
    return ggamma, gbeta


def batch_norm_backward_input(
    gy: np.ndarray,
    x: np.ndarray,
    y: np.ndarray | None,
    gamma: np.ndarray,
    mean: np.ndarray,
    inv_std: np.ndarray,
    ggamma: np.ndarray,
    gbeta: np.ndarray,
    count: int | None,
) -> np.ndarray:
    """gx = gamma inv_std (g - gbeta/count - xhat ggamma/count), or gamma inv_std g without count.

    Written as a g + c1 x + c0 with c1 = -a inv_std ggamma/count and
    c0 = -a gbeta/count - c1 mean, where a = gamma inv_std: four passes over a block.
    """
    a = gamma * inv_std
    c1 = -a * inv_std * ggamma / count if count else np.zeros_like(a)
    c0 = -a * gbeta / count - c1 * mean if count else np.zeros_like(a)
    tiled_a, tiled_c1, tiled_c0 = _tile(a, x), _tile(c1, x), _tile(c0, x)
    gx = empty(x.shape, x.dtype)

    def block(samples: slice) -> None:
        out = _rows(gx[samples])
        g = _through_relu(_rows(gy[samples]), None if y is None else _rows(y[samples]))
        np.multiply(g, tiled_a, out=out)
        if count:
            pulled = empty(out.shape, x.dtype)
            np.multiply(_rows(x[samples]), tiled_c1, out=pulled)
            np.add(pulled, tiled_c0, out=pulled)
            np.add(out, pulled, out=out)

    map_blocks(block, len(x), x[:1].nbytes)
    return gx


def _rows(block: np.ndarray) -> np.ndarray:
    """(n, H, W, C) as (n H, W C): long rows; a view when the block is contiguous."""
    n, height, width, channels = block.shape
    return block.reshape(n * height, width * channels)


def _tile(vector: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The per-channel `vector` repeated for the W pixels of a row, in the dtype of x."""
    return np.tile(vector.astype(x.dtype), x.shape[2])


def _sums(rows: np.ndarray, channels: int) -> np.ndarray:
    """Sum over pixels, per channel: a product with ones, then the W repeats in float64."""
    ones = np.ones(len(rows), rows.dtype)
    return (ones @ rows).reshape(-1, channels).sum(0, dtype=np.float64)


def _dots(a: np.ndarray, b: np.ndarray, channels: int) -> np.ndarray:
    """Sum over pixels of a * b, per channel."""
    return np.einsum("nr,nr->r", a, b).reshape(-1, channels).sum(0, dtype=np.float64)


def _through_relu(gy: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Gy where the ReLU let y pass, 0 elsewhere; gy itself without a ReLU."""
    if y is None:
        return gy
    g = empty(gy.shape, gy.dtype)
    # Multiplying with the mask is many times quicker than np.where or a masked copy.
    np.multiply(gy, y > 0, out=g)
    return g
