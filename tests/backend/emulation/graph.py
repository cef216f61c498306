"""A memory pool and a CUDA graph that behave as the real ones where a mistake would be silent.

The pool hands memory out again as soon as nobody holds the array that had it. The graph holds
addresses, not arrays: what it was recorded on may be overwritten, and what was freed outside its
pool is an error that is found here and nowhere else. What is recorded is not carried out.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

Run = Callable[[], None]


class CaptureFailedError(RuntimeError):
    """What CUDA answers to what a recording stream cannot do."""


class Pool:
    """Memory that arrays made inside `using` share one after another."""

    current: Pool | None = None

    def __init__(self) -> None:
        self.free: dict[int, list[bytearray]] = defaultdict(list)
        self.taken = 0

    def array(self, shape: Any, dtype: Any) -> np.ndarray:
        """Memory full of NaN, or of what the last array there left; in blocks of 512 bytes.

        As CuPy's pool, it takes the smallest free block that is large enough, whoever had it.
        """
        dtype = np.dtype(dtype)
        size = -(-max(1, int(np.prod(shape)) * dtype.itemsize) // 512) * 512
        fitting = [free for free in sorted(self.free) if free >= size and self.free[free]]
        if fitting:
            size = fitting[0]
            block = self.free[size].pop()
        else:
            block = bytearray(b"\xff" * size)
            self.taken += size
        # Views keep this array alive, and the block comes back when the last of them is gone.
        whole = np.frombuffer(block, dtype, int(np.prod(shape)))
        weakref.finalize(whole, self.free[size].append, block)
        return whole.reshape(shape)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Arrays of the block come from here."""
        before, Pool.current = Pool.current, self
        try:
            yield
        finally:
            Pool.current = before


class Tape:
    """What a recording stream writes down."""

    current: Tape | None = None

    def __init__(self) -> None:
        self.runs: list[Run] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """What the block launches is written down."""
        if Pool.current is None:
            raise CaptureFailedError("recording outside the graph's memory pool")
        Tape.current = self
        try:
            yield
        finally:
            Tape.current = None


def forbid(what: str) -> None:
    """What waits for the device, or copies to it, ends a recording."""
    if Tape.current is not None:
        raise CaptureFailedError(f"operation not permitted when stream is capturing: {what}")


def compute(function: Callable[..., Any], args: tuple, options: dict, in_place: bool) -> Any:
    """`function` on host arrays, carried out or, while recording, written down.

    Views are made at once, as no launch is needed for them.
    """
    tape, pool = Tape.current, Pool.current
    if getattr(function, "__name__", "") == "matmul":
        forbid("cublasSetStream")
    if tape is not None and in_place:
        held, held_options = Held(args), Held(options)
        tape.runs.append(lambda: function(*held.get(), **held_options.get()))
        return options.get("out")
    with np.errstate(all="ignore" if tape is not None else None):
        result = function(*args, **options)
    if pool is None or in_place or not isinstance(result, np.ndarray | np.generic):
        return result
    if any(np.may_share_memory(result, each) for each in args if isinstance(each, np.ndarray)):
        return result
    target = pool.array(result.shape, result.dtype)
    if tape is None:
        target[...] = result
    elif not function.__name__.startswith("empty"):
        held, held_options, place = Held(args), Held(options), Held(target)
        tape.runs.append(
            lambda: np.copyto(place.get(), function(*held.get(), **held_options.get()))
        )
    return target


class Held:
    """Arguments as a graph holds them: arrays by their place in memory."""

    def __init__(self, value: Any) -> None:
        self.value = value
        if isinstance(value, np.ndarray):
            owner = value
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            block = owner.base if owner.base is not None else None
            start = owner.__array_interface__["data"][0]
            self.layout = (value.shape, value.dtype, value.__array_interface__["data"][0] - start)
            self.strides = value.strides
            self.block = block
            self.owner = weakref.ref(owner)
            self.value = None
        elif isinstance(value, (tuple, list)):
            self.value = [Held(part) for part in value]
            self.kind = type(value)
        elif isinstance(value, dict):
            self.value = {key: Held(part) for key, part in value.items()}

    def get(self) -> Any:
        """The arguments themselves. AssertionError if an array's memory was freed."""
        if isinstance(self.value, list):
            return self.kind(part.get() for part in self.value)
        if isinstance(self.value, dict):
            return {key: part.get() for key, part in self.value.items()}
        if not hasattr(self, "layout"):
            return self.value
        memory = self.block if self.block is not None else self.owner()
        assert memory is not None, "the graph uses memory that was freed"
        shape, dtype, offset = self.layout
        return np.ndarray(shape, dtype, memory, offset, self.strides)


class EmulatedRecorder:
    """`launch.Recorder` for the emulated device."""

    def __init__(self) -> None:
        self.pool, self.tape, self.launches = Pool(), Tape(), 0

    def working(self) -> Any:
        """Arrays of the block come from the recorder's pool."""
        return self.pool.using()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Launches of the block are written down."""
        tape = Tape()
        with tape.recording():
            yield
        self.tape = tape

    def launch(self) -> None:
        """Carry out what was written down."""
        assert Tape.current is None and self.tape.runs
        self.launches += 1
        with np.errstate(all="ignore"):
            for run in self.tape.runs:
                run()

    @property
    def memory(self) -> int:
        """Bytes taken."""
        return self.pool.taken
