"""From a file of kernels to a launch: on which device, with which arguments.

A `Program` is one `.cu` file. `program.launch(...)` hands a kernel, its grid of blocks and its
arguments to the current device: the GPU through CuPy (`cuda.py`), or in the tests an emulation
that runs the same source on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minran.backend import weight_dtype
from minran.backend.gpu.cuda import CudaDevice, Size
from minran.backend.gpu.graph import CudaRecorder
from minran.backend.gpu.upload import CudaUploader
from minran.errors import ShapeError, expect

Array = Any

MAX_ELEMENTS = 1 << 30
"""Kernels count numbers with 32-bit integers: no array may hold more than this."""

THREADS = 256
"""Threads of a block of the kernels that treat each number alone."""

MAX_BLOCKS = 4096
"""Enough blocks to fill any GPU; a grid-stride loop covers what lies beyond."""

TILE = 16
"""Blocks that sum over pixels have 16 x 16 threads, for 16 channels (TILE in common.cuh)."""

TILE_ROWS = 64
"""Rows of threads that add up tiles of products (TILE_ROWS in common.cuh)."""

LINE = 64
"""Blocks that sum over channels or classes have 64 threads (LINE in common.cuh)."""

BFLOAT16 = "bfloat16"
"""What NumPy calls the dtype once ml_dtypes is imported, and what C++ calls it, too."""

_device: CudaDevice | None = None


def device() -> CudaDevice:
    """The device in use: the GPU, unless `using` said otherwise."""
    global _device
    if _device is None:
        _device = CudaDevice()
    return _device


@contextmanager
def using(other: Any) -> Iterator[None]:
    """Run kernels on another device, with the methods of `CudaDevice`, for a while."""
    global _device
    previous, _device = _device, other
    try:
        yield
    finally:
        _device = previous


_REAL = {"float32": "float", "float64": "double"}
_STORED = _REAL | {BFLOAT16: BFLOAT16}


def real(dtype: Any) -> str:
    """What C++ calls `dtype`: float or double. Raises ShapeError for any other."""
    name = np.dtype(dtype).name
    expect(name in _REAL, f"this GPU kernel works on float32 or float64, got {name}")
    return _REAL[name]


def stored(dtype: Any) -> str:
    """What C++ calls the dtype of a map: float, double or bfloat16. ShapeError for any other."""
    name = np.dtype(dtype).name
    expect(name in _STORED, f"GPU kernels work on maps of bfloat16, float32 or float64, got {name}")
    return _STORED[name]


class Program:
    """The kernels of one file; each instance is compiled when it is first launched.

    Arguments of a launch: arrays, ints (int in the kernel), NumPy scalars (their own type) and
    None (a null pointer). Where an array `x` leads them, its dtype names the instance of the
    template, `relu<float>`, by `named`: `stored`, or `real` for kernels that see no maps.
    """

    def __init__(self, file: str, named: Callable[[Any], str] = stored) -> None:
        self.file, self.named = file, named

    def launch(self, instance: str, grid: Size, block: Size, *args: Any) -> None:
        """Launch over `grid` blocks of `block` threads, if there are any."""
        if 0 not in grid:
            device().launch(self.file, instance, grid, block, [_argument(arg) for arg in args])

    def map(self, instance: str, count: int, *args: Any) -> None:
        """Launch a kernel whose threads each treat their share of `count` numbers."""
        self.launch(instance, (min(ceil_divide(count, THREADS), MAX_BLOCKS),), (THREADS,), *args)

    def fill(self, kernel: str, x: Array, *args: Any, piece: int | None = None) -> Array:
        """The same, for as many numbers as x has, or pieces of so many; returns x."""
        template = self.named(x.dtype) + (f", {piece}" if piece else "")
        self.map(f"{kernel}<{template}>", x.size // (piece or 1), *args)
        return x

    def lines(self, kernel: str, x: Array, count: int, *args: Any) -> None:
        """Launch `count` blocks that each sum over channels or classes."""
        self.launch(f"{kernel}<{self.named(x.dtype)}>", (count,), (LINE,), *args)

    def tiles(
        self, kernel: str, x: Array, channels: int, others: Size, *args: Any, rows: int = TILE
    ) -> None:
        """Launch blocks that sum over pixels for 16 of the channels, for each of `others`."""
        grid = ceil_divide(channels, TILE), *others
        self.launch(f"{kernel}<{self.named(x.dtype)}>", grid, (TILE, rows), *args)


def _argument(arg: Any) -> Any:
    if arg is None:
        return np.uintp(0)
    # A plain int would travel as 64 bits, and a kernel's int has 32.
    return np.int32(arg) if isinstance(arg, (bool, int)) else arg


def pair_of(run: Callable[..., Array], kernel: str) -> tuple[Callable[..., Array], ...]:
    """A kernel and its backward, which needs nothing but y: `run(name, *arrays)` launches them."""

    def forward(x: Array) -> Array:
        return run(kernel, x)

    def backward(gy: Array, y: Array) -> Array:
        return run(f"{kernel}_backward", gy, y)

    return forward, backward


def ceil_divide(a: int, b: int) -> int:
    """How many pieces of `b` cover `a`."""
    return -(-a // b)


def operand(x: Array, dtype: Any = None) -> Array:
    """The array x as a kernel reads it: on the device, contiguous, of `dtype` if one is given.

    Nothing is copied if x is so already. Raises ShapeError for arrays that are too large.
    """
    _expect_countable(x.size)
    xp = device().xp
    other = dtype is not None and x.dtype != dtype
    # From and to bfloat16 through a kernel of our own: it can be part of a recorded step, and
    # rounds as all others do. What follows then has nothing left to do, but for float64.
    if other and BFLOAT16 in (x.dtype.name, np.dtype(dtype).name):
        x = _between(xp.asarray(x, order="C"), np.dtype(dtype))
    return xp.asarray(x, dtype, order="C")


def operands(*arrays: Array | None, dtype: Any = None) -> list[Array]:
    """Arrays as kernels read them, of `dtype`, or all in that of the first; None stays None."""
    first = operand(arrays[0], dtype)
    return [first, *(None if x is None else operand(x, first.dtype) for x in arrays[1:])]


def _between(x: Array, dtype: np.dtype[Any]) -> Array:
    """A contiguous bfloat16 array as float32, for any other dtype; others as bfloat16."""
    if dtype.name == BFLOAT16:
        x = device().xp.asarray(x, np.float32)
    else:
        dtype = np.dtype(np.float32)
    y = empty(x.shape, dtype)
    instance = f"convert<{stored(x.dtype)}, {stored(dtype)}>"
    Program("convert.cu").map(instance, x.size, x, y, x.size)
    return y


def piece_of(x: Array, channels: int, *others: Array | None) -> int:
    """How many neighbouring channels a thread may read at once: of x 16 bytes, or 4 channels, or 1.

    1 for float64, and unless all arrays lie on 16 bytes.
    """
    arrays = [array for array in (x, *others) if array is not None]
    aligned = all(device().address(array) % 16 == 0 for array in arrays)
    wide = aligned and weight_dtype(x.dtype) == np.float32
    pieces = (16 // x.dtype.itemsize, 4) if wide else ()
    return next((piece for piece in pieces if channels % piece == 0), 1)


def put_back(arrays: Sequence[Array], changed: Sequence[Array]) -> None:
    """After an update in place: what was updated as a contiguous copy goes where it belongs."""
    for array, copy in zip(arrays, changed, strict=True):
        if copy is not array:
            array[...] = copy


def empty(shape: Size, dtype: Any) -> Array:
    """A new array for a kernel to write to. Raises ShapeError if it is too large."""
    _expect_countable(math.prod(shape))
    return device().empty(shape, dtype)


def empty_like(x: Array) -> Array:
    """One with the shape and the dtype of x."""
    return device().empty(x.shape, x.dtype)


def _expect_countable(size: int) -> None:
    if size > MAX_ELEMENTS:
        what = f"GPU kernels take arrays of at most {MAX_ELEMENTS} numbers, got {size}"
        raise ShapeError(f"{what}: use a smaller batch")


def place(array: np.ndarray) -> Array:
    """A copy of a host's array on the device. Raises BackendError if memory is short."""
    return device().place(array)


def free_memory() -> int:
    """Bytes that arrays may still take."""
    return int(device().free_memory())


def uploader(targets: Sequence[Array]) -> CudaUploader:
    """What copies batches into `targets` while the device works."""
    return device().uploader(targets)


def recorder() -> CudaRecorder:
    """What records a training step and replays it."""
    return device().recorder()
