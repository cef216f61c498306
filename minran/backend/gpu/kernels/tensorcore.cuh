// The tensor cores' engine: float numbers, rounded to TF32 (8 bits of exponent like a float, but
// 10 bits of mantissa) when they enter shared memory, multiplied exactly, summed in float.

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

// One instruction of a whole warp: C (16 x 8) += A (16 x 8) B (8 x 8). Each of the 32 threads
// holds 4 numbers of A, 2 of B and 4 of C. With g = lane / 4 and q = lane % 4 these are
//   a: (g, q) (g+8, q) (g, q+4) (g+8, q+4)    b: (q, g) (q+4, g)
//   c: (g, 2q) (g, 2q+1) (g+8, 2q) (g+8, 2q+1)
__device__ inline void multiply_fragments(float* c, const float* a, const float* b) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
        "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

#endif

// A tile of ROWS x COLUMNS numbers, DEPTH steps of k at a time. Each warp of 32 threads owns 32 rows
// and up to 32 columns of it: 2 fragments of 16 rows times up to 4 fragments of 8 columns. A tile
// of 64 columns has two warps side by side.
template <int ROWS_, int COLUMNS_, int DEPTH_>
struct Tf32 {
  using Number = float;
  static constexpr int ROWS = ROWS_, COLUMNS = COLUMNS_, DEPTH = DEPTH_;
  static constexpr int WIDTH = COLUMNS < 32 ? COLUMNS : 32, THREADS = ROWS * COLUMNS / WIDTH;
  static constexpr int MY_ROWS = 4, MY_COLUMNS = WIDTH / 4;
  // So many blocks shall fit a multiprocessor, which limits the registers of a thread. Threads of
  // low tiles hold larger steps.
  static constexpr int TOGETHER = (DEPTH > 16 ? 384 : 512) / THREADS;
  static constexpr int ADJACENT = 2;
  // 8 lines (g) times 4 steps (q) of a fragment lie in 32 different banks with these pitches.
  static constexpr int PADDING_ALONG_K = 4, PADDING_ALONG_LINES = 8;

  float sums[2][WIDTH / 8][4] = {};

  static __device__ float round(float value) { return to_tf32(value); }
  static __device__ int g() { return threadIdx.x % 32 / 4; }
  static __device__ int q() { return threadIdx.x % 4; }
  static __device__ int row(int i) {
    return threadIdx.x % ROWS / 32 * 32 + i / 2 * 16 + i % 2 * 8 + g();
  }
  static __device__ int left() { return threadIdx.x / ROWS * WIDTH; }
  static __device__ int column(int j) { return left() + j / 2 * 8 + 2 * q() + j % 2; }
  // Of the threads that own numbers of the same column, the how-manieth this is.
  static __device__ int share() { return threadIdx.x % ROWS / 4; }
  __device__ float& value(int i, int j) { return sums[i / 2][j / 2][i % 2 * 2 + j % 2]; }

  template <typename TileA, typename TileB>
  __device__ void multiply(const TileA& a, const TileB& b) {
    __syncwarp();  // the instruction wants the whole warp, which loads may have parted
#pragma unroll
    for (int k = 0; k < DEPTH; k += 8) {
      float a_fragment[2][4];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int top = row(2 * i), bottom = row(2 * i + 1);
        a_fragment[i][0] = a.at(top, k + q());
        a_fragment[i][1] = a.at(bottom, k + q());
        a_fragment[i][2] = a.at(top, k + q() + 4);
        a_fragment[i][3] = a.at(bottom, k + q() + 4);
      }
#pragma unroll
      for (int j = 0; j < WIDTH / 8; j++) {
        const int line = left() + 8 * j + g();
        const float b_fragment[2] = {b.at(line, k + q()), b.at(line, k + q() + 4)};
#pragma unroll
        for (int i = 0; i < 2; i++) multiply_fragments(sums[i][j], a_fragment[i], b_fragment);
      }
    }
  }
};
