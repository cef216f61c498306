// The matrices of a convolution (see conv.cu) as views for product.cuh: where number [line, k] of
// each lies in x, w or gy. S is how maps are stored, T what w is and what one calculates in.

#pragma once

// What is known of the windows when a kernel is compiled: nothing; that they move by one pixel; or
// that, besides, they are one pixel and nothing is padded. What is known need not be computed.
enum Window { ANY, UNIT_STRIDE, POINTWISE };

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

// Where in x tap t of the window behind pixel p of y lies, or -1 in the padding.
__device__ inline int place_in_x(Pixel p, Tap t, const Sizes& s) {
  const int row = p.row * s.SH - s.PH + t.a, column = p.column * s.SW - s.PW + t.b;
  const bool inside =
      p.n < s.N && unsigned(row) < unsigned(s.H) && unsigned(column) < unsigned(s.W);
  return inside ? ((p.n * s.H + row) * s.W + column) * s.C + s.group * s.CG + t.channel : -1;
}

// The batch norm before a convolution: scale[c] (value - centre[c]) + shift[c].
template <typename T>
struct Affine {
  const T *scale, *shift, *centre;
};

// The same for COUNT neighbouring channels of maps that are stored as S.
template <typename S, int COUNT>
struct Norm {
  using T = Real<S>;
  Few<T, COUNT> scale, shift, centre;

  Norm() = default;
  __device__ Norm(Affine<T> affine, int channel)
      : scale(few<COUNT>(affine.scale + channel)), shift(few<COUNT>(affine.shift + channel)),
        centre(few<COUNT>(affine.centre + channel)) {
    // A bfloat16 near the centre has no digits that scale value + shift would lose.
    for (int e = 0; sizeof(S) == 2 && e < COUNT; e++) {
      shift.number[e] -= scale.number[e] * centre.number[e];
      centre.number[e] = 0;
    }
  }
  __device__ T normal(T value, int e) const {
    return scale.number[e] * (value - centre.number[e]) + shift.number[e];
  }
  // Does the ReLU leave it as it is? As NaN does.
  __device__ bool passes(T value, int e) const { return !(normal(value, e) <= T(0)); }
};

// What a view makes of the numbers that it finds: it leaves them as they are,
struct AsTheyAre {
  struct Nothing {};
  template <int>
  using Factors = Nothing;
  template <int COUNT>
  __device__ Nothing factors(int) const {
    return {};
  }
  template <typename V, int COUNT>
  __device__ Few<V, COUNT> prepare(const Few<V, COUNT>& piece, Nothing) const {
    return piece;
  }
};

// or normalises them by their channel and cuts them by the ReLU: every number of x on the way, so
// that the result of the batch norm is never stored.
template <typename S>
struct Normalised {
  using T = Real<S>;
  Affine<T> affine;

  template <int COUNT>
  using Factors = Norm<S, COUNT>;
  template <int COUNT>
  __device__ Norm<S, COUNT> factors(int channel) const {
    return {affine, channel};
  }
  template <int COUNT>
  __device__ Few<T, COUNT> prepare(const Few<S, COUNT>& piece, const Norm<S, COUNT>& norm) const {
    Few<T, COUNT> numbers = as<T>(piece);
#pragma unroll
    for (int e = 0; e < COUNT; e++)
      numbers.number[e] = at_least(T(0), norm.normal(numbers.number[e], e));
    return numbers;
  }
};

// or, for the gradients of norm and filters, takes x - centre where the ReLU lets it pass, else zero.
// What passes is never zero: the smallest normal number is added, which leaves no trace in another.
template <typename S>
struct Deviations : Normalised<S> {
  using T = Real<S>;
  static constexpr T TINY = sizeof(T) == 8 ? T(0x1p-1022) : T(0x1p-126);

  template <int COUNT>
  __device__ Few<T, COUNT> prepare(const Few<S, COUNT>& piece, const Norm<S, COUNT>& norm) const {
    Few<T, COUNT> numbers = as<T>(piece);
#pragma unroll
    for (int e = 0; e < COUNT; e++) {
      const T x = numbers.number[e];
      numbers.number[e] = norm.passes(x, e) ? x - norm.centre.number[e] + TINY : T(0);
    }
    return numbers;
  }
};

template <bool NORMED, typename Prepared, typename T>
__device__ auto preparation(const T* scale, const T* shift, const T* centre) {
  if constexpr (NORMED) return Prepared{{scale, shift, centre}};
  else return AsTheyAre();
}

// A pointwise convolution multiplies matrices that are stored: x, gy and w themselves. Most
// convolutions of a residual network are of this kind, and to find a number takes one multiplication.
// The matrix has rows of `pitch` numbers, of which this group has those from `first` on; a line is a
// row and k a number of it (ALONG_K), or a line is a column and k a row.
template <typename S, bool ALONG_K_, typename Prepared>
struct Matrix : Prepared {
  using Stored = S;
  static constexpr bool ALONG_K = ALONG_K_, COMPLETE = true;
  struct Line {
    int index, place;
  };
  using Step = int;
  const S* start;
  int lines, pitch, first;

  __device__ Line line(int index) const {
    return {index, first + (index < lines ? index : 0) * (ALONG_K ? pitch : 1)};
  }
  __device__ Step step(int k) const { return k; }
  __device__ void move_on(Line& l, int by) const { l = line(l.index + by); }
  __device__ void move_on(Step& k, int by) const { k += by; }
  __device__ int find(Line l, Step k) const { return l.place + (ALONG_K ? k : k * pitch); }
  __device__ int channel(Line l, Step k) const { return first + (ALONG_K ? k : l.index); }
};
template <typename S, typename Prepared>
using Rows = Matrix<S, true, Prepared>;
template <typename S, typename Prepared>
using Columns = Matrix<S, false, Prepared>;

// A of forward: a line is a pixel of y, k a tap.
template <typename S, typename Prepared>
struct Patches : Prepared {
  using Stored = S;
  static constexpr bool ALONG_K = true, COMPLETE = false;
  using Line = Pixel;
  using Step = Tap;
  const S* start;
  Sizes s;

  __device__ Line line(int index) const { return pixel(index, s.OH, s.OW); }
  __device__ Step step(int k) const { return tap(k, s.KW, s.CG); }
  __device__ void move_on(Line& p, int by) const { ::move_on(p, by, s.OH, s.OW); }
  __device__ void move_on(Step& t, int by) const { ::move_on(t, by, s.KW, s.CG); }
  __device__ int find(Line p, Step t) const { return place_in_x(p, t, s); }
  __device__ int channel(Line, Step t) const { return s.group * s.CG + t.channel; }
};

// B of forward and of the filters' gradient: a line is an output channel, k a tap of w or a pixel
// of gy; both have O numbers for each k.
template <typename S>
__device__ Columns<S, AsTheyAre> outputs(const S* numbers, const Sizes& s) {
  return {{}, numbers, s.OG, s.O, s.group * s.OG};
}

// A of the input gradient: a line is a pixel of x, k a triple (a, b, o). Pixel row r was read at
// tap a by window row i if r = i SH - PH + a: i = (r + PH - a) / SH, if that is whole.
template <typename S, bool UNIT_STRIDE>
struct Readers : AsTheyAre {
  using Stored = S;
  static constexpr bool ALONG_K = true, COMPLETE = false;
  using Line = Pixel;
  using Step = Tap;
  const S* start;
  Sizes s;

  __device__ Line line(int index) const { return pixel(index, s.H, s.W); }
  __device__ Step step(int k) const { return tap(k, s.KW, s.OG); }
  __device__ void move_on(Line& p, int by) const { ::move_on(p, by, s.H, s.W); }
  __device__ void move_on(Step& t, int by) const { ::move_on(t, by, s.KW, s.OG); }
  __device__ int find(Line p, Step t) const {
    const int down = p.row + s.PH - t.a, across = p.column + s.PW - t.b;
    int i = down, j = across;
    bool reads = p.n < s.N;
    if (!UNIT_STRIDE) {
      i /= s.SH, j /= s.SW;
      reads = reads && down >= 0 && across >= 0 && i * s.SH == down && j * s.SW == across;
    }
    reads = reads && unsigned(i) < unsigned(s.OH) && unsigned(j) < unsigned(s.OW);
    return reads ? ((p.n * s.OH + i) * s.OW + j) * s.O + s.group * s.OG + t.channel : -1;
  }
  __device__ int channel(Line, Step t) const { return t.channel; }
};

// B of the input gradient: a line is an input channel, k a triple (a, b, o).
template <typename T>
struct TransposedFilters : AsTheyAre {
  using Stored = T;
  static constexpr bool ALONG_K = true, COMPLETE = false;
  using Line = int;
  using Step = Tap;
  const T* start;
  Sizes s;

  __device__ Line line(int c) const { return c; }
  __device__ Step step(int k) const { return tap(k, s.KW, s.OG); }
  __device__ void move_on(Line& c, int by) const { c += by; }
  __device__ void move_on(Step& t, int by) const { ::move_on(t, by, s.KW, s.OG); }
  __device__ int find(Line c, Step t) const {
    const int place = (t.a * s.KW + t.b) * s.CG + c;
    return c < s.CG ? place * s.O + s.group * s.OG + t.channel : -1;
  }
  __device__ int channel(Line, Step t) const { return t.channel; }
};

// A of the filters' gradient: the patches transposed, a line is a tap and k a pixel of y.
template <typename S, typename Prepared>
struct TransposedPatches : Prepared {
  using Stored = S;
  static constexpr bool ALONG_K = false, COMPLETE = false;
  using Line = Tap;
  using Step = Pixel;
  const S* start;
  Sizes s;

  __device__ Line line(int k) const { return tap(k, s.KW, s.CG); }
  __device__ Step step(int index) const { return pixel(index, s.OH, s.OW); }
  __device__ void move_on(Line& t, int by) const { ::move_on(t, by, s.KW, s.CG); }
  __device__ void move_on(Step& p, int by) const { ::move_on(p, by, s.OH, s.OW); }
  __device__ int find(Line t, Step p) const {
    return t.a < s.KH ? place_in_x(p, t, s) : -1;
  }
  __device__ int channel(Line t, Step) const { return s.group * s.CG + t.channel; }
};
