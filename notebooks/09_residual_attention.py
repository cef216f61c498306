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
#     seconds: 25
#     minutes: 90
# ---

# %% [markdown]
# # 09 · Naive or residual attention
#
# **You will be able to**
#
# - derive the gradients of both gates, $H = M\,T$ and $H = (1 + M)\,T$, with respect to mask, trunk
#   and input;
# - say exactly what "the mask is a filter on gradients" means, and what the 1 changes about it;
# - predict how a chain of gates scales the signal, and measure it in a network of 164 layers;
# - measure how much of its past a network keeps, with naive gates, residual gates and none;
# - read an experiment that takes scale, shortcut and gradient apart, trained over three seeds;
# - name the price: what a residual gate can no longer do;
# - train a network with the pieces that you wrote in notebooks 00 to 09.
#
# **Time**: 90 minutes to read and do; runs in 25 seconds on 2 cores.
# **Needs**: notebooks 01 (vector-Jacobian products), 04 (batch norm) and 08 (the module).

# %% tags=["setup"]
import numpy as np

from minran import create_model, gradcheck, inspect, nn, no_grad, ops, tensor
from minran.backend import naive
from minran.course import (
    GATES,
    check,
    gate_options,
    gate_runs,
    measure_gates,
    paper_frames,
    put_gates,
    show_source,
    train_mine,
    walk_frames,
    walk_through,
)
from minran.data import load_shapes
from minran.inspect.style import dress, legend, new_figure, theme
from minran.models import AttentionModule
from minran.ops.activation import Gate
from minran.train import load_pretrained

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
# a residual gate by one in $(1, 2)$. A mask of zeros ($M = 0$) removes the features in the first
# case, and leaves them unchanged in the second: then $H = T$, as in a residual unit whose branch is
# zero. Hence the name.
#
# ## 2 · Both gradients
#
# Let $L$ be the loss and $g = \partial L / \partial H$ the gradient at the output. Every entry of
# $H$ depends on one entry of $M$ and one of $T$, so there are no sums to take: use the product
# rule, entry by entry. For each kind of learning write down $\partial H / \partial M$ and
# $\partial H / \partial T$, and multiply with $g$.
#
# **Task 09.1.** Derive $g_M$ and $g_T$ for both kinds of learning, and write them as code.


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
# On paper: for ARL, from $H = T + M\,T$,
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
# Where $M$ is near 0, a wrong label cannot change the trunk's parameters. Under ARL the factor is
# $1 + M$. The filter is still there, but it only weighs: between the least and the most important
# position lies a factor of 2, and it never blocks.
#
# In the library the gate is one op. Its backward calls a kernel; the simplest one is (9.1) and
# (9.2) word for word:

# %%
show_source(Gate, docstring=False, after="09.1")
show_source(naive.gate, naive.gate_backward, docstring=False, after="09.1")

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
# ### Backward on paper
#
# The module on paper of notebook 08, with a gradient $g_H$ that has three entries. Compute each
# step before you look at its frame, with (9.1), the slope $M (1 - M)$ of the sigmoid, and the
# adjoints of notebooks 03 and 05. Which pixels of $u$ get something only because they won a window?

# %%
paper_frames(backward=True)

# %% [markdown]
# ### Backward through one trained module
#
# The same two paths in a real module: that of notebook 08, with the same image. The network is not
# sure of this arrow, so the loss has a gradient. It arrives at $H$ from the layers after it.
# Step through it. Each panel changes from the values of its step to their gradient, in the order
# of the backward pass: through the gate to $T$ and $M$, then through the whole mask to $u$, where
# the two paths meet. Gradients have a scale of their own for each panel, with 0 white; the numbers
# below say how large they are.
#
# Before you run the next cell, predict from (9.1), for this channel: $M$ lies between 0.02 and
# 0.87, $T$ between -13 and 12. By how much can $g_T$ differ from $g_H$? Which has the larger
# values, $g_T$ or $g_M$? And which path brings more of $g_u$, the trunk or the mask?

# %%
trained, preprocess, _ = load_pretrained("quickstart")
test, n = load_shapes("test", count=24), 14
prepared = preprocess(test.images)
label = int(test.labels[n])
walk = walk_through(trained, test.images[n], prepared[n], label, "stages.0.1")
walk_frames(walk, walk.channel(), backward=True)


# %%
def size(maps):
    """Root mean square over positions and channels."""
    return np.sqrt(np.mean(maps**2))


print(", ".join(f"{key}: {size(walk.gradients[key]):.5f}" for key in ("H", "T", "M", "u")))
shares = []
for raw, image, label in zip(test.images, prepared, test.labels):
    one = walk_through(trained, raw, image, int(label), "stages.0.1")
    shares.append(size(one.mask) / size(one.trunk))
print(f"at u, the mask's part over the trunk's: {shares[n]:.2f} for the arrow;")
least, middle, most = np.quantile(shares, (0, 0.5, 1))
print(f"{least:.2f} to {most:.2f} over {len(shares)} images, median {middle:.2f}")

# %% [markdown]
# - $g_T$ is $g_H$ times a factor between 1 and 2, so the two panels look alike. $g_M$ is $g_H$
#   times the trunk's features, most of which are larger than 1 here: so its values are larger.
# - On its way back through the mask the gradient becomes smaller at the sigmoid, whose slope
#   $M (1 - M)$ is at most $\tfrac14$. At an interpolation each value of the smaller map collects
#   what it has given to several positions. At a max-pool the gradient of a window goes to its
#   largest value only.
# - At $u$ the mask's part is smaller than the trunk's in each of these images, and in most of them
#   not small. The layers before the module learn from both: from what they do to the features, and
#   from what they do to the mask.

# %% [markdown]
# The factor on the trunk's path, over the logit of the mask. Where NAL's filter is nearly shut
# (left), the trunk learns nothing; ARL's stays above 1 everywhere.

# %% tags=["hide-input"]
logit = np.linspace(-6, 6, 200)
sigma = 1 / (1 + np.exp(-logit))
figure = new_figure(9.2, 3.0, False)
left, right = figure.subplots(1, 2)
dress(left, colours, "One gate, forward and backward", "logit of the mask", "factor on the trunk")
left.plot(logit, 1 + sigma, color=colours.colours[0], lw=2, label="residual: 1 + M, in (1, 2)")
left.plot(logit, sigma, color=colours.colours[1], lw=2, label="naive: M, in (0, 1)")
left.axhline(1, color=colours.faint, ls=":", lw=1)
legend(left, colours)
modules = np.arange(0, 13)
dress(right, colours, "After n gates in a row", "n", "product of the factors (log)")
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
# Attention-164 has twelve modules. Suppose first that the units add nothing and only their
# shortcuts are left, $T(u) = u$. Then $n$ modules with masks $M_1, \dots, M_n$ do
#
# $$
# H_n = u \prod_{k=1}^{n} (1 + M_k) \quad\text{(ARL)} \qquad\qquad
# H_n = u \prod_{k=1}^{n} M_k \quad\text{(NAL)}
# \tag{9.4}
# $$
#
# Fresh masks are spread around $\tfrac12$, and different masks are nearly independent, so the mean
# factors are $1.5^n$ and $0.5^n$. After twelve: 130 against 0.00024. In such a chain the factor of
# NAL lies between 0 and 1 whatever the masks learn; ARL's between 1 and $2^n$.
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
# trunk's way to zero: shortcuts, masks and gates are left. Then look at the mean absolute value
# after every module with `inspect.stage_responses`. **The images are the built-in shapes, not
# CIFAR.**
#
# Before you run the next cell, predict: three stages of four modules, twelve gates. By what factor
# does the naive network shrink the stream from the first module to the last, and by what factor
# does the residual one raise it?

# %%
shapes = load_shapes("test", count=16)
images = ((shapes.images - shapes.images.mean(axis=0)) / 64).astype(np.float32)
narrow = {"stem_width": 16, "widths": (16, 32, 64), "tail_width": 64}


def settle(model):
    """One pass sets the running statistics of every batch norm to those of our images."""
    for _, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with no_grad():
        model(tensor(images))
    return model


def silence(model):
    """Units on the trunk's way return their input: T(u) = u."""
    for _, module in model.named_modules():
        if isinstance(module, AttentionModule):
            for unit in (*module.before, *module.trunk, *module.after):
                unit.conv3.weight.data[...] = 0
    return model


def network(kind, seed=0):
    made = create_model("attention164_cifar", seed=seed, **narrow, **gate_options(kind))
    return put_gates(made, kind)


silent = {}
for kind in ("residual", "naive", "no mask"):
    responses = inspect.stage_responses(settle(silence(network(kind))), images, by="module")
    silent[kind] = np.array([[*responses.values()]])


# %% tags=["hide-input"]
def _ends(values):
    """The least and the largest over seeds."""
    return values.min(axis=0), values.max(axis=0)


LOOKS = dict(zip(GATES, zip(colours.colours, "osD^v")))


def by_module(panels, columns=3):
    """A panel for each title: the mean over seeds at each module, and a band from least to most."""
    figure = new_figure(max(6.4, 4.6 * len(panels)), 3.4, False)
    grid = np.atleast_1d(figure.subplots(1, len(panels)))
    for axes, (title, (quantity, scale, lines)) in zip(grid, panels.items()):
        log = " (log)" if scale == "log" else ""
        dress(axes, colours, title, "stage.module", quantity + log)
        axes.set_yscale(scale)
        for kind, values in lines.items():
            paint, marker = LOOKS[kind]
            stages = values.shape[1] // 4
            for stage in range(stages):
                at = range(4 * stage, 4 * stage + 4)
                low, high = _ends(values[:, at])
                axes.fill_between(at, low, high, color=paint, alpha=0.2, lw=0)
                look = {"marker": marker, "lw": 1.8, "label": kind if stage == 0 else None}
                axes.plot(at, values[:, at].mean(axis=0), color=paint, **look)
        modules = [f"{s}.{m}" for s in range(1, stages + 1) for m in (1, 2, 3, 4)]
        axes.set_xticks(range(4 * stages), modules)
        axes.tick_params(axis="x", labelsize=7.5)
        for stage in range(1, stages):
            axes.axvline(4 * stage - 0.5, color=colours.grid, lw=1)
    names = grid[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside upper right", ncols=columns, frameon=False, fontsize=9)
    return figure


by_module({"Silent units": ("mean |output| of the module", "log", silent)})

# %%
for kind, (found,) in silent.items():
    ratios = [found[k + 1] / found[k] for k in range(11) if k % 4 != 3]
    spread = f"from {min(ratios):.3f} to {max(ratios):.3f}"
    print(f"{kind:9} one gate multiplies by {np.mean(ratios):.3f} ({spread})")

# %% [markdown]
# These are the $1.5^n$ and the $0.5^n$, and something that (9.4) does not say: **every stage starts
# again**. Its first unit changes width and size, so its shortcut is a projection, and in a
# pre-activation unit the projection reads $\mathrm{relu}(\mathrm{bn}(x))$ (notebook 07). The batch
# norm takes out whatever scale the gates have made. The longest unbroken chain is not the twelve
# modules of the network but the $m = 4$ of a stage: $1.5^4 = 5.1$ and $0.5^4 = 0.06$.
#
# ## 4 · The whole network, before training
#
# Now with all units as they are made, and three seeds of each network. In one pass we note at every
# module: the size of its output; the gradient of the loss at its input; and how much of its stage's
# entry is left in its output, as the **correlation** of the two (each channel's mean taken out).
# The *entry* of a stage is the input of its first module.
#
# Before you run the next cells, predict from (9.4): what is the correlation after four naive
# modules? After four modules without masks, is it 1?

# %%
show_source(measure_gates, docstring=False)

fresh = {}
for kind in ("residual", "naive", "no mask"):
    fresh[kind] = [measure_gates(network(kind, seed), images, shapes.labels) for seed in range(3)]


def measured(key):
    """(seeds, modules) by kind."""
    return {kind: np.array([run[key] for run in runs]) for kind, runs in fresh.items()}


features, slopes, left = measured("features"), measured("gradients"), measured("past")

# %% tags=["hide-input"]
figure = by_module(
    {"What is left of a stage's entry": ("correlation with the entry", "linear", left)}
)
axes = figure.axes[0]
for stage in range(3):
    axes.plot(
        range(4 * stage, 4 * stage + 4), 0.5 ** np.arange(1, 5), ":", color=colours.text, lw=1.3
    )
axes.annotate("dotted: 0.5$^n$", (-0.2, 0.12), color=colours.text, fontsize=8.5)
axes.set_ylim(-0.05, 1)
figure

# %%
print("after the four modules of a stage, correlation with its entry (range over seeds):")
for kind, values in left.items():
    last = values[:, 3::4]
    spans = [f"stage {k + 1}: {a:.2f} to {b:.2f}" for k, (a, b) in enumerate(zip(*_ends(last)))]
    print(f"{kind:9}", "   ".join(spans))

# %% [markdown]
# **In the naive network the past vanishes.** (9.4) says that each gate multiplies what came before
# by $M$, about one half. After $n$ gates $0.5^n$ of the entry is left (dotted), and the units have
# added the rest. The measured correlation follows that line: after four modules it is near 0, so
# the stream hardly depends on the entry along the shortcuts. Without masks nothing is multiplied;
# the units add to the stream, and the entry stays visible in it. The residual gate keeps even more
# of it: it multiplies the stream, entry included, by about 1.5, and makes what a unit adds count
# for less.

# %% tags=["hide-input"]
by_module(
    {
        "Features": ("mean |output| of the module", "log", features),
        "Gradients": ("r.m.s. of dL/dx at the input", "log", slopes),
    }
)

# %%
for kind, values in slopes.items():
    low, high = _ends(values[:, 0] / values[:, -1])
    print(
        f"{kind:9} gradient at the first module: {low:,.0f} to {high:,.0f} times that at the last"
    )

# %% [markdown]
# This is not what is usually said ("naive features vanish"):
#
# - **Features** of the naive network do not vanish here. Each gate halves the stream, but the units
#   between the gates add to it again, and their branches begin with a batch norm, so what they add
#   does not depend on how small the stream is. The two balance, here near 1.
# - **What vanishes is the past**, as the first figure shows. Along its shortcuts the naive network
#   is close to one that has none: what a module reads was written mostly by the last two.
# - **Gradients** of the naive network grow, from the last module to the first, far more than
#   without masks. That is how deep networks with batch norm *and without shortcuts* behave (Yang et
#   al., 2019; notebook 07, section 3): the batch norm at the start of each branch divides by the
#   stream's standard deviation, and so does its backward. One learning rate for all modules is then
#   a poor fit.
# - **The residual gate** keeps the shortcut whole. Its features grow by about 1.5 a module, until
#   the next stage starts again, and its gradients grow no more than those without masks.
#
# All this is before training. What remains of it after?
#
# ## 5 · An experiment: the same network with five gates
#
# A small network with four modules in each of two stages is trained on the shapes, in five kinds
# that differ at the gate only: **residual** $(1 + M)\,T$, **naive** $M\,T$, **no mask** $T$,
# **doubled** $2\,M\,T$, and **half** $T/2$ without any mask. Three seeds each, 500 steps. This
# takes an hour on one core, so the notebook reads the log of it (`python -m
# minran.workshop.course.gate_runs`; see `docs/results/gates`).
#
# The last two kinds take apart what the 1 does. The factor of a residual gate is about 1.5, that of
# a naive gate about 0.5, that of a doubled one about 1:
#
# - **scale**: doubled gates keep the mean size of the stream, and are naive in everything else;
# - **shortcut**: half gates shrink the entry as naive ones do, but with one number. There is no
#   mask that could be right or wrong;
# - **gradient**: in all of them, does the gradient still grow from the last module to the first
#   after training?
#
# Before you run the next cells, predict: order the five kinds by test accuracy. Where does
# "doubled" stand, with residual or with naive? And "half"?

# %%
log = gate_runs()


def trained(key, epoch=-1, rate=0.3):
    """By kind: a row for each seed."""
    chosen = [run for run in log if run["rate"] == rate]
    return {
        kind: np.array([run["rows"][epoch][key] for run in chosen if run["kind"] == kind])
        for kind in dict.fromkeys(run["kind"] for run in chosen)
    }


figure = by_module(
    {
        "Before training": ("correlation with the entry", "linear", trained("past", 0)),
        "After 500 steps": ("correlation with the entry", "linear", trained("past")),
    },
    columns=5,
)
for axes in figure.axes:
    axes.set_ylim(-0.05, 1)
figure

# %% [markdown]
# This is the main figure of the notebook: how much of its stage's entry is still in the stream
# after each module. A line is the mean of three seeds, the band goes from the least to the largest.
# The correlation with the entry of *another* image says what "nothing left" looks like:

# %%
for when, epoch in (("before training", 0), ("after 500 steps", -1)):
    print(f"{when}: correlation after four modules, stage 1 and 2, over seeds")
    for kind, values in trained("past", epoch).items():
        low, high = _ends(values[:, 3::4])
        spans = "   ".join(f"{a:.2f} to {b:.2f}" for a, b in zip(low, high))
        others = np.abs(trained("others", epoch)[kind][:, 3::4]).max()
        print(f"   {kind:9} {spans}   (another image: at most {others:.2f})")

# %% tags=["hide-input"]
figure = new_figure(9.6, 3.4, False)
left_axes, middle_axes, right_axes = figure.subplots(1, 3)
dress(left_axes, colours, "Test accuracy", "epoch", "share right")
dress(middle_axes, colours, "Size of the stream", "epoch", "mean |output| of 2.4 (log)")
dress(right_axes, colours, "Gradients", "epoch", "first module over last (log)")
middle_axes.set_yscale("log")
right_axes.set_yscale("log")
epochs = range(5)
for kind, (paint, marker) in LOOKS.items():
    accuracy = np.array([trained("test_accuracy", epoch)[kind] for epoch in epochs])
    sizes = np.array([trained("features", epoch)[kind][:, -1] for epoch in epochs])
    slopes = np.array([trained("gradients", epoch)[kind] for epoch in epochs])
    for axes, values in (
        (left_axes, accuracy),
        (middle_axes, sizes),
        (right_axes, slopes[:, :, 0] / slopes[:, :, -1]),
    ):
        axes.fill_between(epochs, values.min(1), values.max(1), color=paint, alpha=0.15, lw=0)
        label = kind if axes is left_axes else None
        axes.plot(epochs, values.mean(1), marker + "-", color=paint, lw=1.8, label=label)
right_axes.axhline(1, color=colours.faint, ls=":", lw=1.2)
names = left_axes.get_legend_handles_labels()
figure.legend(*names, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
figure

# %%
slopes = {epoch: trained("gradients", epoch) for epoch in (0, -1)}
print(f"{'':10}{'test accuracy':>17}{'gradient, first module over last: before, after':>52}")
for kind, accuracy in trained("test_accuracy").items():
    ratios = [
        "{:8.1f} to {:8.1f}".format(*_ends(g[kind][:, 0] / g[kind][:, -1])) for g in slopes.values()
    ]
    print(f"{kind:10}{accuracy.min():8.1%} to {accuracy.max():.1%}   {'   '.join(ratios):>48}")
slower = trained("test_accuracy", rate=0.1)["naive"]
print(f"naive with a third of the learning rate: {slower.min():.1%} to {slower.max():.1%}")

# %% [markdown]
# What all three seeds show:
#
# - **Accuracy.** Naive and half gates are below the three others. Doubled gates lie between:
#   above naive and half in each seed, and below residual ones of the same seed. Residual gates and
#   no mask overlap: that a mask *helps* is not shown here, and is not what this experiment asks.
# - **Shortcut.** Before training the order of the correlations is half and naive, doubled, no mask,
#   residual, in every seed. After training the entry is more visible in stage 1 in every
#   run; in stage 2 it is still far less so with half and naive gates than with the others.
# - **Half gates do all that naive gates do**: the correlation, the growth of fresh gradients, the
#   accuracy. And they have no mask. So the harm of $M\,T$ in this network is not that its mask
#   blocks something, or is noisy. It is the factor of one half on the stream, and with it on the
#   shortcut, once for each module.
# - **Scale.** Doubled gates have a stream as large as that of no mask (middle panel), and lower
#   accuracies. So size alone is not it. No mask has the factor 1 everywhere; doubled factors lie
#   between 0 and 2 and differ from entry to entry, so that after four of them the entry is less
#   like itself. The 1 in $1 + M$ narrows the factors to between 1 and 2.
# - **Gradients.** The large growth from the last module to the first belongs to the *fresh*
#   network. After the first epoch it is gone, also with naive and half gates, and they stay the
#   worst all the same. A third of the learning rate does not help them either (the last line
#   above).
#
# So of the three, the shortcut explains the order of the accuracies best. What the experiment does
# not show: it is one small network on an easy data set, with 500 steps and one recipe. Longer
# training may close gaps, and the no-mask network has fewer parameters than the others.
#
# ## 6 · What it is worth
#
# Error on CIFAR-10 by the number of modules in a stage (the paper's Table 3, which gives no spread
# over runs). With one module in each stage the two differ by 0.4 points. With four, naive attention
# is *worse* than with one, while residual attention is better at each step.

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
    for at, value in enumerate(values):
        where = (0, -13) if index == 0 else (0, 7)
        axes.annotate(
            f"{value}", (at, value), where, textcoords="offset points", ha="center", fontsize=8
        )
axes.set_ylim(3.8, 7.7)
legend(axes, colours, loc="upper left")
figure

# %% [markdown]
# ## 7 · The price
#
# A residual gate cannot switch anything off. Its factors lie in $(1, 2)$, so one module can raise
# one feature over another **at most twofold**; a naive gate can do it without limit. If the units
# between the gates add nothing, as in (9.4), the contrast over the $m$ modules of a stage is at
# most $2^m$: 2 for Attention-56, 16 for Attention-164. That bound is one on the gates: units that
# do add something can make any contrast. The paper notes that stacking modules refines attention
# gradually.
#
# The same bound holds for the filter on gradients of Eq. 2 at one gate: a naive mask can silence a
# noisy region, a residual one can weigh it half as much as the rest.
#
# ## 8 · A network of your own pieces
#
# Since notebook 00, `check` has kept your answers in `my_minran.py`, a file next to this notebook.
# Eighteen of them are what a small residual attention network needs to learn:
#
# | piece | from | what it does here |
# |---|---|---|
# | `Unit`, `MyHourglass` | 07, 08 | the units of trunk and mask, and the mask's hourglass |
# | `gated`, `gate_backward` | 00, 09 | the gate, forward and backward |
# | `pool_size`, `max_pool_backward`, `upsample_backward` | 05 | the way down and up of the mask |
# | `col2im`, `conv2d_backward` | 03 | backward through each convolution |
# | `batch_norm_backward`, `update_running` | 04 | backward, and the statistics for the test |
# | `linear_logits`, `cross_entropy_gradient` | 00b, 06 | the classifier; where backward begins |
# | `reverse`, `vjp_mul`, `vjp_sum`, `unbroadcast` | 01, 02 | the walk back, and its arithmetic |
# | `nesterov_step` | 06 | the update of each parameter |
#
# `train_mine` checks each of them once more and puts it in the place of the library's. What is
# left of the library is the forward pass of convolution, batch norm, sigmoid and interpolation. It
# trains on the shapes, 16 steps on two batches in turn, and then tests the network in evaluation.
# The same network is trained by minran alone, from the same weights, on the same batches.
#
# Before you run the next cell, predict: all numbers are float64, with about 16 digits. Will the
# losses be equal to the last digit? Does their difference stay the same from step to step?

# %%
train_mine()

# %% [markdown]
# Two sums of the same numbers in another order differ in their last digits. Each step makes
# weights of these gradients, so later losses differ by more. How much is **allowed** follows from a
# third training, by minran in float32: its losses show how this network passes rounding on.
# Rounding in float64 is finer by $2^{29}$, and the order of a sum of $n$ terms matters by a factor
# of $n$ at most. Each piece that does not pass its check is named before anything is trained: try
# it, with a factor of 1.001 somewhere in `my_minran.py`. (Your edit stays. To have the answer back,
# delete its section and run its `check` again.)
#
# ## Summary
#
# - NAL: $H = M T$, $g_T = g M$. ARL: $H = (1 + M) T$, $g_T = g (1 + M)$. In both $g_M = g T$.
# - $M$ filters the trunk's update (Eq. 2); with the 1 it weighs between 1 and 2 and never blocks.
# - Chains multiply: $0.5^n$ against $1.5^n$ at the start, within one stage; each stage starts
#   again.
# - In a whole fresh network naive gates do not make features vanish, but the past: after four
#   modules the stream has hardly any correlation with its stage's entry. Gradients then grow as in
#   a network without shortcuts.
# - Trained, naive gates were the worst over three seeds, and gates of one half without any mask
#   were no better: it is the shortcut that the 1 protects. The growth of gradients was gone after
#   an epoch.
# - The price: at most a factor of 2 in contrast at each gate.
# - Your own pieces train a residual attention network, and its losses are those of the library.
#
# In [the live page](../docs/howto/live.md) (`minran live`) both gates see the image that you
# paint on: choose `quickstart` or `quickstart_naive`. One run of each ranks nothing.
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
# 4. Why does the gradient at the input of the modules jump at the border between stages?
#
# <details><summary>Answer</summary>
#
# The first unit of a stage has a projection after a batch norm. Backward through a batch norm
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
