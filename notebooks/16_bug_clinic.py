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
#     number: 16
#     seconds: 8
#     minutes: 90
# ---

# %% [markdown]
# # 16 · Bug clinic
#
# **You will be able to**
#
# - name six bugs of the kind that public ports of this network have, and say what each does to it;
# - look inside a module while it runs, with a trace of its calls;
# - write a test for a property of the *design*, not for a number;
# - ask which variables a result depends on, by asking for gradients;
# - tell a test that can fail from one that cannot.
#
# **Time**: 90 minutes to read and do; runs in 8 seconds on 2 cores.
# **Needs**: notebook 08 (the module) and notebook 09 (the gate).

# %% tags=["setup"]
import itertools

import numpy as np

from minran import nn, ops, tensor
from minran.course import (
    BUGS,
    check,
    features,
    features_for,
    healthy,
    hourglass_figure,
    patient,
    shape_trace,
    show_source,
    trace,
)
from minran.inspect.style import dress, new_figure, show, theme
from minran.optim import SGD

colours = theme()

# %% [markdown]
# ## 1 · Bugs that train
#
# Public ports of the Residual Attention Network differ from what the authors trained, and mostly
# by accident. Nothing crashes. Shapes fit. The loss goes down, the accuracy is respectable, and
# nobody looks again. Six bugs of that kind are waiting here, each planted into our own attention
# module with the same weights:

# %%
for number, bug in enumerate(BUGS.values(), start=1):
    print(f"16.{number}  {bug.name:20} {bug.words}")

# %% [markdown]
# That they train is easily shown. Give the healthy module and the six modules with bugs 30 steps to
# learn random targets. Before you run the next cell, predict: in how many of the seven does the
# error fall? Which place does the healthy module take?

# %%
x, target = features(size=8, count=4), features(size=8, count=4, seed=2)


def training_error(module, steps=30):
    errors, optimizer = [], None
    for _ in range(steps):
        loss = ((module(x) - target) ** 2).mean()
        errors.append(loss.item())
        loss.backward()
        if optimizer is None:  # as PyTorch does: pass over parameters without a gradient
            used = [p for p in module.parameters() if p.grad is not None]
            optimizer = SGD(used, lr=0.02, momentum=0.9, nesterov=True)
        optimizer.step()
        module.zero_grad()
    return errors


modules = {"healthy": healthy()} | {name: patient(name) for name in BUGS}
for name, module in modules.items():
    errors = training_error(module)
    print(f"{name:20} error {errors[0]:6.2f} -> {errors[-1]:5.2f}")

# %% [markdown]
# All errors fall, and **nothing in the numbers says which one is right**: the lowest error here
# belongs to a module with a bug.
#
# (One of the six would not get past *our* optimiser: it refuses a parameter without a gradient.
# PyTorch's passes over it in silence, and so does the cell above.)
#
# ## 2 · The instruments
#
# `healthy()` and `patient(name)` make an attention module in float64 with fresh weights; they take
# `channels`, `depth` and `seed`. `features()` makes an input, `features_for(module)` one of the
# width that the module takes. A module has the parts that notebook 08 describes: `before`, `trunk`,
# `mask` (with `body`, an hourglass, and `head`), `after`.
#
# `trace(module, x)` runs the module once and returns every call inside by its name: `call.module`,
# `call.inputs` (Tensors, whose graph is still there), `call.output`.

# %%
show_source(trace)

# %%
x = features()
calls = trace(healthy(), x)
for name in ("before", "mask.body.pool", "mask.body.inner.pool", "mask.head", "mask", "trunk", ""):
    call = calls[name]
    came, went = call.inputs[0].shape, call.output.shape
    print(f"{name or '(the module)':22} {type(call.module).__name__:16} {came} -> {went}")

# %% [markdown]
# `shape_trace` prints heights and widths of everything inside a part, in the order of the calls.
# Compare the trace of a healthy mask with that of a module with a bug, and find the lines that
# differ:

# %%
for name in ("healthy", "never nests"):
    module = healthy() if name == "healthy" else patient(name)
    print(f"--- {name}")
    print(shape_trace(module, x, "mask.body"), "\n")

# %% [markdown]
# ### What a test is here
#
# A test is a function `test(module)` that **raises AssertionError** if the module has the bug, and
# returns silently if not. Your check runs it on healthy modules of several widths, depths and seeds
# (it must pass on all of them) and on the modules with bugs (it must fail on all of them). Some of
# either kind are of subclasses with other names. So test what a module computes, not what it is
# called, and compare with what the design says, not with numbers that you saw once.
#
# ## 3 · Trunk added inside the mask
#
# Written down it looks harmless: `out_interp1 = self.interpolation1(...) + out_trunk`, just before
# the head, as in a network with skip connections. In the paper the trunk's size is all that the
# mask takes from it.
#
# What it does: the mask becomes a function of the features that it should weigh, the backward of
# the trunk gets a second path through the sigmoid, and (9.1) no longer is the whole gradient.
#
# **How to see it.** Ask for gradients: run backward from the mask's output alone; a parameter of
# the trunk gets a gradient if, and only if, the mask depends on it. (Another way: change the
# trunk's weights, and see whether the mask changes.)
#
# **Task 16.1.** Write the test.


# %% tags=["exercise"]
# Task 16.1: a test that the mask does not depend on the trunk
def test_mask_ignores_trunk(module):
    ### BEGIN SOLUTION
    mask = trace(module, features_for(module))["mask"].output
    mask.backward(np.ones(mask.shape))
    leaks = [name for name, p in module.trunk.named_parameters() if p.grad is not None]
    module.zero_grad()
    assert not leaks, f"the mask depends on the trunk's {leaks[0]}"
    ### END SOLUTION


# %% tags=["check"]
check("16.1", test_mask_ignores_trunk)

# %% [markdown]
# ## 4 · A mask that never nests
#
# One slip of the pen, `pool(x)` where `pool(d)` was meant, and every level of the mask pools the
# same input. All maps have half the size. Sizes and arrows of the drawing are those of a run: each
# pool reads $u$.

# %%
hourglass_figure(depth=3, size=32, kind=type(patient("never nests").mask.body))

# %% [markdown]
# What it does: the mask's smallest map is 16x16 instead of 4x4, so it sees much less (notebook 08,
# section 6), and the hourglass costs twice the multiply-adds. The parameters are the same to the
# last one: a count cannot find it.
#
# **Task 16.2.** Write the test.


# %% tags=["exercise"]
# Task 16.2: a test that every pool reads the level above
def test_mask_nests(module):
    ### BEGIN SOLUTION
    calls = trace(module, features_for(module))
    pools = [call for call in calls.values() if isinstance(call.module, nn.MaxPool2d)]
    heights = [pools[0].inputs[0].shape[1], *(call.output.shape[1] for call in pools)]
    for above, below in itertools.pairwise(heights):
        assert below == above // 2, f"the maps of the mask have heights {heights}"
    ### END SOLUTION


# %% tags=["check"]
check("16.2", test_mask_nests)

# %% [markdown]
# ## 5 · Nearest instead of bilinear
#
# Some frameworks interpolate by repeating pixels unless told otherwise (`UpSampling2D` in Keras).

# %% tags=["hide-input"]
small = np.random.default_rng(4).random((1, 4, 4, 1))
bilinear = ops.upsample_bilinear2d(tensor(small), 32).numpy()
nearest = patient("nearest").mask.body.interpolate(tensor(small), tensor(bilinear)).numpy()
figure = new_figure(7.6, 2.8, False)
for axes, (title, values) in zip(
    figure.subplots(1, 3),
    {"4x4": small, "bilinear, 32x32": bilinear, "nearest, 32x32": nearest}.items(),
    strict=True,
):
    show(axes, values[0, ..., 0], colours, title, cmap="inferno", vmin=0, vmax=1)
figure

# %% [markdown]
# What it does: attention with hard edges where no edge is in the image; and in backward each
# coarse value gets the plain sum of its block instead of a weighted one.
#
# **How to see it.** Sizes do not tell. Take what went into an interpolation and what came out, and
# compare with `ops.upsample_bilinear2d(x, size, align_corners=True)`.
#
# **Task 16.3.** Write the test.


# %% tags=["exercise"]
# Task 16.3: a test that the mask interpolates bilinearly
def test_interpolation_is_bilinear(module):
    ### BEGIN SOLUTION
    calls = trace(module, features_for(module))
    for name, call in calls.items():
        if name.startswith("mask.body") and name.endswith("interpolate"):
            size = call.output.shape[1:3]
            expected = ops.upsample_bilinear2d(call.inputs[0], size, align_corners=True)
            error = np.abs(call.output.data - expected.data).max()
            assert error < 1e-10, f"{name} is not bilinear: off by {error:.2g}"
    ### END SOLUTION


# %% tags=["check"]
check("16.3", test_interpolation_is_bilinear)

# %% [markdown]
# ## 6 · A batch norm before the sigmoid
#
# "A batch norm after every convolution" is a good habit, and here it is one too many. The head is
# BN-ReLU-conv-BN-ReLU-conv-sigmoid.
#
# What it does: in training the logits of every channel get mean $\beta$ and spread $\gamma$ over
# the batch. How wide a channel opens no longer depends on what the batch shows.

# %%
for name in ("healthy", "norm before sigmoid"):
    module = healthy() if name == "healthy" else patient(name)
    mask = trace(module, x)["mask"].output.data
    logits = np.log(mask / (1 - mask))
    mean, std = logits.mean(axis=(0, 1, 2)), logits.std(axis=(0, 1, 2))
    print(f"{name:19} logits, by channel: mean {mean.min():5.2f} to {mean.max():4.2f}, "
          f"standard deviation {std.min():.2f} to {std.max():.2f}")  # fmt: skip

# %% [markdown]
# **Task 16.4.** Write the test. You may look at the logits as above, at the layers of
# `module.mask.head`, or at the trace: the sigmoid's input must be the output of the last
# convolution.


# %% tags=["exercise"]
# Task 16.4: a test that no batch norm stands before the sigmoid
def test_no_norm_before_sigmoid(module):
    ### BEGIN SOLUTION
    *_, last, _ = module.mask.head
    assert isinstance(last, nn.Conv2d), f"a {type(last).__name__} stands before the sigmoid"
    ### END SOLUTION


# %% tags=["check"]
check("16.4", test_no_norm_before_sigmoid)

# %% [markdown]
# ## 7 · Unused projections
#
# A residual unit needs a projection only where its shape changes. Ports make one in every
# constructor, and use it after an `if`. The forward pass is right to the last bit.
#
# What it does: the weights are initialised, saved, counted, and never used. A port's parameter
# count is then no check of anything, and comparisons "at equal size" are wrong.
#
# Before you run the next cell, predict: `healthy()` has 16 channels and depth 2, so nine units.
# How many parameters more does the module with the bug have?

# %%
for name in ("healthy", "unused projections"):
    module = healthy() if name == "healthy" else patient(name)
    print(f"{name:20} {module.num_parameters():,} parameters")

# %% [markdown]
# **Task 16.5.** Write the test: every parameter of a module must have a gradient after backward.


# %% tags=["exercise"]
# Task 16.5: a test that every parameter is used
def test_every_parameter_is_used(module):
    ### BEGIN SOLUTION
    module.zero_grad()
    y = module(features_for(module))
    y.backward(np.random.default_rng(0).standard_normal(y.shape))
    unused = [name for name, p in module.named_parameters() if p.grad is None]
    module.zero_grad()
    assert not unused, f"{len(unused)} parameters get no gradient, the first is {unused[0]}"
    ### END SOLUTION


# %% tags=["check"]
check("16.5", test_every_parameter_is_used)

# %% [markdown]
# ## 8 · A gate without the 1
#
# `out = mask * trunk`, with "residual attention" in the comment above. Notebook 09 is about what it
# does. With one module per stage the damage is small enough (0.4 points in the paper's Table 3) to
# go unseen.
#
# **Task 16.6.** Write the test. The output of the gate is the input of `module.after`.


# %% tags=["exercise"]
# Task 16.6: a test that the gate is (1 + M) T
def test_gate_is_residual(module):
    ### BEGIN SOLUTION
    calls = trace(module, features_for(module))
    mask, trunk = calls["mask"].output.data, calls["trunk"].output.data
    gated = calls["after"].inputs[0].data
    error = np.abs(gated - (1 + mask) * trunk).max()
    assert error < 1e-10, f"H differs from (1 + M) T by {error:.2g}"
    ### END SOLUTION


# %% tags=["check"]
check("16.6", test_gate_is_residual)

# %% [markdown]
# ## 9 · The ward round
#
# All your tests on all modules. A good test fails on its own bug and passes on the healthy module;
# one that fails on other bugs as well is not wrong, but its message will send somebody to the wrong
# place. Before you run the next cells, predict: in how many of the 42 squares does a test fail?

# %%
tests = (
    test_mask_ignores_trunk,
    test_mask_nests,
    test_interpolation_is_bilinear,
    test_no_norm_before_sigmoid,
    test_every_parameter_is_used,
    test_gate_is_residual,
)


def fails(test, module):
    """1 if the test raises AssertionError, 0 if it passes, 2 if it breaks down or is blank."""
    try:
        test(module)
    except AssertionError:
        return 1
    except Exception:
        return 2
    return 0


names = ["healthy", *BUGS]
ward = np.array(
    [[fails(test, healthy() if n == "healthy" else patient(n)) for n in names] for test in tests]
)

# %% tags=["hide-input"]
figure = new_figure(8.0, 3.7, False)
axes = dress(figure.subplots(), colours, "Which test catches which bug", "", "")
paint = np.array([[0.93, 0.94, 0.95], [0.84, 0.37, 0.0], [0.6, 0.6, 0.6]])
axes.imshow(paint[ward], aspect="auto")
for (row, column), value in np.ndenumerate(ward):
    axes.text(column, row, ("passes", "FAILS", "broken")[value], ha="center", va="center",
              fontsize=8, color="w" if value else colours.faint)  # fmt: skip
axes.set_xticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names])
axes.set_yticks(range(len(tests)), [test.__name__.removeprefix("test_") for test in tests])
axes.tick_params(length=0)
axes.grid(visible=False)
for spine in axes.spines.values():
    spine.set_visible(False)
figure

# %% [markdown]
# The library's own tests contain all six, and `tests/bugs` of the repository plants bugs of this
# kind into the running package to see that a test of ours catches each: **a test that cannot fail
# is a defect**.
#
# ## Summary
#
# - Bugs that train are found by properties of the design: what depends on what, what has which
#   size, what is computed from what, which parameters are used.
# - Gradients are the best instrument for "does this depend on that".
# - Parameter counts find the two bugs that add weights, and miss the four others.
# - A test needs a healthy module to pass on and a sick one to fail on.
#
# ## Questions
#
# 1. Which of the six could a comparison of parameter counts with the authors' find?
#
# <details><summary>Answer</summary>
#
# Two: unused projections (many more) and the batch norm before the sigmoid ($2C$ more for each
# module). The four others have the healthy module's parameters exactly.
# </details>
#
# 2. Which could a gradient check (notebook 02) find?
#
# <details><summary>Answer</summary>
#
# None. Each of the six computes the correct gradient of what it computes; what it computes is not
# the network of the paper.
# </details>
#
# 3. In test 16.2, why compare with half the height above, and not only ask that heights shrink?
#
# <details><summary>Answer</summary>
#
# "Shrink" would also accept pools that round differently or have another stride. But half is a
# statement about pools that round up without padding; for a port with padding it would be another
# bug that the test finds under the wrong name.
# </details>
#
# 4. A mask of depth 1 cannot have the bug of section 4. What should its test do there?
#
# <details><summary>Answer</summary>
#
# Pass: with one level there is nothing to nest. This is why the check uses deeper masks, and why a
# test suite must contain the case in which the bug can show.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904, and the authors' published network files: what a healthy module is.
# - The bugs are of kinds that were seen in public PyTorch, Keras and TensorFlow ports of the
#   network; the modules with bugs here are our own module with each of them planted.
# - R. DeMillo, R. Lipton, F. Sayward, *Hints on Test Data Selection*, Computer 1978: planting bugs
#   to test the tests.
