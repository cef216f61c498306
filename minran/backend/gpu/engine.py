"""Which kernel computes a matrix product: the engines of `product.cuh` and `tensorcore.cuh`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from minran.backend.gpu.launch import Program, ceil_divide, device, real
from minran.errors import BackendError, expect

BLOCKS = 512
"""How many blocks a product should have, at least, to keep a large GPU busy."""


@dataclass(frozen=True)
class Engine:
    """A way to compute tiles of `rows` x `columns`, reading `piece` neighbours at once."""

    name: str
    rows: int
    columns: int
    threads: int
    piece: int

    @property
    def template(self) -> str:
        """The template arguments of the kernels of conv.cu."""
        return f"{self.name}, {self.piece}"

    def tiles(self, rows: int, columns: int) -> tuple[int, int]:
        """How many tiles cover a product of so many rows and columns."""
        return ceil_divide(rows, self.rows), ceil_divide(columns, self.columns)

    def launch(self, kernel: str, grid: tuple[int, ...], *args: Any) -> None:
        """Launch one of the products of conv.cu."""
        program = TENSOR if self.name.startswith("Tf32") else PLAIN
        program.launch(f"{kernel}<{self.template}>", grid, (self.threads,), *args)


def _simt(number: str, columns: int, piece: int) -> Engine:
    return Engine(f"Simt<{number}, 64, {columns}>", 64, columns, 256, piece)


def _tf32(rows: int, columns: int, piece: int) -> Engine:
    # Low tiles serve products with few blocks, which mostly wait for the memory: larger steps.
    depth = 32 if rows == 64 and piece == 4 else 16
    threads = rows * columns // min(columns, 32)
    return Engine(f"Tf32<{rows}, {columns}, {depth}>", rows, columns, threads, piece)


def _kernels(engines: list[Engine]) -> list[str]:
    names = ("conv_forward", "conv_input", "conv_filters")
    return [f"{name}<{engine.template}>" for engine, name in product(engines, names)]


PLAIN = Program(
    "conv.cu",
    ("sum_of_slices", "moments_of_tiles", "sums_of_tiles"),
    _kernels([_simt("float", *sizes) for sizes in product((16, 64), (1, 4))])
    + _kernels([_simt("double", 16, 1)]),
)
"""The convolution's kernels in plain arithmetic, and those that add up what blocks computed."""

TENSOR = Program(
    "conv.cu",
    (),
    _kernels([_tf32(64, *sizes) for sizes in product((16, 32, 64), (1, 4))])
    + _kernels([_tf32(128, columns, 4) for columns in (16, 32, 64)]),
)
"""The convolution's kernels on tensor cores."""

_precision: str | None = None


def set_precision(name: str | None) -> None:
    """How float32 convolutions multiply: "fp32", "tf32", or None for tf32 where the GPU has it.

    TF32 rounds both factors to 10 bits of mantissa and adds in float32; the tensor cores do that
    many times faster. float64 arrays are not concerned.

    Raises BackendError for another name, and for "tf32" on a GPU without it.
    """
    global _precision
    expect(
        name in ("fp32", "tf32", None),
        f"set_precision: expected 'fp32', 'tf32' or None, got {name!r}",
        BackendError,
    )
    expect(
        name != "tf32" or device().has_tf32,
        "set_precision: this GPU has no TF32 (compute capability 8.0 and later have it); "
        "use 'fp32'",
        BackendError,
    )
    _precision = name


def precision() -> str:
    """How float32 convolutions multiply now: "fp32" or "tf32"."""
    return _precision or ("tf32" if device().has_tf32 else "fp32")


def choose(dtype: Any, rows: int, columns: int, piece: int, sliced: bool = False) -> Engine:
    """The engine for a product of so many rows and columns; `sliced`: k is cut among blocks, too.

    Narrow products get narrow tiles. Tall tiles use what they read more often; low and narrow
    ones give more blocks, which a small product needs unless it is sliced.
    """
    if real(dtype) == "double":
        return _simt("double", 16, 1)
    if precision() == "fp32":
        return _simt("float", 16 if columns <= 16 else 64, piece)

    def enough(engine: Engine) -> bool:
        down, across = engine.tiles(rows, columns)
        return down * across >= BLOCKS

    width = 16 if columns <= 16 else 32 if columns <= 32 else 64
    tall = _tf32(128, width, 4)
    if piece == 4 and enough(tall):
        return tall
    while width > 16 and not sliced and not enough(_tf32(64, width, piece)):
        width //= 2
    return _tf32(64, width, piece)
