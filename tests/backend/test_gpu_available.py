"""What can be missing for the cupy backend, and the one sentence that says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

import minran
from minran import backend, distributed
from minran.backend.gpu import cuda, launch
from minran.errors import BackendError, ShapeError


class DriverError(RuntimeError):
    """CuPy's CUDARuntimeError."""


class OutOfMemoryError(MemoryError):
    """CuPy's own."""


def fake_cupy(
    monkeypatch: pytest.MonkeyPatch,
    driver: int = 12080,
    built: int = 12090,
    count: int = 1,
    nvrtc: bool = True,
) -> Any:
    """A module with what `ensure_available` asks CuPy for; everything is well unless said."""
    cupy: Any = ModuleType("cupy")
    cupy.cuda = ModuleType("cupy.cuda")
    cupy.cuda.nvrtc = ModuleType("cupy.cuda.nvrtc")
    cupy.cuda.runtime = runtime = ModuleType("cupy.cuda.runtime")
    cupy.cuda.memory = ModuleType("cupy.cuda.memory")

    def get_count() -> int:
        if count < 0:
            raise DriverError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return count

    def get_version() -> tuple[int, int]:
        if not nvrtc:
            raise RuntimeError("Failure finding libnvrtc.so.12")
        return 12, 9

    def empty(shape: tuple[int, ...], dtype: Any) -> None:
        raise OutOfMemoryError

    runtime.driverGetVersion = lambda: driver
    runtime.runtimeGetVersion = lambda: built
    runtime.getDeviceCount = get_count
    runtime.CUDARuntimeError = DriverError
    runtime.getDeviceProperties = lambda device: {"name": b"NVIDIA Test 1"}
    runtime.memGetInfo = lambda: (300 * 2**20, 8000 * 2**20)
    cupy.cuda.nvrtc.getVersion = get_version
    cupy.cuda.memory.OutOfMemoryError = OutOfMemoryError
    pool: Any = ModuleType("pool")
    pool.free_bytes = lambda: 200 * 2**20
    cupy.get_default_memory_pool = lambda: pool
    cupy.cuda.Device, cupy.__version__ = lambda: SimpleNamespace(id=0), "14.2.0"
    cupy.empty, cupy.dtype = empty, np.dtype
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def message(name: str = "cupy") -> str:
    """What `use` says: one sentence."""
    with pytest.raises(BackendError) as caught:
        minran.use(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["cupy", "gpu"])
def test_no_cupy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    text = message(name)
    assert "not installed" in text and 'pip install "minran[gpu]"' in text
    assert backend.current().name == "numpy"


def test_a_broken_cupy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text('raise ImportError("libsomething.so is missing\\nand more")')
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert "libsomething.so is missing" in message()


def test_the_wheels_for_two_cudas(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy(monkeypatch)
    monkeypatch.setattr(cuda, "distributions", lambda name: [name])
    text = message()
    assert "cupy-cuda12x and cupy-cuda13x are installed" in text and "minran[gpu13]" in text
    monkeypatch.setattr(cuda, "distributions", lambda name: [name] if "13" in name else [])
    cuda.ensure_available()


def test_several_gpus_without_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy, comm, mpi = fake_cupy(monkeypatch), MagicMock(), MagicMock()
    mpi.Win.Allocate.return_value = bytearray(8)
    cupy.cuda.nccl = SimpleNamespace(available=False)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cupy.cuda)
    with pytest.raises(BackendError, match=r'need NCCL.*pip install "nvidia-nccl-cu12"'):
        distributed.NCCLWorld(comm, mpi, 0)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy(monkeypatch, driver=0)
    assert "no NVIDIA driver" in message() and 'use("numpy")' in message()


def test_driver_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy(monkeypatch, driver=11080)
    text = message()
    assert "made for CUDA 12" in text and "CUDA 11" in text and "cupy-cuda11x[ctk]" in text


@pytest.mark.parametrize("count", [-1, 0])
def test_no_gpu(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    fake_cupy(monkeypatch, count=count)
    assert "GPU" in message() and 'use("numpy")' in message()


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy(monkeypatch, nvrtc=False)
    assert "NVRTC" in message() and 'pip install "minran[gpu]"' in message()


def test_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy(monkeypatch)
    cuda.ensure_available()
    assert cuda.describe() == "NVIDIA Test 1, CUDA 12.9, CuPy 14.2.0"


def test_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy(monkeypatch)
    with pytest.raises(BackendError) as caught, launch.using(cuda.CudaDevice()):
        launch.empty((1024, 1024, 250), np.float32)
    assert "1,000 MiB more were needed, 500 of its 8,000 MiB are free" in str(caught.value)
    assert "smaller batch" in str(caught.value)


def test_importing_minran_imports_no_cupy() -> None:
    script = (
        "import sys, pkgutil, importlib, minran, minran.backend.gpu\n"
        "import minran.nn, minran.models, minran.optim\n"
        "assert 'cupy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_only_one_file_of_the_backends_imports_cupy() -> None:
    package = Path(minran.__file__).parent / "backend"
    importing = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "import cupy" in path.read_text(encoding="utf-8").replace("`import cupy", "")
    ]
    assert importing == ["gpu/cuda.py"]


def test_too_many_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "MAX_ELEMENTS", 5)
    emulation = pytest.importorskip("emulation")
    with pytest.raises(ShapeError, match="smaller batch"):
        emulation.EmulatedBackend().relu(np.zeros(6, np.float32))
    with pytest.raises(ShapeError, match="smaller batch"):  # a result larger than its inputs
        emulation.EmulatedBackend().upsample_bilinear2d(np.zeros((1, 2, 2, 1), "f"), (3, 2), True)


def test_whole_numbers_are_refused() -> None:
    emulation = pytest.importorskip("emulation")
    with pytest.raises(ShapeError, match="float32 or float64, got int64"):
        emulation.EmulatedBackend().relu(np.zeros(6, np.int64))
