"""Checks of notebook 08: sizes inside a mask, one level of the hourglass, counts of a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import nn, tensor
from minran.inspect.probe import call_shapes
from minran.models import AttentionModule, Hourglass
from minran.models.units import Build
from minran.workshop.course.checking import (
    beside,
    compare,
    expect_class,
    expect_function,
    generator,
)


def check_8_1(answer: Callable[..., Any]) -> None:
    """mask_heights(size, depth) -> heights after each pool, then after each interpolation."""
    expect_function("mask_heights", answer)
    hint = (
        "a 3x3 pool with stride 2, no padding, rounded up: ceil((h - 3) / 2) + 1; then the same "
        "sizes backwards, the last one being the input's"
    )
    for size, depth in ((32, 3), (16, 2), (8, 1), (56, 3), (33, 2), (43, 3), (15, 1)):
        where = f"size {size}, depth {depth}"
        compare("the list of heights", answer(size, depth), _heights(size, depth), hint, 0, where)


def _heights(size: int, depth: int) -> list[int]:
    """The heights that the library's hourglass goes through."""
    body = Hourglass(Build(np.random.default_rng(0)), 4, depth, r=1)
    calls = call_shapes(body, tensor(np.zeros((1, size, size, 4), np.float32)))
    resized = nn.MaxPool2d | nn.UpsampleBilinear2d
    return [output[1] for module, _, output in calls if isinstance(module, resized)]


def check_8_2(answer: Any) -> None:
    """A subclass of Hourglass with its own forward."""
    expect_class("MyHourglass", answer, Hourglass)
    hint = "(8.3) to (8.6): pool, down; skip(d) joins after the interpolation; then up; interpolate"
    for depth, r, size in ((1, 1, 12), (2, 1, 13), (3, 2, 16)):
        where = f"depth {depth}, r {r}, input {size}x{size}"
        rng = generator(8, depth)
        seed, x = int(rng.integers(1 << 30)), rng.standard_normal((2, size, size, 8))
        mine, ours = (
            beside(run_hourglass, kind, depth, r, seed, x.copy()) for kind in (answer, Hourglass)
        )
        compare("what your hourglass puts out", mine, ours, hint, 1e-9, where)


def run_hourglass(kind: Any, depth: int, r: int, seed: int, x: np.ndarray) -> Any:
    """What an hourglass with weights of that seed makes of x."""
    return kind(Build(np.random.default_rng(seed), np.float64), x.shape[3], depth, r)(tensor(x))


def check_8_3(answer: Callable[..., Any]) -> None:
    """module_parameters(channels, depth, p, t, r) -> how many."""
    expect_function("module_parameters", answer)
    small = [
        ((16, 1, 1, 2, 1), "p, t, r as usual, depth 1"),
        ((16, 3, 1, 2, 1), "depth 3: a skip at each level but the deepest"),
        ((32, 2, 1, 2, 3), "r = 3: the deepest level has 2r units"),
        ((32, 1, 2, 4, 1), "p = 2, t = 4: p units stand before and after"),
    ]
    for arguments, words in small:
        _compare_count(answer, arguments, words)
    for channels, depth in ((256, 3), (512, 2), (1024, 1)):
        _compare_count(answer, (channels, depth, 1, 2, 1), "a module of Attention-56 on ImageNet")


def _compare_count(answer: Callable[..., Any], arguments: tuple[int, ...], words: str) -> None:
    channels, depth, p, t, r = arguments
    module = AttentionModule(Build(np.random.default_rng(0)), channels, depth, p, t, r)
    where = f"channels {channels}, depth {depth}, p {p}, t {t}, r {r} ({words})"
    hint = "(8.9) to (8.11); every convolution is without bias, every batch norm has two vectors"
    got = answer(channels, depth, p, t, r)
    compare("the number of parameters", got, module.num_parameters(), hint, 0, where)
