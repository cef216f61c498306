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
#     number: 13
#     seconds: 20
#     minutes: 75
# ---

# %% [markdown]
# # 13 · Seeing attention
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minran/minran/blob/main/notebooks/13_seeing_attention.ipynb)
#
# **You will be able to**
#
# - take the mask, the trunk and the gated features of every attention module out of a network;
# - reduce a mask of many channels to one picture, and say what each way of doing so hides;
# - score a map against true object outlines: intersection over union, and the pointing game;
# - choose thresholds and channels on some pictures and score them on others;
# - say whether a map is better than one that always points at the middle.
#
# **Time**: 75 minutes to read and do; runs in 20 seconds on 2 cores.
# **Needs**: notebooks 08 (the soft mask) and 09 (the gate).

# %% tags=["setup"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("minran") is None:  # in Colab
    wheel = "minran[notebooks] @ git+https://github.com/minran/minran"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wheel], check=True)

import numpy as np

from minran import inspect
from minran.course import check, explore, show_source
from minran.data import load_shapes
from minran.inspect.masks import added
from minran.inspect.style import MAP_COLOURS, dress, new_figure, row_label, show, theme
from minran.train import load_pretrained

colours = theme()

# %% [markdown]
# ## 1 · What there is to see
#
# The network is the one of `minran quickstart`: three stages, one attention module in each. **The
# pictures are the built-in shapes, not photographs**; what makes them useful here is that the true
# outline of every object is known. The network has never seen an outline, only labels.
#
# A module holds three maps for each picture, all of one shape $(h, w, C)$: the mask $M$, the trunk
# $T$, and what the gate makes of them,
#
# $$
# H = (1 + M)\,T = T + \underbrace{M\,T}_{\text{what the mask adds}} .
# \tag{13.1}
# $$

# %%
model, preprocess, class_names = load_pretrained("quickstart")
shapes = load_shapes("test", count=400)
inputs = preprocess(shapes.images)
attentions = inspect.attention_maps(model, inputs)
for attention in attentions:
    print(f"{attention.title}: M, T and H have the shape {attention.mask.shape[1:]}")

# %% [markdown]
# Every channel has a mask of its own: 16, 48 and 96 of them. Move the sliders. (Without ipywidgets
# you see one of the pictures.) The scale of each panel runs from its own least to its own largest
# value, so look at the numbers, too.

# %% tags=["hide-input"]
_, firsts = np.unique(shapes.labels, return_index=True)
shown = np.sort(firsts)[:6]


def viewer(stage, channel, picture):
    """One channel of one mask, beside the trunk's features that it weighs."""
    attention = attentions[stage - 1]
    c, n = channel % attention.mask.shape[3], shown[picture]
    panels = {
        "picture": shapes.images[n] / 255,
        "mask M": attention.mask[n, ..., c],
        "trunk T": attention.trunk[n, ..., c],
        "added M T": (attention.mask * attention.trunk)[n, ..., c],
        "M over the picture": inspect.overlay(shapes.images[n], attention.mask[n, ..., c]),
    }
    figure = new_figure(9.4, 2.5, False)
    for axes, (title, values) in zip(figure.subplots(1, 5), panels.items()):
        span = f"\n{values.min():.2f} to {values.max():.2f}" if values.ndim == 2 else "\n"
        show(axes, values, colours, title + span, cmap=MAP_COLOURS)
    figure.suptitle(f"{attention.title}, channel {c} of {attention.mask.shape[3]}", fontsize=10)
    return figure


explore(viewer, stage=(1, 2, 3), channel=range(16), picture=range(6))

# %% [markdown]
# ### Does the mask gate at all?
#
# A sigmoid can stay near $\tfrac12$ everywhere: then the gate multiplies everything by 1.5, and the
# next batch norm takes that out again. The values of all masks, over all pictures:

# %%
inspect.histogram_figure(attentions)

# %% [markdown]
# A mask that works has weight away from its mean. How much of that is *where* (positions differ)
# and how much is *which* (channels differ)? The variance of $M$ splits exactly into the variance of
# the channels' means and the variance within each channel:

# %%
for attention in attentions:
    mask = attention.mask.astype(np.float64)
    within, between = mask.var(axis=(0, 1, 2)).mean(), mask.mean(axis=(0, 1, 2)).var()
    print(
        f"{attention.title}: between channels {between / mask.var():4.0%}, "
        f"within a channel, over positions and pictures {within / mask.var():4.0%}"
    )

# %% [markdown]
# ## 2 · From many channels to one picture
#
# A figure shows one map. The mean over channels is the honest default, and it hides what single
# channels do. Papers like to show channels instead, and rarely say how they were chosen. In the
# library a choice always has a rule, and the figure states it:

# %%
for name, words in inspect.RULES.items():
    print(f"{name:9} {words}")

# %%
inspect.mask_figure(
    shapes.images[shown[:4]],
    [attentions[1]],
    shapes.masks[shown[:4]],
    rule="variance",
    count=4,
)

# %% [markdown]
# And what the gate does with one channel, before and after (the paper's Figure 1):

# %%
inspect.before_after_figure(shapes.images[shown[:3]], attentions[1])

# %% [markdown]
# It is easy to see what one hopes to see in such pictures. So we count.
#
# ## 3 · Two scores
#
# A map is resized to the picture and stretched to run from 0 to 1. Cut at a threshold $\tau$ it is
# a set of pixels $A$; the object is a set $B$. **Intersection over union** is
#
# $$
# \mathrm{IoU} = \frac{|A \cap B|}{|A \cup B|} , \tag{13.2}
# $$
#
# 1 for the same set, 0 for sets that do not meet. The **pointing game** asks less: does the
# brightest pixel lie in the object? If several pixels are the brightest, each counts in part.
#
# **Task 13.1.** Write both, for one map of the size of the picture.


# %% tags=["exercise"]
# Task 13.1: the two scores of one map
def two_scores(level, truth, threshold):
    """(iou, pointing). level: (H, W) in 0..1; truth: (H, W) bool; pixels count from threshold on.

    pointing is the share of the brightest pixels that lie in the object.
    """
    ### BEGIN SOLUTION
    cut = level >= threshold
    iou = (cut & truth).sum() / (cut | truth).sum()
    brightest = level == level.max()
    return iou, truth[brightest].mean()
    ### END SOLUTION


# %% tags=["check"]
check("13.1", two_scores)

# %% [markdown]
# ### Three traps
#
# **The middle.** Objects stand near the middle more often than at the rim. A map that looks at
# nothing and always shows a soft spot in the middle scores, too. Any claim has to beat that:

# %%
show_source(inspect.centre_map, docstring=False)

# %% [markdown]
# **Bright or dark.** A network can mark an object by *dark* places of a mask as well as by bright
# ones; the next convolution does not care about a sign. One may turn a map around, as long as the
# decision is made once and not for each picture.
#
# **Choosing on what you score.** A threshold, a sign or a channel chosen on the very pictures that
# are scored flatters the map. `inspect.score_attention` therefore chooses on the first half of the
# pictures and scores on the second.
#
# ## 4 · The scores

# %%
scores = inspect.score_attention(model, inputs, shapes.masks)
print(inspect.score_table(scores))

# %% tags=["hide-input"]
figure = new_figure(7.4, 3.0, False)
left, right = figure.subplots(1, 2, sharey=True)
names = [name.replace(", channel mean", "\nmean of M") for name in scores]
names = [name.replace(" of the answer", "") for name in names]
found = list(scores.values())
dress(left, colours, "Intersection over union", "mean over 200 pictures, ± its error", "")
left.barh(
    names, [s.iou for s in found], xerr=[s.iou_error for s in found], color=colours.colours[0]
)
dress(right, colours, "Pointing game", "share of pictures", "")
right.barh(names, [s.pointing for s in found], color=colours.colours[0])
for axes, value in ((left, found[0].centre_iou), (right, found[0].centre_pointing)):
    line = axes.axvline(value, color=colours.colours[1], ls="--", lw=1.6)
    axes.tick_params(axis="y", length=0)
left.invert_yaxis()
figure.legend([line], ["always the middle"], loc="outside upper right", frameon=False, fontsize=9)
figure

# %% [markdown]
# Read the table before the pictures:
#
# - The **mean of every mask** scores *below* the dashed line, and all three are scored turned
#   around: on average these masks are darker on the object than beside it.
# - Stage 3 has $4\times4$ values for a picture. No outline fits into that.
# - **Grad-CAM** (section 7) is the only map here that reaches the baseline.
#
# So "the masks show where the object is" is *not* true of this network's masks as they are usually
# shown. Does that mean that attention does nothing? No: the mask is one factor. Where the trunk is
# zero, a bright mask weighs nothing.
#
# ## 5 · What the mask adds
#
# Look at the product instead: $|M\,T|$, the part of (13.1) that is there because of the mask.

# %%
halves = slice(0, 200), slice(200, None)


def honest(maps):
    """Threshold and sign chosen on the first half, scored on the second."""
    known, new = halves
    best = max(
        (inspect.score(maps[known], shapes.masks[known], invert) for invert in (False, True)),
        key=lambda scores: scores.iou,
    )
    return inspect.score(maps[new], shapes.masks[new], best.inverted, best.threshold)


lines = ["            mean M   mean |M T|   mean |T|"]
for attention in attentions:
    maps = inspect.channel_mean(attention.mask), added(attention), np.abs(attention.trunk).mean(3)
    lines.append(f"{attention.title:10}" + "".join(f"{honest(m).iou:8.3f}   " for m in maps))
lines.append(f"{'the middle':10}{honest(maps[0]).centre_iou:8.3f}")
print("\n".join(lines))

# %% [markdown]
# What the mask adds does mark the object: level with the middle in stage 2, above it in stage 3.
# But look at the last column, which honesty demands: the **trunk alone** does as well. The features
# find the object; the mask weighs them. A score of $M\,T$ is no proof that it was the mask that
# looked.
#
# ## 6 · Channels by a rule
#
# Few channels can be better than the mean of all. Which? You may look at the outlines of *some*
# pictures: that is a rule as long as it is scored on others.
#
# **Task 13.2.** Write a rule that picks at most 8 channels, given maps (here $|M\,T|$ of stage 2)
# and outlines of the first half of the pictures. The check takes the mean over your channels and
# scores it on pictures that your rule has not seen; it must beat the middle of the picture by more
# than its standard error. `inspect.score(maps, outlines).iou` scores one channel's maps.


# %% tags=["exercise"]
# Task 13.2: pick channels whose mean marks the objects
def pick_channels(maps, outlines):
    """maps: (N, h, w, C); outlines: (N, H, W) bool -> at most 8 different channels."""
    ### BEGIN SOLUTION
    ious = [inspect.score(maps[..., c], outlines).iou for c in range(maps.shape[3])]
    return np.argsort(ious)[::-1][:8]
    ### END SOLUTION


# %% tags=["check"]
check("13.2", pick_channels)

# %% tags=["hide-input"]
stage2 = attentions[1]
products = np.abs(stage2.mask * stage2.trunk)
best = pick_channels(products[halves[0]], shapes.masks[halves[0]])
chosen = products[..., best].mean(axis=3)
print(f"channels {[int(c) for c in best]}, on pictures that the rule has not seen:")
print(honest(chosen))

examples = 200 + np.arange(6)
figure = new_figure(9.0, 3.4, False)
grid = figure.subplots(3, 6)
for column, n in enumerate(examples):
    show(grid[0, column], shapes.images[n] / 255, colours)
    show(grid[1, column], inspect.overlay(shapes.images[n], chosen[n]), colours)
    show(grid[2, column], shapes.masks[n], colours, cmap="gray")
for row, words in enumerate(("picture", "8 channels\nof |M T|", "true object")):
    row_label(grid[row, 0], words, colours)
figure

# %% [markdown]
# ## 7 · Grad-CAM beside it
#
# Grad-CAM (Selvaraju et al., 2017) asks another question. A mask says what a module lets through,
# whatever the answer. Grad-CAM says which positions of a layer speak *for one class*: with the
# features $A$ of a layer and the logit $z_k$ of class $k$,
#
# $$
# \alpha_c = \frac{1}{hw}\sum_{i,j} \frac{\partial z_k}{\partial A_{ijc}} , \qquad
# \mathrm{CAM}_{ij} = \max\Big(0,\; \sum_c \alpha_c\, A_{ijc}\Big) . \tag{13.3}
# $$
#
# It needs a backward pass and works for any network; the mask comes with the forward pass.

# %%
few = shown[:4]
answers = inspect.class_probabilities(model, inputs[few]).argmax(axis=1)
cams = inspect.gradcam(model, inputs[few])
parts = [type(a)(a.name, a.mask[few], a.trunk[few], a.output[few]) for a in attentions]
inspect.gradcam_figure(
    shapes.images[few], cams, [class_names[k] for k in answers], parts, shapes.masks[few]
)

# %% [markdown]
# With your own network and your own pictures, in a terminal:
#
# ```
# minran masks runs/NAME photo.jpg --out masks.png       # each stage's mask over the picture
# minran masks runs/NAME --score                         # the table of section 4, on shapes
# minran gradcam runs/NAME photo.jpg --out gradcam.png
# ```
#
# ## Summary
#
# - Every channel has a mask of its own; a picture shows a mean, or channels chosen by a stated
#   rule.
# - IoU and the pointing game need true outlines, a baseline that looks at nothing, and a threshold
#   chosen on other pictures than are scored.
# - In this network the means of the masks do not beat the middle of the picture. What the mask
#   *adds* does in stage 3, and eight channels of it do in stage 2; so does the trunk alone.
# - Grad-CAM asks what speaks for a class; a mask is what the network lets through.
#
# ## Questions
#
# 1. A map is the same at all positions. What are its two scores, and why is that not a fault of the
#    scores?
#
# <details><summary>Answer</summary>
#
# Stretched, it is 0 everywhere. At threshold 0 all pixels are in $A$: the IoU is the object's
# share of the picture, here about a sixth. In the pointing game every pixel is the brightest and
# counts in part: the same share. That is what somebody gets who knows nothing.
# </details>
#
# 2. Why is the pointing game of the middle so high and its IoU so low?
#
# <details><summary>Answer</summary>
#
# Most objects cover the middle, so one pixel there is often right. But objects differ in size and
# shape, and the soft spot does not, so that the sets overlap badly.
# </details>
#
# 3. You try 40 rules in task 13.2 on the pictures that are scored and report the best. What is
#    wrong?
#
# <details><summary>Answer</summary>
#
# The best of 40 scores is partly luck on these pictures. You have chosen on what you score, just as
# with a threshold. Take a third set of pictures for the last score.
# </details>
#
# 4. Masks are darker on the object here. How can a network profit from that?
#
# <details><summary>Answer</summary>
#
# The factor $1 + M$ then raises the background's features against the object's. Convolutions
# behind the gate can subtract them, or use them as a sign for "no object here". Only the loss
# decides, and it does not ask for bright masks.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: section 3 and Figure 1.
# - R. R. Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
#   Localization*, ICCV 2017, arXiv:1610.02391.
# - J. Zhang et al., *Top-down Neural Attention by Excitation Backprop*, ECCV 2016,
#   arXiv:1608.00507: the pointing game.
