"""One switch between array libraries: `use("numpy")`, `use("cupy")`, `use("naive")`.

A backend is a module with the kernels that `backend/contract.py` lists (`conv2d`,
`conv2d_backward`, `max_pool2d`, ...): arrays in, arrays out, no Tensor. Three rungs stand
next to each other:

| name      | module             | what it is                                           |
|-----------|--------------------|------------------------------------------------------|
| `naive`   | `backend/naive`    | loops and formulas that spell the equations: oracle  |
| `numpy`   | `backend/cpu`      | NumPy kernels, blocked and threaded                  |
| `cupy`    | `backend/gpu`      | our CUDA kernels on an NVIDIA GPU                    |

A backend is imported when it is first used, so `import minran` never imports CuPy.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from minran.backend.contract import SIGNATURES
from minran.errors import BackendError, expect

_MODULES = {"naive": "naive", "numpy": "cpu", "cupy": "gpu"}
_ALIASES = {"cpu": "numpy", "gpu": "cupy"}
_current: ModuleType | None = None


def load(name: str) -> ModuleType:
    """The backend module called `name`, imported on first use.

    Raises BackendError for an unknown name, or one that cannot run on this machine.
    """
    name = _ALIASES.get(name, name) if isinstance(name, str) else repr(name)
    known = ", ".join(sorted([*_MODULES, *_ALIASES]))
    expect(name in _MODULES, f"unknown backend {name!r}; expected one of {known}", BackendError)
    module = importlib.import_module(f"minran.backend.{_MODULES[name]}")
    if has("ensure_available", module):
        module.ensure_available()
    return module


def current() -> ModuleType:
    """The backend in use; NumPy unless `use` said otherwise."""
    global _current
    if _current is None:
        _current = load("numpy")
    return _current


def has(kernel: str, module: Any = None) -> bool:
    """Whether the current backend (or `module`) has an optional kernel, by its name.

    Raises BackendError for a name that `backend/contract.py` does not list.

    >>> has("folded_unit"), has("recorder")
    (True, False)
    """
    expect(kernel in SIGNATURES, f"the contract of a backend has no {kernel!r}", BackendError)
    return hasattr(current() if module is None else module, kernel)


class use:  # noqa: N801 - reads as a verb, like no_grad
    """Switch to backend `name`, for good or, as a context manager, for a block.

    >>> with use("naive"):
    ...     print(current().name)
    naive
    >>> print(current().name)
    numpy
    """

    def __init__(self, name: str) -> None:
        global _current
        self._previous = current()
        _current = self._module = load(name)

    def __enter__(self) -> ModuleType:
        global _current
        _current = self._module
        return _current

    def __exit__(self, *exc: object) -> None:
        global _current
        _current = self._previous


def release_memory() -> None:
    """Give back what the backend keeps for the next arrays of the same sizes: others will come.

    >>> release_memory()
    """
    if has("release_memory"):
        current().release_memory()


def to_host(array: Any) -> np.ndarray:
    """`array` of any backend as a NumPy array (no copy if it is one already); bfloat16 as float32.

    The latter is for code that computes with it: most of NumPy's world does not know bfloat16.
    """
    host = array.get() if hasattr(array, "get") else np.asarray(array)
    return host.astype(np.float32) if host.dtype.name == "bfloat16" else host


def to_device(array: Any) -> Any:
    """`array` as an array of the current backend (no copy if it is one already)."""
    return current().xp.asarray(array)


def activations(array: Any) -> Any:
    """Images as the network's operations shall store them: see the GPU's `set_precision`."""
    return current().activations(array) if has("activations") else array


def weight_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype of weights for maps of `dtype`: the same, but float32 for bfloat16."""
    dtype = np.dtype(dtype)
    return np.dtype(np.float32) if dtype.kind != "f" and is_floating(dtype) else dtype


def is_floating(dtype: Any) -> bool:
    """Whether `dtype` has fractions: a float of NumPy's own, or bfloat16, which is not."""
    dtype = np.dtype(dtype)
    return dtype.kind == "f" or dtype.name == "bfloat16"
