"""Learning-rate schedules.

A schedule is a function of the step: `schedule(step) -> lr`. The loop sets
`optimizer.lr = schedule(step)` before each step, and that is all there is to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from minran.errors import RecipeError, expect, expect_number
from minran.hints import checked

Schedule = Callable[[int], float]


@checked(RecipeError, lr=0)
def constant(lr: float) -> Schedule:
    """lr, always."""
    return lambda step: lr


@checked(RecipeError, lr=0, milestones=0, factor=0)
def multistep(lr: float, milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """lr times `factor` for every milestone (in steps) that has been passed.

    The paper: lr 0.1, milestones 64,000 and 96,000, factor 0.1 (section 4.1).

    >>> schedule = optim.multistep(0.1, [64_000, 96_000])
    >>> [round(schedule(step), 4) for step in (0, 64_000, 96_000)]
    [0.1, 0.01, 0.001]
    """
    return lambda step: lr * factor ** sum(step >= milestone for milestone in milestones)


@checked(RecipeError, lr=0, total=1, warmup=0, final=0)
def cosine(lr: float, total: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Up in a line over `warmup` steps, then down to `final` lr along half a cosine.

    lr(s) = final + (1 - final) (1 + cos(pi u)) / 2 times lr, u = (s - warmup)/(total - warmup).
    Raises RecipeError unless there are steps, and warm-up is a part of them.
    """
    what = f"cosine: needs 0 <= warmup <= total and total > 0, got {warmup} of {total} steps"
    expect(warmup <= total, what, RecipeError)

    def at(step: int) -> float:
        if step < warmup:
            return lr * (step + 1) / warmup
        u = min(1.0, (step - warmup) / max(1, total - warmup))
        return lr * (final + (1 - final) * _falling(math.pi * u))

    return at


@checked(RecipeError, lr=0, total=1, start=0)
def one_cycle(lr: float, total: int, warmup: float = 0.25, start: float = 0.04) -> Schedule:
    """From `start` lr up to lr in the first `warmup` share of the steps, then down to near 0.

    Both ways along half a cosine (Smith & Topin 2018): high rates for most of a short run. With
    c(u) = (1 + cos(pi u)) / 2, which falls from 1 to 0, and peak = warmup total:

        lr(s) = lr (1 - (1 - start) c(s / peak))                      before the peak
        lr(s) = lr max(1e-4, c((s - peak) / (total - peak)))          after it

    Raises RecipeError unless there are steps, and the share is in [0, 1).
    """
    expect_number(warmup, "one_cycle: warmup", 0, 1, RecipeError)
    peak = warmup * total

    def at(step: int) -> float:
        if step < peak:
            return lr * (1 - (1 - start) * _falling(math.pi * step / peak))
        u = min(1.0, (step - peak) / (total - peak))
        return lr * max(1e-4, _falling(math.pi * u))

    return at


def _falling(angle: float) -> float:
    """From 1 to 0 along half a cosine, between the angles 0 and pi."""
    return (1 + math.cos(angle)) / 2
