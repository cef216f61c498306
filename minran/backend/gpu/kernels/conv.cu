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

// S is how the maps are stored: like the engine's numbers, or shorter. NORMED: a batch norm and a
// ReLU come before the convolution, else scale, shift and centre are null.

// How many neighbouring columns a thread reads and writes at once, where memory is read in pieces.
template <typename Engine, int PIECE>
__device__ constexpr int adjacent() {
  return PIECE > 1 ? Engine::ADJACENT : 1;
}

// How many blocks shall fit a multiprocessor. A thread that reads number by number needs more registers.
template <typename Engine, int PIECE>
constexpr int TOGETHER = PIECE > 1 ? Engine::TOGETHER : (Engine::TOGETHER + 1) / 2;

// y, plus `residual` if there is one. tile_moments, if wanted, gets for each tile of rows and each
// channel the mean of y and the sum of squares around it: (tiles, 2, O).
template <typename Engine, int PIECE, typename S, Window WINDOW, bool NORMED>
__global__ void __launch_bounds__(Engine::THREADS, TOGETHER<Engine, PIECE>)
    conv_forward(const S* x, const Number<Engine>* w, const Number<Engine>* scale,
                 const Number<Engine>* shift, const Number<Engine>* centre, const S* residual, S* y,
                 Number<Engine>* tile_moments, CONV_SIZES) {
  using T = Number<Engine>;
  const Sizes s = CONV_SIZES_OF_GROUP(blockIdx.z);
  const int row = blockIdx.x * Engine::ROWS, column = blockIdx.y * Engine::COLUMNS;
  Engine engine;
  const auto norm = preparation<NORMED, S>(scale, shift, centre);
  using Prepared = decltype(preparation<NORMED, S>(scale, shift, centre));
  const auto filters = outputs(w, s);
  if constexpr (WINDOW == POINTWISE) {
    const Rows<S, Prepared> pixels = {norm, x, N * OH * OW, C, s.group * s.CG};
    product<PIECE>(engine, pixels, filters, row, column, 0, s.CG);
  } else {
    const Patches<S, Prepared> patches = {norm, x, s};
    product<PIECE>(engine, patches, filters, row, column, 0, KH * KW * s.CG);
  }

  constexpr int NEXT = adjacent<Engine, PIECE>();
#pragma unroll
  for (int i = 0; i < Engine::MY_ROWS; i++)
#pragma unroll
    for (int j = 0; j < Engine::MY_COLUMNS; j += NEXT) {
      const int pixel = row + engine.row(i), o = column + engine.column(j);
      if (pixel < N * OH * OW && o < s.OG) {
        const int index = pixel * O + s.group * s.OG + o;
        if (residual) {
          const Few<S, NEXT> more = few<NEXT>(residual + index);
#pragma unroll
          for (int e = 0; e < NEXT; e++) engine.value(i, j + e) += more.number[e];
        }
        Few<S, NEXT> out;
#pragma unroll
        for (int e = 0; e < NEXT; e++) {
          out.number[e] = S(engine.value(i, j + e));
          engine.value(i, j + e) = out.number[e];  // the moments are those of what is stored
        }
        few<NEXT>(y + index) = out;
      }
    }
  if (!tile_moments) return;

  const int rows = min(Engine::ROWS, N * OH * OW - row);
  T mean[Engine::MY_COLUMNS] = {}, squares[Engine::MY_COLUMNS] = {};
#pragma unroll
  for (int i = 0; i < Engine::MY_ROWS; i++)
#pragma unroll
    for (int j = 0; j < Engine::MY_COLUMNS; j++)
      if (engine.row(i) < rows) mean[j] += engine.value(i, j);
  sum_columns(engine, mean);
#pragma unroll
  for (int j = 0; j < Engine::MY_COLUMNS; j++) mean[j] /= rows;
#pragma unroll
  for (int i = 0; i < Engine::MY_ROWS; i++)
#pragma unroll
    for (int j = 0; j < Engine::MY_COLUMNS; j++) {
      const T d = engine.value(i, j) - mean[j];
      if (engine.row(i) < rows) squares[j] += d * d;
    }
  sum_columns(engine, squares);
  T* moments = tile_moments + 2 * blockIdx.x * O + s.group * s.OG + column;
  store_columns(engine, mean, s.OG - column, moments);
  store_columns(engine, squares, s.OG - column, moments + O);
}

// gx. Or, if NORMED, g: the gradient at scale (x - centre) + shift, before the ReLU. Then
// tile_sums gets for each tile of rows and each channel the sums of g and of g (x - centre):
// (tiles, 2, C), and g is written only if it is given.
template <typename Engine, int PIECE, typename S, Window WINDOW, bool NORMED>
__global__ void __launch_bounds__(Engine::THREADS, TOGETHER<Engine, PIECE>)
    conv_input(const S* gy, const Number<Engine>* w, const S* x, const Number<Engine>* scale,
               const Number<Engine>* shift, const Number<Engine>* centre, S* gx,
               Number<Engine>* tile_sums, CONV_SIZES) {
  using T = Number<Engine>;
  const Sizes s = CONV_SIZES_OF_GROUP(blockIdx.z);
  const int row = blockIdx.x * Engine::ROWS, column = blockIdx.y * Engine::COLUMNS;
  Engine engine;
  if constexpr (WINDOW == POINTWISE) {
    const Rows<S, AsTheyAre> pixels = {{}, gy, N * H * W, O, s.group * s.OG};
    const Rows<T, AsTheyAre> filters = {{}, w, s.CG, O, s.group * s.OG};
    product<PIECE>(engine, pixels, filters, row, column, 0, s.OG);
  } else {
    const Readers<S, WINDOW == UNIT_STRIDE> readers = {{}, gy, s};
    const TransposedFilters<T> filters = {{}, w, s};
    product<PIECE>(engine, readers, filters, row, column, 0, KH * KW * s.OG);
  }

  constexpr int NEXT = adjacent<Engine, PIECE>();
  T sum[Engine::MY_COLUMNS] = {}, along[Engine::MY_COLUMNS] = {};
#pragma unroll
  for (int j = 0; j < Engine::MY_COLUMNS; j += NEXT) {
    if (column + engine.column(j) >= s.CG) continue;
    const int channel = s.group * s.CG + column + engine.column(j);
    Norm<S, NEXT> norm;
    Few<T, NEXT> mean;
    if constexpr (NORMED) {
      norm = {{scale, shift, centre}, channel};
      mean = few<NEXT>(centre + channel);
    }
#pragma unroll
    for (int i = 0; i < Engine::MY_ROWS; i++) {
      const int pixel = row + engine.row(i);
      if (pixel >= N * H * W) continue;
      Few<T, NEXT> out;
#pragma unroll
      for (int e = 0; e < NEXT; e++) out.number[e] = engine.value(i, j + e);
      if constexpr (NORMED) {
        const Few<S, NEXT> in = few<NEXT>(x + pixel * C + channel);
#pragma unroll
        for (int e = 0; e < NEXT; e++) {
          const bool passes = !(norm.normal(in.number[e], e) <= T(0));  // as NaN does
          if (!passes) out.number[e] = 0;
          sum[j + e] += out.number[e];
          along[j + e] += out.number[e] * (in.number[e] - mean.number[e]);
        }
      }
      if (!NORMED || gx) few<NEXT>(gx + pixel * C + channel) = as<S>(out);
    }
  }
  if constexpr (!NORMED) return;

  sum_columns(engine, sum);
  sum_columns(engine, along);
  T* sums = tile_sums + 2 * blockIdx.x * C + s.group * s.CG + column;
  store_columns(engine, sum, s.CG - column, sums);
  store_columns(engine, along, s.CG - column, sums + C);
}

// Once its sums are known, g of a pointwise convolution is made a second time and goes through the
// batch norm at once: gy, with few channels, is read twice, and g never written.
//   gx = scale (g - gbeta / count - xhat ggamma / count) + earlier    (see batch_norm_backward_input)
//      = scale g + slope (x - centre) + level + earlier
template <typename Engine, int PIECE, typename S, Window, bool>
__global__ void __launch_bounds__(Engine::THREADS, TOGETHER<Engine, PIECE>)
    conv_input_through_norm(const S* gy, const Number<Engine>* w, const S* x,
                            const Number<Engine>* scale, const Number<Engine>* shift,
                            const Number<Engine>* centre, const double* mean,
                            const double* inv_std, const double* ggamma, const double* gbeta,
                            const S* earlier, S* gx, Number<Engine> per_count, CONV_SIZES) {
  using T = Number<Engine>;
  const int row = blockIdx.x * Engine::ROWS, column = blockIdx.y * Engine::COLUMNS;
  __shared__ T slope[Engine::COLUMNS], level[Engine::COLUMNS];
  for (int j = threadIdx.x; j < Engine::COLUMNS && column + j < C; j += Engine::THREADS) {
    const int c = column + j;
    const double along = inv_std[c] * ggamma[c], factor = scale[c] * per_count;
    slope[j] = T(-factor * along);
    level[j] = T(factor * ((mean[c] - centre[c]) * along - gbeta[c]));
  }
  Engine engine;
  const Rows<S, AsTheyAre> pixels = {{}, gy, N * H * W, O, 0};
  const Rows<T, AsTheyAre> filters = {{}, w, C, O, 0};
  product<PIECE>(engine, pixels, filters, row, column, 0, O);

  constexpr int NEXT = adjacent<Engine, PIECE>();
#pragma unroll
  for (int j = 0; j < Engine::MY_COLUMNS; j += NEXT) {
    const int first = engine.column(j), channel = column + first;
    if (channel >= C) continue;
    const Norm<S, NEXT> norm({scale, shift, centre}, channel);
    const Few<T, NEXT> middle = few<NEXT>(centre + channel);
#pragma unroll
    for (int i = 0; i < Engine::MY_ROWS; i++) {
      const int pixel = row + engine.row(i);
      if (pixel >= N * H * W) continue;
      const int index = pixel * C + channel;
      const Few<S, NEXT> in = few<NEXT>(x + index);
      Few<S, NEXT> more = {};
      if (earlier) more = few<NEXT>(earlier + index);
      Few<T, NEXT> out;
#pragma unroll
      for (int e = 0; e < NEXT; e++) {
        const bool passes = !(norm.normal(in.number[e], e) <= T(0));  // as NaN does
        const T g = passes ? norm.scale.number[e] * engine.value(i, j + e) : T(0);
        const T pull = slope[first + e] * (in.number[e] - middle.number[e]) + level[first + e];
        out.number[e] = (per_count == 0 ? g : g + pull) + more.number[e];
      }
      few<NEXT>(gx + index) = as<S>(out);
    }
  }
}

// gw has few numbers, and each is a sum over very many pixels. To keep the whole GPU busy, the
// pixels are cut into slices: blockIdx.z counts groups and slices, and each slice stores its sums
// as a gw of its own. sum_gradients adds them.
template <typename Engine, int PIECE, typename S, Window WINDOW, bool NORMED>
__global__ void __launch_bounds__(Engine::THREADS, TOGETHER<Engine, PIECE>)
    conv_filters(const S* x, const S* gy, const Number<Engine>* scale,
                 const Number<Engine>* shift, const Number<Engine>* centre,
                 Number<Engine>* slices, int slice_pixels, CONV_SIZES) {
  using T = Number<Engine>;
  const int slice = blockIdx.z / G, first = slice * slice_pixels;
  const Sizes s = CONV_SIZES_OF_GROUP(blockIdx.z % G);
  const int row = blockIdx.x * Engine::ROWS, column = blockIdx.y * Engine::COLUMNS;
  const int taps = KH * KW * s.CG;
  Engine engine;
  const int last = min(first + slice_pixels, N * OH * OW);
  const auto norm = preparation<NORMED, S>(scale, shift, centre);
  using Prepared = decltype(preparation<NORMED, S>(scale, shift, centre));
  const auto gradients = outputs(gy, s);
  if constexpr (WINDOW == POINTWISE) {
    const Columns<S, Prepared> channels = {norm, x, s.CG, C, s.group * s.CG};
    product<PIECE>(engine, channels, gradients, row, column, first, last);
  } else {
    const TransposedPatches<S, Prepared> patches = {norm, x, s};
    product<PIECE>(engine, patches, gradients, row, column, first, last);
  }

  constexpr int NEXT = adjacent<Engine, PIECE>();
#pragma unroll
  for (int i = 0; i < Engine::MY_ROWS; i++)
#pragma unroll
    for (int j = 0; j < Engine::MY_COLUMNS; j += NEXT) {
      const int k = row + engine.row(i), o = column + engine.column(j);
      if (k >= taps || o >= s.OG) continue;
      Few<T, NEXT> out;
#pragma unroll
      for (int e = 0; e < NEXT; e++) out.number[e] = engine.value(i, j + e);
      few<NEXT>(slices + (slice * taps + k) * O + s.group * s.OG + o) = out;
    }
}

// What both gradients leave in parts, summed in one launch. The first blocks are for the channels of
// the norm, 16 each, if there is one: gbeta = sum g, ggamma = sum g (x - mean) inv_std, from the
// tiles of conv_input, which have subtracted the mean as an R. Both are written in double, for what
// is computed from them, and as gradients. The other blocks are for the filters, 64 numbers each:
// gw is the sum of the slices of conv_filters, always in the same order. Blocks as TILE_ROWS says.
template <typename R>
__global__ void __launch_bounds__(TILE * TILE_ROWS)
sum_gradients(const R* slices, R* gw, int count, int size, const R* tile_sums, const double* mean,
              const double* inv_std, double* ggamma, double* gbeta, R* gamma_gradient,
              R* beta_gradient, int tiles, int channels) {
  const int of_channels = (channels + TILE - 1) / TILE;
  if (blockIdx.x >= of_channels) {
    const int column = threadIdx.y / TILE * TILE + threadIdx.x, row = threadIdx.y % TILE;
    const int index = (blockIdx.x - of_channels) * TILE_ROWS + column;
    R sum = 0;
    for (int slice = row; index < size && slice < count; slice += TILE)
      sum += slices[slice * size + index];
    sum = joined<TILE, TILE_ROWS>(sum, row, column, Add());
    if (row == 0 && index < size) gw[index] = sum;
    return;
  }
  const int c = blockIdx.x * TILE + threadIdx.x;
  double sum = 0, along = 0;
  for (int t = threadIdx.y; c < channels && t < tiles; t += TILE_ROWS) {
    sum += tile_sums[2 * t * channels + c];
    along += tile_sums[(2 * t + 1) * channels + c];
  }
  sum = sum_over_rows<TILE_ROWS>(sum);
  along = sum_over_rows<TILE_ROWS>(along);
  if (threadIdx.y == 0 && c < channels) {
    gbeta[c] = sum;
    ggamma[c] = (along - (mean[c] - R(mean[c])) * sum) * inv_std[c];
    gamma_gradient[c] = R(ggamma[c]), beta_gradient[c] = R(sum);
  }
}
