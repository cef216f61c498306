"""Our CUDA kernels on an NVIDIA GPU, through CuPy's arrays.

Read `launch` first (how a kernel file becomes a launch), then a pair of files at a time: the
Python that knows shapes and the CUDA that knows numbers, `pool.py` and `kernels/pool.cu`. The
convolution comes last: `plain.py` and `kernels/conv_plain.cu` with one thread for each number,
then `conv.py`, `kernels/conv.cu`, `conv_views.cuh`, `product.cuh`, and `tensorcore.cuh`. Each
kernel has the name and the meaning of its equation in `backend/naive`.
Everything is launched on CuPy's current stream, and nothing here waits for the GPU or copies to
it, so that a training step can be captured as a CUDA graph: `graph.py` does that.
"""

from __future__ import annotations

from typing import Any

from minran.backend.contract import kernels_of
from minran.backend.gpu import activation, augment, conv, cuda, engine, launch, loss, norm, pool

name = "cupy"

globals().update(kernels_of(activation, augment, conv, cuda, engine, launch, loss, norm, pool))


def __getattr__(attribute: str) -> Any:
    """`xp`, CuPy itself, is imported when somebody asks for it."""
    if attribute == "xp":
        return launch.device().xp
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
