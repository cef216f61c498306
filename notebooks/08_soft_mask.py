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
#     number: 8
#     seconds: 15
#     minutes: 90
# ---

# %% [markdown]
# # 08 · The soft mask and the attention module
#
# **You will be able to**
#
# - read the equation of the soft mask in the order in which it runs;
# - predict the size of every map inside a mask, for any image size, and say why the pools round up;
# - write one level of the hourglass, with its skip in the right place;
# - count the parameters of an attention module from $p$, $t$, $r$ and the depth $d$;
# - follow one image through every map of a trained module;
# - say which part of the image a mask depends on, with an hourglass and with local convolutions.
#
# **Time**: 90 minutes to read and do; runs in 15 seconds on 2 cores.
# **Needs**: notebook 05 (max-pool, bilinear interpolation) and notebook 07 (residual units).

# %% tags=["setup"]
import numpy as np

from minran import create_model, inspect, nn, no_grad, tensor
from minran.backend.geometry import pool_output_size
from minran.course import (
    check,
    explore,
    hourglass_figure,
    paper_frames,
    reach_figure,
    shape_trace,
    show_source,
    walk_frames,
    walk_through,
)
from minran.data import load_shapes
from minran.models import AttentionModule, Hourglass
from minran.models.attention import Head, MaskBranch
from minran.models.units import Build
from minran.train import load_pretrained

# %% [markdown]
# ## 1 · The equation
#
# An attention module has two branches. The **trunk** $T$ computes features. The **mask** $M$
# computes, for every position and every channel, a number between 0 and 1: how much this feature
# matters here. Both read the same input $u$. The mask is
#
# $$
# M(u) \;=\; \sigma\Big(\mathrm{conv}^{1\times1}_2\big(\mathrm{conv}^{1\times1}_1\big(
# \mathrm{topdown}(\mathrm{bottomup}(u))\big)\big)\Big)
# \tag{8.1}
# $$
#
# (with a batch norm and a ReLU before each of the two convolutions, section 4). Functions apply
# from the inside out, so this is what runs, in time:
#
# | step | what it does | the library's name |
# |---|---|---|
# | 1. bottom-up | max-pools and units: the map shrinks, receptive fields grow | `pool`, `down` |
# | 2. top-down | units and interpolations: back to the size of $u$ | `up`, `interpolate` |
# | 3. head | two 1x1 convolutions, then the sigmoid $\sigma$ | `head` |
#
# The names go by the direction of flow: **the pooling half runs first**. Features flow up from the
# image ("bottom-up") while the maps get smaller. "Down" in our code always means *down to smaller
# maps*. (Some summaries of the paper mix the two names; see the errata in `docs/paper`.)
#
# ## 2 · Down: what the pools do to the size
#
# Every pool is 3x3 with stride 2, without padding, and its output size is **rounded up** (as Caffe
# does; `ceil_mode=True`):
#
# $$
# h' = \Big\lceil \frac{h - 3}{2} \Big\rceil + 1 .
# \tag{8.2}
# $$
#
# For even $h$, $(h-3)/2$ ends in one half and is rounded up to $(h-2)/2$, so $h' = h/2$. For odd
# $h$ there is nothing to round and $h' = (h-1)/2$. Both are the same simple rule:
# **$h' = \lfloor h/2 \rfloor$**. With rounding down, an even size would lose its last row: 32 would
# become 15.
#
# A mask of depth $d$ pools $d$ times. Then it goes back through **the same sizes**: each
# interpolation takes the size of the map that it will be added to, so odd sizes work too.
#
# On ImageNet $d$ is 3, 2, 1 in the three stages, so that the smallest map of every mask is 7x7:
# this is what the authors' network files have. For CIFAR the paper does not give $d$. The library
# takes the same 3, 2, 1, which makes the smallest map 4x4 in every stage (`docs/paper/open.md`).

# %%
for name, sizes in {"CIFAR": (32, 16, 8), "ImageNet": (56, 28, 14)}.items():
    for stage, (size, depth) in enumerate(zip(sizes, (3, 2, 1), strict=True), start=1):
        way = [size]
        for _ in range(depth):
            way.append(pool_output_size(way[-1], 3, 2, 0, True))
        print(f"{name:9} stage {stage}, depth {depth}: ", " -> ".join(map(str, way)))

# %% [markdown]
# **Task 08.1.** Write down the heights of the maps as a mask of depth `depth` makes them from an
# input of height `size`: after each pool, then after each interpolation. For 32 and 3 that is
# `[16, 8, 4, 8, 16, 32]`. The check runs our hourglass on even and odd sizes and looks.


# %% tags=["exercise"]
# Task 08.1: the heights of the maps inside a mask
def mask_heights(size, depth):
    """[height after each pool, then after each interpolation]."""
    ### BEGIN SOLUTION
    way = [size]
    for _ in range(depth):
        way.append(way[-1] // 2)  # ceil((h - 3) / 2) + 1
    return way[1:] + way[-2::-1]
    ### END SOLUTION


# %% tags=["check"]
check("08.1", mask_heights)

# %% [markdown]
# ## 3 · Up again: the hourglass
#
# One level pools, runs $r$ residual units, does something deeper, and comes back. Call the output
# of the way down $a_k$ at level $k$, and the output of the way up $y_k$, with $a_0 = u$:
#
# $$
# \begin{aligned}
# a_k &= \mathrm{units}_r(\mathrm{pool}(a_{k-1})) && k = 1 \dots d &&& (8.3)\\
# y_d &= \mathrm{units}_r(a_d) && \text{the deepest level} &&& (8.4)\\
# y_k &= \mathrm{units}_r\big(\mathrm{interp}(y_{k+1}) + \mathrm{skip}_k(a_k)\big)
#     && k = d-1 \dots 1 &&& (8.5)\\
# \text{out} &= \mathrm{interp}(y_1) && \text{to the size of } u &&& (8.6)
# \end{aligned}
# $$
#
# Three things to notice. By (8.3) and (8.4) the deepest level runs $2r$ units in a row. By (8.5)
# the skip is *one residual unit* on $a_k$, and only the sum goes on. And $u$ itself is never added
# back: the output of the hourglass is interpolated from a map of half the size, so **the mask is
# smooth at the scale of two pixels**, while the trunk keeps full resolution.
#
# The figure is drawn from a run: the numbers are the heights of the maps.

# %%
hourglass_figure(depth=3, size=32)

# %% [markdown]
# Others, to choose: depth, image size and $r$. Sizes may be odd: each interpolation ends on the
# size that the map had on the way down.

# %%
explore(hourglass_figure, depth=[1, 2, 3, 4], size=[28, 33, 56], r=[1, 2])

# %% [markdown]
# In the library a level contains the next one, as (8.3)-(8.6) do: an `Hourglass` of depth 3 holds
# one of depth 2 as `inner`. This is what one run does, in order, with the heights and widths of the
# inputs and of the output (an interpolation has two inputs: the map, and one whose size it takes):

# %%
build = Build(np.random.default_rng(0), np.float64)
module = AttentionModule(build, channels=16, depth=3)
u = tensor(np.random.default_rng(1).standard_normal((2, 32, 32, 16)))
print(shape_trace(module, u, "mask.body"))

# %% [markdown]
# **Task 08.2.** Write `forward` of one level, from the pieces that the constructor made:
# `self.pool`, `self.down`, `self.skip`, `self.inner`, `self.up`, `self.bottom`,
# `self.interpolate(y, like)` and `self.depth`. `self.inner(a)` interpolates its own result, to the
# size of `a`. The check gives your class and the library's the same weights.


# %% tags=["exercise"]
# Task 08.2: one level of the hourglass
class MyHourglass(Hourglass):
    def forward(self, x):
        """(N, H, W, C) -> (N, H, W, C)."""
        ### BEGIN SOLUTION
        a = self.down(self.pool(x))
        y = self.up(self.inner(a) + self.skip(a)) if self.depth > 1 else self.bottom(a)
        return self.interpolate(y, x)
        ### END SOLUTION


# %% tags=["check"]
check("08.2", MyHourglass)

# %% [markdown]
# The library's:

# %%
show_source(Hourglass, after="08.2")

# %% [markdown]
# ## 4 · The head
#
# The output of the hourglass is features. The head makes attention of them:
#
# $$
# M = \sigma\big(W_2 * \mathrm{relu}(\mathrm{bn}(W_1 * \mathrm{relu}(\mathrm{bn}(\text{out}))))\big)
# \tag{8.7}
# $$
#
# Both convolutions are 1x1 with $C$ channels in and out, without bias. They mix channels at one
# position, so the weight of a feature may depend on all features there.
#
# **There is no batch norm between $W_2$ and the sigmoid.** It would give every channel of the
# logits, over the batch, a fixed mean $\beta$ and standard deviation $\gamma$. A mask could no
# longer be mostly on for one batch and mostly off for another, and one number per channel would set
# how much it varies. Some public ports have one there; notebook 16 asks for a test that finds it.

# %%
show_source(Head, MaskBranch)

# %% [markdown]
# ## 5 · The attention module
#
# There are more units before and after the two branches. With the paper's letters:
#
# - $p$ units **before** the split, and $p$ after the gate (1, if nothing else is said);
# - $t$ units in the **trunk** (2);
# - $r$ units between adjacent pools of the **mask** (1).
#
# $$
# u = \mathrm{units}_p(x), \qquad H = \big(1 + M(u)\big)\, T(u), \qquad
# \text{output} = \mathrm{units}_p(H)
# \tag{8.8}
# $$
#
# The gate $H$ is the paper's Eq. 3, the subject of notebook 09. Two facts about the wiring: the
# mask reads $u$, the *split point*, not the trunk's output; and the gate acts right after the
# trunk, before the last $p$ units.

# %%
show_source(AttentionModule.forward)

# %% [markdown]
# The same as a drawing, made by running it. Units are closed; in a running notebook a click on a
# title folds its box.

# %%
inspect.module_graph(AttentionModule(build, 16, depth=1), image_size=16)

# %% [markdown]
# ### How many parameters?
#
# One pre-activation unit of width $C$ (notebook 07) has three convolutions, $C \cdot \tfrac C4$,
# $9 \cdot \tfrac C4 \cdot \tfrac C4$ and $\tfrac C4 \cdot C$, and three batch norms with two
# parameters for each of $C$, $\tfrac C4$, $\tfrac C4$ channels:
#
# $$
# P_{unit} = \Big(\tfrac14 + \tfrac9{16} + \tfrac14\Big) C^2 + 2\Big(1 + \tfrac14 + \tfrac14\Big) C
# = \tfrac{17}{16}\, C^2 + 3C .
# \tag{8.9}
# $$
#
# The head has two convolutions and two batch norms of width $C$:
#
# $$
# P_{head} = 2C^2 + 4C .
# \tag{8.10}
# $$
#
# **Task 08.3.** How many units has a module with $p$, $t$, $r$ and a mask of depth $d$? Count them
# in (8.3)-(8.5) and (8.8), or in the drawings, and write the number of parameters of the module.
# The check compares with modules of the library, among them the three of Attention-56 on ImageNet,
# whose counts are those of the authors' published network files.


# %% tags=["exercise"]
# Task 08.3: the parameters of an attention module
def module_parameters(channels, depth, p=1, t=2, r=1):
    """Weights of convolutions, and gamma and beta of batch norms."""
    ### BEGIN SOLUTION
    unit = 17 * channels**2 // 16 + 3 * channels
    units = 2 * p + t + 2 * depth * r + depth - 1
    head = 2 * channels**2 + 4 * channels
    return units * unit + head
    ### END SOLUTION


# %% tags=["check"]
check("08.3", module_parameters)

# %% [markdown]
# As a formula: a mask of depth $d$ has $dr$ units on the way down, $dr$ on the way up (the $r$ of
# (8.4) included), and a skip at each of the $d - 1$ upper levels. A module adds its $2p + t$ units
# outside the mask:
#
# $$
# n_{mask} = 2dr + d - 1 , \qquad
# P_{module} = (2p + t + 2dr + d - 1)\, P_{unit} + P_{head} .
# \tag{8.11}
# $$
#
# With the usual $p, t, r$ that is 4 units outside, and 8, 5, 2 inside the masks of depth 3, 2, 1:
# in stage 1 **the mask has twice as many units as the rest of the module**.

# %% [markdown]
# ## 6 · One image through one module
#
# ### On paper
#
# The smallest module that has every step: 4x4 positions, two channels, a mask with one pool and one
# interpolation. Its units add nothing, so $T = u$. Of the head one convolution is left: each
# channel's logit is its difference to the other channel, times $\ln 3$. That makes short fractions,
# because $\sigma(k \ln 3) = 3^k / (1 + 3^k)$.
#
# Take paper, and compute each step before you look at its frame. Which pixel of channel 2 wins all
# four windows? What is $H$ in the upper left corner?

# %%
paper_frames()

# %% [markdown]
# ### In a trained network
#
# Here are the same steps in a network that has been trained: that of `minran quickstart`, and one
# of its test images, an arrow. **The images are the built-in shapes, not CIFAR.** Its first
# attention module has maps of 16x16 positions and 16 channels, and a mask of depth 2. A channel
# keeps its number along every shortcut and through pools and interpolations, so the frames below
# show *one* channel at every step: the one whose mask varies most over this image.
#
# Before you run the next cell, predict: what is the side of the smallest map? Which steps cannot
# have values below 0? And will this mask be larger on the arrow or outside it?

# %%
trained, preprocess, _ = load_pretrained("quickstart")
shapes = load_shapes("test", count=24)
n = 14  # an arrow that the network is not sure of; notebook 09 follows its loss back
prepared = preprocess(shapes.images)
label = int(shapes.labels[n])
walk = walk_through(trained, shapes.images[n], prepared[n], label, "stages.0.1")
channel = walk.channel()
certainty = inspect.class_probabilities(trained, prepared)[n, shapes.labels[n]]
print(f"channel {channel}; the network gives the arrow {certainty:.0%}")
walk_frames(walk, channel)

# %% [markdown]
# Step forward with the numbers above the image (or click one and use the arrow keys). Range and
# name stand at each panel; all features share one scale on which 0 is white, so pale panels have
# small values.

# %%
values = {step.key: step.values[..., channel] for step in walk.steps}
arrow = shapes.masks[n].reshape(16, 2, 16, 2).mean(axis=(1, 3)) > 0.5
for key in ("M", "T", "H"):
    on, beside = np.abs(values[key][arrow]).mean(), np.abs(values[key][~arrow]).mean()
    print(f"mean |{key}|: {on:5.2f} on the arrow, {beside:5.2f} outside it")

# %% [markdown]
# - Each pool keeps the largest value of its windows. The smallest map has 4x4 values: what a mask
#   knows of distant positions has gone through these.
# - The interpolations bring it back to 16x16. The result is smooth: its last interpolation starts
#   from 8x8 values.
# - Only $M$ has no values below 0. It is small on the arrow: there $H$ is nearly $T$. Outside it
#   $M$ is larger, and the gate raises $T$. The trunk's values are larger on the arrow, those of $H$
#   outside it: this channel's mask raises the background against the object, which is not what one
#   expects of the word "attention". It is one channel for one image. Notebook 13 measures what
#   masks do over many images, channels and three networks.

# %% [markdown]
# ## 7 · How far does a mask see?
#
# Walk backwards. Take the middle row of the mask and ask, step by step, which rows it can depend
# on:
#
# - an interpolation reads two neighbouring rows of the smaller map;
# - a unit contains one 3x3 convolution, so it adds one row on either side;
# - a pool reads rows $2i$, $2i + 1$, $2i + 2$.
#
# The result is the **receptive field** of the mask in $u$. One row on the smallest map of a mask of
# depth 3 stands for eight rows of $u$: this is why a few units are enough.
#
# Before you run the next cells, predict: three units without a pool see 7 rows. How many does a
# mask of depth 1 see, and one of depth 3?


# %%
def receptive_field(depth, size=96, r=1):
    """How many rows of u the middle row of the mask depends on."""
    heights = [size >> k for k in range(depth + 1)]  # u, then after each pool
    first = last = size // 2
    for level in range(1, depth + 1):  # back through the way up
        scale = (heights[level] - 1) / (heights[level - 1] - 1)
        first, last = int(first * scale), int(last * scale) + 1  # two neighbours
        units = r if level < depth else 0
        first, last = first - units, last + units
    first, last = first - r, last + r  # the second r units of the deepest level
    for _ in range(depth):  # back through the way down
        first, last = first - r, last + r
        first, last = 2 * first, 2 * last + 2  # the pool
    return last - first + 1


print("three local units (the paper's Table 4): 1 + 3 x 2 =", 1 + 3 * 2)
for depth in (1, 2, 3):
    print(f"hourglass of depth {depth}: {receptive_field(depth)}")

# %% [markdown]
# Is that right? Measure it: the gradient of the middle value with respect to $u$, on a map that is
# large enough. A max-pool passes a gradient to one pixel of a window only, so we take several
# random inputs and unite what their gradients touch.

# %%
noise = np.random.default_rng(1).standard_normal((8, 96, 96, 32))
for depth in (1, 2, 3):
    body = Hourglass(Build(np.random.default_rng(0), np.float64), 32, depth, r=1).eval()
    x = tensor(noise, requires_grad=True)
    y = body(x)
    middle = np.zeros(y.shape)
    middle[:, 48, 48] = 1
    y.backward(middle)
    touched = np.abs(x.grad).sum(axis=(0, 3)) > 0
    rows = np.flatnonzero(touched.any(axis=1))
    print(f"depth {depth}: counted {receptive_field(depth)}, measured {np.ptp(rows) + 1}")

# %% [markdown]
# The mask of stage 1 on CIFAR can see 83 positions, on a map of 32: it sees the whole map. But $u$
# itself has a receptive field, which grows from stage to stage. So ask for the field in the
# *image*. In the figure, brightness is the influence of each pixel of the image on the middle of
# the mask, for random weights and images.
#
# The second row replaces the hourglass by three units without pooling, the comparison of the
# paper's Table 4 (error on CIFAR-10: hourglass **5.52%**, local convolutions **6.48%**, no spread
# over runs given).

# %%
reaches = {
    "hourglass": inspect.mask_reach(create_model("attention56_cifar"), pictures=3),
    "local": inspect.mask_reach(create_model("attention56_cifar", mask="local"), pictures=3),
}
reach_figure(reaches)

# %% [markdown]
# Only in stage 1 do the two differ in what they *can* see: the local mask there depends on a small
# window, the hourglass on the whole image. In stages 2 and 3 the local masks reach the whole image
# too, because the layers before them do. What differs there is where the influence lies: most of it
# is in a smaller square than with an hourglass (above each panel; in stage 3 only a little). So "an
# hourglass sees more" is true of stage 1, and a matter of degree after it; Table 4 alone does not
# say which of the two costs the points.
#
# Summaries of the paper name as a weakness that the mask "does not use global information". The
# receptive field of an hourglass *is* global. But every step is a 3x3 window or a small
# interpolation: no step looks at the whole map at once, as a global pool does. Notebook 18 returns
# to it.
#
# ## 8 · The masks of a fresh network
#
# Before training, logits are spread around 0, so masks are spread around 1/2. (Before you look at
# the histogram: if logits have a standard deviation of 1, between which values lie most of $M$?)
# **These images are the built-in shapes, not CIFAR**, and the network is not trained: what you see
# is smoothness (bilinear interpolation from 16x16, 8x8, 4x4 maps in stages 1, 2, 3), not attention.

# %%
images = ((shapes.images - shapes.images.mean(axis=0)) / 64).astype(np.float32)
model = create_model("attention56_cifar")
for _, module in model.named_modules():
    if isinstance(module, nn.BatchNorm2d):
        module.momentum = 1.0  # let one pass set the running statistics to these images'
with no_grad():
    model(tensor(images))
attentions = inspect.attention_maps(model, images[:3])
inspect.mask_figure(shapes.images[:3], attentions, rule="variance", count=2)

# %%
inspect.histogram_figure(attentions)

# %% [markdown]
# Notebook 13 shows masks of a trained network, and scores them.
#
# ## Summary
#
# - Bottom-up (pools) runs first, top-down (interpolations) second; then two 1x1 convolutions and a
#   sigmoid.
# - The pools halve the size, in effect rounded down; the interpolations go back through the same
#   sizes. The smallest map of every mask of one network has the same size.
# - The deepest level has $2r$ units; the skip is one unit on the output of the way down; the input
#   is never added back, and nothing of the trunk enters.
# - A module has $(2p + t + 2dr + d - 1) P_{unit} + P_{head}$ parameters.
# - In $u$, an hourglass of depth 3 sees 83 positions across, three local units see 7. In the image,
#   local masks too reach everything from stage 2 on; there the difference is one of weight.
#
# In [the live page](../docs/howto/live.md) (`minran live`) you walk through these steps for an
# image that you paint on.
#
# ## Questions
#
# 1. Why is a 3x3 pool with stride 2 and `padding=1` not the same as ours, although both halve 32?
#
# <details><summary>Answer</summary>
#
# With padding 1 and rounding down, an odd size is rounded up: 33 becomes 17, ours 16. And the
# windows lie elsewhere: theirs are centred on pixels 0, 2, 4, ..., ours on 1, 3, 5, ... Weights
# trained with one do not fit the other.
# </details>
#
# 2. What would change if the skip read $x$ (the input of the level) instead of $a_k$?
#
# <details><summary>Answer</summary>
#
# It would have twice the size of what it is added to, so it would need its own pool; its features
# would also lack the $r$ units of the way down.
# </details>
#
# 3. How many units does the mask have for $d = 3$, $r = 3$? (Attention-452 has such masks.)
#
# <details><summary>Answer</summary>
#
# $2 \cdot 3 \cdot 3 + 2 = 20$, against $2p + t = 8$ outside the mask for its $p = 2$, $t = 4$.
# </details>
#
# 4. The last convolution has no bias. Can a fresh mask then start near 1 everywhere?
#
# <details><summary>Answer</summary>
#
# Not through a bias, but through the batch norm before it: its $\beta$, passed through the ReLU and
# $W_2$, shifts the logits of every channel. At the start all $\beta$ are 0, and logits have no
# preferred sign.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: section 3, Figures 2 and 3, Table 4. The details of sizes, rounding and head
#   are those of the authors' published network files.
# - A. Newell, K. Yang, J. Deng, *Stacked Hourglass Networks for Human Pose Estimation*, ECCV 2016:
#   the bottom-up, top-down structure with skips.
# - K. He et al., *Identity Mappings in Deep Residual Networks*, ECCV 2016: the unit.
