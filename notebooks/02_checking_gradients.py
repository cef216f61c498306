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
#     number: 2
#     seconds: 5
#     minutes: 60
# ---

# %% [markdown]
# # 02 · Checking gradients
#
# **You will be able to**
#
# - check any gradient against central differences, and choose the step $h$;
# - say why the check needs float64, a random cotangent, and care at kinks;
# - undo broadcasting in a backward pass;
# - test a linear operation by its adjoint, without any step $h$;
# - find a wrong gradient among right ones, and see **where** it is wrong.
#
# **Time**: 60 minutes to read and do; runs in 5 seconds on 2 cores.
#
# **Needs**: notebook 01 (vector-Jacobian products).

# %% tags=["setup"]
import numpy as np

from minran import gradcheck, nn, ops, tensor
from minran.course import InterpolationOtherCorners, SoftmaxSameForAll, check, planted, show_source
from minran.gradcheck import check_op
from minran.gradcheck.probe import Line
from minran.inspect.style import colour_bar, dress, legend, new_figure, show, theme
from minran.ops.arithmetic import _unbroadcast
from minran.workshop.course.planted import AveragePool

colours = theme()

# %% [markdown]
# ## 1 · Two differences
#
# A wrong gradient raises no error. The loss often still falls, only more slowly, and the final
# accuracy is worse. So every gradient of this library is compared with something that uses no VJP:
# the definition of the derivative.
#
# Taylor's formula for a smooth $f$, once with $+h$ and once with $-h$:
#
# $$ f(x \pm h) = f(x) \pm h f'(x) + \tfrac{h^2}{2} f''(x) \pm \tfrac{h^3}{6} f'''(x) + O(h^4). $$
#
# Solve the first for $f'$, or subtract the second from the first:
#
# $$
# \frac{f(x+h) - f(x)}{h} = f'(x) + \frac{h}{2} f''(x) + O(h^2), \tag{2.1}
# $$
# $$
# \frac{f(x+h) - f(x-h)}{2h} = f'(x) + \frac{h^2}{6} f'''(x) + O(h^4). \tag{2.2}
# $$
#
# The **forward difference** (2.1) is wrong by something like $h$, the **central difference** (2.2)
# by something like $h^2$: at $h = 10^{-5}$ that is five more digits for one more call of $f$.
#
# Then why not $h = 10^{-15}$? Because $f(x+h)$ and $f(x-h)$ are rounded. Each is off by about
# $\varepsilon\,|f|$, where $\varepsilon \approx 10^{-16}$ in float64 and $\approx 10^{-7}$ in
# float32, and the difference is divided by $h$. The total error of (2.2) is about
#
# $$
# e(h) \;\approx\; \frac{h^2}{6}\,|f'''| + \frac{\varepsilon\,|f|}{h}, \qquad
# e'(h) = 0 \;\Longrightarrow\; h^\ast = \Big(\frac{3\,\varepsilon\,|f|}{|f'''|}\Big)^{1/3}.
# \tag{2.3}
# $$
#
# One term falls with $h$, the other grows: on two logarithmic axes, the letter V.
#
# Before you look at the figure, predict from (2.3), with $|f| = |f'''|$: which $h$ is best in
# float64, and which in float32? How many right digits are there to be had in each?


# %% tags=["hide-input"]
def f(x):
    return np.exp(np.sin(3 * x))


def exact(x):
    return 3 * np.cos(3 * x) * f(x)


def third(x, d=1e-3):
    """f''' by differences of the exact f', good enough for a sketch of the theory."""
    return (exact(x + d) - 2 * exact(x) + exact(x - d)) / d**2


steps = np.logspace(-15, 0, 120)
point = 0.4
figure = new_figure(7.4, 4, dark=False)
axes = dress(figure.subplots(), colours, "The V of differences", "step h", "relative error")
for kind, dtype, style in (("float64", np.float64, "-"), ("float32", np.float32, ":")):
    x, h = dtype(point), steps.astype(dtype)
    slope = abs(exact(point))
    with np.errstate(divide="ignore", invalid="ignore"):
        forward = abs((f(x + h) - f(x)) / h - exact(point)) / slope
        central = abs((f(x + h) - f(x - h)) / (2 * h) - exact(point)) / slope
    axes.loglog(steps, forward, style, color=colours.colours[1], label=f"forward, {kind}")
    axes.loglog(steps, central, style, color=colours.colours[0], label=f"central, {kind}")
rounding = np.finfo(np.float64).eps * f(point)
theory = (steps**2 / 6 * abs(third(point)) + rounding / steps) / abs(exact(point))
best = (3 * rounding / abs(third(point))) ** (1 / 3)
axes.loglog(steps, theory, color=colours.faint, linewidth=1, label="(2.3), float64")
axes.axvline(best, color=colours.faint, linewidth=1, linestyle="--")
axes.text(best * 1.3, 2e-15, f"h* = {best:.0e}", color=colours.faint, fontsize=9)
axes.set_ylim(1e-15, 1e6)
legend(axes, colours, loc="upper center", ncols=3)
figure

# %% [markdown]
# Read three things from it. On the right, the slopes are 1 and 2, as (2.1) and (2.2) say. On the
# left everything is rounding noise. And in float32 even the best central difference has only four
# or five right digits: a check in float32 cannot tell a small bug from rounding. `minran.gradcheck`
# therefore converts inputs to float64, and takes $h = 10^{-6}$.
#
# ## 2 · Your turn: a gradient by differences
#
# For a function of many numbers, move one entry at a time:
# $\partial f/\partial x_i \approx \big(f(x + h e_i) - f(x - h e_i)\big)/2h$.


# %% tags=["exercise"]
# Task 02.1: return the gradient of the number f(x) by central differences, an array like x
def central_gradient(f, x, h):
    ### BEGIN SOLUTION
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[i] = h
        gradient[i] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient
    ### END SOLUTION


# %% tags=["check"]
check("02.1", central_gradient)

# %%
show_source(Line, after="02.1")

# %% [markdown]
# ## 3 · What broadcasting does to a gradient
#
# NumPy stretches arrays without a word: `(3, 4) + (4,)` repeats the second one three times. In
# formulas: with $A$ of shape $(3, 4)$ and $b$ of shape $(4,)$,
#
# $$
# \begin{aligned}
# Y_{ij} = A_{ij} + b_j \quad\Longrightarrow\quad
# \mathrm{d}L &= \sum_{ij} g_{Y_{ij}}\,\mathrm{d}A_{ij}
# + \sum_j\Big(\sum_i g_{Y_{ij}}\Big)\mathrm{d}b_j, \\
# g_{b_j} &= \sum_i g_{Y_{ij}}.
# \end{aligned}
# \tag{2.4}
# $$
#
# What forward repeats, backward sums. There are two cases: an axis that was **added** in front
# (`(4,)` became `(3, 4)`), and an axis of size 1 that was **stretched** (`(3, 1)` became `(3, 4)`).
# Both can happen at once. Batch norm's $\gamma$ and $\beta$, every bias, and the mask of a single
# channel rely on this.


# %% tags=["exercise"]
# Task 02.2: sum grad over the axes that broadcasting from shape added or stretched
def unbroadcast(grad, shape):
    ### BEGIN SOLUTION
    added = grad.ndim - len(shape)
    grad = grad.sum(tuple(range(added)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1)
    return grad.sum(stretched, keepdims=True)
    ### END SOLUTION


# %% tags=["check"]
check("02.2", unbroadcast)

# %%
show_source(_unbroadcast, after="02.2")

# %% [markdown]
# ## 4 · From one number to many: the random cotangent
#
# An operation returns an array, differences need a number. Take a random array $r$ of the shape of
# $y$ and check
#
# $$
# L(x) = \langle r, f(x)\rangle = \sum_i r_i\,f_i(x), \qquad\text{whose gradient is }\;
# J^\top r. \tag{2.5}
# $$
#
# Many tests take $r = 1$, that is, `y.sum().backward()`. This can be blind. The outputs of a
# softmax add up to 1 whatever $x$ is, so with $r = 1$ the right gradient is zero, and so is this
# wrong one:


# %%
def wrong_softmax(x):
    return SoftmaxSameForAll()(x)


logits = np.random.default_rng(0).standard_normal((2, 4))
for name, softmax in (("right", ops.softmax), ("wrong", wrong_softmax)):
    x = tensor(logits, requires_grad=True)
    softmax(x).sum().backward()
    print(f"{name}: largest gradient with r = 1 is {abs(x.grad).max():.0e}")

# %%
print(gradcheck(wrong_softmax, logits, name="the wrong softmax with a random r"))

# %% [markdown]
# A random $r$ sees every output with another weight, so errors do not cancel.
#
# ## 5 · Where is it wrong?
#
# The check says that a gradient is wrong. *Where* it is wrong can say why. Here is bilinear
# interpolation (notebook 05) with a planted bug: forward uses `align_corners=True`, backward that
# of `align_corners=False`. Next to the two gradients stands their difference:


# %% tags=["hide-input"]
def heat_map(report, title):
    """The error of every entry of the first image and channel, as powers of ten."""
    one = report.inputs[0]
    figure = new_figure(8.6, 2.7, dark=False)
    left, middle, right = figure.subplots(1, 3)
    top = abs(one.numeric).max()
    for axes, values, words in (
        (left, one.analytic, "backward"),
        (middle, one.numeric, "differences"),
    ):
        image = values[0, :, :, 0]
        drawn = show(axes, image, colours, words, cmap="RdBu", vmin=-top, vmax=top)
    colour_bar(figure, drawn, [left, middle], colours, "gradient")
    error = np.log10(np.maximum(one.error[0, :, :, 0], 1e-12))
    drawn = show(right, error, colours, "error", cmap="inferno", vmin=-12, vmax=0)
    colour_bar(figure, drawn, right, colours, "power of ten")
    figure.suptitle(title, color=colours.text, fontsize=10)
    return figure


# %%
def wrong_interpolation(x):
    return InterpolationOtherCorners((11, 17))(x)


def right_interpolation(x):
    return ops.upsample_bilinear2d(x, (11, 17))


image = np.random.default_rng(1).standard_normal((1, 6, 9, 1))
report = gradcheck(wrong_interpolation, image)
heat_map(report, "Interpolation with the planted bug, random cotangent")

# %% [markdown]
# The first two panels look alike, the third shows that every entry is wrong. But it shows no
# pattern: the random $r$ gives every output another weight, and the error of an input is a random
# mixture of those weights. So use a random $r$ to find out **whether** a gradient is wrong, and
# then $r = 1$ to see **where**: each input then gets the sum of the weights with which it entered
# the outputs.

# %% tags=["hide-input"]
figure = new_figure(9.4, 3.1, dark=False)
both = {"right": right_interpolation, "with the planted bug": wrong_interpolation}
for axes, (name, function) in zip(figure.subplots(1, 2), both.items(), strict=True):
    x = tensor(image, requires_grad=True)
    function(x).sum().backward()
    values = x.grad[0, :, :, 0]
    show(axes, values, colours, name, cmap="viridis", vmin=2, vmax=5)
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value < 3.8 else "black"
        text = {"ha": "center", "va": "center", "fontsize": 7.5, "color": colour}
        axes.text(column, row, f"{value:.2f}", **text)
figure.suptitle("gradient of y.sum() by backward", color=colours.faint, fontsize=10)
figure

# %% [markdown]
# Now there is a pattern. In the right gradient, inputs at an edge get less than those inside (3 and
# 4), and corners least (2.25). In the wrong one all inputs get about the same, 3.4 to 3.6. So look
# at how edges and corners are treated in backward. The right one passes the check:

# %%
print(gradcheck(right_interpolation, image, name="interpolation"))

# %% [markdown]
# ## 6 · Kinks
#
# ReLU has no derivative at 0, and a max-pool has none where two pixels tie. There the two one-sided
# differences disagree however small $h$ is, and their mean is not a derivative. The check halves
# $h$ to find such entries, reports them as kinks, and judges the others:

# %%
print(gradcheck(ops.relu, np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]]), name="relu with a zero in it"))

# %% [markdown]
# ## 7 · The adjoint test
#
# Many operations are linear in $x$: convolution, average pooling, interpolation, transposition.
# For a linear $y = A x$ the Jacobian is $A$ itself, and backward must be its **adjoint**
# $A^\top$, the map for which
#
# $$
# \langle A x,\; r\rangle \;=\; \langle x,\; A^\top r\rangle
# \qquad\text{for all } x \text{ and } r. \tag{2.6}
# $$
#
# Both sides are $\sum_{ij} r_i A_{ij} x_j$. There is no $h$ in it and no Taylor formula, so it
# holds to the last digits, and it needs one forward and one backward pass, whatever the size. So it
# is the test to use for large arrays.
#
# Before you run the next cell, predict: all of this is float64. To how many digits do both sides
# agree for the first three operations, and for the last one, whose backward is wrong?


# %%
def adjoint_gap(f, shape, seed=0):
    """|<f(x), r> - <x, f'(r)>| relative to <f(x), r>, for a linear f."""
    rng = np.random.default_rng(seed)
    x = tensor(rng.standard_normal(shape), requires_grad=True)
    y = f(x)
    r = rng.standard_normal(y.shape)
    left = (y.numpy() * r).sum()
    y.backward(r)
    return abs(left - (x.numpy() * x.grad).sum()) / abs(left)


w = tensor(np.random.default_rng(5).standard_normal((3, 3, 8, 16)))
linear = {
    "convolution": lambda x: ops.conv2d(x, w, stride=2, padding=1),
    "average pool": lambda x: ops.avg_pool2d(x, 2),
    "interpolation": lambda x: ops.upsample_bilinear2d(x, (50, 61)),
    "interpolation, backward wrong": lambda x: InterpolationOtherCorners((50, 61))(x),
}
for name, operation in linear.items():
    print(f"{name:30} {adjoint_gap(operation, (4, 32, 40, 8)):.0e}")

# %% [markdown]
# The test says nothing about whether $A$ is the map you wanted: a wrong forward with its own, right
# adjoint passes. Neither do differences. That is what the loops in `minran/backend/naive` and the
# comparison with PyTorch in the tests are for.
#
# ## 8 · Find the wrong one
#
# Six suspects, each a function and inputs for it. One has a wrong gradient. (Do not read the
# source of `planted` yet.) A start:

# %%
suspects = planted()
function, inputs = suspects["convolution"]
print("suspects:", ", ".join(suspects))
print(gradcheck(function, *inputs, name="convolution"))

# %% tags=["exercise"]
# Task 02.3: set culprit to the name of the suspect whose gradient is wrong
### BEGIN SOLUTION
verdicts = {name: gradcheck(function, *inputs) for name, (function, inputs) in planted().items()}
culprit = next(name for name, report in verdicts.items() if not report.passed)
### END SOLUTION

# %% tags=["check"]
check("02.3", culprit)

# %% [markdown]
# Now look where it is wrong. Which pixels are right, and how do they differ from the others? Then
# say what the bug is, before you read the source.

# %%
if culprit in suspects:
    function, inputs = suspects[culprit]
    found = heat_map(gradcheck(function, *inputs), f"{culprit}: where backward is wrong")
else:
    found = "set culprit above, then run this cell again"
found

# %%
show_source(AveragePool, after="02.3")

# %% [markdown]
# ## 9 · Checks that come with the library
#
# `minran gradcheck conv2d` does this in a terminal, for any operation; `minran gradcheck --all` for
# all of them. In the tests, all gradients of the whole Attention-56 are compared with PyTorch's to
# ten digits.

# %%
print(check_op("spatial_attention"))

# %% [markdown]
# A whole layer works as well. Its parameters are inputs like any other:

# %%
layer = nn.Conv2d(2, 3, 3, padding=1)


def through(x, weight):
    return ops.sigmoid(ops.conv2d(x, weight, padding=layer.padding))


rng = np.random.default_rng(8)
print(gradcheck(through, rng.standard_normal((1, 4, 4, 2)), layer.weight, name="conv and sigmoid"))

# %% [markdown]
# ## Summary
#
# - Central differences (2.2) are wrong by $h^2$ and by rounding over $h$; in float64 $h$ near
#   $10^{-5}$ to $10^{-6}$ leaves nine digits or more.
# - Broadcasting repeats, so its backward sums (2.4).
# - Contract with a random cotangent (2.5); a plain sum can be blind.
# - A map of the error shows where to look; kinks are no bugs.
# - Linear operations: $\langle Ax, r\rangle = \langle x, A^\top r\rangle$ (2.6), exact and
#   cheap.
#
# ## Questions
#
# 1. Why is the left side of the V ragged and the right side smooth?
#
# <details><summary>Answer</summary>
#
# The right side is Taylor's remainder, a smooth function of $h$. The left side is rounding: whether
# $f(x+h)$ is rounded up or down changes from one $h$ to the next as if by chance.
#
# </details>
#
# 2. A test with tolerance $10^{-2}$ passes for a backward that lacks the factor $1 + M$ of the
#    gate, because $M$ was about $10^{-3}$ at the inputs. Name two ways to do better.
#
# <details><summary>Answer</summary>
#
# A tighter tolerance ($10^{-6}$ in float64 is easy for central differences), and inputs at which
# every part of the formula matters: here masks between 0 and 1.
#
# </details>
#
# 3. The adjoint test passes, differences fail. What can you conclude for an operation that should
#    be linear?
#
# <details><summary>Answer</summary>
#
# If backward is the adjoint of a linear forward, differences must agree up to rounding. So the
# forward is not linear where you looked. ReLU and max-pool pass the adjoint test, because they are
# homogeneous, $f(cx) = c f(x)$ for $c > 0$, yet differences across one of their kinks fail. Or the
# two tests did not see the same thing: float32 in one of them, or a function that draws random
# numbers.
#
# </details>
#
# 4. Why does `gradcheck` look at the function twice with the same inputs before it begins?
#
# <details><summary>Answer</summary>
#
# A function that draws random numbers (augmentation, dropout) or that moves its own state would
# give differences that have nothing to do with the gradient. Two calls that differ are reported as
# such.
#
# </details>
#
# ## References
#
# - N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd edition, SIAM, 2002:
#   rounding.
# - J. Nocedal, S. J. Wright, *Numerical Optimization*, 2nd edition, Springer, 2006, chapter 8:
#   finite differences and the best step.
# - `minran/gradcheck/check.py`.
