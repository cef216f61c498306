// Softmax and cross-entropy: one block of 64 threads for each row of K scores.

#include "common.cuh"

// The largest score of a row, and the sum of exp(score - largest): no exponential can overflow.
template <typename T>
struct Scores {
  T largest, total;
};

template <typename T>
__device__ Scores<T> look_at(const T* row, int classes) {
  T largest = row[0];
  for (int k = threadIdx.x; k < classes; k += LINE) largest = max(largest, row[k]);
  largest = max_over_line(largest);
  T total = 0;
  for (int k = threadIdx.x; k < classes; k += LINE) total += exp(row[k] - largest);
  return {largest, sum_over_line(total)};
}

// y_k = exp(x_k) / sum exp(x).
template <typename T>
__global__ void softmax(const T* x, T* y, int classes) {
  const int first = blockIdx.x * classes;
  const Scores<T> scores = look_at(x + first, classes);
  for (int k = threadIdx.x; k < classes; k += LINE)
    y[first + k] = exp(x[first + k] - scores.largest) / scores.total;
}

// gx = y (gy - <gy, y>).
template <typename T>
__global__ void softmax_backward(const T* gy, const T* y, T* gx, int classes) {
  const int first = blockIdx.x * classes;
  T average = 0;
  for (int k = threadIdx.x; k < classes; k += LINE) average += gy[first + k] * y[first + k];
  average = sum_over_line(average);
  for (int k = threadIdx.x; k < classes; k += LINE)
    gx[first + k] = y[first + k] * (gy[first + k] - average);
}

// y_k = x_k - log sum exp(x).
template <typename T>
__global__ void log_softmax(const T* x, T* y, int classes) {
  const int first = blockIdx.x * classes;
  const Scores<T> scores = look_at(x + first, classes);
  const T log_total = log(scores.total);
  for (int k = threadIdx.x; k < classes; k += LINE)
    y[first + k] = (x[first + k] - scores.largest) - log_total;
}

// gx_k = gy_k - exp(y_k) sum gy.
template <typename T>
__global__ void log_softmax_backward(const T* gy, const T* y, T* gx, int classes) {
  const int first = blockIdx.x * classes;
  T total = 0;
  for (int k = threadIdx.x; k < classes; k += LINE) total += gy[first + k];
  total = sum_over_line(total);
  for (int k = threadIdx.x; k < classes; k += LINE)
    gx[first + k] = gy[first + k] - exp(y[first + k]) * total;
}

// L = -1/N sum over n, k of t_nk log p_nk. One block walks over all N K products in a fixed
// order; they are few, and the sum is kept in double.
template <typename T>
__global__ void cross_entropy(const T* log_probabilities, const T* targets, T* loss, int rows,
                              int classes) {
  double sum = 0;
  for (int i = threadIdx.x; i < rows * classes; i += LINE)
    if (targets[i] != 0)  // 0 times the logarithm of 0 is 0 here
      sum += double(targets[i]) * double(log_probabilities[i]);
  sum = sum_over_line(sum);
  if (threadIdx.x == 0) loss[0] = T(-sum / rows);
}

// glogits_nk = gy / N (p_nk sum_m t_nm - t_nk); gy is one number.
template <typename T>
__global__ void cross_entropy_backward(const T* gy, const T* log_probabilities, const T* targets,
                                       T* glogits, int rows, int classes) {
  const int first = blockIdx.x * classes;
  T total = 0;
  for (int k = threadIdx.x; k < classes; k += LINE) total += targets[first + k];
  total = sum_over_line(total);
  for (int k = threadIdx.x; k < classes; k += LINE) {
    const T probability = exp(log_probabilities[first + k]);
    glogits[first + k] = gy[0] / rows * (probability * total - targets[first + k]);
  }
}

// outcomes[step % slots] = loss and how many rows are right: those whose first largest score has
// the truth 1. The step is read from device memory, for a captured step to find its place.
template <typename T>
__global__ void record_step(const T* loss, const T* logits, const T* truth,
                            const unsigned* seed_and_step, T* outcomes, int slots, int rows,
                            int classes) {
  int right = 0;
  for (int row = threadIdx.x; row < rows; row += LINE) {
    const T* scores = logits + row * classes;
    int best = 0;
    for (int k = 1; k < classes; k++)
      if (scores[k] > scores[best]) best = k;
    right += truth[row * classes + best] == T(1);
  }
  right = sum_over_line(right);
  if (threadIdx.x == 0) {
    T* slot = outcomes + 2 * (seed_and_step[1] % slots);
    slot[0] = loss[0];
    slot[1] = T(right);
  }
}
