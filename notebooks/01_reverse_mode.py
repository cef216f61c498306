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
#     number: 1
#     seconds: 5
#     minutes: 80
# ---

# %% [markdown]
# # 01 · Reverse mode
#
# **You will be able to**
#
# - follow a gradient backward through a drawn computation, by hand;
# - say what a vector-Jacobian product is, and why no Jacobian is ever stored;
# - write the vector-Jacobian products of a product and of a sum;
# - say why a gradient needs one walk from the end, in which order, and why it must *add*;
# - read minran's engine, which is 600 lines.
#
# **Time**: 80 minutes to read and do; runs in 5 seconds on 2 cores.
#
# **Needs**: partial derivatives and NumPy; nothing else of this course.

# %% tags=["setup"]
import time

import numpy as np

from minran import Op, autograd, gradcheck, ops, tensor
from minran.course import backward_steps, check, show_source
from minran.inspect.style import dress, legend, new_figure, show, theme
from minran.ops.arithmetic import MatMul, Mul, Sum

colours = theme()

# %% [markdown]
# ## 1 · The chain rule, drawn
#
# To train a network is to make one number smaller: the loss $L$. For that we need to know, for
# each of its many parameters $w$, how $L$ changes when $w$ changes a little: the derivative
# $\partial L/\partial w$.
#
# A program computes $L$ in small steps. Take
#
# $$ p = a\,b, \qquad q = p + c, \qquad L = p\,q $$
#
# with $a = 2$, $b = 3$, $c = -1$. Every step has an easy derivative. The **chain rule** puts them
# together: if $L$ depends on $p$ only through the values $u_1, u_2, \dots$ that were made directly
# from $p$, then
#
# $$
# \frac{\partial L}{\partial p} \;=\; \sum_j \frac{\partial L}{\partial u_j}\,
# \frac{\partial u_j}{\partial p}.
# \tag{1.1}
# $$
#
# The sum matters: here $p$ is used **twice**, by $q$ and by $L$, and both uses count. What each
# step needs are the derivatives of its result with respect to its own inputs:
#
# | step | derivatives | here |
# |---|---|---|
# | $p = a\,b$ | $\partial p/\partial a = b$, $\;\partial p/\partial b = a$ | 3, 2 |
# | $q = p + c$ | $\partial q/\partial p = 1$, $\;\partial q/\partial c = 1$ | 1, 1 |
# | $L = p\,q$ | $\partial L/\partial p = q$, $\;\partial L/\partial q = p$ | 5, 6 |
#
# (In the last row $\partial L/\partial p$ is the direct part alone, with $q$ held fixed.)
#
# Step through the drawing: click the numbers, or click one and use the arrow keys. Before each
# step, predict which gradient comes next, and its value.

# %%
a = tensor([2.0], requires_grad=True)
b = tensor([3.0], requires_grad=True)
c = tensor([-1.0], requires_grad=True)
p = a * b
q = p + c
L = p * q
backward_steps(L, a=a, b=b, c=c, p=p, q=q, L=L)

# %% [markdown]
# At step 2 the last product has given $p$ the gradient $q = 5$. At step 3 the addition brings
# another $6$, and only now is the gradient of $p$ complete: $11$. Only then may $p = a\,b$ pass it
# on. Two rules follow, and they are the whole algorithm:
#
# - an op passes its gradient on **after** all ops that used its result have contributed;
# - contributions **add up**.
#
# Walking from the newest op to the oldest satisfies the first rule, because an op can only use
# results that existed before it.
#
# The library gives the same numbers:

# %%
L.backward()
print(f"dL/da = {a.grad[0]}, dL/db = {b.grad[0]}, dL/dc = {c.grad[0]}")

# %% [markdown]
# ## 2 · From numbers to arrays
#
# In a network $x$ and $y = f(x)$ are arrays. Write them as long vectors, $x$ of $n$ numbers and
# $y$ of $m$. All partial derivatives together form the **Jacobian**, a matrix of $m$ rows and $n$
# columns:
#
# $$ J_{ij} \;=\; \frac{\partial y_i}{\partial x_j}. \tag{1.2} $$
#
# Let $g_y$ be the gradient of the loss with respect to $y$, so $g_{y_i} = \partial L/\partial y_i$.
# Then (1.1), read with $u_j = y_i$, says
#
# $$ g_{x_j} \;=\; \sum_i g_{y_i}\,J_{ij}, \qquad\text{or}\qquad g_x = J^\top g_y. \tag{1.3} $$
#
# This is a **vector-Jacobian product**, a VJP. It is all that an op must know about
# differentiation: *given the gradient of my output, what is the gradient of my input?* In minran
# `gy` is $g_y$ and `Op.backward(gy)` returns $g_x$ for each input.
#
# How large is $J$? Take features of $32\times32\times64$ (height, width, channels): 65,536 numbers.
# A ReLU, $y_i = \max(x_i, 0)$, gives as many, so its Jacobian would have 4.3 billion entries. Now
# look at Jacobians of real ops. Each row below was made with one call of `backward`, with one unit
# vector as $g_y$. (*Softmax* makes the numbers of a row positive and their sum 1, notebook 06;
# *interpolate* enlarges an image, notebook 05.)
#
# Before you run the next cells, predict: $x$ has 4 rows of 4 numbers. What share of the entries is
# not zero in the Jacobian of `x * w`, of `x.sum(0)`, of `x @ w`?


# %%
def jacobian(f, x):
    """All rows of the Jacobian of f at x, one backward each."""
    rows = []
    for i in range(f(tensor(x)).size):
        leaf = tensor(x, requires_grad=True)
        y = f(leaf)
        unit = np.zeros(y.size)
        unit[i] = 1
        y.backward(unit.reshape(y.shape))
        rows.append(leaf.grad.ravel())
    return np.array(rows)


rng = np.random.default_rng(1)
x = rng.standard_normal((4, 4))
w = rng.standard_normal((4, 4))
functions = {
    "x * w": lambda x: x * w,
    "relu(x)": ops.relu,
    "x.sum(0)": lambda x: x.sum(0),
    "x @ w": lambda x: x @ tensor(w),
    "softmax(x)": ops.softmax,
    "interpolate 4×4 → 5×5": lambda x: ops.upsample_bilinear2d(x.reshape(1, 4, 4, 1), 5),
}

# %% tags=["hide-input"]
figure = new_figure(9.6, 5.6, dark=False)
for axes, (name, f) in zip(figure.subplots(2, 3).flat, functions.items(), strict=True):
    J = jacobian(f, x)
    top = np.abs(J).max()
    show(axes, J, colours, f"{name}: {J.shape[0]}×{J.shape[1]}", cmap="RdBu", vmin=-top, vmax=top)
    axes.set_xlabel(f"{np.count_nonzero(J) / J.size:.0%} not zero", color=colours.faint, fontsize=9)
figure.suptitle(
    "Jacobians at a 4×4 array: blue positive, red negative, white zero", color=colours.faint
)
figure

# %% [markdown]
# Almost all entries are zero, or repeat. No library stores these matrices. The VJP is written as a
# formula, and costs about as much as the op itself.
#
# ## 3 · A VJP by hand
#
# The recipe is always the same. Write the change of $L$ through the output,
# $\mathrm{d}L = \sum_i g_{y_i}\,\mathrm{d}y_i$; put in what $\mathrm{d}y$ is; sort the result by
# $\mathrm{d}x_j$; the factor of $\mathrm{d}x_j$ is $g_{x_j}$.
#
# **A product of matrices**, $Y = A B$. Here $\mathrm{d}Y = \mathrm{d}A\,B + A\,\mathrm{d}B$, so
#
# $$
# \begin{aligned}
# \mathrm{d}L &= \sum_{ik} g_{Y_{ik}}\Big(\sum_j \mathrm{d}A_{ij} B_{jk} + \sum_j A_{ij}\,
# \mathrm{d}B_{jk}\Big) \\
# \Longrightarrow\quad
# g_A &= g_Y B^\top, \qquad g_B = A^\top g_Y.
# \end{aligned}
# \tag{1.4}
# $$
#
# A check: $g_A$ must have the shape of $A$, and $g_Y B^\top$ has. In the library:

# %%
show_source(MatMul)

# %% [markdown]
# `forward` keeps on `self` what `backward` will need, here both factors. This is why training needs
# more memory than using a network: what every op keeps stays until the backward walk has passed.
#
# ## 4 · Your turn: a product and a sum
#
# **An element-wise product**, $y_i = a_i\,b_i$. Use the recipe: what is $\mathrm{d}y_i$?


# %% tags=["exercise"]
# Task 01.1: return the gradients of a and b for y = a * b (all of the same shape)
def vjp_mul(gy, a, b):
    ### BEGIN SOLUTION
    return gy * b, gy * a
    ### END SOLUTION


# %% tags=["check"]
check("01.1", vjp_mul)

# %% [markdown]
# **A sum over one axis.** If `x` has shape `(4, 3)` and `y = x.sum(axis=0)`, then
# `y` and `gy` have shape `(3,)`, and the gradient must have shape `(4, 3)` again. Which number of
# `gy` does `gx[i, j]` get?


# %% tags=["exercise"]
# Task 01.2: return the gradient of x for y = x.sum(axis); shape is that of x
def vjp_sum(gy, shape, axis):
    ### BEGIN SOLUTION
    return np.broadcast_to(np.expand_dims(gy, axis), shape)
    ### END SOLUTION


# %% tags=["check"]
check("01.2", vjp_sum)

# %% [markdown]
# A pattern to remember: **what forward sums, backward repeats; what forward repeats, backward
# sums.** The second half is what broadcasting needs, in notebook 02.
#
# Compare with the library's own:

# %%
show_source(Mul, after="01.1")
show_source(Sum, after="01.2")

# %% [markdown]
# ## 5 · The walk
#
# A program leaves a trace: the list of its ops in the order in which they ran. Here is such a
# *tape* for $L = \sum_i (a_i b_i)\,a_i$. An entry holds the name of the result, the names of the
# inputs, and the VJP, a function from the gradient of the result to the gradients of the inputs:

# %%
a_value, b_value = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
u_value = a_value * b_value
tape = [
    ("u", ("a", "b"), lambda gy: (gy * b_value, gy * a_value)),
    ("v", ("u", "a"), lambda gy: (gy * a_value, gy * u_value)),
    ("L", ("v",), lambda gy: (gy * np.ones(3),)),
]

# %% [markdown]
# Write the walk: begin with gradient 1 for the last name, visit the entries in the right order,
# call each VJP with the gradient of its result, and add what it returns to the gradients of the
# inputs. (A VJP may return the same array for two inputs.)


# %% tags=["exercise"]
# Task 01.3: return a dictionary with the gradient of every name on the tape
def reverse(tape, last):
    gradients = {last: np.ones(())}
    ### BEGIN SOLUTION
    for output, inputs, vjp in reversed(tape):
        for name, gradient in zip(inputs, vjp(gradients[output]), strict=True):
            gradients[name] = gradients.get(name, 0) + gradient
    ### END SOLUTION
    return gradients


# %% tags=["check"]
check("01.3", reverse)

# %% [markdown]
# What if the gradients were assigned instead of added? In a residual network every unit computes
# $x + F(x)$: $x$ is used twice, and one of the two gradients would be lost. No error is raised; the
# training only goes worse. Notebook 02 shows how to find such mistakes.
#
# The library's walk is yours with four additions: it keeps the waiting ops in a heap so that the
# newest comes out first, it frees each op as soon as it has been visited, it adds in place only
# into arrays that nothing else holds, and it refuses a gradient that does not fit its tensor.

# %%
show_source(autograd.walk, autograd._arrivals, autograd._sum, Op, after="01.3")

# %% [markdown]
# ## 6 · Why backward, and not forward?
#
# The chain rule could also be evaluated from the inputs: change one parameter a little, follow the
# change to the loss. That is *forward mode*, and it needs one pass **for each parameter**. Reverse
# mode needs one backward pass in all. A pass costs more in a larger network, of course; the claim
# is that backward costs **a small constant times the forward pass**, however many parameters there
# are.
#
# Difference quotients need one forward pass for each parameter too, and are easy to measure. The
# network: one layer of $n$ *neurons*, each a weighted sum of $n$ inputs and then a sigmoid. It has
# $n^2$ parameters and gets 64 examples at once.
#
# Before you run the next cells, predict: with 48 neurons, how many forward passes do difference
# quotients take? By what factor is one walk faster? And how many times as long as a forward pass
# are forward and backward together?


# %%
def seconds(work, repeats=7):
    """The fastest of some runs."""
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


examples = np.random.default_rng(4).standard_normal((64, 512)) / 8


def loss_of(w):
    """A small network: one layer of neurons, the mean of their squares as the loss."""
    hidden = ops.sigmoid(tensor(examples[:, : w.shape[0]]) @ w)
    return (hidden * hidden).mean()


def one_at_a_time(w, h=1e-6):
    """The gradient by differences: one run of the network for each parameter."""
    base, gradient = loss_of(tensor(w)).item(), np.zeros(w.size)
    for i in range(w.size):
        moved = w.copy()
        moved.flat[i] += h
        gradient[i] = (loss_of(tensor(moved)).item() - base) / h
    return gradient


def all_at_once(w):
    """The gradient by one walk backward."""
    leaf = tensor(w, requires_grad=True)
    loss_of(leaf).backward()
    return leaf.grad.ravel()


counts, slow, fast, forward = [], [], [], []
for n in (3, 6, 12, 24, 48, 128, 256, 512):
    w = np.random.default_rng(0).standard_normal((n, n))
    counts.append(w.size)
    if n <= 48:
        slow.append(seconds(lambda w=w: one_at_a_time(w), repeats=1))
    fast.append(seconds(lambda w=w: all_at_once(w)))
    forward.append(seconds(lambda w=w: loss_of(tensor(w))))

# %% tags=["hide-input"]
figure = new_figure(6.4, 3.4, dark=False)
axes = dress(figure.subplots(), colours, "Time by number of parameters", "parameters", "ms")
for values, name, style in (
    (slow, "gradient, one at a time", "o-"),
    (fast, "gradient, forward and backward", "s-"),
    (forward, "forward alone", "^--"),
):
    index = {"o-": 1, "s-": 0, "^--": 2}[style]
    milliseconds = 1e3 * np.array(values)
    axes.loglog(
        counts[: len(values)], milliseconds, style, color=colours.colours[index], label=name
    )
legend(axes, colours)
figure

# %%
ratios = np.array(fast) / np.array(forward)
print(f"{counts[4]} parameters: one walk is {slow[4] / fast[4]:,.0f} times faster")
print(f"forward and backward take {np.median(ratios):.1f} times the forward pass (median of sizes)")

# %% [markdown]
# Both lower curves are flat while Python's own work dominates, and then grow together: the cost of
# the backward pass grows with the network as the cost of the forward pass does. (On a busy machine
# the times jump about.) One at a time is a forward pass *for each parameter*: Attention-56 for
# CIFAR-10 has more than a million, so one training step would take a million passes. Differences
# are still useful, as a check of the backward walk:

# %%
print(
    gradcheck(loss_of, np.random.default_rng(2).standard_normal((8, 3)), name="the small network")
)

# %% [markdown]
# ## Summary
#
# - The chain rule (1.1) sums over every use of a value.
# - Each op knows one thing: its VJP, $g_x = J^\top g_y$ (1.3). Jacobians are not stored.
# - The recipe: write $\mathrm{d}L$ through $\mathrm{d}y$, put in $\mathrm{d}y$, sort by
#   $\mathrm{d}x$.
# - The walk visits ops newest first and adds gradients up.
# - One walk gives all derivatives of one number, for a small constant times the cost of the forward
#   pass.
#
# ## Questions
#
# 1. In section 1, why may $p = a\,b$ not pass its gradient on after step 2?
#
# <details><summary>Answer</summary>
#
# Its gradient is not complete: $L = p\,q$ has contributed 5, but $q = p + c$ has not contributed
# its 6 yet. Passing on 5 and later 6 would also be right, but every op below would run twice, and
# in a deep network the number of runs doubles with every such fork.
#
# </details>
#
# 2. A function has three inputs and a million outputs. Which mode is cheaper for its Jacobian?
#
# <details><summary>Answer</summary>
#
# Forward mode: three passes give the three columns. Reverse mode would need a pass for each of the
# million rows. A loss has one output, which is why training uses reverse mode.
#
# </details>
#
# 3. `Mul.forward` keeps `a` and `b`. What must `Add` keep? And `y = exp(x)`?
#
# <details><summary>Answer</summary>
#
# `Add` only the shapes (for broadcasting): its derivatives are 1. `exp` needs its own output,
# because
# $\mathrm{d}y = y\,\mathrm{d}x$; keeping $y$ costs nothing if the next op keeps it anyway.
#
# </details>
#
# 4. What is the gradient of $L = \sum_i x_i x_i$, computed as `(x * x).sum()`, if the engine
#    assigns instead of adding?
#
# <details><summary>Answer</summary>
#
# $x$ instead of $2x$: both inputs of the product are the same tensor, and one of its two gradients
# is overwritten by the other.
#
# </details>
#
# ## References
#
# - A. Griewank, A. Walther, *Evaluating Derivatives*, 2nd edition, SIAM, 2008: the standard book.
# - A. G. Baydin, B. A. Pearlmutter, A. A. Radul, J. M. Siskind, *Automatic Differentiation in
#   Machine Learning: a Survey*, JMLR 18, 2018. arXiv:1502.05767.
# - S. Linnainmaa, *Taylor expansion of the accumulated rounding error*, BIT 16, 1976: reverse mode.
# - `minran/autograd.py`, which is meant to be read.
