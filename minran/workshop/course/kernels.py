"""What notebook 17 looks at kernels with: a block of CUDA threads in Python, times, passes, bytes.

A thread is a generator. It computes until it says `yield`, which is `__syncthreads()`: there it
waits until every thread of the block has come as far. Between two barriers the threads run one
after another, in an order drawn at random, as on a card nobody promises an order either. So a
program that lacks a barrier gives different answers for different seeds.
"""

from __future__ import annotations

import inspect
import time
import timeit
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from minran import backend
from minran.backend.contract import KERNELS
from minran.errors import MinranError, expect


@dataclass
class Block:
    """What happened: `shared` memory at the end, barriers passed, and who touched which cell."""

    shared: np.ndarray
    barriers: int = 0
    steps: list[np.ndarray] = field(default_factory=list)
    """The shared memory at every barrier, and at the end."""


def run_block(
    program: Callable[..., Iterator[None]], threads: int, *arguments: Any, seed: int = 0
) -> Block:
    """Run `program(thread, threads, shared, *arguments)` for every thread of one block.

    shared: an array of `threads` numbers that start as NaN: memory that nobody wrote holds
    anything. Raises MinranError if the program is no generator (it has no `yield`), or if some
    threads end while others wait at a barrier: a card would hang.
    """
    rng = np.random.default_rng(seed)
    result = Block(np.full(threads, np.nan))
    running = []
    for thread in range(threads):
        started = program(thread, threads, result.shared, *arguments)
        silent = "run_block: the program has no `yield`, so its threads never wait"
        expect(inspect.isgenerator(started), silent, MinranError)
        running.append(started)
    while True:
        ended = object()
        waiting = sum(next(running[k], ended) is not ended for k in rng.permutation(threads))
        result.steps.append(result.shared.copy())
        if not waiting:
            return result
        hangs = f"{waiting} of {threads} threads wait at a barrier that the others never reach"
        expect(waiting == threads, f"run_block: {hangs}", MinranError)
        result.barriers += 1


@dataclass
class Spent:
    """All calls of one kernel: how many, seconds, bytes of arrays in and out, operations."""

    calls: int = 0
    seconds: float = 0.0
    bytes: int = 0
    flops: int = 0


@contextmanager
def timed_kernels() -> Iterator[dict[str, Spent]]:
    """Within the block, every kernel of the current backend is timed; yields {kernel: Spent}.

    bytes: what goes in and what comes out, each counted once. flops: of matrix products only (2
    for a multiply-add); 0 for kernels that have none.
    """
    module = backend.current()
    spent: dict[str, Spent] = {}

    def timed(name: str, kernel: Callable[..., Any]) -> Any:
        signature = inspect.signature(kernel)

        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = kernel(*args, **options)
            entry = spent.setdefault(name, Spent())
            entry.seconds += time.perf_counter() - start
            entry.calls += 1
            entry.bytes += _bytes([*args, *options.values()]) + _bytes(result)
            if "conv2d" in name:
                entry.flops += _flops(signature.bind(*args, **options).arguments, result)
            return result

        return call

    kernels = {name: timed(name, getattr(module, name)) for name in KERNELS if backend.has(name)}
    with mock.patch.multiple(module, **kernels):
        yield spent


def _flops(given: Mapping[str, Any], result: Any) -> int:
    """2 N Ho Wo KH KW (Cin / groups) Cout for a convolution, twice that for its backward."""
    maps = given["gy"] if "gy" in given else result[0] if isinstance(result, tuple) else result
    return (2 if "gy" in given else 1) * 2 * maps.size // maps.shape[-1] * given["w"].size


def _arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, (tuple, list)):
        return [array for item in value for array in _arrays(item)]
    return []


def _bytes(value: Any) -> int:
    return sum({id(array): array.nbytes for array in _arrays(value)}.values())


def seconds_of(
    function: Callable[[], Any], rounds: int = 7, of: Callable[[Any], Any] = np.median
) -> float:
    """The median time of a call, after one that does not count; of=min: the shortest."""
    return float(of(timeit.repeat(function, number=1, repeat=rounds + 1)[1:]))


class Counted(np.ndarray):
    """An array that counts the numbers NumPy's functions go over; views of it count too."""

    passes: list[int]

    def __array_finalize__(self, parent: Any) -> None:
        self.passes = getattr(parent, "passes", [])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return self._counted(getattr(ufunc, method), inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self._counted(function, args, kwargs)

    def _counted(self, function: Callable[..., Any], args: Any, options: dict[str, Any]) -> Any:
        args, options, out = _plain(args), _plain(options), options.get("out")
        result, given = function(*args, **options), _arrays([*args, *options.values()])
        # A function that only gives other views, np.reshape or np.split, reads no number.
        views = (np.may_share_memory(y, x) for y in _arrays(result) for x in given)
        if out is not None or not any(views):
            self.passes.append(max((array.size for array in given), default=0))
        if out is not None:
            return out[0] if isinstance(out, tuple) else out
        return self._marked(result)

    def _marked(self, result: Any) -> Any:
        if isinstance(result, list):
            return [self._marked(one) for one in result]
        if not isinstance(result, np.ndarray) or result.ndim == 0:
            return result
        marked = result.view(Counted)
        marked.passes = self.passes
        return marked


def _plain(value: Any) -> Any:
    """The value with plain arrays in it, which NumPy does not ask again."""
    if isinstance(value, Counted):
        return value.view(np.ndarray)
    if isinstance(value, (tuple, list)):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def passes_and_bytes(
    function: Callable[..., Any], arrays: dict[str, np.ndarray], whole: int
) -> tuple[float, int]:
    """How often `function(**arrays)` goes over `whole` numbers, and its peak of fresh bytes.

    A pass is one call of a NumPy function over all numbers, or many calls over a block each.
    Fresh bytes are those that NumPy asks for while the function runs (seen by tracemalloc).
    """
    counter: list[int] = []
    counted = {name: array.copy().view(Counted) for name, array in arrays.items()}
    for array in counted.values():
        array.passes = counter
    function(**counted)
    plain = {name: array.copy() for name, array in arrays.items()}
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        function(**plain)
        fresh = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return sum(counter) / whole, int(fresh)
