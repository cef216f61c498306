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
#     number: 10
#     seconds: 10
#     minutes: 60
# ---

# %% [markdown]
# # 10 · Mixed, channel, spatial
#
# **You will be able to**
#
# - write the three functions that turn logits into attention (Eq. 4-6), and say what each one
#   ignores;
# - derive the backward of channel attention $f_2$ as a projection, and of spatial attention $f_3$
#   as another;
# - say how strongly each of them gates before any training, and why the strength of $f_2$ falls
#   with the number of channels;
# - read the paper's Table 1, and say what it can decide.
#
# **Time**: 60 minutes to read and do; runs in 10 seconds on 2 cores.
# **Needs**: notebooks 01 (vector-Jacobian products), 04 (batch norm) and 08 (the mask).

# %% tags=["setup"]
import numpy as np

from minran import create_model, inspect, nn, no_grad, ops, tensor
from minran.backend import naive
from minran.course import check, explore, show_source
from minran.data import load_shapes
from minran.inspect.style import dress, legend, new_figure, show, theme

rng = np.random.default_rng(10)
colours = theme()

# %% [markdown]
# ## 1 · Three ways to end a mask
#
# The last convolution of a mask (notebook 08) gives logits $x_{i,c}$, for each position $i$ and
# each channel $c$. The paper compares three functions that make attention of them. None has a
# parameter.
#
# **Mixed attention** looks at each number alone:
#
# $$
# f_1(x_{i,c}) = \frac{1}{1 + \exp(-x_{i,c})}
# \tag{Eq. 4}
# $$
#
# **Channel attention** divides the vector of channels at each position by its length:
#
# $$
# f_2(x_{i,c}) = \frac{x_{i,c}}{\lVert x_i \rVert}, \qquad
# \lVert x_i \rVert = \sqrt{\textstyle\sum_{c} x_{i,c}^2}
# \tag{Eq. 5}
# $$
#
# **Spatial attention** normalises the map of each channel over its positions, then takes the
# sigmoid:
#
# $$
# f_3(x_{i,c}) = \frac{1}{1 + \exp\big(-(x_{i,c} - \mathrm{mean}_c)/\mathrm{std}_c\big)}
# \tag{Eq. 6}
# $$
#
# | | range | unchanged by $ax + b$ ($a > 0$) if | so it ignores |
# |---|---|---|---|
# | $f_1$ | $(0, 1)$ | $a = 1$, $b = 0$ | nothing |
# | $f_2$ | $[-1, 1]$ | $b = 0$, any $a$ for each position | how strong a position is |
# | $f_3$ | $(0, 1)$ | any $a$, $b$ for each map | how strong a channel is, and its zero |
#
# "Mixed" means that the logits may hold any attention: over channels, over positions, or both. The
# other two build one kind in, by ignoring the rest.
#
# (As in all square roots and divisions of the library, there is a small `eps` under the root, so
# that a position of zeros, or a constant map, does not divide by zero.)

# %%
x = rng.standard_normal((1, 4, 4, 8))
functions = {"f1": ops.sigmoid, "f2": ops.channel_attention, "f3": ops.spatial_attention}
scaled = {
    "2 x everywhere": 2 * x,
    "a factor for each position": rng.uniform(0.5, 3, (1, 4, 4, 1)) * x,
    "a x + b for each channel": rng.uniform(0.5, 3, 8) * x + rng.standard_normal(8),
}
for name, f in functions.items():
    y = f(tensor(x)).numpy()
    kept = [what for what, z in scaled.items() if np.allclose(f(tensor(z)).numpy(), y, atol=1e-4)]
    print(f"{name}: range {y.min():.2f} to {y.max():.2f}; unchanged by: {', '.join(kept) or '-'}")

# %% [markdown]
# ## 2 · The slope of $f_1$
#
# With $y = f_1(x)$ and $e = \exp(-x)$,
#
# $$
# \frac{dy}{dx} = \frac{e}{(1 + e)^2} = \frac{1}{1 + e} \cdot \frac{e}{1 + e} = y\,(1 - y),
# \qquad\text{so}\qquad g_x = g\, y\,(1 - y) .
# \tag{10.1}
# $$
#
# At most $\tfrac14$, at $y = \tfrac12$. A mask near 0 or 1 learns slowly.
#
# ## 3 · The backward of $f_2$ is a projection
#
# Look at one position; its channels are a vector $x$, its length $n = \lVert x \rVert$, and
# $y = x / n$. Each $y_c$ depends on $x_c$ directly and on every $x_k$ through $n$. First the
# length:
#
# $$
# \frac{\partial n}{\partial x_k} = \frac{1}{2n} \cdot 2 x_k = y_k .
# \tag{10.2}
# $$
#
# Then the quotient rule:
#
# $$
# \frac{\partial y_c}{\partial x_k}
# = \frac{\delta_{ck}}{n} - \frac{x_c}{n^2}\, y_k
# = \frac{\delta_{ck} - y_c\, y_k}{n} ,
# \qquad\text{or}\qquad J = \frac{I - y\,y^\top}{n} .
# \tag{10.3}
# $$
#
# $J$ is symmetric, so backward is
#
# $$
# g_x = J^\top g = \frac{g - y\,\langle y, g\rangle}{n} .
# \tag{10.4}
# $$
#
# In geometry: $y$ lies on the unit sphere. A step of $x$ *along* $y$ changes its length only, and
# $f_2$ does not depend on length. So backward takes out of $g$ the part along $y$, and keeps the
# part that is tangent to the sphere. The factor $1/n$: the longer $x$, the less a step turns it.


# %% tags=["hide-input"]
def sphere(degrees=40, length=1.9):
    """x, y = f2(x), a gradient g at y, and what backward makes of it, with two channels."""
    angle = np.radians(degrees)
    y2 = np.array([np.cos(angle), np.sin(angle)])
    g2 = np.array([-0.75, 0.1])
    tangent = g2 - y2 * (y2 @ g2)
    figure = new_figure(5.6, 4.6, False)
    axes = dress(
        figure.subplots(), colours, "Two channels at one position", "channel 1", "channel 2"
    )
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(turn), np.sin(turn), color=colours.faint, lw=1)

    def arrow(start, step, colour, words, shift):
        axes.annotate(
            "", start + step, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2}
        )
        axes.text(*(start + step + shift), words, color=colour, fontsize=10, ha="center")

    arrow(np.zeros(2), length * y2, colours.faint, "x", np.array([0.08, 0.06]))
    arrow(np.zeros(2), y2, colours.colours[0], "y", np.array([0.12, -0.12]))
    arrow(y2, g2, colours.colours[1], "g", np.array([-0.08, -0.05]))
    arrow(y2, tangent, colours.colours[2], "tangent part", np.array([-0.1, 0.1]))
    arrow(length * y2, tangent / length, colours.colours[3], "$g_x$", np.array([0.0, 0.1]))
    axes.plot(*np.stack([y2 + g2, y2 + tangent], axis=1), ":", color=colours.faint)
    axes.set_aspect("equal")
    axes.set_xlim(-1.3, 2.1)
    axes.set_ylim(-1.1, 1.9)
    return figure


explore(sphere, degrees=[10, 25, 40, 60, 80], length=[0.6, 1.0, 1.5, 1.8, 2.0])

# %% [markdown]
# **Task 10.1.** Write the backward of $f_2$ for a whole batch, without loops. `y` is the output and
# `norm` the lengths, one for each position: (N, H, W).


# %% tags=["exercise"]
# Task 10.1: the backward of channel attention
def channel_backward(gy, y, norm):
    """gy, y: (N, H, W, C), norm: (N, H, W) -> gx: (N, H, W, C)."""
    ### BEGIN SOLUTION
    along = (y * gy).sum(axis=-1, keepdims=True)
    return (gy - y * along) / norm[..., None]
    ### END SOLUTION


# %% tags=["check"]
check("10.1", channel_backward)

# %% [markdown]
# The library's simplest kernel:

# %%
show_source(naive.channel_attention_backward, after="10.1")

# %% [markdown]
# ## 4 · The backward of $f_3$ takes out two directions
#
# Look at one channel of one image: its map is a vector $x$ of $n = H W$ numbers, with mean $\mu$
# and standard deviation $s$ (biased: divided by $n$). Let $z = (x - \mu)/s$ and $y = \sigma(z)$.
# Through the sigmoid, by (10.1), comes $h = g\, y\,(1 - y)$. Then through the normalisation:
#
# $$
# \frac{\partial \mu}{\partial x_k} = \frac1n, \qquad
# \frac{\partial s}{\partial x_k} = \frac{1}{2s} \cdot \frac2n (x_k - \mu) = \frac{z_k}{n}
# \tag{10.5}
# $$
#
# (the mean's own change drops out of the second, because $\sum_i (x_i - \mu) = 0$). Hence
#
# $$
# \frac{\partial z_i}{\partial x_k}
# = \frac1s \Big(\delta_{ik} - \frac1n\Big) - \frac{x_i - \mu}{s^2} \cdot \frac{z_k}{n}
# = \frac1s \Big( \delta_{ik} - \frac1n - \frac{z_i z_k}{n} \Big) ,
# \tag{10.6}
# $$
#
# and with averages over the positions of the map,
#
# $$
# g_x = \frac1s \Big( h - \overline{h} - z\; \overline{h z} \Big),
# \qquad h = g\, y\,(1 - y) .
# \tag{10.7}
# $$
#
# It is the projection of section 3 with two directions instead of one: out go the part of $h$ along
# $(1, \dots, 1)$, which would shift the map, and the part along $z$, which would stretch it. The
# two are orthogonal, because $z$ has mean 0. $f_3$ depends on neither. Batch norm (notebook 04)
# has the same formula; it takes its averages over the whole batch, $f_3$ over each map alone.
#
# **Task 10.2.** Write the backward of $f_3$. `mean` and `inv_std` $= 1/s$ are (N, C): one for each
# map.


# %% tags=["exercise"]
# Task 10.2: the backward of spatial attention
def spatial_backward(gy, x, y, mean, inv_std):
    """gy, x, y: (N, H, W, C), mean, inv_std: (N, C) -> gx: (N, H, W, C)."""
    ### BEGIN SOLUTION
    scale = inv_std[:, None, None, :]
    z = (x - mean[:, None, None, :]) * scale
    h = gy * y * (1 - y)
    average_h = h.mean(axis=(1, 2), keepdims=True)
    average_hz = (h * z).mean(axis=(1, 2), keepdims=True)
    return scale * (h - average_h - z * average_hz)
    ### END SOLUTION


# %% tags=["check"]
check("10.2", spatial_backward)

# %%
show_source(naive.spatial_attention_backward, docstring=False, after="10.2")

# %% [markdown]
# Two facts follow, and are a quick test of any implementation: the gradient of $f_2$ has no part
# along $x$, and that of $f_3$ has sum 0 over each map.

# %%
x = tensor(rng.standard_normal((2, 5, 5, 6)), requires_grad=True)
gy = rng.standard_normal(x.shape)
for name, f in functions.items():
    x.grad = None
    f(x).backward(gy)
    along = np.abs((x.grad * x.data).sum(axis=-1)).max()
    total = np.abs(x.grad.sum(axis=(1, 2))).max()
    print(f"{name}: largest <gx, x> at a position {along:.0e}, largest sum over a map {total:.0e}")

# %% [markdown]
# ## 5 · How strongly do they gate?
#
# The gate multiplies by $1 + M$. What is $M$ before training, when logits are spread around 0?
#
# - $f_1$: spread around $\tfrac12$; the more the logits spread, the wider.
# - $f_3$: the same, but the spread is fixed. Every map is normalised, so **every channel must be
#   "on" in one part of every image and "off" in another**, object or no object.
# - $f_2$: the squares at one position sum to 1. So with $C$ channels the root mean square of $M$ is
#
# $$
# \sqrt{\frac1C \sum_c f_2(x_{i,c})^2} \;=\; \frac{1}{\sqrt C}
# \tag{10.8}
# $$
#
# exactly, *whatever the logits are*. In the three stages of the CIFAR networks, $C = 64, 128, 256$:
# 0.125, 0.088, 0.063. And half of the signs are negative: $1 + M$ is below 1 there.
#
# Which gate is strong? Not the one with the largest $1 + M$: a constant factor changes nothing,
# because the next batch norm takes it out. What counts is how much $1 + M$ *varies*: its standard
# deviation over its mean. Before you run the next cell, predict it for the three, at 64 channels,
# for logits of variance 1. (For $f_1$: $M$ has mean $\tfrac12$ and standard deviation 0.21.)

# %%
for channels in (64, 128, 256):
    numbers = np.random.default_rng(0).standard_normal((2, 16, 16, channels))
    logits = tensor(numbers)
    gates = {name: 1 + f(logits).numpy() for name, f in functions.items()}
    words = "   ".join(f"{name} {gate.std() / gate.mean():.3f}" for name, gate in gates.items())
    print(f"{channels:3} channels, standard deviation over mean of 1 + M:   {words}")

# %% [markdown]
# With 64 channels, as in stage 1, the three are nearly level. With 128 and 256 channels $f_2$ gates
# less than the others, by (10.8), and no training can change its root mean square; $f_1$ gates more
# when its logits grow. To gate one feature strongly, $f_2$ must put most of its length on a few
# channels.

# %% tags=["hide-input"]
figure = new_figure(9.2, 2.7, False)
for axes, (name, f) in zip(figure.subplots(1, 3), functions.items(), strict=True):
    dress(axes, colours, name, "1 + M", "share of values" if name == "f1" else "")
    for index, channels in enumerate((64, 256)):
        logits = tensor(np.random.default_rng(0).standard_normal((2, 16, 16, channels)))
        values = 1 + f(logits).numpy().ravel()
        weights = np.full(values.size, 1 / values.size)
        axes.hist(values, 60, range=(0, 2), weights=weights, histtype="step", lw=1.6,
                  color=colours.colours[index], label=f"{channels} channels")  # fmt: skip
legend(axes, colours)
figure

# %% [markdown]
# ## 6 · Three masks of one image
#
# Networks with the same seed have the same weights, and the three functions have none. So the first
# module of three networks has the same logits; only the last step differs. **The images are the
# built-in shapes, not CIFAR, and the network is not trained**: this is what the functions do, not
# what training makes of them. Each map has its own scale, from dark (least) to bright (most): read
# the range above it.

# %%
shapes = load_shapes("test", count=16)
images = ((shapes.images - shapes.images.mean(axis=0)) / 64).astype(np.float32)
masks = {}
for attention in ("mixed", "channel", "spatial"):
    model = create_model("attention56_cifar", attention=attention)
    for _, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # one pass sets the running statistics
    with no_grad():
        model(tensor(images))
    masks[attention] = inspect.attention_maps(model, images[:4])[0].mask

# %% tags=["hide-input"]
chosen = inspect.choose_channels(masks["mixed"], "variance", 2).indices
figure = new_figure(9.0, 5.2, False)
grid = figure.subplots(3, 7)
for row, number in enumerate((0, 1, 3)):
    show(grid[row, 0], shapes.images[number], colours, "image" if row == 0 else "")
    for column, (attention, mask) in enumerate(masks.items()):
        for k, channel in enumerate(chosen):
            axes = grid[row, 1 + 2 * column + k]
            values = mask[number, ..., channel]
            show(axes, values, colours, "", cmap="inferno")
            head = f"{attention}\nchannel {channel}\n" if row == 0 else ""
            axes.set_title(f"{head}{values.min():.2f} to {values.max():.2f}", fontsize=8.5)
figure

# %% [markdown]
# Compare the ranges. Mixed and channel attention *may* rank the positions of a channel differently:
# $f_2$ says how strong the channel is among the channels at its position. Mixed and spatial
# attention rank them the same way, map by map: $f_3$ is an increasing function of $x$ within a map,
# only shifted and stretched. What differs is the level, and so the comparison between channels and
# between images. Over all 64 channels of four images:

# %%
ranks = {name: mask.reshape(4, -1, 64).argsort(1).argsort(1) for name, mask in masks.items()}
ranks = {name: rank - rank.mean(axis=1, keepdims=True) for name, rank in ranks.items()}
for name in ("channel", "spatial"):
    found = (ranks["mixed"] * ranks[name]).sum(1) / (ranks["mixed"] ** 2).sum(1)
    words = f"{found.mean():.4f} on average, {found.min():.2f} at least"
    print(f"rank correlation of mixed and {name}: {words}")

# %% [markdown]
# Fresh logits of 64 channels have nearly the same length at most positions, so here $f_2$ keeps
# most of the order, but not all of it. Training may change that; it cannot change (10.8).
#
# ## 7 · Which one is best?
#
# The paper's Table 1, Attention-56 on CIFAR-10: **mixed 5.52%**, **channel 6.24%**, **spatial
# 6.33%** error. The paper concludes that attention should not be constrained by hand.
#
# There are two doubts. The table gives no spread over seeds, and on 10,000 test images an error of
# 6% alone has a standard error of
#
# $$
# \sqrt{0.06 \cdot 0.94 / 10000} = 0.24 \text{ points},
# \tag{10.9}
# $$
#
# so 0.7 points between two networks are about two standard errors of a difference (if they err
# independently of each other), and the 0.09 points between channel and spatial attention are less
# than one. And by (10.8), channel attention has a weaker gate in stages 2 and 3, and cannot make it
# stronger: a part of its disadvantage may be one of *strength* and not of *kind*. Nothing here
# measures how large that part is. Notebook 14 repeats the comparison in small, with spreads.
#
# ## Summary
#
# - $f_1$: sigmoid of each number. $f_2$: unit length over channels. $f_3$: normalised map, then
#   sigmoid.
# - $g_x = g\,y(1-y)$ for $f_1$; $(g - y \langle y, g \rangle)/n$ for $f_2$;
#   $(h - \bar h - z\,\overline{hz})/s$ for $f_3$. The last two are projections: backward takes
#   out the directions on which the function does not depend.
# - The root mean square of $f_2$ is $1/\sqrt C$: with 64 channels it gates about as much as a fresh
#   sigmoid, with 256 less than half as much. $f_3$ must switch every channel on somewhere in every
#   image.
# - Table 1 favours the unconstrained one; the differences are about two standard errors.
#
# ## Questions
#
# 1. Why does the paper not put a sigmoid after $f_2$, as it does in $f_3$?
#
# <details><summary>Answer</summary>
#
# It does not say. With $M$ of size $1/\sqrt C$, a sigmoid would give
# about $\tfrac12 \pm \tfrac{1}{4 \sqrt C}$: nearly constant, so the gate would hardly do more than
# scale.
# </details>
#
# 2. What is the gradient of $f_2$ with one channel, $C = 1$?
#
# <details><summary>Answer</summary>
#
# Zero: $f_2(x) = x / |x| = \pm 1$, and $y\,y^\top = 1$. There is no direction tangent to a sphere
# that consists of two points.
# </details>
#
# 3. In one image there is nothing for a channel to find: all its logits are $-5$, plus a little
#    noise. What do $f_1$ and $f_3$ make of it?
#
# <details><summary>Answer</summary>
#
# $f_1$ gives about 0.007 everywhere: off. $f_3$ subtracts the mean and scales the noise to standard
# deviation 1: a mask that looks like any other.
# </details>
#
# 4. Is $f_3$ with the sigmoid taken away the same as a batch norm with one image in the batch?
#
# <details><summary>Answer</summary>
#
# In training mode yes, apart from $\gamma$ and $\beta$. It is known as instance norm.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: section 3.2, Eq. 4-6, Table 1.
# - T. Salimans, D. Kingma, *Weight Normalization*, NeurIPS 2016: the projection (10.4) in another
#   role.
# - J. Hu et al., *Squeeze-and-Excitation Networks*, CVPR 2018: another channel gate, which pools
#   over all positions first; notebook 18 compares.
