// The paper's attention activations f2 and f3 (Eq. 5 and 6): activations that look at more than
// one number.

#include "common.cuh"

// Eq. 5, one block for each pixel: y = x / norm with norm = sqrt(sum over channels of x^2 + eps).
template <typename T>
__global__ void channel_attention(const T* x, T* y, Real<T>* norm, Real<T> eps, int channels) {
  const T* pixel = x + blockIdx.x * channels;
  Real<T> squares = 0;
  for (int c = threadIdx.x; c < channels; c += LINE) squares += pixel[c] * pixel[c];
  const Real<T> length = sqrt(sum_over_line(squares) + eps);
  for (int c = threadIdx.x; c < channels; c += LINE)
    y[blockIdx.x * channels + c] = pixel[c] / length;
  if (threadIdx.x == 0) norm[blockIdx.x] = length;
}

// gx = (gy - y <gy, y>) / norm: the part of gy along y only changes the length.
template <typename T>
__global__ void channel_attention_backward(const T* gy, const T* y, const Real<T>* norm, T* gx,
                                           int channels) {
  const int first = blockIdx.x * channels;
  const Real<T> along =
      sum_of_line<Real<T>>(channels, [&](int c) { return gy[first + c] * y[first + c]; });
  for (int c = threadIdx.x; c < channels; c += LINE)
    gx[first + c] = (gy[first + c] - y[first + c] * along) / norm[blockIdx.x];
}

// Eq. 6, one block for 16 maps: blockIdx.x counts 16 channels at a time, blockIdx.y the pictures.
// A column of threads owns a map and walks over its pixels three times: mean, variance, result.
//   y = sigmoid((x - mean) inv_std), inv_std = 1 / sqrt(var + eps)
template <typename T>
__global__ void spatial_attention(const T* x, T* y, Real<T>* mean, Real<T>* inv_std, Real<T> eps,
                                  int pixels, int channels) {
  const int c = blockIdx.x * TILE + threadIdx.x, n = blockIdx.y;
  // A column behind the last channel sums zeros: it has to come along to every barrier.
  const int mine = c < channels ? pixels : 0;
  const T* map = x + n * pixels * channels + c;

  using R = Real<T>;
  // Of the distances to the first pixel, so that the mean of a constant map is that constant.
  const R shift = mine ? R(map[0]) : R(0);
  const R total = sum_of_rows<R>(mine, [&](int p) { return map[p * channels] - shift; });
  const R centre = shift + total / pixels;
  const R squares = sum_of_rows<R>(mine, [&](int p) {
    const R d = map[p * channels] - centre;
    return d * d;
  });
  const R scale = R(1) / sqrt(squares / pixels + eps);
  for (int p = threadIdx.y; p < mine; p += TILE)
    y[(n * pixels + p) * channels + c] = logistic((map[p * channels] - centre) * scale);
  if (threadIdx.y == 0 && c < channels) {
    mean[n * channels + c] = centre;
    inv_std[n * channels + c] = scale;
  }
}

// gx = inv_std (g - average(g) - xhat average(g xhat)), g = gy y (1 - y): through the sigmoid,
// then through the normalisation of the map. Blocks as in spatial_attention.
template <typename T>
__global__ void spatial_attention_backward(const T* gy, const T* x, const T* y, const Real<T>* mean,
                                           const Real<T>* inv_std, T* gx, int pixels, int channels) {
  using R = Real<T>;
  const int c = blockIdx.x * TILE + threadIdx.x, n = blockIdx.y;
  const int mine = c < channels ? pixels : 0;
  const int map = n * pixels * channels + c;
  const R centre = c < channels ? mean[n * channels + c] : R(0);
  const R scale = c < channels ? inv_std[n * channels + c] : R(0);

  R sum_g = 0, sum_g_xhat = 0;
  for (int p = threadIdx.y; p < mine; p += TILE) {
    const int i = map + p * channels;
    const R g = gy[i] * y[i] * (1 - y[i]);
    sum_g += g;
    sum_g_xhat += g * (x[i] - centre) * scale;
  }
  const R average_g = sum_over_rows(sum_g) / pixels;
  const R average_g_xhat = sum_over_rows(sum_g_xhat) / pixels;
  for (int p = threadIdx.y; p < mine; p += TILE) {
    const int i = map + p * channels;
    const R g = gy[i] * y[i] * (1 - y[i]);
    gx[i] = scale * (g - average_g - (x[i] - centre) * scale * average_g_xhat);
  }
}
