"""How much processor time others took while something was measured.

Two cores shared with a browser give any ratio one likes. Linux counts the busy time of all
cores in /proc/stat and that of each process in /proc/PID/stat; what remains of the first when
the measured process and its children are taken off was spent by somebody else: another
program, the host of a virtual machine (steal), or a contender that should have been asleep.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

DISTURBED = 0.1
"""Cores that others may use, on average, before a measurement counts as disturbed."""


class Machine(Protocol):
    """Where processor times come from."""

    def busy(self) -> float:
        """Seconds that all cores have worked since the start of the machine."""

    def used(self, pid: int) -> float:
        """Seconds that process `pid` and all that descend from it have worked."""


class Linux:
    """The counters of the Linux kernel."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self.proc = proc
        self.tick = 1 / os.sysconf("SC_CLK_TCK")

    def busy(self) -> float:
        """user + nice + system + irq + softirq + steal; waiting and guests' time are left out."""
        first = (self.proc / "stat").read_text(encoding="ascii").splitlines()[0]
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, first.split()[1:9])
        return (user + nice + system + irq + softirq + steal) * self.tick

    def used(self, pid: int) -> float:
        """Processor time of the family of `pid`, members that have ended included."""
        parents, ticks = {}, {}
        for folder in self.proc.iterdir():
            if folder.name.isdigit():
                try:
                    line = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                except OSError:
                    continue  # it ended while we were reading
                # The second field, the program's name, may itself hold blanks and brackets.
                fields = line.rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1])
                ticks[int(folder.name)] = sum(map(int, fields[11:15]))
        return self.tick * sum(ticks[member] for member in family(pid, parents))


def family(pid: int, parents: dict[int, int]) -> list[int]:
    """`pid` and its descendants among the processes of `parents` (child -> parent)."""
    members = [pid] if pid in parents else []
    for member in members:  # grows while we walk
        members += [child for child, parent in parents.items() if parent == member]
    return members


def this_machine() -> Machine | None:
    """Linux with a readable /proc, or None: nobody watches elsewhere."""
    machine = Linux() if Path("/proc/stat").exists() else None
    try:
        if machine is not None:
            machine.used(os.getpid())
            machine.busy()
    except (OSError, ValueError, IndexError):
        return None
    return machine


class Watch:
    """`with Watch(pid) as watch: ...` then `watch.others`: cores that others used, on average.

    None if nobody can tell. Times come in steps of a hundredth of a second, so a block should
    last half a second or more.
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
        if self.machine is None:
            return
        seconds, busy, used = (
            after - before for after, before in zip(self._read(), self._start, strict=True)
        )
        self.others = max(0.0, (busy - used) / seconds) if seconds > 0 else 0.0

    def _read(self) -> tuple[float, float, float]:
        if self.machine is None:
            return 0.0, 0.0, 0.0
        return self.clock(), self.machine.busy(), self.machine.used(self.pid)


def wait_until_quiet(
    machine: Machine | None,
    patience: float,
    limit: float = DISTURBED,
    sleep: Callable[[float], None] = time.sleep,
    interval: float = 0.5,
) -> bool:
    """Wait at most `patience` seconds for a moment in which others use less than `limit` cores.

    Returns whether the moment came (True at once where nobody can tell).
    """
    if machine is None:
        return True
    waited = 0.0
    while waited < patience:
        with Watch(os.getpid(), machine) as watch:
            sleep(interval)
        if watch.others is not None and watch.others <= limit:
            return True
        waited += interval
    return patience <= 0
