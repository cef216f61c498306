"""Products in pieces are the products, for every number of rows."""

from __future__ import annotations

import numpy as np
import pytest

from minran.backend.cpu import product

SHAPES = [(8192, 64, 16), (8192, 144, 16), (2048, 256, 64), (4096, 288, 32), (1020, 64, 64)]
ODD = [(7, 3, 5), (8191, 64, 16), (2 * 4093, 64, 16), (1, 1, 1), (6000, 300, 300)]


@pytest.fixture(params=[True, False], ids=["small kernels", "none"])
def _small_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "_has_small_kernels", lambda: request.param)
    product._piece.cache_clear()
    yield
    product._piece.cache_clear()


@pytest.mark.usefixtures("_small_kernels")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("m", "k", "n"), SHAPES + ODD)
def test_products_in_pieces(m: int, k: int, n: int, dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(0)
    a, w, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n), (m, n)))
    out = np.full((m, n), np.nan, dtype)
    product.tall_product(a, w, out)
    exact = a.astype(np.float64) @ w.astype(np.float64)
    tolerance = 1e-12 if dtype is np.float64 else 2e-6
    assert np.abs(out - exact).max() <= tolerance * np.abs(exact).max()
    summed = product.summed_product(a, b)
    exact = a.astype(np.float64).T @ b.astype(np.float64)
    assert summed.shape == (k, n)
    assert summed.dtype == dtype
    assert np.abs(summed - exact).max() <= tolerance * np.abs(exact).max()


def test_a_piece_divides_the_rows_and_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "_has_small_kernels", lambda: True)
    product._piece.cache_clear()
    for m, k, n in SHAPES:
        rows = product._piece(m, k * n, product.LEAST_ROWS)
        assert m % rows == 0
        assert product.LEAST_ROWS <= rows < m
        assert rows * k * n <= product.SMALL
    assert product._piece(8191, 64 * 16, product.LEAST_ROWS) == 8191  # a prime number
    product._piece.cache_clear()
