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
#     number: 9
#     seconds: 12
#     minutes: 70
# ---

# %% [markdown]
# # 09 · Naive or residual attention
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minran/minran/blob/main/notebooks/09_residual_attention.ipynb)
#
# **You will be able to**
#
# - derive the gradients of both gates, $H = M\,T$ and $H = (1 + M)\,T$, with respect to mask, trunk
#   and input;
# - say exactly what "the mask is a filter on gradients" means, and what the 1 changes about it;
# - predict how a chain of gates scales the signal, and measure it in a network of 164 layers;
# - tell apart what the 1 does for the forward pass, for the shortcut, and for the gradients;
# - name the price: what a residual gate can no longer do.
#
# **Time**: 70 minutes to read and do; runs in 12 seconds on 2 cores.
# **Needs**: notebooks 01 (vector-Jacobian products), 04 (batch norm) and 08 (the module).

# %% tags=["setup"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("minran") is None:  # in Colab
    wheel = "minran[notebooks] @ git+https://github.com/minran/minran"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wheel], check=True)

import numpy as np

from minran import create_model, gradcheck, inspect, nn, no_grad, ops, tensor
from minran.course import check, show_source
from minran.data import load_shapes
from minran.inspect.style import dress, legend, new_figure, theme
from minran.models import AttentionModule
from minran.ops.activation import Gate

colours = theme()

# %% [markdown]
# ## 1 · Two gates
#
# The mask $M$ says how much each feature of the trunk $T$ matters. The obvious way to act on it is
# to multiply. The paper calls this **naive attention learning** (NAL):
#
# $$
# H_{i,c}(x) \;=\; M_{i,c}(x)\; T_{i,c}(x)
# \tag{Eq. 1}
# $$
#
# for every position $i$ and channel $c$. What the paper uses is **attention residual learning**
# (ARL):
#
# $$
# H_{i,c}(x) \;=\; \big(1 + M_{i,c}(x)\big)\; T_{i,c}(x)
# \tag{Eq. 3}
# $$
#
# With a sigmoid mask, $M \in (0, 1)$. A naive gate multiplies each feature by a number in $(0, 1)$,
# a residual gate by one in $(1, 2)$. A mask that says nothing ($M = 0$) removes the features in the
# first case, and lets them pass untouched in the second: then $H = T$, as in a residual unit whose
# branch is zero. That is where the name comes from.
#
# ## 2 · Both gradients
#
# Let $L$ be the loss and $g = \partial L / \partial H$ what arrives from behind. Every entry of $H$
# depends on one entry of $M$ and one of $T$, so there are no sums to take: the product rule, entry
# by entry. For ARL, from $H = T + M\,T$,
#
# $$
# \frac{\partial H}{\partial M} = T, \qquad \frac{\partial H}{\partial T} = 1 + M
# \qquad\Longrightarrow\qquad
# g_M = g\,T, \qquad g_T = g\,(1 + M) .
# \tag{9.1}
# $$
#
# For NAL, from $H = M\,T$,
#
# $$
# g_M = g\,T, \qquad g_T = g\,M .
# \tag{9.2}
# $$
#
# The mask's gradient is **the same**. The trunk's differs by exactly $g$. If $\varphi$ are the
# trunk's parameters, (9.2) reads
#
# $$
# \frac{\partial\, M(x, \theta)\, T(x, \varphi)}{\partial \varphi}
# = M(x, \theta)\, \frac{\partial\, T(x, \varphi)}{\partial \varphi}
# \tag{Eq. 2}
# $$
#
# which is the paper's argument for masks: the mask is also a **filter on the trunk's update**.
# Where it says "unimportant", a wrong label cannot push the trunk's parameters. Under ARL the
# factor is $1 + M$. The filter is still there, but it only weighs: between the least and the most
# important position lies a factor of 2, and it never blocks.
#
# In the library the gate is one op, with (9.1) and (9.2) as its backward:

# %%
show_source(Gate, docstring=False)

# %% [markdown]
# **Task 09.1.** Write the backward of the gate for both kinds of learning.


# %% tags=["exercise"]
# Task 09.1: the gradients of the gate
def gate_backward(gy, mask, trunk, learning):
    """(gmask, gtrunk) for learning "residual" (Eq. 3) or "naive" (Eq. 1); all of one shape."""
    ### BEGIN SOLUTION
    factor = 1 + mask if learning == "residual" else mask
    return gy * trunk, gy * factor
    ### END SOLUTION


# %% tags=["check"]
check("09.1", gate_backward)

# %% [markdown]
# Central differences agree with the library's:

# %%
rng = np.random.default_rng(9)
mask, trunk = (
    1 / (1 + np.exp(-rng.standard_normal((2, 3, 3, 4)))),
    rng.standard_normal((2, 3, 3, 4)),
)
for learning in ("residual", "naive"):
    report = gradcheck(lambda m, t, how=learning: ops.gate(m, t, how), mask, trunk)
    print(f"{learning:9} passed: {report.passed}, largest error {report.relative_error:.0e}")

# %% [markdown]
# ### What reaches the input
#
# Trunk and mask both read $x$, so the input gets both paths, added. In one dimension
#
# $$
# \frac{dH}{dx} =
# \underbrace{(1 + M)\,\frac{dT}{dx}}_{\text{through the trunk}}
# \;+\; \underbrace{T\,\frac{dM}{dx}}_{\text{through the mask}} .
# \tag{9.3}
# $$
#
# The second term has any sign, in both kinds of learning. So "ARL never blocks a gradient" is a
# statement about the trunk's path, not about the sum: the two terms may cancel.
#
# **Task 09.2.** The smallest attention module there is: $T(x) = a\,x$ and $M(x) = \sigma(b\,x)$
# with numbers $a$ and $b$. Derive $dH/dx$ for both kinds of learning and write it for arrays of
# $x$. (The slope of the sigmoid is $\sigma' = \sigma\,(1 - \sigma)$.)


# %% tags=["exercise"]
# Task 09.2: the slope of the smallest attention module
def module_slope(x, a, b, learning):
    """dH/dx of H = (1 + M) T or H = M T, with T = a x and M = sigmoid(b x)."""
    ### BEGIN SOLUTION
    mask = 1 / (1 + np.exp(-b * x))
    through_trunk = (1 + mask if learning == "residual" else mask) * a
    through_mask = a * x * b * mask * (1 - mask)
    return through_trunk + through_mask
    ### END SOLUTION


# %% tags=["check"]
check("09.2", module_slope)

# %% [markdown]
# The factor on the trunk's path, over the logit of the mask. Where NAL's filter is nearly shut
# (left), the trunk learns nothing; ARL's stays above 1 everywhere.

# %% tags=["hide-input"]
logit = np.linspace(-6, 6, 200)
sigma = 1 / (1 + np.exp(-logit))
figure = new_figure(9.2, 3.0, False)
left, right = figure.subplots(1, 2)
dress(left, colours, "Factor on the trunk, forward and backward", "logit of the mask", "")
left.plot(logit, 1 + sigma, color=colours.colours[0], lw=2, label="residual: 1 + M, in (1, 2)")
left.plot(logit, sigma, color=colours.colours[1], lw=2, label="naive: M, in (0, 1)")
left.axhline(1, color=colours.faint, ls=":", lw=1)
legend(left, colours)
modules = np.arange(0, 13)
dress(right, colours, "After n gates in a row", "gates n", "product of the factors (log scale)")
right.set_yscale("log")
right.fill_between(modules, 1, 2.0**modules, color=colours.colours[0], alpha=0.15, lw=0)
right.fill_between(modules, 1e-4, 1, color=colours.colours[1], alpha=0.12, lw=0)
right.plot(
    modules, 1.5**modules, "o-", color=colours.colours[0], label="residual, M = 1/2: 1.5$^n$"
)
right.plot(modules, 0.5**modules, "s-", color=colours.colours[1], label="naive, M = 1/2: 0.5$^n$")
right.set_ylim(1e-4, 6e3)
legend(right, colours, loc="upper left")
figure

# %% [markdown]
# ## 3 · Many gates in a row
#
# Attention-164 has twelve modules. Suppose for a moment that the units compute nothing and only
# their shortcuts are left, $T(u) = u$. Then $n$ modules with masks $M_1, \dots, M_n$ do
#
# $$
# H_n = u \prod_{k=1}^{n} (1 + M_k) \quad\text{(ARL)} \qquad\qquad
# H_n = u \prod_{k=1}^{n} M_k \quad\text{(NAL)}
# \tag{9.4}
# $$
#
# Fresh masks are spread around $\tfrac12$, and different masks are nearly independent, so the mean
# factors are $1.5^n$ and $0.5^n$. After twelve: 130 against 0.00024. The factor of NAL lies between
# 0 and 1 whatever the masks learn; ARL's between 1 and $2^n$.
#
# **Task 09.3.** Write the factor of (9.4): what $n$ gates with given, constant masks do to each
# entry of $u$. It is also the factor of the gradient, $\partial L / \partial u$ over
# $\partial L / \partial H_n$.


# %% tags=["exercise"]
# Task 09.3: the factor of a chain of gates
def chain_factor(masks, learning):
    """masks: (n, ...) -> the factor on u, of the shape of one mask."""
    ### BEGIN SOLUTION
    factors = 1 + masks if learning == "residual" else masks
    return np.prod(factors, axis=0)
    ### END SOLUTION


# %% tags=["check"]
check("09.3", chain_factor)

# %% [markdown]
# ### Measured: a network whose units are silent
#
# Take Attention-164 (narrow, to be quick), and set the last convolution of every unit on the
# trunk's way to zero: what is left are shortcuts, masks and gates. Then look at the mean absolute
# value behind every module with `inspect.stage_responses`. **The pictures are the built-in shapes,
# not CIFAR.**

# %%
shapes = load_shapes("test", count=16)
pictures = ((shapes.images - shapes.images.mean(axis=0)) / 64).astype(np.float32)
narrow = {"stem_width": 16, "widths": (16, 32, 64), "tail_width": 64}
kinds = {
    "residual": {"learning": "residual"},
    "naive": {"learning": "naive"},
    "no mask": {"mask": "none"},
}


def settle(model):
    """One pass sets the running statistics of every batch norm to those of our pictures."""
    for _, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with no_grad():
        model(tensor(pictures))
    return model


def silence(model):
    """Units on the trunk's way put out their input: T(u) = u."""
    for _, module in model.named_modules():
        if isinstance(module, AttentionModule):
            for unit in (*module.before, *module.trunk, *module.after):
                unit.conv3.weight.data[...] = 0
    return model


def network(kind):
    return create_model("attention164_cifar", **narrow, **kinds[kind])


silent = {
    kind: inspect.stage_responses(settle(silence(network(kind))), pictures, by="module")
    for kind in kinds
}


# %% tags=["hide-input"]
def by_module(panels):
    """A panel for each title: lines over the twelve modules, a gap between stages."""
    figure = new_figure(4.6 * len(panels), 3.3, False)
    for axes, (title, lines) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items()):
        dress(axes, colours, title, "stage.module", "log scale")
        axes.set_yscale("log")
        for index, (kind, values) in enumerate(lines.items()):
            for stage in range(3):
                part = slice(4 * stage, 4 * stage + 4)
                axes.plot(
                    np.arange(12)[part],
                    list(values)[part],
                    color=colours.colours[index],
                    marker="osD"[index],
                    lw=1.8,
                    label=kind if stage == 0 else None,
                )
        axes.set_xticks(range(12), [f"{s}.{m}" for s in (1, 2, 3) for m in (1, 2, 3, 4)])
        axes.tick_params(axis="x", labelsize=7.5)
        for edge in (3.5, 7.5):
            axes.axvline(edge, color=colours.grid, lw=1)
    names = axes.get_legend_handles_labels()
    figure.legend(*names, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


by_module({"Silent units: mean |feature|": {k: v.values() for k, v in silent.items()}})

# %%
for kind, values in silent.items():
    found = list(values.values())
    ratios = [found[k + 1] / found[k] for k in range(11) if k % 4 != 3]
    spread = f"from {min(ratios):.3f} to {max(ratios):.3f}"
    print(f"{kind:9} one gate multiplies by {np.mean(ratios):.3f} ({spread})")

# %% [markdown]
# There are the $1.5^n$ and the $0.5^n$, and something that (9.4) does not say: **every stage starts
# afresh**. Its first unit changes width and size, so its shortcut is a projection, and in a
# pre-activation unit the projection reads $\mathrm{relu}(\mathrm{bn}(x))$ (notebook 07). The batch
# norm puts back whatever scale the gates took away or added. The longest unbroken chain is not the
# twelve modules of the network but the $m = 4$ of a stage: $1.5^4 = 5.1$ and $0.5^4 = 0.06$.
#
# ## 4 · The whole network, before training
#
# Now let the units speak. Behind each module we measure the features, and in front of each module
# the gradient of the loss.


# %%
def gradients(model):
    """The root mean square of dL/dx in front of every module, for one batch."""
    inputs = []

    def keep(module, given, output):
        if isinstance(module, AttentionModule):
            inputs.append(given[0].retain_grad())

    model.train()
    with nn.observe(keep):
        loss = ops.cross_entropy(model(tensor(pictures)), shapes.labels)
    loss.backward()
    return [float(np.sqrt((x.grad**2).mean())) for x in inputs]


features, by_stage, slopes = {}, {}, {}
for kind in kinds:
    model = settle(network(kind))
    features[kind] = inspect.stage_responses(model, pictures, by="module").values()
    by_stage[kind] = inspect.stage_responses(model, pictures)
    slopes[kind] = gradients(model)

# %% tags=["hide-input"]
by_module(
    {"Mean |feature| behind each module": features, "Gradient in front of each module": slopes}
)

# %%
for kind, (first, *_, last) in slopes.items():
    print(f"{kind:9} gradient at the first module: {first / last:6,.0f} times that at the last")

# %% [markdown]
# This is not the story that is usually told ("naive features vanish"), so read it slowly. (One
# seed; `create_model(..., seed=1)` gives another network and the same picture.)
#
# - **Features** of the naive network do not vanish here. Each gate halves the stream, but the units
#   between the gates add to it again, and their branches begin with a batch norm, so what they add
#   does not depend on how small the stream is. Halving and refilling balance, here near 1.
# - **What vanishes is the past.** The share of the stream that comes from $n$ modules ago is
#   multiplied by the chain (9.4): after four gates 6% are left. The naive network turns into one
#   without shortcuts: each module sees mostly what the last one wrote.
# - **Gradients** of the naive network grow, from the last module to the first, far more than
#   without masks. That is how deep networks with batch norm *and without shortcuts* behave (Yang et
#   al., 2019): the batch norm in front of each branch divides by the stream's spread, and backward
#   multiplies by its inverse. One learning rate for all modules is then a poor fit.
# - **The residual gate** keeps the shortcut whole. Its features grow by about 1.5 a module, until
#   the next stage starts afresh, and its gradients are no wilder than those without masks.
#
# The paper's Figure 4 shows *trained* networks: there the features behind each stage of the naive
# one do shrink with depth. Fresh and trained are two different measurements; on a trained network
# of your own, `inspect.response_figure` draws its figure:

# %%
inspect.response_figure(by_stage)

# %% [markdown]
# ## 5 · What it is worth
#
# Error on CIFAR-10 by the number of modules in a stage (the paper's Table 3, which gives no spread
# over runs). With one module in each stage the two differ by 0.4 points. With four, naive attention
# has got *worse* with depth, while residual attention keeps getting better.

# %% tags=["hide-input"]
table3 = {
    "residual": (5.52, 4.99, 4.44, 4.31),
    "naive": (5.89, 5.35, 5.57, 7.18),
}
figure = new_figure(5.4, 3.1, False)
axes = dress(figure.subplots(), colours, "Table 3 of the paper", "", "error on CIFAR-10, %")
names = [
    "Attention-56\nm = 1",
    "Attention-92\nm = 2",
    "Attention-128\nm = 3",
    "Attention-164\nm = 4",
]
for index, (kind, values) in enumerate(table3.items()):
    axes.plot(names, values, color=colours.colours[index], marker="os"[index], lw=1.8, label=kind)
    for place, value in enumerate(values):
        where = (0, -13) if index == 0 else (0, 7)
        axes.annotate(
            f"{value}", (place, value), where, textcoords="offset points", ha="center", fontsize=8
        )
axes.set_ylim(3.8, 7.7)
legend(axes, colours, loc="upper left")
figure

# %% [markdown]
# ## 6 · The price
#
# A residual gate cannot switch anything off. Its factors lie in $(1, 2)$, so one module can raise
# one feature over another **at most twofold**; a naive gate can do it without limit. Over the $m$
# modules of a stage the contrast is at most $2^m$: 2 for Attention-56, 16 for Attention-164. The
# paper notes that stacking modules refines attention gradually; (9.4) says by how much at most.
#
# The same bound holds for the filter on gradients of Eq. 2: a naive mask can silence a noisy
# region, a residual one can weigh it half as much as the rest.
#
# ## Summary
#
# - NAL: $H = M T$, $g_T = g M$. ARL: $H = (1 + M) T$, $g_T = g (1 + M)$. In both $g_M = g T$.
# - $M$ filters the trunk's update (Eq. 2); with the 1 it weighs between 1 and 2 and never blocks.
# - Chains multiply: $0.5^n$ against $1.5^n$ at the start, within one stage; each stage starts
#   afresh.
# - In a whole fresh network it is the shortcut that naive gates wear away, not the features;
#   gradients then explode as in a network without shortcuts.
# - The price: at most a factor of 2 in contrast for each module.
#
# ## Questions
#
# 1. A mask has learned $M = 0$ everywhere. What do the two networks compute, and which of their
#    parameters still get a gradient?
#
# <details><summary>Answer</summary>
#
# ARL: $H = T$, the trunk learns as if there were no mask ($g_T = g$). NAL: $H = 0$ and $g_T = 0$:
# the trunk gets nothing. In both, $g_M = g T$ arrives at the mask's output, but the sigmoid's slope
# $M (1 - M)$ is 0 there, so the mask's parameters get nothing either: the naive module is dead.
# </details>
#
# 2. Would $H = 2 M T$ cure NAL? Its mean factor at the start is 1.
#
# <details><summary>Answer</summary>
#
# It would keep the mean scale at the start, where $M$ is near $\tfrac12$. But the factor lies in
# $(0, 2)$: it can still block, its product over many modules still drifts as soon as masks move
# away from $\tfrac12$, and entries spread: the product of factors that vary is small for most
# entries and large for few.
# </details>
#
# 3. Under channel attention (notebook 10) masks can be negative. What becomes of "never blocks"?
#
# <details><summary>Answer</summary>
#
# $M \in [-1, 1]$, so $1 + M \in [0, 2]$: it can block, at the one point $M = -1$, where a position
# has all its length in a single negative channel.
# </details>
#
# 4. Why does the gradient in front of the modules jump at the border between stages?
#
# <details><summary>Answer</summary>
#
# The first unit of a stage has a projection behind a batch norm. Backward through a batch norm
# divides by the standard deviation of its input: where the stream was large, the gradient comes out
# small, and the other way round. Its convolution also changes the number of entries over which the
# gradient is spread.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: sections 3.1 and 4.1, Eq. 1-3, Figure 4, Table 3.
# - K. He et al., *Identity Mappings in Deep Residual Networks*, ECCV 2016: what scaling a shortcut
#   does.
# - G. Yang et al., *A Mean Field Theory of Batch Normalization*, ICLR 2019, arXiv:1902.08129:
#   gradients of deep networks with batch norm and without shortcuts.
