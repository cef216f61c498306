"""A stand-in for the GPU: launches go to a library that g++ built from the same source.

Where a GPU would do something silently wrong, it says so: an argument of another type than the
kernel's parameter, an array that is not contiguous or not to be written to, a number written
outside an array. What is read outside an array, or before it was written, is NaN.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from emulation.arrays import DeviceArray, Library
from emulation.build import build, ensure_compiler, siblings
from emulation.graph import EmulatedRecorder, Held, Pool, Tape
from minran.backend import gpu
from minran.backend.gpu import launch
from minran.backend.gpu.cuda import Size, source

_GUARD = 4096  # bytes around each array
_NAN = 0xFF  # four or eight of these bytes are a NaN
_HUGE = 0x7F  # and of these a very large number: what was read outside is not what is outside here


@cache
def _library(text: str, instances: tuple[str, ...], optimise: bool = True) -> ctypes.CDLL:
    library = build(text, instances, "-O1" if optimise else "-O0")
    library.signature.restype = ctypes.c_char_p
    return library


class EmulatedUploader:
    """Copies a batch when it is taken, as late as a GPU may (`test_gpu_upload` has its streams)."""

    def __init__(self, targets: Sequence[Any]) -> None:
        self.targets = targets

    def send(self, *arrays: np.ndarray) -> None:
        """Note the batch."""
        self.arrays = [array.copy() for array in arrays]

    def take(self) -> None:
        """Put it where it goes."""
        for target, array in zip(self.targets, self.arrays, strict=True):
            target[...] = type(target)(array) if isinstance(target, DeviceArray) else array


class EmulatedDevice:
    """Runs kernels on NumPy arrays; `change(source)` may put a bug into the source first."""

    xp: Any = np

    def __init__(
        self,
        change: Callable[[str], str] | None = None,
        downwards: bool = False,
        has_tf32: bool = False,
        late: bool = False,
    ) -> None:
        ensure_compiler()
        self.change, self.downwards, self.has_tf32 = change, downwards, has_tf32
        self.late = late
        self._found: dict[tuple[str, str], tuple[ctypes.CDLL, int, list[str]]] = {}

    @contextmanager
    def concurrently(self, work: Callable[[], None]) -> Iterator[None]:
        """The work of a second stream runs before the block, or `late`, after it."""
        if not self.late:
            work()
        yield
        if self.late:
            work()

    def address(self, array: np.ndarray) -> int:
        """Where the array starts."""
        return array.ctypes.data

    def empty(self, shape: Size, dtype: Any) -> np.ndarray:
        """An array full of NaN: what a kernel forgets to write is seen."""
        array = Pool.current.array(shape, dtype) if Pool.current else np.empty(shape, dtype)
        if Tape.current is not None:
            return array
        array.reshape(-1).view(np.uint8)[...] = _NAN
        return array

    def place(self, array: np.ndarray) -> Any:
        """A copy of a host's array."""
        return self.xp.array(array)

    def free_memory(self) -> int:
        """As much as on a large GPU."""
        return 1 << 37

    def uploader(self, targets: Sequence[Any]) -> EmulatedUploader:
        """What copies batches."""
        return EmulatedUploader(targets)

    def recorder(self) -> EmulatedRecorder:
        """What records a step."""
        return EmulatedRecorder()

    def launch(self, file: str, kernel: str, grid: Size, block: Size, args: list) -> None:
        """Check the arguments, run the kernel, and check what it wrote; or write it all down."""
        args = [arg.host if isinstance(arg, DeviceArray) else arg for arg in args]
        if Tape.current is not None:
            held = Held(args)
            Tape.current.runs.append(lambda: self._run(file, kernel, grid, block, held.get()))
            return
        self._run(file, kernel, grid, block, args)

    def _run(self, file: str, kernel: str, grid: Size, block: Size, args: list) -> None:
        assert 1 <= np.prod(block) <= 1024, f"{kernel}: no GPU has blocks of {block} threads"
        assert max(grid[1:], default=1) < 2**16, f"{kernel}: no GPU takes a grid of {grid}"
        if (file, kernel) not in self._found:
            self._found[file, kernel] = self._find(file, kernel)
        library, index, parameters = self._found[file, kernel]
        assert len(parameters) == len(args), f"{kernel} takes {len(parameters)}, got {len(args)}"

        guarded: dict[int, _Guarded] = {}
        values = []
        for place, (parameter, arg) in enumerate(zip(parameters, args, strict=True)):
            what = f"{kernel}: argument {place} ({parameter})"
            values.append(_value(what, parameter, arg, guarded))
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        result = library.run(
            index, _three(grid), _three(block), pointers, ctypes.c_int(self.downwards)
        )
        assert result == 0, f"{kernel}: threads of a block wait at different barriers"
        for array in guarded.values():
            array.collect(kernel)

    def _find(self, file: str, kernel: str) -> tuple[ctypes.CDLL, int, list[str]]:
        """The library that holds `kernel`, its number there, and what its parameters are."""
        if self.change is None:
            instances = siblings(file, kernel)
            # Of the tensor cores' products there are many, and each runs in a test or two.
            hasty = "Tf32<" in kernel or "Bf16<" in kernel
            library = _library(source(file), instances, optimise=not hasty)
            index = instances.index(kernel)
        else:
            # A changed source is built for few launches: only what is launched, and in haste.
            text = self.change(source(file))
            library, index = _library(text, (kernel,), optimise=False), 0
        return library, index, library.signature(index).decode().split(",")


def _three(size: Size) -> ctypes.Array:
    return (ctypes.c_uint * 3)(*size, *[1] * (3 - len(size)))


def _value(what: str, parameter: str, arg: Any, guarded: dict[int, _Guarded]) -> np.ndarray:
    """The bytes of an argument, as a one-element array."""
    if not parameter.endswith("*"):
        assert isinstance(arg, np.generic) and arg.dtype == parameter, f"{what} got {arg!r}"
        return np.array([arg])
    if isinstance(arg, np.uintp):
        assert arg == 0, f"{what} got the address {arg}"
        return np.array([arg])
    constant, dtype = parameter.startswith("const "), parameter.removeprefix("const ")[:-1]
    assert isinstance(arg, np.ndarray) and arg.dtype.name == dtype, f"{what} got {arg!r}"
    assert arg.flags.c_contiguous, f"{what} is not contiguous"
    assert constant or arg.flags.writeable, f"{what} may not be written to"
    here = guarded.setdefault(arg.ctypes.data, _Guarded(arg))
    assert here.array.nbytes == arg.nbytes, f"{what} overlaps another argument"
    if not constant:
        here.guard(_HUGE)
    return np.array([here.buffer.ctypes.data + _GUARD], np.uintp)


class _Guarded:
    """A copy of an array between two guards."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.buffer = np.empty(array.nbytes + 2 * _GUARD, np.uint8)
        self.inside = self.buffer[_GUARD : _GUARD + array.nbytes]
        self.inside[...] = array.reshape(-1).view(np.uint8)
        self.guard(_NAN)

    def guard(self, fill: int) -> None:
        """Surround the copy with bytes that must stay."""
        self.fill = self.buffer[:_GUARD] = self.buffer[len(self.buffer) - _GUARD :] = fill

    def collect(self, kernel: str) -> None:
        """Take over what the kernel wrote, unless it wrote to the guards."""
        for guard in (self.buffer[:_GUARD], self.buffer[len(self.buffer) - _GUARD :]):
            assert (guard == self.fill).all(), (
                f"{kernel} wrote outside an array of shape {self.array.shape}"
            )
        if self.fill == _HUGE:
            self.array.reshape(-1).view(np.uint8)[...] = self.inside
        else:
            same = (self.inside == self.array.reshape(-1).view(np.uint8)).all()
            assert same, f"{kernel} changed an array that it may only read"


class RemoteDevice(EmulatedDevice):
    """The emulated device with arrays that, like a GPU's, are none of NumPy's."""

    xp = Library()

    def address(self, array: Any) -> int:
        """Where the array starts."""
        return super().address(array.host)

    def empty(self, shape: Size, dtype: Any) -> Any:
        """An array full of NaN."""
        return DeviceArray(super().empty(shape, dtype))


class EmulatedBackend:
    """`minran.backend.gpu`, with every kernel running on an emulated device."""

    name = "emulated"

    def __init__(self, device: EmulatedDevice | None = None) -> None:
        self.device = device or EmulatedDevice()
        self.xp = self.device.xp

    def describe(self) -> str:
        """What there is instead of a GPU."""
        return "emulated GPU"

    def __getattr__(self, kernel: str) -> Callable[..., Any]:
        function = getattr(gpu, kernel)

        def call(*args: Any, **options: Any) -> Any:
            with launch.using(self.device):
                return function(*args, **options)

        return call
