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
#     number: 0
#     seconds: 8
#     minutes: 30
# ---

# %% [markdown]
# # 00 · Start here
#
# **You will be able to**
#
# - run a trained Residual Attention Network and look at its masks;
# - name its parts, from the stem to the classifier, and find each in the code;
# - compute the output of an attention module from its mask and its trunk;
# - look up the symbols of this course: what each means, where it is in the code, which notebook
#   explains it.
#
# **Time**: 30 minutes to read and do; runs in 8 seconds on 2 cores.
#
# **Needs**: Python and NumPy. Nothing is downloaded.

# %% tags=["setup"]
import numpy as np

from minran import inspect, ops
from minran.course import check, show_source
from minran.data import load_shapes
from minran.inspect.style import colour_bar, new_figure, show, theme
from minran.train import load_pretrained

# %% [markdown]
# ## 1 · A network that looks
#
# An image classifier turns an image into one number for each class, its **logits**; the largest
# is the answer. On the way it computes **features**: arrays of height × width × channels, in which
# each **channel** is a map that responds to one kind of pattern.
#
# This network was trained by `minran quickstart`, in about a minute and a half on two processor
# cores. Its images come from the library's own **shapes** data, which is drawn, not
# photographed: one object of ten kinds on a busy background. They are made here, so nothing has to
# be downloaded, and the true outline of every object is known. (CIFAR-10, the data of the paper,
# comes in notebook 12.)

# %%
model, preprocess, class_names = load_pretrained("quickstart")
test = load_shapes("test", 300)
inputs = preprocess(test.images)
probabilities = inspect.class_probabilities(model, inputs)
answers = probabilities.argmax(axis=1)
print(f"right on {np.mean(answers == test.labels):.1%} of {len(test.labels)} test images")

_, firsts = np.unique(test.labels, return_index=True)
shown = np.sort(firsts)[:5]
inspect.prediction_figure(test.images[shown[:3]], probabilities[shown[:3]], class_names, count=3)

# %% [markdown]
# So far this is any classifier. The special part: at three depths the network computes a
# **mask**, an array of the same size as its features, that says for each position and each channel
# how much that feature counts. The figure shows the mean of each mask over its channels, laid over
# the image, and the true object at the right. The network was trained on labels alone; it never saw
# where the objects are.

# %%
attentions = inspect.attention_maps(model, inputs)
inspect.mask_figure(
    test.images[shown],
    attentions,
    true_masks=test.masks[shown],
    class_names=class_names,
    labels=test.labels[shown],
    stretch=True,
)

# %% [markdown]
# Be careful with this figure: **each map is stretched** from its own lowest value (black) to its
# own highest (yellow). So every map looks equally strong. The next cell shows the same maps on one
# scale for all, and prints for all 300 images how much a map varies within an image, and how it is
# correlated with the object.

# %%
print("stage  size    highest - lowest in an image   correlation with the object   negative in")
for attention in attentions:
    maps = attention.mask.mean(axis=3)
    large = inspect.resize_maps(maps, (32, 32))
    pairs = zip(large, test.masks, strict=True)
    r = np.array([np.corrcoef(values.ravel(), mask.ravel())[0, 1] for values, mask in pairs])
    size, span = f"{maps.shape[1]}×{maps.shape[2]}", np.ptp(maps, axis=(1, 2)).mean()
    print(f"{attention.title[-1]:6} {size:7} {span:29.2f} {r.mean():29.2f} {np.mean(r < 0):13.0%}")

# %% tags=["hide-input"]
colours = theme()
figure = new_figure(6.4, 6.2, False)
axes = figure.subplots(len(shown), 4)
for row, index in zip(axes, shown, strict=True):
    show(row[0], test.images[index], colours, "image" if index == shown[0] else "")
    for panel, attention in zip(row[1:], attentions, strict=True):
        title = f"mask, {attention.title}" if index == shown[0] else ""
        values = attention.mask[index].mean(axis=2)
        drawn = show(panel, values, colours, title, cmap="inferno", vmin=0.3, vmax=0.7)
colour_bar(figure, drawn, axes, colours, "mean of the mask over channels")
figure

# %% [markdown]
# On one scale the maps of stage 3 are almost flat: within an image they vary by a few hundredths.
# Those of stages 1 and 2 vary more, and in most images they are **darker on the object**, not
# brighter: the correlation is negative. So these means do not highlight the object. That alone says
# neither that the masks are useless nor that they work: a mean over channels hides much, because
# each channel has a mask of its own, and a channel that is lowered may be one that disturbs.
# Notebook 13 measures both: where masks are high, scored against the true outlines and against a
# baseline that always points at the middle, and what the network loses when masks are replaced.
#
# Below are the four channels of the first stage whose masks vary most over the image (each
# stretched to its own range again).

# %%
first, objects = attentions[:1], test.masks[shown]
inspect.mask_figure(test.images[shown], first, objects, rule="variance", count=4, stretch=True)

# %% [markdown]
# ## 2 · The map of the network
#
# The whole network, with the shape of the features on every arrow (height × width × channels).
# While the notebook runs, a click on the name of a box folds it.

# %%
inspect.module_graph(model, depth=3)

# %% [markdown]
# | part | what it does |
# |---|---|
# | **stem** | one convolution that makes channels out of colours, and (here) a pool to save time |
# | **stages** | three; all but the first halve the size; each holds an `AttentionModule` |
# | **tail** | residual units without attention |
# | **norm, pool, fc** | batch norm and ReLU, mean over positions, a linear layer: logits |
#
# The words in it, in one line each (notebook 00b uses them all, later ones explain them):
#
# | word | meaning | notebook |
# |---|---|---|
# | **convolution** | each output number is computed from a small window of the input | 03 |
# | **batch norm** | moves and scales each channel to mean 0 and variance 1 | 04 |
# | **ReLU** | $\max(z, 0)$ for each number | 04 |
# | **pool** | makes a map smaller: the largest, or the mean, of each window | 05 |
# | **residual unit** | a few layers $F$ whose output is added to their input: $x + F(x)$ | 07 |
# | **sigmoid** | $1/(1 + e^{-z})$, a number between 0 and 1 | 10 |
#
# Figures count stages from 1, as the paper does; the code counts from 0, as Python does. "Stage 1"
# of a figure is `stages.0` in the code.
#
# Everything new is inside the **attention module**. This is Figure 2 of the paper, drawn from the
# code: the *trunk* on one side, the *mask* on the other, and the gate that joins them.

# %%
module = dict(model.named_modules())["stages.0.1"]
inspect.module_graph(module, image_size=(16, 16))

# %% [markdown]
# From top to bottom:
#
# - **before**: residual units; their output goes to both branches;
# - **trunk** $T$: two residual units, which compute features as in any residual network;
# - **mask** $M$: pools make the map small, so that each value depends on much of the image;
#   interpolation brings it back to full size; two $1\times1$ convolutions and a sigmoid make
#   values between 0 and 1;
# - **gate**: $H = (1 + M)\,T$, element by element (the paper's Eq. 3);
# - **after**: more residual units.
#
# The names in the drawing are the names in the code. The mask of the first module is
# `stages.0.1.mask`: stage 0, part 1 of it (part 0 is a plain unit), and in that the part `mask`.
# Every module and every parameter has such a name:

# %%
for name, part in module.named_modules():
    if name and name.count(".") < 1:
        print(f"stages.0.1.{name:8} {type(part).__name__}")

# %% tags=["exercise"]
# Task 00.1: write the name of the module that computes each of these four
### BEGIN SOLUTION
second_stage_mask = "stages.1.1.mask"
third_stage_trunk = "stages.2.1.trunk"
first_pool_of_first_mask = "stages.0.1.mask.body.pool"
logits = "fc"
### END SOLUTION
names = {
    "mask of the second stage": second_stage_mask,
    "trunk of the third stage": third_stage_trunk,
    "first max-pool of the first stage's mask": first_pool_of_first_mask,
    "logits": logits,
}

# %% tags=["check"]
check("00.1", names)

# %% [markdown]
# ## 3 · The one equation
#
# The gate has two versions in the paper. **Naive** attention learning multiplies (Eq. 1);
# **residual** attention learning adds the features themselves (Eq. 3):
#
# $$ H = M\,T \quad\text{(Eq. 1)}, \qquad\qquad H = (1 + M)\,T \quad\text{(Eq. 3)}. $$
#
# With $0 \le M \le 1$ the naive gate can only make features smaller, and a network has many such
# gates one after another. The residual gate never makes a feature smaller. Notebook 09 is about
# this difference.


# %% tags=["exercise"]
# Task 00.2: return H for residual attention learning, given the arrays M and T
def gated(M, T):
    ### BEGIN SOLUTION
    return (1 + M) * T
    ### END SOLUTION


# %% tags=["check"]
check("00.2", gated)

# %% [markdown]
# Here is one channel of the trained network before and after its gate, with the mask between them:

# %%
inspect.before_after_figure(test.images[shown[:3]], attentions[0])

# %%
show_source(ops.gate, after="00.2")

# %% [markdown]
# ## 4 · How the course goes on
#
# | notebooks | what you build |
# |---|---|
# | **00b** | in an hour: a classifier, a convolutional network, a mask painted and learned |
# | **01-02** | gradients: how they are computed, and how to be sure that they are right |
# | **03-06** | the layers: convolution, batch norm, pooling, interpolation; loss and optimiser |
# | **07-11** | the network: residual units, mask, attention module, the whole and its size |
# | **12-15** | training it, seeing its masks, the paper's tables, noisy labels |
# | **16-18** | six real bugs, the way to the GPU, and the limits of the design |
#
# In each there are tasks. A cell that begins with `# Task` waits for your code; the cell after it
# checks your answer, and says where it differs if it does. In a notebook from the repository the
# solution is folded away below the check. `minran course grade NOTEBOOK` checks all tasks at once.
#
# **What you write grows.** A function or class that passes its check is also written into the file
# `my_minran.py`, next to the notebook, one section for each task. Later notebooks can use it:
# `from my_minran import gated`. At the end of notebook 09 these pieces train a network, whose
# losses must be those of minran. You may edit the file: `check` changes only sections that it wrote
# itself. (In Colab each notebook has a machine of its own: download the file there, and upload it
# in the next notebook. A notebook that you hand in is graded without the file.)
#
# ## 5 · Symbols
#
# The letters that come in every notebook:
#
# | symbol | what it is | in the code | notebooks |
# |---|---|---|---|
# | $N, H, W, C$ | images, height, width, channels: the order of all axes | `Tensor.shape` | 03 |
# | $x$, $y$ | input and output of an operation | `Op.forward` | 01 |
# | $L$ | the loss, one number | `ops.cross_entropy` | 01, 06 |
# | $g_y$ | gradient of the loss, $\partial L/\partial y$ | `Op.backward(gy)` | 01 |
# | $A^\top$ | adjoint of a linear operation | `Op.backward` | 02 |
# | $u$ | input of trunk and mask | `stages.0.1.before` | 08 |
# | $T$ | trunk branch: features | `stages.0.1.trunk` | 08 |
# | $M$ | soft mask branch | `stages.0.1.mask` | 08 |
# | $H$ | output of the gate, $(1 + M)\,T$ or $M\,T$ | `ops.gate` | 09 |
#
# All others stand in one table of the documentation, `docs/reference/symbols.md`: what each means,
# where it is in the code, and in which notebooks it means that. Some letters mean several things,
# as in the papers that they come from: $r$ is a cotangent, one over a standard deviation, a number
# of units and a clean ratio. `ops.conv2d(stride)` means the argument `stride` of
# `minran.ops.conv2d`, and names such as `stages.0.1.mask` are parts of the network above. (A test
# follows every name, and compares the table with the equations of all notebooks.)
#
# ## Summary
#
# - A Residual Attention Network is a residual network in which a mask weights the features.
# - $M$ and $T$ come from the same input; $H = (1 + M)\,T$.
# - Every part has a name that is the same in the drawing, in the code and in the checkpoint.
# - The shapes data is the library's own, with known outlines; it is not the paper's data.
#
# To paint on an image and see these masks follow, run `minran live`:
# [what to do there](../docs/howto/live.md).
#
# ## Questions
#
# 1. The mask of stage 3 is a map of $4\times4$. Why does it look smooth when laid over an image of
#    $32\times32$?
#
# <details><summary>Answer</summary>
#
# Each of its values belongs to a patch of $8\times8$ pixels and more. To lay it over the image
# it is interpolated, which is smooth. Fine outlines cannot be seen in it, whatever the colours
# suggest.
#
# </details>
#
# 2. If $M = 0$ everywhere, what is the module's $H$, naive and residual?
#
# <details><summary>Answer</summary>
#
# Naive: 0, all features are gone. Residual: $T$, as if there were no mask.
#
# </details>
#
# 3. The masks were never compared with the true outlines in training. Why should they have
#    anything to do with the objects?
#
# <details><summary>Answer</summary>
#
# If a mask raises features at positions that help to name the class, the loss falls. That is a
# reason to expect something, and no proof: a mask may also raise features of the background that a
# later layer subtracts. In section 1 the means of stages 1 and 2 are lower on the object. So one
# has to measure, against the outlines and against a baseline that always points at the middle:
# notebook 13.
#
# </details>
#
# ## References
#
# - F. Wang, M. Jiang, C. Qian, S. Yang, C. Li, H. Zhang, X. Wang, X. Tang, *Residual Attention
#   Network for Image Classification*, CVPR 2017. arXiv:1704.06904.
# - K. He, X. Zhang, S. Ren, J. Sun, *Identity Mappings in Deep Residual Networks*, ECCV 2016.
#   arXiv:1603.05027.
# - `docs/architecture.md`: the order in which to read the code.
