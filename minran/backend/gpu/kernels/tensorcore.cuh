// The tensor cores' engine: float numbers, rounded when they enter shared memory, multiplied exactly,
// summed in float. They are rounded to TF32 (8 bits of exponent like a float, but 10 bits of mantissa)
// or, where maps are stored so, to bfloat16 (7 bits), which takes half the room and half the work.

#pragma once

#include "product.cuh"

#ifndef MINRAN_EMULATION

// The nearest TF32 number; its last 13 bits are zero. Of two that are as near it is, from compute
// capability 9.0 on, the one whose last bit is 0, which is one instruction there; else the one
// further from zero.
__device__ inline float to_tf32(float x) {
  unsigned bits;
#if __CUDA_ARCH__ >= 900
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#else
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#endif
  return __uint_as_float(bits);
}

// Two instructions of a whole warp. Both see words of 32 bits, neighbours along k: one TF32 number
// each, or two of bfloat16. With g = lane / 4 and q = lane % 4:
//
// C (16 x 8) += A (16 rows of 8 words) B (8 columns of 8 words). Each of the 32 threads holds
//   a: words (g, q) (g+8, q) (g, q+4) (g+8, q+4)    b: words (q, g) (q+4, g)
//   c: numbers (g, 2q) (g, 2q+1) (g+8, 2q) (g+8, 2q+1)
template <typename Cell>
__device__ void multiply_fragments(float* c, const unsigned* a, const unsigned* b) {
#define MULTIPLY(KIND)                                                   \
  asm volatile("mma.sync.aligned." KIND                                  \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])          \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
  if constexpr (sizeof(Cell) == 4) MULTIPLY("m16n8k8.row.col.f32.tf32.tf32.f32");
  else MULTIPLY("m16n8k16.row.col.f32.bf16.bf16.f32");
#undef MULTIPLY
}

// Four matrices of 8 rows of 16 bytes from shared memory. Thread 8 m + r says where row r of matrix
// m lies, and gets word (g, q) of each. TRANSPOSED: numbers of 16 bits (2q, g) and (2q+1, g).
template <bool TRANSPOSED>
__device__ void load_matrices(unsigned* words, const void* row) {
  const unsigned place = __cvta_generic_to_shared(row);
#define LOAD(KIND)                                                                       \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4" KIND ".shared.b16 {%0, %1, %2, %3}, [%4];" \
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])          \
               : "r"(place)                                                              \
               : "memory")
  if constexpr (TRANSPOSED) LOAD(".trans");
  else LOAD("");
#undef LOAD
}

#endif

// The same word with 1 in place of each number that is not zero.
template <typename Cell>
__device__ inline unsigned ones_of(unsigned word) {
  if constexpr (sizeof(Cell) == 4) return __float_as_uint(__uint_as_float(word) != 0 ? 1.f : 0.f);
#if !defined(MINRAN_EMULATION) && __CUDA_ARCH__ >= 900
  unsigned ones;
  asm("set.neu.bf16x2.bf16x2 %0, %1, %2;" : "=r"(ones) : "r"(word), "r"(0));
  return ones;
#else
  // Adding sets the highest bit of each 16, unless all others are 0.
  return (((word & 0x7fff7fff) + 0x7fff7fff) >> 15 & 0x00010001) * 0x3f80;
#endif
}

// A tile of ROWS x COLUMNS numbers, DEPTH steps of k at a time. Each warp of 32 threads owns 32 rows
// and up to 32 columns of it: 2 fragments of 16 rows times up to 4 fragments of 8 columns. A tile
// of 64 columns has two warps side by side. Where there are few tiles, PARTS such groups of warps
// share one: each multiplies a part of every step, in the end they add up what they have (`join`),
// and each keeps as many of the columns.
template <typename Cell_, int ROWS_, int COLUMNS_, int DEPTH_, int PARTS = 1>
struct TensorCores {
  using Number = float;
  using Cell = Cell_;
  static constexpr int ROWS = ROWS_, COLUMNS = COLUMNS_, DEPTH = DEPTH_;
  static constexpr int WIDTH = COLUMNS < 32 ? COLUMNS : 32, FRAGMENTS = WIDTH / 8;
  static constexpr int GROUP = ROWS * COLUMNS / WIDTH, THREADS = PARTS * GROUP;
  static constexpr int MY_FRAGMENTS = FRAGMENTS / PARTS;
  static constexpr int MY_ROWS = 4, MY_COLUMNS = 2 * MY_FRAGMENTS;
  static_assert(FRAGMENTS % PARTS == 0, "each part keeps as many columns");
  // Numbers of a word, and of a fragment along k.
  static constexpr int IN_WORD = 4 / sizeof(Cell), STEP = 8 * IN_WORD;
  // So many blocks shall fit a multiprocessor, which limits the registers of a thread. Threads of
  // low tiles that are not shared hold larger steps of TF32.
  static constexpr int TOGETHER = (DEPTH * sizeof(Cell) > 64 && PARTS == 1 ? 384 : 512) / THREADS;
  static constexpr int ADJACENT = 2;
  // With these pitches the 8 rows of a matrix lie in different banks; so do, of TF32, 8 lines (g)
  // times 4 steps (q).
  static constexpr int PADDING_ALONG_K = 16 / sizeof(Cell), PADDING_ALONG_LINES = 8;

  alignas(16) float sums[2][FRAGMENTS][4] = {};

  template <typename V, int COUNT>
  static __device__ Few<Cell, COUNT> round(const Few<V, COUNT>& numbers) {
    Few<Cell, COUNT> rounded = as<Cell>(numbers);
    if constexpr (IN_WORD == 1)
#pragma unroll
      for (float& number : rounded.number) number = to_tf32(number);
    return rounded;
  }
  static __device__ int g() { return threadIdx.x % 32 / 4; }
  static __device__ int q() { return threadIdx.x % 4; }
  static __device__ int top() { return threadIdx.x % ROWS / 32 * 32; }
  static __device__ int row(int i) { return top() + i / 2 * 16 + i % 2 * 8 + g(); }
  static __device__ int part() { return PARTS == 1 ? 0 : threadIdx.x / GROUP; }
  static __device__ int left() { return threadIdx.x % GROUP / ROWS * WIDTH; }
  static __device__ int column(int j) {
    return left() + (part() * MY_FRAGMENTS + j / 2) * 8 + 2 * q() + j % 2;
  }
  // Of the threads that own numbers of the same column, or row, the how-manieth this is.
  static __device__ int share() { return threadIdx.x % ROWS / 4; }
  static __device__ int share_of_row() {
    return (part() * (COLUMNS / WIDTH) + left() / WIDTH) * 4 + q();
  }
  __device__ float& value(int i, int j) { return sums[i / 2][j / 2][i % 2 * 2 + j % 2]; }

  // Of 16 lines of a tile, 8 words of k each: word (g, q) of 4 matrices, first those of one k or
  // (LINES_FIRST) first those of 8 lines.
  template <bool LINES_FIRST, typename Tile>
  static __device__ void load(unsigned* words, const Tile& tile, int line, int k) {
    const int each = threadIdx.x % 8, one = threadIdx.x / 8 % 2, other = threadIdx.x / 16 % 2;
    const int down = 8 * (LINES_FIRST ? other : one), along = LINES_FIRST ? one : other;
    if constexpr (Tile::ALONG_K)
      load_matrices<false>(words, tile.address(line + down + each, k + along * (STEP / 2)));
    else if constexpr (IN_WORD == 2)
      load_matrices<true>(words, tile.address(line + down, k + along * 8 + each));
    else
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int down = 8 * (LINES_FIRST ? i / 2 : i % 2), along = 4 * (LINES_FIRST ? i % 2 : i / 2);
        words[i] = __float_as_uint(*tile.address(line + down + g(), k + along + q()));
      }
  }

  template <typename TileA, typename TileB, typename... Counts>
  __device__ void multiply(const TileA& a, const TileB& b, Counts&... counts) {
    __syncwarp();  // the instructions want the whole warp, which loads may have parted
#pragma unroll
    for (int step = 0; step < DEPTH / PARTS; step += STEP) {
      const int k = part() * (DEPTH / PARTS) + step;
      unsigned of_a[2][4], of_b[4];
#pragma unroll
      for (int i = 0; i < 2; i++) load<false>(of_a[i], a, top() + 16 * i, k);
      [[maybe_unused]] unsigned ones[2][4];
      if constexpr (sizeof...(counts) > 0)
#pragma unroll
        for (int e = 0; e < 8; e++) ones[e / 4][e % 4] = ones_of<Cell>(of_a[e / 4][e % 4]);
#pragma unroll
      for (int j = 0; j < FRAGMENTS; j++) {
        if (j % 2 == 0) load<true>(of_b, b, left() + 8 * j, k);
#pragma unroll
        for (int i = 0; i < 2; i++) {
          multiply_fragments<Cell>(sums[i][j], of_a[i], of_b + j % 2 * 2);
          (multiply_fragments<Cell>(counts.sums[i][j], ones[i], of_b + j % 2 * 2), ...);
        }
      }
    }
  }

  // Adds up the parts, always in the same order, in memory that nobody needs any more.
  using Joined = Few<float, 4>[PARTS][FRAGMENTS][GROUP];
  __device__ void join(Joined& fragments) {
    if (PARTS == 1) return;
    const int place = threadIdx.x % GROUP;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      __syncthreads();  // everybody is done with the memory
#pragma unroll
      for (int j = 0; j < FRAGMENTS; j++) fragments[part()][j][place] = few<4>(sums[i][j]);
      __syncthreads();  // all parts are there
#pragma unroll
      for (int j = 0; j < MY_FRAGMENTS; j++)
#pragma unroll
        for (int other = 0; other < PARTS; other++) {
          const auto more = fragments[other][part() * MY_FRAGMENTS + j][place];
#pragma unroll
          for (int e = 0; e < 4; e++) sums[i][j][e] = (other ? sums[i][j][e] : 0) + more.number[e];
        }
    }
  }
};

template <int ROWS, int COLUMNS, int DEPTH, int PARTS = 1>
using Tf32 = TensorCores<float, ROWS, COLUMNS, DEPTH, PARTS>;
template <int ROWS, int COLUMNS, int DEPTH, int PARTS = 1>
using Bf16 = TensorCores<bfloat16, ROWS, COLUMNS, DEPTH, PARTS>;
