"""A whole pre-activation unit in evaluation: no map between its convolutions leaves the cache.

In evaluation a batch norm is a fixed a x + b. Behind a convolution its a goes into the weights
and only + b is left, so the three convolutions of a unit need one pass of arithmetic each. No
statistics are wanted in between either: a block of samples goes through the whole unit at once.
"""

from __future__ import annotations

import numpy as np

from minran.backend.cpu.blocks import map_blocks
from minran.backend.cpu.conv import columns_of
from minran.backend.cpu.fused import Vectors, framed_relu, normalise
from minran.backend.cpu.memory import empty
from minran.backend.cpu.norm import rows_of, steps_of, tile, zero_row
from minran.backend.cpu.product import tall_product
from minran.backend.geometry import conv_output_size

BLOCK_BYTES = 1 << 20
"""Bytes of a block's widest map."""


def folded_unit(
    x: np.ndarray,
    first: Vectors,
    w1: np.ndarray,
    shift2: np.ndarray,
    w2: np.ndarray,
    shift3: np.ndarray,
    w3: np.ndarray,
    projection: np.ndarray | None,
    stride: int,
) -> np.ndarray:
    """The unit with p = relu(gamma (x - mean) inv_std + beta), u = relu(p w1 + shift2), and so on.

        v = relu(conv3x3(u, w2, stride) + shift3)
        y = v w3 + (p[:, ::stride, ::stride] projection, or x without one)

    x (N, H, W, C), first gamma, beta, mean, inv_std, (C,) each, w1 (1, 1, C, D), w2 (3, 3, D, D),
    w3 (1, 1, D, Cout), projection (1, 1, C, Cout) or None -> y (N, H/stride, W/stride, Cout).
    """
    n, height, width, c = x.shape
    inner, out = w1.shape[-1], w3.shape[-1]
    ho, wo = (conv_output_size(size, 3, stride, 1) for size in (height, width))
    y = empty((n, ho, wo, out), x.dtype)
    gamma, beta, mean, inv_std = first
    steps = steps_of(x, mean, inv_std, gamma * inv_std, beta)

    def block(samples: slice) -> None:
        xs, part = x[samples], y[samples]
        count = len(xs)
        p = normalise(xs, steps, 0)

        u = empty((count, height, width, inner), x.dtype)
        tall_product(p.reshape(-1, c), w1[0, 0], u.reshape(-1, inner))
        np.add(rows_of(u), tile(shift2, u), out=rows_of(u))

        v = empty((count, ho, wo, inner), x.dtype)
        u = framed_relu(u, 1)
        columns = columns_of(u, (3, 3), (stride, stride), (0, 0), (ho, wo), 1)
        tall_product(columns, w2.reshape(-1, inner), v.reshape(-1, inner))
        np.add(rows_of(v), tile(shift3, v), out=rows_of(v))
        np.maximum(rows_of(v), zero_row(v), out=rows_of(v))

        tall_product(v.reshape(-1, inner), w3[0, 0], part.reshape(-1, out))
        if projection is None:
            np.add(rows_of(part), rows_of(xs), out=rows_of(part))
        else:
            seen = np.ascontiguousarray(p[:, ::stride, ::stride]).reshape(-1, c)
            np.add(part, (seen @ projection[0, 0]).reshape(part.shape), out=part)

    map_blocks(block, n, max(x[:1].nbytes, y[:1].nbytes), BLOCK_BYTES)
    return y
