"""Checks of notebook 11: depth, parameters and multiply-adds, counted against real networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import create_model
from minran.inspect import summary
from minran.models import AttentionModule
from minran.models.units import Build
from minran.nn import BatchNorm2d, Module
from minran.workshop.course.checking import compare, expect_function

NARROW: dict[str, Any] = {"stem_width": 4, "widths": (4, 4, 4), "tail_width": 4}


def check_11_1(answer: Callable[..., Any]) -> None:
    """trunk_depth(m, p, t) -> layers."""
    expect_function("trunk_depth", answer)
    for m, p, t in ((1, 1, 2), (2, 1, 2), (6, 1, 2), (1, 2, 2), (1, 1, 3), (6, 2, 4)):
        model = create_model("attention56_cifar", modules=(m,) * 3, p=p, t=t, **NARROW)
        hint = "p units stand before and after the trunk's t units; a unit has three layers"
        expected = summary(model).trunk_depth
        compare("the depth", answer(m, p, t), expected, hint, 0, f"m = {m}, p = {p}, t = {t}")


def check_11_2(answer: Callable[..., Any]) -> None:
    """count_parameters(m, p, t, r, norms) -> parameters of a CIFAR-10 network."""
    expect_function("count_parameters", answer)
    for m, p, t, r in ((0, 1, 2, 1), (1, 1, 2, 1), (2, 1, 2, 1), (1, 2, 4, 1), (1, 1, 2, 3)):
        _compare_network(answer, m, p, t, r, "")
    _compare_network(answer, 6, 2, 4, 3, " (Attention-452)")


def _compare_network(
    answer: Callable[..., Any], m: int, p: int, t: int, r: int, words: str
) -> None:
    model = create_model("attention56_cifar", modules=(m,) * 3, p=p, t=t, r=r)
    total = model.num_parameters()
    hints = {
        False: "with m = 0: stem, three first units with projections, three units, classifier",
        True: "two numbers for each channel of every batch norm; one stands before the pool",
    }
    for norms, expected in ((False, total - _in_norms(model)), (True, total)):
        where = f"m = {m}, p = {p}, t = {t}, r = {r}, norms = {norms}{words}"
        compare("the count", answer(m, p, t, r, norms), expected, hints[norms], 0, where)


def _in_norms(model: Module) -> int:
    norms = [module for _, module in model.named_modules() if isinstance(module, BatchNorm2d)]
    return sum(norm.num_parameters() for norm in norms)


def check_11_3(answer: Callable[..., Any]) -> None:
    """module_multiply_adds(size, channels, depth, p, t, r) -> multiply-adds of one picture."""
    expect_function("module_multiply_adds", answer)
    cases = ((8, 16, 1, 1, 2, 1), (16, 16, 2, 1, 2, 1), (32, 16, 3, 2, 4, 3), (33, 8, 2, 1, 2, 2))
    for size, channels, depth, p, t, r in cases:
        module = AttentionModule(Build(np.random.default_rng(0)), channels, depth, p, t, r)
        expected = summary(module, image_size=size).multiply_adds
        got = answer(size, channels, depth, p, t, r)
        where = f"size {size}, channels {channels}, depth {depth}, p = {p}, t = {t}, r = {r}"
        hint = "(11.5), (11.6): each pool halves the size, rounding down; the head is at full size"
        compare("the count", got, expected, hint, 0, where)
