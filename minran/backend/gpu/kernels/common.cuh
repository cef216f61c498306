// What every kernel file starts from: NVRTC needs no other header.
//
// A kernel runs as a grid of blocks of threads. Each thread works out from its place in the grid
// (blockIdx, threadIdx) which numbers are its own. Threads of one block can talk to each other
// through __shared__ memory; __syncthreads() makes every thread of the block wait for the others,
// so that what one wrote before it, all may read behind it.
//
// Arrays are NHWC and contiguous. T is how maps are stored: float, double or bfloat16. Real<T> is
// what one calculates in, and how everything is stored that is no map; kernels that see no map are
// templates of R, float or double. Sums are always added in the same order, never with atomics: a
// run that is repeated gives the same bits.

#pragma once

// The upper half of a float: its sign, its exponent, 7 of its 23 bits of mantissa. Half the memory,
// and most kernels wait for the memory. It turns into a float by itself, wherever one calculates.
struct bfloat16 {
  unsigned short bits;

  bfloat16() = default;
  // The nearest one; of two as near, the one whose last bit is 0.
  __device__ bfloat16(float x) {
#if !defined(MINRAN_EMULATION) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    const unsigned all = __float_as_uint(x);
    bits = x == x ? (all + 0x7fff + (all >> 16 & 1)) >> 16 : 0x7fc0;
#endif
  }
  __device__ operator float() const { return __uint_as_float(unsigned(bits) << 16); }
};

template <typename T>
struct Calculates {
  using In = T;
};
template <>
struct Calculates<bfloat16> {
  using In = float;
};
template <typename T>
using Real = typename Calculates<T>::In;

// The grid-stride loop: thread t of T takes the items t, t + T, t + 2T, ... below `count`.
// Neighbouring threads take neighbouring items, which the memory serves together.
#define FOR_EACH(item, count)                                             \
  for (int item = blockIdx.x * blockDim.x + threadIdx.x; item < (count); \
       item += gridDim.x * blockDim.x)

// Where a number lies in an (N, rows, columns, channels) array.
struct Position {
  int n, i, j, c;
};

__device__ inline Position unravel(int index, int rows, int columns, int channels) {
  const int pixel = index / channels, line = pixel / columns;
  return {line / rows, line % rows, pixel % columns, index % channels};
}

__device__ inline int offset(Position p, int rows, int columns, int channels) {
  return ((p.n * rows + p.i) * columns + p.j) * channels + p.c;
}

// COUNT numbers that lie together in memory, read and written in one access.
template <typename T, int COUNT>
struct alignas(sizeof(T) * COUNT < 16 ? sizeof(T) * COUNT : 16) Few {
  T number[COUNT];
};

template <int COUNT, typename T>
__device__ inline Few<T, COUNT>& few(T* address) {
  return *reinterpret_cast<Few<T, COUNT>*>(address);
}

template <int COUNT, typename T>
__device__ inline const Few<T, COUNT>& few(const T* address) {
  return *reinterpret_cast<const Few<T, COUNT>*>(address);
}

// The bits of numbers that lie together, by words of 32 bits (16, if they are fewer), and back.
template <typename T, int COUNT>
struct BitsOf {
  using Word = unsigned;
  using Few = ::Few<Word, sizeof(T) * COUNT / 4>;
};
template <>
struct BitsOf<bfloat16, 1> {
  using Word = unsigned short;
  using Few = ::Few<Word, 1>;
};
template <typename T, int COUNT>
using Bits = typename BitsOf<T, COUNT>::Few;

template <typename T, int COUNT>
__device__ inline Bits<T, COUNT> bits_of(Few<T, COUNT> numbers) {
  return reinterpret_cast<Bits<T, COUNT>&>(numbers);
}
template <typename T, int COUNT>
__device__ inline Few<T, COUNT> numbers_of(Bits<T, COUNT> bits) {
  return reinterpret_cast<Few<T, COUNT>&>(bits);
}

// The same numbers, each as a T. Two bfloat16 lie in a word, and are taken from there.
template <typename T, typename From, int COUNT>
__device__ inline Few<T, COUNT> as(const Few<From, COUNT>& numbers) {
  constexpr bool PAIRS = sizeof(From) == 2 && sizeof(T) > 2 && COUNT % 2 == 0;
  Few<T, COUNT> result;
  const auto bits = bits_of(numbers);
#pragma unroll
  for (int e = 0; e < COUNT; e++)
    if constexpr (PAIRS)
      result.number[e] =
          __uint_as_float(e % 2 ? bits.number[e / 2] & 0xffff0000 : bits.number[e / 2] << 16);
    else
      result.number[e] = T(numbers.number[e]);
  return result;
}

template <int COUNT, typename T>
__device__ inline Bits<T, COUNT>& bits_at(T* address) {
  return *reinterpret_cast<Bits<T, COUNT>*>(address);
}
template <int COUNT, typename T>
__device__ inline const Bits<T, COUNT>& bits_at(const T* address) {
  return *reinterpret_cast<const Bits<T, COUNT>*>(address);
}

// y[i] = f(x[i], ...) for all i below count: PIECE neighbours at a time, each piece of an array read
// and written in one access. (y may be one of the x: each thread reads its piece before it writes.)
template <int PIECE, typename T, typename F, typename... In>
__device__ inline void each(int count, T* y, F f, const In*... x) {
  FOR_EACH(piece, count / PIECE) {
    const int i = piece * PIECE;
    const auto values = [&](Few<In, PIECE>... in) {
      Few<T, PIECE> out;
#pragma unroll
      for (int e = 0; e < PIECE; e++) out.number[e] = f(in.number[e]...);
      return out;
    };
    few<PIECE>(y + i) = values(few<PIECE>(x + i)...);
  }
}

// The larger one; a NaN x stays a NaN. From compute capability 8.0 on it is one instruction.
template <typename T>
__device__ inline T at_least(T floor, T x) {
  return x < floor ? floor : x;
}
#if !defined(MINRAN_EMULATION) && __CUDA_ARCH__ >= 800
__device__ inline float at_least(float floor, float x) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(floor));
  return y;
}
#endif

// Blocks that sum over pixels have 16 columns of threads (threadIdx.x), one for each channel, and
// 16 rows (threadIdx.y) that share the pixels: 16 neighbouring channels are read together.
constexpr int TILE = 16;

// Blocks that sum over the tiles of a product have 64 rows: there are many tiles and few channels, so
// few blocks. Kernels bound their registers, so that a multiprocessor has enough for 1024 threads.
constexpr int TILE_ROWS = 64;

// Blocks that sum over channels or classes are one row of 64 threads.
constexpr int LINE = 64;

// Joins the numbers of ROWS rows of threads, for each of COLUMNS columns; every thread gets the
// result. A tree: 16 numbers become 8, 4, 2, 1.
template <int ROWS, int COLUMNS, typename T, typename Join>
__device__ T joined(T value, unsigned row, unsigned column, Join join) {
  __shared__ T cells[ROWS][COLUMNS];
  __syncthreads();  // an earlier call may still be reading the cells
  cells[row][column] = value;
  for (int half = ROWS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (row < half) cells[row][column] = join(cells[row][column], cells[row + half][column]);
  }
  __syncthreads();
  return cells[0][column];
}

struct Add {
  template <typename T>
  __device__ T operator()(T a, T b) const { return a + b; }
};
struct Larger {
  template <typename T>
  __device__ T operator()(T a, T b) const { return max(a, b); }
};

// The sum over the rows of threads, 16 unless said otherwise, for each of 16 columns.
template <int ROWS = TILE, typename T>
__device__ T sum_over_rows(T value) {
  return joined<ROWS, TILE>(value, threadIdx.y, threadIdx.x, Add());
}

// The sum over the 64 threads of a block that is a line, and the largest value.
template <typename T>
__device__ T sum_over_line(T value) {
  return joined<LINE, 1>(value, threadIdx.x, 0, Add());
}
template <typename T>
__device__ T max_over_line(T value) {
  return joined<LINE, 1>(value, threadIdx.x, 0, Larger());
}

// The sum of term(0), ..., term(count - 1), shared among the 64 threads of a line.
template <typename R, typename Term>
__device__ R sum_of_line(int count, Term term) {
  R sum = 0;
  for (int k = threadIdx.x; k < count; k += LINE) sum += term(k);
  return sum_over_line(sum);
}

// The same, shared among the 16 rows of threads, for each column.
template <typename R, typename Term>
__device__ R sum_of_rows(int count, Term term) {
  R sum = 0;
  for (int p = threadIdx.y; p < count; p += TILE) sum += term(p);
  return sum_over_rows(sum);
}

template <typename T>
__device__ inline T logistic(T x) {
  // For a very negative x, exp overflows to infinity and the quotient is 0, as it should be.
  return T(1) / (T(1) + exp(-x));
}
