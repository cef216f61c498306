"""minran with one of its decisions taken back, to see what the decision is worth.

The kernels stay as they are; what is replaced is named in each function below.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from minran import backend
from minran.backend.cpu import blocks, memory
from minran.models import PreActUnit, fused
from minran.models.attention import Head
from minran.workshop.bench.adapters.ours import Minran


class Without(Minran):
    """decision: a name from `DECISIONS`."""

    def __init__(self, decision: str, **options: Any) -> None:
        super().__init__(**options)
        DECISIONS[decision]()


def fusion() -> None:
    """Batch norm, ReLU, convolution and addition one after the other, each result kept."""
    fused.FusedPreActUnit.forward = PreActUnit.forward  # type: ignore[method-assign]
    fused.FusedHead.forward = Head.forward  # type: ignore[method-assign]


def cache_blocks() -> None:
    """Each thread gets one block, its whole share of the batch, whatever its size."""
    blocks.block_ranges = lambda count, *sizes: _shares(count, blocks.threads())  # type: ignore[assignment]


def python_threads() -> None:
    """One Python thread; BLAS uses the cores instead, and only the products are shared."""
    cores = blocks.threads()
    backend.current().set_threads(1)
    blocks.block_ranges = lambda count, *sizes: [slice(0, count)]  # type: ignore[assignment]
    blocks._one_blas_thread = nullcontext  # type: ignore[assignment]
    from threadpoolctl import threadpool_limits

    threadpool_limits(cores, "blas")


def second_core() -> None:
    """Everything on one thread."""
    backend.current().set_threads(1)


class _Forgetful(dict):
    """Takes memory back and hands none out."""

    def setdefault(self, key: Any, default: Any = None) -> Any:
        return []


def reuse() -> None:
    """Every array is fresh memory from the system."""
    memory._free = _Forgetful()


DECISIONS: dict[str, Callable[[], None]] = {
    "fusion": fusion,
    "cache_blocks": cache_blocks,
    "python_threads": python_threads,
    "second_core": second_core,
    "reuse": reuse,
}


def _shares(count: int, shares: int) -> list[slice]:
    return [slice(count * k // shares, count * (k + 1) // shares) for k in range(shares)]
