"""Who takes part: minran, PyTorch in its layouts, and other frameworks where they are installed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minran.errors import RecipeError, expect


@dataclass(frozen=True)
class Contender:
    """A framework in one of its manners.

    adapter: "module:Class" below `minran.workshop.bench.adapters`; needs: what must be installed;
    options: what the adapter is made with; parallel: whether `mpiexec` starts several of it.
    """

    name: str
    label: str
    adapter: str
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    parallel: bool = False

    @property
    def missing(self) -> list[str]:
        """What it needs and this Python lacks."""
        missing = [package for package in self.needs if not is_installed(package)]
        return missing + (["mpiexec"] if self.parallel and find_mpiexec() is None else [])


def _without(decision: str, label: str) -> Contender:
    name, options = f"without_{decision}", {"decision": decision}
    return Contender(name, f"minran without {label}", "ours_without:Without", (), options)


_ALL = (
    Contender("minran", "minran", "ours:Minran"),
    Contender(
        "minran_mpi", "minran, several processes", "ours_mpi:MinranMPI", ("mpi4py",), parallel=True
    ),
    Contender("products", "its matrix products alone", "products:Products"),
    Contender("torch", "PyTorch eager, NCHW", "pytorch:PyTorch", ("torch",)),
    Contender(
        "torch_channels_last",
        "PyTorch eager, channels_last",
        "pytorch:PyTorch",
        ("torch",),
        {"channels_last": True},
    ),
    Contender(
        "torch_compiled",
        "torch.compile(max-autotune)",
        "pytorch:PyTorch",
        ("torch",),
        {"channels_last": True, "compiled": True},
    ),
    Contender("minran_captured", "minran, captured", "ours:Minran", (), {"captured": True}),
    _without("fusion", "fusing norm, ReLU and convolution"),
    _without("cache_blocks", "blocks that fit the cache"),
    _without("python_threads", "Python threads (BLAS's own instead)"),
    _without("second_core", "any second thread"),
    _without("reuse", "using memory again"),
    Contender("jax", "JAX jit", "jax_units:Jax", ("jax", "jaxlib")),
    Contender("tinygrad", "tinygrad TinyJit", "tinygrad_units:Tinygrad", ("tinygrad",)),
    Contender("dezero", "DeZero", "dezero_units:DeZero", ("dezero",)),
)

CONTENDERS = {contender.name: contender for contender in _ALL}

NETWORKS = ("minran", "minran_mpi", "products", "torch", "torch_channels_last")
PEERS = ("minran", "torch", "torch_channels_last", "jax", "tinygrad", "dezero")
OPS = ("minran", "products", "torch_channels_last")
DECISIONS = (
    "minran",
    *(name for name in CONTENDERS if name.startswith("without_")),
    "minran_mpi",
    "torch_channels_last",
)
GPU = ("minran", "minran_captured", "torch", "torch_channels_last")
GPU_COMPILED = ("minran_captured", "torch_channels_last", "torch_compiled")


def is_installed(package: str) -> bool:
    """Whether `import package` would find something; imports nothing."""
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def find_mpiexec() -> str | None:
    """The mpiexec beside this Python, where a wheel puts it, or else on the path."""
    return shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")


def available(names: Sequence[str], only: Sequence[str] = ()) -> tuple[list[Contender], list[str]]:
    """Those of `names` that can run here, and a line for each that cannot.

    only: restrict them to these. Raises RecipeError for an unknown name in `only`.
    """
    for name in only:
        known = ", ".join(CONTENDERS)
        expect(name in CONTENDERS, f"no contender {name!r}; there are {known}", RecipeError)
    chosen, notes = [], []
    for name in names:
        contender = CONTENDERS[name]
        if only and name not in only:
            continue
        if contender.missing:
            notes.append(f"{contender.label}: {', '.join(contender.missing)} not installed")
        else:
            chosen.append(contender)
    return chosen, notes
