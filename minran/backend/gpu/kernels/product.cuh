// A tile of a matrix product, C[row, column] = sum over k of A[row, k] B[column, k].
//
// A block of threads computes a tile of C. It walks along k in steps of DEPTH: all threads
// together bring a tile of A and a tile of B into shared memory, wait, and multiply what is
// there; each number is read from global memory once and used many times.
//
//            k ->                      k ->
//   row  [ A A A | a a a | A A A ]    [ B B B | b b b | B B B ]  column
//        [ A A A | a a a | A A A ]    [ B B B | b b b | B B B ]
//                  ^ this step                  ^ this step: both tiles in shared memory
//
// Where a number of A or B lies is the business of a View: a convolution's matrices are never
// stored, they are ways to read x, w and gy. Who multiplies is the business of an Engine: plain
// arithmetic (Simt) or the tensor cores (Tf32).
//
// A View has
//   Stored              what its numbers are stored as; they turn into the Engine's Number
//   ALONG_K             do numbers that are neighbours along k lie together in memory, or those
//                       that are neighbours along the row (of A; the column, of B)?
//   Line, line(r)       what the view knows about row r, worked out once, with divisions
//   Step, step(k)       what it knows about k
//   move_on(place, by)  makes of the Line r (or Step k) that of r + by, without a division
//   start, find(line, step)  the number lies at start[find(...)]. A number in the padding is zero: then
//                       find is negative. Behind the last line it may be anything, somewhere in memory
//   COMPLETE            find is never negative
//   channel(line, step) the channel of the number, which depends on the step alone (ALONG_K), or on
//                       the line alone
//   Factors, factors(channel)  what else is read to prepare a piece of numbers from this channel on
//   prepare(piece, factors)  what to make of a piece

#pragma once

// LINES x DEPTH numbers in shared memory, neighbours lying together as they do in global memory.
// The engine pads each row of cells, so that its threads read from different banks.
template <typename Engine, int LINES, bool ALONG_K_>
struct Tile {
  using Cell = typename Engine::Cell;
  static constexpr bool ALONG_K = ALONG_K_;
  static constexpr int DEPTH = Engine::DEPTH, ROWS = ALONG_K ? LINES : DEPTH;
  static constexpr int PITCH =
      ALONG_K ? DEPTH + Engine::PADDING_ALONG_K : LINES + Engine::PADDING_ALONG_LINES;

  alignas(16) Cell cells[ROWS][PITCH];

  __device__ Cell* address(int line, int k) { return ALONG_K ? &cells[line][k] : &cells[k][line]; }
  __device__ const Cell* address(int line, int k) const {
    return ALONG_K ? &cells[line][k] : &cells[k][line];
  }
};

// A loader brings LINES rows of a view, DEPTH numbers each, from global to shared memory. Each of
// the THREADS threads carries some pieces of PIECE numbers that lie together in memory: fetch()
// starts reading them, put() writes them to the tile. Between the two the threads multiply the
// tile before, so that nobody waits for the memory.
//
// Neighbouring threads take neighbouring pieces, SIDE of them side by side. So all pieces of one
// thread are of the same k (ALONG_K; of the same line, otherwise), and LEAP lines (or k) apart.
template <typename Engine, typename View, int LINES, int PIECE>
struct Loader {
  using Cell = typename Engine::Cell;
  using Stored = typename View::Stored;
  using Tile = ::Tile<Engine, LINES, View::ALONG_K>;
  static constexpr bool ALONG_K = View::ALONG_K;
  static constexpr int DEPTH = Engine::DEPTH;
  static constexpr int PIECES = LINES * DEPTH / PIECE;
  static constexpr int MINE = (PIECES + Engine::THREADS - 1) / Engine::THREADS;
  static constexpr int SIDE = (ALONG_K ? DEPTH : LINES) / PIECE;
  static constexpr int LEAP = Engine::THREADS / SIDE;
  static constexpr int MY_LINES = ALONG_K ? MINE : 1, MY_STEPS = ALONG_K ? 1 : MINE;
  static_assert(Engine::THREADS % SIDE == 0, "a thread's pieces must lie below each other");

  const View& view;
  typename View::Line lines[MY_LINES];
  typename View::Step steps[MY_STEPS];
  typename View::template Factors<PIECE> factors;
  int k;
  Bits<Stored, PIECE> pieces[MINE];
  bool found[MINE];

  __device__ Loader(const View& view, int first_line, int first_k)
      : view(view), k(first_k + step_of(0)) {
    lines[0] = view.line(first_line + line_of(0));
    steps[0] = view.step(k);
#pragma unroll
    for (int p = 1; p < MINE; p++) {
      if (ALONG_K) view.move_on(lines[p % MY_LINES] = lines[(p - 1) % MY_LINES], LEAP);
      else view.move_on(steps[p % MY_STEPS] = steps[(p - 1) % MY_STEPS], LEAP);
    }
    read_factors();
  }

  __device__ void read_factors() {
    factors = view.template factors<PIECE>(view.channel(lines[0], steps[0]));
  }

  static __device__ int line_of(int p) {
    return ALONG_K ? threadIdx.x / SIDE + p * LEAP : threadIdx.x % SIDE * PIECE;
  }
  static __device__ int step_of(int p) {
    return ALONG_K ? threadIdx.x % SIDE * PIECE : threadIdx.x / SIDE + p * LEAP;
  }
  static __device__ bool exists(int p) {
    return PIECES % Engine::THREADS == 0 || threadIdx.x + p * Engine::THREADS < PIECES;
  }

  __device__ void move_on() {
    k += DEPTH;
#pragma unroll
    for (int p = 0; p < MY_STEPS; p++) view.move_on(steps[p], DEPTH);
    if (ALONG_K) read_factors();
  }

  // Starts to read DEPTH steps, as far as they lie before `last`. What was read is not touched
  // here: whoever touches it waits for it.
  __device__ void fetch(int last) {
#pragma unroll
    for (int p = 0; p < MINE; p++) {
      const int place = view.find(lines[p % MY_LINES], steps[p % MY_STEPS]);
      const bool wanted = exists(p) && k + (ALONG_K ? 0 : p * LEAP) < last;
      found[p] = wanted && (View::COMPLETE || place >= 0);
      pieces[p] = bits_at<PIECE>(view.start + (found[p] ? place : 0));
    }
  }

  __device__ void put(Tile& tile) {
#pragma unroll
    for (int p = 0; p < MINE; p++) {
      if (!exists(p)) continue;
      const auto piece = view.prepare(numbers_of<Stored, PIECE>(pieces[p]), factors);
      Bits<Cell, PIECE> bits = bits_of(Engine::round(piece));
#pragma unroll
      for (auto& word : bits.number) word = found[p] ? word : 0;
      Cell* address = tile.address(line_of(p), step_of(p));
      if constexpr (Tile::PITCH % PIECE == 0)
        bits_at<PIECE>(address) = bits;
      else
#pragma unroll
        for (int e = 0; e < PIECE; e++) address[e] = numbers_of<Cell, PIECE>(bits).number[e];
    }
  }
};

// Fills engine.value(...) with the tile of C that starts at (row, column), summed over
// first <= k < last. There are two tiles of each matrix: while some threads still multiply one
// pair, others may fill the other already, and one barrier for each step is enough.
//
// Given another engine, `counts`, it fills that with the product that has a 1 for each number of A
// that is not zero.
template <int PIECE, typename Engine, typename ViewA, typename ViewB, typename... Counts>
__device__ void product(Engine& engine, const ViewA& a, const ViewB& b, int row, int column,
                        int first, int last, Counts&... counts) {
  using LoaderA = Loader<Engine, ViewA, Engine::ROWS, PIECE>;
  using LoaderB = Loader<Engine, ViewB, Engine::COLUMNS, PIECE>;
  struct Pair {
    typename LoaderA::Tile a;
    typename LoaderB::Tile b;
  };
  __shared__ union {
    Pair tiles[2];
    typename Engine::Joined joined;
  } shared;
  LoaderA a_loader(a, row, first);
  LoaderB b_loader(b, column, first);
  a_loader.fetch(last);
  b_loader.fetch(last);
  for (int k = first, turn = 0; k < last; k += Engine::DEPTH, turn ^= 1) {
    a_loader.put(shared.tiles[turn].a);
    b_loader.put(shared.tiles[turn].b);
    __syncthreads();  // the tiles are complete, and everybody is done with the other pair
    if (k + Engine::DEPTH < last) {
      a_loader.move_on();
      a_loader.fetch(last);
      b_loader.move_on();
      b_loader.fetch(last);
    }
    engine.multiply(shared.tiles[turn].a, shared.tiles[turn].b, counts...);
  }
  engine.join(shared.joined);
  (counts.join(shared.joined), ...);
}

// Sums over the threads of a block that share a column (or row) of a tile: thread `share` of SHARES
// has a part of the sums of MINE lines, line(0) to line(MINE - 1) of LINES. On return it has them all.
template <int SHARES, int LINES, int MINE, int THREADS, typename T, typename Line>
__device__ void sum_shares(T* sums, int share, Line line) {
  __shared__ T shares[SHARES][LINES];
  __syncthreads();  // an earlier call may still be reading the shares
#pragma unroll
  for (int i = 0; i < MINE; i++) shares[share][line(i)] = sums[i];
  __syncthreads();
  for (int each = threadIdx.x; each < LINES; each += THREADS) {
    T sum = 0;
    for (int other = 0; other < SHARES; other++) sum += shares[other][each];
    shares[0][each] = sum;
  }
  __syncthreads();  // the sums are complete
#pragma unroll
  for (int i = 0; i < MINE; i++) sums[i] = shares[0][line(i)];
}

// The sums over the rows of a tile, for each column. On entry sums[j] is what this thread's own
// rows add to its column j; on return it is the sum over all threads that share the column.
template <typename E>
__device__ void sum_columns(E& engine, typename E::Number* sums) {
  sum_shares<E::ROWS / E::MY_ROWS, E::COLUMNS, E::MY_COLUMNS, E::THREADS>(
      sums, engine.share(), [&](int j) { return engine.column(j); });
}

// The same over the columns, for each row.
template <typename E>
__device__ void sum_rows(E& engine, typename E::Number* sums) {
  sum_shares<E::COLUMNS / E::MY_COLUMNS, E::ROWS, E::MY_ROWS, E::THREADS>(
      sums, engine.share_of_row(), [&](int i) { return engine.row(i); });
}

// Stores one number for each of the first `columns` columns.
template <typename Engine>
__device__ void store_columns(Engine& engine, const typename Engine::Number* numbers, int columns,
                              typename Engine::Number* address) {
#pragma unroll
  for (int j = 0; j < Engine::MY_COLUMNS; j++)
    if (engine.row(0) == 0 && engine.column(j) < columns) address[engine.column(j)] = numbers[j];
}

// Plain arithmetic: 16 x 16 threads. Thread (i, j) computes the numbers at rows i, i + 16, ...
// and columns j, j + 16, ... of a tile of ROWS x COLUMNS.
template <typename T, int ROWS_, int COLUMNS_>
struct Simt {
  using Number = T;
  using Cell = T;
  static constexpr int ROWS = ROWS_, COLUMNS = COLUMNS_, DEPTH = 16, THREADS = 256;
  static constexpr int MY_ROWS = ROWS / 16, MY_COLUMNS = COLUMNS / 16;
  static constexpr int TOGETHER = 2;  // blocks that shall fit a multiprocessor
  // Of neighbouring columns, those of one thread in the result.
  static constexpr int ADJACENT = 1;
  // Each thread has the whole sums of its numbers.
  struct Joined {};
  __device__ void join(Joined&) {}
  // Rows of cells start in different banks of shared memory, thanks to an odd pitch.
  static constexpr int PADDING_ALONG_K = 1, PADDING_ALONG_LINES = 1;

  T sums[MY_ROWS][MY_COLUMNS] = {};

  template <typename V, int COUNT>
  static __device__ Few<T, COUNT> round(const Few<V, COUNT>& numbers) { return as<T>(numbers); }
  static __device__ int row(int i) { return threadIdx.x / 16 + 16 * i; }
  static __device__ int column(int j) { return threadIdx.x % 16 + 16 * j; }
  // Of the threads that own numbers of the same column, or row, the how-manieth this is.
  static __device__ int share() { return threadIdx.x / 16; }
  static __device__ int share_of_row() { return threadIdx.x % 16; }
  __device__ T& value(int i, int j) { return sums[i][j]; }

  template <typename TileA, typename TileB, typename... Counts>
  __device__ void multiply(const TileA& a, const TileB& b, Counts&... counts) {
#pragma unroll
    for (int k = 0; k < DEPTH; k++)
#pragma unroll
      for (int i = 0; i < MY_ROWS; i++)
#pragma unroll
        for (int j = 0; j < MY_COLUMNS; j++) {
          const T of_a = *a.address(row(i), k), of_b = *b.address(column(j), k);
          sums[i][j] += of_a * of_b;
          ((counts.sums[i][j] += of_a == T(0) ? T(0) : of_b), ...);
        }
  }
};
