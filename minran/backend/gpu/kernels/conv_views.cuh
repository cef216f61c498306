// The matrices of a convolution (see conv.cu) as views for product.cuh: where number [line, k] of
// each lies in x, w or gy. S is how maps are stored, T what w is and what one calculates in.

#pragma once

// The last arguments of every kernel of conv.cu.
#define CONV_SIZES                                                                               \
  int N, int H, int W, int C, int OH, int OW, int O, int KH, int KW, int SH, int SW, int PH,     \
      int PW, int G

// The same for one group, with its share of the channels.
struct Sizes {
  int N, H, W, C, OH, OW, O, KH, KW, SH, SW, PH, PW, CG, OG, group;
};

#define CONV_SIZES_OF_GROUP(group) \
  {N, H, W, C, OH, OW, O, KH, KW, SH, SW, PH, PW, C / G, O / G, int(group)}

// The place of a filter's number: a triple (a, b, channel), of CG or OG channels.
struct Tap {
  int a, b, channel;
};

__device__ inline Tap tap(int k, int columns, int channels) {
  const int place = k / channels;
  return {place / columns, place % columns, k % channels};
}

__device__ inline void move_on(Tap& t, int by, int columns, int channels) {
  t.channel += by;
  while (t.channel >= channels) {
    t.channel -= channels;
    if (++t.b == columns) t.b = 0, t.a++;
  }
}

// A pixel of x or of y: its picture, row and column. Behind the last pixel n is N or more.
struct Pixel {
  int n, row, column;
};

__device__ inline Pixel pixel(int index, int rows, int columns) {
  const int line = index / columns;
  return {line / rows, line % rows, index % columns};
}

__device__ inline void move_on(Pixel& p, int by, int rows, int columns) {
  p.column += by;
  while (p.column >= columns) {
    p.column -= columns;
    if (++p.row == rows) p.row = 0, p.n++;
  }
}

// x at tap t of the window behind pixel p of y, or null in the padding.
template <typename S>
__device__ const S* pixel_of_x(const S* x, Pixel p, Tap t, const Sizes& s) {
  const int row = p.row * s.SH - s.PH + t.a, column = p.column * s.SW - s.PW + t.b;
  const bool inside =
      p.n < s.N && unsigned(row) < unsigned(s.H) && unsigned(column) < unsigned(s.W);
  return inside ? x + ((p.n * s.H + row) * s.W + column) * s.C + s.group * s.CG + t.channel
                : nullptr;
}

// The batch norm and the ReLU before a convolution: relu(scale[c] (value - centre[c]) + shift[c]).
// Without a norm `scale` is null, and values stay as they are.
template <typename T>
struct Affine {
  const T *scale, *shift, *centre;
};

// The same for COUNT neighbouring channels. Without a norm it is 1 (value - 0) + 0 with no floor, so
// that no thread has to ask.
template <typename T, int COUNT>
struct Norm {
  T floor;
  Few<T, COUNT> scale, shift, centre;

  __device__ T normal(T value, int e) const {
    return scale.number[e] * (value - centre.number[e]) + shift.number[e];
  }
  __device__ T apply(T value, int e) const {
    const T result = normal(value, e);
    return result < floor ? floor : result;  // NaN stays
  }
};

template <int COUNT, typename T>
__device__ Norm<T, COUNT> norm_of(Affine<T> affine, int channel) {
  if (affine.scale)
    return {T(0), few<COUNT>(affine.scale + channel), few<COUNT>(affine.shift + channel),
            few<COUNT>(affine.centre + channel)};
  Norm<T, COUNT> none = {T(__uint_as_float(0xff800000)), {}, {}, {}};  // minus infinity
  for (int e = 0; e < COUNT; e++) none.scale.number[e] = T(1);
  return none;
}

// For views that hand out numbers as they are.
struct Nothing {};

#define AS_THEY_ARE                                                      \
  template <int>                                                         \
  using Factors = Nothing;                                               \
  template <int, typename Line, typename Step>                           \
  __device__ Nothing factors(Line, Step) const {                         \
    return {};                                                           \
  }                                                                      \
  template <typename V>                                                  \
  __device__ V prepare(V value, Nothing, int) const {                    \
    return value;                                                        \
  }

// For views of x, which normalise numbers by their channel.
#define NORMALISED                                                       \
  template <int COUNT>                                                   \
  using Factors = Norm<T, COUNT>;                                        \
  template <int COUNT>                                                   \
  __device__ Norm<T, COUNT> factors(Pixel, Tap t) const {                \
    return norm_of<COUNT>(affine, s.group * s.CG + t.channel);           \
  }                                                                      \
  template <int COUNT>                                                   \
  __device__ Norm<T, COUNT> factors(Tap t, Pixel p) const {              \
    return factors<COUNT>(p, t);                                         \
  }                                                                      \
  template <int COUNT>                                                   \
  __device__ T prepare(T value, const Norm<T, COUNT>& norm, int e) const { \
    return norm.apply(value, e);                                         \
  }

// A of forward: a line is a pixel of y, k a tap. Unless there is no norm, every
// number is normalised on the way, so that the result of the batch norm is never stored.
template <typename S, typename T>
struct Patches {
  using Stored = S;
  static constexpr bool ALONG_K = true;
  using Line = Pixel;
  using Step = Tap;
  const S* x;
  Affine<T> affine;
  Sizes s;

  __device__ const S* start() const { return x; }
  __device__ Line line(int index) const { return pixel(index, s.OH, s.OW); }
  __device__ Step step(int k) const { return tap(k, s.KW, s.CG); }
  __device__ void move_on(Line& p, int by) const { ::move_on(p, by, s.OH, s.OW); }
  __device__ void move_on(Step& t, int by) const { ::move_on(t, by, s.KW, s.CG); }
  __device__ const S* find(Line p, Step t) const { return pixel_of_x(x, p, t, s); }
  NORMALISED
};

// B of forward and of the filters' gradient: a line is an output channel, k a tap of w or a pixel
// of gy; both have O numbers for each k.
template <typename S>
struct Outputs {
  using Stored = S;
  static constexpr bool ALONG_K = false;
  using Line = int;
  using Step = int;
  const S* numbers;
  Sizes s;

  __device__ const S* start() const { return numbers; }
  __device__ Line line(int o) const { return o; }
  __device__ Step step(int k) const { return k; }
  __device__ void move_on(int& place, int by) const { place += by; }
  __device__ const S* find(Line o, Step k) const {
    return o < s.OG ? numbers + k * s.O + s.group * s.OG + o : nullptr;
  }
  AS_THEY_ARE
};

// A of the input gradient: a line is a pixel of x, k a triple (a, b, o). Pixel row r was read at
// tap a by window row i if r = i SH - PH + a: i = (r + PH - a) / SH, if that is whole.
template <typename S>
struct Readers {
  using Stored = S;
  static constexpr bool ALONG_K = true;
  using Line = Pixel;
  using Step = Tap;
  const S* gy;
  Sizes s;

  __device__ const S* start() const { return gy; }
  __device__ Line line(int index) const { return pixel(index, s.H, s.W); }
  __device__ Step step(int k) const { return tap(k, s.KW, s.OG); }
  __device__ void move_on(Line& p, int by) const { ::move_on(p, by, s.H, s.W); }
  __device__ void move_on(Step& t, int by) const { ::move_on(t, by, s.KW, s.OG); }
  __device__ const S* find(Line p, Step t) const {
    const int down = p.row + s.PH - t.a, across = p.column + s.PW - t.b;
    int i = down, j = across;
    // Dividing takes long, and most convolutions have no stride.
    if (s.SH > 1) i /= s.SH;
    if (s.SW > 1) j /= s.SW;
    const bool reads = p.n < s.N && down >= 0 && across >= 0 && i * s.SH == down &&
                       j * s.SW == across && i < s.OH && j < s.OW;
    return reads ? gy + ((p.n * s.OH + i) * s.OW + j) * s.O + s.group * s.OG + t.channel
                 : nullptr;
  }
  AS_THEY_ARE
};

// B of the input gradient: a line is an input channel, k a triple (a, b, o).
template <typename T>
struct TransposedFilters {
  using Stored = T;
  static constexpr bool ALONG_K = true;
  using Line = int;
  using Step = Tap;
  const T* w;
  Sizes s;

  __device__ const T* start() const { return w; }
  __device__ Line line(int c) const { return c; }
  __device__ Step step(int k) const { return tap(k, s.KW, s.OG); }
  __device__ void move_on(Line& c, int by) const { c += by; }
  __device__ void move_on(Step& t, int by) const { ::move_on(t, by, s.KW, s.OG); }
  __device__ const T* find(Line c, Step t) const {
    const int place = (t.a * s.KW + t.b) * s.CG + c;
    return c < s.CG ? w + place * s.O + s.group * s.OG + t.channel : nullptr;
  }
  AS_THEY_ARE
};

// A of the filters' gradient: the patches transposed, a line is a tap and k a pixel of y.
template <typename S, typename T>
struct TransposedPatches {
  using Stored = S;
  static constexpr bool ALONG_K = false;
  using Line = Tap;
  using Step = Pixel;
  const S* x;
  Affine<T> affine;
  Sizes s;

  __device__ const S* start() const { return x; }
  __device__ Line line(int k) const { return tap(k, s.KW, s.CG); }
  __device__ Step step(int index) const { return pixel(index, s.OH, s.OW); }
  __device__ void move_on(Line& t, int by) const { ::move_on(t, by, s.KW, s.CG); }
  __device__ void move_on(Step& p, int by) const { ::move_on(p, by, s.OH, s.OW); }
  __device__ const S* find(Line t, Step p) const {
    return t.a < s.KH ? pixel_of_x(x, p, t, s) : nullptr;
  }
  NORMALISED
};
