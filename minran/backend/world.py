"""The processes that compute one batch together: this one alone, unless there are more.

A few operations need numbers of the whole batch where a process holds only its share: batch
norm its statistics, the training loop its gradients. They ask `current()` for sums over all
processes. Alone, the answer is what they have. `minran.distributed` joins the processes that
`mpiexec` started, and puts a world that sends messages in the place of this one.

Every method but `abort` is called by all processes, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minran import backend

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

    def collect(self, value: Any) -> list[Any]:
        """The `value` of every process, by rank; it must be one that pickle knows."""
        return [value]

    def abort(self, status: int) -> None:
        """End all processes at once; alone, leave that to the caller."""


class Batch:
    """The batch that all processes hold together, a share each; alone, a process holds all of it.

    count: how many values a channel has in the whole batch; `share` says how many here.
    """

    def __init__(self, share: int) -> None:
        self._counts = _current.counts(share)
        self.count = sum(self._counts)

    def moments(self, moments: Sequence[Array]) -> Sequence[Array]:
        """Mean and variance per channel of the whole batch, from those of this process's share.

            n mean = sum_r n_r mean_r;    n var = sum_r n_r (var_r + (mean_r - mean)^2)

        In the order of the processes, so that all get the same bits.
        """
        if len(self._counts) == 1:
            return moments
        every = [
            (n / self.count, *pair)
            for n, pair in zip(self._counts, _current.gather(_rows(moments)))
        ]
        mean = sum(share * its_mean for share, its_mean, _ in every)
        var = sum(share * (its_var + (its_mean - mean) ** 2) for share, its_mean, its_var in every)
        return mean, var

    def sums(self, *shares: Array) -> Sequence[Array]:
        """The sums over the whole batch, from those over this process's share."""
        if len(self._counts) == 1:
            return shares
        return _current.sum(_rows(shares))


def _rows(vectors: Sequence[Array]) -> Array:
    """Vectors as the rows of a matrix. (`xp.stack` copies to a GPU, which no recording may.)"""
    rows = backend.current().xp.empty((len(vectors), *vectors[0].shape), vectors[0].dtype)
    for index, vector in enumerate(vectors):
        rows[index] = vector
    return rows


_current = World()


def current() -> World:
    """The world this process is part of."""
    return _current


def install(world: World) -> None:
    """Make `world` the current one."""
    global _current
    _current = world
