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
#     seconds: 60
#     minutes: 90
# ---

# %% [markdown]
# # 13 · Seeing attention
#
# **You will be able to**
#
# - take the mask, the trunk and the gated features of every attention module out of a network;
# - say in what a mask varies: in the channel, the image, the position, or in all together;
# - score a map against true object outlines, compared with the middle, random weights, and a rule
#   without any network;
# - delete and insert pixels in the order of a map, and read the two curves;
# - replace a mask and measure what the network loses, which no drawing of a mask can show;
# - say which of the findings come back in networks of other seeds.
#
# **Time**: 90 minutes to read and do; runs in 60 seconds on 2 cores.
# **Needs**: notebooks 08 (the soft mask) and 09 (the gate).

# %% tags=["setup"]
import numpy as np

from minran import inspect
from minran.course import (
    PARTS,
    REPLACEMENTS,
    SHARES,
    border_colour,
    check,
    curve_maps,
    eight_channels,
    explore,
    inside_outside,
    mask_scores,
    pixel_curves,
    replaced_masks,
    right_answers,
    show_source,
    variance_parts,
)
from minran.data import load_shapes
from minran.inspect.masks import _judge, score_halves
from minran.inspect.style import (
    MAP_COLOURS,
    SIGNED_COLOURS,
    dress,
    legend,
    new_figure,
    row_label,
    show,
    theme,
)
from minran.train import load_pretrained

colours = theme()

# %% [markdown]
# The notebook has three parts, and each asks more than the one before. **Looking**: what is in a
# mask? **Scoring**: does it mark the object, better than a map that knows nothing? **Intervening**:
# what happens when it is changed?
#
# **One network is one draw of random numbers.** The cells compute on the network that ships, which
# was trained with seed 0. Next to it stands a log of three networks, trained in the same way with
# seeds 0, 1 and 2, and of three with random weights; the program that made it is
# `python -m minran.workshop.course.mask_scores`. What is true of one of the three only is no
# finding, and the text does not call it one.
#
# ## 1 · Looking: what there is
#
# The network is the one of `minran quickstart`: three stages, one attention module in each. **The
# images are the built-in shapes, not photographs**; what makes them useful here is that the true
# outline of every object is known. The network has never seen an outline, only labels.
#
# A module holds three maps for each image, all of one shape $(h, w, C)$: the mask $M$, the trunk
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
# Every channel has a mask of its own: 16, 48 and 96 of them. Choose stage, channel and image. $M$
# is drawn from 0 (black) to 1 (yellow); $T$ and $M\,T$ have both signs, share one scale, and 0 is
# white.

# %% tags=["hide-input"]
_, firsts = np.unique(shapes.labels, return_index=True)
shown = np.sort(firsts)[:6]


def viewer(stage, channel, image):
    """One channel of one mask, and the trunk's features that it multiplies."""
    attention = attentions[stage - 1]
    c, n = channel % attention.mask.shape[3], shown[image]
    mask, trunk = attention.mask[n, ..., c], attention.trunk[n, ..., c]
    limit = np.abs(trunk).max()
    signed = {"cmap": SIGNED_COLOURS, "vmin": -limit, "vmax": limit}
    fixed = {"cmap": MAP_COLOURS, "vmin": 0, "vmax": 1}
    panels = {
        "image": (shapes.images[n] / 255, {}),
        "mask M": (mask, fixed),
        "trunk T": (trunk, signed),
        "added M T": (mask * trunk, signed),
        "M over the image": (inspect.overlay(shapes.images[n], mask), {}),
    }
    figure = new_figure(9.4, 2.5, False)
    for axes, (title, (values, look)) in zip(figure.subplots(1, 5), panels.items()):
        span = f"\n{values.min():.2f} to {values.max():.2f}" if values.ndim == 2 else "\n"
        show(axes, values, colours, title + span, **look)
    figure.suptitle(f"{attention.title}, channel {c} of {attention.mask.shape[3]}", fontsize=10)
    return figure


explore(viewer, stage=(1, 2, 3), channel=range(3), image=range(3))

# %% [markdown]
# ### Does the mask gate at all?
#
# A sigmoid can stay near $\tfrac12$ everywhere: then the gate multiplies everything by 1.5, and the
# next batch norm takes that out again. The values of all masks, over all images:

# %%
inspect.histogram_figure(attentions)

# %% [markdown]
# A mask that does something varies. In what? Write $M_{nijc}$ as a sum of four parts: the mean of
# the channel; what the image adds to that; what the position adds in every image alike; and the
# rest, which depends on the position *in this image*. Their variances add up to that of $M$.
#
# Only the last part is what "the mask looks at the object" can mean. Before you run the next cell,
# predict its share in stage 1, where maps have 16x16 positions, and in stage 3 with 4x4.

# %%
show_source(variance_parts, docstring=False)
log = mask_scores()
SEEDS = ("seed 0", "seed 1", "seed 2")
print(" " * 15 + "  ".join(["", *PARTS]))
for attention in attentions:
    shares = {"seed 0": variance_parts(attention.mask)}  # the network here; the others by the log
    shares |= {seed: log["variance_parts"][seed][attention.title] for seed in SEEDS[1:]}
    for seed, found in shares.items():
        cells = [f"{share:{len(name)}.0%}" for name, share in zip(PARTS, found)]
        print(f"{attention.title}, {seed}  " + "  ".join(cells))

# %% [markdown]
# The three networks agree. 58 to 67% of the variance in stage 3 is image x channel, and only 9 to
# 13% depend on the position in the image: there the mask raises or lowers a channel in the whole
# image, much as squeeze-and-excitation does (notebook 18). The last column has 29 to 39% in stage 1
# and 43 to 49% in stage 2.

# %% [markdown]
# ## 2 · Looking: from many channels to one map
#
# A figure shows one map. The mean over channels involves no choice, but it hides what single
# channels do. Papers often show single channels instead, and rarely say how these were chosen. In
# the library a choice always has a rule, and the figure states it:

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
# In such drawings one easily sees what one hopes to see. A score does not depend on hope.
#
# ## 3 · Looking: Grad-CAM
#
# Grad-CAM (Selvaraju et al., 2017) asks another question. A mask says what a module lets through,
# whatever the answer. Grad-CAM says which positions of a layer speak *for one class*: with the
# features $A$ of a layer and the logit $z_k$ of class $k$,
#
# $$
# \alpha_c = \frac{1}{hw}\sum_{i,j} \frac{\partial z_k}{\partial A_{ijc}} , \qquad
# \mathrm{CAM}_{ij} = \max\Big(0,\; \sum_c \alpha_c\, A_{ijc}\Big) . \tag{13.2}
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
# ## 4 · Scoring: an outline and a point
#
# A map is resized to the image and stretched to run from 0 to 1. Cut at a threshold $\tau$ it is
# a set of pixels $A$; the object is a set $B$. **Intersection over union** is
#
# $$
# \mathrm{IoU} = \frac{|A \cap B|}{|A \cup B|} , \tag{13.3}
# $$
#
# 1 for the same set, 0 for sets that do not meet. The **pointing game** asks less: does the
# brightest pixel lie in the object? If several pixels are the brightest, each counts in part.
#
# **Task 13.1.** Write both, for one map of the size of the image.


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

# %%
show_source(_judge, after="13.1")

# %% [markdown]
# ### Three traps
#
# **The middle.** Objects stand near the middle more often than at the border. A map that ignores
# the image and always shows a soft spot in the middle scores well, too. It is the first baseline:

# %%
show_source(inspect.centre_map, docstring=False)

# %% [markdown]
# **Bright or dark.** A network can mark an object by *dark* positions of a mask as well as by
# bright ones; the next convolution does not care about a sign. One may turn a map around, as long
# as the decision is made once and not for each image.
#
# **Choosing on what you score.** A threshold, a sign or a channel chosen on the very images that
# are scored flatters the map. `inspect.score_attention` therefore chooses on the first half of the
# images and scores on the second.
#
# ## 5 · Scoring: baselines, and three networks
#
# Two more baselines belong here. The first uses no network: the distance of each pixel from the
# median colour of the image's border (`border_colour`). The second uses the same network with
# **random weights** (Adebayo et al., 2018): a map that scores as well without training says nothing
# about what was learnt. Batch norm gets its statistics from one pass, and three seeds show the
# spread.
#
# A map that marks all pixels scores 0.167, a soft spot in the middle 0.391. Before you run the
# next cells, predict: what does the mean of $M$ score in each stage? And the rule that uses no
# network?

# %%
scores = inspect.score_attention(model, inputs, shapes.masks)
print(inspect.score_table(scores))
border = score_halves(border_colour(shapes.images), shapes.masks)
print(f"distance from the border's colour, no network: {border.iou:.3f}")

# %% [markdown]
# Three networks and three with random weights, from the log. $|M\,T|$ is the part of (13.1) that
# is there because of the mask, $|T|$ the trunk alone; both are means over channels.

# %%
iou = log["iou"]
NETWORKS = (*SEEDS, "random 0", "random 1", "random 2")
print(f"{'IoU, images 200-399':20}" + "".join(f"{name:>10}" for name in NETWORKS))
for key in iou["seed 0"]:
    print(f"{key:20}" + "".join(f"{iou[name][key]:10.3f}" for name in NETWORKS))
middle = log["without_network"]["the middle"]
print(f"the middle {middle:.3f}")

# %% tags=["hide-input"]
figure = new_figure(8.6, 3.4, False)
axes = dress(figure.subplots(), colours, "Intersection over union", "", "mean over 200 images")
keys = list(iou["seed 0"])
for index, (words, group) in enumerate((("trained", SEEDS), ("random weights", NETWORKS[3:]))):
    for column, key in enumerate(keys):
        at = [column + 0.2 * index - 0.1] * 3
        label = words if column == 0 else None
        look = {"color": colours.colours[index], "alpha": 0.75, "label": label}
        axes.plot(at, [iou[name][key] for name in group], "os"[index], **look)
for words, height, kind in (
    ("always the middle", middle, "--"),
    ("border colour", border.iou, ":"),
):
    axes.axhline(height, color=colours.faint, ls=kind, lw=1.4)
    axes.annotate(words, (5.4, height), (0, 3), textcoords="offset points", color=colours.faint)
axes.set_xticks(range(len(keys)), [key.replace(" stage", "\nstage") for key in keys], fontsize=8.5)
axes.set_ylim(0, 1)
legend(axes, colours, loc="center right")
figure

# %% [markdown]
# Read it together with the baselines:
#
# - The **mean of every mask** scores below the middle, in all three networks. In stage 3 it scores
#   as random weights do, and hardly above a map that marks all pixels.
# - **Grad-CAM** and $|M\,T|$ of stage 3 lie above the middle in the network that ships, and below
#   it in both others. From the shipped network alone one would have reported that they beat the
#   middle. $|M\,T|$ of stage 1 does in one other network only.
# - **Training** matters for the mean of $M$ in stages 1 and 2: it scores above that of random
#   weights in all three networks. For $|M\,T|$ of stages 2 and 3 the ranges of trained and random
#   networks meet: random features of an object differ from those of the background, too.
# - The **trunk alone**, $|T|$, scores nearly as high as $|M\,T|$ in stages 2 and 3. The features
#   find the object, and the mask weighs them: the score of $|M\,T|$ does not show that it was the
#   mask that found the object.
# - **A rule without any network** scores best by far: in these images the object's colour differs
#   from the border's. The data set is easy, and an IoU below that of the rule is no achievement.
#
# ### Darker on the object?
#
# The sign was chosen by score. Measure it directly: the mean of $M$ over the object's pixels minus
# the mean over all others, with its standard error over 400 images.

# %%
for attention in attentions:
    found = [inside_outside(attention.mask, shapes.masks)]
    found += [log["inside_minus_outside"][seed][attention.title] for seed in SEEDS[1:]]
    words = ", ".join(f"{value:+.4f} ± {error:.4f}" for value, error in found)
    print(f"{attention.title}, seeds 0 (here), 1, 2: {words}")

# %% [markdown]
# In stage 1 the mask is darker on the object in each of the three networks. In stage 2 the sign
# depends on the seed. In stage 3 the difference is several times its error, and yet too small to
# matter to a gate that multiplies by $1 + M$. So "the masks are darker on the object" holds for
# stage 1 of these networks only. A difference that is larger than its error in 400 images may still
# be absent in the next network.
#
# ## 6 · Scoring: channels by a rule
#
# A few channels can score better than the mean of all. Which? You may look at the outlines of
# *some* images: that is a rule as long as it is scored on others.
#
# **Task 13.2.** Write a rule that picks at most 8 channels, given maps (here $|M\,T|$ of stage 2)
# and outlines of the first half of the images. The check takes the mean over your channels and
# scores it on images that your rule has not seen; it must beat the middle of the image by more
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

# %%
show_source(eight_channels, docstring=False, after="13.2")

# %% tags=["hide-input"]
stage2 = attentions[1]
products = np.abs(stage2.mask * stage2.trunk)
best = pick_channels(products[:200], shapes.masks[:200])
chosen = products[..., best].mean(axis=3)
print(f"channels {[int(c) for c in best]}, on images that the rule has not seen:")
print(score_halves(chosen, shapes.masks))

examples = 200 + np.arange(6)
figure = new_figure(9.0, 3.4, False)
grid = figure.subplots(3, 6)
for column, n in enumerate(examples):
    show(grid[0, column], shapes.images[n] / 255, colours)
    show(grid[1, column], inspect.overlay(shapes.images[n], chosen[n]), colours)
    show(grid[2, column], shapes.masks[n], colours, cmap="gray")
for row, words in enumerate(("image", "8 channels of |M T|", "true object")):
    row_label(grid[row, 0], words, colours)
figure

# %% [markdown]
# The eight best channels of the first half, on the three networks:

# %%
for seed in SEEDS:
    print("{}: {:.3f} ± {:.3f}".format(seed, *log["eight_channels"][seed]))
print(f"the middle: {middle:.3f}")

# %% [markdown]
# All three beat the middle by more than their standard error. It is the one map of this notebook
# that does, and its rule has seen the outlines of 200 images. (A rule may also ignore the outlines
# and choose channels that are bright in the middle. It may pass, too: the middle is a strong
# baseline, and a sum of the middle and of something else can beat it.)
#
# ## 7 · Intervening: delete and insert pixels
#
# A score compares a map with an outline. It does not ask what the network uses. That takes an
# **intervention**: change something, leave all weights as they are, and look at the answer.
#
# If a map says which pixels matter, then deleting them, the largest values first, should make the
# network lose the class quickly; and inserting them first into an empty image should bring it back
# quickly (Petsiuk et al., 2018). What stands in the place of a deleted pixel is a choice; here it
# is the median colour of the image's border. Again there are baselines: the middle, a random order,
# the rule without a network, and the true outline, which no map of the network knows.
#
# Before you run the next cell, predict: a tenth of the pixels are deleted, the most important
# first. What is left of the probability of the class (0.89 before) with a random order, with
# $|M\,T|$ of stage 1, and of stage 3?

# %%
show_source(pixel_curves, docstring=False)
part = slice(200, 300)
given = preprocess, shapes.images[part], shapes.labels[part]
tried = curve_maps(model, shapes.images[part], inputs[part], shapes.masks[part])
curves = {name: pixel_curves(model, *given, maps) for name, maps in tried.items()}

# %% tags=["hide-input"]
figure = new_figure(9.4, 3.9, False)
panels = figure.subplots(1, 2, sharey=True)
for axes, kind in zip(panels, ("deletion", "insertion")):
    dress(axes, colours, kind.capitalize(), "share of the pixels", "mean p of the class")
    for index, (name, found) in enumerate(curves.items()):
        paint = (*colours.colours[:5], colours.colours[6], colours.faint, colours.text)[index]
        axes.plot(SHARES, found[kind], "-" if index < 4 else "--", color=paint, lw=1.8, label=name)
names = panels[0].get_legend_handles_labels()
figure.legend(*names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
figure

# %%
for kind, share in (("deletion", 0.1), ("insertion", 0.2)):
    print(f"{kind} of {share:.0%}: mean p of the class for seeds 0, 1, 2")
    for name in curves:
        found = [log["curves"][seed][name][kind][SHARES.index(share)] for seed in SEEDS]
        print(f"   {name:16}" + "".join(f"{p:7.2f}" for p in found))

# %% [markdown]
# What all three networks show:
#
# - **The object is what they use.** Deleting it (true outline, or the rule without a network) takes
#   the class away faster than anything else.
# - $|M\,T|$ of stages 2 and 3 and Grad-CAM are far better than a random order. They are about as
#   good as **the middle**: the two $|M\,T|$ delete a little faster in each network, in one case by
#   less than a hundredth, and by insertion neither they nor Grad-CAM are better in all three.
# - $|M\,T|$ of **stage 1** deletes no faster than a random order, and beyond a tenth of the pixels
#   more slowly: its large values lie outside the object. Its IoU in section 5 does not show this,
#   because the score may turn a map around.
#
# What the curves do not show: an image with holes is none that the network was trained on, and
# another colour in the holes gives other curves.
#
# ## 8 · Intervening: replace the mask
#
# Does the mask do anything? Replace $M$ by something that keeps less of it, leave all other weights
# as they are, and count right answers:
#
# - **its mean over positions** keeps what the mask says about each channel in this image, and
#   nothing about where;
# - **one number a channel** is the mean over images too: nothing of the image is left;
# - **another image's mask** is a real mask, of the wrong image.
#
# Before you run the next cell, write down how many right answers are left in each case, and in
# which stage the loss is largest. Section 5 may tempt you to say: where $|M\,T|$ scores best.

# %%
show_source(right_answers, docstring=False)
many = load_shapes("test", count=1000)
swapped = replaced_masks(model, preprocess(many.images), many.labels)
print(f"{'accuracy, 1,000 images':46}" + "".join(f"{seed:>9}" for seed in SEEDS))
for words, accuracy in swapped.items():
    accuracies = [accuracy, *(log["accuracy"][seed][words] for seed in SEEDS[1:])]
    print(f"{words:46}" + "".join(f"{one:9.1%}" for one in accuracies))

# %% tags=["hide-input"]
figure = new_figure(9.4, 3.5, False)
panels = figure.subplots(1, 4, sharey=True)
titles = ("in all stages", "stage 1 only", "stage 2 only", "stage 3 only")
for stage, (axes, title) in enumerate(zip(panels, titles)):
    dress(axes, colours, title, "", "accuracy, %" if stage == 0 else "")
    for index, words in enumerate(REPLACEMENTS):
        key = words if stage == 0 else f"in stage {stage} only: {words}"
        values = [100 * log["accuracy"][seed][key] for seed in SEEDS]
        look = {"color": colours.colours[index], "ms": 7, "alpha": 0.8, "label": words}
        axes.plot([index] * 3, values, "osD"[index], **look)
    whole = [100 * log["accuracy"][seed]["intact"] for seed in SEEDS]
    axes.axhspan(min(whole), max(whole), color=colours.faint, alpha=0.4, lw=0)
    axes.set(xlim=(-0.6, 2.6), xticks=[], ylim=(60, 100))
names = panels[0].get_legend_handles_labels()
figure.legend(*names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
figure

# %% [markdown]
# A mark is one network; the grey band is the accuracy of the three with their own masks.
#
# - **The masks are used.** With another image's masks each network loses many points, though every
#   one of these masks is a real one. So what a mask says about *this* image matters.
# - **Which channel and where: both count.** The mean over positions keeps what the mask says about
#   each channel in this image, and costs each network less than one number a channel, which keeps
#   nothing of the image. But it costs each of them some points, so positions count too. How the
#   loss divides between the two differs from network to network.
# - **Stage 3 matters least**, in all three: a point or two at most. Yet its $|M\,T|$ has one of the
#   best scores of section 5, and deletes pixels faster than the middle. Which stage matters most
#   differs from network to network.
#
# **How well a map marks the object does not say how much the network uses it.** Neither looking nor
# scoring had told which masks count.
#
# What this does not show: the later layers were trained with their own masks and have never seen
# such inputs. That *these* networks need their masks does not mean that networks trained without
# masks would be worse. That needs training (notebook 09, section 5; Table 4 of the paper; notebooks
# 14 and 18).
#
# With your own network and your own images, in a terminal:
#
# ```
# minran masks runs/NAME photo.jpg --out masks.png       # each stage's mask over the image
# minran masks runs/NAME --score                         # the table of section 5, on shapes
# minran gradcam runs/NAME photo.jpg --out gradcam.png
# ```
#
# ## Summary
#
# - Every channel has a mask of its own; a drawing shows a mean, or channels chosen by a stated
#   rule. In stage 3 most of the variance is image x channel, not position.
# - IoU and the pointing game need true outlines, baselines, and a threshold chosen on other
#   images than are scored.
# - The means of the masks do not beat the middle of the image, in three networks of three.
#   Grad-CAM and $|M\,T|$ of stage 3 did for one seed, and not for the two others. Eight channels of
#   $|M\,T|$, chosen on other images, did in all three.
# - Deletion and insertion ask what the network uses. None of the maps was better than the middle by
#   both in all three networks; a rule without any network was.
# - Replacing the masks shows that the networks use them, those of stage 3 least. No score of a map
#   had told that.
# - Grad-CAM asks which positions speak for a class; a mask is what the network lets through.
#
# In [the live page](../docs/howto/live.md) (`minran live`) you replace a mask by one that you
# paint, and its scores stand next to those of the middle and of random weights.
#
# ## Questions
#
# 1. A map is the same at all positions. What are its two scores, and why is that not a fault of the
#    scores?
#
# <details><summary>Answer</summary>
#
# Stretched, it is 0 everywhere. At threshold 0 all pixels are in $A$: the IoU is the object's
# share of the image, here about a sixth. In the pointing game every pixel is the brightest and
# counts in part: the same share. That is the score of a map without any information.
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
# 3. You try 40 rules in task 13.2 on the images that are scored and report the best. What is
#    wrong?
#
# <details><summary>Answer</summary>
#
# The best of 40 scores is partly luck on these images. You have chosen on what you score, just as
# with a threshold. Take a third set of images for the last score.
# </details>
#
# 4. The masks of stage 1 are darker on the object in all three networks. How can a network profit
#    from that?
#
# <details><summary>Answer</summary>
#
# The factor $1 + M$ then raises the background's features against the object's. Convolutions
# after the gate can subtract them, or use them as a sign for "no object here". Only the loss
# decides, and it does not ask for bright masks.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: section 3 and Figure 1.
# - J. Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS 2018, arXiv:1810.03292.
# - V. Petsiuk, A. Das, K. Saenko, *RISE: Randomized Input Sampling for Explanation of Black-box
#   Models*, BMVC 2018, arXiv:1806.07421: deletion and insertion.
# - R. R. Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
#   Localization*, ICCV 2017, arXiv:1610.02391.
# - J. Zhang et al., *Top-down Neural Attention by Excitation Backprop*, ECCV 2016,
#   arXiv:1608.00507: the pointing game.
