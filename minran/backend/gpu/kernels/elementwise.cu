// One number in, one number out: sums, ReLU, sigmoid, and the gate of an attention module.
// Each thread computes the numbers that `each` gives it, PIECE neighbours at a time, and needs no
// other thread.

#include "common.cuh"

// y = a + b.
template <typename T, int PIECE>
__global__ void add(const T* a, const T* b, T* y, int count) {
  each<PIECE>(count, y, [](T a, T b) { return a + b; }, a, b);
}

// y = max(x, 0). Asked this way round, a NaN stays a NaN.
template <typename T, int PIECE>
__global__ void relu(const T* x, T* y, int count) {
  each<PIECE>(count, y, [](T x) { return x < T(0) ? T(0) : x; }, x);
}

// gx = gy where y, which is never negative, is not 0, else 0: where it is NaN, gy passes.
template <typename T, int PIECE>
__global__ void relu_backward(const T* gy, const T* y, T* gx, int count) {
  each<PIECE>(count, gx, [](T gy, T y) { return y != T(0) ? gy : T(0); }, gy, y);
}

// y = 1 / (1 + exp(-x)).
template <typename T, int PIECE>
__global__ void sigmoid(const T* x, T* y, int count) {
  each<PIECE>(count, y, [](T x) { return logistic(Real<T>(x)); }, x);
}

// gx = gy y (1 - y).
template <typename T, int PIECE>
__global__ void sigmoid_backward(const T* gy, const T* y, T* gx, int count) {
  each<PIECE>(count, gx, [](T gy, T y) { return gy * y * (T(1) - y); }, gy, y);
}

// Eq. 3: h = (1 + M) T if `residual`; Eq. 1: h = M T if not. `one` is that 1, or 0.
template <typename T, int PIECE>
__global__ void gate(const T* mask, const T* trunk, T* h, int residual, int count) {
  const Real<T> one = residual;
  each<PIECE>(count, h, [one](T mask, T trunk) { return (one + mask) * trunk; }, mask, trunk);
}

// The same with M = 1 / (1 + exp(-x)), which is never stored.
template <typename T, int PIECE>
__global__ void sigmoid_gate(const T* x, const T* trunk, T* h, int residual, int count) {
  const Real<T> one = residual;
  each<PIECE>(
      count, h, [one](Real<T> x, Real<T> trunk) { return (one + logistic(x)) * trunk; }, x, trunk);
}

// gM = gy T and gT = gy (1 + M), or gy M: both in one pass over the numbers. If THROUGH_SIGMOID,
// `mask` holds x instead, and the first result is gx = gM M (1 - M).
template <typename T, int PIECE, bool THROUGH_SIGMOID>
__device__ inline void back_through_gate(const T* gy, const T* mask, const T* trunk, T* gmask,
                                         T* gtrunk, int residual, int count) {
  using R = Real<T>;
  const R one = residual;
  FOR_EACH(piece, count / PIECE) {
    const int i = piece * PIECE;
    const Few<T, PIECE> g = few<PIECE>(gy + i), m = few<PIECE>(mask + i), t = few<PIECE>(trunk + i);
    Few<T, PIECE> of_mask, of_trunk;
#pragma unroll
    for (int e = 0; e < PIECE; e++) {
      const R weight = THROUGH_SIGMOID ? logistic(R(m.number[e])) : R(m.number[e]);
      const R gradient = g.number[e] * t.number[e];
      of_mask.number[e] = THROUGH_SIGMOID ? gradient * weight * (1 - weight) : gradient;
      of_trunk.number[e] = g.number[e] * (one + weight);
    }
    few<PIECE>(gmask + i) = of_mask;
    few<PIECE>(gtrunk + i) = of_trunk;
  }
}

template <typename T, int PIECE>
__global__ void gate_backward(const T* gy, const T* mask, const T* trunk, T* gmask, T* gtrunk,
                              int residual, int count) {
  back_through_gate<T, PIECE, false>(gy, mask, trunk, gmask, gtrunk, residual, count);
}

template <typename T, int PIECE>
__global__ void sigmoid_gate_backward(const T* gy, const T* x, const T* trunk, T* gx, T* gtrunk,
                                      int residual, int count) {
  back_through_gate<T, PIECE, true>(gy, x, trunk, gx, gtrunk, residual, count);
}
