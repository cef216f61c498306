"""From a file of kernels to a launch: which code, on which device, with which arguments.

A `Program` is one `.cu` file and the names of its kernels. `program.launch(...)` hands a kernel,
its grid of blocks and its arguments to the current device: the GPU through CuPy (`cuda.py`), or
in the tests an emulation that runs the same source on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from minran.backend import weight_dtype
from minran.errors import ShapeError, expect

_FOLDER = Path(__file__).parent / "kernels"

MAX_ELEMENTS = 1 << 30
"""Kernels count numbers with 32-bit integers: no array may hold more than this."""

THREADS = 256
"""Threads of a block of the kernels that treat each number alone."""

MAX_BLOCKS = 4096
"""Enough blocks to fill any GPU; a grid-stride loop covers what lies beyond."""

Size = tuple[int, ...]


class Device(Protocol):
    """Where kernels run: an array library and a way to launch compiled source."""

    xp: Any

    @property
    def has_tf32(self) -> bool:
        """Does it multiply in TF32?"""

    def launch(self, program: Program, kernel: str, grid: Size, block: Size, args: list) -> None:
        """Run `kernel`, an instance such as "relu<float>", over a grid of blocks."""

    def address(self, array: Any) -> int:
        """Where the array starts in the device's memory."""

    def empty(self, shape: Size, dtype: Any) -> Any:
        """An array with nothing in it; BackendError in one sentence if memory is short."""

    def place(self, array: np.ndarray) -> Any:
        """A copy of a host's array; BackendError in one sentence if memory is short."""

    @property
    def is_recording(self) -> bool:
        """Whether launches are written down at the moment instead of carried out."""

    def recorder(self) -> Recorder:
        """What records a training step and replays it."""


class Recorder(Protocol):
    """Records launches as one CUDA graph and replays them; `graph.py` says how.

    Use: inside `working()`, run the step a few times, then once more inside `recording()`;
    outside, `launch()` as often as wanted.
    """

    def working(self) -> AbstractContextManager[None]:
        """The block runs on a stream of its own and takes memory that nobody else gets."""

    def recording(self) -> AbstractContextManager[None]:
        """The block's launches are written down, not carried out; it may not wait or copy."""

    def launch(self) -> None:
        """Carry out what was recorded, all at once."""

    @property
    def memory(self) -> int:
        """Bytes of the device's memory that the recorded step keeps."""


_device: Device | None = None


def device() -> Device:
    """The device in use: the GPU, unless `using` said otherwise."""
    global _device
    if _device is None:
        from minran.backend.gpu.cuda import CudaDevice

        _device = CudaDevice()
    return _device


@contextmanager
def using(other: Device) -> Iterator[None]:
    """Run kernels on another device for a while."""
    global _device
    previous, _device = _device, other
    try:
        yield
    finally:
        _device = previous


class Program:
    """The kernels of one file; each instance is compiled when it is first launched.

    `instances` are named with all template arguments (`"pool<float>"`), `kernels` without: they
    exist for float and double alike.
    """

    def __init__(self, file: str, kernels: Sequence[str], instances: Sequence[str] = ()) -> None:
        both = [f"{name}<{real}>" for name, real in product(kernels, ("float", "double"))]
        self.file, self.instances = file, (*both, *instances)

    @property
    def source(self) -> str:
        """The text of the file, with the files that it includes in their places."""
        return _read(self.file, set())

    def launch(self, kernel: str, grid: Size, block: Size, *args: Any) -> None:
        """Launch `kernel` over `grid` blocks of `block` threads; nothing if the grid is empty.

        Arguments: arrays, ints (int in the kernel), NumPy scalars (their own type) and None (a
        null pointer).
        """
        if 0 not in grid:
            device().launch(self, kernel, grid, block, [_argument(arg) for arg in args])

    def map(self, kernel: str, count: int, *args: Any) -> None:
        """Launch a kernel whose threads each treat their share of `count` numbers."""
        self.launch(kernel, (min(ceil_divide(count, THREADS), MAX_BLOCKS),), (THREADS,), *args)


def _read(file: str, seen: set[str]) -> str:
    lines = []
    for line in (_FOLDER / file).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#include"):
            lines.append(line)
        elif (name := line.split('"')[1]) not in seen:
            seen.add(name)
            lines.append(_read(name, seen))
    return "\n".join(lines).replace("#pragma once", "") + "\n"


def _argument(arg: Any) -> Any:
    if arg is None:
        return np.uintp(0)
    # A plain int would travel as 64 bits, and a kernel's int has 32.
    return np.int32(arg) if isinstance(arg, (bool, int)) else arg


def ceil_divide(a: int, b: int) -> int:
    """How many pieces of `b` cover `a`."""
    return -(-a // b)


_NAMES = {"float32": "float", "float64": "double", "bfloat16": "bfloat16"}
BFLOAT16 = "bfloat16"
"""What NumPy calls the dtype once ml_dtypes is imported, and what C++ calls it, too."""


def real(dtype: Any) -> str:
    """What C++ calls `dtype`: float or double. Raises ShapeError for any other."""
    name = _NAMES.get(np.dtype(dtype).name)
    expect(
        name in ("float", "double"),
        f"this GPU kernel works on float32 or float64, got {np.dtype(dtype)}",
    )
    return str(name)


def stored(dtype: Any) -> str:
    """What C++ calls the dtype of a map: float, double or bfloat16. ShapeError for any other."""
    name = _NAMES.get(np.dtype(dtype).name)
    expect(
        name is not None,
        f"GPU kernels work on maps of bfloat16, float32 or float64, got {np.dtype(dtype)}",
    )
    return str(name)


def operand(x: Any, dtype: Any = None) -> Any:
    """The array x as a kernel reads it: on the device, contiguous, of `dtype` if one is given.

    Nothing is copied if x is so already. Raises ShapeError for arrays that are too large.
    """
    expect(
        x.size <= MAX_ELEMENTS,
        f"GPU kernels take arrays of at most {MAX_ELEMENTS} numbers, got {x.size}: "
        "use a smaller batch",
        ShapeError,
    )
    xp = device().xp
    other = dtype is not None and x.dtype != dtype
    # From and to bfloat16 through a kernel of our own: it can be part of a recorded step, and
    # rounds as all others do. What follows then has nothing left to do, but for float64.
    if other and BFLOAT16 in (x.dtype.name, np.dtype(dtype).name):
        x = _between(xp.asarray(x, order="C"), np.dtype(dtype))
    return xp.asarray(x, dtype, order="C")


def operands(*arrays: Any) -> list[Any]:
    """Arrays as kernels read them, all in the dtype of the first; None stays None."""
    first = operand(arrays[0])
    return [first, *(None if x is None else operand(x, first.dtype) for x in arrays[1:])]


CONVERT = Program("convert.cu", (), ("convert<float, bfloat16>", "convert<bfloat16, float>"))


def _between(x: Any, dtype: np.dtype[Any]) -> Any:
    """A contiguous bfloat16 array as float32, for any other dtype; others as bfloat16."""
    if dtype.name == BFLOAT16:
        x = device().xp.asarray(x, np.float32)
    else:
        dtype = np.dtype(np.float32)
    y = empty(x.shape, dtype)
    CONVERT.map(f"convert<{stored(x.dtype)}, {stored(dtype)}>", x.size, x, y, x.size)
    return y


def for_maps(*kernels: str) -> list[str]:
    """The instances of kernels that treat maps, however these are stored."""
    return [f"{name}<{kind}>" for name, kind in product(kernels, _NAMES.values())]


def in_pieces(*kernels: str) -> list[str]:
    """The instances of kernels whose threads treat 4 neighbouring channels, or 1 (`piece_of`)."""
    kinds = ("float, 4", "float, 1", "double, 1", "bfloat16, 4", "bfloat16, 1")
    return [f"{name}<{kind}>" for name, kind in product(kernels, kinds)]


def piece_of(x: Any, channels: int, *others: Any) -> int:
    """How many neighbouring channels a thread may read at once: 4 if all lie on 16 bytes, or 1."""
    arrays = [array for array in (x, *others) if array is not None]
    aligned = all(device().address(array) % 16 == 0 for array in arrays)
    return 4 if weight_dtype(x.dtype) == np.float32 and channels % 4 == 0 and aligned else 1


def put_back(arrays: Sequence[Any], changed: Sequence[Any]) -> None:
    """After an update in place: what was updated as a contiguous copy goes where it belongs."""
    for array, copy in zip(arrays, changed, strict=True):
        if copy is not array:
            array[...] = copy


def empty(shape: Size, dtype: Any) -> Any:
    """A new array for a kernel to write to."""
    return device().empty(shape, dtype)


def empty_like(x: Any) -> Any:
    """A new array with the shape and the dtype of x."""
    return device().empty(x.shape, x.dtype)


def place(array: np.ndarray) -> Any:
    """A copy of a host's array on the device. Raises BackendError if memory is short."""
    return device().place(array)


def is_recording() -> bool:
    """Whether launches are written down for a graph at the moment, not carried out."""
    return device().is_recording


def recorder() -> Recorder:
    """A new recorder: see `Recorder`."""
    return device().recorder()
