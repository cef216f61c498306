// Pooling. Window (i, j) starts at row i SH - PH and column j SW - PW and has KH x KW pixels.
// Backward kernels gather: each thread owns one input pixel and asks the windows that hold it,
// instead of windows writing into pixels that they share.
//
// Neighbouring channels share their windows: a thread of the max-pool treats PIECE of them.

#include "common.cuh"

// The rows (or columns) of a window that are real pixels: first <= r < last.
struct Span {
  int first, last;
};

// The last arguments of the kernels with windows.
#define POOL_SIZES                                                                         \
  int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW

__device__ inline Span pixels_of_window(int window, int kernel, int stride, int padding,
                                        int size) {
  const int start = window * stride - padding;
  return {max(start, 0), min(start + kernel, size)};
}

// The windows that hold row (or column) r: first <= window < last.
__device__ inline Span windows_of_pixel(int r, int kernel, int stride, int padding, int windows) {
  const int place = r + padding;  // counted from the start of the padding
  const int first = place < kernel ? 0 : (place - kernel) / stride + 1;
  return {first, min(place / stride + 1, windows)};
}

// y = the largest real pixel of each window. Padding is never read. A NaN wins, and stays.
template <typename T, int PIECE>
__global__ void max_pool(const T* x, T* y, int count, POOL_SIZES) {
  FOR_EACH(piece, count / PIECE) {
    const Position p = unravel(piece, OH, OW, C / PIECE);
    const int c = p.c * PIECE;
    const Span rows = pixels_of_window(p.i, KH, SH, PH, H);
    const Span columns = pixels_of_window(p.j, KW, SW, PW, W);
    Few<T, PIECE> largest = few<PIECE>(x + offset({p.n, rows.first, columns.first, c}, H, W, C));
    for (int r = rows.first; r < rows.last; r++)
      for (int s = columns.first; s < columns.last; s++) {
        const Few<T, PIECE> values = few<PIECE>(x + offset({p.n, r, s, c}, H, W, C));
#pragma unroll
        for (int e = 0; e < PIECE; e++) {
          const T value = values.number[e];
          if (value > largest.number[e] || value != value) largest.number[e] = value;
        }
      }
    few<PIECE>(y + piece * PIECE) = largest;
  }
}

// gx = the sum of gy over the windows whose first maximum, in row-major order, this pixel is: it
// equals the maximum, and no pixel of the window before it does. In a window with NaN it is the last
// NaN, as in PyTorch: no pixel behind it is NaN.
template <typename T, int PIECE>
__global__ void max_pool_backward(const T* gy, const T* x, const T* y, T* gx, int count,
                                  POOL_SIZES) {
  FOR_EACH(piece, count / PIECE) {
    const Position p = unravel(piece, H, W, C / PIECE);
    const int c = p.c * PIECE;
    const Span down = windows_of_pixel(p.i, KH, SH, PH, OH);
    const Span across = windows_of_pixel(p.j, KW, SW, PW, OW);
    const Few<T, PIECE> value = few<PIECE>(x + piece * PIECE);
    Few<Real<T>, PIECE> sum = {};
    for (int i = down.first; i < down.last; i++)
      for (int j = across.first; j < across.last; j++) {
        const int window = offset({p.n, i, j, c}, OH, OW, C);
        const Few<T, PIECE> largest = few<PIECE>(y + window), g = few<PIECE>(gy + window);
        bool mine[PIECE];
#pragma unroll
        for (int e = 0; e < PIECE; e++)
          mine[e] = value.number[e] == largest.number[e] || value.number[e] != value.number[e];
        const Span rows = pixels_of_window(i, KH, SH, PH, H);
        const Span columns = pixels_of_window(j, KW, SW, PW, W);
        for (int r = rows.first; r <= p.i; r++)
          for (int s = columns.first; s < (r < p.i ? columns.last : p.j); s++) {
            const Few<T, PIECE> before = few<PIECE>(x + offset({p.n, r, s, c}, H, W, C));
#pragma unroll
            for (int e = 0; e < PIECE; e++)
              mine[e] = mine[e] && before.number[e] != largest.number[e];
          }
#pragma unroll
        for (int e = 0; e < PIECE; e++)
          if (value.number[e] != value.number[e] && mine[e])
            for (int r = p.i; r < rows.last; r++)
              for (int s = r > p.i ? columns.first : p.j + 1; s < columns.last; s++) {
                const T behind = x[offset({p.n, r, s, c + e}, H, W, C)];
                mine[e] = mine[e] && behind == behind;
              }
#pragma unroll
        for (int e = 0; e < PIECE; e++)
          if (mine[e]) sum.number[e] += g.number[e];
      }
    few<PIECE>(gx + piece * PIECE) = as<T>(sum);
  }
}

// The sum of a map (H, W, C) over some of its rows and columns, in p's picture and channel.
template <typename T>
__device__ Real<T> sum_of_places(const T* map, Position p, Span rows, Span columns, int H, int W,
                                 int C) {
  Real<T> sum = 0;
  for (int i = rows.first; i < rows.last; i++)
    for (int j = columns.first; j < columns.last; j++)
      sum += map[offset({p.n, i, j, p.c}, H, W, C)];
  return sum;
}

// y = sum of the window / (KH KW): zeros outside the picture count.
template <typename T>
__global__ void avg_pool(const T* x, T* y, int count, POOL_SIZES) {
  FOR_EACH(index, count) {
    const Position p = unravel(index, OH, OW, C);
    const Span rows = pixels_of_window(p.i, KH, SH, PH, H);
    const Span columns = pixels_of_window(p.j, KW, SW, PW, W);
    y[index] = sum_of_places(x, p, rows, columns, H, W, C) / (KH * KW);
  }
}

// gx = the sum of gy over the windows that hold this pixel / (KH KW).
template <typename T>
__global__ void avg_pool_backward(const T* gy, T* gx, int count, POOL_SIZES) {
  FOR_EACH(index, count) {
    const Position p = unravel(index, H, W, C);
    const Span down = windows_of_pixel(p.i, KH, SH, PH, OH);
    const Span across = windows_of_pixel(p.j, KW, SW, PW, OW);
    gx[index] = sum_of_places(gy, p, down, across, OH, OW, C) / (KH * KW);
  }
}

// y[n, c] = the mean over the pixels of x[n, :, :, c]. One block for 16 channels of a picture:
// blockIdx.x counts 16 channels at a time, blockIdx.y the pictures.
template <typename T>
__global__ void global_avg_pool(const T* x, T* y, int pixels, int channels) {
  const int c = blockIdx.x * TILE + threadIdx.x, n = blockIdx.y;
  const Real<T> sum = sum_of_rows<Real<T>>(
      c < channels ? pixels : 0, [&](int p) { return x[(n * pixels + p) * channels + c]; });
  if (threadIdx.y == 0 && c < channels) y[n * channels + c] = sum / pixels;
}

// gx[n, p, c] = gy[n, c] / pixels.
template <typename T>
__global__ void global_avg_pool_backward(const T* gy, T* gx, int count, int pixels,
                                         int channels) {
  FOR_EACH(i, count) gx[i] = gy[i / (pixels * channels) * channels + i % channels] / pixels;
}
