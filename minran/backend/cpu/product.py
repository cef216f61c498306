"""Products of tall, narrow matrices: many small ones are quicker than a large one.

For a large product OpenBLAS first copies both matrices into an order of its own. With few columns
that copying is much of the work. Up to a million multiply-adds its AVX-512 kernels read the numbers
where they lie. So the rows are cut into pieces of that size; NumPy goes over the pieces without
coming back to Python (docs/speed.md has what it gains).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from threadpoolctl import ThreadpoolController

SMALL = 1_000_000
"""Multiply-adds up to which OpenBLAS takes its kernels for small products."""

LEAST_ROWS, LEAST_SUMMED = 16, 64
"""Shorter pieces do not pay: of `tall_product`, and of `summed_product`, which adds results."""

WITH_SMALL_KERNELS = ("skylakex", "cooperlake", "sapphirerapids")
"""What OpenBLAS calls the processors that it has such kernels for."""


def linear(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """y = x w: (N, D), (D, K) -> (N, K)."""
    return x @ w


def linear_backward(
    gy: np.ndarray, x: np.ndarray, w: np.ndarray, need_gx: bool = True
) -> tuple[np.ndarray | None, np.ndarray]:
    """gx = gy w^T, or None unless `need_gx`, and gw = x^T gy."""
    return gy @ w.T if need_gx else None, x.T @ gy


def tall_product(a: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """out = a w for a (M, K) and w (K, N), with M much larger than K and N; all contiguous."""
    (m, k), n = a.shape, w.shape[1]
    rows = _piece(m, k * n, LEAST_ROWS)
    if rows == m:
        np.matmul(a, w, out=out)
    else:
        np.matmul(a.reshape(-1, rows, k), w, out=out.reshape(-1, rows, n))


def summed_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^T b for a (M, K) and b (M, N), contiguous: (K, N), summed over the many rows."""
    (m, k), n = a.shape, b.shape[1]
    rows = _piece(m, k * n, LEAST_SUMMED)
    if rows == m:
        return a.T @ b
    return np.matmul(a.reshape(-1, rows, k).swapaxes(1, 2), b.reshape(-1, rows, n)).sum(0)


@lru_cache(maxsize=1024)
def _piece(rows: int, work: int, least: int) -> int:
    """The largest divisor of `rows` whose products, of `work` a row, are small; else `rows`."""
    if not _has_small_kernels():
        return rows
    largest = min(SMALL // work, rows)
    return next((size for size in range(largest, least - 1, -1) if rows % size == 0), rows)


@lru_cache(maxsize=1)
def _has_small_kernels() -> bool:
    libraries = ThreadpoolController().select(internal_api="openblas").info()
    names = [str(library.get("architecture", "")).lower() for library in libraries]
    return bool(names) and all(name in WITH_SMALL_KERNELS for name in names)
