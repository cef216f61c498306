"""Which kernel computes a matrix product: the engines of `product.cuh` and `tensorcore.cuh`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minran.backend.gpu.launch import BFLOAT16, Program, ceil_divide, device, operand, real, stored
from minran.errors import BackendError, expect, pip_install

PRECISIONS = ("fp32", "tf32", "bf16")

THREADS = 65536
"""How many threads a product should have, at least, to keep a large GPU busy."""


@dataclass(frozen=True)
class Engine:
    """A way to compute tiles of `rows` x `columns`, reading `piece` neighbours at once.

    `maps` is how those are stored, in C++, `window` what the kernel may know of the windows,
    `normed` whether a batch norm and a ReLU come first, and `parts` among how many groups of a
    block's threads each step of k is shared.
    """

    name: str
    rows: int
    columns: int
    threads: int
    piece: int
    maps: str = "float"
    window: str = "ANY"
    normed: bool = False
    parts: int = 1

    @property
    def template(self) -> str:
        """The template arguments of the kernels of conv.cu."""
        return f"{self.name}, {self.piece}, {self.maps}, {self.window}, {str(self.normed).lower()}"

    def tiles(self, rows: int, columns: int) -> tuple[int, int]:
        """How many tiles cover a product of so many rows and columns."""
        return ceil_divide(rows, self.rows), ceil_divide(columns, self.columns)

    def launch(self, kernel: str, grid: tuple[int, ...], *args: Any) -> None:
        """Launch one of the products of conv.cu."""
        CONV.launch(f"{kernel}<{self.template}>", grid, (self.threads,), *args)


def _simt(number: str, columns: int, piece: int) -> Engine:
    return Engine(f"Simt<{number}, 64, {columns}>", 64, columns, 256, piece, number)


def _tensor(rows: int, columns: int, piece: int, maps: str = "float", parts: int = 1) -> Engine:
    name = "Bf16" if maps == BFLOAT16 else "Tf32"
    # Low tiles serve products with few blocks, which mostly wait for the memory: larger steps.
    # Where parts share a step, each has an instruction of the tensor cores in it, at least.
    depth = 32 if piece > 1 and (rows == 64 or name == "Bf16") else 16
    if parts > 1:
        depth = 16 * parts if name == "Bf16" else 32
    sizes = rows, columns, depth, *[parts] * (parts > 1)
    threads = parts * rows * columns // min(columns, 32)
    name = f"{name}<{', '.join(map(str, sizes))}>"
    return Engine(name, rows, columns, threads, piece, maps, parts=parts)


CONV = Program("conv.cu", real)

_precision: str | None = None


def set_precision(name: str | None) -> None:
    """How a float32 network calculates: "fp32", "tf32", "bf16", or None.

    TF32 rounds both factors of a convolution to 10 bits of mantissa and adds in float32; the
    tensor cores do that many times faster. None means tf32 where the GPU has it, else fp32.

    bf16 is what None is, and maps between the operations are stored in bfloat16 (`activations`):
    half the memory, and half the time where a kernel waits for it. Where None means tf32, both
    factors of a convolution are rounded to bfloat16, too. Weights, their gradients, statistics
    and sums stay float32 or better. float64 arrays are not concerned.

    Raises BackendError for another name, for "tf32" on a GPU without it, and for "bf16" without
    the package ml_dtypes, which gives NumPy and CuPy the dtype, or with a CuPy that ignores it.
    """
    global _precision
    wanted = f"expected one of {PRECISIONS} or None, got {name!r}"
    expect(name in (*PRECISIONS, None), f"set_precision: {wanted}", BackendError)
    if name == "bf16":
        _import_bfloat16()
    without = "this GPU has no TF32 (compute capability 8.0 and later have it); use 'fp32'"
    expect(name != "tf32" or device().has_tf32, f"set_precision: {without}", BackendError)
    _precision = name


def precision() -> str:
    """How a float32 network calculates now: "fp32", "tf32" or "bf16"."""
    return _precision or ("tf32" if device().has_tf32 else "fp32")


def activations(x: Any) -> Any:
    """Images, or other maps, as a network's operations shall store them, on the device.

    In bfloat16 if the precision is "bf16" and x is float32: what each operation computes from
    that, it stores so, too.
    """
    short = precision() == "bf16" and x.dtype == np.float32
    return operand(x, np.dtype(BFLOAT16)) if short else operand(x)


def _import_bfloat16() -> None:
    try:
        import ml_dtypes  # noqa: F401 - NumPy knows the dtype by its name from then on
    except ImportError:
        what = "needs the package ml_dtypes, which gives NumPy and CuPy the dtype"
        raise BackendError(f"precision 'bf16' {what}; run {pip_install('gpu')}") from None
    try:
        device().xp.empty(0, BFLOAT16)
    except (TypeError, ValueError):
        raise BackendError(
            "precision 'bf16': this CuPy does not know the dtype; CuPy 14 does, with NumPy 2.1.2 "
            f"or later (here: {np.__version__}); run {pip_install('gpu')}"
        ) from None


def choose(dtype: Any, rows: int, columns: int, piece: int, sliced: bool = False) -> Engine:
    """The engine for a product of so many rows and columns; `sliced`: k is cut among blocks, too.

    Narrow products get narrow tiles. Tall tiles use what they read more often; low ones give more
    blocks. Where these are too few to keep a GPU busy, more threads share each, and a product
    that is sliced needs fewer slices.
    """
    maps = stored(dtype)
    if maps == "double":
        return _simt("double", 16, 1)
    if precision() == "fp32" or not device().has_tf32:
        return replace(_simt("float", 16 if columns <= 16 else 64, piece), maps=maps)

    def enough(engine: Engine) -> bool:
        down, across = engine.tiles(rows, columns)
        return down * across * engine.threads >= THREADS

    width = 16 if columns <= 16 else 32 if columns <= 32 else 64
    tall = _tensor(128, width, piece, maps)
    if piece > 1 and enough(tall):
        return tall
    most = min(4, width // 8) if piece > 1 else 1
    parts = most if sliced else 1
    while parts < most and not enough(_tensor(64, width, piece, maps, parts)):
        parts *= 2
    return _tensor(64, width, piece, maps, parts)
