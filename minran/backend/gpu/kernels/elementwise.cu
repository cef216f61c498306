// One number in, one number out: sums, ReLU, sigmoid, and the gate of an attention module.
// Each thread computes the numbers that the grid-stride loop gives it and needs no other thread.

#include "common.cuh"

// y = a + b. (y may be a or b: each thread reads its numbers before it writes.)
template <typename T>
__global__ void add(const T* a, const T* b, T* y, int count) {
  FOR_EACH(i, count) y[i] = a[i] + b[i];
}

// y = max(x, 0). Asked this way round, a NaN stays a NaN.
template <typename T>
__global__ void relu(const T* x, T* y, int count) {
  FOR_EACH(i, count) y[i] = x[i] < T(0) ? T(0) : x[i];
}

// gx = gy where y, which is never negative, is not 0, else 0: where it is NaN, gy passes.
template <typename T>
__global__ void relu_backward(const T* gy, const T* y, T* gx, int count) {
  FOR_EACH(i, count) gx[i] = y[i] != T(0) ? gy[i] : T(0);
}

// y = 1 / (1 + exp(-x)).
template <typename T>
__global__ void sigmoid(const T* x, T* y, int count) {
  FOR_EACH(i, count) y[i] = logistic(Real<T>(x[i]));
}

// gx = gy y (1 - y).
template <typename T>
__global__ void sigmoid_backward(const T* gy, const T* y, T* gx, int count) {
  FOR_EACH(i, count) gx[i] = gy[i] * y[i] * (T(1) - y[i]);
}

// Eq. 3: h = (1 + M) T if `residual`; Eq. 1: h = M T if not. `one` is that 1, or 0.
template <typename T>
__global__ void gate(const T* mask, const T* trunk, T* h, int residual, int count) {
  const Real<T> one = residual;
  FOR_EACH(i, count) h[i] = (one + mask[i]) * trunk[i];
}

// gM = gy T and gT = gy (1 + M), or gy M: both in one pass over the numbers.
template <typename T>
__global__ void gate_backward(const T* gy, const T* mask, const T* trunk, T* gmask, T* gtrunk,
                              int residual, int count) {
  const Real<T> one = residual;
  FOR_EACH(i, count) {
    gmask[i] = gy[i] * trunk[i];
    gtrunk[i] = gy[i] * (one + mask[i]);
  }
}
