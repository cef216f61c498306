// Convolution as a matrix product whose matrices are never stored ("implicit GEMM").
//
//   y[n, i, j, o] = sum over a, b, c of x[n, i SH - PH + a, j SW - PW + b, c] w[a, b, c, o]
//
// is one product with a row for each output pixel (n, i, j), a column for each output channel o,
// and k counting the triples (a, b, c). Its two gradients are products of the same kind:
//
//   forward   y  [pixel of y, o]   = sum over (a, b, c)       of  x[...]  w[a, b, c, o]
//   input     gx [pixel of x, c]   = sum over (a, b, o)       of  gy[...] w[a, b, c, o]
//   filters   gw [(a, b, c), o]    = sum over the pixels of y of  x[...]  gy[pixel, o]
//
// With groups, C and O are cut into G parts, and part g of y sees part g of x only: every group
// is a product of its own, with CG = C / G and OG = O / G channels.

#include "common.cuh"
#include "conv_views.cuh"
#include "product.cuh"
#include "tensorcore.cuh"

template <typename Engine>
using Number = typename Engine::Number;

// y, plus `residual` if there is one. tile_moments, if wanted, gets for each tile of rows and each
// channel the mean of y and the sum of squares around it: (tiles, 2, O).
template <typename Engine, int PIECE>
__global__ void __launch_bounds__(Engine::THREADS)
    conv_forward(const Number<Engine>* x, const Number<Engine>* w, const Number<Engine>* scale,
                 const Number<Engine>* shift, const Number<Engine>* residual, Number<Engine>* y,
                 Number<Engine>* tile_moments, CONV_SIZES) {
  using T = Number<Engine>;
  const Sizes s = CONV_SIZES_OF_GROUP(blockIdx.z);
  const int row = blockIdx.x * Engine::ROWS, column = blockIdx.y * Engine::COLUMNS;
  Engine engine;
  product<PIECE>(engine, Patches<T>{x, scale, shift, s}, Filters<T>{w, s}, row, column, 0,
                 KH * KW * s.CG);

#pragma unroll
  for (int i = 0; i < Engine::MY_ROWS; i++)
#pragma unroll
    for (int j = 0; j < Engine::MY_COLUMNS; j++) {
      const int pixel = row + engine.row(i), o = column + engine.column(j);
      if (pixel < N * OH * OW && o < s.OG) {
        const int index = pixel * O + s.group * s.OG + o;
        if (residual) engine.value(i, j) += residual[index];
        y[index] = engine.value(i, j);
      }
    }
  if (!tile_moments) return;

  const int rows = min(Engine::ROWS, N * OH * OW - row);
  T mean[Engine::MY_COLUMNS], squares[Engine::MY_COLUMNS];
  sum_columns(engine, rows, mean, [&](int i, int j) { return engine.value(i, j); });
#pragma unroll
  for (int j = 0; j < Engine::MY_COLUMNS; j++) mean[j] /= rows;
  sum_columns(engine, rows, squares, [&](int i, int j) {
    const T d = engine.value(i, j) - mean[j];
    return d * d;
  });
  T* moments = tile_moments + 2 * blockIdx.x * O + s.group * s.OG + column;
  store_columns(engine, mean, s.OG - column, moments);
  store_columns(engine, squares, s.OG - column, moments + O);
}

// gx. Or, if `scale` is given, g: the gradient at scale x + shift, before the ReLU. Then tile_sums
// gets for each tile of rows and each channel the sums of g and of g (x - mean): (tiles, 2, C).
template <typename Engine, int PIECE>
__global__ void __launch_bounds__(Engine::THREADS)
    conv_input(const Number<Engine>* gy, const Number<Engine>* w, const Number<Engine>* x,
               const Number<Engine>* scale, const Number<Engine>* shift, const double* mean,
               Number<Engine>* gx, Number<Engine>* tile_sums, CONV_SIZES) {
  using T = Number<Engine>;
  const Sizes s = CONV_SIZES_OF_GROUP(blockIdx.z);
  const int row = blockIdx.x * Engine::ROWS, column = blockIdx.y * Engine::COLUMNS;
  Engine engine;
  product<PIECE>(engine, Readers<T>{gy, s}, TransposedFilters<T>{w, s}, row, column, 0,
                 KH * KW * s.OG);

  // Of number (i, j) of this thread: its channel, and its place in x.
  const auto channel = [&](int j) { return s.group * s.CG + column + engine.column(j); };
  const auto place = [&](int i, int j) { return (row + engine.row(i)) * C + channel(j); };
#pragma unroll
  for (int i = 0; i < Engine::MY_ROWS; i++)
#pragma unroll
    for (int j = 0; j < Engine::MY_COLUMNS; j++)
      if (row + engine.row(i) < N * H * W && column + engine.column(j) < s.CG) {
        if (scale && !(scale[channel(j)] * x[place(i, j)] + shift[channel(j)] > T(0)))
          engine.value(i, j) = 0;
        gx[place(i, j)] = engine.value(i, j);
      }
  if (!scale) return;

  const int rows = min(Engine::ROWS, N * H * W - row);
  T sum[Engine::MY_COLUMNS], along[Engine::MY_COLUMNS];
  sum_columns(engine, rows, sum, [&](int i, int j) { return engine.value(i, j); });
  sum_columns(engine, rows, along, [&](int i, int j) {
    if (column + engine.column(j) >= s.CG) return T(0);
    return engine.value(i, j) * (x[place(i, j)] - T(mean[channel(j)]));
  });
  T* sums = tile_sums + 2 * blockIdx.x * C + s.group * s.CG + column;
  store_columns(engine, sum, s.CG - column, sums);
  store_columns(engine, along, s.CG - column, sums + C);
}

// gw has few numbers, and each is a sum over very many pixels. To keep the whole GPU busy, the
// pixels are cut into slices: blockIdx.z counts groups and slices, and each slice stores its sums
// as a gw of its own. sum_of_slices adds them.
template <typename Engine, int PIECE>
__global__ void __launch_bounds__(Engine::THREADS)
    conv_filters(const Number<Engine>* x, const Number<Engine>* gy,
                 const Number<Engine>* scale, const Number<Engine>* shift,
                 Number<Engine>* slices, int slice_pixels, CONV_SIZES) {
  using T = Number<Engine>;
  const int slice = blockIdx.z / G, first = slice * slice_pixels;
  const Sizes s = CONV_SIZES_OF_GROUP(blockIdx.z % G);
  const int row = blockIdx.x * Engine::ROWS, column = blockIdx.y * Engine::COLUMNS;
  const int taps = KH * KW * s.CG;
  Engine engine;
  product<PIECE>(engine, TransposedPatches<T>{x, scale, shift, s},
                 OutputGradient<T>{gy, s}, row, column, first,
                 min(first + slice_pixels, N * OH * OW));

#pragma unroll
  for (int i = 0; i < Engine::MY_ROWS; i++)
#pragma unroll
    for (int j = 0; j < Engine::MY_COLUMNS; j++) {
      const int k = row + engine.row(i), o = column + engine.column(j);
      if (k < taps && o < s.OG)
        slices[(slice * taps + k) * O + s.group * s.OG + o] = engine.value(i, j);
    }
}

// gw = the sum of the slices, always in the same order: a column of threads for each number; the
// rows of threads share the slices.
template <typename T>
__global__ void sum_of_slices(const T* slices, T* gw, int count, int size) {
  const int index = blockIdx.x * TILE + threadIdx.x;
  T sum = 0;
  if (index < size)
    for (int slice = threadIdx.y; slice < count; slice += TILE) sum += slices[slice * size + index];
  sum = sum_over_rows(sum);
  if (threadIdx.y == 0 && index < size) gw[index] = sum;
}

// Batch statistics from the tiles of conv_forward: with m pixels in all and m_t in tile t,
//   mean = 1/m sum m_t mean_t,   var = 1/m sum (squares_t + m_t (mean_t - mean)^2)
// tile_moments: (tiles, 2, channels). Blocks as in norm.cu.
template <typename T>
__global__ void moments_of_tiles(const T* tile_moments, double* mean, double* var, int tiles,
                                 int tile_rows, int pixels, int channels) {
  const int c = blockIdx.x * TILE + threadIdx.x;
  double sum = 0, squares = 0;
  for (int t = threadIdx.y; c < channels && t < tiles; t += TILE)
    sum += double(min(tile_rows, pixels - t * tile_rows)) * tile_moments[2 * t * channels + c];
  const double centre = sum_over_rows(sum) / pixels;
  for (int t = threadIdx.y; c < channels && t < tiles; t += TILE) {
    const double d = tile_moments[2 * t * channels + c] - centre;
    squares += tile_moments[(2 * t + 1) * channels + c] +
               d * d * min(tile_rows, pixels - t * tile_rows);
  }
  squares = sum_over_rows(squares);
  if (threadIdx.y == 0 && c < channels) {
    mean[c] = centre;
    var[c] = squares / pixels;
  }
}

// gbeta and ggamma from the tiles of conv_input: gbeta = sum g, ggamma = sum g (x - mean) inv_std.
template <typename T>
__global__ void sums_of_tiles(const T* tile_sums, const double* inv_std, double* ggamma,
                              double* gbeta, int tiles, int channels) {
  const int c = blockIdx.x * TILE + threadIdx.x;
  double sum = 0, along = 0;
  for (int t = threadIdx.y; c < channels && t < tiles; t += TILE) {
    sum += tile_sums[2 * t * channels + c];
    along += tile_sums[(2 * t + 1) * channels + c];
  }
  sum = sum_over_rows(sum);
  along = sum_over_rows(along);
  if (threadIdx.y == 0 && c < channels) {
    gbeta[c] = sum;
    ggamma[c] = along * inv_std[c];
  }
}
