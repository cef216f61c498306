"""The table of docs/gpu.md, from what the kernels themselves say when they run in the emulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emulation import EmulatedDevice

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"
ENGINE = "Tf32<64, 16, 32>"
KERNEL = f"""
using Each = {ENGINE};
using OfX = Loader<Each, Rows<float, AsTheyAre>, Each::ROWS, 4>;
using OfW = Loader<Each, Columns<float, AsTheyAre>, Each::COLUMNS, 4>;

template <typename Each>
__global__ void fragments(unsigned* words) {{
  __shared__ Tile<Each, Each::ROWS, true> a;
  __shared__ Tile<Each, Each::COLUMNS, false> b;
  for (int i = 0; threadIdx.x == 0 && i < 256; i++)
    a.address(i / 16, i % 16)->bits = b.address(i / 16, i % 16)->bits = i;
  __syncthreads();
  Each::template load<false>(words + 8 * threadIdx.x, a, 0, 0);
  Each::template load<true>(words + 8 * threadIdx.x + 4, b, 0, 0);
}}

template <typename R>
__global__ void who(R* lines, int) {{
  R* mine = lines + 64 * threadIdx.x;
  for (int p = 0; p < OfX::MINE; p++) *mine++ = OfX::line_of(p), *mine++ = OfX::step_of(p);
  for (int p = 0; p < OfW::MINE; p++) *mine++ = OfW::step_of(p), *mine++ = OfW::line_of(p);
  for (int i = 0; i < Each::MY_ROWS; i++) *mine++ = Each::row(i);
  for (int j = 0; j < Each::MY_COLUMNS; j++) *mine++ = Each::column(j);
}}
"""


@pytest.fixture(scope="module")
def told() -> np.ndarray:
    """For each of the 64 threads: pieces of x, of w, rows and columns of y."""
    device = EmulatedDevice(lambda source: source + KERNEL)
    lines = np.zeros((64, 64), np.float32)
    device.launch("conv.cu", "who<float>", (1,), (64,), [lines, np.int32(0)])
    return lines.astype(int)


def test_the_table_says_what_the_kernels_do(told: np.ndarray) -> None:
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| ") and "..., " in row]
    assert len(rows) == 6
    for row in rows:
        thread, pixels, channels, of_w, outputs, kept, columns = row.strip("| ").split(" | ")
        mine = told[int(thread)]
        x, w, y = mine[:16].reshape(8, 2), mine[16:20].reshape(2, 2), mine[20:28]
        (channel,), (output,) = set(x[:, 1].tolist()), set(w[:, 1].tolist())
        assert pixels == f"{x[0, 0]}, {x[1, 0]}, ..., {x[7, 0]}"
        assert (np.diff(x[:, 0]) == 8).all()
        assert channels == f"{channel}-{channel + 3}" and outputs == f"{output}-{output + 3}"
        assert of_w == f"{w[0, 0]}, {w[1, 0]}"
        assert [kept, columns] == [", ".join(map(str, part)) for part in (y[:4], y[4:])]


def test_every_number_is_brought_and_kept_once(told: np.ndarray) -> None:
    x, w = told[:, :16].reshape(-1, 2), told[:, 16:20].reshape(-1, 2)
    assert sorted(map(tuple, x)) == [(row, k) for row in range(64) for k in range(0, 32, 4)]
    assert sorted(map(tuple, w)) == [(k, column) for k in range(32) for column in range(0, 16, 4)]
    kept = {(row, column) for mine in told for row in mine[20:24] for column in mine[24:28]}
    assert len(kept) == 64 * 16


def test_the_table_of_fragments_says_what_threads_hold(told: np.ndarray) -> None:
    device = EmulatedDevice(lambda source: source + KERNEL)
    words = np.zeros((32, 8), np.uint32)
    device.launch("conv.cu", "fragments<Bf16<64, 16, 32>>", (1,), (32,), [words])
    numbers = words.view(np.uint16).reshape(32, 2, 4, 2)  # of each thread: A and B, words, pairs
    head, rows = "of A: rows", PAGE.read_text().splitlines()
    start = next(i for i, row in enumerate(rows) if head in row) + 2
    for row in rows[start : start + 4]:
        thread, of_a, k, of_b, k_of_b, of_c, columns = row.strip("| ").split(" | ")
        a, b = numbers[int(thread)]
        assert of_a == "{}, {}".format(*a[:2, 0] // 16) == "{}, {}".format(*a[2:, 1] // 16)
        assert k == k_of_b == "{}-{}, {}-{}".format(*a[[0, 2]].reshape(-1) % 16)
        # B's words are first those of one column.
        assert of_b == str(b[0, 0] // 16) and (b[:2] // 16 == b[0, 0] // 16).all()
        assert k_of_b == "{}-{}, {}-{}".format(*b[:2].reshape(-1) % 16)
        kept = told[int(thread), 20:28]
        assert of_c == f"{kept[0]}, {kept[1]}" and columns == f"{kept[4]}, {kept[5]}"
