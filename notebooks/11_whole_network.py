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
#     number: 11
#     seconds: 10
#     minutes: 60
# ---

# %% [markdown]
# # 11 · The whole network
#
# **You will be able to**
#
# - say where the 56 of Attention-56 comes from, and derive $36m + 20$;
# - count the parameters and the multiply-adds of any network of the family on paper;
# - say which part of them is in the masks, and how it changes with depth;
# - compare counts with the paper's Tables 2, 6 and 7, and say what the paper leaves open.
#
# **Time**: 60 minutes to read and do; runs in 10 seconds on 2 cores.
# **Needs**: notebooks 07 (residual units) and 08 (the attention module).

# %% tags=["setup"]
import numpy as np

from minran import create_model, inspect
from minran.course import bars_figure, check, show_source
from minran.inspect.probe import multiply_adds
from minran.inspect.style import dress, legend, new_figure, theme
from minran.models import AttentionModule, ResidualAttentionNetwork
from minran.models.units import Build

colours = theme()

# %% [markdown]
# ## 1 · From the image to the classes
#
# Every network of the paper has the same plan:
#
# $$
# \begin{gathered}
# \text{stem} \to \big[\text{unit} \to m \text{ modules}\big]_{\text{stage } 1, 2, 3}
# \to 3 \text{ units} \\
# \to \text{bn, relu} \to \text{global average} \to \text{linear}
# \end{gathered}
# \tag{11.1}
# $$
#
# The first unit of a stage sets its width; in stages 2 and 3 it also halves the map. On CIFAR (the
# code counts from 0, so stage 1 is `stages.0` in the drawing):

# %%
model = create_model("attention56_cifar")
inspect.module_graph(model, collapse=("AttentionModule", "PreActUnit"))

# %% [markdown]
# As code it is short, because modules are built from a table of specifications:

# %%
show_source(ResidualAttentionNetwork.forward)

# %% [markdown]
# The paper names CIFAR networks by depth and number of parameters. It gives no widths. Ours (stem
# 16, then 64, 128, 256, and a tail of 256) reproduce two of its three counts, as you will see.
#
# | | stem | stage 1 | stage 2 | stage 3 | tail | classes |
# |---|---|---|---|---|---|---|
# | CIFAR, 32x32 | 3x3, 16 | 32x32, 64 | 16x16, 128 | 8x8, 256 | 8x8, 256 | 10 |
# | ImageNet, 224x224 | 7x7/2, 64, pool | 56x56, 256 | 28x28, 512 | 14x14, 1024 | 7x7, 2048 | 1000 |
# | mask depth $d$ | | 3 | 2 | 1 | | |
#
# The ImageNet sizes are the paper's Table 2. Its Attention-56 has 1, 1, 1 modules in the stages,
# its Attention-92 has 1, 2, 3: more where maps are small. On CIFAR, every stage has $m$.
#
# ## 2 · The number in the name
#
# It counts the layers with weights on the longest way **through the trunk**: layers in masks do not
# count, nor do projection shortcuts. A convolution is a layer, and so is the linear classifier;
# batch norms are none. A residual unit has three.
#
# **Task 11.1.** Derive the depth from (11.1) and (8.8), with $m$ modules in each stage. Check yours
# with $m = 1, p = 1, t = 2$ before you ask the check: which number must come out?


# %% tags=["exercise"]
# Task 11.1: the depth of the trunk
def trunk_depth(m, p=1, t=2):
    """Layers with weights from the image to the classes, through the trunk."""
    ### BEGIN SOLUTION
    return 9 * m * (2 * p + t) + 20
    ### END SOLUTION


# %% tags=["check"]
check("11.1", trunk_depth)

# %% [markdown]
# | part | layers |
# |---|---|
# | stem | 1 |
# | first units of the stages | $3 \cdot 3 = 9$ |
# | modules: 3 stages, $m$ modules, $p + t + p$ units | $3 \cdot m \cdot 3(2p + t)$ |
# | tail: 3 units | 9 |
# | linear | 1 |
#
# $$
# \text{depth} = 9 m (2p + t) + 20 \;=\; 36 m + 20 \quad\text{for } p = 1,\ t = 2 .
# \tag{11.2}
# $$

# %%
cifar = {
    "attention56_cifar": (1, 1, 2, 1),
    "attention92_cifar": (2, 1, 2, 1),
    "attention128_cifar": (3, 1, 2, 1),
    "attention164_cifar": (4, 1, 2, 1),
    "attention236_cifar": (6, 1, 2, 1),
    "attention452_cifar": (6, 2, 4, 3),
}
for name, (m, p, t, r) in cifar.items():
    print(f"{name:20} m = {m}, p = {p}, t = {t}, r = {r}: depth {9 * m * (2 * p + t) + 20}")

# %% [markdown]
# ## 3 · Counting parameters
#
# Notebook 08 counted a module, (8.9)-(8.11): with unit $P_{unit}(C) = \tfrac{17}{16} C^2 + 3 C$,
#
# $$
# P_{module}(C, d) = (2p + t + 2dr + d - 1)\, P_{unit}(C) + 2 C^2 + 4 C .
# \tag{11.3}
# $$
#
# A unit that changes the width from $B$ to $C$ has a projection, and its first convolution and
# first batch norm have $B$ channels:
#
# $$
# P_{first}(B, C) = \Big(\tfrac14 BC + \tfrac9{16} C^2 + \tfrac14 C^2 + BC\Big)
# + 2\Big(B + \tfrac14 C + \tfrac14 C\Big) .
# \tag{11.4}
# $$
#
# The rest on CIFAR-10: the stem $3 \cdot 3 \cdot 3 \cdot 16$; three units and a batch norm of width
# 256; the classifier $256 \cdot 10 + 10$. No convolution has a bias.
#
# **Task 11.2.** Count the parameters of a CIFAR-10 network with $m$ modules in each stage. With
# `norms=False` leave out the scale and shift of all batch norms.


# %% tags=["exercise"]
# Task 11.2: the parameters of a CIFAR-10 network
def count_parameters(m, p=1, t=2, r=1, norms=True):
    """Weights, and gamma and beta of batch norms if `norms`."""
    ### BEGIN SOLUTION
    per_channel = 1 if norms else 0

    def unit(before, channels):
        inner = channels // 4
        weights = before * inner + 9 * inner * inner + inner * channels
        if before != channels:
            weights += before * channels
        return weights + per_channel * 2 * (before + 2 * inner)

    total, before = 3 * 3 * 3 * 16, 16
    for channels, depth in ((64, 3), (128, 2), (256, 1)):
        units = 2 * p + t + 2 * depth * r + depth - 1
        head = 2 * channels**2 + per_channel * 4 * channels
        total += unit(before, channels) + m * (units * unit(channels, channels) + head)
        before = channels
    return total + 3 * unit(256, 256) + per_channel * 2 * 256 + 256 * 10 + 10
    ### END SOLUTION


# %% tags=["check"]
check("11.2", count_parameters)

# %% [markdown]
# `inspect.summary` counts a network by running it. Compared with the paper's Table 6 (parameters in
# millions, error on CIFAR-10 and CIFAR-100 in %):

# %%
counts = {name: inspect.summary(create_model(name)) for name in cifar}
paper = {92: (1.9, 4.99, 21.71), 236: (5.1, 4.14, 21.16), 452: (8.6, 3.90, 20.45)}
print("network        weights   with batch norms   paper   error C10, C100")
for found in counts.values():
    depth = found.trunk_depth
    without, whole = found.parameters_without_norm / 1e6, found.parameters / 1e6
    size, *errors = paper.get(depth, ("-",))
    words = "  ".join(f"{error:5.2f}" for error in errors)
    print(f"Attention-{depth:<4} {without:6.3f} M {whole:12.3f} M {size:>10}   {words}")

# %% [markdown]
# Attention-92 and -236 agree to the digit that the paper prints, if batch norms are not counted.
#
# ## 4 · What the paper leaves open
#
# Attention-452 does not agree: 10.14 million against 8.6. The paper gives $p = 2$, $t = 4$, $r = 3$
# for it, and a depth that fits (11.2). Which reading of the mask would give 8.6? Try three: the
# deepest level with $r$ instead of $2r$ units; $r = 2$; and $r = 1$, as in the smaller networks.


# %%
def cell(found, fewer=0, norms=0):
    """Parameters without batch norms, and with them, in millions; less some weights and norms."""
    without, whole = found.parameters_without_norm - fewer, found.parameters - fewer - norms
    return f"{without / 1e6:.2f} ({whole / 1e6:.2f})"


def r_at_the_bottom(name):
    """With r instead of 2r units at the deepest level: every module has r units less."""
    m, _, _, r = cifar[name]
    widths = np.array([64, 128, 256])
    return cell(counts[name], (m * r * 17 * widths**2 // 16).sum(), (m * r * 3 * widths).sum())


three = "attention92_cifar", "attention236_cifar", "attention452_cifar"
ours = [cell(counts[name]) for name in three]
changed = {r: cell(inspect.summary(create_model(three[2], r=r))) for r in (1, 2)}
readings = {
    "the paper": ("1.9", "5.1", "8.6"),
    "2r at the bottom (ours)": ours,
    "r at the bottom": [r_at_the_bottom(name) for name in three],
    "r = 2 in Attention-452": [*ours[:2], changed[2]],
    "r = 1 in Attention-452": [*ours[:2], changed[1]],
}
print("millions, without batch norms (with)   Attention-92    Attention-236   Attention-452")
for words, cells in readings.items():
    print(f"{words:38} " + " ".join(f"{cell:<15}" for cell in cells))

# %% [markdown]
# No reading gives all three numbers. With $r$ units at the bottom Attention-452 fits (8.50, or 8.63
# with batch norms) and the two others do not. The authors' published network files, which exist for
# ImageNet only, have $2r$. So we keep $2r$, and call the count of Attention-452 **not reproduced**:
# we do not know which network was trained.
#
# ## 5 · Counting work
#
# A *multiply-add* is one multiplication by a weight and one addition. A convolution without stride
# does one for each weight at each position: parameters times area. For a unit of width $C$ on an
# $n \times n$ map,
#
# $$
# A_{unit} = \tfrac{17}{16}\, C^2 n^2 .
# \tag{11.5}
# $$
#
# **From stage to stage $C$ doubles and $n$ halves: every unit of every stage costs the same**,
# $\tfrac{17}{16} \cdot 64^2 \cdot 32^2 = 4.5$ million on CIFAR. Its parameters, however, grow
# fourfold from stage to stage.
#
# In a mask most units run on small maps. At level $k$ the map has
# $n_k = \lfloor n_{k-1}/2 \rfloor$, so a unit there costs about $4^{-k}$ of one in the trunk. Level
# $k$ holds $2r$ units, and a skip unless it is the deepest. The head runs at full size:
#
# $$
# A_{mask} = \sum_{k=1}^{d} \big(2r + [k < d]\big)\, \tfrac{17}{16}\, C^2 n_k^2 \;+\; 2\, C^2 n^2 .
# \tag{11.6}
# $$
#
# **Task 11.3.** Count the multiply-adds of one attention module for one image.


# %% tags=["exercise"]
# Task 11.3: the multiply-adds of an attention module
def module_multiply_adds(size, channels, depth, p=1, t=2, r=1):
    """For one input of size x size positions."""
    ### BEGIN SOLUTION
    unit = 17 * channels**2 // 16
    total = (2 * p + t) * unit * size**2 + 2 * channels**2 * size**2
    for level in range(1, depth + 1):
        size //= 2
        units = 2 * r + (1 if level < depth else 0)
        total += units * unit * size**2
    return total
    ### END SOLUTION


# %% tags=["check"]
check("11.3", module_multiply_adds)

# %%
show_source(multiply_adds, after="11.3")

# %%
for stage, (size, channels, depth) in enumerate(((32, 64, 3), (16, 128, 2), (8, 256, 1)), start=1):
    module = AttentionModule(Build(np.random.default_rng(0)), channels, depth)
    whole = inspect.summary(module, image_size=size).multiply_adds
    trunk = 4 * 17 * channels**2 // 16 * size**2
    units = 4 + 2 * depth + depth - 1
    print(
        f"stage {stage}: {whole / 1e6:.1f} M; the mask has {1 - 4 / units:.0%} of the units "
        f"and {1 - trunk / whole:.0%} of the work"
    )

# %% [markdown]
# Of the mask's work, most is the head: $2 C^2 n^2$, nearly two units at full size. The deep
# hourglass of stage 1 with its eight units is cheaper than its two 1x1 convolutions.
#
# ## 6 · Where parameters and work are
#
# The same by part. The table's last lines are the totals.
#
# Before you run the next cells, predict from section 5: which part of Attention-56 has the most
# parameters, and which does the most work? What share of each is in the masks of the whole network?

# %%
summary = counts["attention56_cifar"]
print(summary.text(depth=2))


# %% tags=["hide-input"]
def parts(summary, number):
    """For stem, stages, tail: (outside masks, in masks)."""
    rows = summary.rows
    masks = {name: getattr(row, number) for name, row in rows.items() if name.endswith(".mask")}
    found = {}
    for label, name in (
        ("stem", "stem"),
        *((f"stage {s + 1}", f"stages.{s}") for s in range(3)),
        ("tail", "tail"),
    ):
        inside = sum(value for mask, value in masks.items() if mask.startswith(name))
        found[label] = ((getattr(rows[name], number) - inside) / 1e6, inside / 1e6)
    return found


bars_figure(
    {"Parameters": parts(summary, "parameters"), "Multiply-adds": parts(summary, "multiply_adds")},
    ("outside the masks", "in the masks"),
    {"Parameters": "millions", "Multiply-adds": "millions for one image"},
    share=True,
)

# %% [markdown]
# Most parameters are in stage 3 and the tail, where maps are small and have many channels. The work
# is spread nearly evenly over the stages, as (11.5) says; the tail's three units cost less only
# because it has no modules.
#
# One of the two weaknesses that summaries of the paper name is the cost of the masks: a whole
# hourglass for a 3-D map of attention. Here is their share, by depth. The fixed parts (stem, tail)
# become a smaller part of the whole, so from 56 to 236 the shares rise towards those of the modules
# alone.

# %%
shares = {}
for counted in counts.values():
    depth = counted.trunk_depth
    shares[depth] = (
        counted.mask_parameters / counted.parameters,
        counted.mask_multiply_adds / counted.multiply_adds,
    )
    print(
        f"Attention-{depth:<4} {counted.multiply_adds / 1e6:6.0f} M multiply-adds; masks: "
        f"{shares[depth][0]:.1%} of the parameters, {shares[depth][1]:.1%} of the work"
    )

# %% tags=["hide-input"]
figure = new_figure(5.6, 3.0, False)
axes = dress(figure.subplots(), colours, "Share of the masks", "", "share of the whole network")
names = [str(depth) for depth in shares]
for index, what in enumerate(("of the parameters", "of the multiply-adds")):
    values = [share[index] for share in shares.values()]
    axes.plot(names, values, color=colours.colours[index], marker="os"[index], lw=1.8, label=what)
axes.set_xlabel("Attention-N on CIFAR-10", fontsize=9.5)
axes.set_ylim(0, 0.65)
axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
legend(axes, colours, loc="lower right")
figure

# %% [markdown]
# From 236 to 452 the work's share *falls*: $t = 4$ and $p = 2$ make eight units outside the mask,
# at full size, while $r = 3$ adds units on small maps.
#
# ## 7 · ImageNet
#
# The two published networks and the ResNeXt variant: our counts, and what the paper's Table 7
# prints. What it calls FLOPs are multiply-adds.

# %%
table7 = {
    "attention56": ("31.9", "6.3"),
    "attention92": ("51.3", "10.4"),
    "attentionnext56": ("31.9", "6.3"),
}
print("                   counted                     paper")
for name, (size, work) in table7.items():
    counted = inspect.summary(create_model(name))
    share = counted.mask_multiply_adds / counted.multiply_adds
    print(
        f"{name:16} {counted.parameters:>11,}  {counted.multiply_adds / 1e9:6.3f} G   "
        f"{size + ' M':8} {work + ' G':7} masks {share:.0%} of the work"
    )

# %% [markdown]
# No row agrees in both numbers to the digit that the paper prints. Attention-56 has the paper's
# multiply-adds, and 31.8 million parameters where the paper prints 31.9; AttentionNeXt-56, for
# which the paper prints the same two numbers, has fewer parameters and more multiply-adds. For
# Attention-92 the paper prints less than its own published network file holds (52.47 M, 10.53 G).
# The authors' files decide here: ours have exactly their parameters, in all three.
#
# ## Summary
#
# - Depth counts the trunk: $9m(2p + t) + 20$, which is $36m + 20$ with the usual $p$ and $t$.
# - Every unit costs the same work in every stage, and four times the parameters of the stage
#   before.
# - Masks hold 38% of the parameters of Attention-56 on CIFAR and do 29% of its work; the head costs
#   more than the hourglass.
# - Our CIFAR widths reproduce Table 6 for 92 and 236 layers; the count of 452 is not reproduced.
#   The ImageNet networks have the parameters of the authors' files, which differ from Table 7.
#
# ## Questions
#
# 1. Attention-56 on ImageNet has 22% of its parameters in the masks, the one on CIFAR 38%. Why?
#
# <details><summary>Answer</summary>
#
# The tail: on ImageNet it is 2048 wide and alone has 15.0 of 31.8 million parameters, and the
# classifier for 1000 classes has another 2 million. On CIFAR the tail is no wider than stage 3.
# </details>
#
# 2. Public ports that report more than 95% accuracy on CIFAR-10 use networks of 10 to 20 million
#    parameters. Are they comparable with the paper's Attention-92?
#
# <details><summary>Answer</summary>
#
# No: that has 1.9 million. Compare networks of equal size, or say that yours is five to ten times
# larger.
# </details>
#
# 3. Without any counting: does doubling $r$ cost more in stage 1 or in stage 3, in work?
#
# <details><summary>Answer</summary>
#
# In stage 1, though not much: added units are $2r$ at each level, at $4^{-1} + 4^{-2} + 4^{-3}$ of
# full cost in stage 1 and at $4^{-1}$ in stage 3, and full cost is the same. In parameters it is
# the other way round: 6 units of width 64 against 2 of width 256.
# </details>
#
# 4. Which layers does `inspect.summary` leave out of the multiply-adds, and is that fair?
#
# <details><summary>Answer</summary>
#
# Batch norms, ReLUs, pools, interpolations, sums and gates. With one operation for each number of
# its output, the batch norms alone would add about one per cent to the count of Attention-56 on
# CIFAR, and batch norms, ReLUs and sums together nearly three; on ImageNet, where layers have more
# channels, about a quarter of that. So the count is fair. In *time* they take much more than their
# share, because they are limited by memory: notebook 17.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: Tables 2, 6, 7; section 4.1 for $m$, $p$, $t$, $r$.
# - The authors' published network files for ImageNet (Attention-56 and -92, AttentionNeXt-56 and
#   -92).
# - S. Xie et al., *Aggregated Residual Transformations for Deep Neural Networks*, CVPR 2017:
#   ResNeXt.
