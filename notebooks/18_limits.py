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
#     number: 18
#     seconds: 55
#     minutes: 75
# ---

# %% [markdown]
# # 18 · Limits of the design
#
# **You will be able to**
#
# - say what a 3-D mask costs, in parameters, in work and in time;
# - tell how far a mask *can* see from how far it *does* look;
# - write a squeeze-and-excitation gate and say what it gives up;
# - design a gate of your own that costs a tenth of a mask, and put it into the network;
# - compare networks after a short training without fooling yourself.
#
# **Time**: 75 minutes to read and do; runs in 55 seconds on 2 cores.
# **Needs**: notebooks 08 (soft mask), 10 (attention activations) and 11 (counting).

# %% tags=["setup"]
import numpy as np

from minran import create_model, inspect, nn, no_grad, ops, optim, tensor
from minran.course import (
    SqueezeExciteParts,
    bars_figure,
    check,
    cost,
    influence_figure,
    replace_masks,
    seconds_of,
    show_source,
)
from minran.data import load_shapes
from minran.inspect.style import dress, legend, new_figure, theme
from minran.train import load_pretrained

colours = theme()

# %% [markdown]
# ## 1 · What a mask costs
#
# A mask gives a weight to **every number** of the trunk: for each image and module a volume of
# $H \times W \times C$ weights, hence *3-D*. To compute it the network runs an hourglass of units
# as wide as the trunk, and two convolutions from $C$ to $C$ channels at full size.
#
# `inspect.summary` counts both parts. Before you run the next cell, predict: in which stage has the
# mask the largest share of the module's parameters, and how large is it?

# %%
summary = inspect.summary(create_model("attention56_cifar"))
panels = {"Parameters": {}, "Multiply-adds": {}}
for stage in range(3):
    rows = summary.rows
    names = (f"stages.{stage}", f"stages.{stage}.1.mask.body", f"stages.{stage}.1.mask.head")
    for title, number in (("Parameters", "parameters"), ("Multiply-adds", "multiply_adds")):
        whole, body, head = (getattr(rows[name], number) / 1e6 for name in names)
        panels[title][f"stage {stage + 1}"] = (whole - body - head, body, head)

print(f"masks: {summary.mask_parameters / summary.parameters:.0%} of the parameters,", end=" ")
print(f"{summary.mask_multiply_adds / summary.multiply_adds:.0%} of the multiply-adds")
bars_figure(
    panels,
    ("trunk and units around it", "hourglass", "head"),
    {"Parameters": "millions", "Multiply-adds": "millions for one image"},
)

# %% [markdown]
# In stage 1 the mask has two thirds of the parameters, in stage 3 two fifths. And multiply-adds are
# not time. The units of a deep mask run on maps of 16, 8, 4 rows: little to do, and the overhead of
# a call each time (notebook 17). Measure a training step with masks, with
# three local units in the place of the hourglass (Table 4), and without.

# %%
rng = np.random.default_rng(0)
few = tensor(rng.standard_normal((8, 32, 32, 3)).astype(np.float32))
kinds = {
    name: create_model("attention56_cifar", mask=name) for name in ("hourglass", "local", "none")
}


def step_of(model):
    return lambda: ops.cross_entropy(model(few), np.arange(8)).backward()


times = {name: seconds_of(step_of(model), rounds=3) for name, model in kinds.items()}
work = {name: inspect.summary(model).multiply_adds for name, model in kinds.items()}
print("mask        one step of 8   multiply-adds of one image")
for name, seconds in times.items():
    print(f"{name:10} {1e3 * seconds:9.0f} ms {work[name] / 1e6:16.0f} M")
print(f"without masks: {1 - times['none'] / times['hourglass']:.0%} less time,", end=" ")
print(f"{1 - work['none'] / work['hourglass']:.0%} less work")

# %% [markdown]
# So masks are not free depth, and a comparison has to say what is held equal. The paper's abstract
# counts both: 46% of the *trunk* depth and 69% of the forward *FLOPs* of ResNet-200. A comparison
# that gives the same parameters or multiply-adds to a network without masks, over several seeds, is
# what would show that masks are worth their cost. `minran ablate cost` makes it in small
# (`docs/results/equal-cost`): on the built-in shapes the masks were ahead of a deeper trunk after 4
# epochs, and no longer after 16; on CIFAR-10, with five seeds, no difference was shown. That is not
# the same as no difference: the margin there is 1.5 points of error.
#
# ## 2 · How far a mask sees, and how far it looks
#
# Notebook 08 measured the receptive field: every mask of Attention-56 can see the whole image.
# Some summaries of the paper say that it "does not use global information". Let $m$ be the mask's
# value in the middle, summed over channels. The influence of pixel $(i, j)$ is
#
# $$
# g_{ij} = \mathrm{E}_x \sum_c \Big| \frac{\partial m}{\partial x_{ijc}} \Big| .
# \tag{18.1}
# $$
#
# The *receptive field* is where $g > 0$. The **effective** field is where most of it lies. For a
# fresh network and random images:

# %%
reaches = inspect.mask_reach(create_model("attention56_cifar"), pictures=3)
for reach in reaches:
    print(reach)
influence_figure(reaches)

# %% [markdown]
# A global average (dashed) gives every pixel the same influence: half of it lies within a square of
# 23 pixels. For the masks it takes one of 18 to 21: they prefer what is near, but not by much. So
# reach is not the limit, on images of 32 pixels. What is true: *no step* of the mask looks at the
# whole map at once; what is far comes in through many steps.
#
# Does training change that? Compare the network of the quickstart, which is smaller, with networks
# of its shape before any training. The side of the square with half of the influence:

# %%
shape = {"stem_width": 16, "widths": (16, 48, 96), "tail_width": 96}
compared = {"trained, seed 0": load_pretrained("quickstart")[0]}
for seed in range(3):
    compared[f"fresh, seed {seed}"] = create_model("attention_small_cifar", seed=seed, **shape)
for name, network in compared.items():
    halves = []
    for reach in inspect.mask_reach(network, pictures=3):
        rows, columns = (np.abs(np.arange(n) - n // 2) for n in reach.gradient.shape)
        ring = np.maximum(rows[:, None], columns).ravel()
        within = np.cumsum(np.bincount(ring, weights=reach.gradient.ravel()))
        halves.append(np.interp(0.5, within / within[-1], 2 * np.arange(len(within)) + 1))
    print(f"{name:16}" + "".join(f"  stage {k}: {side:4.1f}" for k, side in enumerate(halves, 1)))

# %% [markdown]
# Compare the first line with the spread of the others, stage by stage; one trained network cannot
# show more than a tendency. A mask at full resolution, on the other hand, knows *where* something
# is. That is what its cost buys. Which of the two does a classifier need?
#
# ## 3 · The other extreme: one weight for each channel
#
# Squeeze-and-excitation (Hu et al., one year after this network) takes the cheapest global view
# there is. *Squeeze*: the mean of each channel. *Excite*: two small linear layers, from $C$ to
# $C/\rho$ and back, with a ReLU between them.
#
# $$
# z_c = \frac{1}{HW} \sum_{ij} u_{ijc}, \qquad
# s = \sigma\big(W_2\,\mathrm{relu}(W_1 z + b_1) + b_2\big) \in (0, 1)^C .
# \tag{18.2}
# $$
#
# $s$ weighs whole channels, the same at every position. It has
#
# $$
# P = 2\,\frac{C^2}{\rho} + \frac{C}{\rho} + C, \qquad A = 2\,\frac{C^2}{\rho}
# \tag{18.3}
# $$
#
# parameters and multiply-adds. **$A$ does not grow with the map**: after the mean there is one
# position left. The backward pass needs nothing new: $\partial z_c / \partial u_{ijc} = 1/HW$, and
# all the rest are layers that you know.
#
# **Task 18.1.** Write (18.3), as a pair. `size` is the height and width of the map.


# %% tags=["exercise"]
# Task 18.1: what a squeeze-and-excitation gate costs
def squeeze_excite_cost(channels, size, reduction=4):
    """(parameters, multiply-adds for one image)."""
    ### BEGIN SOLUTION
    few = channels // reduction
    weights = 2 * channels * few
    return weights + few + channels, weights
    ### END SOLUTION


# %% tags=["check"]
check("18.1", squeeze_excite_cost)

# %%
show_source(cost, after="18.1")

# %%
print("stage   mask: parameters, multiply-adds     gate: parameters, multiply-adds")
model = create_model("attention56_cifar")
for stage, (size, channels) in enumerate(((32, 64), (16, 128), (8, 256))):
    mask = cost(model.stages[stage][1].mask, size, channels)
    gate = squeeze_excite_cost(channels, size, 16)
    print(f"{stage + 1:5} {mask[0]:12,} {mask[1]:16,} {gate[0]:20,} {gate[1]:14,}")

# %% [markdown]
# Thousands of times less work in stage 1. Now build it. The layers are there:

# %%
show_source(SqueezeExciteParts)

# %% [markdown]
# To replace a mask, its output must be a map of the size of $u$. `spread` is the bilinear
# interpolation of notebook 05: from *one* position it makes a constant map.
#
# **Task 18.2.** Write `forward`: (18.2), then `reshape` to $(N, 1, 1, C)$ and `self.spread(s, u)`.


# %% tags=["exercise"]
# Task 18.2: squeeze-and-excitation
class SqueezeExcite(SqueezeExciteParts):
    def forward(self, u):
        """(N, H, W, C) -> s (N, H, W, C), the same at every position, in (0, 1)."""
        ### BEGIN SOLUTION
        s = ops.sigmoid(self.expand(ops.relu(self.reduce(self.squeeze(u)))))
        return self.spread(s.reshape(len(u), 1, 1, -1), u)
        ### END SOLUTION


# %% tags=["check"]
check("18.2", SqueezeExcite)

# %% [markdown]
# In the network it replaces the mask; the gate stays Eq. 3, $H = (1 + s)\,T$:

# %%
show_source(replace_masks)

# %% [markdown]
# ## 4 · A test that tells them apart
#
# Grey out one corner of a map, and look where the gate changes. A mask should change most there; a
# channel gate changes everywhere by the same amount, or not at all. The mask is that of stage 1 of
# Attention-56, with depth 3, on a map of its own size.

# %%
u = rng.standard_normal((4, 32, 32, 64)).astype(np.float32)
changed = u.copy()
changed[:, :10, :10] = 0
mask = create_model("attention56_cifar").stages[0][1].mask.eval()
gates = {"mask (hourglass)": mask, "squeeze-and-excitation": SqueezeExcite(64, 4, rng)}
with no_grad():
    differences = {
        name: np.abs(gate(tensor(changed)).numpy() - gate(tensor(u)).numpy()).mean(axis=(0, 3))
        for name, gate in gates.items()
    }

# %% tags=["hide-input"]
figure = new_figure(7.2, 3.0, False)
for axes, (name, difference) in zip(figure.subplots(1, 2), differences.items(), strict=True):
    inspect.style.show(axes, difference, colours, name, cmap="viridis", vmin=0)
    axes.plot([-0.5, 9.5, 9.5], [9.5, 9.5, -0.5], color="w", lw=1.6)
    inspect.style.colour_bar(figure, axes.images[0], axes, colours, "mean change")
figure

# %% [markdown]
# The white line bounds what was greyed out. The scales differ: read their numbers. The mask changes
# most where the map did, and a little far from it.
#
# ## 5 · Your turn: a gate for a tenth of the price
#
# Between $H W C$ weights and $C$ there is much room. Design a gate that
#
# - makes a map of the shape of $u$ with values in $(0, 1)$;
# - depends on the position *and* on the channel;
# - sees the whole map from every position;
# - has at most a **tenth** of the parameters and of the multiply-adds of the mask that it replaces,
#   in all three stages of Attention-56;
# - has parameters, and every one of them gets a gradient.
#
# One idea: in (18.2), let the inner $C/\rho$ numbers be the sum of a global part and of a part
# computed at each position by a 1x1 convolution. Tensors of shapes $(N, H, W, K)$ and
# $(N, 1, 1, K)$ can be added. You may find a better one.
#
# **Task 18.3.** Write the class, from parts of `minran.nn`.


# %% tags=["exercise"]
# Task 18.3: a cheap gate that knows positions and sees everything
class CheapGate(nn.Module):
    def __init__(self, channels, rng):
        ### BEGIN SOLUTION
        few = max(channels // 16, 1)
        self.pool = nn.GlobalAvgPool()
        self.whole = nn.Linear(channels, few, rng=rng)
        self.local = nn.Conv2d(channels, few, 1, rng=rng)
        self.expand = nn.Conv2d(few, channels, 1, bias=True, rng=rng)
        ### END SOLUTION

    def forward(self, u):
        """(N, H, W, C) -> (N, H, W, C), in (0, 1)."""
        ### BEGIN SOLUTION
        whole = self.whole(self.pool(u)).reshape(len(u), 1, 1, -1)
        return ops.sigmoid(self.expand(ops.relu(self.local(u) + whole)))
        ### END SOLUTION


# %% tags=["check"]
check("18.3", CheapGate)

# %% [markdown]
# Put both into Attention-56 and count again:

# %%
networks = {
    "hourglass": create_model("attention56_cifar"),
    "yours": replace_masks(
        create_model("attention56_cifar"), lambda channels: CheapGate(channels, rng)
    ),
    "SE": replace_masks(
        create_model("attention56_cifar"), lambda channels: SqueezeExcite(channels, 16, rng)
    ),
    "none": create_model("attention56_cifar", mask="none"),
}
panels = {"Parameters": {}, "Multiply-adds": {}}
outside = inspect.summary(networks["none"])
for name, network in networks.items():
    counted = inspect.summary(network)
    for title, number in (("Parameters", "parameters"), ("Multiply-adds", "multiply_adds")):
        base = getattr(outside, number) / 1e6
        panels[title][name] = (base, getattr(counted, number) / 1e6 - base)
bars_figure(
    panels,
    ("without gates", "gates"),
    {"Parameters": "millions", "Multiply-adds": "millions for one image"},
)

# %% [markdown]
# ## 6 · Does it still work?
#
# A short training, to see whether they learn. **These images are the built-in shapes, not
# CIFAR**, and only three kinds of them: discs, rings and squares. The network is the smallest,
# `attention_nano`; it sees 60 batches. Two seeds each.
#
# Before you run the next cells, predict: which differs more, two kinds of gates or two seeds of one
# kind?


# %%
def three_kinds(part, count):
    """Pictures (around 0) and labels of discs, rings and squares."""
    found = load_shapes(part, count=count)
    chosen = found.labels < 3
    return ((found.images[chosen] - 110.0) / 64).astype(np.float32), found.labels[chosen]


train_x, train_y = three_kinds("train", 3000)
test_x, test_y = three_kinds("test", 1500)


def make(name, seed):
    generator = np.random.default_rng(seed)
    if name in ("hourglass", "none"):
        return create_model("attention_nano", 3, seed=seed, mask=name)
    model = create_model("attention_nano", 3, seed=seed)
    if name == "SE":
        return replace_masks(model, lambda channels: SqueezeExcite(channels, 4, generator))
    return replace_masks(model, lambda channels: CheapGate(channels, generator))


def short_training(model, seed, steps=60, batch=32):
    """(losses, accuracy on the test images)."""
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    order, losses = np.random.default_rng(seed).permutation(len(train_x)), []
    for number in range(steps):
        optimizer.lr = 0.1 * (1 - number / steps)
        chosen = np.take(order, range(number * batch, (number + 1) * batch), mode="wrap")
        loss = ops.cross_entropy(model(tensor(train_x[chosen])), train_y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with no_grad():
        guesses = model(tensor(test_x)).numpy().argmax(axis=1)
    return losses, float((guesses == test_y).mean())


results = {}
for name in ("hourglass", "yours", "SE", "none"):
    results[name] = [short_training(make(name, seed), seed) for seed in (0, 1)]
    accuracies = ", ".join(f"{accuracy:.0%}" for _, accuracy in results[name])
    print(f"{name:10} {make(name, 0).num_parameters():6,} parameters; test accuracy {accuracies}")
error = np.sqrt(0.25 / len(test_y))
print(f"guessing: 33%; standard error of {len(test_y)} test images: {error:.1%} at most")

# %% tags=["hide-input"]
figure = new_figure(6.4, 3.3, False)
axes = dress(figure.subplots(), colours, "", "step", "training loss, mean of 5 steps")
for index, (name, runs) in enumerate(results.items()):
    for losses, _ in runs:
        smooth = np.convolve(losses, np.ones(5) / 5, "valid")
        axes.plot(
            smooth,
            color=colours.colours[index],
            lw=1.5,
            label=name if losses is runs[0][0] else None,
        )
legend(axes, colours, loc="lower left")
figure

# %% [markdown]
# What may you conclude? What each costs, and that gradients pass through each of the gates. **Not
# which is best, and not that a gate helps at all**: compare the two seeds of one kind with the
# differences between the kinds, and find "none" among them. All of them are far from what longer
# training reaches. Notebook 14 says how many seeds a claim needs.
#
# What came later does not answer the question either. Squeeze-and-excitation won the ImageNet
# challenge of 2017 and is found in many networks since; the 3-D mask is not. That says what people
# chose, where cost and simplicity count, too; it is no controlled comparison. CBAM and BAM took a
# way between: a channel gate, and one map of positions, multiplied or added. In self-attention
# every position asks every other one, at a cost that grows with the square of their number. What
# was used again is Eq. 3: BAM, too, multiplies by **1 + something**, which at its lowest leaves the
# features as they are.
#
# ## Summary
#
# - A 3-D mask weighs every number by itself and costs accordingly: 38% of the parameters of
#   Attention-56 on CIFAR, 29% of its work.
# - Its receptive field is the whole image, with some preference for what is near; no step of it
#   looks at the whole map at once.
# - A channel gate costs almost nothing and is fully global, and knows no positions.
# - Many designs lie between them. Compare at equal cost, over seeds, as section 1 says.
#
# ## Questions
#
# 1. `ops.channel_attention` (Eq. 5) and squeeze-and-excitation are both called channel attention.
#    What is the difference?
#
# <details><summary>Answer</summary>
#
# Eq. 5 divides each *position's* vector by its length: it compares channels at one position, has no
# parameters, and needs the whole mask branch before it. Squeeze-and-excitation replaces the mask
# branch, and its result does not depend on the position.
# </details>
#
# 2. Why does (18.2) reduce to $C/\rho$ channels in between?
#
# <details><summary>Answer</summary>
#
# For the price: $2C^2/\rho$ instead of $C^2$ is less for $\rho > 2$. And two layers with a ReLU can
# express that a channel matters only if another is present, which one linear layer cannot.
# </details>
#
# 3. With `learning="naive"`, $H = s\,T$, would fresh squeeze-and-excitation gates harm a deep
#    network?
#
# <details><summary>Answer</summary>
#
# Yes, as in notebook 09: $s \approx 1/2$ at the start, and $n$ gates in a row leave $0.5^n$ of the
# trunk. In its own paper $s$ weighs the *residual branch* of a unit, $x + s F(x)$: the shortcut is
# never weighed, so nothing vanishes.
# </details>
#
# 4. On larger images, the smallest map of a mask is large too. Name a change to the hourglass
#    that would let one step see all of it, at little cost.
#
# <details><summary>Answer</summary>
#
# Add the global average of the deepest map to that map, as in Task 18.3; or pool once more; or, on
# the smallest map of 4x4, let every position attend to all 16, which costs next to nothing there.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: Tables 4 and 6.
# - J. Hu, L. Shen, G. Sun, *Squeeze-and-Excitation Networks*, CVPR 2018, arXiv:1709.01507.
# - S. Woo et al., *CBAM: Convolutional Block Attention Module*, ECCV 2018; J. Park et al., *BAM:
#   Bottleneck Attention Module*, BMVC 2018.
# - X. Wang et al., *Non-local Neural Networks*, CVPR 2018; A. Dosovitskiy et al., *An Image is
#   Worth 16x16 Words*, ICLR 2021: every position asks every other one.
# - W. Luo et al., *Understanding the Effective Receptive Field in Deep Convolutional Neural
#   Networks*, NeurIPS 2016.
