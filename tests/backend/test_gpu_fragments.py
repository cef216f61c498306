"""The instructions of tensor cores, as the emulation plays them, against NVIDIA's description.

The formulas are those of PTX ISA, "Matrix Fragments for mma.m16n8k8" (tf32), "... mma.m16n8k16"
(bf16) and "ldmatrix".
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from emulation import EmulatedDevice

from minran.backend.gpu import engine

KERNELS = """
template <typename Cell>
__global__ void products(const unsigned* a, const unsigned* b, float* c) {
  const unsigned lane = threadIdx.x;
  multiply_fragments<Cell>(c + 4 * lane, a + 4 * lane, b + 2 * lane);
}

template <typename R>
__global__ void matrices(const unsigned* memory, const int* rows, unsigned* words, int transposed) {
  const unsigned* row = memory + 4 * rows[threadIdx.x];
  if (transposed) load_matrices<true>(words + 4 * threadIdx.x, row);
  else load_matrices<false>(words + 4 * threadIdx.x, row);
}

template <typename Each>
__global__ void pitches(int* bytes) {
  bytes[0] = sizeof(typename Each::Cell) * Tile<Each, Each::ROWS, true>::PITCH;
  bytes[1] = sizeof(typename Each::Cell) * Tile<Each, Each::ROWS, false>::PITCH;
  bytes[2] = sizeof(typename Each::Cell) * Tile<Each, Each::COLUMNS, false>::PITCH;
}
"""
LANES = range(32)


def run(kernel: str, *args: Any, threads: int = 32) -> None:
    device = EmulatedDevice(lambda source: source + KERNELS)
    device.launch("conv.cu", kernel, (1,), (threads,), list(args))


def places_of_a(short: bool, lane: int) -> list[tuple[int, int]]:
    """(row, k) of a thread's numbers a0, a1, ..."""
    group, thread = lane >> 2, lane % 4
    if not short:
        return [(group + 8 * (i % 2), thread + 4 * (i // 2)) for i in range(4)]
    rows = [group if i in (0, 1, 4, 5) else group + 8 for i in range(8)]
    return [(rows[i], 2 * thread + (i & 1) + (8 if i >= 4 else 0)) for i in range(8)]


def places_of_b(short: bool, lane: int) -> list[tuple[int, int]]:
    """(k, column) of b0, b1, ..."""
    group, thread = lane >> 2, lane % 4
    if not short:
        return [(thread, group), (thread + 4, group)]
    return [(2 * thread + (i & 1) + (8 if i >= 2 else 0), group) for i in range(4)]


@pytest.mark.parametrize("cell", ["float", "bfloat16"])
def test_the_product_of_fragments(cell: str) -> None:
    short = cell == "bfloat16"
    dtype = np.dtype(ml_dtypes.bfloat16) if short else np.dtype(np.float32)
    rng = np.random.default_rng(0)
    depth = 16 if short else 8
    a, b = (rng.integers(-9, 9, shape).astype(dtype) for shape in ((16, depth), (depth, 8)))
    of_a = np.array([[a[place] for place in places_of_a(short, lane)] for lane in LANES])
    of_b = np.array([[b[place] for place in places_of_b(short, lane)] for lane in LANES])
    c = rng.integers(-9, 9, (16, 8)).astype(np.float32)
    places = [
        (lane // 4 + 8 * (i // 2), 2 * (lane % 4) + i % 2) for lane in LANES for i in range(4)
    ]
    of_c = np.array([c[place] for place in places])
    run(f"products<{cell}>", of_a.view(np.uint32), of_b.view(np.uint32), of_c)
    expected = a.astype(np.float64) @ b.astype(np.float64) + c
    np.testing.assert_array_equal(of_c, [expected[place] for place in places])


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_from_shared_memory(transposed: bool) -> None:
    """Row r of matrix m lies where thread 8 m + r says; 8 numbers of 16 bits each."""
    rng = np.random.default_rng(0)
    memory = rng.integers(2**16, size=(64, 8), dtype=np.uint16)
    rows = rng.permutation(64)[:32].astype(np.int32)
    words = np.zeros((32, 4), np.uint32)
    run("matrices<float>", memory.view(np.uint32), rows, words, np.int32(transposed))
    for lane in LANES:
        for matrix in range(4):
            found = memory[rows[8 * matrix : 8 * matrix + 8]]
            found = found.T if transposed else found
            low, high = map(int, found[lane // 4, 2 * (lane % 4) :][:2])
            assert words[lane, matrix] == low + (high << 16)


@pytest.mark.parametrize("maps", ["float", "bfloat16"])
@pytest.mark.parametrize("rows", [64, 128])
@pytest.mark.parametrize("columns", [16, 32, 64])
def test_no_two_rows_of_a_matrix_share_a_bank(maps: str, rows: int, columns: int) -> None:
    """Eight rows of 16 bytes, a pitch apart, take each of the 32 banks of 4 bytes once."""
    pitches = np.zeros(3, np.int32)
    run(f"pitches<{engine._tensor(rows, columns, 4, maps).name}>", pitches, threads=1)
    for pitch in pitches if maps == "bfloat16" else pitches[:1]:
        assert pitch % 16 == 0
        assert sorted(pitch * row // 16 % 8 for row in range(8)) == list(range(8))
