"""Learning-rate schedules.

A schedule is a function of the step: `schedule(step) -> lr`. The loop sets
`optimizer.lr = schedule(step)` before each step, and that is all there is to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from minran.errors import RecipeError, expect, expect_number, expect_whole, shortened

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """lr, always."""
    _expect_rate("constant", lr)
    return lambda step: lr


def multistep(lr: float, milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """lr times `factor` for every milestone (in steps) that lies behind.

    The paper: lr 0.1, milestones 64,000 and 96,000, factor 0.1 (section 4.1).

    >>> schedule = optim.multistep(0.1, [64_000, 96_000])
    >>> [round(schedule(step), 4) for step in (0, 64_000, 96_000)]
    [0.1, 0.01, 0.001]
    """
    _expect_rate("multistep", lr)
    expect_number(factor, "multistep: factor", error=RecipeError)
    expect(
        isinstance(milestones, Sequence) and not isinstance(milestones, str),
        f"multistep: milestones must be a list of steps, got {shortened(milestones)}",
        RecipeError,
    )
    for milestone in milestones:
        expect_whole(milestone, "multistep: a milestone", 0, error=RecipeError)
    return lambda step: lr * factor ** sum(step >= milestone for milestone in milestones)


def cosine(lr: float, total: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Up in a line over `warmup` steps, then down to `final` lr along half a cosine.

    lr(s) = final + (1 - final) (1 + cos(pi u)) / 2 times lr, u = (s - warmup)/(total - warmup).
    Raises RecipeError unless there are steps, and warm-up is a part of them.
    """
    _expect_rate("cosine", lr)
    expect_number(final, "cosine: final", error=RecipeError)
    expect_whole(total, "cosine: total", error=RecipeError)
    expect_whole(warmup, "cosine: warmup", 0, error=RecipeError)
    expect(
        warmup <= total,
        f"cosine: needs 0 <= warmup <= total and total > 0, got {warmup} of {total} steps",
        RecipeError,
    )

    def at(step: int) -> float:
        if step < warmup:
            return lr * (step + 1) / warmup
        u = min(1.0, (step - warmup) / max(1, total - warmup))
        return lr * (final + (1 - final) * (1 + math.cos(math.pi * u)) / 2)

    return at


def one_cycle(lr: float, total: int, warmup: float = 0.25, start: float = 0.04) -> Schedule:
    """From `start` lr up to lr in the first `warmup` share of the steps, then down to near 0.

    Both ways along half a cosine (Smith & Topin 2018): high rates for most of a short run. With
    c(u) = (1 + cos(pi u)) / 2, which falls from 1 to 0, and peak = warmup total:

        lr(s) = lr (1 - (1 - start) c(s / peak))                      before the peak
        lr(s) = lr max(1e-4, c((s - peak) / (total - peak)))          after it

    Raises RecipeError unless there are steps, and the share is in [0, 1).
    """
    expect_whole(total, "one_cycle: total", error=RecipeError)
    expect_number(warmup, "one_cycle: warmup", 0, 1, RecipeError)
    _expect_rate("one_cycle", lr)
    expect_number(start, "one_cycle: start", error=RecipeError)
    peak = warmup * total

    def at(step: int) -> float:
        if step < peak:
            return lr * (1 - (1 - start) * (1 + math.cos(math.pi * step / peak)) / 2)
        u = min(1.0, (step - peak) / (total - peak))
        return lr * max(1e-4, (1 + math.cos(math.pi * u)) / 2)

    return at


def _expect_rate(schedule: str, lr: float) -> None:
    expect_number(lr, f"{schedule}: lr", error=RecipeError)
