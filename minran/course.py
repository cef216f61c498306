"""A door to `minran.workshop.course`: what the notebooks import."""

from minran.workshop.course import (
    Wrong,
    check,
    compare,
    compare_gradients,
    expect_function,
    explore,
    frames,
    show_source,
    unpack,
)

__all__ = [
    "Wrong",
    "check",
    "compare",
    "compare_gradients",
    "expect_function",
    "explore",
    "frames",
    "show_source",
    "unpack",
]
