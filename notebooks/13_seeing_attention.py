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
# - compare a score with baselines: the middle, random weights, a rule without any network;
# - replace a mask and measure what the network loses, which is another question;
# - say which of the findings come back in networks of other seeds.
#
# **Time**: 75 minutes to read and do; runs in 60 seconds on 2 cores.
# **Needs**: notebooks 08 (the soft mask) and 09 (the gate).

# %% tags=["setup"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("minran") is None:  # in Colab
    wheel = "minran[notebooks] @ git+https://github.com/minran/minran"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wheel], check=True)

import numpy as np

from minran import create_model, inspect, nn, no_grad, tensor
from minran.course import check, explore, show_source
from minran.data import load_shapes
from minran.inspect.masks import added
from minran.inspect.style import MAP_COLOURS, dress, legend, new_figure, row_label, show, theme
from minran.train import load_pretrained

colours = theme()

# %% [markdown]
# ## 1 · What there is to see
#
# The network is the one of `minran quickstart`: three stages, one attention module in each. **The
# pictures are the built-in shapes, not photographs**; what makes them useful here is that the true
# outline of every object is known. The network has never seen an outline, only labels.
#
# **One network is one draw of random numbers.** The cells below show the network that ships, which
# was trained with seed 0. The tables in the text have two more, trained in the same way with seeds
# 1 and 2. What is true of one of the three only is no finding. (Sections 4 to 6 print the tables
# for every network that they find. `minran train --recipe quickstart --set seed=1 --name
# quickstart-1` trains one, in a minute or two; put it into `networks` with `load_model`.)
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
# Every channel has a mask of its own: 16, 48 and 96 of them. In a running notebook, sliders choose
# stage, channel and picture; a saved page shows one choice. The scale of each panel runs from its
# own smallest to its own largest value, so read the numbers, too.

# %% tags=["hide-input"]
_, firsts = np.unique(shapes.labels, return_index=True)
shown = np.sort(firsts)[:6]


def viewer(stage, channel, picture):
    """One channel of one mask, and the trunk's features that it multiplies."""
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
# A mask that does something varies. In what? Write $M_{nijc}$ as a sum of four parts: the mean of
# the channel; what the picture adds to that; what the position adds in every picture alike; and the
# rest, which depends on the position *in this picture*. Their variances add up to that of $M$:

# %%
PARTS = ("channel", "picture x channel", "fixed position", "position in the picture")


def variance_parts(mask):
    """Shares of the variance of M: of the channel, the picture, the position, and of the rest."""
    mask = mask.astype(np.float64)
    channel = mask.mean(axis=(0, 1, 2))
    picture = mask.mean(axis=(1, 2), keepdims=True) - channel
    position = mask.mean(axis=0) - channel
    rest = mask - channel - picture - position
    return [part.var() / mask.var() for part in (channel, picture, position, rest)]


print(" " * 8 + "".join(f"{name:>26}" for name in PARTS))
for attention in attentions:
    print(f"{attention.title:8}" + "".join(f"{v:26.0%}" for v in variance_parts(attention.mask)))

# %% [markdown]
# Only the last column is what "the mask looks at the object" can mean. The three networks agree: 58
# to 67% of the variance in stage 3 is picture x channel, and only 9 to 13% depend on the position
# in the picture. There the mask raises or lowers a channel in the whole picture, much as
# squeeze-and-excitation does (notebook 18). The last column has 29 to 39% in stage 1 and 43 to 49%
# in stage 2.
#
# %% [markdown]
# ## 2 · From many channels to one picture
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
# In such pictures one easily sees what one hopes to see. A score does not depend on hope.
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
# **The middle.** Objects stand near the middle more often than at the border. A map that ignores
# the picture and always shows a soft spot in the middle scores well, too. It is the first baseline:

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

# %% [markdown]
# Two more baselines belong here. The first uses no network: the distance of each pixel from the
# median colour of the picture's border. The second uses the same network with **random weights**
# (Adebayo et al., 2018): a map that scores as well without training says nothing about what was
# learnt. Batch norm gets its statistics from one pass, and three seeds show the spread.

# %%
known, new = slice(0, 200), slice(200, 400)


def honest(maps, outlines):
    """Threshold and sign chosen on the first half, scored on the second."""
    first = [inspect.score(maps[known], outlines[known], invert) for invert in (False, True)]
    best = max(first, key=lambda scores: scores.iou)
    return inspect.score(maps[new], outlines[new], best.inverted, best.threshold)


def border_colour(images):
    """How far each pixel's colour is from the median of the border's: (N, H, W)."""
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    median = np.median(np.concatenate(edges, axis=1), axis=1)
    return np.linalg.norm(images - median[:, None, None], axis=3)


def random_network(seed):
    """The quickstart network before any training."""
    widths = {"stem_width": 16, "widths": (16, 48, 96), "tail_width": 96}
    network = create_model("attention_small_cifar", seed=seed, **widths)
    network.train()
    with no_grad():
        network(tensor(inputs[:200]))  # one pass, for the running statistics
    return network.eval()


def ious(network, pictures):
    """IoU of mean M, of mean |M T| and of mean |T| for every stage, and of Grad-CAM."""
    found = {}
    for one in inspect.attention_maps(network, pictures):
        reduced = inspect.channel_mean(one.mask), added(one), np.abs(one.trunk).mean(axis=3)
        for name, maps in zip(("M", "|M T|", "|T|"), reduced):
            found[name, one.title] = honest(maps, shapes.masks).iou
    found["Grad-CAM", ""] = honest(inspect.gradcam(network, pictures), shapes.masks).iou
    return found


networks = {"seed 0 (shipped)": model}
trained = {name: ious(network, inputs) for name, network in networks.items()}
untrained = {f"random {seed}": ious(random_network(seed), inputs) for seed in range(3)}
middle = scores["Grad-CAM of the answer"].centre_iou
border = honest(border_colour(shapes.images.astype(np.float64)), shapes.masks).iou

# %%
print(f"{'IoU on 200 pictures':20}" + "".join(f"{name:>18}" for name in (trained | untrained)))
for key in trained["seed 0 (shipped)"]:
    values = [found[key] for found in (trained | untrained).values()]
    print(f"{' '.join(key):20}" + "".join(f"{value:18.3f}" for value in values))
print(f"the middle {middle:.3f}; distance from the border's colour, no network: {border:.3f}")

# %% tags=["hide-input"]
figure = new_figure(8.6, 3.4, False)
axes = dress(figure.subplots(), colours, "Intersection over union", "", "mean over 200 pictures")
keys = list(trained["seed 0 (shipped)"])
for index, (words, group) in enumerate((("trained", trained), ("random weights", untrained))):
    for place, key in enumerate(keys):
        values = [found[key] for found in group.values()]
        at = [place + 0.2 * index - 0.1] * len(values)
        label = words if place == 0 else None
        axes.plot(at, values, "os"[index], color=colours.colours[index], alpha=0.75, label=label)
axes.axhline(middle, color=colours.faint, ls="--", lw=1.4)
axes.annotate(
    "always the middle", (0, middle), (0, 3), textcoords="offset points", color=colours.faint
)
axes.axhline(border, color=colours.faint, ls=":", lw=1.4)
axes.annotate("border colour", (0, border), (0, 3), textcoords="offset points", color=colours.faint)
axes.set_xticks(range(len(keys)), ["\n".join(key) for key in keys], fontsize=8.5)
axes.set_ylim(0, 1)
legend(axes, colours, loc="center right")
figure

# %% [markdown]
# The same for three trained networks:
#
# | IoU | seed 0 (shipped) | seed 1 | seed 2 | random weights, three seeds |
# |---|---|---|---|---|
# | M stage 1 | 0.288 | 0.268 | 0.302 | 0.167 to 0.209 |
# | MT stage 1 | 0.337 | 0.406 | 0.282 | 0.225 to 0.274 |
# | T stage 1 | 0.296 | 0.343 | 0.244 | 0.255 to 0.285 |
# | M stage 2 | 0.306 | 0.253 | 0.279 | 0.167 to 0.181 |
# | MT stage 2 | 0.388 | 0.361 | 0.340 | 0.289 to 0.344 |
# | T stage 2 | 0.409 | 0.360 | 0.353 | 0.296 to 0.351 |
# | M stage 3 | 0.186 | 0.178 | 0.188 | 0.175 to 0.181 |
# | MT stage 3 | 0.416 | 0.351 | 0.363 | 0.289 to 0.351 |
# | T stage 3 | 0.416 | 0.338 | 0.358 | 0.271 to 0.355 |
# | Grad-CAM | 0.417 | 0.326 | 0.367 | 0.194 to 0.313 |
#
# Read it together with the baselines:
#
# - The **mean of every mask** scores below the middle (0.391), in all three networks. In stage 3 it
#   scores as random weights do, and hardly above the 0.167 of a map that marks all pixels.
# - **Grad-CAM** (section 8) and $|M\,T|$ of stage 3 lie above the middle in the network that ships,
#   and below it in both others. From the shipped network alone one would have reported that they
#   beat the middle. $|M\,T|$ of stage 1 does in one other network only.
# - **Training** matters for the mean of $M$ in stages 1 and 2: it scores above that of random
#   weights in all three networks. For $|M\,T|$ the ranges of trained and random networks overlap or
#   nearly meet: random features of an object differ from those of the background, too.
# - **A rule without any network** scores best by far: in these pictures the object's colour differs
#   from the border's. The data set is easy, and an IoU below that of the rule is no achievement.
# - Stage 3 has $4\times4$ values for a picture, too few for an outline. In the network that ships,
#   the pointing game finds its turned mask on the object in far fewer pictures than a random pixel
#   (0.167), though the IoU chose to turn it. Two scores so close to that of all pixels decide
#   nothing.
#
# ### Darker on the object?
#
# The sign was chosen by score. Measure it directly: the mean of $M$ over the object's pixels minus
# the mean over all others, with its standard error over 400 pictures.


# %%
def inside_outside(mask):
    """Mean of M on the object minus beside it: the mean over pictures, and its error."""
    maps = inspect.resize_maps(inspect.channel_mean(mask), shapes.masks.shape[1:])
    found = [m[inside].mean() - m[~inside].mean() for m, inside in zip(maps, shapes.masks)]
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(len(found))


for attention in attentions:
    print(f"{attention.title}: {'{:+.4f} ± {:.4f}'.format(*inside_outside(attention.mask))}")

# %% [markdown]
# For seeds 0, 1 and 2:
#
# - Stage 1: -0.047, -0.036, -0.034: darker on the object, in each network.
# - Stage 2: -0.017, +0.010, -0.017: the sign depends on the seed.
# - Stage 3: -0.0011, -0.0010, -0.0012: several times its error, and yet too small to matter to a
#   gate that multiplies by $1 + M$.
#
# So "the masks are darker on the object" holds for stage 1 of these networks only. A difference
# that is larger than its error in 400 pictures may still be absent in the next network.
#
# ## 5 · What the mask adds
#
# $|M\,T|$ is the part of (13.1) that is there because of the mask. It is small where the trunk is
# zero, however bright the mask. In the table of section 4 it mostly scores higher than $M$. But the
# **trunk alone**, $|T|$, scores nearly the same in stages 2 and 3: the features find the object,
# and the mask weighs them. A score of $|M\,T|$ does not show that it was the mask that found the
# object.
#
# ## 6 · Does the mask do anything?
#
# No score of a map can answer that. An **intervention** can: replace $M$ by something else, leave
# all other weights as they are, and count right answers.


# %%
class Replaced(nn.Module):
    """A mask branch whose values are changed before the gate reads them."""

    def __init__(self, mask, change):
        self.mask, self.change = mask, change

    def forward(self, u):
        return tensor(self.change(self.mask(u).numpy()))


many = load_shapes("test", count=1000)
CHANGES = {
    "its mean over positions": lambda m: np.broadcast_to(m.mean((1, 2), keepdims=True), m.shape),
    "one number a channel": lambda m: np.broadcast_to(m.mean((0, 1, 2), keepdims=True), m.shape),
    "another picture's mask": lambda m: np.roll(m, 1, axis=0),
}
"""What stands in the place of M; means and other pictures are those of a batch of 250."""


def right_answers(network, pictures, change=None, stages=(0, 1, 2)):
    """Accuracy on 1,000 test pictures with the masks of these stages changed."""
    modules = [network.stages[stage][1] for stage in stages]
    masks = [module.mask for module in modules]
    if change is not None:
        for module in modules:
            module.mask = Replaced(module.mask, change).eval()
    with no_grad():
        parts = [network(tensor(pictures[i : i + 250])).numpy() for i in range(0, 1000, 250)]
    for module, mask in zip(modules, masks):
        module.mask = mask
    return np.mean(np.concatenate(parts).argmax(axis=1) == many.labels)


pictures = preprocess(many.images)
swapped = {}
for name, network in networks.items():
    network.eval()
    swapped[name] = {"intact": right_answers(network, pictures)}
    for words, change in CHANGES.items():
        swapped[name][words] = right_answers(network, pictures, change)
        for stage in range(3):
            found = right_answers(network, pictures, change, (stage,))
            swapped[name][f"  in stage {stage + 1} only: {words}"] = found
    print(name)
    for words, accuracy in swapped[name].items():
        print(f"  {words:46} {accuracy:6.1%}")

# %% [markdown]
# For the three networks:
#
# | accuracy in %, M replaced by | seed 0 (shipped) | seed 1 | seed 2 |
# |---|---|---|---|
# | intact | 94.6 | 94.4 | 94.1 |
# | its mean over positions | 89.2 | 91.1 | 84.7 |
# | in stage 1 only: its mean over positions | 93.3 | 93.8 | 86.1 |
# | in stage 2 only: its mean over positions | 92.2 | 92.6 | 92.6 |
# | in stage 3 only: its mean over positions | 94.6 | 94.5 | 94.1 |
# | one number a channel | 77.8 | 88.3 | 82.6 |
# | in stage 1 only: one number a channel | 93.1 | 93.8 | 86.8 |
# | in stage 2 only: one number a channel | 85.1 | 90.3 | 90.8 |
# | in stage 3 only: one number a channel | 94.9 | 94.5 | 93.6 |
# | another picture's mask | 67.2 | 83.3 | 74.8 |
# | in stage 1 only: another picture's mask | 91.5 | 92.7 | 85.1 |
# | in stage 2 only: another picture's mask | 79.5 | 87.9 | 89.6 |
# | in stage 3 only: another picture's mask | 94.1 | 93.4 | 92.6 |
#
# - **The masks are used.** With another picture's masks, each of the networks loses many points. So
#   what a mask says about *this* picture matters.
# - The mean over positions keeps what the mask says about a channel in this picture, and costs each
#   network less than one number a channel, which keeps nothing of the picture.
# - **Stage 3 matters least**, in all three: the networks lose a point or two at most. Yet $|M\,T|$
#   of stage 3 has one of the best scores of section 4. Which stage matters most differs: stage 2
#   for seeds 0 and 1, stage 1 for seed 2. *How well a map marks the object does not say how much
#   the network uses it.*
#
# What this does not show: the later layers were trained with their own masks and have never seen
# such inputs. That *these* networks need their masks does not mean that networks trained without
# masks would be worse. That needs training (Table 4 of the paper; notebooks 14 and 18).
#
# ## 7 · Channels by a rule
#
# A few channels can score better than the mean of all. Which? You may look at the outlines of
# *some* pictures: that is a rule as long as it is scored on others.
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
best = pick_channels(products[known], shapes.masks[known])
chosen = products[..., best].mean(axis=3)
print(f"channels {[int(c) for c in best]}, on pictures that the rule has not seen:")
print(honest(chosen, shapes.masks))

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
# The same rule on the three networks, each scored on new pictures (the middle: 0.391):
#
# | IoU | seed 0 (shipped) | seed 1 | seed 2 |
# |---|---|---|---|
# | eight channels of MT, stage 2 | 0.443 | 0.401 | 0.416 |
#
# A rule may also ignore the outlines, and choose channels that are bright in the middle. It may
# pass, too: the middle is a strong baseline, and a sum of the middle and of something else can beat
# it.
#
# ## 8 · Grad-CAM
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
# - IoU and the pointing game need true outlines, baselines, and a threshold chosen on other
#   pictures than are scored.
# - The means of the masks do not beat the middle of the picture, in three networks of three.
#   Grad-CAM and $|M\,T|$ of stage 3 did for one seed, and not for the two others. Eight channels of
#   $|M\,T|$, chosen on other pictures, did in all three.
# - Replacing the masks shows that the networks use them, those of stage 3 least. No score of a map
#   had told that.
# - Grad-CAM asks which positions speak for a class; a mask is what the network lets through.
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
# 3. You try 40 rules in task 13.2 on the pictures that are scored and report the best. What is
#    wrong?
#
# <details><summary>Answer</summary>
#
# The best of 40 scores is partly luck on these pictures. You have chosen on what you score, just as
# with a threshold. Take a third set of pictures for the last score.
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
# - R. R. Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
#   Localization*, ICCV 2017, arXiv:1610.02391.
# - J. Zhang et al., *Top-down Neural Attention by Excitation Backprop*, ECCV 2016,
#   arXiv:1608.00507: the pointing game.
