// Enough of CUDA to run a kernel's source on the CPU, for tests: one block after another, and in
// a block one fiber for each thread. A fiber runs until it meets a barrier or returns; when all
// of its block (or warp) wait there, they go on. Nothing here is fast or parallel, but what a
// missing barrier, a wrong index or a wrong size does to the result, it shows.

#include <csetjmp>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __restrict__
#define __launch_bounds__(...)
#define MINRAN_EMULATION 1

using std::exp;
using std::log;
using std::max;
using std::min;
using std::sqrt;

struct Size3 {
  unsigned x, y, z;
};
static Size3 threadIdx, blockIdx, blockDim, gridDim;

struct bfloat16;  // common.cuh has it

// The bits of a float, and back.
static inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
static inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

namespace emulator {

enum State : char { RUNNING, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct Fiber {
  jmp_buf place;
  std::unique_ptr<char[]> stack;
  Size3 thread;
};

static std::vector<Fiber> fibers;
static State states[1024];  // the most that a block has
static jmp_buf scheduler;
static unsigned current, threads, turn;
static bool downwards;
static void (*kernel)(const void*);
static const void* arguments;

static void live();

// To the next thread that does not wait, or back to `run_block` when all had their turn.
static void __attribute__((noinline, noreturn)) go_on() {
  do {
    if (turn == threads) _longjmp(scheduler, 1);
    current = downwards ? threads - 1 - turn : turn;
    turn++;
  } while (states[current] != RUNNING);
  Fiber& fiber = fibers[current];
  threadIdx = fiber.thread;
  if (fiber.stack) _longjmp(fiber.place, 1);
  // ucontext builds the stacks; jumping between them costs a tenth of swapcontext. Stacks that
  // begin at the same place of a page would compete for the same lines of the cache.
  constexpr size_t bytes = 1 << 17, line = 64;
  fiber.stack.reset(new char[bytes]);
  ucontext_t start;
  getcontext(&start);
  start.uc_stack.ss_sp = fiber.stack.get();
  start.uc_stack.ss_size = bytes - current % 64 * line;
  start.uc_link = nullptr;
  makecontext(&start, live, 0);
  setcontext(&start);
  __builtin_unreachable();
}

static void __attribute__((noinline)) pause(State state) {
  states[current] = state;
  if (_setjmp(fibers[current].place) == 0) go_on();
}

static void live() {
  for (;;) {
    kernel(arguments);
    pause(DONE);
  }
}

static void __attribute__((noinline)) take_turns() {
  turn = 0;
  if (_setjmp(scheduler) == 0) go_on();
}

// Lets the threads [first, last) go on if all that have not returned wait in `state`.
static bool release(unsigned first, unsigned last, State state) {
  bool waiting = false;
  for (unsigned i = first; i < last; i++) {
    if (states[i] == DONE) continue;
    if (states[i] != state) return false;
    waiting = true;
  }
  for (unsigned i = first; waiting && i < last; i++)
    if (states[i] != DONE) states[i] = RUNNING;
  return waiting;
}

// Runs one block; false if its threads wait for each other at different barriers. The threads
// take turns upwards or, if `downwards`, from the last to the first: a result that depends on it
// misses a barrier.
static bool run_block() {
  std::memset(states, RUNNING, threads);
  for (;;) {
    take_turns();
    bool going = false, done = true;
    for (unsigned i = 0; i < threads; i++) done = done && states[i] == DONE;
    if (done) return true;
    for (unsigned i = 0; i < threads; i += 32)
      going = release(i, std::min(i + 32, threads), AT_WARP_BARRIER) || going;
    going = release(0, threads, AT_BLOCK_BARRIER) || going;
    if (!going) {
      fibers.clear();
      return false;
    }
  }
}

static bool run_grid(const unsigned* grid, const unsigned* block, bool from_the_last) {
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  threads = block[0] * block[1] * block[2];
  downwards = from_the_last;
  if (fibers.size() < threads) fibers.resize(threads);
  for (unsigned i = 0; i < threads; i++)
    fibers[i].thread = {i % block[0], i / block[0] % block[1], i / (block[0] * block[1])};
  for (unsigned z = 0; z < grid[2]; z++)
    for (unsigned y = 0; y < grid[1]; y++)
      for (unsigned x = 0; x < grid[0]; x++) {
        blockIdx = {x, y, z};
        if (!run_block()) return false;
      }
  return true;
}

// What a parameter is called, for the launcher to check the arguments against.
template <typename T> struct Name;
template <> struct Name<float> { static std::string of() { return "float32"; } };
template <> struct Name<double> { static std::string of() { return "float64"; } };
template <> struct Name<int> { static std::string of() { return "int32"; } };
template <> struct Name<unsigned> { static std::string of() { return "uint32"; } };
template <> struct Name<unsigned long long> { static std::string of() { return "uint64"; } };
template <> struct Name<unsigned char> { static std::string of() { return "uint8"; } };
template <> struct Name<bfloat16> { static std::string of() { return "bfloat16"; } };
template <typename T> struct Name<T*> { static std::string of() { return Name<T>::of() + "*"; } };
template <typename T> struct Name<const T*> {
  static std::string of() { return "const " + Name<T>::of() + "*"; }
};

template <typename... A>
std::string signature(void (*)(A...)) {
  std::string text;
  ((text += (text.empty() ? "" : ",") + Name<A>::of()), ...);
  return text;
}

// Calls `function` with args[i] pointing to argument i, as cuLaunchKernel takes them.
template <auto function, typename... A, size_t... I>
void call(void* const* args, std::index_sequence<I...>, void (*)(A...)) {
  function(*static_cast<A*>(args[I])...);
}

template <auto function, typename... A>
void unpack(const void* args, void (*pointer)(A...)) {
  call<function>(static_cast<void* const*>(args), std::index_sequence_for<A...>{}, pointer);
}

template <auto function>
void entry(const void* args) {
  unpack<function>(args, function);
}

struct Kernel {
  const char* name;
  std::string signature;
  void (*entry)(const void*);
};

}  // namespace emulator

static inline void __syncthreads() { emulator::pause(emulator::AT_BLOCK_BARRIER); }
static inline void __syncwarp() { emulator::pause(emulator::AT_WARP_BARRIER); }

// The tensor core's part, see tensorcore.cuh: rounding to the nearest TF32 (ties away from zero),
// the product of a warp's fragments, and how they come from shared memory.
static inline float to_tf32(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7f800000) == 0x7f800000) return x;
  return __uint_as_float((bits + 0x1000) & 0xffffe000);
}

template <typename Cell>
static void multiply_fragments(float* c, const unsigned* a, const unsigned* b) {
  constexpr unsigned IN_WORD = 4 / sizeof(Cell);
  // Of each thread of each warp: 4 words of A, then 2 of B.
  static Cell fragments[32][32][6][IN_WORD];
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  std::memcpy(fragments[warp][lane], a, 16);
  std::memcpy(fragments[warp][lane][4], b, 8);
  __syncwarp();
  for (int i = 0; i < 4; i++) {
    const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (unsigned word = 0; word < 8; word++)
      for (unsigned n = 0; n < IN_WORD; n++)
        c[i] += float(fragments[warp][row % 8 * 4 + word % 4][row / 8 + word / 4 * 2][n]) *
                float(fragments[warp][column * 4 + word % 4][4 + word / 4][n]);
  }
  __syncwarp();
}

template <bool TRANSPOSED>
static void load_matrices(unsigned* words, const void* row) {
  static const unsigned short* rows[32][32];
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  rows[warp][lane] = static_cast<const unsigned short*>(row);
  __syncwarp();
  for (unsigned matrix = 0; matrix < 4; matrix++) {
    const unsigned g = lane / 4, q = lane % 4;
    const unsigned short* const* mine = rows[warp] + 8 * matrix;
    const unsigned low = TRANSPOSED ? mine[2 * q][g] : mine[g][2 * q];
    const unsigned high = TRANSPOSED ? mine[2 * q + 1][g] : mine[g][2 * q + 1];
    words[matrix] = low | high << 16;
  }
  __syncwarp();
}
