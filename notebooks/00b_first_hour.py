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
#     number: 00b
#     seconds: 40
#     minutes: 60
# ---

# %% [markdown]
# # 00b · The first hour
#
# **You will be able to**
#
# - write a linear classifier, train it and read its loss curve;
# - build a small convolutional network, and say what its windows cannot see;
# - paint a mask by hand and watch the logits change;
# - let the network learn the mask, with both gates of the paper, over several seeds, and compare
#   it with baselines;
# - say what every word of notebook 00 means;
# - say where this attention stands compared with SE, CBAM and self-attention.
#
# **Time**: 60 minutes to read and do; runs in 40 seconds on 2 cores.
# **Needs**: Python, NumPy, and a look at notebook 00. How gradients are computed comes in
# notebook 01; here `loss.backward()` does it.

# %% tags=["setup"]
import numpy as np

from minran import nn, no_grad, ops, optim, tensor
from minran.backend import naive
from minran.course import check, framed_signs, show_source
from minran.inspect.masks import _judge
from minran.inspect.style import colour_bar, dress, legend, new_figure, show, theme

SIGNS = ("ring", "plus", "saltire", "tee")
colours = theme()

# %% [markdown]
# ## 1 · The task
#
# An **image** is an array of numbers, rows × columns × **channels**: a colour photograph has three
# channels, ours have one. Each image shows three different signs of four kinds, and one of them
# is framed. The **class** of the image, its **label**, is the kind of the framed sign. The other
# two are **distractors**. So we know which positions count, and can check whether a network does.
#
# The images are made by the course; nothing is downloaded. 4,000 are for training; 1,000 others,
# the **test images**, are never trained on. All results below are for them.

# %%
train, test = framed_signs(4000), framed_signs(1000, seed=1)
print("images", train.images.shape, "labels", train.labels[:8])

# %% tags=["hide-input"]
figure = new_figure(9.4, 2.4, False)
for axes, index in zip(figure.subplots(1, 5), range(5), strict=True):
    drawn = show(
        axes, test.images[index, ..., 0], colours, SIGNS[test.labels[index]], cmap="gray", vmin=-0.4
    )
figure

# %% [markdown]
# Somebody who sees the three signs and does not know which counts is right in one image of three.
#
# ## 2 · A linear classifier
#
# A **classifier** gives each class a number, its **logit**; the largest is the answer. The
# simplest one writes the $P$ pixels of an image in a row, $x$, and multiplies each by a weight for
# each of the $K$ classes:
#
# $$
# z = x\,W + b, \qquad W \in \mathbb{R}^{P \times K},\; b \in \mathbb{R}^K .
# \tag{0.1}
# $$
#
# $W$ and $b$ are its **parameters**, the numbers that training changes. The **softmax** turns
# logits into probabilities, $p_k = e^{z_k} / \sum_j e^{z_j}$. The **loss** is one number that says
# how wrong they are: the mean over images of $-\log p_y$, where $y$ is the label (the
# **cross-entropy**). Guessing among four classes costs $\log 4 \approx 1.39$, among three
# $\log 3 \approx 1.10$, and sure and right answers cost 0.
#
# **Task 00b.1.** Write (0.1) for a batch of images, as arrays.


# %% tags=["exercise"]
# Task 00b.1: the logits of a linear classifier
def linear_logits(x, weights, bias):
    """(N, H, W, C), (H·W·C, K), (K,) -> logits (N, K)."""
    ### BEGIN SOLUTION
    return x.reshape(len(x), -1) @ weights + bias
    ### END SOLUTION


# %% tags=["check"]
check("00b.1", linear_logits)

# %%
show_source(naive.linear, docstring=False, after="00b.1")

# %% [markdown]
# **Training** repeats four lines: take a few images (a **batch**), compute the loss, compute its
# **gradient** (for each parameter, how the loss changes with it), and move each parameter a little
# against its gradient. How little is the **learning rate**, here 0.05; the **momentum** keeps a
# part of the steps before (notebook 06). A **seed** fixes all that is random: the parameters at
# the start and the order of the images.


# %%
class Linear(nn.Module):
    def __init__(self, rng):
        self.fc = nn.Linear(20 * 20, 4, rng=rng)

    def forward(self, x, mask=None):
        return self.fc(x.reshape(len(x), -1))


def logits(model, images, masks=None):
    return model(tensor(images), None if masks is None else tensor(masks))


def fit(model, seed, masks=None, steps=200, batch=16):
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    rng, losses = np.random.default_rng(seed), []
    for _ in range(steps):
        chosen = rng.integers(0, len(train.images), batch)
        given = None if masks is None else masks[chosen]
        loss = ops.cross_entropy(logits(model, train.images[chosen], given), train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(model, masks=None):
    with no_grad():
        answers = logits(model, test.images, masks).numpy().argmax(axis=1)
    return np.mean(answers == test.labels)


# %%
SEEDS = range(4)


def experiment(make, train_masks=None, test_masks=None):
    """For each seed: a trained model, its losses, its accuracy on the test images."""
    models = [make(np.random.default_rng(seed)) for seed in SEEDS]
    losses = [fit(model, seed, train_masks) for seed, model in zip(SEEDS, models, strict=True)]
    return models, losses, [accuracy(model, test_masks) for model in models]


def report(name):
    print(f"{name:24}" + "".join(f"{100 * one:7.1f}" for one in results[name][2]))


results = {"linear": experiment(Linear)}
print("right on the test images, %, by seed")
report("linear")

# %% [markdown]
# That is at or below guessing among the three. A weight belongs to a *position*: it cannot
# know "a ring, wherever it is".
#
# ## 3 · A small convolutional network
#
# A **convolution** uses the same weights everywhere. Each output number is computed from a small
# window of the input, here 3×3; the window slides over all positions. Eight sets of weights make
# eight outputs at each position: an array of **features** with eight channels, in which each
# channel is a map that responds to one kind of pattern (notebook 03). The **ReLU**, $\max(z, 0)$,
# sets negative responses to zero. A **pool** then makes maps smaller by taking the largest or the
# mean of each window; here the window is the whole map, and the largest value of each channel
# stays: "is there such a pattern anywhere?" A linear layer makes logits of those eight numbers.
#
# The argument `mask` is for later.


# %%
class Small(nn.Module):
    def __init__(self, rng, learning="naive", window=3, looks=False):
        self.learning = learning
        self.conv = nn.Conv2d(1, 8, window, padding=window // 2, bias=True, rng=rng)
        self.fc = nn.Linear(8, 4, rng=rng)
        self.look = nn.Conv2d(1, 1, 9, padding=4, bias=True, rng=rng) if looks else None

    def forward(self, x, mask=None):
        features = ops.relu(self.conv(x))  # T
        if self.look is not None:
            mask = ops.sigmoid(self.look(x))  # M
        if mask is not None:
            features = (mask if self.learning == "naive" else 1 + mask) * features  # H
        return self.fc(features.max(axis=(1, 2)))


results["no mask"] = experiment(Small)
for name in results:
    report(name)


# %% tags=["hide-input"]
def loss_curves(names):
    figure = new_figure(7.2, 3.2, False)
    axes = dress(figure.subplots(), colours, "", "step", "training loss, mean of 20 steps")
    for index, name in enumerate(names):
        for losses in results[name][1]:
            smooth = np.convolve(losses, np.ones(20) / 20, "valid")
            label = name if losses is results[name][1][0] else None
            axes.plot(np.arange(20, 201), smooth, color=colours.line(index), lw=1.4, label=label)
    axes.axhline(np.log(3), color=colours.faint, ls=":", lw=1.2)
    axes.annotate("log 3: one of three", (200, np.log(3)), (0, 3), textcoords="offset points",
                  ha="right", color=colours.faint, fontsize=8.5)  # fmt: skip
    axes.set_ylim(bottom=-0.03)
    legend(axes, colours, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


loss_curves(("linear", "no mask"))

# %% [markdown]
# A **loss curve** shows the loss at each step, here a line for each seed. The network learns a
# little, and however long it is trained it cannot get below $\log 3$ on new images. Two empty
# pixels lie between a sign and its frame, so no 3×3 window sees both. The pool then forgets where
# things were. Move the frame to another sign: apart from the noise, the same windows are in the
# image, so the same eight numbers come out. The network can learn which three signs are there, and
# not which of them counts.
#
# ## 4 · Paint a mask
#
# A **mask** $M$ has a number from 0 to 1 for each position. The **gate** multiplies the features
# $T$ at each position by it, $H = M\,T$ (**naive**, Eq. 1), or by one more than it,
# $H = (1 + M)\,T$ (**residual**, Eq. 3). In this section the network is the one above, trained
# without any mask, and it is not trained further.
#
# **Task 00b.2.** Paint a mask for the image below: ones on the framed sign (and one pixel around
# it), zeros on the others. `painted[4:9, 2:5] = 1` paints rows 4 to 8, columns 2 to 4.

# %% tags=["hide-input"]
image, label = test.images[10:11], test.labels[10]
figure = new_figure(4.6, 4.4, False)
axes = figure.subplots()
show(axes, image[0, ..., 0], colours, cmap="gray", vmin=-0.4)
axes.set_xticks(range(20), range(20))
axes.set_yticks(range(20), range(20))
axes.set_xticks(np.arange(20) - 0.5, minor=True)
axes.set_yticks(np.arange(20) - 0.5, minor=True)
axes.grid(which="minor", color=colours.faint, lw=0.4)
axes.tick_params(labelsize=7.5, colors=colours.faint)
axes.tick_params(which="minor", length=0)
axes.set_xlabel("column", color=colours.text, fontsize=9)
axes.set_ylabel("row", color=colours.text, fontsize=9)
figure

# %% tags=["exercise"]
# Task 00b.2: paint a mask of 20x20 numbers from 0 to 1
### BEGIN SOLUTION
painted = np.zeros((20, 20))
painted[3:8, 13:18] = 1
### END SOLUTION

# %% tags=["check"]
check("00b.2", painted)

# %% [markdown]
# The logits of the image without a mask, with yours, and with a mask that is 1 in the middle of
# the image. The naive gate is used. Change `painted`, run the cells again, and watch: open a
# second sign, close the right one, write 0.5 in place of 1.

# %%
plain = results["no mask"][0][-1]
centre = np.zeros((20, 20))
centre[5:15, 5:15] = 1
rows = {"no mask": None, "your mask": painted, "centre mask": centre}
print("logits          ", "".join(f"{sign:>9}" for sign in SIGNS), f"  (framed: {SIGNS[label]})")
hand = {}
for name, mask in rows.items():
    given = None if mask is None else np.asarray(mask, np.float32).reshape(1, 20, 20, 1)
    with no_grad():
        hand[name] = logits(plain, image, given).numpy()[0]
    print(f"{name:16}", "".join(f"{value:9.2f}" for value in hand[name]))

# %% tags=["hide-input"]
figure = new_figure(9.4, 3.9, False)
grid = figure.subplots(2, 3, gridspec_kw={"height_ratios": (1.1, 1)})
for above, below, (name, mask) in zip(*grid, rows.items(), strict=True):
    shade = np.ones((20, 20)) if mask is None else np.asarray(mask, float)
    show(above, image[0, ..., 0], colours, name, cmap="gray", vmin=-0.4)
    above.imshow(np.zeros((20, 20)), cmap="gray", alpha=0.75 * (1 - shade), vmin=0, vmax=1)
    dress(below, colours, "", "", "logit" if name == "no mask" else "")
    paint = [colours.line(1 if kind == label else 0) for kind in range(4)]
    below.bar(SIGNS, hand[name], color=paint)
    below.set_ylim(min(map(np.min, hand.values())) - 0.5, max(map(np.max, hand.values())) + 0.5)
    below.axhline(0, color=colours.faint, lw=0.8)
figure

# %% [markdown]
# Darkened: what the mask takes away. Orange: the sign that is framed. A pool takes the largest
# response, so what the mask hides no longer takes part. Is this one lucky image? Here is the same
# network, for each seed, with the true mask painted for all test images. Only the masks are new;
# no parameter was changed.

# %%
print("trained without a mask, tested with  %, by seed")
middle = np.broadcast_to(centre.reshape(1, 20, 20, 1), test.masks.shape).astype(np.float32)
for name, masks in {"none": None, "the centre": middle, "the true mask": test.masks}.items():
    found = [accuracy(model, masks) for model in results["no mask"][0]]
    print(f"{name:36}" + "".join(f"{100 * one:7.1f}" for one in found))

# %% [markdown]
# With the true mask all networks are better, and differently so: they were never trained to tell
# one sign from nothing. The next ones are trained with masks.
#
# **Task 00b.3.** Write the gate and the pool of `Small.forward` with NumPy.


# %% tags=["exercise"]
# Task 00b.3: the gate, then the largest value of each channel
def gate_and_pool(mask, trunk, learning):
    """M (N, H, W, 1), T (N, H, W, C), "naive" or "residual" -> (N, C)."""
    ### BEGIN SOLUTION
    factor = mask if learning == "naive" else 1 + mask
    return (factor * trunk).max(axis=(1, 2))
    ### END SOLUTION


# %% tags=["check"]
check("00b.3", gate_and_pool)

# %%
show_source(naive.gate, docstring=False, after="00b.3")

# %% [markdown]
# ## 5 · Learn the mask
#
# Now the network makes the mask itself: one convolution with a window of 9×9, which can see a
# whole frame, and a **sigmoid**, $1/(1 + e^{-z})$, which makes a number between 0 and 1. In
# `Small` that is the line with `self.look`. Nobody tells it where the signs are; the loss of the
# labels alone trains it, through the gate.
#
# Before you run the next cell, predict: which of the two gates, naive or residual, gives more
# right answers here? With $M = 1$ on the framed sign and 0 elsewhere, naive removes the
# distractors; residual only halves them against the framed sign.
#
# The rows to compare with (**baselines**): no mask; a mask that is always the centre; the true
# mask in training and in test; and no mask, but features with windows of 9×9, which can see sign
# and frame at once.

# %%
middles = np.broadcast_to(centre.reshape(1, 20, 20, 1), train.masks.shape).astype(np.float32)
results |= {
    "centre mask": experiment(Small, middles, middle),
    "true mask, naive": experiment(Small, train.masks, test.masks),
    "true mask, residual": experiment(lambda rng: Small(rng, "residual"), train.masks, test.masks),
    "learned, naive": experiment(lambda rng: Small(rng, "naive", looks=True)),
    "learned, residual": experiment(lambda rng: Small(rng, "residual", looks=True)),
    "no mask, windows of 9×9": experiment(lambda rng: Small(rng, window=9)),
}
print("right on the test images, %, by seed          parameters")
for name, (models, _, found) in results.items():
    numbers = "".join(f"{100 * one:7.1f}" for one in found)
    print(f"{name:24}{numbers} {models[0].num_parameters():10,}")

# %%
loss_curves(("learned, naive", "learned, residual", "no mask, windows of 9×9"))

# %% [markdown]
# Both learned masks come close to what the true mask reaches, on every seed; the centre is no
# better than no mask. Two things follow that are easily overlooked:
#
# - **With one gate, these seeds do not tell naive and residual apart.** Half a distractor
#   is weak enough. What the 1 does when many gates follow each other is the subject of notebook 09.
# - **A mask was not necessary**: windows of 9×9 solve the task, too, with more parameters. What was
#   necessary is that something sees the frame and the sign. A mask is a cheap way: one map, which
#   all channels share.
#
# ## 6 · Look at the masks, and score them
#
# All maps are on one scale, 0 to 1.


# %%
def masks_of(model, images):
    with no_grad():
        return ops.sigmoid(model.look(tensor(images))).numpy()


learned = {
    how: [masks_of(model, test.images) for model in results[f"learned, {how}"][0]]
    for how in ("naive", "residual")
}
print("lowest to highest value of the masks, all test images, by seed")
for how, found in learned.items():
    print(f"{how:10}", "   ".join(f"{one.min():.2f} to {one.max():.2f}" for one in found))

# %% tags=["hide-input"]
figure = new_figure(9.4, 4.7, False)
grid = figure.subplots(3, 6)
for row, index in zip(grid, (5, 0, 2), strict=True):
    panels = {
        "image": test.images[index],
        "true mask": test.masks[index],
        "naive, seed 0": learned["naive"][0][index],
        "naive, seed 1": learned["naive"][1][index],
        "residual, seed 0": learned["residual"][0][index],
        "residual, seed 1": learned["residual"][1][index],
    }
    for axes, (name, values) in zip(row, panels.items(), strict=True):
        look = {"cmap": "gray", "vmin": -0.4} if name == "image" else {"cmap": "inferno", "vmin": 0}
        title = name if index == 5 else ""
        drawn = show(
            axes, values[..., 0], colours, title, vmax=None if name == "image" else 1, **look
        )
colour_bar(figure, drawn, grid, colours, "mask, 0 to 1")
figure

# %% [markdown]
# **Task 00b.4.** A simple score, the **pointing game**: the share of images whose mask is highest
# at a position within the true mask.


# %% tags=["exercise"]
# Task 00b.4: how often the highest value of a mask lies in the true mask
def pointing(masks, true):
    """masks, true (N, H, W, 1) -> a number from 0 to 1; `true` holds 0 and 1."""
    ### BEGIN SOLUTION
    positions = masks.reshape(len(masks), -1).argmax(axis=1)
    return true.reshape(len(true), -1)[np.arange(len(true)), positions].mean()
    ### END SOLUTION


# %% tags=["check"]
check("00b.4", pointing)

# %%
show_source(_judge, after="00b.4")

# %% [markdown]
# The baseline points at one position in all images: the one that is most often right. The other
# baseline is a mask that has not been trained.

# %%
print("highest within the true mask, %, by seed")
scores = {how: [pointing(one, test.masks) for one in found] for how, found in learned.items()}
fresh = [Small(np.random.default_rng(seed), looks=True) for seed in SEEDS]
scores["not trained"] = [pointing(masks_of(model, test.images), test.masks) for model in fresh]
scores["best fixed position"] = [test.masks.mean(axis=0).max()]
for name, found in scores.items():
    print(f"{name:22}" + "".join(f"{100 * one:7.1f}" for one in found))

# %% [markdown]
# The pointing game asks where a mask is highest. More direct: where does the pooled number come
# from that the last layer reads? For each image and channel, the position of the largest gated
# feature: is it in a window that touches the framed sign, one of the other two, or neither?


# %%
def sources(model):
    """The shares of pooled numbers that come from the framed sign, and from the other two."""
    with no_grad():
        features = ops.relu(model.conv(tensor(test.images))).numpy()
    if model.look is not None:
        mask = masks_of(model, test.images)
        features *= mask if model.learning == "naive" else 1 + mask
    positions = features.reshape(len(features), 400, 8).argmax(axis=1)
    at = np.stack(np.divmod(positions, 20), axis=2)[:, :, None]  # image, channel, 1, (row, column)
    away = np.abs(at - (test.corners + 1)[:, None]).max(axis=3)
    framed, *others = (away <= 2).mean(axis=(0, 1))
    return framed, sum(others)


print("from the framed sign / from the other two, %, by seed")
for name in ("no mask", "learned, naive", "learned, residual"):
    pairs = [sources(model) for model in results[name][0]]
    print(f"{name:18}" + "".join(f"{100 * a:8.0f} / {100 * b:2.0f}" for a, b in pairs))

# %% tags=["hide-input"]
figure = new_figure(9.4, 3.4, False)
left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.05})
bars = {name: found for name, (_, _, found) in results.items()}
for axes, title, rows in ((left, "Right answers", bars), (right, "Pointing", scores)):
    dress(axes, colours, title, "% of the test images; a dot for each seed", "")
    for height, (name, found) in enumerate(rows.items()):
        paint = colours.line(1 if name.removeprefix("learned, ") in learned else 0)
        axes.plot(100 * np.array(found), [height] * len(found), "o", color=paint, alpha=0.7)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlim=(-4, 104), ylim=(len(rows) - 0.5, -0.5))
left.axvline(100 / 3, color=colours.faint, ls=":", lw=1.2)
figure

# %% [markdown]
# The dotted line is one of three. Three things to see:
#
# - **The gates act as their equations say**, on every seed: after the naive gate fewer of the
#   pooled numbers come from the distractors than after the residual one, which can at best halve
#   them against the framed sign. Both are enough here.
# - **Masks that work need not look like the true mask.** They are bright on lines of the frame and
#   dark on signs without one. Some point into the true mask less often than one of the masks that
#   were never trained, and their networks are right nearly always.
# - So **a score of where a mask points does not measure what it does**. In notebook 00 the means of
#   the masks were even lower on the object; notebook 13 comes back to this, and replaces masks.
#
# ## 7 · The words
#
# | word | meaning | more in |
# |---|---|---|
# | **class**, **label** | one of the kinds to tell apart; the right one of an image | here |
# | **classifier** | turns an image into a logit for each class | here |
# | **logits** | a number for each class; the largest is the answer | 06 |
# | **probabilities** | logits after the softmax: positive, with the sum 1 | 06 |
# | **loss** | one number that says how wrong the answers are | 06 |
# | **gradient** | how the loss changes with each number that it depends on | 01 |
# | **parameter** | a number that training changes | 01 |
# | **linear layer** | outputs are sums of all inputs, each times a weight | 01 |
# | **convolution** | each output number is computed from a small window of the input | 03 |
# | **1×1 convolution** | a linear layer over channels, the same at each position | 03 |
# | **channel** | one map of an array of features (or one colour of an image) | 03 |
# | **features** | arrays of height × width × channels inside a network | here |
# | **ReLU** | $\max(z, 0)$ for each number | 04 |
# | **batch norm** | moves and scales each channel to mean 0 and variance 1 | 04 |
# | **pool** | makes a map smaller: the largest, or the mean, of each window | 05 |
# | **interpolation** | makes a map larger: new values between the old ones | 05 |
# | **sigmoid** | $1/(1 + e^{-z})$, a number between 0 and 1 | 10 |
# | **residual unit** | a few layers $F$ whose output is added to their input: $x + F(x)$ | 07 |
# | **residual network** | a network made of residual units | 07 |
# | **stem** | the first layers: channels are made of colours | 11 |
# | **stage** | layers that work at one size of map; the next stage has half of it | 11 |
# | **tail** | the last residual units, without attention | 11 |
# | **trunk** | the branch of a module that computes features, $T$ | 08 |
# | **mask** | the branch that computes a weight for each feature, $M$; also these weights | 08 |
# | **gate** | joins them: $H = M\,T$ or $H = (1 + M)\,T$ | 09 |
# | **attention module** | trunk, mask and gate, with residual units before and after | 08 |
# | **module** | a part of a network with a name: a layer, or several | 00 |
# | **training**, **test images** | those that parameters are fitted to; others, to judge | here |
# | **seed** | fixes all that is random | 14 |
# | **baseline** | the simplest thing that a result is compared with | 13 |
# | **checkpoint** | a file with all parameters at one moment of the training | 12 |
# | **correlation** | from −1 to 1: do two maps rise and fall at the same positions? | 13 |
#
# ## 8 · Where this attention stands
#
# All four compute weights from the features themselves, and multiply. They differ in what gets a
# weight of its own. A map has $H \times W$ positions and $C$ channels; the last column is for
# $16 \times 16 \times 64$.
#
# | | a weight for each | computed from | acts as | how many | |
# |---|---|---|---|---|---:|
# | **SE** (2018) | channel | mean of each channel, two layers | $s\,u$ | $C$ | 64 |
# | **CBAM** (2018) | channel; then position | means and maxima | $s\,u$, twice | $C + HW$ | 320 |
# | **here** (2017) | position and channel | a branch of its own | $(1 + M)\,T$ | $HWC$ | 16,384 |
# | **self-attention** (2017) | pair of positions | products | weighted mean | $(HW)^2$ | 65,536 |
#
# The first three make their weights with a sigmoid, each by itself. Self-attention compares the
# features of two positions by a scalar product, and a softmax over all positions makes the weights
# of a mean add up to one; the mean is added to the input of the block (Wang et al., 2018, for
# images).
#
# In our toy the mask has one weight for each position, shared by all channels: the second half of
# CBAM, with either gate. SE alone could not solve the task with these features: after its mean
# over positions it does not know where anything is. Self-attention moves features from one
# position to others, which the other three cannot do: they only make them larger or smaller where
# they are. Which of them is best is not decided by this table; notebook 18 compares some of them
# by cost.
#
# ## Summary
#
# - A linear classifier knows positions, a convolution knows patterns; neither knows which of three
#   signs counts.
# - A mask multiplies the features of each position. It can be painted, and it can be learned from
#   labels alone.
# - On this task naive and residual gates do about equally well, and so does a network
#   without a mask that has wider windows. One gate, one task, four seeds: no more than that.
# - An image of a mask needs its scale, its range and a baseline.
#
# ## Questions
#
# 1. Why can the network without a mask be right in a third of the images, and not only in a
#    quarter?
#
# <details><summary>Answer</summary>
#
# It sees which three kinds of signs are there, and so excludes the fourth. Then it guesses among
# three.
#
# </details>
#
# 2. With the naive gate and $M = 0.5$ everywhere, do the answers change? And with the residual
#    gate and $M = 0$?
#
# <details><summary>Answer</summary>
#
# Naive: every feature is halved, so are the numbers after the pool, and so are the logits except
# for the bias of the last layer. Without that bias the answers would stay the same. Residual with
# $M = 0$: nothing changes at all, $H = T$.
#
# </details>
#
# 3. The pool takes the mean instead of the largest value. What changes for the residual gate with
#    the true mask?
#
# <details><summary>Answer</summary>
#
# The distractors then add their share to the mean at half the weight of the framed sign (per
# position), and never disappear; the linear layer must tell "twice a ring and once a plus" from
# "once a ring and twice a plus". It can, but the differences are smaller. With the naive gate only
# the framed sign is left.
#
# </details>
#
# 4. Somebody shows you three images whose masks are bright on the object. What do you ask?
#
# <details><summary>Answer</summary>
#
# Over all test images? On which scale, from which lowest to which highest value? How does a mask
# do that is always the centre, or one that was never trained? Over how many seeds? And what does
# the network lose if the mask is replaced?
#
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: Eq. 1 and 3.
# - J. Hu, L. Shen, G. Sun, *Squeeze-and-Excitation Networks*, CVPR 2018, arXiv:1709.01507.
# - S. Woo, J. Park, J.-Y. Lee, I. S. Kweon, *CBAM: Convolutional Block Attention Module*, ECCV
#   2018, arXiv:1807.06521.
# - A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017, arXiv:1706.03762; for images
#   X. Wang, R. Girshick, A. Gupta, K. He, *Non-local Neural Networks*, CVPR 2018, arXiv:1711.07971.
# - J. Zhang et al., *Top-down Neural Attention by Excitation Backprop*, ECCV 2016,
#   arXiv:1608.00507: the pointing game.
