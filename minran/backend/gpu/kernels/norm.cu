// Batch normalisation. x is seen as (P, C): P = N H W pixels, C channels.
//
// Sums over all pixels are made in two launches. In the first, the pixels are cut into chunks and
// each block sums one chunk for 16 channels; in the second, one block adds the chunks, in order.
// Sums are kept in double: they are waiting for memory anyway, and the digits are worth it.

#include "common.cuh"

// Two sums over chunk blockIdx.y of the pixels, for channel c of 16 blockIdx.x + (0..15):
// add(i, one, other) adds number i of x. partial: (2, chunks, C), first one, then the other.
template <typename Adds>
__device__ inline void sum_chunk(int c, double* partial, int pixels, int channels,
                                 int chunk_pixels, Adds add) {
  const int first = blockIdx.y * chunk_pixels, last = min(first + chunk_pixels, pixels);
  double one = 0, other = 0;
  if (c < channels)
    for (int p = first + threadIdx.y; p < last; p += TILE) add(p * channels + c, one, other);
  one = sum_over_rows(one);
  other = sum_over_rows(other);
  if (threadIdx.y == 0 && c < channels) {
    partial[blockIdx.y * channels + c] = one;
    partial[(gridDim.y + blockIdx.y) * channels + c] = other;
  }
}

// Sums of d and d^2 with d = x - shift, where shift is the channel's very first value.
// mean(x^2) - mean(x)^2 on the raw numbers would lose its digits when the mean is large; the shift
// takes the large part out.
template <typename T>
__global__ void moments_of_chunk(const T* x, double* partial, int pixels, int channels,
                                 int chunk_pixels) {
  const int c = blockIdx.x * TILE + threadIdx.x;
  const double shift = c < channels ? double(x[c]) : 0.0;
  sum_chunk(c, partial, pixels, channels, chunk_pixels, [&](int i, double& sum, double& squares) {
    const double d = x[i] - shift;
    sum += d;
    squares += d * d;
  });
}

// Adds the chunks of channel c: each row of threads takes every 16th, then the tree adds the rows.
// Columns behind the last channel bring zeros.
__device__ inline double sum_of_chunks(const double* partial, int c, int channels, int chunks) {
  double sum = 0;
  if (c < channels)
    for (int chunk = threadIdx.y; chunk < chunks; chunk += TILE)
      sum += partial[chunk * channels + c];
  return sum_over_rows(sum);
}

// mean = shift + mean(d), var = mean(d^2) - mean(d)^2 (biased).
template <typename T>
__global__ void moments(const T* x, const double* partial, double* mean, double* var, int pixels,
                        int channels, int chunks) {
  const int c = blockIdx.x * TILE + threadIdx.x;
  const double d = sum_of_chunks(partial, c, channels, chunks) / pixels;
  const double d2 = sum_of_chunks(partial + chunks * channels, c, channels, chunks) / pixels;
  if (threadIdx.y == 0 && c < channels) {
    mean[c] = x[c] + d;
    var[c] = max(d2 - d * d, 0.0);
  }
}

// y = gamma (x - mean) inv_std + beta, then max(y, 0) if `relu`. The mean is subtracted as a T, which
// is exact for numbers of its size; what rounding it left is `rest`. A thread treats PIECE neighbouring
// channels at once, mostly the same ones (see batch_norm_backward_input).
template <typename T, int PIECE>
__global__ void batch_norm(const T* x, const Real<T>* gamma, const Real<T>* beta,
                           const double* mean, const double* inv_std, T* y, int relu, int count,
                           int channels) {
  using R = Real<T>;
  R centre[PIECE] = {}, rest[PIECE] = {}, scale[PIECE] = {}, shift[PIECE] = {};
  int known = -1;
  FOR_EACH(piece, count / PIECE) {
    const int i = piece * PIECE, first = i % channels;
    if (first != known) {
      known = first;
#pragma unroll
      for (int e = 0; e < PIECE; e++) {
        const int c = first + e;
        centre[e] = R(mean[c]), rest[e] = R(mean[c] - centre[e]);
        scale[e] = gamma[c] * R(inv_std[c]), shift[e] = beta[c];
      }
    }
    Few<T, PIECE> numbers = few<PIECE>(x + i);
#pragma unroll
    for (int e = 0; e < PIECE; e++) {
      const R value = (numbers.number[e] - centre[e] - rest[e]) * scale[e] + shift[e];
      numbers.number[e] = relu && value < R(0) ? R(0) : value;
    }
    few<PIECE>(y + i) = numbers;
  }
}

// Batch norm as scale (x - centre) + shift: scale = gamma inv_std, centre is the mean as an R, and
// shift = beta - scale times what this rounding left. scale x + shift would lose the digits of x
// that a large mean takes up.
template <typename R>
__device__ inline void write_affine(R gamma, R beta, double mean, double inv_std, R& scale, R& shift,
                                    R& centre) {
  const double product = double(gamma) * inv_std;
  scale = R(product);
  centre = R(mean);
  shift = R(double(beta) - (mean - centre) * product);
}

template <typename R>
__global__ void scale_and_shift(const R* gamma, const R* beta, const double* mean,
                                const double* inv_std, R* scale, R* shift, R* centre,
                                int channels) {
  FOR_EACH(c, channels)
    write_affine(gamma[c], beta[c], mean[c], inv_std[c], scale[c], shift[c], centre[c]);
}

// What a training step does with the moments of a map, for every channel in one launch. Blocks as
// TILE_ROWS says. If `tile_moments` is given, (tiles, 2, channels), mean and var are made of what
// the tiles of conv_forward left: with m pixels in all, m_t of them in tile t, and
// d_t = mean_t - mean_0, which takes out what all means have in common,
//   d = 1/m sum m_t d_t,   mean = mean_0 + d,   var = 1/m sum (squares_t + m_t d_t^2) - d^2
// Then, if gamma is given,
//   inv_std = 1 / sqrt(var + eps)
//   running = (1 - momentum) running + momentum batch, with the unbiased variance var `unbias`
// and the norm as scale (x - centre) + shift.
template <typename R>
__global__ void __launch_bounds__(TILE * TILE_ROWS)
finish_norm(const R* tile_moments, double* mean, double* var, const R* gamma, const R* beta,
            R* running_mean, R* running_var, double* inv_std, R* scale, R* shift, R* centre,
            double momentum, double unbias, double eps, int tiles, int tile_rows, int pixels,
            int channels) {
  const int c = blockIdx.x * TILE + threadIdx.x;
  const bool mine = threadIdx.y == 0 && c < channels;
  if (tile_moments) {
    const double first = c < channels ? tile_moments[c] : R(0);
    double sum = 0, squares = 0;
    for (int t = threadIdx.y; c < channels && t < tiles; t += TILE_ROWS) {
      const double count = min(tile_rows, pixels - t * tile_rows);
      const double d = tile_moments[2 * t * channels + c] - first;
      sum += count * d;
      squares += tile_moments[(2 * t + 1) * channels + c] + count * d * d;
    }
    sum = sum_over_rows<TILE_ROWS>(sum);
    squares = sum_over_rows<TILE_ROWS>(squares);
    if (mine) {
      const double d = sum / pixels;
      mean[c] = first + d;
      var[c] = max(squares / pixels - d * d, 0.0);
    }
  }
  if (!mine || !gamma) return;
  inv_std[c] = 1 / sqrt(var[c] + eps);
  running_mean[c] = R((1 - momentum) * running_mean[c] + momentum * mean[c]);
  running_var[c] = R((1 - momentum) * running_var[c] + momentum * unbias * var[c]);
  write_affine(gamma[c], beta[c], mean[c], inv_std[c], scale[c], shift[c], centre[c]);
}

// Sums of g and g (x - mean).
template <typename T>
__global__ void backward_sums_of_chunk(const T* gy, const T* x, const T* y, const double* mean,
                                       double* partial, int pixels, int channels,
                                       int chunk_pixels) {
  const int c = blockIdx.x * TILE + threadIdx.x;
  const double centre = c < channels ? mean[c] : 0.0;
  sum_chunk(c, partial, pixels, channels, chunk_pixels, [&](int i, double& sum, double& along) {
    const double g = !y || y[i] != T(0) ? gy[i] : T(0);  // what the ReLU let through, if there is one
    sum += g;
    along += g * (x[i] - centre);
  });
}

// gbeta = sum g, ggamma = sum g xhat with xhat = (x - mean) inv_std.
__global__ void backward_sums(const double* inv_std, const double* partial, double* ggamma,
                              double* gbeta, int /* pixels */, int channels, int chunks) {
  const int c = blockIdx.x * TILE + threadIdx.x;
  const double sum = sum_of_chunks(partial, c, channels, chunks);
  const double sum_along = sum_of_chunks(partial + chunks * channels, c, channels, chunks);
  if (threadIdx.y == 0 && c < channels) {
    gbeta[c] = sum;
    ggamma[c] = sum_along * inv_std[c];
  }
}

// gx = gamma inv_std (g - gbeta / count - xhat ggamma / count): what x does directly, through the
// mean and through the variance. per_count is 1 / count, or 0 when the statistics are constants.
//
// A thread treats PIECE neighbouring channels at once. Its next numbers are mostly of the same
// channels again (the grid's stride is a multiple of C if C is a power of two): what it has read
// about them it keeps.
template <typename T, int PIECE>
__global__ void batch_norm_backward_input(const T* gy, const T* x, const T* y,
                                          const Real<T>* gamma, const double* mean,
                                          const double* inv_std, const double* ggamma,
                                          const double* gbeta, T* gx, Real<T> per_count,
                                          int count, int channels) {
  using R = Real<T>;
  R centre[PIECE] = {}, scale[PIECE] = {}, factor[PIECE] = {};
  R along[PIECE] = {}, direct[PIECE] = {};
  int known = -1;
  FOR_EACH(piece, count / PIECE) {
    const int i = piece * PIECE, first = i % channels;
    if (first != known) {
      known = first;
#pragma unroll
      for (int e = 0; e < PIECE; e++) {
        const int c = first + e;
        centre[e] = R(mean[c]), scale[e] = R(inv_std[c]), factor[e] = gamma[c] * scale[e];
        along[e] = R(ggamma[c]);
        // What rounding left of the mean is the same for all pixels.
        direct[e] = R(gbeta[c] - (mean[c] - centre[e]) * inv_std[c] * ggamma[c]);
      }
    }
    const Few<T, PIECE> in = few<PIECE>(x + i);
    Few<T, PIECE> g = few<PIECE>(gy + i);
    if (y) {
      const Few<T, PIECE> out = few<PIECE>(y + i);
#pragma unroll
      for (int e = 0; e < PIECE; e++) g.number[e] = out.number[e] != T(0) ? g.number[e] : T(0);
    }
#pragma unroll
    for (int e = 0; e < PIECE; e++) {
      const R xhat = (in.number[e] - centre[e]) * scale[e];
      const R pull = per_count == 0 ? R(0) : (direct[e] + xhat * along[e]) * per_count;
      g.number[e] = factor[e] * (g.number[e] - pull);
    }
    few<PIECE>(gx + i) = g;
  }
}
