"""Split the batch into blocks that fit the cache, and run them on every core.

`map_blocks(f, n, bytes_per_sample)` calls `f(samples)` on slices of the batch axis.
How the batch is cut depends on the sizes alone, never on the number of threads, and results
come back in block order: sums over them are the same bit for bit on one core and on many.

A thread that waits for work or for the interpreter's lock sleeps, and to wake it takes as long as a
pass over a small operand. So small work is not handed over, and nobody waits for a thread that was
woken too late to find a block.

Within a block the products run on one BLAS thread; the second core works on another
block. That uses it twice as well as two BLAS threads on tall, thin products do, and it
serves the element-wise kernels too, which BLAS threads do not. A lone block runs on one BLAS
thread as well: OpenBLAS's workers go on spinning for a while after a product, and would take
the core from the next kernel's second thread (measured: a fifth of a training step).

A process that was forked has none of the threads of the one it came from; it starts its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import itemgetter
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from minran import machine
from minran.errors import BackendError, expect

Result = TypeVar("Result")

BLOCK_BYTES = 1 << 20
"""Bytes of the main operand of a block: half of a typical level-2 cache."""

MIN_BYTES = 1 << 17
"""An operand smaller than this is one block: calling a kernel twice costs more than it gives."""

HAND_OVER = 1 << 20
"""Bytes of an operand below which one thread does all blocks of a few passes over it."""

HAND_OVER_PRODUCTS = 1 << 18
"""The same of matrix products, which take longer for each byte."""


@dataclass
class Tuning:
    """How the work is shared out. Results are the same; only time and memory differ.

    cache_blocks: cut the batch into blocks that fit the cache; else one block for each thread.
    blas_threads: of each product. reuse: keep the memory of arrays that are gone for new ones.
    """

    cache_blocks: bool = True
    blas_threads: int = 1
    reuse: bool = True


TUNING = Tuning()
"""Those of this process; the bench takes one back at a time (`docs/speed.md`: its worth)."""

_threads: int | None = None
_pool: _Pool | None = None
_blas: list[Any] | None = None


def threads() -> int:
    """How many threads the kernels use.

    Raises BackendError if `MINRAN_NUM_THREADS` is set to something else than a whole number >= 1.
    """
    global _threads
    if _threads is None:
        told = os.environ.get("MINRAN_NUM_THREADS", str(len(machine.cores())))
        # More digits than a machine has threads would only break the conversion.
        digits = told.strip()
        count = int(digits) if digits.isdecimal() and len(digits) < 7 else 0
        _threads = _expect_threads("MINRAN_NUM_THREADS", count, told)
    return _threads


def ensure_available() -> None:
    """Raise BackendError if the kernels cannot run as they were told to."""
    threads()


def set_threads(count: int) -> None:
    """Let the kernels use `count` threads (default: the cores, or `MINRAN_NUM_THREADS`)."""
    global _threads
    _expect_threads("set_threads", count, count)
    if _pool is not None:
        _pool.end()
        _forget_pool()
    _threads = count


def _expect_threads(where: str, count: Any, told: Any) -> int:
    wanted = f"a whole number of threads, 1 or more, got {told!r}"
    expect(isinstance(count, int) and count >= 1, f"{where}: expected {wanted}", BackendError)
    return int(count)


def _forget_pool() -> None:
    """Also in a child after a fork: its parent's threads are not there, and would never answer."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_pool)


@lru_cache(maxsize=1024)
def block_ranges(count: int, bytes_per_sample: int, block_bytes: int) -> tuple[slice, ...]:
    """Cut `range(count)` into an even number of nearly equal slices of about `block_bytes`."""
    total = count * bytes_per_sample
    return _cut(count, 1 if total < MIN_BYTES else 2 * max(1, round(total / (2 * block_bytes))))


def _cut(count: int, blocks: int) -> tuple[slice, ...]:
    blocks = max(1, min(blocks, count))
    edges = [count * k // blocks for k in range(blocks + 1)]
    return tuple(slice(lo, hi) for lo, hi in pairwise(edges))


def map_blocks(
    function: Callable[[slice], Result],
    count: int,
    bytes_per_sample: int,
    block_bytes: int = BLOCK_BYTES,
    hand_over: int = HAND_OVER,
) -> list[Result]:
    """`[function(samples) for samples in blocks]`, on `threads()` threads, in block order.

    Operands of fewer bytes than `hand_over` stay on this thread.
    """
    if TUNING.cache_blocks:
        blocks = block_ranges(count, bytes_per_sample, block_bytes)
    else:
        blocks = _cut(count, threads())
    workers = min(threads(), len(blocks))
    if workers == 1 or count * bytes_per_sample < hand_over:
        with _one_blas_thread():
            return [function(samples) for samples in blocks]

    left = iter(range(len(blocks)))  # of which the interpreter takes one number at a time
    done: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()
    given = [function]

    def work() -> None:
        for index in left:
            try:
                done.put((index, given[0](blocks[index]), None))
            except BaseException as error:
                done.put((index, None, error))

    try:
        with _one_blas_thread():
            _hand_over(work, workers - 1)
            work()
            # As many as there are blocks: a thread that comes too late for one is not waited for.
            ended = sorted((done.get() for _ in blocks), key=itemgetter(0))
    finally:
        given.clear()  # such a thread would keep the function's arrays
    for _, _, error in ended:
        if error is not None:
            raise error
    return [result for _, result, _ in ended]


class _Pool:
    """Threads that wait for something to do, in the order of a queue that costs little."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.size = 0

    def grow(self, size: int) -> None:
        """Start threads until there are `size`, or the system (at its end, Python) gives none."""
        with suppress(RuntimeError):
            while self.size < size:
                Thread(target=self._serve, name=f"minran_{self.size}", daemon=True).start()
                self.size += 1

    def _serve(self) -> None:
        for job in iter(self.jobs.get, None):
            job()

    def end(self) -> None:
        for _ in range(self.size):
            self.jobs.put(None)


def _hand_over(job: Callable[[], None], threads: int) -> None:
    """Let `threads` other threads, or those there are, call `job`."""
    global _pool
    if _pool is None:
        _pool = _Pool()
    _pool.grow(threads)
    for _ in range(min(threads, _pool.size)):
        _pool.jobs.put(job)


def sum_of(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of the blocks' results, in block order; the first becomes the sum."""
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def masked(x: np.ndarray, mask: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Out = x where `mask`, else 0, whatever x is: zero times infinity would be NaN.

    So the bits are multiplied, as whole numbers. That takes as long as x times the mask, which is
    many times quicker than np.where or a masked copy.
    """
    np.multiply(bits_of(x), mask, out=bits_of(out))
    return out


def bits_of(x: np.ndarray) -> np.ndarray:
    """The same memory as whole numbers."""
    return x.view(f"i{x.itemsize}")


def _one_blas_thread() -> AbstractContextManager[None]:
    """Each product in here runs on the thread that calls it; the setting is put back after.

    (On `TUNING.blas_threads`, if the bench takes this decision back.)
    """
    global _blas
    if _blas is None:
        _blas = ThreadpoolController().select(user_api="blas").lib_controllers
    before = [library.get_num_threads() for library in _blas]
    wanted = TUNING.blas_threads
    settled = all(count == wanted for count in before)
    return nullcontext() if settled else _narrowed(_blas, before, wanted)


@contextmanager
def _narrowed(libraries: list[Any], before: list[int], wanted: int) -> Iterator[None]:
    try:
        for library in libraries:
            library.set_num_threads(wanted)
        yield
    finally:
        for library, count in zip(libraries, before, strict=True):
            library.set_num_threads(count)
