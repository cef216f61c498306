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
//   ALONG_K        do numbers that are neighbours along k lie together in memory, or those that
//                  are neighbours along the row (of A; the column, of B)?
//   Line, line(r)  what the view knows about row r, worked out once
//   Step, step(k)  what it knows about k
//   find(line, k)  where the number lies, or null: then it is zero
//   prepare(v, line, k, e)  what to make of number e of a piece once it was read

#pragma once

constexpr int DEPTH = 16;

// A loader brings LINES rows of a view, DEPTH numbers each, from global to shared memory. Each of
// the THREADS threads carries some pieces of PIECE numbers that lie together in memory: fetch()
// starts reading them, put() writes them to the tile. Between the two the threads multiply the
// tile before, so that nobody waits for the memory.
template <typename Engine, typename View, int LINES, int PIECE>
struct Loader {
  using T = typename Engine::Number;
  static constexpr int PIECES = LINES * DEPTH / PIECE;
  static constexpr int MINE = (PIECES + Engine::THREADS - 1) / Engine::THREADS;
  // The pieces of one k, or of one line, side by side:
  static constexpr unsigned SIDE = View::ALONG_K ? DEPTH / PIECE : LINES / PIECE;

  struct alignas(sizeof(T) * PIECE) Piece {
    T number[PIECE];
  };

  const View& view;
  typename View::Line lines[MINE];
  Piece pieces[MINE];

  __device__ Loader(const View& view, int first_line) : view(view) {
#pragma unroll
    for (int p = 0; p < MINE; p++) lines[p] = view.line(first_line + line_of(p));
  }

  // Neighbouring threads take neighbouring pieces, whichever direction that is.
  __device__ int line_of(int p) const {
    const unsigned piece = threadIdx.x + p * Engine::THREADS;
    return View::ALONG_K ? piece / SIDE : piece % SIDE * PIECE;
  }
  __device__ int step_of(int p) const {
    const unsigned piece = threadIdx.x + p * Engine::THREADS;
    return View::ALONG_K ? piece % SIDE * PIECE : piece / SIDE;
  }
  __device__ bool exists(int p) const {
    return PIECES % Engine::THREADS == 0 || threadIdx.x + p * Engine::THREADS < PIECES;
  }

  __device__ void fetch(int k, int last) {
#pragma unroll
    for (int p = 0; p < MINE; p++) {
      const int here = k + step_of(p);
      const typename View::Step step = view.step(here);
      const T* address = exists(p) && here < last ? view.find(lines[p], step) : nullptr;
      pieces[p] = address ? *reinterpret_cast<const Piece*>(address) : Piece{};
#pragma unroll
      for (int e = 0; address && e < PIECE; e++)
        pieces[p].number[e] = view.prepare(pieces[p].number[e], lines[p], step, e);
    }
  }

  __device__ void put(T (*tile)[Engine::PITCH]) const {
#pragma unroll
    for (int p = 0; p < MINE; p++)
#pragma unroll
      for (int e = 0; exists(p) && e < PIECE; e++)
        tile[line_of(p) + (View::ALONG_K ? 0 : e)][step_of(p) + (View::ALONG_K ? e : 0)] =
            Engine::round(pieces[p].number[e]);
  }
};

// Fills engine.value(...) with the tile of C that starts at (row, column), summed over
// first <= k < last.
template <int PIECE, typename Engine, typename ViewA, typename ViewB>
__device__ void product(Engine& engine, const ViewA& a, const ViewB& b, int row, int column,
                        int first, int last) {
  using T = typename Engine::Number;
  __shared__ T a_tile[Engine::ROWS][Engine::PITCH];
  __shared__ T b_tile[Engine::COLUMNS][Engine::PITCH];
  Loader<Engine, ViewA, Engine::ROWS, PIECE> a_loader(a, row);
  Loader<Engine, ViewB, Engine::COLUMNS, PIECE> b_loader(b, column);
  a_loader.fetch(first, last);
  b_loader.fetch(first, last);
  for (int k = first; k < last; k += DEPTH) {
    a_loader.put(a_tile);
    b_loader.put(b_tile);
    __syncthreads();  // the tiles are complete
    if (k + DEPTH < last) {
      a_loader.fetch(k + DEPTH, last);
      b_loader.fetch(k + DEPTH, last);
    }
    engine.multiply(a_tile, b_tile);
    __syncthreads();  // everybody is done with the tiles
  }
}

// The sum of f(i, j) over the first `rows` rows, for each column of the tile; (i, j) counts a
// thread's own numbers, and every thread gets the sums of its own columns.
template <typename Engine, typename Function>
__device__ void sum_columns(Engine& engine, int rows, typename Engine::Number* sums, Function f) {
  using T = typename Engine::Number;
  // So many threads own numbers of the same column; first each adds its own.
  constexpr int SHARES = Engine::ROWS / Engine::MY_ROWS;
  __shared__ T shares[SHARES][Engine::COLUMNS];
  __syncthreads();
#pragma unroll
  for (int j = 0; j < Engine::MY_COLUMNS; j++) {
    T sum = 0;
#pragma unroll
    for (int i = 0; i < Engine::MY_ROWS; i++)
      if (engine.row(i) < rows) sum += f(i, j);
    shares[threadIdx.x * SHARES / Engine::THREADS][engine.column(j)] = sum;
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < Engine::MY_COLUMNS; j++) {
    sums[j] = 0;
    for (int share = 0; share < SHARES; share++) sums[j] += shares[share][engine.column(j)];
  }
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
  static constexpr int ROWS = ROWS_, COLUMNS = COLUMNS_, THREADS = 256;
  static constexpr int MY_ROWS = ROWS / 16, MY_COLUMNS = COLUMNS / 16;
  // Rows of a tile start in different banks of shared memory, thanks to the odd pitch.
  static constexpr int PITCH = DEPTH + 1;

  T sums[MY_ROWS][MY_COLUMNS] = {};

  static __device__ T round(T value) { return value; }
  static __device__ int row(int i) { return threadIdx.x / 16 + 16 * i; }
  static __device__ int column(int j) { return threadIdx.x % 16 + 16 * j; }
  __device__ T& value(int i, int j) { return sums[i][j]; }

  __device__ void multiply(const T (*a)[PITCH], const T (*b)[PITCH]) {
#pragma unroll
    for (int k = 0; k < DEPTH; k++)
#pragma unroll
      for (int i = 0; i < MY_ROWS; i++)
#pragma unroll
        for (int j = 0; j < MY_COLUMNS; j++) sums[i][j] += a[row(i)][k] * b[column(j)][k];
  }
};
