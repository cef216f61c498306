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
#     number: 3
#     seconds: 6
#     minutes: 100
# ---

# %% [markdown]
# # 03 · Convolution as a matrix product
#
# **You will be able to**
#
# - write a convolution as a sum, and say how large its output is and what it costs;
# - turn it into one matrix product (im2col) and see which number of the image lands where;
# - derive both of its adjoints: the gradient of the weights and the gradient of the image;
# - write `col2im`, and check it with the adjoint test of notebook 02;
# - say why the gradient of a convolution is again a convolution, and what groups change.
#
# **Time**: 100 minutes to read and do; runs in 6 seconds on 2 cores.
#
# **Needs**: notebook 01 (vector-Jacobian products) and notebook 02 (the adjoint test).

# %% tags=["setup"]
import numpy as np

from minran import gradcheck, nn, ops, tensor
from minran.backend import cpu, geometry, naive
from minran.course import check, frames, show_source
from minran.data import load_shapes
from minran.inspect.style import new_figure, show, theme

rng = np.random.default_rng(3)
colours = theme()

# %% [markdown]
# ## 1 · The sum
#
# A *filter* is a small array of weights. Lay it on the image, multiply what lies on top of each
# other, add up: that is one output number. Move the filter by `stride` pixels and do it again.
# With one image $x$ of $C$ channels and filters $w$ for $K$ output channels,
#
# $$
# y_{ijk} \;=\; \sum_{a=0}^{K_H-1}\sum_{b=0}^{K_W-1}\sum_{c=0}^{C-1}
# x_{\,si+a-p,\; sj+b-p,\; c}\; w_{abck}
# \tag{3.1}
# $$
#
# where $s$ is the stride, $p$ the padding, and $x$ is $0$ outside the image. Each batch entry
# $n$ is treated in the same way and we leave its index out.
#
# In the library: `x` is `(N, H, W, C)`, `w` is `(KH, KW, C, K)`, `y` is `(N, Ho, Wo, K)`.
#
# Step through it: a 3 × 3 filter moves over an image of 5 × 5 pixels with stride 1. Before each
# step, compute the next output number.

# %% tags=["hide-input"]
from matplotlib.patches import Rectangle

edge = np.array(
    [[0, 0, 1, 1, 1], [0, 0, 1, 2, 2], [0, 1, 1, 2, 3], [0, 0, 1, 2, 3], [0, 0, 1, 1, 1]]
)
sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def slide(count):
    """The image, the filter, and the first `count` outputs."""
    figure = new_figure(7.2, 2.5, False)
    panels = figure.subplots(1, 3, width_ratios=[5, 3, 3])
    out = np.full((3, 3), np.nan)
    for i, j in list(np.ndindex(3, 3))[:count]:
        out[i, j] = (edge[i : i + 3, j : j + 3] * sobel).sum()
    titles = ("image x", "filter w", "output y")
    for axis, values, title in zip(panels, (edge, sobel, out), titles, strict=True):
        show(axis, np.zeros((*values.shape, 3)) + 0.97, colours, title)
        for (r, c), value in np.ndenumerate(values):
            if not np.isnan(value):
                axis.text(c, r, f"{value:g}", ha="center", va="center", color=colours.text)
    box = {"fill": False, "linewidth": 2.4, "edgecolor": colours.colours[1]}
    panels[0].add_patch(Rectangle((j - 0.5, i - 0.5), 3, 3, **box))
    panels[2].add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, **box))
    return figure


captions = [f"window ({i}, {j}): nine products, one sum" for i, j in np.ndindex(3, 3)]
frames([slide(count) for count in range(1, 10)], captions)

# %% [markdown]
# Now three filters on a real image:

# %%
image = load_shapes("train", 60).images[47] / 255.0
grey = image.mean(-1)

filters = {
    "mean of the window": np.full((3, 3), 1 / 9),
    "right minus left": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4,
    "centre minus its neighbours": np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]) / 2,
}
w = np.stack(list(filters.values()), axis=-1)[:, :, None, :]  # (3, 3, 1, 3)
y = ops.conv2d(tensor(grey[None, :, :, None]), tensor(w), padding=1)
print("x", (1, 32, 32, 1), " w", w.shape, " y", y.shape)

# %% tags=["hide-input"]
figure = new_figure(9.6, 2.7, False)
axes = figure.subplots(1, 4)
show(axes[0], grey, colours, "x", cmap="gray")
for k, name in enumerate(filters):
    limit = 1 if k == 0 else abs(y.numpy()[..., k]).max()
    low, look = (0, "gray") if k == 0 else (-limit, "RdBu_r")
    show(axes[k + 1], y.numpy()[0, :, :, k], colours, name, cmap=look, vmin=low, vmax=limit)
figure

# %% [markdown]
# The second filter responds where brightness changes from left to right (red: it grows, blue: it
# falls), the third where a pixel differs from its surroundings. (The lines along the edges come
# from the padding: outside the image all is black.) A network is not given its filters: it learns
# them, and for that it needs the gradients of (3.1).
#
# **A word on words.** Mathematicians call (3.1) the *cross-correlation* of $x$ and $w$. Their
# convolution runs through the filter backwards, in one dimension
#
# $$
# (x * w)_i = \sum_a x_{i-a}\, w_a
# \qquad\text{against}\qquad
# (x \star w)_i = \sum_a x_{i+a}\, w_a .
# \tag{3.2}
# $$
#
# Network libraries compute $\star$ and say "convolution". Since the weights are learned, the
# difference does not matter. The flip comes back in section 5, in the gradient.
#
# ### How large is the output?
#
# Along one axis of $H$ pixels, the padded image has $H + 2p$ positions, numbered from $0$. Window
# $i$ covers positions $si$ to $si + K_H - 1$. The last window, number $H_o - 1$, must end inside:
#
# $$
# s(H_o - 1) + K_H - 1 \;\le\; H + 2p - 1
# \quad\Longleftrightarrow\quad
# H_o = \Big\lfloor \frac{H + 2p - K_H}{s} \Big\rfloor + 1 .
# \tag{3.3}
# $$
#
# With $K_H = 3$, $p = 1$, $s = 1$ the size stays. With $s = 2$ an even size is halved exactly,
# and the last row of padding is never read.

# %%
for size, kernel, stride, padding in ((32, 3, 1, 1), (32, 3, 2, 1), (32, 1, 2, 0), (224, 7, 2, 3)):
    out = geometry.conv_output_size(size, kernel, stride, padding)
    print(f"{size:3d} pixels, kernel {kernel}, stride {stride}, padding {padding}  ->  {out}")

# %% [markdown]
# The library contains (3.1) word by word, as loops, for you to read. It is far too slow to train
# with, and it is what the fast version is tested against.

# %%
show_source(naive.conv2d)

# %% [markdown]
# ## 2 · One output number is one dot product; all of them are one matrix product
#
# Fix one output pixel $(i, j)$. The numbers of $x$ that it sees, $x_{si+a-p,\,sj+b-p,\,c}$ for
# all $a, b, c$, are $K_H K_W C$ numbers. Write them in a row. The weights $w_{abck}$ for one $k$
# are just as many numbers: write them in a column. Then (3.1) is row times column.
#
# Do it for all output pixels and all $k$ at once. Let $m = (a, b, c)$ count the positions in a
# window, $q = (n, i, j)$ the output pixels, and define
#
# $$
# \mathrm{cols}(x)_{q,m} = x_{n,\; si+a-p,\; sj+b-p,\; c} .
# \tag{3.4}
# $$
#
# Then the whole convolution is
#
# $$
# \underbrace{Y}_{N H_o W_o \times K}
# \;=\;
# \underbrace{\mathrm{cols}(x)}_{N H_o W_o \times K_H K_W C}\;
# \underbrace{W}_{K_H K_W C \times K}
# \tag{3.5}
# $$
#
# where $W$ is `w.reshape(KH * KW * C, K)`, which in memory is `w` itself, and $Y$ is
# `y.reshape(N * Ho * Wo, K)`. The step from $x$ to $\mathrm{cols}(x)$ is called **im2col**.
#
# Below: an image of 5 × 5 pixels, one channel, a 3 × 3 window and stride 2. There are four
# windows; each becomes one row. The pixel in the middle, number 12, is seen by all four.

# %%
small = np.arange(25.0).reshape(1, 5, 5, 1)
columns = cpu.conv.columns_of(small, (3, 3), (2, 2), (0, 0), (2, 2), 1)
print(columns.astype(int))

# %% tags=["hide-input"]
figure = new_figure(9.6, 3.6, False)
left, right = figure.subplots(1, 2, width_ratios=[1, 1.75])
for axis, values in ((left, small[0, :, :, 0]), (right, columns)):
    show(axis, np.zeros((*values.shape, 3)) + 0.97, colours)
    for (r, c), value in np.ndenumerate(values):
        shared = value == 12
        axis.text(
            c,
            r,
            int(value),
            ha="center",
            va="center",
            color=colours.text,
            fontsize=10,
            fontweight="bold" if shared else "normal",
        )
        if shared:
            axis.plot(
                c,
                r,
                "s",
                markersize=19,
                markerfacecolor="none",
                markeredgewidth=1.4,
                markeredgecolor=colours.text,
            )
for q, (i, j) in enumerate(np.ndindex(2, 2)):
    shift = 0.07 * q - 0.1
    box = {"fill": False, "linewidth": 2.4, "edgecolor": colours.colours[q]}
    corner = (2 * j - 0.5 + shift, 2 * i - 0.5 + shift)
    left.add_patch(Rectangle(corner, 2.95, 2.95, **box))
    right.add_patch(Rectangle((-0.5, q - 0.44), 9, 0.88, **box))
left.set_title("the image and its four windows", color=colours.text, fontsize=10)
right.set_title("cols(x): one window, one row", color=colours.text, fontsize=10)
right.set_xticks(range(9), [f"({a},{b})" for a, b in np.ndindex(3, 3)], fontsize=8.5)
right.set_yticks(range(4), [f"({i},{j})" for i, j in np.ndindex(2, 2)], fontsize=8.5)
right.set_xlabel("position (a, b) in the window", color=colours.text, fontsize=9)
right.set_ylabel("output pixel (i, j)", color=colours.text, fontsize=9)
figure

# %% [markdown]
# The library's `columns_of` makes the rows without a Python loop: it describes the windows to
# NumPy by strides alone, and lets one copy fill the matrix. Since channels come last in memory,
# each row of a window is one run of $K_W C$ neighbouring numbers.

# %%
show_source(cpu.conv.columns_of)

# %%
x = rng.standard_normal((2, 8, 7, 3))
w = rng.standard_normal((3, 3, 3, 4))
out = tuple(geometry.conv_output_size(size, 3, 2, 1) for size in x.shape[1:3])
columns = cpu.conv.columns_of(x, (3, 3), (2, 2), (1, 1), out, 1)

by_product = (columns @ w.reshape(-1, 4)).reshape(2, *out, 4)
by_op = ops.conv2d(tensor(x), tensor(w), stride=2, padding=1).numpy()
by_loops = naive.conv2d(x, w, (2, 2), (1, 1), 1)
print("product against op:   ", abs(by_product - by_op).max())
print("product against loops:", abs(by_product - by_loops).max())

# %% [markdown]
# ### What it costs
#
# Every entry of $Y$ is a dot product of length $K_H K_W C$, so a convolution takes
#
# $$
# \begin{aligned}
# &N H_o W_o \cdot K \cdot K_H K_W C && \text{multiply-adds, and has} \\
# &K_H K_W C \, K && \text{weights.}
# \end{aligned}
# \tag{3.6}
# $$
#
# Im2col costs memory: a 3 × 3 window at stride 1 copies every pixel nine times. So the
# library works through the batch in blocks that fit the processor's cache. A **1 × 1
# convolution** costs none: its windows are the pixels, $\mathrm{cols}(x)$ is
# `x.reshape(-1, C)`, no copy at all. Two of the three convolutions in each unit of this network
# are 1 × 1.
#
# Before you run the next cell, predict: the array `x` above has 2 images of 8 × 7 pixels with 3
# channels. How many numbers does $\mathrm{cols}(x)$ hold for 3 × 3 windows, stride 2, padding 1?

# %%
print("pixels copied by im2col:", columns.size, "from", x.size)
x1 = rng.standard_normal((2, 8, 7, 3))
w1 = rng.standard_normal((1, 1, 3, 4))
same = x1.reshape(-1, 3) @ w1[0, 0]
print("1x1:", abs(ops.conv2d(tensor(x1), tensor(w1)).numpy().reshape(-1, 4) - same).max())

# %% [markdown]
# ## 3 · First adjoint: the gradient of the weights
#
# (3.1) is linear in $w$ for a fixed $x$, and linear in $x$ for a fixed $w$. For a linear map
# $y = A v$, notebook 01 showed that the vector-Jacobian product is the transpose:
# $g_v = A^\top g_y$. So there are two matrices to transpose. In $w$ the matrix is
# $\mathrm{cols}(x)$. Entry by entry, with $L$ the loss, $g = \partial L / \partial Y$ and
# $Y_{qk} = \sum_m \mathrm{cols}(x)_{qm} W_{mk}$,
#
# $$
# \frac{\partial L}{\partial W_{mk}}
# = \sum_{q} \sum_{k'} g_{qk'} \frac{\partial Y_{qk'}}{\partial W_{mk}}
# = \sum_{q} g_{qk}\, \mathrm{cols}(x)_{qm},
# \qquad\text{so}\qquad
# g_W = \mathrm{cols}(x)^\top g .
# \tag{3.7}
# $$
#
# Of the inner sum only the term $k' = k$ is left, because $W_{mk}$ appears in column $k$ of $Y$
# only. In words: the gradient of a weight is the sum, over all positions where it was used, of the
# input that it was multiplied with times the gradient of the output there.

# %%
gy = rng.standard_normal(by_op.shape)
gw = (columns.T @ gy.reshape(-1, 4)).reshape(w.shape)

xt, wt = tensor(x, requires_grad=True), tensor(w, requires_grad=True)
ops.conv2d(xt, wt, stride=2, padding=1).backward(gy)
print("(3.7) against the library:", abs(gw - wt.grad).max())

# %% [markdown]
# ## 4 · Second adjoint: the gradient of the image
#
# Two steps. The product (3.5) is linear in $\mathrm{cols}(x)$; transposing from the other side
# gives
#
# $$
# g_{\mathrm{cols}} = g\, W^\top,
# \qquad
# (g_{\mathrm{cols}})_{qm} = \sum_k g_{qk} W_{mk} .
# \tag{3.8}
# $$
#
# Now from $\mathrm{cols}(x)$ back to $x$. Im2col only copies: each entry $(q, m)$ is **one**
# pixel $\pi(q, m)$ of the image, or a padded zero. As a matrix it has a single $1$ in each row,
#
# $$
# \mathrm{cols}(x)_{qm} = \sum_{\pi} S_{(q,m),\pi}\; x_{\pi},
# \qquad
# S_{(q,m),\pi} = \begin{cases} 1 & \pi = \pi(q, m) \\ 0 & \text{else.} \end{cases}
# \tag{3.9}
# $$
#
# Its transpose therefore adds up, for each pixel, the gradients of **all** entries to which that
# pixel was copied. This is **col2im**:
#
# $$
# (g_x)_{\pi}
# = \sum_{(q,m)} S_{(q,m),\pi}\, (g_{\mathrm{cols}})_{qm}
# = \sum_{(q,m)\,:\,\pi(q,m) = \pi} (g_{\mathrm{cols}})_{qm} .
# \tag{3.10}
# $$
#
# Pixel 12 of the figure above was copied four times, so four numbers add up on it. Copying
# forward is adding backward: the rule of notebook 01 for a variable that is used more than once,
# and the same duality as between `broadcast` and `sum`. Note that col2im does not undo im2col.
# Send ones forward and back, and each pixel holds the number of windows that saw it.
#
# Before you run the next cells, predict for an image of 9 × 9 pixels and windows of 3 × 3: how
# often is the middle pixel seen at stride 1, how often a corner, without padding and with $p = 1$?
# Which numbers come at stride 2? And how many of the 81 pixels do 1 × 1 windows at stride 2 miss?


# %%
def times_seen(size, kernel, stride, padding):
    """How many windows read each pixel: col2im(im2col(ones))."""
    ones = tensor(np.ones((1, size, size, 1)), requires_grad=True)
    y = ops.conv2d(ones, tensor(np.ones((kernel, kernel, 1, 1))), stride=stride, padding=padding)
    y.backward(np.ones(y.shape))
    return ones.grad[0, :, :, 0]


cases = ((9, 3, 1, 0), (9, 3, 1, 1), (9, 3, 2, 1), (9, 2, 2, 0), (9, 1, 2, 0))

# %% tags=["hide-input"]
figure = new_figure(9.6, 2.3, False)
for axis, case in zip(figure.subplots(1, 5), cases):
    seen = times_seen(*case)
    name = "kernel {1}, stride {2}, padding {3}".format(*case)
    show(axis, seen, colours, name.replace(", s", ",\ns"), cmap="viridis", vmin=0, vmax=9)
    for (r, c), value in np.ndenumerate(seen):
        axis.text(
            c,
            r,
            int(value),
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if value < 6 else "black",
        )
figure

# %% [markdown]
# Three things to see. A 3 × 3 window at stride 1 sees inner pixels nine times and, without
# padding, corners once. At stride 2 the counts alternate 1, 2, 4: such a gradient has a
# checkerboard pattern, whatever the weights. And some pixels are in no window: the last row and
# column of the fourth drawing, and 56 of the 81 pixels of the last one. Their gradient is
# exactly zero.
#
# ### Exercise: write col2im
#
# For every position $(a, b)$ in the window, `windows[:, i, j, a, b]` came from the padded pixel
# $(si + a,\; sj + b)$. With $i$ running, that is a slice with a step. A loop over the positions in
# a window, not over the pixels, is enough. Remember what (3.10) says about pixels that are seen
# several times, and the padding at the end.


# %% tags=["exercise"]
# Task 03.1: write col2im, the adjoint of im2col (3.10), for one group of channels.
def col2im(gcolumns, x_shape, kernel, stride, padding):
    """(N Ho Wo, KH KW C) -> (N, H, W, C); kernel, stride and padding are pairs."""
    n, height, width, channels = x_shape
    (kh, kw), (sh, sw), (ph, pw) = kernel, stride, padding
    ho = geometry.conv_output_size(height, kh, sh, ph)
    wo = geometry.conv_output_size(width, kw, sw, pw)
    windows = gcolumns.reshape(n, ho, wo, kh, kw, channels)
    padded = np.zeros((n, height + 2 * ph, width + 2 * pw, channels))
    ### BEGIN SOLUTION
    for a in range(kh):
        for b in range(kw):
            padded[:, a : a + sh * ho : sh, b : b + sw * wo : sw] += windows[:, :, :, a, b]
    return padded[:, ph : ph + height, pw : pw + width]
    ### END SOLUTION


# %% tags=["check"]
check("03.1", col2im)

# %%
show_source(cpu.conv._col2im, docstring=False, after="03.1")

# %% [markdown]
# The adjoint test of notebook 02 needs no other implementation: if $A$ is im2col and $A^\top$ is
# your function, then $\langle A x, r\rangle = \langle x, A^\top r\rangle$ for random $x$ and
# $r$. No derivative appears in it.


# %%
def adjoint_test(kernel=(3, 2), stride=(2, 3), padding=(1, 1)):
    """The two numbers that must agree."""
    x = rng.standard_normal((2, 6, 9, 3))
    sizes = zip(x.shape[1:3], kernel, stride, padding)
    out = tuple(geometry.conv_output_size(*numbers) for numbers in sizes)
    columns = cpu.conv.columns_of(x, kernel, stride, padding, out, 1)
    r = rng.standard_normal(columns.shape)
    return (columns * r).sum(), (x * col2im(r, x.shape, kernel, stride, padding)).sum()


try:
    print("<im2col x, r> = {:.12f}\n<x, col2im r> = {:.12f}".format(*adjoint_test()))
except NotImplementedError as blank:
    print("Come back after", blank)

# %% [markdown]
# ### Exercise: both gradients
#
# Put the pieces together: (3.7) for the weights, then (3.8) and (3.10) for the image. You have
# `cpu.conv.columns_of` and your `col2im`.


# %% tags=["exercise"]
# Task 03.2: write the backward pass of a convolution, for one group.
def conv2d_backward(gy, x, w, stride, padding):
    """(N, Ho, Wo, K) -> gx (N, H, W, C), gw (KH, KW, C, K); stride and padding are pairs."""
    kh, kw, _, outputs = w.shape
    columns = cpu.conv.columns_of(x, (kh, kw), stride, padding, gy.shape[1:3], 1)
    ### BEGIN SOLUTION
    g = gy.reshape(-1, outputs)
    gw = (columns.T @ g).reshape(w.shape)
    gcolumns = g @ w.reshape(-1, outputs).T
    gx = col2im(gcolumns, x.shape, (kh, kw), stride, padding)
    return gx, gw
    ### END SOLUTION


# %% tags=["check"]
check("03.2", conv2d_backward)

# %%
show_source(naive.conv2d_backward, naive.conv._products, docstring=False, after="03.2")

# %% [markdown]
# ## 5 · The gradient is a convolution, too
#
# Write (3.1) for one axis and one channel as a matrix: $y = A(w)\,x$ with
# $A_{i\pi} = w_{\pi - si + p}$ where that index is a position in the filter, else $0$. Each row
# holds the same filter, moved by the stride. (Numbers along each diagonal agree when $s = 1$: a
# banded Toeplitz matrix.)


# %%
def convolution_matrix(w, size, stride, padding):
    """A(w): column by column, the answers to images that are 1 in one pixel and 0 elsewhere."""
    pixels = np.eye(size)[:, None, :, None]  # a batch of rows of pixels
    y = ops.conv2d(
        tensor(pixels), tensor(w[None, :, None, None]), stride=stride, padding=(0, padding)
    )
    return y.numpy()[:, 0, :, 0].T


taps = np.array([1.0, 2.0, 3.0])
dense, strided = convolution_matrix(taps, 8, 1, 1), convolution_matrix(taps, 8, 2, 1)

# %% tags=["hide-input"]
from matplotlib.colors import ListedColormap

figure = new_figure(9.6, 3.1, False)
looks = ListedColormap(["#f4f5f6", *colours.colours[:3]])
titles = ("A, stride 1", "A transposed", "A, stride 2", "A transposed")
axes = figure.subplots(1, 4, width_ratios=[8, 8, 8, 4])
for axis, matrix, title in zip(axes, (dense, dense.T, strided, strided.T), titles):
    show(axis, matrix, colours, title, cmap=looks, vmin=0, vmax=3)
    for (i, j), value in np.ndenumerate(matrix):
        if value:
            axis.text(
                j, i, f"$w_{int(value) - 1}$", ha="center", va="center", color="white", fontsize=10
            )
figure

# %% [markdown]
# Read the second matrix row by row: again one filter, moved by one pixel from row to row, but
# with $w_2$ first and $w_0$ last. So at stride 1 the adjoint is a cross-correlation of $g$ with
# the filter **turned round**: the flip of (3.2). In symbols, with $p' = K_H - 1 - p$ and the same
# for the columns: a pixel $\rho$ is read by output $i$ at position $a$ if $\rho = i + a - p$, so
#
# $$
# (g_x)_{\rho}
# = \sum_a g_{\rho + p - a}\, w_a
# \;\overset{a' = K_H - 1 - a}{=}\;
# \sum_{a'} g_{\rho + a' - p'}\; w_{K_H - 1 - a'} .
# \tag{3.11}
# $$
#
# With channels, $w_{abck}$ takes $C$ channels to $K$; its adjoint takes $K$ to $C$, so the two
# channel axes change places as well. Hence: **`gx` is the convolution of `gy` with the filter
# turned by 180 degrees, its channel axes swapped, and padding $K - 1 - p$.**

# %%
x = tensor(rng.standard_normal((2, 6, 6, 3)), requires_grad=True)
w = rng.standard_normal((3, 3, 3, 5))
gy = rng.standard_normal((2, 6, 6, 5))
ops.conv2d(x, tensor(w), padding=1).backward(gy)

turned = np.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3))
as_convolution = ops.conv2d(tensor(gy), tensor(turned), padding=3 - 1 - 1)
print("(3.11) against the library:", abs(as_convolution.numpy() - x.grad).max())

# %% [markdown]
# The library uses this: at stride 1 it builds the columns of `gy` once, and from them gets both
# gradients without any col2im.

# %%
show_source(cpu.conv.turned_adjoints, after="03.2")

# %% [markdown]
# At stride 2 (the fourth matrix) the filter appears with gaps: the rows of $A^\top$ use $w_1$
# alone, then $w_2$ and $w_0$. That is what (3.11) gives if zeros are first put between the
# entries of $g$. As a layer of its own the map $A^\top$ is called a *transposed convolution*.
# This network does not use it to enlarge its maps; it interpolates (notebook 05), which has no
# checkerboard.
#
# ## 6 · Groups
#
# With $G$ groups, input and output channels are cut into $G$ equal parts, and outputs of part $g$
# see only inputs of part $g$. Each part is a convolution (3.1) of its own with $C/G$ and $K/G$
# channels, so
#
# $$
# \text{weights} = G \cdot K_H K_W \frac{C}{G}\frac{K}{G} = \frac{K_H K_W C K}{G},
# \tag{3.12}
# $$
#
# and multiply-adds shrink by the same factor. For each position $(a, b)$ the $C \times K$ matrix of
# weights is block-diagonal. Nothing new happens in the gradients: each block has its own.
# AttentionNeXt uses 32 groups in its 3 × 3 convolutions (notebook 07).


# %%
def channel_matrix(groups, channels=16):
    """Which input channels (rows) each output channel (columns) of a 1x1 convolution sees."""
    layer = nn.Conv2d(channels, channels, 1, groups=groups)
    pixels = np.eye(channels, dtype=np.float32)[:, None, None, :]
    return layer, abs(layer(tensor(pixels)).numpy()[:, 0, 0, :]) > 0


# %% tags=["hide-input"]
figure = new_figure(8.4, 2.4, False)
for axis, groups in zip(figure.subplots(1, 4), (1, 2, 4, 16)):
    layer, sees = channel_matrix(groups)
    name = f"{groups} group{'s' * (groups > 1)}: {layer.weight.size} weights"
    show(
        axis,
        sees,
        colours,
        name,
        cmap=ListedColormap(["#f4f5f6", colours.colours[0]]),
        vmin=0,
        vmax=1,
    )
    axis.set_xlabel("output channel", color=colours.faint, fontsize=8.5)
    axis.set_ylabel("input channel", color=colours.faint, fontsize=8.5)
figure

# %% [markdown]
# Last, the instrument of notebook 02 on the whole operation: stride, padding, groups and bias
# together, all three gradients against central differences.

# %%
report = gradcheck(
    lambda x, w, bias: ops.conv2d(x, w, bias, stride=2, padding=1, groups=2),
    rng.standard_normal((2, 5, 6, 4)),
    rng.standard_normal((3, 3, 2, 6)),
    rng.standard_normal(6),
    name="conv2d",
)
print(report)

# %% [markdown]
# ## Summary
#
# - A convolution (3.1) is linear in the image and linear in the weights.
# - Im2col writes each window as a row; then the convolution is one product (3.5), and a 1 × 1
#   convolution is a product without any copy.
# - The gradient of the weights is $\mathrm{cols}(x)^\top g$ (3.7). The gradient of the image is
#   col2im of $g W^\top$ (3.8, 3.10): what was copied forward is added backward.
# - At stride 1 the gradient of the image is itself a convolution, with the filter turned round
#   and its channels swapped (3.11).
# - Groups divide weights and work by $G$ (3.12).
#
# ## Questions
#
# 1. A 3 × 3 convolution from 64 to 64 channels on a 32 × 32 map, stride 1, padding 1: how many
#    weights, how many multiply-adds for one image? And the bottleneck 64 → 16 → 16 → 64 with
#    kernels 1, 3, 1?
#
#    <details><summary>Answer</summary>
#
#    Weights 9 · 64 · 64 = 36,864; multiply-adds 32 · 32 · 36,864 = 37.7 million. The bottleneck
#    has 64 · 16 + 9 · 16 · 16 + 16 · 64 = 4,352 weights and 4.5 million multiply-adds: a factor
#    of 8.5.
#
#    </details>
#
# 2. Why can the first layer of a network skip (3.8) and (3.10)? Where does the library do so?
#
#    <details><summary>Answer</summary>
#
#    The gradient of the image itself is not used in training. `Op.needs` says which inputs want a
#    gradient, and `conv2d_backward` gets `need_gx=False`. A saliency map (notebook 13)
#    does use it.
#
#    </details>
#
# 3. `padded[rows, columns] += values` with index *arrays* that contain a pixel twice gives a
#    wrong result. Why, and why is the same line with slices right?
#
#    <details><summary>Answer</summary>
#
#    NumPy reads all addressed entries, adds, and writes all of them; for a repeated index the
#    last write wins (`np.add.at` adds each). Within one slice no pixel occurs twice; overlaps
#    occur only between different positions $(a, b)$ in the window, and those are added one after
#    another.
#
#    </details>
#
# 4. What does (3.11) say about a 1 × 1 convolution?
#
#    <details><summary>Answer</summary>
#
#    Nothing to turn: $g_x$ is a 1 × 1 convolution of $g$ with $W^\top$, padding 0.
#
#    </details>
#
# 5. A convolution has a bias and is followed by batch norm. What is the bias good for?
#
#    <details><summary>Answer</summary>
#
#    Nothing: batch norm subtracts the mean of the channel, and the bias with it (notebook 04
#    proves it). No convolution in this network has one.
#
#    </details>
#
# ## References
#
# - V. Dumoulin and F. Visin, *A guide to convolution arithmetic for deep learning*,
#   arXiv:1603.07285.
# - K. Chellapilla, S. Puri and P. Simard, *High performance convolutional neural networks for
#   document processing*, 2006: an early use of im2col for networks.
# - A. Odena, V. Dumoulin and C. Olah, *Deconvolution and checkerboard artifacts*, Distill, 2016.
# - S. Xie et al., *Aggregated residual transformations for deep neural networks*, CVPR 2017:
#   groups in residual units.
# - In the library: `minran/backend/naive/conv.py`, `minran/backend/cpu/conv.py`,
#   `minran/ops/conv.py`.
