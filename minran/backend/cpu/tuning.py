"""Choices that the kernels of this backend make, and that the bench takes back one at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tuning:
    """How the work is shared out. Results are the same; only time and memory differ.

    cache_blocks: cut the batch into blocks that fit the cache; else one block for each thread.
    blas_threads: of each product. reuse: keep the memory of arrays that are gone for new ones.
    """

    cache_blocks: bool = True
    blas_threads: int = 1
    reuse: bool = True


TUNING = Tuning()
"""Those of this process; `docs/speed.md` has what each is worth."""
