"""Where the time goes, for notebook 17: kernel calls timed, passes and temporary bytes counted."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minran import backend
from minran.backend.contract import KERNELS


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
    plain = {name: getattr(module, name) for name in KERNELS if backend.has(name)}
    spent: dict[str, Spent] = {}

    def wrap(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = kernel(*args, **options)
            entry = spent.setdefault(name, Spent())
            entry.seconds += time.perf_counter() - start
            entry.calls += 1
            given = [*args, *options.values()]
            entry.bytes += _bytes(given) + _bytes(result)
            entry.flops += _flops(name, given, result)
            return result

        return timed

    try:
        for name in plain:
            setattr(module, name, wrap(name, plain[name]))
        yield spent
    finally:
        for name in plain:
            setattr(module, name, plain[name])


def _arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, (tuple, list)):
        return [array for item in value for array in _arrays(item)]
    return []


def _bytes(value: Any) -> int:
    return sum({id(array): array.nbytes for array in _arrays(value)}.values())


def _flops(name: str, given: list[Any], result: Any) -> int:
    """2 Ho Wo N KH KW (Cin / groups) Cout for a convolution, twice that for its backward."""
    if "conv2d" not in name:
        return 0
    backward = name.endswith("_backward")
    arrays = [array for array in _arrays(given) if array.ndim == 4]
    weight = next((a for a in arrays[1:] if a.shape[0] == a.shape[1] and a.shape[0] <= 7), None)
    maps = arrays[0] if backward else next((a for a in _arrays(result) if a.ndim == 4), None)
    if weight is None or maps is None:
        return 0
    return (2 if backward else 1) * 2 * maps.size // maps.shape[-1] * weight.size


def seconds_of(function: Callable[[], Any], rounds: int = 7) -> float:
    """The median time of a call, after one that does not count."""
    function()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


class Counted(np.ndarray):
    """An array that counts the numbers NumPy's functions go over; views of it count too."""

    passes: list[int]

    def __array_finalize__(self, parent: Any) -> None:
        self.passes = getattr(parent, "passes", [])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        outs = options.get("out", ())
        self._count(inputs, outs)
        if outs:
            options["out"] = tuple(_plain(one) for one in outs)
        options = {key: _plain(value) for key, value in options.items() if key != "out"} | (
            {"out": options["out"]} if outs else {}
        )
        result = getattr(ufunc, method)(*(_plain(one) for one in inputs), **options)
        return outs[0] if outs else self._mark(result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        self._count(args, kwargs.values())
        result = function(*_plain(args), **_plain(kwargs))
        return kwargs["out"] if kwargs.get("out") is not None else self._mark(result)

    def _count(self, *groups: Any) -> None:
        self.passes.append(max((a.size for g in groups for a in _arrays(list(g))), default=0))

    def _mark(self, result: Any) -> Any:
        if not isinstance(result, np.ndarray) or result.ndim == 0:
            return result
        marked = result.view(Counted)
        marked.passes = self.passes
        return marked


def _plain(value: Any) -> Any:
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

    A pass is one call of a NumPy function over all numbers; half the numbers are half a pass.
    Fresh bytes are those that NumPy asks for while the function runs (seen by tracemalloc).
    """
    counter: list[int] = []
    counted = {}
    for name, array in arrays.items():
        view = array.copy().view(Counted)
        view.passes = counter
        counted[name] = view
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
    # Work on vectors of one number a channel is no pass over the maps.
    return sum(size for size in counter if size > whole // 64) / whole, int(fresh)
