"""How numbers are taken: contenders in turn, A B C A B C, while somebody watches the machine.

Two cores shared with a browser give any ratio one likes. So the processor time that all cores
spend in a turn is compared with that of the measured process and its children: what remains was
spent by somebody else (another program, the host of a virtual machine, or a contender that should
have been asleep). A round in which others took more than a limit is measured again.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from minran.errors import expect

LOOK = 0.5
"""Seconds of a look for a quiet moment."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    rounds: how many count; extra_rounds: how many more may be spent to replace disturbed ones;
    warmup: calls before; turn_seconds: short jobs are repeated until a turn lasts this long;
    limit: cores that others may use on average; patience: seconds to wait for a quiet moment
    before a round; only: names of the contenders that may take part (all if empty); deadline: when
    (`time.monotonic`) nothing more is started, and what runs is stopped; processes: how many
    share each batch in a contender that is made of several; kernels: whether the time of each
    kernel in a step is measured too.
    """

    rounds: int = 5
    extra_rounds: int = 5
    warmup: int = 2
    turn_seconds: float = 0.5
    threads: int = 1
    limit: float = 0.1
    patience: float = 5.0
    device: str = "cpu"
    precision: str = "fp32"
    only: tuple[str, ...] = ()
    deadline: float = math.inf
    processes: int = 2
    kernels: bool = False


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles (interpolated between neighbours), extremes. ShapeError if empty."""
    expect(len(values) > 0, "spread: there are no values")
    names = ("low", "first_quartile", "median", "third_quartile", "high")
    found = np.percentile(np.asarray(values, np.float64), (0, 25, 50, 75, 100))
    return {**dict(zip(names, map(float, found), strict=True)), "n": len(values)}


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """ours[i] / theirs[i]: both were measured in round i, moments apart.

    A machine that slows down for a while slows both sides of a pair, so the ratio of a pair is
    steadier than the ratio of two medians. Raises ShapeError for lists of different length.
    """
    counts = f"{len(ours)} rounds on one side, {len(theirs)} on the other"
    expect(len(ours) == len(theirs), f"paired_ratios: {counts}")
    return [a / b for a, b in zip(ours, theirs, strict=True)]


class Machine:
    """Seconds of processor time, as psutil reads them; where it cannot, nobody watches."""

    WORK = ("user", "nice", "system", "irq", "softirq", "steal")
    """Waiting is left out, and so is guests' time, which is within user. Steal is what the host of
    a virtual machine takes."""

    psutil: Any = None

    def __init__(self) -> None:
        with suppress(ImportError, OSError):
            import psutil

            psutil.cpu_times()
            self.psutil = psutil

    def busy(self) -> float:
        """That all cores have worked since the start of the machine."""
        times = self.psutil.cpu_times()
        return sum(getattr(times, name, 0.0) for name in self.WORK)

    def used(self, pid: int) -> float:
        """That process `pid` and its descendants have worked, those that ended included."""
        total = 0.0
        with suppress(self.psutil.NoSuchProcess):
            parent = self.psutil.Process(pid)
            for member in (parent, *parent.children(recursive=True)):
                with suppress(self.psutil.Error):  # it ended while we were reading
                    times = member.cpu_times()
                    total += times.user + times.system
                    total += times.children_user + times.children_system
        return total

    @contextmanager
    def watch(
        self, pid: int, clock: Callable[[], float] = time.perf_counter
    ) -> Iterator[SimpleNamespace]:
        """What others use while a block runs: afterwards `others` has their cores, on average.

        None if nobody can tell. Times come in steps of a hundredth of a second, so a block
        should last half a second or more.
        """
        seen = SimpleNamespace(others=None)
        if self.psutil is None:
            yield seen
            return
        before = clock(), self.busy(), self.used(pid)
        yield seen
        after = clock(), self.busy(), self.used(pid)
        seconds, busy, used = (now - then for now, then in zip(after, before))
        seen.others = max(0.0, (busy - used) / seconds) if seconds > 0 else 0.0

    def wait_until_quiet(
        self, patience: float, limit: float, sleep: Callable[[float], None] = time.sleep
    ) -> bool:
        """Wait at most `patience` seconds for a moment in which others use less than `limit` cores.

        Returns whether the moment came (True at once where nobody can tell).
        """
        for _ in range(math.ceil(patience / LOOK) if self.psutil else 0):
            with self.watch(os.getpid()) as seen:
                sleep(LOOK)
            if seen.others <= limit:
                return True
        return self.psutil is None or patience <= 0


Round = dict[str, Any]
"""One turn of every contender, as the JSON has it: by name its `seconds` and `others_cores` (that
others used, None if nobody knows); whether it was `disturbed`, and is `kept` for the summary."""


def worst(each: Round) -> float:
    """Cores that others used in a round's worst turn."""
    return max((others or 0.0 for others in each["others_cores"].values()), default=0.0)


def in_turn(
    names: Collection[str],
    work: Callable[[str], float],
    watched: Callable[[str], AbstractContextManager[Any]],
    settings: Settings,
    before_round: Callable[[], object] = lambda: None,
) -> list[Round]:
    """Measure until enough rounds were quiet, or the extra rounds are spent.

    work(name) does the contender's work and returns its seconds; watched(name) watches the machine
    meanwhile. A round is disturbed if others used more than the limit in any of its turns: then no
    ratio of it can be trusted, so it is measured again as a whole.

    Returns all rounds. Kept are the quiet ones; if there are too few, the least disturbed ones
    fill up, and they stay marked as disturbed.
    """
    done: list[Round] = []
    wanted, most = settings.rounds, settings.rounds + settings.extra_rounds
    while names and sum(not each["disturbed"] for each in done) < wanted and len(done) < most:
        before_round()
        now: Round = {"seconds": {}, "others_cores": {}}
        for name in names:
            with watched(name) as seen:
                now["seconds"][name] = work(name)
            now["others_cores"][name] = seen.others
        done.append({**now, "disturbed": worst(now) > settings.limit, "kept": False})
    # Quiet ones first, then the least disturbed; in the order of time among equals.
    for each in sorted(done, key=lambda each: worst(each) if each["disturbed"] else 0.0)[:wanted]:
        each["kept"] = True
    return done
