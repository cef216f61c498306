// Bilinear interpolation as a gather, forward and backward.
//
// Along one axis, target i reads at the source position
//
//   align_corners:  i (source - 1) / (target - 1)
//   otherwise:      (i + 1/2) source / target - 1/2
//
// Both are fractions of whole numbers, (slope i + shift) / divisor, so that whole-number division
// finds the pixel left of the position without rounding.

#include "common.cuh"

struct Line {
  int source, target, slope, shift, divisor;
};

__device__ inline Line line(int source, int target, int align_corners) {
  if (align_corners) return {source, target, source - 1, 0, max(target - 1, 1)};
  return {source, target, 2 * source, source - target, 2 * target};
}

// Target i is (1 - fraction) source[left] + fraction source[right].
template <typename T>
struct Reading {
  int left, right;
  T fraction;
};

template <typename T>
__device__ Reading<T> reading(Line a, int i) {
  const int position = max(a.slope * i + a.shift, 0);
  const int left = min(position / a.divisor, a.source - 1);
  const T fraction = T(position - left * a.divisor) / T(a.divisor);
  // Behind the last pixel there is no next one: the last pixel answers for both.
  return {left, min(left + 1, a.source - 1), fraction};
}

// How much of source pixel s is in target i: an entry of the interpolation matrix.
template <typename T>
__device__ T weight(Line a, int i, int s) {
  const Reading<T> r = reading<T>(a, i);
  return (r.left == s ? T(1) - r.fraction : T(0)) + (r.right == s ? r.fraction : T(0));
}

template <typename T>
__global__ void upsample(const T* x, T* y, int count, int h, int w, int H, int W, int C,
                         int align_corners) {
  const Line down = line(h, H, align_corners), across = line(w, W, align_corners);
  FOR_EACH(index, count) {
    const Position p = unravel(index, H, W, C);
    const Reading<T> r = reading<T>(down, p.i), s = reading<T>(across, p.j);
    const T top = (T(1) - s.fraction) * x[offset({p.n, r.left, s.left, p.c}, h, w, C)] +
                  s.fraction * x[offset({p.n, r.left, s.right, p.c}, h, w, C)];
    const T bottom = (T(1) - s.fraction) * x[offset({p.n, r.right, s.left, p.c}, h, w, C)] +
                     s.fraction * x[offset({p.n, r.right, s.right, p.c}, h, w, C)];
    y[index] = (T(1) - r.fraction) * top + r.fraction * bottom;
  }
}

// The targets that may read source s: those whose position lies between s - 1 and s + 1.
struct Readers {
  int first, last;
};

__device__ inline Readers readers(Line a, int s) {
  if (a.slope == 0) return {0, a.target};  // one source pixel (or one target): everyone may
  const int behind = (s - 1) * a.divisor - a.shift, before = (s + 1) * a.divisor - a.shift;
  const int first = behind > 0 ? behind / a.slope : 0;
  return {first, min(before / a.slope + 1, a.target)};
}

// gx[s] = sum over the targets that read s of weight * gy: the same weights, transposed.
template <typename T>
__global__ void upsample_backward(const T* gy, T* gx, int count, int h, int w, int H, int W,
                                  int C, int align_corners) {
  const Line down = line(h, H, align_corners), across = line(w, W, align_corners);
  FOR_EACH(index, count) {
    const Position p = unravel(index, h, w, C);
    const Readers rows = readers(down, p.i), columns = readers(across, p.j);
    T sum = 0;
    for (int i = rows.first; i < rows.last; i++) {
      T along_row = 0;
      for (int j = columns.first; j < columns.last; j++)
        along_row += weight<T>(across, j, p.j) * gy[offset({p.n, i, j, p.c}, H, W, C)];
      sum += weight<T>(down, i, p.i) * along_row;
    }
    gx[index] = sum;
  }
}
