"""Checks of notebook 16: tests that must catch a bug, and pass where there is none."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from minran.models import AttentionModule
from minran.workshop.course.checking import Wrong, beside, expect_function, generator
from minran.workshop.course.clinic import healthy, patient

Test = Callable[[AttentionModule], Any]

CASES = (
    {"channels": 16, "depth": 2, "seed": 0},
    {"channels": 16, "depth": 3, "seed": 1},
    {"channels": 32, "depth": 2, "seed": 2},
)
"""Widths, depths and seeds that a test must not depend on; every bug shows in each of them."""


def check_16_1(answer: Test) -> None:
    """A test that the mask does not depend on the trunk."""
    _examine(answer, "trunk in mask", "does a parameter of the trunk get a gradient from the mask?")


def check_16_2(answer: Test) -> None:
    """A test that every pool reads the level above."""
    _examine(answer, "never nests", "what sizes do the maps behind the pools have, in order?")


def check_16_3(answer: Test) -> None:
    """A test that the mask interpolates bilinearly."""
    hint = "recompute what each interpolation put out from what went in, with align_corners=True"
    _examine(answer, "nearest", hint)


def check_16_4(answer: Test) -> None:
    """A test that no batch norm stands before the sigmoid."""
    hint = "which layer stands right before the last one in module.mask.head?"
    _examine(answer, "norm before sigmoid", hint)


def check_16_5(answer: Test) -> None:
    """A test that every parameter is used."""
    hint = "after backward from the module's output, whose .grad is None?"
    _examine(answer, "unused projections", hint)


def check_16_6(answer: Test) -> None:
    """A test that the gate is (1 + M) T."""
    hint = (
        "compare the input of module.after with (1 + M) T, made of the mask's and trunk's outputs"
    )
    _examine(answer, "gate without 1", hint)


def _examine(test: Test, bug: str, hint: str) -> None:
    """The test must pass on healthy modules and raise AssertionError on those with the bug."""
    expect_function("your test", test)
    # In an order that nobody knows, each module as bytes: which is which stays here.
    verdicts = {}
    for place in generator(16).permutation(2 * len(CASES)):
        case = CASES[place // 2]
        module = patient(bug, **case) if place % 2 else healthy(**case)
        verdicts[place] = beside(run_test, test, pickle.dumps(module))
    for k, case in enumerate(CASES):
        words = ", ".join(f"{name}={value}" for name, value in case.items())
        failed, said = verdicts[2 * k]
        if failed:
            raise Wrong(
                "your test fails on a healthy module" + (f": {said}" if said else ""),
                f"healthy({words})",
                "it must hold for every width, depth and seed; what in it is true of one only?",
            )
    for k, case in enumerate(CASES):
        words = ", ".join(f"{name}={value}" for name, value in case.items())
        if not verdicts[2 * k + 1][0]:
            raise Wrong("your test passes on the module with the bug", f'"{bug}", {words}', hint)


def run_test(test: Test, module: bytes) -> tuple[bool, str]:
    """Whether the test of a pickled module raised AssertionError, and what it said."""
    try:
        verdict = test(pickle.loads(module))
    except AssertionError as error:
        return True, str(error)
    if verdict is not None:
        raise Wrong(
            f"your test returned {verdict!r}",
            "a test says nothing by returning",
            "raise AssertionError where the bug is: assert condition, message",
        )
    return False, ""
