"""A backend that computes nothing: arrays with shapes and dtypes, whose bytes are counted.

A step of training runs through it in milliseconds, whatever its size, and its `Ledger` then knows
how much memory it would have taken. Every array that a kernel makes is a view of a few bytes with
strides of 0: its numbers mean nothing. Only `inspect.memory` chooses it.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from minran import backend
from minran.backend import world
from minran.backend.cpu import blocks, fused
from minran.backend.cpu.conv import COLUMN_BLOCK_BYTES
from minran.backend.geometry import Pair, conv_sizes, pool_sizes
from minran.backend.gpu.conv import slices_of

Array = Any
name = "shapes"


class Ledger:
    """What is held, and what was held at most, on the CPU or on a GPU.

    held, most: bytes now and at the peak; by_place: bytes now by `place`, which is where the
    arrays that are made next belong; copies: by size in bytes, the most arrays that were held
    together, since the CPU keeps memory for the next array of the same size only
    (`backend/cpu/memory`); buffers: bytes that its threads work in, kept in the same way.
    """

    def __init__(self, gpu: bool) -> None:
        self.gpu, self.place = gpu, ""
        self.held = self.most = 0
        self.by_place: Counter[str] = Counter()
        self.copies: Counter[int] = Counter()
        self._now: Counter[int] = Counter()
        self._buffers: set[int] = set()

    @property
    def peak(self) -> int:
        """Bytes of arrays that the backend takes from the system."""
        return self.most if self.gpu else sum(size * n for size, n in self.copies.items())

    @property
    def buffers(self) -> int:
        """Bytes of what each thread works in."""
        return blocks.threads() * sum(self._buffers)

    def take(self, size: int, place: str) -> None:
        """An array of `size` bytes is made."""
        self.held += size
        self.most = max(self.most, self.held)
        self.by_place[place] += size
        self._now[size] += 1
        self.copies[size] = max(self.copies[size], self._now[size])

    def give(self, size: int, place: str) -> None:
        """The last view of it is gone."""
        self.held -= size
        self.by_place[place] -= size
        self._now[size] -= 1

    def work(self, x: Array, y: Array, kernel: int, padding: int, block: int, plain: bool) -> None:
        """Note the buffers of a convolution x -> y on the CPU: columns, a frame, the normalised x.

        block: of how many bytes its blocks are; plain: no norm comes before it.
        """
        columns = kernel * kernel * x.shape[3] * math.prod(y.shape[1:3]) * x.itemsize
        rows, width = (side + 2 * padding for side in x.shape[1:3])
        frame, own = rows * width * x.shape[3] * x.itemsize, math.prod(x.shape[1:]) * x.itemsize
        sample = max(columns if plain else own, math.prod(y.shape[1:]) * y.itemsize)
        each = [columns, frame] * (kernel > 1) + [own] * (not plain)
        for cut in blocks.block_ranges(len(x), sample, block):
            self._buffers.update((cut.stop - cut.start) * size for size in each)

    def slices(self, x: Array, w: Array, y: Array) -> None:
        """Note the parts of a gradient of filters on a GPU, which are added up (`gpu/conv`).

        At most so many: for the engine with the fewest threads, and so the most parts.
        """
        taps, outputs, pixels = math.prod(w.shape[:3]), w.shape[3], math.prod(y.shape[:3])
        threads = math.ceil(taps / 64) * math.ceil(outputs / 32) * 64
        count, _ = slices_of(threads, pixels)
        if count > 1:
            self.most = max(self.most, self.held + count * w.size * w.itemsize)


ledger = Ledger(gpu=False)


class _Alone(world.World):
    """One process, and never a batch of one value, which batch norm would refuse to train on."""

    def counts(self, count: int) -> list[int]:
        return [max(count, 2)]


@contextmanager
def counted(gpu: bool) -> Iterator[Ledger]:
    """Within the block this is the backend, what is made is counted, and nobody else is asked."""
    global ledger
    ledger, before, processes = Ledger(gpu), backend.current(), world.current()
    try:
        backend._current = sys.modules[__name__]
        world.install(_Alone())
        yield ledger
    finally:
        backend._current = before
        world.install(processes)


class _Owner(np.ndarray):
    """The few bytes of all views of one array; tells its ledger when the last one is gone."""

    __slots__ = ("entry",)
    entry: tuple[Ledger, int, str]

    def __del__(self) -> None:
        if entry := getattr(self, "entry", None):  # views of the owner itself have none
            entry[0].give(*entry[1:])


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of which only shape and dtype are real."""
    dtype = np.dtype(dtype)
    owner = _Owner((dtype.itemsize,), np.uint8, buffer=bytearray(dtype.itemsize))
    owner.entry = ledger, math.prod(shape) * dtype.itemsize, ledger.place
    ledger.take(*owner.entry[1:])
    return np.ndarray(shape, dtype, owner, strides=(0,) * len(shape))


def like(array: Array) -> Array:
    """An array of the shape and dtype of another."""
    return empty(array.shape, array.dtype)


def vector(x: Array) -> Array:
    """One float64 number a channel."""
    return np.ones(x.shape[-1])


class _NumPy:
    """NumPy, except what makes large arrays in a network's step."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def concatenate(self, arrays: Any, axis: int) -> Array:
        sizes = list(arrays[0].shape)
        sizes[axis] = sum(array.shape[axis] for array in arrays)
        return empty(tuple(sizes), arrays[0].dtype)


xp = _NumPy()


def _results(places: tuple[int, ...], *args: Any) -> Any:
    made = tuple(like(args[place]) for place in places)
    return made if len(made) > 1 else made[0]


# Of kernels whose results have the shapes of arguments: their numbers. Of others: the results.
_LIKE = {
    "relu": (0,),
    "relu_backward": (0,),
    "sigmoid": (0,),
    "sigmoid_backward": (0,),
    "channel_attention_backward": (0,),
    "spatial_attention_backward": (0,),
    "gate": (0,),
    "gate_backward": (1, 2),
    "max_pool2d_backward": (1,),
    "batch_norm": (0,),
    "batch_norm_backward_input": (1,),
    "softmax": (0,),
    "softmax_backward": (0,),
    "log_softmax": (0,),
    "log_softmax_backward": (0,),
    "cross_entropy_backward": (1,),
}
_MADE: dict[str, Callable[..., Any]] = {
    "add": lambda a, b, out=None: like(a) if out is None else out,
    "channel_attention": lambda x, eps: (like(x), empty((*x.shape[:-1], 1), x.dtype)),
    "avg_pool2d_backward": lambda gy, x_shape, *window: empty(x_shape, gy.dtype),
    "global_avg_pool": lambda x: empty((len(x), x.shape[3]), x.dtype),
    "global_avg_pool_backward": lambda gy, x_shape: empty(x_shape, gy.dtype),
    "upsample_bilinear2d": lambda x, size, corners: empty((len(x), *size, x.shape[3]), x.dtype),
    "upsample_bilinear2d_backward": lambda gy, x_shape, corners: empty(x_shape, gy.dtype),
    "batch_moments": lambda x: (vector(x), vector(x)),
    "finish_norm": lambda moments, *vectors: (*vectors[:2], moments[0], vector(moments[0])),
    "batch_norm_backward_sums": lambda gy, x, *others: (vector(x), vector(x)),
    "linear": lambda x, w: empty((len(x), w.shape[1]), w.dtype),  # also of features in bfloat16
    "linear_backward": lambda gy, x, w, need_gx: (like(x) if need_gx else None, like(w)),
    "cross_entropy": lambda logits, targets: (np.zeros((), logits.dtype), like(logits)),
    "sgd_update": lambda *args: None,
}
globals().update({kernel: partial(_results, places) for kernel, places in _LIKE.items()} | _MADE)


def spatial_attention(x: Array, eps: float) -> tuple[Array, Array, Array]:
    n, _, _, c = x.shape
    return like(x), empty((n, 1, 1, c), x.dtype), empty((n, 1, 1, c), x.dtype)


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair, groups: int) -> Array:
    sizes = conv_sizes(x.shape[1:3], w.shape[:2], stride, padding)
    y = empty((len(x), *sizes, w.shape[3]), x.dtype)
    ledger.work(x, y, len(w), padding[0], COLUMN_BLOCK_BYTES, plain=True)
    return y


def conv2d_backward(
    gy: Array, x: Array, w: Array, stride: Pair, padding: Pair, groups: int, need_gx: bool = True
) -> tuple[Array | None, Array]:
    read, made = (gy, x) if need_gx and stride == (1, 1) and groups == 1 else (x, gy)
    ledger.work(read, made, len(w), padding[0], COLUMN_BLOCK_BYTES, plain=True)
    ledger.slices(x, w, gy)
    return like(x) if need_gx else None, like(w)


def norm_relu_conv2d(
    x: Array, norm: Any, w: Array, stride: int, padding: int, residual: Any, with_moments: bool
) -> tuple[Array, Any]:
    sizes = conv_sizes(x.shape[1:3], w.shape[:2], (stride, stride), (padding, padding))
    y = empty((len(x), *sizes, w.shape[3]), x.dtype)
    ledger.work(x, y, len(w), padding, fused.block_bytes(len(w)), plain=False)
    return y, (vector(y), vector(y)) if with_moments else None


def norm_relu_conv2d_backward(
    gy: Array, x: Array, norm: Any, w: Array, stride: int, padding: int, whole: Any, earlier: Any
) -> tuple[Array, ...]:
    read, made = (gy, x) if stride == 1 else (x, gy)
    ledger.work(read, made, len(w), padding, fused.block_bytes(len(w)), plain=False)
    ledger.slices(x, w, gy)
    return like(x), like(w), vector(x), vector(x)


def folded_unit(x: Array, *others: Any) -> Array:
    *_, w3, _, stride = others
    sizes = conv_sizes(x.shape[1:3], (3, 3), (stride, stride), (1, 1))
    return empty((len(x), *sizes, w3.shape[3]), x.dtype)


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    sizes = pool_sizes(x.shape[1:3], kernel, stride, padding, ceil_mode)
    return empty((len(x), *sizes, x.shape[3]), x.dtype)


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    return max_pool2d(x, kernel, stride, padding, False)
