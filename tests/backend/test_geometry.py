"""The sums behind every output size, against PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from minran.backend.geometry import conv_output_size, pool_output_size, resize_matrix
from minran.checks import pair
from minran.errors import ShapeError


def _size_or_none(function: Any, *args: Any) -> int | None:
    try:
        return function(*args)
    except (ShapeError, RuntimeError):
        return None


def _torch_pool(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    return functional.max_pool1d(torch.zeros(1, size), kernel, stride, padding, 1, ceil_mode).shape[
        1
    ]


def _torch_conv(size: int, kernel: int, stride: int, padding: int) -> int:
    x, w = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
    return functional.conv1d(x, w, None, stride, padding).shape[2]


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pool_output_size_is_pytorchs(ceil_mode: bool) -> None:
    for args in itertools.product(range(1, 10), range(1, 5), range(1, 5), range(4)):
        mine = _size_or_none(pool_output_size, *args, ceil_mode)
        assert mine == _size_or_none(_torch_pool, *args, ceil_mode), args


def test_conv_output_size_is_pytorchs() -> None:
    for args in itertools.product(range(1, 10), range(1, 5), range(1, 5), range(4)):
        assert _size_or_none(conv_output_size, *args) == _size_or_none(_torch_conv, *args), args


@pytest.mark.parametrize("align_corners", [False, True])
def test_resize_matrix_is_pytorchs(align_corners: bool) -> None:
    for source, target in itertools.product(range(1, 9), range(1, 15)):
        lines = torch.eye(source, dtype=torch.float64)[None]
        resized = functional.interpolate(lines, target, mode="linear", align_corners=align_corners)[
            0
        ]
        mine = resize_matrix(source, target, align_corners, np.float64)
        np.testing.assert_allclose(mine, resized.T.numpy(), atol=1e-14)


def test_resize_matrix_has_the_dtype_asked_for() -> None:
    assert resize_matrix(3, 5, True, np.float32).dtype == np.float32


def test_pair() -> None:
    assert pair(3, "stride") == (3, 3)
    assert pair((1, 2), "stride") == (1, 2)
    assert pair([np.int64(1), 2], "stride") == (1, 2)


@pytest.mark.parametrize("value", [1.5, "ab", (1,), (1, 2, 3), (1, 2.0), None, True])
def test_pair_names_what_it_got(value: Any) -> None:
    with pytest.raises(ShapeError, match="stride must be an int or a pair of ints"):
        pair(value, "stride")


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (conv_output_size, (2, 5, 1, 1), "window of 5 does not fit into an axis of 2"),
        (conv_output_size, (2, 1, 0, 0), "stride 0"),
        (conv_output_size, (2, 1, 1, -1), "padding -1"),
        (pool_output_size, (4, 2, 2, 2, True), "at most half its kernel"),
        (pool_output_size, (1, 5, 1, 0, True), "even with ceil_mode"),
        (resize_matrix, (0, 3, True, np.float64), "at least 1, got 0 -> 3"),
    ],
)
def test_impossible_sizes_are_named(function: Any, args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        function(*args)
