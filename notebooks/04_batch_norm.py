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
#     number: 4
#     seconds: 8
#     minutes: 110
# ---

# %% [markdown]
# # 04 · Batch norm and ReLU
#
# **You will be able to**
#
# - say what batch norm computes, over which axes, and what it makes a network blind to;
# - derive its compact backward pass, and read it as a projection;
# - keep running statistics, and say how training and evaluation differ;
# - compute a variance without losing all digits;
# - explain why one kernel for batch norm and ReLU needs to keep only two of its arrays.
#
# **Time**: 110 minutes to read and do; runs in 8 seconds on 2 cores.
#
# **Needs**: notebook 01; notebook 03 for the shape of activations.

# %% tags=["setup"]
import numpy as np

from minran import nn, ops, tensor
from minran.backend import cpu, naive
from minran.course import check, show_source
from minran.data import load_shapes
from minran.errors import MinranError
from minran.inspect.style import dress, legend, new_figure, show, theme

rng = np.random.default_rng(4)
colours = theme()

# %% [markdown]
# ## 1 · The problem
#
# Take twenty layers of 3 × 3 convolution and ReLU, and send images through. If the weights are a
# fifth too small, the features get smaller with every layer; if they are a quarter too large,
# larger with every layer. Twenty such factors multiply. (Notebook 07 derives the right size, and
# why it alone is not enough.) With a batch norm after each convolution a factor in the weights
# changes what that one convolution outputs, and the next layer does not see it: the factors do not
# multiply. The figure shows the standard deviation of what each convolution outputs, **before** any
# batch norm (after it, it would be 1 by definition).
#
# Before you run the next cells, predict: by which factor does that standard deviation change from
# layer 2 to layer 20 with weights × 0.8 and × 1.25, without batch norm and with it?

# %%
images = load_shapes("train", 16).images / np.float32(255) - np.float32(0.5)


def sizes_by_depth(scale, norm, depth=20, width=64):
    """The standard deviation of the outputs of each convolution of a random network."""
    generator = np.random.default_rng(0)
    x, sizes = tensor(images[:, ::2, ::2]), []
    for _ in range(depth):
        conv = nn.Conv2d(x.shape[3], width, 3, padding=1, rng=generator)
        conv.weight.data *= np.float32(scale)
        x = conv(x)
        sizes.append(float(x.numpy().std()))
        x = ops.relu(nn.BatchNorm2d(width)(x) if norm else x)
    return sizes


scales = {"weights × 0.8": 0.8, "weights × 1": 1.0, "weights × 1.25": 1.25}
without = {name: sizes_by_depth(scale, norm=False) for name, scale in scales.items()}
with_norm = {name: sizes_by_depth(scale, norm=True) for name, scale in scales.items()}

# %% tags=["hide-input"]
figure = new_figure(9.2, 3.0, False)
left, right = figure.subplots(1, 2, sharey=True)
dress(left, colours, "convolution, ReLU", "layer", "std of the convolution's outputs")
dress(right, colours, "convolution, batch norm, ReLU", "layer")
for axis, curves in ((left, without), (right, with_norm)):
    axis.set_yscale("log")
    axis.set_xticks((1, 5, 10, 15, 20))
    for k, (name, sizes) in enumerate(curves.items()):
        axis.plot(
            range(1, 21),
            sizes,
            color=colours.colours[k],
            label=name,
            linewidth=1.8,
            linestyle=("-", "--", ":")[k],
        )
legend(left, colours, loc="upper left")
figure

# %%
for name in scales:
    ends = without[name][1], without[name][-1], with_norm[name][1], with_norm[name][-1]
    print(
        "{:15} from layer 2 to 20: {:.3f} to {:.4f}; with batch norm {:.2f} to {:.2f}".format(
            name, *ends
        )
    )

# %% [markdown]
# ## 2 · What batch norm computes
#
# Each channel $c$ is treated alone. Its values over the batch, the rows and the columns are
# $x_1, \dots, x_m$ with $m = N H W$; we leave out the index $c$. In training,
#
# $$
# \mu = \frac1m \sum_{i=1}^m x_i ,
# \qquad
# v = \frac1m \sum_{i=1}^m (x_i - \mu)^2 ,
# \tag{4.1}
# $$
#
# $$
# r = \frac{1}{\sqrt{v + \varepsilon}} ,
# \qquad
# \hat x_i = (x_i - \mu)\, r ,
# \qquad
# y_i = \gamma\, \hat x_i + \beta .
# \tag{4.2}
# $$
#
# $\gamma$ and $\beta$ are learned, one of each per channel; they start at $1$ and $0$.
# $\varepsilon = 10^{-5}$ keeps a constant channel from dividing by zero. In the library these are
# `mean`, `var`, `inv_std`, `xhat`, `gamma`, `beta`, `eps`. Two facts follow at once, and we shall
# need them:
#
# $$
# \sum_i \hat x_i = 0 ,
# \qquad
# \frac1m \sum_i \hat x_i^2 = \frac{v}{v+\varepsilon} \approx 1 .
# \tag{4.3}
# $$

# %%
x = (3 + 2 * rng.standard_normal((8, 5, 5, 4))).astype(np.float32)
layer = nn.BatchNorm2d(4)
y = layer(tensor(x)).numpy()
print("before: mean", x.mean((0, 1, 2)).round(2), " std", x.std((0, 1, 2)).round(2))
print("after:  mean", abs(y.mean((0, 1, 2))).round(2), " std", y.std((0, 1, 2)).round(2))

# %% [markdown]
# ### What it makes a network blind to
#
# Put $x' = a x + b$ with $a > 0$ into (4.1): $\mu' = a\mu + b$, $v' = a^2 v$, so
# $\hat x' = (a x + b - a\mu - b)/(a\sqrt v) = \hat x$, if $\varepsilon$ is left out. Two
# consequences for a convolution that is followed by batch norm:
#
# - **Its bias does nothing**: $b$ is gone. No convolution of this network has one.
# - **The size of its weights does nothing**: $w$ and $a w$ give the same output, $L(aw) = L(w)$.
#   Differentiate both sides with respect to $a$ at $a = 1$:
#
# $$
# 0 = \frac{d}{da} L(a w)\Big|_{a=1} = \Big\langle \frac{\partial L}{\partial w},\, w \Big\rangle :
# \tag{4.4}
# $$
#
# the gradient is at right angles to the weights, filter by filter.

# %%
conv, norm = nn.Conv2d(3, 8, 3, padding=1, rng=rng), nn.BatchNorm2d(8)
y = norm(conv(tensor(images)))
y.backward(rng.standard_normal(y.shape))
w, gw = conv.weight.data.reshape(-1, 8), conv.weight.grad.reshape(-1, 8)
cosine = (w * gw).sum(0) / np.linalg.norm(w, axis=0) / np.linalg.norm(gw, axis=0)
print("largest cosine between a filter and its gradient:", f"{abs(cosine).max():.0e}")

# %% [markdown]
# ## 3 · The backward pass, step by step
#
# Given $g_i = \partial L/\partial y_i$, we want the gradients of $\gamma$, $\beta$ and $x$. The
# first two follow from $y_i = \gamma \hat x_i + \beta$, because every $y_i$ uses the same $\gamma$
# and $\beta$:
#
# $$
# g_\gamma = \sum_i g_i\, \hat x_i ,
# \qquad
# g_\beta = \sum_i g_i ,
# \qquad
# g_{\hat x_i} = \gamma\, g_i .
# \tag{4.5}
# $$
#
# For $x$: each $x_j$ acts on **every** $\hat x_i$, by itself if $i = j$, through the mean, and
# through the variance. Three small derivatives. First the mean, $\partial\mu/\partial x_j = 1/m$.
# Then the variance:
#
# $$
# \begin{aligned}
# \frac{\partial v}{\partial x_j}
# &= \frac1m \sum_i 2 (x_i - \mu)\Big(\delta_{ij} - \frac1m\Big) \\
# &= \frac2m (x_j - \mu) - \frac{2}{m^2}\underbrace{\sum_i (x_i - \mu)}_{=\,0}
# = \frac2m (x_j - \mu) .
# \end{aligned}
# \tag{4.6}
# $$
#
# So the effect of $x_j$ on $v$ through $\mu$ is zero. Third, $r = (v+\varepsilon)^{-1/2}$:
#
# $$
# \frac{\partial r}{\partial x_j}
# = -\tfrac12 (v+\varepsilon)^{-3/2}\, \frac{\partial v}{\partial x_j}
# = -\frac{r^3}{m} (x_j - \mu)
# = -\frac{r^2}{m}\, \hat x_j .
# \tag{4.7}
# $$
#
# Now the product rule on $\hat x_i = (x_i - \mu)\, r$:
#
# $$
# \frac{\partial \hat x_i}{\partial x_j}
# = r\Big(\delta_{ij} - \frac1m\Big) + (x_i - \mu)\Big(-\frac{r^2}{m} \hat x_j\Big)
# = r\Big(\delta_{ij} - \frac1m - \frac{\hat x_i \hat x_j}{m}\Big) .
# \tag{4.8}
# $$
#
# And the chain rule, $g_{x_j} = \sum_i g_{\hat x_i}\, \partial\hat x_i/\partial x_j$, with (4.5):
#
# $$
# \begin{aligned}
# g_{x_j}
# &= \gamma r \sum_i g_i \Big(\delta_{ij} - \frac1m - \frac{\hat x_i \hat x_j}{m}\Big)
#  = \gamma r \Big( g_j - \frac1m \sum_i g_i - \hat x_j\, \frac1m \sum_i g_i \hat x_i \Big) \\[4pt]
# &= \gamma r \Big( g_j - \frac{g_\beta}{m} - \hat x_j \frac{g_\gamma}{m} \Big) .
# \end{aligned}
# \tag{4.9}
# $$
#
# This is the **compact form**: two sums per channel, which are the gradients of $\gamma$ and
# $\beta$ and are needed anyway, then one formula per value. Going backward through mean,
# difference, square, mean, root and quotient one by one gives the same numbers with several times
# the work.
#
# ### What it means
#
# In vectors over the $m$ values, with $\mathbf 1$ the vector of ones, (4.8) is
#
# $$
# J = r\Big( I - \tfrac1m \mathbf 1 \mathbf 1^\top - \tfrac1m \hat x \hat x^\top \Big) .
# \tag{4.10}
# $$
#
# $\mathbf 1$ and $\hat x$ are at right angles and both have length $\sqrt m$ (4.3). So $J$
# **removes from the gradient its part along $\mathbf 1$ and its part along $\hat x$**, and
# divides by the standard deviation. These are the two directions, shifting and scaling, that
# change nothing in $y$: that is (4.4) again. The gradient that leaves has no mean and no
# correlation with $\hat x$.
#
# Here is $J$ of one channel with eight values, row by row from the library's backward pass,
# next to the formula.


# %%
def jacobian(x):
    """d xhat / d x of one channel with len(x) values, row by row by backward."""
    rows = []
    for unit in np.eye(len(x)):
        leaf = tensor(x[:, None], requires_grad=True)
        one, zero = tensor(np.ones(1)), tensor(np.zeros(1))
        y = ops.batch_norm(leaf, one, zero, np.zeros(1), np.ones(1), training=True)
        y.backward(unit[:, None])
        rows.append(leaf.grad[:, 0])
    return np.array(rows)


values = np.array([-1.2, 0.3, 0.5, 2.0, -0.4, 1.1, -2.2, 0.0])
inv_std = 1 / np.sqrt(values.var() + 1e-5)
xhat = (values - values.mean()) * inv_std
formula = inv_std * (np.eye(8) - 1 / 8 - np.outer(xhat, xhat) / 8)
found = jacobian(values)
print("largest difference:", abs(found - formula).max())
print("J 1    =", abs(found @ np.ones(8)).max().round(12), "  J xhat =", abs(found @ xhat).max())

# %% tags=["hide-input"]
figure = new_figure(9.2, 2.9, False)
parts = (
    ("J, by backward", found),
    ("= r × (  I", inv_std * np.eye(8)),
    ("−  11ᵀ/m", -inv_std * np.ones((8, 8)) / 8),
    ("−  x̂x̂ᵀ/m  )", -inv_std * np.outer(xhat, xhat) / 8),
)
axes = figure.subplots(1, 4)
for axis, (name, matrix) in zip(axes, parts):
    drawn = show(axis, matrix, colours, name, cmap="RdBu_r", vmin=-inv_std, vmax=inv_std)
    axis.title.set_fontsize(12)
figure.colorbar(drawn, ax=axes, shrink=0.7, aspect=25)
figure

# %% [markdown]
# ($J\hat x$ is not exactly zero: by (4.3) it is $\hat x\, r\,\varepsilon/(v + \varepsilon)$.)
#
# ### Exercise: the compact backward pass
#
# Write (4.5) and (4.9). Take care that sums run over batch, rows and columns, and that $m$ is the
# number of values of **one** channel.


# %% tags=["exercise"]
# Task 04.1: write the compact backward pass of batch norm in training, (4.5) and (4.9).
def batch_norm_backward(gy, x, gamma, mean, inv_std):
    """gy, x (N, H, W, C), the others (C,) -> gx (N, H, W, C), ggamma (C,), gbeta (C,)."""
    xhat = (x - mean) * inv_std
    count = x.shape[0] * x.shape[1] * x.shape[2]
    ### BEGIN SOLUTION
    ggamma = (gy * xhat).sum((0, 1, 2))
    gbeta = gy.sum((0, 1, 2))
    gx = gamma * inv_std * (gy - gbeta / count - xhat * ggamma / count)
    return gx, ggamma, gbeta
    ### END SOLUTION


# %% tags=["check"]
check("04.1", batch_norm_backward)

# %% [markdown]
# In the library these are two kernels, because two processes that share a batch must add up their
# sums between the two steps. Here they are as loops; `g` already went through the ReLU, which is
# the subject of section 6.

# %%
show_source(
    naive.batch_norm_backward_sums, naive.batch_norm_backward_input, docstring=False, after="04.1"
)

# %% [markdown]
# ## 4 · Running statistics
#
# In training, $\mu$ and $v$ belong to the batch, so what the network says about an image depends
# on the other images of its batch. When the network is used there may be one image only. So while
# training, each layer keeps a moving average of the batches' statistics, and uses that in
# evaluation:
#
# $$
# \mu_{\text{run}} \leftarrow (1 - \alpha)\, \mu_{\text{run}} + \alpha\, \mu_{\text{batch}},
# \qquad
# v_{\text{run}} \leftarrow (1 - \alpha)\, v_{\text{run}} + \alpha\, \tfrac{m}{m-1}
# v_{\text{batch}},
# \tag{4.11}
# $$
#
# with $\alpha$ = `momentum` = 0.1. (PyTorch's word, and unlucky: it is the weight of the *new*
# value.) Unrolled, after $t$ batches,
#
# $$
# \mu_{\text{run}}^{(t)} = (1-\alpha)^t \mu_{\text{run}}^{(0)}
# + \alpha \sum_{k=1}^{t} (1-\alpha)^{t-k} \mu_{\text{batch}}^{(k)} ,
# \tag{4.12}
# $$
#
# weights that add up to $1$, most of them on the last $1/\alpha = 10$ batches. The factor
# $m/(m-1)$ makes the average right: with $x_i$ independent of mean $\bar\mu$ and variance
# $\sigma^2$,
#
# $$
# \mathbb E[v] = \mathbb E\Big[\frac1m\sum_i (x_i - \bar\mu)^2 - (\mu - \bar\mu)^2\Big]
# = \sigma^2 - \frac{\sigma^2}{m} = \frac{m-1}{m}\sigma^2 ,
# \tag{4.13}
# $$
#
# because a batch's own mean is closer to its values than the true mean is. Within the batch,
# (4.2) divides by the biased $v$; only the running variance is corrected. For maps of many pixels
# it makes no difference; on the one-pixel maps of a deep layer with a small batch it does.
#
# Running statistics are state, not parameters: nothing is differentiated with respect to them.

# %%
true_mean, true_std = 1.5, 2.0
layer = nn.BatchNorm2d(1)
means, variances = [], []
for _ in range(60):
    layer(tensor((true_mean + true_std * rng.standard_normal((8, 1, 1, 1))).astype(np.float32)))
    means.append(layer.running_mean.item())
    variances.append(layer.running_var.item())

# %% tags=["hide-input"]
figure = new_figure(8.4, 2.8, False)
left, right = figure.subplots(1, 2)
steps = np.arange(1, 61)
dress(left, colours, "running mean", "batch")
left.plot(steps, means, color=colours.colours[0], linewidth=1.8, label="measured")
left.plot(
    steps,
    true_mean * (1 - 0.9**steps),
    color=colours.faint,
    linestyle="--",
    linewidth=1.2,
    label="expected, (4.12)",
)
left.axhline(true_mean, color=colours.colours[1], linewidth=1, label="truth")
dress(right, colours, "running variance", "batch")
right.plot(steps, variances, color=colours.colours[0], linewidth=1.8, label="measured")
right.plot(
    steps,
    true_std**2 + (1 - true_std**2) * 0.9**steps,
    color=colours.faint,
    linestyle="--",
    linewidth=1.2,
    label="expected, (4.12)",
)
right.axhline(true_std**2, color=colours.colours[1], linewidth=1, label="truth")
legend(left, colours, loc="lower right")
legend(right, colours, loc="lower right")
figure

# %% [markdown]
# The curves start at the initial values 0 and 1: after ten batches $0.9^{10} = 35\,\%$ of them is
# left. A network evaluated after a handful of steps is judged with wrong statistics, and looks
# worse than it is.
#
# ### Training and evaluation are two different functions
#
# In evaluation $\mu$ and $r$ are constants. Then (4.8) is $r\,\delta_{ij}$ alone, and
#
# $$
# g_{x_j} = \gamma\, r\, g_j
# \qquad\text{(evaluation).}
# \tag{4.14}
# $$
#
# Below: the output for one and the same image, in training together with three different sets of
# companions, and in evaluation.

# %%
conv, norm = nn.Conv2d(3, 1, 3, padding=1, rng=np.random.default_rng(5)), nn.BatchNorm2d(1)
pool = load_shapes("train", 400).images / np.float32(255) - np.float32(0.5)
for start in range(0, 400, 20):  # gives the running statistics something to run on
    norm(conv(tensor(pool[start : start + 20])))

bright = pool[np.argsort(pool.mean((1, 2, 3)))[-7:]]
dark = pool[np.argsort(pool.mean((1, 2, 3)))[:7]]
me = pool[47:48]
companions = {
    "training, any companions": pool[60:67],
    "training, bright ones": bright,
    "training, dark ones": dark,
}
maps = {
    name: norm(conv(tensor(np.concatenate([me, others])))).numpy()[0, :, :, 0]
    for name, others in companions.items()
}
norm.eval()
alone = norm(conv(tensor(np.concatenate([me, bright])))).numpy()
maps["evaluation, any companions"] = alone[0, :, :, 0]

# %% tags=["hide-input"]
figure = new_figure(9.6, 2.6, False)
axes = figure.subplots(1, 5)
show(axes[0], me[0] + 0.5, colours, "the image")
for axis, (name, values) in zip(axes[1:], maps.items()):
    drawn = show(axis, values, colours, name.replace(", ", ",\n"), cmap="RdBu_r", vmin=-3, vmax=3)
    axis.set_xlabel(f"mean {values.mean():+.2f}", color=colours.faint, fontsize=9)
figure.colorbar(drawn, ax=axes, shrink=0.7, aspect=20)
figure

# %% [markdown]
# The switch is a flag of each module, `training`, set by `model.train()` and `model.eval()`.
# Forgetting `eval()` before a test is a common mistake: the answer for an image then depends on the
# other images of its batch. One image alone raises no error, as long as its map has more than one
# position: its statistics are then taken over its own positions. Only where $m = N H W = 1$ there
# is no variance, and the library raises an error:

# %%
norm.train()
print("one image, 4 × 4:", norm(tensor(rng.standard_normal((1, 4, 4, 1)))).shape)
try:
    norm(tensor(rng.standard_normal((1, 1, 1, 1))))
except MinranError as error:
    print("one value:", error)

# %% [markdown]#
# ### Exercise: keep the statistics


# %% tags=["exercise"]
# Task 04.2: write one step of the running statistics, (4.11).
def update_running(running_mean, running_var, x, momentum=0.1):
    """running_mean, running_var (C,), x (N, H, W, C) -> the new running_mean, running_var."""
    ### BEGIN SOLUTION
    count = x.shape[0] * x.shape[1] * x.shape[2]
    mean = x.mean((0, 1, 2))
    var = x.var((0, 1, 2)) * count / (count - 1)
    new_mean = (1 - momentum) * running_mean + momentum * mean
    new_var = (1 - momentum) * running_var + momentum * var
    return new_mean, new_var
    ### END SOLUTION


# %% tags=["check"]
check("04.2", update_running)

# %%
show_source(naive.finish_norm, docstring=False, after="04.2")

# %% [markdown]
# ## 5 · A variance that keeps its digits
#
# (Sections 5 and 6 are about computing all this fast and exactly. You may skip them at first.)
#
# There is a tempting formula that needs one pass over the data,
#
# $$
# v = \frac1m\sum_i x_i^2 - \mu^2 .
# \tag{4.15}
# $$
#
# On paper it equals (4.1). In float32, numbers carry a relative error of about
# $\varepsilon_{32} = 6\cdot 10^{-8}$. If the mean is large against the standard deviation, two
# nearly equal numbers of size $\mu^2$ are subtracted, and the error relative to $v$ is about
# $\varepsilon_{32}\,\mu^2/v$. At $\mu = 4000\,\sigma$ nothing is left, and the result may even be
# negative: $1/\sqrt v$ is then not a number.
#
# The library subtracts a shift near the mean first. With $d_i = x_i - s$ for **any** $s$,
#
# $$
# v = \frac1m \sum_i d_i^2 - (\mu - s)^2 ,
# \tag{4.16}
# $$
#
# which loses next to nothing if $s \approx \mu$: the second term is then tiny. Each block of the
# batch uses its own mean as shift, and blocks are joined in float64.

# %%
ratios = np.logspace(0, 5, 11)
errors = {"mean of squares minus square of mean": [], "the library": []}
for ratio in ratios:
    x = (ratio + rng.standard_normal((16, 16, 16, 1))).astype(np.float32)
    exact = x.astype(np.float64).var()
    one_pass = np.mean(x * x) - np.mean(x) ** 2
    ours = cpu.batch_moments(x)[1].item()
    errors["mean of squares minus square of mean"].append(abs(one_pass - exact) / exact)
    errors["the library"].append(abs(ours - exact) / exact)

# %% tags=["hide-input"]
figure = new_figure(6.4, 3.1, False)
axis = dress(
    figure.subplots(),
    colours,
    "Error of a float32 variance",
    "mean / standard deviation",
    "relative error",
)
for k, (name, values) in enumerate(errors.items()):
    axis.loglog(
        ratios,
        np.maximum(values, 1e-17),
        color=colours.colours[1 - k],
        marker="os"[k],
        markersize=4,
        linewidth=1.8,
        label=name,
    )
axis.loglog(
    ratios,
    6e-8 * ratios**2,
    color=colours.faint,
    linestyle="--",
    linewidth=1.2,
    label=r"$6\cdot10^{-8}\,\mu^2/v$",
)
axis.axhline(1, color=colours.grid, linewidth=1)
legend(axis, colours, loc="upper left")
figure

# %%
show_source(cpu.norm.block_moments)

# %% [markdown]
# ## 6 · ReLU, and why both are one kernel
#
# $$
# \mathrm{relu}(z) = \max(z, 0),
# \qquad
# \frac{d\,\mathrm{relu}}{dz} = \begin{cases} 1 & z > 0 \\ 0 & z < 0 . \end{cases}
# \tag{4.17}
# $$
#
# At $z = 0$ there is a corner and no derivative; the library takes $0$, as PyTorch does, and the
# gradient check of notebook 02 reports such entries as kinks. The backward pass is
# $g_z = g\,[z > 0]$. Since $z > 0$ exactly if the *output* is $> 0$, the input need not be kept.
#
# Batch norm centres the values of each channel at $\beta$. With $\beta = 0$ and values spread
# evenly to both sides, the ReLU after it sets half of them to zero, at every depth.
#
# In a pre-activation unit (notebook 07) batch norm and ReLU always come together, so the library
# has one operation for both, $y = \mathrm{relu}(\gamma \hat x + \beta)$. What must be kept for
# backward? The ReLU's mask is $y > 0$; then $g_i = g_{y_i}\,[y_i > 0]$ goes into (4.5) and (4.9),
# which need $\hat x$, that is $x$, `mean` and `inv_std`. So $x$ and $y$ are kept, but not the
# batch norm's own output; and $y$ is there anyway, as the input that the next convolution keeps.

# %%
x = tensor(rng.standard_normal((4, 6, 6, 8)), requires_grad=True)
gamma, beta = tensor(np.full(8, 1.3), True), tensor(np.linspace(-1, 1, 8), True)


def outcome(f):
    """Output and all gradients for one fixed cotangent."""
    for t in (x, gamma, beta):
        t.grad = None
    y = f(x, gamma, beta, np.zeros(8), np.ones(8), training=True)
    y.backward(np.random.default_rng(0).standard_normal(y.shape))
    return y.numpy(), x.grad, gamma.grad, beta.grad


two = outcome(lambda *args, **options: ops.relu(ops.batch_norm(*args, **options)))
one = outcome(ops.batch_norm_relu)
for name, a, b in zip(("y", "gx", "ggamma", "gbeta"), one, two):
    print(f"{name:6s} one kernel against two: {abs(a - b).max():.1e}")

active = (one[0] > 0).mean((0, 1, 2))
print("beta               ", *(f"{value:5.1f}" for value in beta.numpy()))
print("share that passes  ", *(f"{value:5.2f}" for value in active))

# %% [markdown]
# The CPU kernel goes one step further. It writes (4.9) as $g_{x} = a\, g + c_1 x + c_0$ with
# three numbers per channel, computed once: fewer passes over memory, which is what such a kernel
# waits for.

# %%
show_source(cpu.batch_norm_backward_input, after="04.1")

# %% [markdown]
# ## Summary
#
# - Batch norm shifts and scales each channel to mean 0 and variance 1 over batch and positions,
#   then applies the learned $\gamma$, $\beta$ (4.2).
# - It makes the layer before it blind to bias and scale; gradients are at right angles to weights
#   (4.4).
# - Backward takes out of the gradient its mean and its part along $\hat x$ (4.9, 4.10).
# - Evaluation uses running statistics (4.11) and is a different, simpler function (4.14).
# - Variances are computed about a shift near the mean (4.16).
# - With a ReLU after it, the sign of the output is the ReLU's mask, and one kernel does both.
#
# ## Questions
#
# 1. What is the gradient of batch norm in training if $g_i$ is the same for all $i$? And if
#    $g_i = \hat x_i$?
#
#    <details><summary>Answer</summary>
#
#    Zero in both cases (in the second up to $\varepsilon$): those are the two directions that
#    (4.10) removes.
#
#    </details>
#
# 2. A batch holds two values per channel, $x_1 \neq x_2$. What does batch norm output, and what
#    gradient comes back?
#
#    <details><summary>Answer</summary>
#
#    $\hat x = (\pm 1, \mp 1)$ whatever the values are. Nothing can be learned through it: in two
#    dimensions, removing two directions at right angles leaves nothing. $J$ has rank $m - 2$.
#
#    </details>
#
# 3. The weights of a convolution before a batch norm are multiplied by 10. What happens to the
#    output, and to the gradient of the weights?
#
#    <details><summary>Answer</summary>
#
#    The output stays. $L(10w) = L(w)$ gives $10\, L'(10 w) = L'(w)$: the gradient is ten times
#    smaller. In relation to the weights a step is a hundred times smaller: large weights learn
#    slowly. Notebook 06 takes this up under weight decay.
#
#    </details>
#
# 4. Why does the gradient in (4.9) use the sums of the *whole* batch when two processes share it?
#
#    <details><summary>Answer</summary>
#
#    $\mu$ and $v$ were taken over both shares, so each $x_j$ acted on all $\hat x_i$, those of
#    the other process too. The sums in (4.9) run over every value that the statistics ran over.
#
#    </details>
#
# 5. Why is there no batch norm directly before the sigmoid of a mask (notebook 08)?
#
#    <details><summary>Answer</summary>
#
#    It would fix the mean and the spread of what enters the sigmoid, over the batch: each
#    channel's mask would be forced to be half open on average (with $\beta = 0$), and whether it
#    opens for one image would depend on the others. The authors' files have none there.
#
#    </details>
#
# ## References
#
# - S. Ioffe and C. Szegedy, *Batch normalization*, ICML 2015, arXiv:1502.03167.
# - S. Santurkar et al., *How does batch normalization help optimization?*, NeurIPS 2018,
#   arXiv:1805.11604.
# - T. van Laarhoven, *L2 regularization versus batch and weight normalization*, arXiv:1706.05350:
#   on (4.4).
# - T. Chan, G. Golub and R. LeVeque, *Algorithms for computing the sample variance*, The American
#   Statistician, 1983.
# - In the library: `minran/backend/naive/norm.py`, `minran/backend/cpu/norm.py`,
#   `minran/ops/norm.py`.
