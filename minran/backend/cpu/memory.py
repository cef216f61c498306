"""Arrays that start on a cache line and whose memory is used again.

A fresh large array costs a page fault per 4 KiB, often more than the operation that
fills it, and NumPy's own memory starts at any multiple of 16 bytes, which splits every
vector load over two cache lines. `empty` hands out 64-byte aligned arrays and, when the
last view of one is gone, keeps its memory for the next array of the same size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minran import machine
from minran.backend.cpu.blocks import TUNING

_ALIGNMENT = 64
_SMALL = 1 << 14
"""Below 16 KiB NumPy's own cache of small arrays is at least as quick."""

_free: dict[int, list[tuple[bytearray, int]]] = {}
"""By size: memory that nobody uses, and where in it a cache line starts."""


class _Lease(np.ndarray):
    """The owner of all views of one pooled array; gives the memory back when it dies."""

    __slots__ = ("start",)
    start: int

    def __del__(self) -> None:
        if TUNING.reuse and isinstance(self.base, bytearray):
            _free.setdefault(self.nbytes, []).append((self.base, self.start))


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised, 64-byte aligned array of `shape`; memory of its size is used again."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < _SMALL:
        return np.empty(shape, dtype)
    try:
        raw, start = _free[nbytes].pop()
    except (KeyError, IndexError):
        raw = bytearray(nbytes + _ALIGNMENT)
        start = -np.frombuffer(raw, np.uint8).ctypes.data % _ALIGNMENT
    # Every view of the lease, and every view of a view, keeps the lease alive as its base:
    # NumPy shortens a chain of bases only across arrays, and a bytearray is none.
    lease = _Lease((nbytes,), np.uint8, buffer=raw, offset=start)
    lease.start = start
    return np.ndarray(shape, dtype, lease)


def empty_like(array: np.ndarray) -> np.ndarray:
    """An uninitialised array of the shape and dtype of `array`, C-contiguous."""
    return empty(array.shape, array.dtype)


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`empty`, filled with zeros."""
    array = empty(shape, dtype)
    array[...] = 0
    return array


def free_memory() -> int:
    """Bytes that arrays may still take, as the system says; what is pooled among them."""
    return machine.free_bytes() + pooled()


def release_memory() -> None:
    """Give the system back what nobody uses: the next arrays have other sizes."""
    _free.clear()


def pooled() -> int:
    """Bytes of memory that nobody uses, kept for the next arrays."""
    return sum(nbytes * len(stack) for nbytes, stack in _free.items())
