# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   minran:
#     number: 17
#     seconds: 20
#     minutes: 75
# ---

# %% [markdown]
# # 17 · From NumPy to CUDA
#
# **You will be able to**
#
# - say, before you measure, whether an operation waits for arithmetic or for memory;
# - measure where the time of a training step goes, and read the answer on a roofline;
# - make an operation faster without changing its result, and prove both;
# - read a CUDA kernel line by line, and say which thread touches which number;
# - place a barrier where it is needed, and see what happens where it is missing.
#
# **Time**: 75 minutes to read and do; runs in 20 seconds on 2 cores.
# **Needs**: notebooks 03 (convolution), 04 (batch norm) and 10 (channel attention). No GPU.

# %% tags=["setup"]
import time

import numpy as np

from minran import backend, create_model, ops, tensor
from minran.backend.cpu.norm import batch_norm
from minran.course import (
    check,
    explore,
    owners_figure,
    passes_and_bytes,
    roofline_figure,
    run_block,
    seconds_of,
    show_kernel,
    show_source,
    time_figure,
    timed_kernels,
    tree_figure,
)

backend.current().set_threads(1)  # one core: the measurements below speak of one

# %% [markdown]
# ## 1 · Two clocks
#
# An operation does $F$ floating-point operations (FLOP) and moves $B$ bytes between memory and the
# processor. A processor that computes at most $\pi$ FLOP a second, from a memory that delivers at
# most $\beta$ bytes a second, cannot finish before either is done:
#
# $$
# t \;\ge\; \max\Big(\frac{F}{\pi},\; \frac{B}{\beta}\Big)
# \qquad\Longleftrightarrow\qquad
# \frac{F}{t} \;\le\; \min(\pi,\; I\,\beta), \quad I = \frac{F}{B} .
# \tag{17.1}
# $$
#
# $I$ is the **arithmetic intensity**, FLOP per byte. Over $I$, on logarithmic axes, the bound is a
# slope and then a flat roof: the *roofline*. Left of the ridge $I^* = \pi/\beta$ an operation waits
# for memory, and faster arithmetic does not help it.
#
# What are they on the core that runs this notebook? Measure: a large product for $\pi$, a large
# copy (which reads and writes) for $\beta$. Both are limits, so take the *best* of the rounds, in
# which other programs disturbed least.

# %%
rng = np.random.default_rng(0)
a, b = (rng.standard_normal((768, 768)).astype(np.float32) for _ in range(2))
peak = 2 * 768**3 / seconds_of(lambda: a @ b, of=min)
source = np.ones(1 << 24, np.float32)  # 67 MB: more than the caches hold
target = np.empty_like(source)
bandwidth = 2 * source.nbytes / seconds_of(lambda: np.copyto(target, source), of=min)
ridge = peak / bandwidth
print(f"peak {peak / 1e9:.0f} GFLOP/s, memory {bandwidth / 1e9:.1f} GB/s")
print(f"ridge: {ridge:.0f} FLOP per byte")

# %% [markdown]
# An NVIDIA H100 (SXM) has, by its maker's data sheet, $\pi = 67$ TFLOP/s in float32 and $\beta =
# 3.35$ TB/s: a ridge at 20 FLOP per byte, and at 148 with TF32 tensor cores (495 TFLOP/s). These
# are printed figures, not measured here. In float32 the ridge of a GPU is of the size of a CPU
# core's; with tensor cores it lies much further to the right.
#
# ### The intensity of our operations
#
# The gate $H = (1 + M)\,T$ does 2 FLOP for each number and moves three (two in, one out), 12 bytes:
# $I = 1/6$. No machine in sight has a ridge that low.
#
# A convolution with stride 1 from $C$ to $K$ channels on $P$ pixels, kernel $k \times k$, does a
# multiply-add for each weight at each pixel. If every number is moved once, in float32,
#
# $$
# F = 2\,P\,k^2 C K, \qquad B = 4\,\big(P\,(C + K) + k^2 C K\big).
# \tag{17.2}
# $$
#
# **Task 17.1.** Write the intensity.


# %% tags=["exercise"]
# Task 17.1: FLOP per byte of a convolution
def conv_intensity(pixels, channels_in, channels_out, kernel=1):
    """(17.2): F / B for stride 1, float32, everything moved once."""
    ### BEGIN SOLUTION
    weights = kernel**2 * channels_in * channels_out
    moved = pixels * (channels_in + channels_out) + weights
    return 2 * pixels * weights / (4 * moved)
    ### END SOLUTION


# %% tags=["check"]
check("17.1", conv_intensity)

# %%
pixels = 64 * 32 * 32  # a batch of 64, stage 1 on CIFAR
unit = ((64, 16, 1), (16, 16, 3), (16, 64, 1))  # stage 1: a residual unit
whole_unit = sum(kernel**2 * cin * cout for cin, cout, kernel in unit)
for cin, cout, kernel in (*unit, (64, 64, 3), (1024, 1024, 3)):
    found = conv_intensity(pixels, cin, cout, kernel)
    words = f"{'left' if found < ridge else 'right'} of the ridge"
    if (cin, cout, kernel) in unit:
        words += f"; {kernel**2 * cin * cout / whole_unit:.0%} of the unit's work"
    print(f"{kernel}x{kernel}, {cin:4} -> {cout:4} channels: {found:5.1f} FLOP per byte, {words}")

# %% [markdown]
# In the narrow units of a CIFAR network, the 1x1 convolutions have a low intensity, and the 3x3
# convolution, with about half of the work, a higher one. The roofline is an upper bound. Whether an
# operation comes near it is another question, and only a measurement answers it.
#
# ## 2 · Where the time of a step goes
#
# Measure the time of every kernel of the backend, in one training step of Attention-56 on 16
# images. Before you run the next cells, predict which share of the step convolutions have, with
# the batch norms and ReLUs before them, forward and backward.

# %%
model = create_model("attention56_cifar")
x = tensor(rng.standard_normal((16, 32, 32, 3)).astype(np.float32))
labels = np.arange(16) % 10


def step():
    ops.cross_entropy(model(x), labels).backward()


step()  # the first one allocates memory
with timed_kernels() as spent:
    start = time.perf_counter()
    step()
    whole = time.perf_counter() - start

ordered = dict(sorted(spent.items(), key=lambda item: -item[1].seconds))
top = dict(list(ordered.items())[:10])
print(f"one step: {whole:.2f} s, {sum(s.calls for s in spent.values())} kernel calls")
time_figure(top, whole)

# %% [markdown]
# "Between the kernels" is Python, and the kernels too small to be shown. Now put the large ones
# under the roof. The bytes are those that each call takes in and gives back. What a kernel writes
# and reads *inside*, such as the columns of im2col, is not counted. The FLOP are those of the
# products.

# %%
shown = {name: entry for name, entry in ordered.items() if entry.flops and entry.bytes}
roofline_figure(peak, bandwidth, shown)

# %%
print("share of            the step   FLOP per byte   of the ridge   the peak   the bandwidth")
for name, entry in shown.items():
    intensity = entry.flops / entry.bytes
    print(
        f"{name:25} {entry.seconds / whole:3.0%} {intensity:12.1f}      "
        f"{'left' if intensity < ridge else 'right':12} "
        f"{entry.flops / entry.seconds / peak:7.0%} "
        f"{entry.bytes / entry.seconds / bandwidth:11.0%}"
    )

# %% [markdown]
# (On a busy machine, peak and bandwidth come out too small, and so does everything compared with
# them: then run the notebook again.) Read the last two columns. A kernel that waits for memory has
# a high share of the bandwidth; one that waits for arithmetic, a high share of the peak. If both
# are low, the kernel is at **neither** roof: its time goes into what the model leaves out, such as
# filling the columns of im2col, products that are too small to reach the peak, and calls. A point
# *above the slope* is possible: its numbers were still in a cache from the operation before.
# Kernels without products (pools, sums, gate, statistics) are not in this image, because they
# only move bytes; the first figure has them.
#
# `docs/speed.md` says how the CPU kernels were made and what each decision was worth.
#
# ## 3 · Making one operation faster
#
# Batch norm at inference and the ReLU after it, as one writes it first:


# %%
def slow_norm_relu(x, gamma, beta, mean, var, eps, out):
    """out = max(gamma (x - mean) / sqrt(var + eps) + beta, 0)."""
    xhat = (x - mean) / np.sqrt(var + eps)
    y = gamma * xhat + beta
    out[...] = np.where(y > 0, y, 0)


# %% [markdown]
# Each NumPy call goes over all numbers once: it reads maps and writes a map. Count the passes, and
# the bytes of fresh memory. A count gives the same answer on a busy machine, which a clock does
# not.

# %%
shape = (16, 32, 32, 64)
maps = {"x": rng.standard_normal(shape).astype(np.float32), "out": np.empty(shape, np.float32)}
vectors = {
    name: rng.uniform(0.5, 2, 64).astype(np.float32) for name in ("gamma", "beta", "mean", "var")
}


def report(name, function):
    passes, fresh = passes_and_bytes(
        lambda **given: function(**given, eps=1e-5), maps | vectors, maps["x"].size
    )
    seconds = seconds_of(lambda: function(**maps, **vectors, eps=1e-5))
    print(f"{name:8} {passes:3.0f} passes, {fresh / 1e6:5.1f} MB fresh, {1e3 * seconds:6.2f} ms")


print(f"the map itself: {maps['x'].nbytes / 1e6:.1f} MB")
report("slow", slow_norm_relu)

# %% [markdown]
# Two things help. **Fewer passes**: all four vectors can be folded into two before any map is
# touched,
#
# $$
# \gamma\,\frac{x - \mu}{\sqrt{v + \varepsilon}} + \beta \;=\; a\,x + b,
# \qquad a = \frac{\gamma}{\sqrt{v + \varepsilon}},\quad b = \beta - a\,\mu .
# \tag{17.3}
# $$
#
# **No fresh maps**: NumPy's functions take `out=`. Fresh memory costs twice, once to be fetched
# from the system and once to be read back. You will do it in section 6, after you have seen how a
# GPU does it.
#
# ## 4 · The same thought on a GPU
#
# On a GPU, thousands of threads run the same function. Each finds out from its own number which
# items are its own:
#
# | NumPy | CUDA | |
# |---|---|---|
# | `y = f(x)` on an array | a kernel `f`, launched on a grid | the loop over items is the grid |
# | the index `i` of a loop | `blockIdx.x * blockDim.x + threadIdx.x` | number of a thread |
# | an axis that is summed over | the threads of one *block* | they can talk to each other |
# | a temporary of that sum | `__shared__` memory | some KB, next to the arithmetic |
# | the end of a NumPy call | `__syncthreads()`, or the next launch | all have written, now read |
# | fusing two calls into one | two lines in one kernel | a pass over memory less |
#
# ### The gate, line by line
#
# This is the real file that the GPU backend compiles; the notes below its lines are ours.

# %% tags=["hide-input"]
show_kernel(
    "elementwise.cu",
    "gate",
    {
        "template": "compiled for float, double and bfloat16 maps; one calculates in Real<T>",
        "__global__": "a kernel: the host launches it, each thread runs all of it",
        "Real<T> one": "in a register of each thread: costs no memory access",
        "each": "this thread's numbers; two floats in, one out: 12 bytes, as in section 1",
    },
)

# %% [markdown]
# `each` (in `common.cuh`) goes over the numbers in a *grid-stride loop*. An item is PIECE
# neighbouring numbers, 4 as a rule, read in one access; thread $t$ of $T$ takes the items
# $t, t + T, t + 2T, \dots$ Why not a run of neighbouring items for each thread, as one would cut an
# array for two CPU cores? Because the threads run *at the same moment*, 32 at a time. Memory hands
# out stretches of neighbouring numbers: what 32 neighbouring threads read at one moment should lie
# side by side.

# %%
explore(owners_figure, moment=[0, 1, 2])

# %% [markdown]
# In the upper row the four threads read one stretch; in the lower, four numbers from four
# stretches, most of which is fetched for nothing. On a CPU it is the other way round: each core has
# a cache of its own, and a run of its own suits it.
#
# The Python side finds the sizes, makes the output and launches. It does not wait for the result:

# %%
import minran.backend.gpu.activation as gpu_activation  # reading it needs no GPU

show_source(gpu_activation.gate)

# %% [markdown]
# ## 5 · A block, its shared memory, and barriers
#
# Channel attention (Eq. 5, notebook 10) divides every pixel by its length over the channels. Now
# threads must talk to each other: a sum over 64 channels is made by 64 threads. One block, one
# pixel.

# %% tags=["hide-input"]
show_kernel(
    "attention.cu",
    "channel_attention",
    {
        "const T* pixel": "NumPy: pixel = x.reshape(-1, C)[block]",
        "Real<T> squares": "each thread has its own",
        "squares +=": "thread t takes channels t, t + 64, ...: the strided loop within one block",
        "Real<T> length": "all 64 threads together: NumPy's .sum(), see below",
        "= pixel[c] / length": "each thread writes its channels",
        "threadIdx.x == 0": "one number, so one thread writes it (backward needs it)",
    },
)
show_kernel(
    "common.cuh",
    "joined",
    {
        "__shared__": "numbers that the whole block sees: here 64 rows, one column",
        "cells[row][column] = value": "each thread puts down its own sum",
        "half /= 2": "a tree: 64, 32, 16, ..., 1: six levels instead of 63 additions in a row",
        "row < half)": "the lower half adds the upper half (join is +); the others do nothing",
        "return cells": "after the last barrier, every thread reads the whole sum",
    },
)

# %% [markdown]
# A *barrier* `__syncthreads()` holds every thread until all of the block have come as far. Without
# it a thread may add a cell that its neighbour has not written yet. Note where the barriers stand:
# in the loop, but **not inside the `if`**. If one thread skipped a barrier, the others would wait
# forever.
#
# Run such a program in Python. A thread is a generator, a barrier is `yield`; between two barriers
# the threads run one after the other, in an order drawn at random.

# %%
show_source(run_block)

# %% [markdown]
# **Task 17.2.** Write the sum of `values` by a block of `threads` threads (a power of two). Each
# thread first adds its own values, `thread`, `thread + threads`, ..., puts the result into
# `cells[thread]`, and then the tree adds the cells. At the end `cells[0]` must hold the sum, in
# whatever order the threads ran.


# %% tags=["exercise"]
# Task 17.2: a sum by a block of threads
def line_sum(thread, threads, cells, values):
    """A generator: `yield` is a barrier. cells: `threads` numbers that all threads see."""
    ### BEGIN SOLUTION
    total = 0.0
    for i in range(thread, len(values), threads):
        total += values[i]
    cells[thread] = total
    half = threads // 2
    while half:
        yield
        if thread < half:
            cells[thread] += cells[thread + half]
        half //= 2
    ### END SOLUTION


# %% tags=["check"]
check("17.2", line_sum)

# %% [markdown]
# Its shared memory, barrier by barrier, for the numbers 0 to 15 and 8 threads; cells that changed
# are filled.

# %%
tree_figure(run_block(line_sum, 8, np.arange(16.0)))

# %% [markdown]
# And now Eq. 5 for one pixel, as the kernel does it, compared with the library on the CPU. The
# order of the additions differs, so the last digit may differ.

# %%
pixel = rng.standard_normal(64).astype(np.float32)
squares = run_block(line_sum, 64, pixel.astype(np.float64) ** 2).shared[0]
ours = pixel / np.sqrt(squares + 1e-12)
library = ops.channel_attention(tensor(pixel.reshape(1, 1, 1, 64))).numpy().ravel()
print("largest difference:", np.abs(ours - library).max())

# %% [markdown]
# What happens when the barrier is left out?


# %%
def hasty_sum(thread, threads, cells, values):
    cells[thread] = values[thread]
    yield
    half = threads // 2
    while half:
        if thread < half:
            cells[thread] += cells[thread + half]  # has it been written?
        half //= 2


results = [run_block(hasty_sum, 4, np.arange(4.0), seed=seed).shared[0] for seed in range(300)]
found, times = np.unique(results, return_counts=True)
print("the sum of 0 to 3 is 6; without barriers, in 300 random orders:")
print(", ".join(f"{value:g} ({many} times)" for value, many in zip(found, times, strict=True)))

# %% [markdown]
# Some orders give a wrong sum, some the right one: **a race is a bug that may pass its test**. So
# the real kernels are tested in an emulation with one fiber for each thread, where memory that
# nobody wrote is NaN and planted races must be found (`docs/gpu.md`), and on a card where there is
# one. A tree has another virtue: it adds in a fixed order. Sums here are never made with atomic
# additions, so a run that is repeated gives the same bits.
#
# ## 6 · Your turn: fewer passes
#
# **Task 17.3.** Make `slow_norm_relu` faster, with (17.3) and `out=`. The check compares your
# result with the library's op in float64, looks whether `x` is still what it was, and counts: at
# most 3 passes over the map (in one piece or in blocks), and almost no fresh memory.


# %% tags=["exercise"]
# Task 17.3: batch norm and ReLU in three passes
def fast_norm_relu(x, gamma, beta, mean, var, eps, out):
    """out = max(gamma (x - mean) / sqrt(var + eps) + beta, 0); x (N, H, W, C), vectors (C,)."""
    ### BEGIN SOLUTION
    scale = gamma / np.sqrt(var + eps)
    np.multiply(x, scale, out=out)
    np.add(out, beta - mean * scale, out=out)
    np.maximum(out, 0, out=out)
    ### END SOLUTION


# %% tags=["check"]
check("17.3", fast_norm_relu)

# %%
report("slow", slow_norm_relu)
report("yours", fast_norm_relu)
inv_std = 1 / np.sqrt(vectors["var"].astype(np.float64) + 1e-5)
three = (vectors["gamma"], vectors["beta"], vectors["mean"])
library_time = seconds_of(lambda: batch_norm(maps["x"], *three, inv_std, True))
once = seconds_of(lambda: np.copyto(maps["out"], maps["x"]))
print(f"library  3 passes in blocks that fit a cache: {1e3 * library_time:.2f} ms")
print(f"a copy   of the same map, for comparison: {1e3 * once:.2f} ms")

# %% [markdown]
# The library makes the same three passes, but over a *block* at a time: the second and third pass
# find their numbers in a small cache. It also repeats the vectors along a row of pixels, which
# gives NumPy's inner loop thousands of numbers instead of 64. (A map of 4 MB may fit the last cache
# of the processor. Then the copy is faster than memory allows, so the time of section 1 is no lower
# bound.)

# %%
show_source(batch_norm, after="17.3")

# %% [markdown]
# A CUDA kernel needs no blocks: a thread holds its number in a register through all three
# operations, so there is one pass. Here is the same op:

# %% tags=["hide-input"]
show_kernel(
    "norm.cu",
    "batch_norm",
    {
        "int c = first": "NumPy's broadcasting of the (C,) vectors, written out",
        "const R value": "a register: xhat, y and the ReLU never see memory",
        "few<PIECE>(y + i)": "the one write",
    },
)

# %% [markdown]
# ## Summary
#
# - Time is at least $\max(F/\pi, B/\beta)$. The intensity $I = F/B$ says which of the two counts.
# - Operations without products wait for memory, and fewer passes over maps make them faster. A
#   convolution may lie on either side of the ridge, and far below both roofs: measure.
# - Count passes and bytes; use the clock to confirm. And compare with the op in float64: a fast
#   answer may be wrong.
# - A kernel is the body of a loop; the threads of a block share memory; after a barrier, a thread
#   may read what the others wrote before it.
#
# ## Questions
#
# 1. The gate is fused with nothing in our library. Where would its bytes go if the last 1x1
#    convolution of the head, the sigmoid and the gate were one kernel?
#
# <details><summary>Answer</summary>
#
# Apart, the convolution writes the logits (1 map), the sigmoid reads and writes (2), and the gate
# reads two and writes one (3). In one kernel the logits stay in registers: the trunk is read and
# $H$ written, so four maps less. But backward needs $M$: either it is written after all (one map),
# or computed again from the input of the convolution.
# </details>
#
# 2. `sum_over_line` begins with a barrier, before anything was written. Why?
#
# <details><summary>Answer</summary>
#
# It may be called twice. A quick thread of the second call would overwrite a cell that a slow
# thread of the first has not read yet.
# </details>
#
# 3. Your function passes the check. Is it as exact as the slow one for a channel with mean 1000 and
#    standard deviation 0.01?
#
# <details><summary>Answer</summary>
#
# No. $x - \mu$ first removes the large part exactly; $a x + b$ subtracts two numbers near
# $a \mu$, here $10^5$, and float32 keeps 7 digits of each: the error is near $10^{-2}$ in units of
# the standard deviation. Activations of this network have means of the size of their deviation.
# </details>
#
# 4. A GPU has twenty times the bandwidth of your machine. Will the step be twenty times faster?
#
# <details><summary>Answer</summary>
#
# Only what waits for memory, and only if the card is kept busy. A step of Attention-56 is some
# thousand launches of small kernels, each of which costs the host some microseconds: at small
# batches the card waits for Python. `docs/gpu.md` describes the cure, one graph for all launches.
# </details>
#
# ## References
#
# - S. Williams, A. Waterman, D. Patterson, *Roofline: An Insightful Visual Performance Model for
#   Multicore Architectures*, Communications of the ACM 52 (2009).
# - NVIDIA, *CUDA C++ Programming Guide*: thread hierarchy, shared memory, `__syncthreads`.
# - NVIDIA, *H100 Tensor Core GPU* data sheet, SXM5 column: the printed figures of section 1 (TF32
#   without sparsity).
# - M. Harris, *Optimizing Parallel Reduction in CUDA* (2007): the tree, and what comes after it.
