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
#     number: 5
#     seconds: 15
#     minutes: 75
# ---

# %% [markdown]
# # 05 · Max-pool and bilinear interpolation
#
# **You will be able to**
#
# - compute which pixels each window of a pool reads, in floor mode and in ceil mode;
# - derive where a maximum sends its gradient, and say what happens at ties and overlaps;
# - write bilinear interpolation as two small matrices, and say what `align_corners` changes;
# - derive its adjoint, and write it;
# - follow a map through the mask's way down (max-pool) and up (interpolation).
#
# **Time**: 75 minutes to read and do; runs in 15 seconds on 2 cores.
#
# **Needs**: notebook 01 (vector-Jacobian products), notebook 03 for sizes and for the idea of an
# adjoint.

# %% tags=["setup"]
import numpy as np

from minran import gradcheck, ops, tensor
from minran.backend import cpu, geometry, naive
from minran.course import check, explore, show_source
from minran.data import load_shapes
from minran.errors import ShapeError
from minran.inspect.style import new_figure, show, theme

rng = np.random.default_rng(5)
colours = theme()

# %% [markdown]
# ## 1 · Max-pool: the largest of each window
#
# The mask of this network first makes its maps small, so that each position knows about much of
# the image, and then brings them back to full size. The way down is a **max-pool**. With
# windows of $K_H \times K_W$, stride $s$ and padding $p$, channel by channel,
#
# $$
# y_{ijc} = \max_{(a, b)\,\in\, \mathcal W_{ij}} x_{\,si+a-p,\; sj+b-p,\; c} ,
# \tag{5.1}
# $$
#
# where $\mathcal W_{ij}$ holds only those positions $(a, b)$ of the window that lie **on real
# pixels**. This differs from the zero padding of a convolution: a padded zero would be larger than
# negative values, and the output would be a number that is not in the image.

# %%
negative = tensor(-1.0 - rng.random((1, 5, 5, 1)))
print("all values below -1; max-pool 3x3, stride 2, padding 1:")
print(ops.max_pool2d(negative, 3, stride=2, padding=1).numpy()[0, :, :, 0].round(2))

# %% [markdown]
# ### How many windows? Floor and ceil
#
# As in (3.3), windows that lie fully inside the padded image are
#
# $$
# H_o^{\text{floor}} = \Big\lfloor \frac{H + 2p - K}{s} \Big\rfloor + 1 .
# \tag{5.2}
# $$
#
# If the division leaves a remainder, the last pixels are in no window. **Ceil mode** adds one more
# window that hangs over the edge and reads the real pixels it covers:
#
# $$
# H_o^{\text{ceil}} = \Big\lceil \frac{H + 2p - K}{s} \Big\rceil + 1
# \qquad\text{but one less if}\qquad
# s\,(H_o^{\text{ceil}} - 1) \ge H + p .
# \tag{5.3}
# $$
#
# The condition: the last window starts at padded position $s(H_o - 1)$, real pixels end before
# position $H + p$. A window that starts after them would contain no pixel. (This is PyTorch's
# rule.)
#
# The authors trained with Caffe, which rounds up. Their pools are 3 × 3, stride 2, no padding:

# %%
for start, steps in ((56, 3), (32, 3)):
    for ceil_mode in (True, False):
        sizes = [start]
        for _ in range(steps):
            sizes.append(geometry.pool_output_size(sizes[-1], 3, 2, 0, ceil_mode))
        print("ceil " if ceil_mode else "floor", " -> ".join(map(str, sizes)))

# %% [markdown]
# Rounding up gives half of every even size, so maps of the mask's way down and way up meet in
# size. Rounding down gives 27, 13, 6. A port that copies "3 × 3, stride 2" into a library that
# rounds down builds another network.


# %% tags=["hide-input"]
def draw_windows(size=8, kernel=3, stride=2, padding=0, ceil_mode=True, axis=None):
    """One axis of a pool: pixels below, one bar for each window, dashed where it reads nothing."""
    figure = None
    if axis is None:
        figure = new_figure(7.6, 2.6, False)
        axis = figure.subplots()
    axis.set_axis_off()
    try:
        windows = geometry.pool_output_size(size, kernel, stride, padding, ceil_mode)
    except ShapeError as error:
        axis.text(0.5, 0.5, str(error), color=colours.text, ha="center", wrap=True)
        return figure
    read = np.zeros(size, int)
    for i in range(windows):
        start = i * stride - padding
        first, last = max(start, 0), min(start + kernel, size)
        read[first:last] += 1
        height, colour = 0.75 + 0.42 * (i % 3), colours.colours[i % 3]
        axis.plot(
            (start - 0.42, start + kernel - 0.58),
            (height, height),
            color=colour,
            linewidth=1.6,
            linestyle=":",
        )
        axis.plot(
            (first - 0.42, last - 0.58),
            (height, height),
            color=colour,
            linewidth=6,
            solid_capstyle="butt",
        )
        axis.text(
            start + (kernel - 1) / 2,
            height + 0.1,
            f"{i}",
            color=colours.text,
            ha="center",
            va="bottom",
            fontsize=8,
        )
    for pixel in range(-padding, size + max(kernel, padding)):
        real = 0 <= pixel < size
        if not real and pixel >= (windows - 1) * stride - padding + kernel:
            continue
        unread = real and read[pixel] == 0
        axis.plot(
            pixel,
            0.2,
            "s",
            markersize=13,
            markeredgecolor=colours.faint,
            markerfacecolor="none" if not real else (colours.colours[int(unread)], 0.25),
            linestyle="none",
            markeredgewidth=0.8 if real else 0.4,
        )
        if real:
            axis.text(pixel, 0.2, pixel, color=colours.text, ha="center", va="center", fontsize=7.5)
    mode = "ceil" if ceil_mode else "floor"
    axis.set_title(
        f"{size} pixels, kernel {kernel}, stride {stride}, padding {padding}, {mode}  →  {windows}",
        color=colours.text,
        fontsize=9.5,
    )
    axis.set_ylim(-0.1, 2.0)
    return figure


# %% tags=["hide-input"]
figure = new_figure(9.6, 4.1, False)
cases = (
    (8, 3, 2, 0, False),
    (8, 3, 2, 0, True),
    (9, 3, 2, 0, True),
    (8, 3, 2, 1, False),
    (7, 2, 2, 0, False),
    (7, 2, 3, 1, True),
)
for axis, case in zip(figure.subplots(3, 2).flat, cases):
    draw_windows(*case, axis=axis)
figure

# %% [markdown]
# Bars are windows, with their numbers; the dotted part of a bar is outside the image and is not
# read. An orange pixel is in no window. In the last case the formula without its condition would
# give one window more: it would start at pixel 8, after the last one. Other numbers, to choose:

# %%
explore(
    draw_windows,
    size=(7, 8, 9),
    kernel=(2, 3),
    stride=(2, 3),
    padding=(0, 1),
    ceil_mode=(False, True),
)

# %% [markdown]
# ### Exercise: the size


# %% tags=["exercise"]
# Task 05.1: write the number of windows along one axis of a pool, (5.2) and (5.3).
def pool_size(size, kernel, stride, padding, ceil_mode):
    """Five numbers -> how many windows."""
    ### BEGIN SOLUTION
    room = size + 2 * padding - kernel
    if not ceil_mode:
        return room // stride + 1
    windows = -(-room // stride) + 1
    if stride * (windows - 1) >= size + padding:
        windows -= 1
    return windows
    ### END SOLUTION


# %% tags=["check"]
check("05.1", pool_size)

# %%
show_source(geometry.pool_output_size, docstring=False, after="05.1")

# %% [markdown]
# ## 2 · Where a maximum sends its gradient
#
# Look at one window with values $x_1, \dots, x_n$, and let $k^*$ be the index of the largest,
# $x_{k^*} > x_k$ for all other $k$. Change every value by less than half the distance between the
# largest and the second largest: $k^*$ stays the index of the maximum, so near this point the
# function **is** $y = x_{k^*}$, and
#
# $$
# \frac{\partial y}{\partial x_k} = \begin{cases} 1 & k = k^* \\ 0 & \text{else.} \end{cases}
# \tag{5.4}
# $$
#
# If two values are equal and largest, there is a corner and no derivative. Any convex combination
# of the two unit vectors is a subgradient; a library has to choose one. PyTorch and minran give
# all of it to the **first** of the equal maxima, row by row. (Ties are common after a ReLU: all
# zeros. The ReLU stops what they pass on.)
#
# For the whole map: with $\pi(q)$ the pixel that won window $q$, $y_q = x_{\pi(q)}$, so the pool
# is a selection, $y = P x$, like im2col (3.9), only that $P$ depends on $x$. The backward pass is
# again its transpose. Windows of 3 at stride 2 overlap, one pixel may win up to four of them, and
# then gets the sum:
#
# $$
# (g_x)_{\pi} = \sum_{q\,:\,\pi(q) = \pi} g_q .
# \tag{5.5}
# $$
#
# Before you run the next cell, predict: a map of 9x9 has 4x4 windows, and each of their gradients
# is 1. What is the sum of all entries of $g_x$? How many pixels get something, at most?

# %%
image = load_shapes("train", 60).images[47] / 255.0
darkness = 1 - image.mean(-1)
x = tensor(darkness[None, 18:27, 4:13, None], requires_grad=True)
y = ops.max_pool2d(x, 3, stride=2, ceil_mode=True)
y.backward(np.ones(y.shape))
wins = x.grad[0, :, :, 0]
print(
    "windows:", y.size, " pixels that won:", int((wins > 0).sum()), " sum of gradients:", wins.sum()
)

# %% tags=["hide-input"]
from matplotlib.patches import Rectangle

figure = new_figure(9.4, 3.2, False)
left, middle, right = figure.subplots(1, 3)
show(left, x.numpy()[0, :, :, 0], colours, "x, and the winner of each window", cmap="gray")
show(
    middle,
    y.numpy()[0, :, :, 0],
    colours,
    "y",
    cmap="gray",
    vmin=x.numpy().min(),
    vmax=x.numpy().max(),
)
show(right, wins, colours, "gx for gy = 1: windows won", cmap="inferno", vmin=0, vmax=4)
for (r, c), value in np.ndenumerate(wins):
    if value:
        left.add_patch(
            Rectangle(
                (c - 0.5, r - 0.5), 1, 1, fill=False, linewidth=2, edgecolor=colours.colours[4]
            )
        )
        right.text(
            c,
            r,
            int(value),
            ha="center",
            va="center",
            fontsize=9,
            color="white" if value < 3 else "black",
        )
figure

# %% [markdown]
# Most pixels get nothing: the gradient of a max-pool is sparse. A pixel where two rows and two
# columns of windows overlap can win four of them.
#
# ### Exercise: route the gradient
#
# For one map. Find the first maximum of each window (`np.argmax` gives the first, row by row, of
# an array that it flattens), and let the gradient arrive there.


# %% tags=["exercise"]
# Task 05.2: send each window's gradient to its first maximum, (5.5).
def max_pool_backward(gy, x, kernel, stride):
    """gy (Ho, Wo), x (H, W) -> gx (H, W); kernel, stride: one number; no padding, ceil mode."""
    gx = np.zeros_like(x)
    for i, j in np.ndindex(gy.shape):
        # A slice that reaches over the edge ends at the edge.
        window = x[i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        ### BEGIN SOLUTION
        a, b = np.unravel_index(np.argmax(window), window.shape)
        gx[i * stride + a, j * stride + b] += gy[i, j]
        ### END SOLUTION
    return gx


# %% tags=["check"]
check("05.2", max_pool_backward)

# %% [markdown]
# The library has it as loops too. (Its NumPy version takes the maximum along the columns, then
# along the rows, and goes backward in the opposite order.)

# %%
show_source(naive.max_pool2d_backward, naive.pool._first_maximum, docstring=False, after="05.2")

# %% [markdown]
# ## 3 · Interpolation along one axis
#
# The way up. Given a line of $h$ values at positions $0, 1, \dots, h - 1$, we want $H$ values. Two
# questions: **where** is output pixel $i$ on the line of inputs, and **what** is the value there?
#
# **What**: between two neighbours, a straight line. If the position is $u = l + f$ with $l$ whole
# and $0 \le f < 1$,
#
# $$
# y(u) = (1 - f)\, x_l + f\, x_{l+1}
# = \sum_{l'} \max(0,\; 1 - |u - l'|)\; x_{l'} .
# \tag{5.6}
# $$
#
# The second form says that each input spreads over a *hat* of width one to each side.
#
# **Where**: there are two conventions.
#
# - `align_corners=True`: first pixel lies on first pixel, last on last. A straight map
#   $u(i) = \alpha i$ with $u(H-1) = h-1$ gives
#
# $$
# u(i) = i\; \frac{h-1}{H-1} .
# \tag{5.7}
# $$
#
# - `align_corners=False`: pixels are little squares, the image reaches from the outer edge of
#   the first to that of the last, and both images have the same edges. The centre of output
#   pixel $i$ is at $i + \tfrac12$ of $H$, the centre of input pixel $u$ at $u + \tfrac12$ of $h$.
#   So $(u + \tfrac12)/h = (i + \tfrac12)/H$. Positions before the first pixel and after the last
#   are moved onto it:
#
# $$
# u(i) = \min\Big(h - 1,\; \max\Big(0,\; \big(i + \tfrac12\big)\frac{h}{H} - \tfrac12\Big)\Big) .
# \tag{5.8}
# $$
#
# The authors' Caffe layer is (5.7), and so is this network. PyTorch's default is (5.8), which is
# one reason why ports differ.


# %% tags=["hide-input"]
def draw_positions(small=4, large=7, axis=None, align_corners=True):
    """Where the `large` output pixels lie on the line of `small` inputs."""
    if align_corners:
        positions = np.arange(large) * (small - 1) / (large - 1)
    else:
        positions = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
    axis.set_axis_off()
    axis.plot(
        range(small),
        np.zeros(small),
        "s",
        markersize=15,
        color=(colours.colours[0], 0.2),
        markeredgecolor=colours.faint,
    )
    for k in range(small):
        axis.text(k, 0, k, ha="center", va="center", color=colours.text, fontsize=9)
    colour = colours.colours[1]
    axis.vlines(positions, 0.13, 0.38, color=colour, linewidth=1)
    axis.plot(positions, np.full(large, 0.13), "v", markersize=4, color=colour)
    for i, u in enumerate(positions):
        axis.text(u, 0.42, i, ha="center", color=colour, fontsize=8.5)
    axis.set_xlim(-0.6, small - 0.4)
    axis.set_ylim(-0.25, 0.6)


def draw_interpolation(small=4, large=9):
    """Positions and matrices of both conventions."""
    figure = new_figure(9.4, 4.0, False)
    axes = figure.subplots(2, 2, height_ratios=[1, 2])
    for k, align_corners in enumerate((True, False)):
        draw_positions(small, large, axes[0, k], align_corners)
        axes[0, k].set_title(f"align_corners={align_corners}", color=colours.text, fontsize=10)
        matrix = geometry.resize_matrix(small, large, align_corners, np.float64)
        show(axes[1, k], matrix.T, colours, cmap="Blues", vmin=0, vmax=1.3)
        for (i, source), value in np.ndenumerate(matrix):
            if value and small * large <= 80:
                axes[1, k].text(
                    i,
                    source,
                    f"{value:.2f}".lstrip("0"),
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color="white" if value > 0.8 else colours.text,
                )
        axes[1, k].set_xlabel("output pixel i", color=colours.faint, fontsize=9)
        axes[1, k].set_ylabel("input pixel", color=colours.faint, fontsize=9)
    return figure


# %%
explore(draw_interpolation, small=(2, 3, 4, 5), large=(4, 7, 9, 12))

# %% [markdown]
# Each column of the drawing holds the two weights of one output pixel, and adds up to one.
# Written as a matrix $R$ of $H$ rows and $h$ columns (the drawing shows $R^\top$, to save room),
# resizing a line is $y = R x$:
#
# $$
# R_{il} = \max(0,\; 1 - |u(i) - l|) .
# \tag{5.9}
# $$
#
# Rows add up to one, because $0 \le u(i) \le h - 1$. So constants stay constants; and since weights
# are not negative, no value leaves the range of its neighbours. With (5.7) straight lines stay
# straight from end to end; with (5.8) they are flat in the outermost half pixel.

# %%
shapes = (4, 9), (6, 7), (3, 32)
rows = [geometry.resize_matrix(*shape, False, np.float64).sum(1) for shape in shapes]
print("farthest of a row's sum from 1:", max(abs(row - 1).max() for row in rows))
show_source(geometry.resize_matrix, docstring=False)

# %% [markdown]
# ## 4 · Both axes: two small matrices
#
# Bilinear interpolation resizes along the rows, then along the columns. In one channel, with $X$
# of $h \times w$ and $R_h$ of $H \times h$, $R_w$ of $W \times w$,
#
# $$
# Y = R_h\, X\, R_w^\top ,
# \qquad
# y_{ij} = \sum_{l, m} (R_h)_{il}\, (R_w)_{jm}\, x_{lm} .
# \tag{5.10}
# $$
#
# At most two factors of each kind are not zero, so each output mixes four inputs, with weights
# $(1-f)(1-f')$, $f(1-f')$, $(1-f)f'$, $ff'$. The order of the two products does not matter for
# the result. (It is *bi*-linear: linear in $f$ and linear in $f'$, but it contains $f f'$.
# Between four pixels the surface is a saddle, not a plane.)

# %%
coarse = np.array([[0, 0, 1, 0], [0, 3, 2, 0], [1, 2, 0, 0], [0, 0, 0, 2.0]])
x = tensor(coarse[None, :, :, None])
size = 32
r = geometry.resize_matrix(4, size, True, np.float64)
by_product = r @ coarse @ r.T
by_op = ops.upsample_bilinear2d(x, size, align_corners=True).numpy()[0, :, :, 0]
print("(5.10) against the op:", abs(by_product - by_op).max())

half_pixel = ops.upsample_bilinear2d(x, size, align_corners=False).numpy()[0, :, :, 0]

# %% tags=["hide-input"]
figure = new_figure(9.4, 2.5, False)
named = {
    "4 x 4": coarse,
    "align_corners=True": by_op,
    "align_corners=False": half_pixel,
}
axes = figure.subplots(1, 3)
for axis, (name, values) in zip(axes, named.items()):
    drawn = show(axis, values, colours, name, cmap="inferno", vmin=0, vmax=3)
figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=20)
figure

# %% [markdown]
# With corners aligned, the corner pixels are corners, and the peaks lie a little further apart
# than with half pixels. (Nearest-neighbour interpolation to 32 × 32 copies blocks; drawn, it looks
# exactly as the first panel. Its gradient is a plain sum over blocks. A port that uses it is in the
# bug clinic, notebook 16.)
#
# ## 5 · The adjoint
#
# (5.10) is linear in $X$, so its backward pass is its transpose, and there is nothing to keep
# from forward. Let $G$ be the gradient of $Y$. The adjoint is the map $A^\top$ with
# $\langle G, R_h X R_w^\top\rangle = \langle A^\top G, X\rangle$ for all $X$. Write the inner
# product of two matrices as a trace, $\langle A, B\rangle = \mathrm{tr}(A^\top B)$, and use
# $\mathrm{tr}(AB) = \mathrm{tr}(BA)$:
#
# $$
# \begin{aligned}
# \langle G,\, R_h X R_w^\top \rangle
# &= \mathrm{tr}\big(G^\top R_h X R_w^\top\big)
# = \mathrm{tr}\big(R_w^\top G^\top R_h\, X\big) \\
# &= \mathrm{tr}\big((R_h^\top G R_w)^\top X\big)
# = \langle R_h^\top G R_w,\, X\rangle .
# \end{aligned}
# \tag{5.11}
# $$
#
# Hence
#
# $$
# g_X = R_h^\top\, G\, R_w .
# \tag{5.12}
# $$
#
# The same two matrices, transposed; each output's gradient goes to the four inputs that it was
# mixed from, with the weights it was mixed with. In code written pixel by pixel on a GPU, several
# threads add to one input at once, in an order that changes from run to run. As two products it is
# a fixed sum.
#
# How much gradient does each input get if every output gets $1$?
# $R_h^\top \mathbf 1 \mathbf 1^\top R_w$: the products of $R$'s column sums.
#
# Before you run the next cells, predict: 12x12 outputs give 1 each to 6x6 inputs. What is the mean
# over the inputs, in both conventions? In which of them do all inputs get the same?

# %%
ones = {}
for align_corners in (True, False):
    x = tensor(np.zeros((1, 6, 6, 1)), requires_grad=True)
    y = ops.upsample_bilinear2d(x, 12, align_corners)
    y.backward(np.ones(y.shape))
    ones[f"align_corners={align_corners}"] = x.grad[0, :, :, 0]

# %% tags=["hide-input"]
figure = new_figure(7.0, 2.9, False)
for axis, (name, values) in zip(figure.subplots(1, 2), ones.items()):
    show(axis, values, colours, name, cmap="viridis", vmin=0, vmax=5.5)
    for (r_, c), value in np.ndenumerate(values):
        axis.text(
            c,
            r_,
            f"{value:.1f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if value < 3.5 else "black",
        )
figure.suptitle(
    "gradient at 6 x 6 inputs for ones at 12 x 12 outputs", fontsize=10, color=colours.text
)
figure

# %% [markdown]
# The mean is 4, because each row of $R$ adds up to 1. With corners aligned, the hats of the border
# pixels are cut in half, and these pixels get less: 3.6 on an edge and 2.7 in a corner, against 4.8
# inside. With half pixels all get the same.

# %% [markdown]
# ### Exercise: the backward pass


# %% tags=["exercise"]
# Task 05.3: write the backward pass of bilinear interpolation, (5.12), for a batch with channels.
def upsample_backward(gy, x_shape, align_corners):
    """gy (N, H, W, C), x_shape (N, h, w, C) -> gx (N, h, w, C)."""
    rows = geometry.resize_matrix(x_shape[1], gy.shape[1], align_corners, gy.dtype)
    cols = geometry.resize_matrix(x_shape[2], gy.shape[2], align_corners, gy.dtype)
    ### BEGIN SOLUTION
    return np.einsum("il,jm,nijc->nlmc", rows, cols, gy)
    ### END SOLUTION


# %% tags=["check"]
check("05.3", upsample_backward)

# %%
show_source(cpu.upsample_bilinear2d, cpu.upsample_bilinear2d_backward, after="05.3")

# %% [markdown]
# ## 6 · Down and up again
#
# The skeleton of a mask branch, without the units between: three max-pools down, three
# interpolations up. Whatever a mask of depth 3 says at a pixel of a 32 × 32 map has passed
# through 4 × 4 numbers, except what goes over the skips of notebook 08.
#
# Before you run the next cells, predict the sizes of the seven maps. Is the object larger or
# smaller on the way back than it was at the start?

# %%
levels = [tensor(darkness[None, :, :, None])]
for _ in range(3):
    levels.append(ops.max_pool2d(levels[-1], 3, stride=2, ceil_mode=True))
back = [levels[3]]
for level in (2, 1, 0):
    back.append(ops.upsample_bilinear2d(back[-1], levels[level].shape[1:3], align_corners=True))
print("down:", [level.shape[1:3] for level in levels], " up:", [level.shape[1:3] for level in back])

# %% tags=["hide-input"]
figure = new_figure(9.6, 3.1, False)
axes = figure.subplots(2, 4)
for axis, level in zip(axes.flat, levels + back[::-1]):
    show(axis, level.numpy()[0, :, :, 0], colours, cmap="gray", vmin=0, vmax=1)
    axis.set_xlabel(" x ".join(map(str, level.shape[1:3])), color=colours.faint, fontsize=9)
axes[0, 0].set_ylabel("max-pool →", color=colours.text, fontsize=9.5)
axes[1, 0].set_ylabel("← interpolate", color=colours.text, fontsize=9.5)
figure

# %% [markdown]
# (The image is shown as darkness, so that the dark object is what the maximum keeps and widens.
# In the network the pools read learned features, for which large means present.) Both operations,
# chained, pass the instrument of notebook 02:


# %%
def down_and_up(x):
    """One pool and one interpolation."""
    small = ops.max_pool2d(x, 3, stride=2, ceil_mode=True)
    return ops.upsample_bilinear2d(small, x.shape[1:3], align_corners=True)


report = gradcheck(down_and_up, rng.standard_normal((2, 8, 7, 3)))
print(report)

# %% [markdown]
# ## Summary
#
# - A max-pool reads real pixels only. Ceil mode adds a window that overhangs, unless it would
#   start after the last pixel (5.3).
# - Its gradient goes to the winner of each window, to the first at ties; a pixel that wins
#   several windows gets their sum (5.5).
# - Interpolation along a line is a matrix with two entries per row (5.9); `align_corners` decides
#   where outputs lie (5.7, 5.8). In two dimensions it is $R_h X R_w^\top$ (5.10), and backward is
#   $R_h^\top G R_w$ (5.12).
#
# ## Questions
#
# 1. A stem has a max-pool of 3 × 3, stride 2, on 112 × 112. What are the sizes in ceil mode
#    without padding, and in floor mode with padding 1? Are the two pools the same?
#
#    <details><summary>Answer</summary>
#
#    Both give 56. They are not the same: without padding, window $i$ covers pixels
#    $2i, 2i+1, 2i+2$, with padding 1 it covers $2i-1, 2i, 2i+1$. The map is shifted by one pixel.
#
#    </details>
#
# 2. Why does the backward pass of a max-pool need $x$ (or the winners' positions), when that of an
#    average pool needs only the shape?
#
#    <details><summary>Answer</summary>
#
#    The average is linear: its matrix, and so its transpose, is the same for every $x$. The
#    max-pool's matrix $P$ depends on who won.
#
#    </details>
#
# 3. Window $i$ of a 3 × 3, stride 2 ceil pool of 32 pixels is centred at pixel $2i + 1$. Where
#    does (5.7) put output number $i$ of 16 back on the 32 pixels? And (5.8)?
#
#    <details><summary>Answer</summary>
#
#    (5.7) inverted: $i \cdot 31/15 = 2.07\,i$: one pixel left of the centre at $i = 0$, exactly
#    on it at $i = 15$. (5.8) inverted: $2i + \tfrac12$, half a pixel left of the centre
#    everywhere. Neither undoes the pool exactly; the network learns with what it is given, and
#    changing the convention after training moves its masks.
#
#    </details>
#
# 4. Show that with (5.7) a map that is a plane, $x_{lm} = a + bl + cm$, is a plane after
#    resizing.
#
#    <details><summary>Answer</summary>
#
#    (5.6) reproduces straight lines: $(1-f)\,l + f\,(l+1) = l + f = u$. So
#    $y_{ij} = a + b\,u(i) + c\,u(j)$, and $u$ is linear in its index. With (5.8) $u$ is cut off
#    at both ends.
#
#    </details>
#
# 5. A student writes the backward pass of interpolation as "interpolate the gradient down to the
#    small size". What is wrong?
#
#    <details><summary>Answer</summary>
#
#    That is $R' G R'^\top$ with the matrices $R'$ of size $h \times H$ for the way down, whose
#    rows add up to one: it *averages* two gradients and ignores the others. The adjoint *sums*
#    all outputs that an input took part in: its weights add up to about $H/h$ in each direction.
#
#    </details>
#
# ## References
#
# - F. Wang et al., *Residual attention network for image classification*, CVPR 2017, section 3.2;
#   the authors' Caffe files for pool and interpolation.
# - Y.-L. Boureau, J. Ponce and Y. LeCun, *A theoretical analysis of feature pooling in visual
#   recognition*, ICML 2010.
# - A. R. Smith, *A pixel is not a little square*, Microsoft technical memo 6, 1995: against
#   (5.8)'s image of it.
# - In the library: `minran/backend/geometry.py`, `minran/backend/naive/pool.py`,
#   `minran/backend/cpu/pool.py`.
