"""The processes that compute one batch together: this one alone, unless there are more.

A few operations need numbers of the whole batch where a process holds only its share: batch
norm its statistics, the training loop its gradients. They ask `current()` for sums over all
processes. Alone, the answer is what they have. `minran.distributed` joins the processes that
`mpiexec` started, and puts a world that sends messages in the place of this one.

Every method but `abort` is called by all processes, in the same order.
"""

from __future__ import annotations

from typing import Any

Array = Any
"""A NumPy or CuPy array."""


class World:
    """This process, alone. `rank` counts the processes from 0, `size` says how many there are."""

    rank = 0
    size = 1

    def counts(self, count: int) -> list[int]:
        """The `count` of every process, by rank."""
        return [count]

    def gather(self, array: Array) -> Array:
        """The `array` (...) of every process, by rank: (size, ...)."""
        return array[None]

    def sum(self, array: Array) -> Array:
        """The sum of `array` over all processes: the same bits in each, and in every run."""
        return array

    def broadcast(self, value: Any) -> Any:
        """The value that process 0 has; it must be one that pickle knows."""
        return value

    def collect(self, value: Any) -> list[Any]:
        """The `value` of every process, by rank; it must be one that pickle knows."""
        return [value]

    def abort(self, status: int) -> None:
        """End all processes at once; alone, leave that to the caller."""


_current = World()


def current() -> World:
    """The world this process is part of."""
    return _current


def install(world: World) -> None:
    """Make `world` the current one."""
    global _current
    _current = world
