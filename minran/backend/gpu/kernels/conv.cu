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
  const auto norm = preparation<NORMED, Normalised<S>>(scale, shift, centre);
  using Prepared = decltype(preparation<NORMED, Normalised<S>>(scale, shift, centre));
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

// gx. Or, if NORMED, what the batch norm makes of g, the gradient before its ReLU, which is never
// written. The sums are known already (conv_filters), those of all GPUs together:
//   gx = scale (g - gbeta / count - xhat ggamma / count) + earlier    (see batch_norm_backward_input)
//      = scale g + slope (x - centre) + level + earlier
template <typename Engine, int PIECE, typename S, Window WINDOW, bool NORMED>
__global__ void __launch_bounds__(Engine::THREADS, TOGETHER<Engine, PIECE>)
    conv_input(const S* gy, const Number<Engine>* w, const S* x, const Number<Engine>* scale,
               const Number<Engine>* shift, const Number<Engine>* centre, const double* mean,
               const double* inv_std, const double* ggamma, const double* gbeta, const S* earlier,
               S* gx, Number<Engine> per_count, CONV_SIZES) {
  using T = Number<Engine>;
  const Sizes s = CONV_SIZES_OF_GROUP(blockIdx.z);
  const int row = blockIdx.x * Engine::ROWS, column = blockIdx.y * Engine::COLUMNS;
  const int start = s.group * s.CG;
  __shared__ T slope[NORMED ? Engine::COLUMNS : 1], level[NORMED ? Engine::COLUMNS : 1];
  if constexpr (NORMED)
    for (int j = threadIdx.x; j < Engine::COLUMNS && column + j < s.CG; j += Engine::THREADS) {
      const int c = start + column + j;
      const double along = inv_std[c] * ggamma[c], factor = scale[c] * per_count;
      slope[j] = T(-factor * along);
      level[j] = T(factor * ((mean[c] - centre[c]) * along - gbeta[c]));
    }
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
#pragma unroll
  for (int j = 0; j < Engine::MY_COLUMNS; j += NEXT) {
    const int first = engine.column(j), channel = start + column + first;
    if (column + first >= s.CG) continue;
    Norm<S, NEXT> norm;
    Few<T, NEXT> middle;
    if constexpr (NORMED) {
      norm = {{scale, shift, centre}, channel};
      middle = few<NEXT>(centre + channel);
    }
#pragma unroll
    for (int i = 0; i < Engine::MY_ROWS; i++) {
      const int pixel = row + engine.row(i);
      if (pixel >= N * H * W) continue;
      const int index = pixel * C + channel;
      Few<T, NEXT> out;
#pragma unroll
      for (int e = 0; e < NEXT; e++) out.number[e] = engine.value(i, j + e);
      if constexpr (NORMED) {
        const Few<S, NEXT> in = few<NEXT>(x + index);
        Few<S, NEXT> more = {};
        if (earlier) more = few<NEXT>(earlier + index);
#pragma unroll
        for (int e = 0; e < NEXT; e++) {
          const T g = norm.passes(in.number[e], e) ? norm.scale.number[e] * out.number[e] : T(0);
          const T pull = slope[first + e] * (in.number[e] - middle.number[e]) + level[first + e];
          out.number[e] = (per_count == 0 ? g : g + pull) + more.number[e];
        }
      }
      few<NEXT>(gx + index) = as<S>(out);
    }
  }
}

// gw has few numbers, and each is a sum over very many pixels. To keep the whole GPU busy, the
// pixels are cut into slices: blockIdx.z counts groups and slices, and each slice stores its sums
// as a gw of its own. sum_gradients adds them.
//
// If NORMED, two products are summed, and with them all that the batch norm wants to know. Let d be
// x - centre as the window reads it, m 1 where the ReLU lets it pass and 0 elsewhere:
//   along = sum m d gy,   passed = sum m gy          for each number of w, over the pixels of y
//   gw = scale along + shift passed                  as the convolution has seen m (scale d + shift)
//   sum of g = sum w passed,   of g d = sum w along  over the output channels and the window
// since g = m sum w gy. So g need not be there. tile_sums gets the two sums of each slice, each
// tile of columns and each position in the window: (slices, tiles, KH KW, 2, C).
template <typename Engine, int PIECE, typename S, Window WINDOW, bool NORMED>
__global__ void __launch_bounds__(Engine::THREADS, TOGETHER<Engine, PIECE>)
    conv_filters(const S* x, const S* gy, const Number<Engine>* w, const Number<Engine>* scale,
                 const Number<Engine>* shift, const Number<Engine>* centre,
                 Number<Engine>* slices, Number<Engine>* tile_sums, int slice_pixels, CONV_SIZES) {
  using T = Number<Engine>;
  const int slice = blockIdx.z / G, first = slice * slice_pixels;
  const Sizes s = CONV_SIZES_OF_GROUP(blockIdx.z % G);
  const int row = blockIdx.x * Engine::ROWS, column = blockIdx.y * Engine::COLUMNS;
  const int taps = KH * KW * s.CG, last = min(first + slice_pixels, N * OH * OW);
  Engine engine, passed;
  const auto norm = preparation<NORMED, Deviations<S>>(scale, shift, centre);
  using Prepared = decltype(preparation<NORMED, Deviations<S>>(scale, shift, centre));
  const auto gradients = outputs(gy, s);
  const auto sum_over_pixels = [&](const auto& lines) {
    if constexpr (NORMED)
      product<PIECE>(engine, lines, gradients, row, column, first, last, passed);
    else
      product<PIECE>(engine, lines, gradients, row, column, first, last);
  };
  if constexpr (WINDOW == POINTWISE)
    sum_over_pixels(Columns<S, Prepared>{norm, x, s.CG, C, s.group * s.CG});
  else
    sum_over_pixels(TransposedPatches<S, Prepared>{norm, x, s});

  constexpr int NEXT = adjacent<Engine, PIECE>();
  T sum[Engine::MY_ROWS] = {}, along[Engine::MY_ROWS] = {};
#pragma unroll
  for (int i = 0; i < Engine::MY_ROWS; i++) {
    const int k = row + engine.row(i), channel = s.group * s.CG + k % s.CG;
    if (k >= taps) continue;
    Norm<S, 1> factors;
    if constexpr (NORMED) factors = {{scale, shift, centre}, channel};
#pragma unroll
    for (int j = 0; j < Engine::MY_COLUMNS; j += NEXT) {
      const int o = column + engine.column(j), place = k * O + s.group * s.OG + o;
      if (o >= s.OG) continue;
      Few<T, NEXT> out;
#pragma unroll
      for (int e = 0; e < NEXT; e++) out.number[e] = engine.value(i, j + e);
      if constexpr (NORMED) {
        const auto filters = as<T>(Engine::round(few<NEXT>(w + place)));  // as conv_input rounds them
#pragma unroll
        for (int e = 0; e < NEXT; e++) {
          const T of_gy = passed.value(i, j + e);
          sum[i] += filters.number[e] * of_gy;
          along[i] += filters.number[e] * out.number[e];
          out.number[e] = factors.scale.number[0] * out.number[e] + factors.shift.number[0] * of_gy;
        }
      }
      few<NEXT>(slices + slice * taps * O + place) = out;
    }
    // Of what is bfloat16 the centre has not been subtracted.
    if constexpr (NORMED) along[i] -= (centre[channel] - factors.centre.number[0]) * sum[i];
  }
  if constexpr (!NORMED) return;

  sum_rows(engine, sum);
  sum_rows(engine, along);
  tile_sums += (slice * gridDim.y + blockIdx.y) * KH * KW * 2 * C + s.group * s.CG;
#pragma unroll
  for (int i = 0; i < Engine::MY_ROWS; i++) {
    const int k = row + engine.row(i), place = k / s.CG * 2 * C + k % s.CG;
    if (k < taps && engine.share_of_row() == 0)
      tile_sums[place] = sum[i], tile_sums[place + C] = along[i];
  }
}

// What conv_filters leaves in parts, summed in one launch. The first blocks are for the channels of
// the norm, 16 each, if there is one: gbeta = sum g, ggamma = sum g (x - mean) inv_std, from sums for
// which the mean was subtracted as an R. Both are written in double, for what is computed from them,
// and as gradients. The other blocks are for the filters, 64 numbers each: gw is the sum of the
// slices, always in the same order. Blocks as TILE_ROWS says.
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
