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
#     number: 7
#     seconds: 8
#     minutes: 75
# ---

# %% [markdown]
# # 07 · Residual units
#
# **You will be able to**
#
# - say what a shortcut does to signals and to gradients, in equations;
# - derive He's initial weights, and say why they are not enough for a deep network;
# - predict how gradients grow with depth, with and without shortcuts, and measure it;
# - read, build and count the three units of this network: pre-activation, ResNeXt, Inception.
#
# **Time**: 75 minutes to read and do; runs in 8 seconds on 2 cores.
#
# **Needs**: notebooks 01, 03 and 04; variances of sums of independent numbers.

# %% tags=["setup"]
import numpy as np

from minran import nn, ops, tensor
from minran.course import check, frames, show_source
from minran.inspect import module_graph
from minran.inspect.style import dress, legend, new_figure, theme
from minran.models.units import Build, InceptionUnit, PreActUnit, ResNeXtUnit

rng = np.random.default_rng(7)
colours = theme()

# %% [markdown]
# ## 1 · A sum instead of a product
#
# A plain network of $L$ layers computes $x_{l+1} = F_l(x_l)$. With $J_l$ the Jacobian of $F_l$,
# the gradient that arrives at $x_l$ is a **product** (notebook 01),
#
# $$
# g_l = J_l^\top J_{l+1}^\top \cdots J_{L-1}^\top\; g_L .
# \tag{7.1}
# $$
#
# If each factor changes lengths by $a$ on average, the product changes them by $a^{L-l}$: it
# vanishes or explodes unless $a$ is $1$, and $0.9^{50}$ is $0.005$ already. A *residual* network
# lets each layer compute a change to its input,
#
# $$
# x_{l+1} = x_l + F_l(x_l)
# \quad\Longrightarrow\quad
# x_L = x_l + \sum_{i=l}^{L-1} F_i(x_i) .
# \tag{7.2}
# $$
#
# The right side is the first equation, used again and again: each layer's output is a **sum**
# over all layers before. Differentiate it with respect to $x_l$:
#
# $$
# g_l = g_L + \Big( \frac{\partial}{\partial x_l} \sum_{i=l}^{L-1} F_i(x_i) \Big)^{\!\top} g_L
# = (I + J_l)^\top \cdots (I + J_{L-1})^\top\, g_L .
# \tag{7.3}
# $$
#
# The gradient of the last layer arrives at every layer as it is, by the sum's first term,
# whatever the $F_i$ are, and something is added to it. It cannot be switched off by small
# weights. And a unit that has nothing to do can do nothing, $F_l = 0$, which is easy to learn.
# For a plain layer to do nothing, it must learn the identity.
#
# How large is the "something"? That depends on the size of the weights, to which we come first.
#
# ## 2 · How large should weights be? (He's argument)
#
# One layer of a plain network: $z = W^\top x$, $x' = \mathrm{relu}(z)$. Each $z_k$ is a sum of
# $n$ = *fan-in* products, $z_k = \sum_c w_{ck} x_c$. Let the weights be independent, of mean $0$
# and variance $\sigma_w^2$, and independent of $x$. Mixed terms have mean zero, so
#
# $$
# \mathbb E[z_k^2] = \sum_{c,c'} \mathbb E[w_{ck} w_{c'k}]\, \mathbb E[x_c x_{c'}]
# = \sum_c \sigma_w^2\, \mathbb E[x_c^2]
# = n\, \sigma_w^2\, \mathbb E[x^2] .
# \tag{7.4}
# $$
#
# Weights are as often positive as negative, so $z$ is distributed symmetrically about zero, and
# the ReLU keeps one half of it:
#
# $$
# \mathbb E[x'^2] = \mathbb E[z^2\, ; z > 0] = \tfrac12\, \mathbb E[z^2]
# = \tfrac12\, n\, \sigma_w^2\; \mathbb E[x^2] .
# \tag{7.5}
# $$
#
# The mean square stays from layer to layer if and only if
#
# $$
# \sigma_w^2 = \frac{2}{n} .
# \tag{7.6}
# $$
#
# That is He's initialisation; with $\sigma_w^2 = s/n$ the mean square is multiplied by $s/2$ per
# layer. For a convolution, $n = K_H K_W C$: the inputs of one output. Backward, a gradient is a
# sum over the *fan-out* $n'$ of a pixel, and the ReLU's mask lets half of the squares pass: the
# factor is $\frac12 n' \sigma_w^2$, the same if $n' = n$.

# %%
show_source(nn.init.he_normal)

# %% [markdown]
# Before you run the next cells, predict from $s/2$: after thirty layers, by which power of ten has
# the mean square of the signal changed with weights of variance $1/n$, and with $3/n$?


# %%
def plain(scale, depth=30, width=256):
    """Mean squares of signals and gradients in a plain network with weights of variance s/n."""
    generator = np.random.default_rng(1)
    xs = [tensor(generator.standard_normal((32, width)), requires_grad=True)]
    for _ in range(depth):
        w = tensor(generator.standard_normal((width, width)) * np.sqrt(scale / width))
        xs.append(ops.relu(ops.linear(xs[-1], w)).retain_grad())
    xs[-1].backward(generator.standard_normal(xs[-1].shape))
    return [(x.numpy() ** 2).mean() for x in xs], [(x.grad**2).mean() for x in xs]


measured = {scale: plain(scale) for scale in (1.0, 2.0, 3.0)}

# %% tags=["hide-input"]
figure = new_figure(9.2, 3.0, False)
left, right = figure.subplots(1, 2, sharey=True)
dress(left, colours, "signal forward", "layer", "mean square (log)")
dress(right, colours, "gradient backward (read from the right)", "layer")
layers = np.arange(31)
for k, (scale, (signals, gradients)) in enumerate(measured.items()):
    for axis, values, theory in (
        (left, signals, signals[1] * (scale / 2) ** (layers - 1)),
        (right, gradients, (scale / 2) ** (30 - layers)),
    ):
        axis.semilogy(
            layers,
            theory,
            color=colours.faint,
            linewidth=1,
            linestyle="--",
            label="(s/2) per layer" if k == 2 else None,
        )
        axis.semilogy(
            layers,
            values,
            color=colours.colours[k],
            marker=".",
            linewidth=1.4,
            label=f"weights of variance {scale:g}/n",
        )
legend(right, colours, loc="lower right")
figure

# %% [markdown]
# So the right variance keeps signals and gradients at their size, at the start and on average. But
# any other factor is exponential in depth, and training moves the weights. Batch norm (notebook 04)
# sets the size of the signal at every depth. Does it do the same for the gradient?
#
# ## 3 · Batch norm alone makes gradients explode
#
# Take layers of batch norm, ReLU, and a wide layer with He weights. Let $z$ be the output of a
# batch norm: mean $0$, variance $1$, nearly normal. After the ReLU, with $\varphi$ the normal
# density,
#
# $$
# \mathbb E[\mathrm{relu}(z)] = \int_0^\infty z\, \varphi(z)\, dz
# = \varphi(0) = \frac{1}{\sqrt{2\pi}} ,
# \qquad
# \mathbb E[\mathrm{relu}(z)^2] = \frac12 .
# \tag{7.7}
# $$
#
# The next layer computes $x = \sum_c w_c\, \mathrm{relu}(z_c)$ with $\sigma_w^2 = 2/n$. Its mean
# square is $2 \cdot \frac12 = 1$, by (7.4). But a part of this is the same for every image: the
# batch's mean, $\sum_c w_c\, \mathbb E[\mathrm{relu}(z_c)]$, whose mean square over the weights
# is $2 \cdot \frac{1}{2\pi} = \frac1\pi$. Batch norm subtracts it, and what is left is the
# variance within the batch,
#
# $$
# v = 1 - \frac1\pi \approx 0.68 .
# \tag{7.8}
# $$
#
# Backward, the layer and the ReLU's mask keep mean squares by (7.6). Batch norm multiplies with
# $r = 1/\sqrt v$ (4.9), and its projection removes little. So per layer the mean square of the
# gradient **grows** by
#
# $$
# r^2 = \frac{1}{1 - 1/\pi} = \frac{\pi}{\pi - 1} \approx 1.467 .
# \tag{7.9}
# $$
#
# A unit of this network has three such layers: $1.467^3 = 3.2$ per unit. Over thirty units in a
# row, without shortcuts, the mean square grows by a factor of $10^{15}$.
#
# ## 4 · With the shortcut: a power of the depth
#
# Now $x_{l+1} = x_l + F_l(x_l)$, where $F$ begins with batch norm and ReLU: a **pre-activation**
# unit (section 5 shows the whole of it). So $F$ does not depend on the scale of $x_l$, and what it
# adds has variance $v$ (7.8) at every depth, independent of $x_l$ for random weights. Variances
# add:
#
# $$
# \mathrm{Var}(x_l) = \mathrm{Var}(x_0) + v\, l .
# \tag{7.10}
# $$
#
# The signal grows, but like $\sqrt l$. Backward through $F_l$, the **first** batch norm divides
# by the standard deviation of $x_l$, which is large by now; the other two divide by $\sqrt v$ as
# before. So the mean square of $J_l^\top g$ is that of $g$ times
#
# $$
# \frac{1}{\mathrm{Var}(x_l)} \cdot \frac{1}{v} \cdot \frac{1}{v}
# = \frac{1}{v^2\, (\mathrm{Var}(x_0) + v\, l)} .
# \tag{7.11}
# $$
#
# It adds to the identity's share; mixed terms have mean zero. Together
#
# $$
# \frac{\mathbb E\, g_l^2}{\mathbb E\, g_L^2}
# = \prod_{i=l}^{L-1} \Big( 1 + \frac{1}{v^2\,(\mathrm{Var}(x_0) + v\, i)} \Big)
# \;\approx\; \prod_i \Big( 1 + \frac{v^{-3}}{i} \Big)
# \;\sim\; \Big(\frac{L}{l}\Big)^{3.2} .
# \tag{7.12}
# $$
#
# A **power** of the depth instead of an exponential: the deeper the unit, the smaller is its
# share in the sum that it adds to. (The last step:
# $\prod(1 + c/i) \approx \exp \sum c/i \approx \exp(c \log L/l)$, with $c = v^{-3} = 3.2$.)
#
# Now measure it: fifty units of the library, images of noise, a random gradient at the end,
# shortcut on and off, four seeds.
#
# Before you run the next cell, predict: how many times as large is the mean square of the gradient
# at the first unit as at the last, by (7.9) without shortcuts and by (7.12) with them?


# %%
def residual(seed, depth=50, width=64, shortcut=True):
    """Mean square of gradients and variance of signals along a chain of pre-activation units."""
    rng = np.random.default_rng(seed)
    build, noise = Build(rng, np.float64), rng.standard_normal((16, 4, 4, width))
    xs = [tensor(noise, requires_grad=True)]
    for _ in range(depth):
        y = PreActUnit(build, width, width)(xs[-1])
        if not shortcut:
            y = y - xs[-1]  # x + F(x) - x
        xs.append(y.retain_grad())
    xs[-1].backward(rng.standard_normal(noise.shape))
    gradients = np.array([(x.grad**2).mean() for x in xs])
    return gradients, np.array([x.numpy().var((0, 1, 2)).mean() for x in xs])


runs = [(residual(seed), residual(seed, shortcut=False)) for seed in range(4)]
on, off = runs[0]  # these are drawn
v, depth = 1 - 1 / np.pi, 50
steps = 1 + 1 / (v**2 * (1 + v * np.arange(depth)))
predicted_on = np.append(np.cumprod(steps[::-1])[::-1], 1)  # (7.12)
predicted_off = v ** (-3.0 * (depth - np.arange(depth + 1)))  # (7.9), three times per unit
print("mean square of the gradient, first unit over last; predicted, and for each seed:")
for words, predicted, kind in (("with", predicted_on, 0), ("without", predicted_off, 1)):
    ratios = "  ".join(f"{run[kind][0][0] / run[kind][0][-1]:7.1e}" for run in runs)
    print(f"{words:8} shortcut {predicted[0]:7.1e}:  {ratios}")

# %% tags=["hide-input"]
figure = new_figure(9.4, 3.2, False)
left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
at = np.arange(depth + 1)
dress(left, colours, "mean square of the gradient", "unit", "relative to the last (log)")
left.semilogy(
    at, off[0] / off[0][-1], color=colours.colours[1], linewidth=1.9, label="shortcut off"
)
left.semilogy(
    at,
    predicted_off,
    color=colours.colours[1],
    linestyle=":",
    linewidth=1.4,
    label="predicted, (7.9)",
)
left.semilogy(at, on[0] / on[0][-1], color=colours.colours[0], linewidth=1.9, label="shortcut on")
left.semilogy(
    at,
    predicted_on,
    color=colours.colours[0],
    linestyle=":",
    linewidth=1.6,
    label="predicted, (7.12)",
)
dress(right, colours, "variance of the signal", "unit")
right.plot(at, off[1], color=colours.colours[1], linewidth=1.9)
right.plot(at, on[1], color=colours.colours[0], linewidth=1.9)
right.plot(at, on[1][0] + v * at, color=colours.colours[0], linestyle=":", linewidth=1.6)
right.axhline(v, color=colours.colours[1], linestyle=":", linewidth=1.4)
legend(left, colours, loc="upper right")
figure

# %% [markdown]
# Nothing in the dotted lines was fitted. (They hold for wide layers; ours have 16 channels at their
# narrowest, and their gradients grow more slowly.) Both networks have the same weights, and their
# signals have about the variances of (7.8) and (7.10) (right). But without the shortcut the
# gradient at the first unit is about $10^{11}$ times as large as at the last (the square root of
# what is printed and drawn): one learning rate for both is a poor fit.
#
# ## 5 · Three units
#
# ### Pre-activation (all Attention-N networks)
#
# Where are batch norm and ReLU? In the first ResNets after the convolutions, and the last ReLU
# comes after the sum:
#
# $$
# x_{l+1} = \mathrm{relu}\big(x_l + F_l(x_l)\big)
# \qquad\text{(post-activation).}
# \tag{7.13}
# $$
#
# Then (7.3) does not hold: the identity path runs through a ReLU in every unit, and the gradient
# is masked every time. He et al. (2016) put both **before** each convolution, inside $F$: nothing
# is left on the identity path. With bottleneck width $C/4$,
#
# $$
# \begin{aligned}
# a &= \mathrm{relu}(\mathrm{bn}(x)) , \qquad
# y_1 = \mathrm{conv}_{1\times1}(a) , \\
# y_2 &= \mathrm{conv}_{3\times3}(\mathrm{relu}(\mathrm{bn}(y_1))) , \qquad
# y_3 = \mathrm{conv}_{1\times1}(\mathrm{relu}(\mathrm{bn}(y_2))) , \\
# x' &= y_3 + \mathrm{shortcut} .
# \end{aligned}
# \tag{7.14}
# $$
#
# The shortcut is $x$ itself. Only where the shape changes, in width or by a stride in the 3 × 3
# convolution, is it a projection $\mathrm{conv}_{1\times1}(a)$ with the same stride. It reads
# $a$, not $x$: the signal must be normalised once before it is projected. Such a unit begins each
# stage.
#
# ### ResNeXt (AttentionNeXt)
#
# Post-activation; bottleneck width $C/2$, and the 3 × 3 convolution has 32 groups (3.12):
#
# $$
# x' = \mathrm{relu}\big(\mathrm{bn}(\mathrm{conv}_{1\times1}(\cdots)) + \mathrm{shortcut}\big) .
# \tag{7.15}
# $$
#
# ### Inception (AttentionInception)
#
# Three branches read the same input, with different receptive fields: 1 × 1; 1 × 1 then 3 × 3;
# 1 × 1 then 3 × 3 twice. Their outputs are concatenated, projected to width $C$, normalised, and
# added to the shortcut; a ReLU follows. The authors published no file for this one; the library
# takes the standard Inception-ResNet block and says so.
#
# Step through the drawings, two of the pre-activation unit and one of each other:

# %%
build = Build(np.random.default_rng(0))
drawn = {
    "pre-activation: nothing on the identity path": PreActUnit(build, 64, 64),
    "pre-activation with a projection of relu(bn(x))": PreActUnit(build, 32, 64, stride=2),
    "ResNeXt: 3x3 in 32 groups, ReLU after the sum": ResNeXtUnit(build, 64, 64),
    "Inception: three branches": InceptionUnit(build, 64, 64),
}
frames([module_graph(unit, 8, collapse=()) for unit in drawn.values()], list(drawn))

# %% [markdown]
# ### What they cost
#
# Weights of convolutions by (3.6) and (3.12), for a unit of width $C$ without projection:
#
# $$
# \begin{aligned}
# \text{pre-activation:}\quad &
# C\tfrac C4 + 9 \big(\tfrac C4\big)^2 + \tfrac C4 C = \tfrac{17}{16}\, C^2 ,\\
# \text{ResNeXt:}\quad &
# C\tfrac C2 + \tfrac{9}{32} \big(\tfrac C2\big)^2 + \tfrac C2 C = \tfrac{137}{128}\, C^2 ,\\
# \text{Inception, } b = \tfrac C8:\quad &
# 3Cb + 9b^2 + \tfrac{27}{2} b^2 + 27\, b^2 + 4bC = \tfrac{211}{128}\, C^2 ,
# \end{aligned}
# \tag{7.16}
# $$
#
# against $18\, C^2$ for two plain 3 × 3 convolutions of width $C$: the bottleneck has a 17th of
# their weights. Batch norm adds $2$ for each channel it normalises. In the pre-activation unit
# those are $C + \frac C4 + \frac C4$ channels, so
#
# $$
# \text{parameters of a pre-activation unit} = \tfrac{17}{16}\, C^2 + 3\, C .
# \tag{7.17}
# $$

# %%
width = 256
weights = {}
for kind in (PreActUnit, ResNeXtUnit, InceptionUnit):
    unit = kind(build, width, width)
    parts = {"1x1": 0, "3x3": 0, "batch norm": 0}
    for parameter in unit.parameters():
        is_weight = parameter.ndim == 4
        part = "{}x{}".format(*parameter.shape[:2]) if is_weight else "batch norm"
        parts[part] += parameter.size
    weights[kind.__name__] = parts
    convolutions = (parts["1x1"] + parts["3x3"]) / width**2
    print(
        f"{kind.__name__:13s} {sum(parts.values()):7,d} parameters, "
        f"convolutions {convolutions * 128:g}/128 C^2"
    )

# %% tags=["hide-input"]
figure = new_figure(7.4, 2.3, False)
axis = dress(figure.subplots(), colours, f"Parameters of one unit of width {width}", "thousands")
left = np.zeros(3)
for k, part in enumerate(("1x1", "3x3", "batch norm")):
    values = np.array([weights[kind][part] for kind in weights]) / 1000
    axis.barh(list(weights), values, left=left, color=colours.colours[k], label=part, height=0.6)
    left += values
axis.invert_yaxis()
axis.grid(axis="y", visible=False)
legend(axis, colours, loc="upper right")
figure

# %% [markdown]
# ### Exercise: count


# %% tags=["exercise"]
# Task 07.1: count the parameters of a pre-activation unit, projection and batch norm included.
def preact_parameters(cin, cout, stride=1):
    """Widths in and out, stride -> how many numbers are trained."""
    ### BEGIN SOLUTION
    inner = cout // 4
    convolutions = cin * inner + 9 * inner * inner + inner * cout
    norms = 2 * (cin + inner + inner)
    projection = cin * cout if cin != cout or stride != 1 else 0
    return convolutions + norms + projection
    ### END SOLUTION


# %% tags=["check"]
check("07.1", preact_parameters)

# %% [markdown]
# ### Exercise: build
#
# With the layers of `minran.nn`; `nn.BatchNormReLU` is notebook 04's pair. The check loads the
# library's weights into your unit, so use its names for the layers: `norm1`, `conv1`, `norm2`,
# `conv2`, `norm3`, `conv3`, `shortcut`. No convolution has a bias (the default). A parameter that
# is never used counts as an error.


# %% tags=["exercise"]
# Task 07.2: build the pre-activation unit (7.14).
class Unit(nn.Module):
    """(N, H, W, cin) -> (N, H / stride, W / stride, cout)."""

    def __init__(self, cin, cout, stride=1):
        inner = cout // 4
        self.norm1 = nn.BatchNormReLU(cin)
        self.conv1 = nn.Conv2d(cin, inner, 1)
        ### BEGIN SOLUTION
        self.norm2 = nn.BatchNormReLU(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1)
        self.norm3 = nn.BatchNormReLU(inner)
        self.conv3 = nn.Conv2d(inner, cout, 1)
        self.shortcut = None
        if cin != cout or stride != 1:
            self.shortcut = nn.Conv2d(cin, cout, 1, stride=stride)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        a = self.norm1(x)
        y = self.conv1(a)
        y = self.conv2(self.norm2(y))
        y = self.conv3(self.norm3(y))
        return y + (x if self.shortcut is None else self.shortcut(a))
        ### END SOLUTION


# %% tags=["check"]
check("07.2", Unit)

# %% [markdown]
# The library's unit (`models.fused` computes the same in fewer passes over memory):

# %%
show_source(PreActUnit, after="07.2")

# %% [markdown]
# ## Summary
#
# - A residual network is a sum over its layers (7.2); the last gradient reaches each layer
#   unchanged, and something is added (7.3).
# - Weights of variance 2/fan-in keep mean squares after ReLUs (7.6); any other factor is
#   exponential in depth.
# - With batch norm and no shortcut the gradient's mean square grows by $\pi/(\pi - 1)$ per layer
#   (7.9); with shortcuts it grows like a power of the depth (7.12).
# - Pre-activation leaves nothing on the identity path; a projection exists only where shapes
#   change, and reads the pre-activated input (7.14).
# - A unit of width $C$ has $\frac{17}{16} C^2 + 3C$ parameters (7.17).
#
# ## Questions
#
# 1. Multiply out $(I + J_1)(I + J_2)(I + J_3)$. How many paths does a gradient have through three
#    units? Through $L$?
#
#    <details><summary>Answer</summary>
#
#    Eight terms, one for each choice of going through $J_i$ or around it: $2^L$ paths, most of
#    them through about half the units. (Veit et al. 2016 read residual networks as collections of
#    paths.)
#
#    </details>
#
# 2. Why is a batch norm and a ReLU needed after the last pre-activation unit, before the
#    classifier's pool?
#
#    <details><summary>Answer</summary>
#
#    The stream $x_L$ is a raw sum, of a variance that grows with depth (7.10), and nothing
#    non-linear has acted on the last unit's output. With post-activation units there is nothing
#    left to do.
#
#    </details>
#
# 3. The attention module multiplies the stream by $1 + M$ with $0 < M < 1$ (notebook 09). What
#    would naive gating, $M$ alone, do to (7.3)?
#
#    <details><summary>Answer</summary>
#
#    It puts a factor below 1 **on** the identity path, at every module: with $M \approx \frac12$
#    the gradient on that path is halved each time. $1 + M$ is never below 1.
#
#    </details>
#
# 4. Set the $\gamma$ of the last batch norm of every unit to zero at the start. What is the
#    network then, for a post-activation unit?
#
#    <details><summary>Answer</summary>
#
#    $F_l = 0$: on the way forward the units pass their (non-negative) input on, as if they were
#    not there. Gradients pass by (7.3) without growing. It is a common trick; the paper does not
#    use it.
#
#    </details>
#
# 5. How many parameters has the first unit of stage 1 of Attention-56 on CIFAR (16 → 64 channels,
#    stride 1)?
#
#    <details><summary>Answer</summary>
#
#    $16 \cdot 16 + 9 \cdot 16^2 + 16 \cdot 64 + 16 \cdot 64 = 4{,}608$ weights (the last term is
#    the projection), and $2(16 + 16 + 16) = 96$ of batch norm: 4,704.
#
#    </details>
#
# ## References
#
# - K. He, X. Zhang, S. Ren and J. Sun, *Delving deep into rectifiers*, ICCV 2015,
#   arXiv:1502.01852: (7.6).
# - K. He et al., *Deep residual learning for image recognition*, CVPR 2016, arXiv:1512.03385.
# - K. He et al., *Identity mappings in deep residual networks*, ECCV 2016, arXiv:1603.05027:
#   (7.2), (7.3), pre-activation.
# - G. Yang et al., *A mean field theory of batch normalization*, ICLR 2019, arXiv:1902.08129:
#   (7.9), with proof.
# - A. Veit, M. Wilber and S. Belongie, *Residual networks behave like ensembles of relatively
#   shallow networks*, NeurIPS 2016, arXiv:1605.06431.
# - S. Xie et al., *Aggregated residual transformations*, CVPR 2017; C. Szegedy et al.,
#   *Inception-v4, Inception-ResNet*, AAAI 2017.
# - In the library: `minran/models/units.py`, `minran/nn/init.py`.
