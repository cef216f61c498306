// Softmax and cross-entropy: one block of 64 threads for each row of K scores.

#include "common.cuh"

// The largest score of a row, and the sum of exp(score - largest): no exponential can overflow.
template <typename R>
struct Scores {
  R largest, total;
};

template <typename R>
__device__ Scores<R> look_at(const R* row, int classes) {
  R largest = row[0];
  for (int k = threadIdx.x; k < classes; k += LINE) largest = max(largest, row[k]);
  largest = max_over_line(largest);
  const R total = sum_of_line<R>(classes, [&](int k) { return exp(row[k] - largest); });
  return {largest, total};
}

// y_k = exp(x_k) / sum exp(x).
template <typename R>
__global__ void softmax(const R* x, R* y, int classes) {
  const int first = blockIdx.x * classes;
  const Scores<R> scores = look_at(x + first, classes);
  for (int k = threadIdx.x; k < classes; k += LINE)
    y[first + k] = exp(x[first + k] - scores.largest) / scores.total;
}

// gx = y (gy - <gy, y>).
template <typename R>
__global__ void softmax_backward(const R* gy, const R* y, R* gx, int classes) {
  const int first = blockIdx.x * classes;
  const R average =
      sum_of_line<R>(classes, [&](int k) { return gy[first + k] * y[first + k]; });
  for (int k = threadIdx.x; k < classes; k += LINE)
    gx[first + k] = y[first + k] * (gy[first + k] - average);
}

// y_k = x_k - log sum exp(x).
template <typename R>
__global__ void log_softmax(const R* x, R* y, int classes) {
  const int first = blockIdx.x * classes;
  const Scores<R> scores = look_at(x + first, classes);
  const R log_total = log(scores.total);
  for (int k = threadIdx.x; k < classes; k += LINE)
    y[first + k] = (x[first + k] - scores.largest) - log_total;
}

// gx_k = gy_k - exp(y_k) sum gy.
template <typename R>
__global__ void log_softmax_backward(const R* gy, const R* y, R* gx, int classes) {
  const int first = blockIdx.x * classes;
  const R total = sum_of_line<R>(classes, [&](int k) { return gy[first + k]; });
  for (int k = threadIdx.x; k < classes; k += LINE)
    gx[first + k] = gy[first + k] - exp(y[first + k]) * total;
}

// L = -1/N sum over n, k of t_nk log p_nk. One block walks over all N K products in a fixed
// order; they are few, and the sum is kept in double.
template <typename R>
__global__ void cross_entropy(const R* log_probabilities, const R* targets, R* loss, int rows,
                              int classes) {
  double sum = 0;
  for (int i = threadIdx.x; i < rows * classes; i += LINE)
    if (targets[i] != 0)  // 0 times the logarithm of 0 is 0 here
      sum += double(targets[i]) * double(log_probabilities[i]);
  sum = sum_over_line(sum);
  if (threadIdx.x == 0) loss[0] = R(-sum / rows);
}

// glogits_nk = gy / N (p_nk sum_m t_nm - t_nk); gy is one number.
template <typename R>
__global__ void cross_entropy_backward(const R* gy, const R* log_probabilities, const R* targets,
                                       R* glogits, int rows, int classes) {
  const int first = blockIdx.x * classes;
  const R total = sum_of_line<R>(classes, [&](int k) { return targets[first + k]; });
  for (int k = threadIdx.x; k < classes; k += LINE) {
    const R probability = exp(log_probabilities[first + k]);
    glogits[first + k] = gy[0] / rows * (probability * total - targets[first + k]);
  }
}

// outcomes[step % slots] = loss and how many rows are right: those whose first largest score has
// the truth 1. The step is read from device memory, for a captured step to find its place.
template <typename R>
__global__ void record_step(const R* loss, const R* logits, const R* truth,
                            const unsigned* seed_and_step, R* outcomes, int slots, int rows,
                            int classes) {
  const int right = sum_of_line<int>(rows, [&](int row) {
    const R* scores = logits + row * classes;
    int best = 0;
    for (int k = 1; k < classes; k++)
      if (scores[k] > scores[best]) best = k;
    return truth[row * classes + best] == R(1);
  });
  if (threadIdx.x == 0) {
    R* slot = outcomes + 2 * (seed_and_step[1] % slots);
    slot[0] = loss[0];
    slot[1] = R(right);
  }
}
