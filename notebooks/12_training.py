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
#     number: 12
#     seconds: 60
#     minutes: 60
# ---

# %% [markdown]
# # 12 · Training it
#
# **You will be able to**
#
# - read the paper's recipe number by number, and say what each is for;
# - write the augmentation of the paper, and say in which order its steps must come;
# - start a run from a recipe, watch its curves, stop it, and go on;
# - name everything that a run must remember to continue *bit for bit*;
# - read training and test curves, and know what a single run can tell.
#
# **Time**: 60 minutes to read and do; runs in 60 seconds on 2 cores.
# **Needs**: notebooks 06 (loss, optimiser, schedules) and 11 (the whole network).

# %% tags=["setup"]
import signal
import tempfile
from pathlib import Path

import numpy as np

from minran import data
from minran.course import check, show_source
from minran.data.augment import cut_windows
from minran.inspect.style import dress, new_figure, row_label, show, theme
from minran.optim import multistep
from minran.train import (
    LiveCurves,
    Parts,
    Run,
    load_checkpoint,
    load_recipe,
    read_history,
    train,
    train_step,
)

colours = theme()
folder = Path(tempfile.mkdtemp(prefix="minran-"))

# %% [markdown]
# ## 1 · The paper's recipe
#
# A run is one text file. This is the paper's for Attention-56 on CIFAR-10 (its section 4.1); what
# is not named has its default:

# %%
paper = load_recipe("cifar10-attention56")
wanted = ("data.", "augment.pad", "optimizer.", "schedule.m", "schedule.f", "schedule.k")
wanted += ("training.iterations", "training.batch_size")
changed = {k: v for k, v in paper.entries().items() if k.startswith(wanted) and v not in ("", 0)}
for name, value in changed.items():
    print(f"{name:28} {value}")

# %% [markdown]
# | entry | why |
# |---|---|
# | batch 64 | the paper gives no reason; a GPU works better with more |
# | Nesterov, momentum 0.9 | notebook 06, (6.16) |
# | weight decay $10^{-4}$ | before batch norm it sets how fast filters turn, notebook 06 |
# | rate 0.1, divided by 10 at 64,000 and 96,000 | large steps first, then small ones |
# | 160,000 iterations | $160{,}000 \cdot 64 / 50{,}000 = 205$ epochs |
# | pad 4, crop, mirror | 162 versions of each image, the label unchanged |
# | per-pixel mean subtracted | inputs around 0 |
#
# One choice is ours: after the mean is subtracted, inputs are divided by 64 (`data.std`), so that
# their spread is about 1. The paper does not divide. The stem's convolution is linear and a batch
# norm follows, which takes the constant out again.

# %% tags=["hide-input"]
schedule = multistep(0.1, (64_000, 96_000), 0.1)
steps = np.arange(0, 160_000, 500)
figure = new_figure(6.2, 2.5, False)
axes = dress(figure.subplots(), colours, "The paper's schedule", "step (thousands)", "rate")
axes.plot(steps / 1000, [schedule(int(s)) for s in steps], color=colours.colours[0], lw=2)
axes.set_yscale("log")
axes.set_ylim(5e-4, 0.3)
figure

# %% [markdown]
# ## 2 · Augmentation
#
# **The images are the built-in shapes, not CIFAR**, so that nothing has to be downloaded; the code
# is the same. The paper pads with 4 zeros on each side, cuts a window of $32 \times 32$ at a random
# position, and mirrors half of the windows. There are $9 \cdot 9 \cdot 2 = 162$ outcomes.
#
# **Task 12.1.** Write it for one image, with the random numbers given.


# %% tags=["exercise"]
# Task 12.1: pad, crop, and mirror one image
def crop_and_mirror(image, top, left, mirrored, pad=4):
    """image (H, W, C), zeros around it, cut to (H, W, C) at row `top`, column `left`; mirrored."""
    ### BEGIN SOLUTION
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    window = padded[top : top + height, left : left + width]
    return window[:, ::-1] if mirrored else window
    ### END SOLUTION


# %% tags=["check"]
check("12.1", crop_and_mirror)

# %%
show_source(cut_windows, docstring=False, after="12.1")

# %% tags=["hide-input"]
shapes = data.load_shapes("train", count=64)
rng = np.random.default_rng(12)
versions = {
    "pad, crop, mirror (the paper)": lambda x: data.pad_crop_flip(x, rng),
    "cutout": lambda x: data.cutout(x, rng, size=10),
}
rows = [("as it is", shapes.images[:8])]
rows += [(name, make(shapes.images[:8])) for name, make in versions.items()]
figure = new_figure(9.2, 3.6, False)
grid = figure.subplots(len(rows), 8)
for line, (name, images) in zip(grid, rows):
    for axes, image in zip(line, images):
        show(axes, image / 255, colours)
    row_label(line[0], name, colours)
figure

# %% [markdown]
# The order matters. The paper pads the **raw** image, so the border that comes in is black; then
# the mean is subtracted. The other way round the border would be the grey of the mean image. And
# the mean is that of the *training* images, without augmentation, for training and test alike.
#
# A mirrored digit or letter is another one, or none: augmentation uses knowledge about the task. (A
# mirrored crescent is still a crescent.)
#
# ## 3 · One step
#
# One step of training uses everything from notebooks 01 to 11:

# %%
show_source(train_step, docstring=False)

# %% [markdown]
# (`distributed` is for several processes; alone, `share` is the whole batch and `weight` is 1.)
#
# ## 4 · A run, watched
#
# A small recipe: the nano network, 1,600 shapes, four epochs. `LiveCurves` is called with every row
# of the history and redraws one figure; in a terminal `minran train` shows a progress bar instead.
# The rate is not the paper's: it rises and falls once (`one_cycle`, notebook 06), and there is no
# augmentation.
#
# Before you run the next cell, predict the test accuracy after the first epoch and after the last.
# (Guessing is right once in ten.)

# %%
recipe = load_recipe(
    "quickstart",
    [
        "model.name=attention_nano",
        "model.options={}",
        "data.train_count=1600",
        "data.test_count=400",
        "optimizer.lr=0.1",
        "training.batch_size=32",
        "training.epochs=4",
        "training.log_every=10",
    ],
)
result = train(recipe, folder / "whole", quiet=True, on_row=LiveCurves(every=2.0))
last = result.history.epochs[-1]
print(f"test accuracy {last['test_accuracy']:.1%} after {last['epoch']} epochs")

# %% [markdown]
# What to look for in such curves, and what this one shows:
#
# - **Both losses fall together**: the network still learns something that holds for new images.
#   This is the case here; four epochs are far too few, and the accuracy is low.
# - **Training accuracy below test accuracy**, in some of the epochs printed below: not a mistake.
#   It is averaged over the epoch, while the network was still worse. (With augmentation there is a
#   second reason: the training images are harder.)
#
# Not in this curve, but common in others:
#
# - **Training loss falls, test loss does not**: the network fits the training images only. More
#   augmentation, more weight decay, fewer parameters.
# - **Both stay high**: the rate is too small, or too large (look at the first 50 steps), or
#   something is broken (notebooks 02 and 16).
# - **A step when the rate is divided by 10** (the paper's schedule): expected.
#
# %%
for row in result.history.epochs:
    train_accuracy, test_accuracy = row["train_accuracy"], row["test_accuracy"]
    print(f"epoch {row['epoch']}: training accuracy {train_accuracy:.1%}, test {test_accuracy:.1%}")

# %% [markdown]
# The files of the run:

# %%
for path in sorted((folder / "whole").iterdir()):
    print(f"{path.name:22} {path.stat().st_size:8,} bytes")

# %% [markdown]
# ## 5 · Stop, and go on
#
# Long runs get interrupted. A run that is resumed should give what the uninterrupted run would have
# given, **bit for bit**: otherwise nobody can tell whether a difference comes from the idea that
# was tested or from the interruption.
#
# **Task 12.2.** Here is a job: a network, an optimiser, a step count and a random generator that
# draws the batches and crops them. Write `snapshot(job)`, which returns everything that must be
# kept, as plain arrays, numbers and text in dictionaries or lists, as a file could hold them, and
# `restore(job, saved)`, which puts it into a *new* job.
#
# `job.model` and `job.optimizer` have `state_dict()` (copies) and `load_state_dict(state)`.
# `job.step` is a number, `job.rng` a `np.random.Generator`, whose state is
# `job.rng.bit_generator.state` (a dictionary that may be read and set).


# %% tags=["exercise"]
# Task 12.2: everything that a training run has to remember
### BEGIN SOLUTION
def snapshot(job):
    return {
        "model": job.model.state_dict(),
        "optimizer": job.optimizer.state_dict(),
        "step": job.step,
        "rng": job.rng.bit_generator.state,
    }


def restore(job, saved):
    job.model.load_state_dict(saved["model"])
    job.optimizer.load_state_dict(saved["optimizer"])
    job.step = saved["step"]
    job.rng.bit_generator.state = saved["rng"]


### END SOLUTION
both = snapshot, restore

# %% tags=["check"]
check("12.2", both)

# %%
show_source(Parts.checkpoint, Parts.restore, docstring=False, after="12.2")

# %% [markdown]
# The library keeps the same things except the generator. Every epoch's order and every batch's
# crops are drawn from a fresh generator, made of the seed, the epoch and the position in it. So
# only the *position* has to be kept, and another thread can prepare a batch ahead without changing
# the order of draws.

# %%
checkpoint = load_checkpoint(folder / "whole" / "last.safetensors")
print(f"model      {len(checkpoint.model)} arrays: parameters and running statistics")
print(f"optimizer  {len(checkpoint.optimizer)} velocities")
at = checkpoint.progress
print(f"progress   step {at.step}, epoch {at.epoch}, batch {at.batch}, {at.rows} rows")

# %% [markdown]
# Now with a whole run. The same recipe once more; after its 10th row somebody presses Ctrl-C. The
# loop finishes the step, writes a checkpoint and returns. Then we resume, and compare with the run
# that was not interrupted.

# %%
seen = []


def press_ctrl_c(row):
    seen.append(row)
    if len(seen) == 10:
        signal.raise_signal(signal.SIGINT)


stopped = train(recipe, folder / "interrupted", quiet=True, on_row=press_ctrl_c)
print(
    "finished:",
    stopped.finished,
    "- stopped after step",
    Run(folder / "interrupted").progress().step,
)
resumed = train(recipe, folder / "interrupted", resume=True, quiet=True)
print("finished:", resumed.finished)


def without_clock(run):
    rows = read_history(folder / run / "history.jsonl")
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


rows, others = without_clock("whole"), without_clock("interrupted")
print(f"{len(rows)} rows of the history; all equal: {rows == others}")
weights, mine = result.model.state_dict(), resumed.model.state_dict()
print("all weights equal, bit for bit:", all((weights[k] == mine[k]).all() for k in weights))

# %% [markdown]
# A checkpoint is written to a new file, which then replaces the old one in one move: whatever
# happens in between (no power, no space on the disk), a whole one is left.
#
# ## 6 · From here to CIFAR-10
#
# The same in a terminal, with the paper's data:
#
# ```
# minran train --recipe cifar10-small --data-dir ~/data      # for a CPU, 8 epochs
# minran train --recipe cifar10-modern --device gpu          # Attention-56, 30 epochs
# minran train --recipe cifar10-attention56 --device gpu     # the paper's 205 epochs
# minran train --resume runs/cifar10-small                   # after Ctrl-C
# minran plot runs/* --out curves.png
# ```
#
# What has been reached so far, with log and command, is in `docs/results`. A run of one seed cannot
# tell a better idea from chance. Notebook 14 is about that.
#
# ## Summary
#
# - The recipe: Nesterov SGD, a rate that falls in steps, weight decay, pad-crop-mirror, the mean
#   image subtracted.
# - Pad the raw image, then subtract the mean of the training images.
# - The state of a run is its weights, running statistics, velocities, and the position in the
#   sequence of random numbers. Leave one out, and the resumed run is another run.
# - The interrupted run above equals the whole one in every bit.
#
# ## Questions
#
# 1. You resume with the velocities left at zero. What does the loss curve show?
#
# <details><summary>Answer</summary>
#
# At first nearly nothing: about $1/(1-\mu) = 10$ steps later the velocities have built up again.
# The curve is different from then on, as after any disturbance, but not visibly worse. So this
# mistake can stay unnoticed for long: it only shows in a comparison bit for bit.
# </details>
#
# 2. And with the running statistics left out?
#
# <details><summary>Answer</summary>
#
# Training does not use them, so the training losses stay the same. The test loss right after
# resuming is bad, and recovers as the running statistics do, in a few dozen steps with momentum
# 0.1. A comparison of training losses alone does not find it.
# </details>
#
# 3. Doubling the batch to 128, how would you change the paper's rate and number of iterations?
#
# <details><summary>Answer</summary>
#
# As many epochs are half as many steps: 80,000, milestones at 32,000 and 48,000. A gradient over
# twice the images has half the variance, so a rate of 0.2 gives about the same path per epoch (the
# linear scaling rule). It holds only as long as steps are small; measure.
# </details>
#
# 4. Why is the per-pixel mean taken from the training images only?
#
# <details><summary>Answer</summary>
#
# In use there is one new image and no mean of a test set. Whatever is fitted to the test images,
# even a mean, tends to make the measured error too small.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: section 4.1.
# - T. DeVries, G. Taylor, *Improved Regularization of Convolutional Neural Networks with Cutout*,
#   2017, arXiv:1708.04552.
# - P. Goyal et al., *Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour*, 2017,
#   arXiv:1706.02677: the linear scaling rule.
