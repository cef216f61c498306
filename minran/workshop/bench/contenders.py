"""Who takes part: minran, PyTorch in its layouts, and other frameworks where they are installed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minran.errors import RecipeError, expect


@dataclass(frozen=True)
class Contender:
    """A framework in one of its manners.

    adapter: "module:Class" below `minran.workshop.bench.adapters`; needs: what must be installed;
    options: what the adapter is made with; parallel: whether `mpiexec` starts several of it;
    imports: what a fresh Python imports, for a contender that does nothing else.
    """

    name: str
    label: str
    adapter: str = ""
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    parallel: bool = False
    imports: str = ""

    @property
    def missing(self) -> list[str]:
        """What it needs and this Python lacks."""
        missing = [package for package in self.needs if not is_installed(package)]
        return missing + (["mpiexec"] if self.parallel and find_mpiexec() is None else [])


def _torch(name: str, label: str, **options: bool) -> Contender:
    return Contender(name, label, "pytorch:PyTorch", ("torch",), options)


def _without(decision: str, label: str) -> Contender:
    options = {"decision": decision}
    return Contender(f"without_{decision}", f"minran without {label}", "ours:Without", (), options)


def _by_name(*contenders: Contender) -> dict[str, Contender]:
    return {contender.name: contender for contender in contenders}


CONTENDERS = _by_name(
    Contender("minran", "minran", "ours:Minran"),
    Contender(
        "minran_mpi", "minran, several processes", "ours:MinranMPI", ("mpi4py",), parallel=True
    ),
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

IMPORTS = _by_name(
    Contender("python", "Python alone", imports="sys"),
    Contender("numpy", "import numpy", imports="numpy"),
    Contender("minran", "import minran", imports="minran"),
    Contender("torch", "import torch", needs=("torch",), imports="torch"),
)

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

REFERENCE = ("minran_captured", "minran")
"""Ratios are of the first of these that takes part, to every other."""

TORCH = "torch_channels_last"
"""PyTorch at its fastest without compiling: what everybody is compared with, too."""


def is_installed(package: str) -> bool:
    """Whether `import package` would find something; imports nothing."""
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def find_mpiexec() -> str | None:
    """The mpiexec beside this Python, where a wheel puts it, or else on the path."""
    return shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")


def available(
    names: Sequence[str], only: Sequence[str] = (), among: Mapping[str, Contender] = CONTENDERS
) -> tuple[list[Contender], list[str]]:
    """Those of `names` that can run here, and a line for each that cannot.

    only: restrict them to these. Raises RecipeError for an unknown name in `only`.
    """
    for name in only:
        known = ", ".join(among)
        expect(name in among, f"no contender {name!r}; there are {known}", RecipeError)
    asked = [among[name] for name in names if not only or name in only]
    notes = [f"{c.label}: {', '.join(c.missing)} not installed" for c in asked if c.missing]
    return [contender for contender in asked if not contender.missing], notes
