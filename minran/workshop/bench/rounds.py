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
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from minran.errors import expect


@dataclass(frozen=True)
class Settings:
    """How to measure.

    rounds: how many count; extra_rounds: how many more may be spent to replace disturbed ones;
    warmup: calls before; turn_seconds: short jobs are repeated until a turn lasts this long;
    limit: cores that others may use on average; patience: seconds to wait for a quiet moment
    before a round; only: names of the contenders that may take part (all if empty); deadline: when
    (`time.monotonic`) nothing more is started, and what runs is stopped; processes: how many
    share each batch in a contender that is made of several.
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

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline, None if there is none."""
        return None if math.isinf(self.deadline) else self.deadline - time.monotonic()


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
    expect(
        len(ours) == len(theirs),
        f"paired_ratios: {len(ours)} rounds on one side, {len(theirs)} on the other",
    )
    return [a / b for a, b in zip(ours, theirs, strict=True)]


class Machine(Protocol):
    """Where processor times come from."""

    def busy(self) -> float:
        """Seconds that all cores have worked since the start of the machine."""

    def used(self, pid: int) -> float:
        """Seconds that process `pid` and all that descend from it have worked."""


class ThisMachine:
    """The counters of the operating system, as psutil reads them. ImportError without psutil."""

    WORK = ("user", "nice", "system", "irq", "softirq", "steal")
    """Waiting is left out, and so is guests' time, which is within user."""

    def __init__(self) -> None:
        import psutil

        self.psutil = psutil

    def busy(self) -> float:
        """Steal, which the host of a virtual machine takes, included."""
        times = self.psutil.cpu_times()
        return sum(getattr(times, name, 0.0) for name in self.WORK)

    def used(self, pid: int) -> float:
        """Members of the family that have ended count with their parents."""
        total = 0.0
        with suppress(self.psutil.NoSuchProcess):
            parent = self.psutil.Process(pid)
            for member in (parent, *parent.children(recursive=True)):
                with suppress(self.psutil.Error):  # it ended while we were reading
                    times = member.cpu_times()
                    total += times.user + times.system
                    total += times.children_user + times.children_system
        return total


def this_machine() -> Machine | None:
    """The counters of this machine, or None: then nobody watches."""
    try:
        machine = ThisMachine()
        machine.busy()
    except (ImportError, OSError):
        return None
    return machine


class Watch:
    """`with Watch(pid, machine) as watch: ...` then `watch.others`: cores that others used.

    On average; None if nobody can tell. Times come in steps of a hundredth of a second, so a block
    should last half a second or more.
    """

    def __init__(
        self,
        pid: int,
        machine: Machine | None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.pid, self.machine, self.clock = pid, machine, clock
        self.others: float | None = None

    def __enter__(self) -> Watch:
        self._start = self._read()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.machine is not None:
            seconds, busy, used = (now - then for now, then in zip(self._read(), self._start))
            self.others = max(0.0, (busy - used) / seconds) if seconds > 0 else 0.0

    def _read(self) -> tuple[float, float, float]:
        if self.machine is None:
            return 0.0, 0.0, 0.0
        return self.clock(), self.machine.busy(), self.machine.used(self.pid)


def wait_until_quiet(
    machine: Machine | None,
    patience: float,
    limit: float,
    sleep: Callable[[float], None] = time.sleep,
    interval: float = 0.5,
) -> bool:
    """Wait at most `patience` seconds for a moment in which others use less than `limit` cores.

    Returns whether the moment came (True at once where nobody can tell).
    """
    waited = 0.0
    while machine is not None and waited < patience:
        with Watch(os.getpid(), machine) as watch:
            sleep(interval)
        if watch.others is not None and watch.others <= limit:
            return True
        waited += interval
    return machine is None or patience <= 0


@dataclass(frozen=True)
class Round:
    """One turn of every contender: seconds, and the cores that others used (None: nobody knows).

    kept: whether the summary counts it.
    """

    seconds: dict[str, float]
    others: dict[str, float | None]
    disturbed: bool
    kept: bool = False

    @property
    def worst(self) -> float:
        """Cores that others used in its worst turn."""
        return max((others or 0.0 for others in self.others.values()), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Everything about the round."""
        return {
            "seconds": self.seconds,
            "others_cores": self.others,
            "disturbed": self.disturbed,
            "kept": self.kept,
        }


def in_turn(
    contenders: dict[str, Callable[[], float]],
    watch: Callable[[str], AbstractContextManager[Any]],
    settings: Settings,
    before_round: Callable[[], object] = lambda: None,
) -> list[Round]:
    """Measure until enough rounds were quiet, or the extra rounds are spent.

    contenders: name -> a function that works and returns its seconds; watch(name) watches
    the machine meanwhile. A round is disturbed if others used more than the limit in any of
    its turns: then no ratio of it can be trusted, so it is measured again as a whole.

    Returns all rounds. Kept are the quiet ones; if there are too few, the least disturbed ones
    fill up, and they stay marked as disturbed.
    """
    done: list[Round] = []
    wanted = settings.rounds
    while (
        sum(not each.disturbed for each in done) < wanted
        and len(done) < wanted + settings.extra_rounds
    ):
        before_round()
        now = Round({}, {}, False)
        for name, work in contenders.items():
            with watch(name) as watched:
                now.seconds[name] = work()
            now.others[name] = watched.others
        done.append(replace(now, disturbed=now.worst > settings.limit))

    def badness(index: int) -> float:
        return done[index].worst if done[index].disturbed else 0.0

    # Quiet ones first, then the least disturbed; in the order of time among equals.
    kept = sorted(range(len(done)), key=badness)[:wanted]
    return [replace(each, kept=index in kept) for index, each in enumerate(done)]
