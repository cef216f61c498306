"""The contenders: minran, PyTorch in its layouts, and other frameworks where they are installed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Contender:
    """A framework in one of its manners.

    adapter: "module:Class" below `minran.workshop.bench.adapters`; needs: what must be installed;
    options: what the adapter is made with. With the option `parallel`, `mpiexec` starts several.
    """

    name: str
    label: str
    adapter: str
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


Who = Sequence[Contender]


def _torch(name: str, label: str, **options: bool) -> Contender:
    return Contender(name, label, "pytorch:PyTorch", ("torch",), options)


def _without(decision: str, label: str) -> Contender:
    options = {"without": decision}
    return Contender(f"without_{decision}", f"minran without {label}", "ours:Minran", (), options)


_SEVERAL = ("mpi4py", "mpiexec"), {"parallel": True}
CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("minran", "minran", "ours:Minran"),
        Contender("minran_mpi", "minran, several processes", "ours:Minran", *_SEVERAL),
        Contender("products", "its matrix products alone", "floors:Products"),
        _torch("torch", "PyTorch eager, NCHW"),
        _torch("torch_channels_last", "PyTorch eager, channels_last", channels_last=True),
        _torch("torch_compiled", "torch.compile(max-autotune)", channels_last=True, compiled=True),
        Contender("minran_captured", "minran, captured", "ours:Minran", (), {"captured": True}),
        _without("fusion", "fusing norm, ReLU and convolution"),
        _without("cache_blocks", "blocks that fit the cache"),
        _without("python_threads", "Python threads (BLAS's own instead)"),
        _without("second_core", "any second thread"),
        _without("reuse", "using memory again"),
        Contender("jax", "JAX jit", "peers:Jax", ("jax", "jaxlib")),
        Contender("tinygrad", "tinygrad TinyJit", "peers:Tinygrad", ("tinygrad",)),
        Contender("dezero", "DeZero", "peers:DeZero", ("dezero",)),
    )
}


def named(*names: str) -> tuple[Contender, ...]:
    """The contenders of these names."""
    return tuple(CONTENDERS[name] for name in names)


TORCH = "torch_channels_last"
"""PyTorch at its fastest without compiling: what everybody is compared with, too."""

REFERENCE = ("minran_captured", "minran")
"""Ratios are of the first of these that takes part, to every other."""

NETWORKS = named("minran", "minran_mpi", "products", "torch", TORCH)
SCALING = named("minran", TORCH)
PEERS = named("minran", "torch", TORCH, "jax", "tinygrad", "dezero")
OPS = named("minran", "products", TORCH)
OURS = named("minran")


def on_cores(count: int) -> Who:
    """The contenders on so many cores: threads, processes and PyTorch."""
    return named("minran", *(["minran_mpi"] if count > 1 else []), TORCH)


_TAKEN_BACK = [name for name in CONTENDERS if name.startswith("without_")]
DECISIONS = named("minran", *_TAKEN_BACK, "minran_mpi", TORCH)
GPU = named("minran", "minran_captured", "torch", TORCH)
GPU_COMPILED = named("minran_captured", TORCH, "torch_compiled")
IMPORTS = tuple(
    Contender(name, label, "peers:Start", needs, {"module": module})
    for name, label, module, needs in (
        ("python", "Python alone", "sys", ()),
        ("numpy", "import numpy", "numpy", ()),
        ("minran", "import minran", "minran", ()),
        ("torch", "import torch", "torch", ("torch",)),
    )
)


def is_installed(need: str) -> bool:
    """Whether `import need` would find something (nothing is imported), or there is an mpiexec."""
    if need == "mpiexec":
        return find_mpiexec() is not None
    try:
        return importlib.util.find_spec(need) is not None
    except ImportError:
        return False


def find_mpiexec() -> str | None:
    """The mpiexec next to this Python, where a wheel puts it, or else on the path."""
    return shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
