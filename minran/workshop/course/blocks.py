"""A block of CUDA threads in Python: `run_block(program, inputs...)`, for notebook 17.

A thread is a generator. It computes until it says `yield`, which is `__syncthreads()`: there it
waits until every thread of the block has come as far. Between two barriers the threads run one
after another, in an order drawn at random, as on a card nobody promises an order either. So a
program that lacks a barrier gives different answers for different seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from inspect import isgenerator
from typing import Any

import numpy as np

from minran.errors import MinranError

Program = Callable[..., Iterator[None]]


@dataclass
class Block:
    """What happened: `shared` memory at the end, barriers passed, and who touched which cell."""

    shared: np.ndarray
    barriers: int = 0
    steps: list[np.ndarray] = field(default_factory=list)
    """The shared memory at every barrier, and at the end."""


def run_block(program: Program, threads: int, *arguments: Any, seed: int = 0) -> Block:
    """Run `program(thread, threads, shared, *arguments)` for every thread of one block.

    shared: an array of `threads` numbers that start as NaN: memory that nobody wrote holds
    anything. Raises MinranError if the program is no generator (it has no `yield`), or if some
    threads end while others wait at a barrier: a card would hang.
    """
    rng = np.random.default_rng(seed)
    result = Block(np.full(threads, np.nan))
    alive = {}
    for thread in range(threads):
        started = program(thread, threads, result.shared, *arguments)
        if not isgenerator(started):
            raise MinranError("run_block: the program has no `yield`, so its threads never wait")
        alive[thread] = started
    while alive:
        waiting = set()
        for thread in rng.permutation(sorted(alive)):
            try:
                next(alive[thread])
            except StopIteration:
                continue
            waiting.add(int(thread))
        result.steps.append(result.shared.copy())
        if waiting and len(waiting) < threads:
            raise MinranError(
                f"run_block: {len(waiting)} of {threads} threads wait at a barrier that the "
                "others never reach"
            )
        if not waiting:
            break
        result.barriers += 1
    return result
