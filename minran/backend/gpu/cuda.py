"""The GPU through CuPy: is there one, how its memory is had, how kernels are compiled and run.

The only file that names CuPy. Each way to fail ends in one sentence with its remedy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minran.backend.gpu.graph import CudaRecorder
from minran.backend.gpu.upload import CudaUploader
from minran.errors import BackendError, expect, pip_install

_INSTALL = f"{pip_install('gpu')} (for a driver of CUDA 13: {pip_install('gpu13')})"
_WHEELS = "cupy-cuda12x", "cupy-cuda13x"
_WITHOUT = 'without a GPU, minran.use("numpy") runs everything on the CPU'
_OPTIONS = ("-std=c++17",)
_OF_CUPY = "-ftz=true", "--device-as-default-execution-space"  # it adds these by itself
_FOLDER = Path(__file__).parent / "kernels"

Size = tuple[int, ...]


def ensure_available() -> None:
    """Raise BackendError, saying what is missing and what helps, unless CuPy can use a GPU."""
    # The wheels for CUDA 12 and 13 write to one folder: what lies there then is neither of them.
    wheels = [name for name in _WHEELS if any(distributions(name=name))]
    both = f"{' and '.join(wheels)} are installed, and write to one folder"
    remedy = f"pip uninstall {' '.join(wheels)}, then {_INSTALL}"
    expect(len(wheels) < 2, f"{both}; run {remedy}", BackendError)
    cupy = _import_cupy()
    runtime = cupy.cuda.runtime
    driver, built = runtime.driverGetVersion() // 1000, runtime.runtimeGetVersion() // 1000
    missing = f"no NVIDIA driver was found, which the cupy backend needs; {_WITHOUT}"
    expect(runtime.driverGetVersion() > 0, missing, BackendError)
    expect(
        driver >= built,
        f"the installed CuPy is made for CUDA {built}, but the NVIDIA driver knows CUDA {driver} "
        "at most: update the driver, or install the CuPy for it "
        f'(pip install "cupy-cuda{driver}x[ctk]")',
        BackendError,
    )
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise BackendError(f"the NVIDIA driver finds no usable GPU ({error}); {_WITHOUT}") from None
    expect(count > 0, f"the NVIDIA driver finds no GPU; {_WITHOUT}", BackendError)
    try:
        cupy.cuda.nvrtc.getVersion()
    except (RuntimeError, ImportError):  # what CuPy raises when the library is not there
        what = "CuPy lacks NVRTC, the compiler that builds our kernels"
        raise BackendError(f"{what}; run {_INSTALL}") from None


def _import_cupy() -> ModuleType:
    try:
        import cupy
    except ModuleNotFoundError:
        what = "CuPy, which the cupy backend needs, is not installed"
        raise BackendError(f"{what}; run {_INSTALL}") from None
    except ImportError as error:
        reason = next(iter(str(error).strip().splitlines()), "no reason")
        what = f"CuPy is installed but cannot be imported ({reason})"
        raise BackendError(f"{what}; run {_INSTALL}") from error
    return cupy  # type: ignore[no-any-return]


def describe() -> str:
    """The GPU and the versions beneath it, for the record of a run."""
    cupy = _import_cupy()
    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    cuda = runtime.runtimeGetVersion()
    return f"{name}, CUDA {cuda // 1000}.{cuda % 1000 // 10}, CuPy {cupy.__version__}"


def source(file: str) -> str:
    """The text of a file of kernels, with the files that it includes in their places."""
    seen = []

    def read(name: str) -> str:
        if name in seen:
            return ""
        seen.append(name)
        text = (_FOLDER / name).read_text(encoding="utf-8").replace("#pragma once", "")
        return re.sub(r'^#include "(.*)"$', lambda found: read(found[1]), text, flags=re.M)

    return read(file)


def compiled(file: str, instances: list[str], architecture: int) -> tuple[bytes, dict[str, str]]:
    """The machine code of kernels, and the instances by the names they have in it; without a GPU.

    architecture: 90 for sm_90. Raises BackendError without NVIDIA's compiler, and with what it says
    of an instance that does not compile.
    """
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        need = "pip install nvidia-cuda-nvrtc-cu12 cuda-bindings"
        raise BackendError(f"NVIDIA's compiler is missing ({error}); run {need}") from None
    _, program = nvrtc.nvrtcCreateProgram(source(file).encode(), file.encode(), 0, [], [])
    for name in instances:
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    options = [f"-arch=sm_{architecture}", *_OPTIONS, *_OF_CUPY]
    (failed,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    if failed:
        log = b" " * nvrtc.nvrtcGetProgramLogSize(program)[1]
        nvrtc.nvrtcGetProgramLog(program, log)
        what = f"{file} does not compile for sm_{architecture}"
        raise BackendError(f"{what}: {log.decode().strip(chr(0)).strip()}")
    _, size = nvrtc.nvrtcGetCUBINSize(program)
    code = b" " * size
    nvrtc.nvrtcGetCUBIN(program, code)
    lowered = (nvrtc.nvrtcGetLoweredName(program, name.encode())[1] for name in instances)
    return code, {short.decode(): name for short, name in zip(lowered, instances, strict=True)}


class CudaDevice:
    """CuPy's arrays, and our kernels on its current stream."""

    def __init__(self) -> None:
        self.xp: Any = _import_cupy()
        self._kernels: dict[tuple[str, str], Any] = {}

    @cached_property
    def has_tf32(self) -> bool:
        """Do the tensor cores know TF32? They do from compute capability 8.0 on."""
        return int(self.xp.cuda.Device().compute_capability) >= 80

    def launch(self, file: str, kernel: str, grid: Size, block: Size, args: list) -> None:
        """Launch on the current stream, and return before the kernel has run."""
        key = file, kernel
        if key not in self._kernels:
            # One module for each instance: only what is used is compiled, a second or so each,
            # and CuPy keeps the result on disk.
            text, names = source(file), (kernel,)
            module = self.xp.RawModule(code=text, options=_OPTIONS, name_expressions=names)
            self._kernels[key] = module.get_function(kernel)
        self._kernels[key](grid, block, tuple(args))

    @cached_property
    def _second(self) -> Any:
        return self.xp.cuda.Stream(non_blocking=True)

    @contextmanager
    def concurrently(self, work: Callable[[], None]) -> Iterator[None]:
        """Launch `work` on a second stream during the block: what comes after waits for both.

        `work` takes no memory, which would belong to the second stream, and what it reads and
        writes is held until the end of the block: until then nothing else can get that memory.
        """
        first, event = self.xp.cuda.get_current_stream(), self.xp.cuda.Event
        self._second.wait_event(first.record(event(disable_timing=True)))
        with self._second:
            work()
        done = self._second.record(event(disable_timing=True))
        try:
            yield
        finally:
            first.wait_event(done)

    def address(self, array: Any) -> int:
        """Where the array starts in the GPU's memory."""
        return int(array.data.ptr)

    def empty(self, shape: Size, dtype: Any) -> Any:
        """An uninitialised array; BackendError with what is free when there is no room."""
        try:
            return self.xp.empty(shape, dtype)
        except self.xp.cuda.memory.OutOfMemoryError:
            raise self._no_room(shape, dtype) from None

    def place(self, array: np.ndarray) -> Any:
        """A copy of a host's array; BackendError with what is free when there is no room."""
        try:
            return self.xp.asarray(array)
        except self.xp.cuda.memory.OutOfMemoryError:
            raise self._no_room(array.shape, array.dtype) from None

    def recorder(self) -> CudaRecorder:
        """What records a training step and replays it."""
        return CudaRecorder(self.xp)

    def free_memory(self) -> int:
        """Bytes that nobody uses, and those that CuPy keeps for new arrays."""
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return int(free + self.xp.get_default_memory_pool().free_bytes())

    def uploader(self, targets: Sequence[Any]) -> CudaUploader:
        """What copies batches into `targets` while the GPU works."""
        return CudaUploader(self.xp, targets)

    def _no_room(self, shape: Size, dtype: Any) -> BackendError:
        needed = math.prod(shape) * self.xp.dtype(dtype).itemsize
        free, total = self.free_memory(), self.xp.cuda.runtime.memGetInfo()[1]
        return BackendError(
            f"the GPU's memory is full: {needed / 2**20:,.0f} MiB more were needed, "
            f"{free / 2**20:,.0f} of its {total / 2**20:,.0f} MiB are free; use a smaller batch"
        )
