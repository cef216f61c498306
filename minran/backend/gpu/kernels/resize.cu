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

// (1 - f) a + f b, and a where f is 0: 0 times an infinite b would be NaN.
template <typename T>
__device__ inline T between(T a, T b, T f) {
  return f == T(0) ? a : (T(1) - f) * a + f * b;
}

// A thread of the kernels treats PIECE neighbouring channels: they share their places and weights.
template <typename T, int PIECE>
__global__ void upsample(const T* x, T* y, int count, int h, int w, int H, int W, int C,
                         int align_corners) {
  const Line down = line(h, H, align_corners), across = line(w, W, align_corners);
  FOR_EACH(piece, count / PIECE) {
    const Position p = unravel(piece, H, W, C / PIECE);
    const int c = p.c * PIECE;
    const Reading<Real<T>> r = reading<Real<T>>(down, p.i), s = reading<Real<T>>(across, p.j);
    const auto at = [&](int i, int j) { return few<PIECE>(x + offset({p.n, i, j, c}, h, w, C)); };
    const Few<T, PIECE> a = at(r.left, s.left), b = at(r.left, s.right);
    const Few<T, PIECE> d = at(r.right, s.left), e = at(r.right, s.right);
    Few<T, PIECE> out;
#pragma unroll
    for (int k = 0; k < PIECE; k++) {
      const Real<T> top = between<Real<T>>(a.number[k], b.number[k], s.fraction);
      const Real<T> bottom = between<Real<T>>(d.number[k], e.number[k], s.fraction);
      out.number[k] = between(top, bottom, r.fraction);
    }
    few<PIECE>(y + piece * PIECE) = out;
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
template <typename T, int PIECE>
__global__ void upsample_backward(const T* gy, T* gx, int count, int h, int w, int H, int W,
                                  int C, int align_corners) {
  const Line down = line(h, H, align_corners), across = line(w, W, align_corners);
  FOR_EACH(piece, count / PIECE) {
    const Position p = unravel(piece, h, w, C / PIECE);
    const int c = p.c * PIECE;
    const Readers rows = readers(down, p.i), columns = readers(across, p.j);
    Few<Real<T>, PIECE> sum = {};
    for (int j = columns.first; j < columns.last; j++) {
      const Real<T> share = weight<Real<T>>(across, j, p.j);
      for (int i = rows.first; i < rows.last; i++) {
        const Real<T> part = share * weight<Real<T>>(down, i, p.i);
        if (part == 0) continue;
        const Few<T, PIECE> g = few<PIECE>(gy + offset({p.n, i, j, c}, H, W, C));
#pragma unroll
        for (int k = 0; k < PIECE; k++) sum.number[k] += part * g.number[k];
      }
    }
    few<PIECE>(gx + piece * PIECE) = as<T>(sum);
  }
}
