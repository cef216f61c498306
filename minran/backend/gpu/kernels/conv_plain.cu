// Convolution as its equation, one thread for each number: the rung below conv.cu, which computes
// the same with tiles that many threads share. Here every factor is read for every product.
//
// x (N, H, W, C), w (KH, KW, C / G, O), y (N, OH, OW, O); the window of y's pixel (i, j) starts at
// row i SH - PH and column j SW - PW of x, and there is nothing outside of x.

#include "common.cuh"

#define CONV_SIZES                                                                         \
  int H, int W, int C, int OH, int OW, int O, int KH, int KW, int SH, int SW, int PH, int PW, int G

__device__ inline bool inside(int r, int s, int rows, int columns) {
  return r >= 0 && r < rows && s >= 0 && s < columns;
}

// y[n, i, j, o] = sum_abc x[n, i SH + a - PH, j SW + b - PW, c] w[a, b, c, o]
template <typename R>
__global__ void plain_forward(const R* x, const R* w, R* y, int count, CONV_SIZES) {
  FOR_EACH(number, count) {
    const Position p = unravel(number, OH, OW, O);
    const int group = p.c / (O / G) * (C / G);  // the first channel of x that y's channel sees
    R sum = 0;
    for (int a = 0; a < KH; a++)
      for (int b = 0; b < KW; b++) {
        const int r = p.i * SH + a - PH, s = p.j * SW + b - PW;
        if (!inside(r, s, H, W)) continue;
        for (int c = 0; c < C / G; c++)
          sum += x[offset({p.n, r, s, group + c}, H, W, C)] *
                 w[offset({a, b, c, p.c}, KW, C / G, O)];
      }
    y[number] = sum;
  }
}

// gx[n, r, s, c] = sum over a, b, o of gy[n, i, j, o] w[a, b, c, o], where i SH + a - PH = r and
// j SW + b - PW = s
template <typename R>
__global__ void plain_input(const R* gy, const R* w, R* gx, int count, CONV_SIZES) {
  FOR_EACH(number, count) {
    const Position p = unravel(number, H, W, C);
    const int group = p.c / (C / G) * (O / G);
    R sum = 0;
    for (int a = 0; a < KH; a++)
      for (int b = 0; b < KW; b++) {
        const int down = p.i + PH - a, across = p.j + PW - b;
        if (down % SH || across % SW || !inside(down, across, OH * SH, OW * SW)) continue;
        for (int o = group; o < group + O / G; o++)
          sum += gy[offset({p.n, down / SH, across / SW, o}, OH, OW, O)] *
                 w[offset({a, b, p.c % (C / G), o}, KW, C / G, O)];
      }
    gx[number] = sum;
  }
}

// gw[a, b, c, o] = sum_nij gy[n, i, j, o] x[n, i SH + a - PH, j SW + b - PW, c]
template <typename R>
__global__ void plain_filters(const R* gy, const R* x, R* gw, int count, int N, CONV_SIZES) {
  FOR_EACH(number, count) {
    const Position p = unravel(number, KW, C / G, O);  // a = p.n, b = p.i, c = p.j, o = p.c
    const int c = p.c / (O / G) * (C / G) + p.j;
    R sum = 0;
    for (int n = 0; n < N; n++)
      for (int i = 0; i < OH; i++)
        for (int j = 0; j < OW; j++) {
          const int r = i * SH + p.n - PH, s = j * SW + p.i - PW;
          if (inside(r, s, H, W))
            sum += gy[offset({n, i, j, p.c}, OH, OW, O)] * x[offset({n, r, s, c}, H, W, C)];
        }
    gw[number] = sum;
  }
}
