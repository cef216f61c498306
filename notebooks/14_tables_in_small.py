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
#     number: 14
#     seconds: 20
#     minutes: 60
# ---

# %% [markdown]
# # 14 · The paper's tables in small
#
# **You will be able to**
#
# - read a table of errors for what it leaves out: how much the numbers would change by themselves;
# - compute the margin within which a difference of two means may be chance;
# - say how many seeds a difference of a given size needs;
# - compare the paper's Tables 1, 3 and 4 and its Figure 4 with the same comparisons in small;
# - tell "we saw no difference" from "there is none".
#
# **Time**: 60 minutes to read and do; runs in 20 seconds on 2 cores.
# **Needs**: notebooks 09 (naive and residual), 10 (mixed, channel, spatial) and 12 (training).

# %% tags=["setup"]
import numpy as np

from minran.ablate import compare, student_t, summarise
from minran.course import ablation, check, show_source
from minran.inspect.style import dress, legend, new_figure, theme

colours = theme()

# %% [markdown]
# ## 1 · One number is not a measurement
#
# The paper reports errors such as 5.52% and 6.24%, one run each. Would a second run, with other
# random numbers for weights, order and crops, give 5.52 again? Nobody can tell from the table.
#
# So we repeat. The runs below are **ours, and small**: networks of 30,000 parameters and more on
# 4,000 of the **built-in shapes, not CIFAR**, four epochs, several seeds. They took the better part
# of an hour on one core, so this notebook reads the log. You can make them yourself, elsewhere and
# at other scales, with
#
# ```
# minran ablate table1 table4 table3 figure4 --scale nano --seeds 3 --out runs/ablate
# ```

# %%
cells = ablation("table3")
seeds = sorted({seed for cell in cells for seed in cell["seeds"]})
print(f"seeds {seeds}; test error in %, one number for each seed\n")
for cell in cells:
    values = "  ".join(f"{value:5.1f}" for value in cell["values"])
    print(f"{cell['row']:16} {cell['column']:20} {values}    paper {cell['paper']:.2f}")

# %% [markdown]
# Compare within a line first: it has the same network and the same data, only other random numbers.
#
# ## 2 · The margin
#
# From $n$ values with mean $\bar a$ and variance $s_a^2$ (divided by $n - 1$), the mean is known
# with the variance $v_a = s_a^2 / n$. A difference of two means has the variance $v_a + v_b$. If
# the values are roughly normal, the true difference lies, in 95 of 100 such experiments, within
#
# $$
# (\bar b - \bar a) \;\pm\; t_f \sqrt{v_a + v_b} , \qquad
# f = \frac{(v_a + v_b)^2}{\dfrac{v_a^2}{n_a - 1} + \dfrac{v_b^2}{n_b - 1}} ,
# \tag{14.1}
# $$
#
# where $t_f$ is the number between whose negative and itself Student's distribution with $f$
# degrees of freedom has 95% (Welch, 1947). For many values $t$ is 1.96; for few it is larger,
# because the variances themselves are badly known:

# %%
for freedom in (1, 2, 3, 4, 8, 20, 100):
    print(f"f = {freedom:3}: t = {student_t(freedom):6.2f}")

# %% [markdown]
# A difference *counts* if it is larger than its margin.
#
# **Task 14.1.** Write the margin of (14.1) for two lists of values. `student_t(f)` gives $t$.


# %% tags=["exercise"]
# Task 14.1: the margin of a difference of two means
def margin(a, b):
    """Half the width of Welch's 95% interval; a and b: lists of at least two numbers."""
    ### BEGIN SOLUTION
    va, vb = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return student_t(freedom) * np.sqrt(va + vb)
    ### END SOLUTION


# %% tags=["check"]
check("14.1", margin)

# %%
show_source(compare, after="14.1")

# %% [markdown]
# ### Does the rule keep its word?
#
# Take two networks that are *exactly alike*: errors around 25 with a spread of 3. Draw three seeds
# of each, decide, and repeat that 2,000 times. Before you run the next cell, predict: how often
# does each rule announce a difference that is not there?

# %%
rng = np.random.default_rng(14)
trials = rng.normal(25, 3, (2000, 2, 3))
first, second = trials[:, 0], trials[:, 1]
rules = {
    "one seed each, over 1 point": np.abs(first[:, 0] - second[:, 0]) > 1,
    "means of three, over 1 point": np.abs(first.mean(1) - second.mean(1)) > 1,
    "best of three, over 1 point": np.abs(first.min(1) - second.min(1)) > 1,
    "means of three, Welch": [compare(a, b).counts for a, b in trials[:500]],
}
for name, said in rules.items():
    print(f"{name:30} announces a difference in {np.mean(said):4.0%} of the cases")

# %% [markdown]
# "More than a point" is not a rule; it depends on the spread. Welch's announces about one in
# twenty, as it should; somewhat fewer with three values each. But in twenty comparisons of equal
# networks, about one will then count by chance.
#
# ## 3 · Three tables
#
# Dots are single runs, bars their means; the words give the difference to the first of the means,
# with its margin.


# %% tags=["hide-input"]
def panel(axes, name, title, column=None):
    """Runs of each row of one table, and whether they differ from the first row's."""
    cells = [c for c in ablation(name) if column is None or c["column"] == column]
    dress(axes, colours, title, "", "test error, %")
    for x, cell in enumerate(cells):
        colour = colours.colours[x]
        axes.plot([x] * len(cell["values"]), cell["values"], "o", color=colour, alpha=0.6)
        axes.hlines(np.mean(cell["values"]), x - 0.2, x + 0.2, color=colour, lw=3)
        if x:
            found = compare(cells[0]["values"], cell["values"])
            words = "no spread" if found.margin is None else f"± {found.margin:.1f}"
            top = max(cell["values"])
            axes.annotate(
                f"{found.value:+.1f} {words}\n{found.verdict}",
                (x, top),
                (0, 8),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=colours.text,
            )
    axes.set_xticks(range(len(cells)), [c["row"].replace(" ", "\n") for c in cells])
    axes.set_xlim(-0.6, len(cells) - 0.4)
    axes.set_ylim(0, 1.35 * max(max(c["values"]) for c in cells))


figure = new_figure(9.4, 3.6, False)
left, right = figure.subplots(1, 2, width_ratios=(3, 2))
panel(left, "table1", "Table 1: the mask's activation")
panel(right, "table4", "Table 4: the mask's structure")
figure

# %%
for name in ("table1", "table4"):
    first, *others = ablation(name)
    for cell in others:
        found = compare(first["values"], cell["values"])
        width = "unknown" if found.margin is None else f"{found.margin:.2f}"
        print(
            f"{cell['row']} - {first['row']}: {found.value:+.2f}, margin {width}: {found.verdict}; "
            f"the paper {cell['paper'] - first['paper']:+.2f}"
        )

# %% [markdown]
# The paper's differences are below one point. The margins here are many points wide. Whatever the
# sign of our differences, they are no evidence for or against the paper's: an experiment of this
# size **could not have seen** an effect of that size. That is not the same as "there is none".
#
# ### Table 3: naive or residual
#
# Here the paper predicts a large effect that grows with depth.

# %% tags=["hide-input"]
columns = list(dict.fromkeys(c["column"] for c in cells))
rows = list(dict.fromkeys(c["row"] for c in cells))
figure = new_figure(9.4, 3.6, False)
left, right = figure.subplots(1, 2)
dress(left, colours, "Ours, nano: shapes", "modules a stage", "test error, %")
dress(right, colours, "The paper: CIFAR-10", "modules a stage", "test error, %")
for index, row in enumerate(rows):
    mine = [c for c in cells if c["row"] == row]
    colour, marker = colours.colours[index], "os"[index]
    for x, cell in enumerate(mine, start=1):
        at = x + 0.06 * (2 * index - 1)
        left.plot([at] * len(cell["values"]), cell["values"], marker, color=colour, alpha=0.55)
    means = [np.mean(c["values"]) for c in mine]
    left.plot(range(1, 5), means, color=colour, lw=2, label=row)
    right.plot(range(1, 5), [c["paper"] for c in mine], marker + "-", color=colour, lw=2, label=row)
for axes in (left, right):
    axes.set_xticks(range(1, 5))
    axes.set_ylim(bottom=0)
    legend(axes, colours, loc="upper left")
figure

# %%
for column in columns:
    pair = {c["row"]: c for c in cells if c["column"] == column}
    residual, naive = (pair[row]["values"] for row in rows)
    found = compare(residual, naive)
    width = "unknown" if found.margin is None else f"{found.margin:.1f}"
    print(f"{column:20} naive - residual {found.value:+5.1f}, margin {width}: {found.verdict}")

# %% [markdown]
# With the 1 in $(1 + M)\,T$, depth does no harm here; without it, the error rises from line to
# line, much more than in the paper. (The paper trains for 205 epochs and these runs for four. What
# our runs can show is that the naive networks learn more *slowly*.) Where a margin is wider than
# its difference, look at the dots: with three modules a stage, the naive runs lie from 45 to 83%.
# Three values so far apart say little about a mean; only more seeds can help.
#
# ### Figure 4: nothing fades here
#
# The paper explains the errors by features that vanish: a product of masks below 1 should make the
# responses of the naive network smaller from stage to stage. The mean absolute response after each
# stage, on a logarithmic scale:

# %% tags=["hide-input"]
responses = ablation("figure4")
points = list(dict.fromkeys(c["column"] for c in responses))
figure = new_figure(6.2, 3.3, False)
axes = dress(
    figure.subplots(), colours, "Figure 4 in small, trained networks", "", "mean |feature|"
)
axes.set_yscale("log")
for index, row in enumerate(rows):
    mine = [c for c in responses if c["row"] == row]
    colour, marker = colours.colours[index], "os"[index]
    for x, cell in enumerate(mine):
        axes.plot([x] * len(cell["values"]), cell["values"], marker, color=colour, alpha=0.55)
    axes.plot(range(len(mine)), [np.mean(c["values"]) for c in mine], color=colour, lw=2, label=row)
axes.set_xticks(range(len(points)), points)
legend(axes, colours, loc="center right")
figure

# %% [markdown]

# %%
print("mean over seeds   " + "".join(f"{point:>10}" for point in points))
for row in rows:
    means = [np.mean(c["values"]) for c in responses if c["row"] == row]
    print(f"{row:18}" + "".join(f"{mean:10.2f}" for mean in means))

# %% [markdown]
# After the stem, the kinds are about ten times apart, and the seeds of one kind agree. But look at
# the directions. The *naive* responses stay where they were after the stem: they do **not** fade.
# The *residual* ones **grow**, all of it in stage 1, where a product of factors $1 + M$ makes them
# larger. So this small figure does not show what the paper's Figure 4 shows. Nor is a small
# response harmful by itself: the next batch norm divides by it. Harm is done if the shortcut
# becomes small *against the branch* that is added to it (notebook 09), and this log has no number
# for that. (The paper draws curves and gives no numbers.)
#
# ## 4 · How many seeds?
#
# Turn (14.1) around. With a spread of $s$ for each network and $n$ seeds each, the difference of
# the means has the standard error $e = s\sqrt{2/n}$ and the margin $t_{2n-2}\,e$. Let the true
# difference be $d$. Is it enough that the margin is smaller than $d$? No: the *measured* difference
# varies around $d$, and in half of all experiments it is smaller than $d$. Then an experiment whose
# margin is just $d$ finds the difference in half of the cases only: its **power** is 50%.
#
# A normal variable lies above its mean minus 0.84 deviations in 80% of the cases. So for a power of
# 80% one asks that even $d - 0.84\,e$ is larger than the margin:
#
# $$
# (t_{2n-2} + 0.84)\; s \sqrt{2/n} \;<\; d . \tag{14.2}
# $$
#
# **Task 14.2.** Write the least $n \ge 2$ for which (14.2) holds.


# %% tags=["exercise"]
# Task 14.2: seeds that a difference needs
def seeds_needed(difference, spread):
    """The least n >= 2 with (student_t(2n - 2) + 0.84) * spread * sqrt(2 / n) < difference."""
    ### BEGIN SOLUTION
    n = 2
    while (student_t(2 * n - 2) + 0.84) * spread * np.sqrt(2 / n) >= difference:
        n += 1
    return n
    ### END SOLUTION


# %% tags=["check"]
check("14.2", seeds_needed)

# %%
spreads = [summarise(c["values"]).deviation for c in ablation("table1")]
spread = np.sqrt(np.mean(np.square(spreads))) if None not in spreads else 3.0
print(f"spread of our runs of Table 1: {spread:.1f} points")
needed = {difference: seeds_needed(difference, spread) for difference in (10.0, 5.0, 3.0)}
for difference, n in needed.items():
    print(f"to see {difference:4.1f} points in 80% of the experiments: {n:4} seeds each")
about = 2 * (2.8 * spread / 0.72) ** 2
print(f"to see  0.7 points (the paper's, channel against mixed): about {about:.0f} seeds each")

# %% [markdown]
# Does that hold? Simulate 2,000 experiments with a true difference of 5 points, for several numbers
# of seeds, and count in how many it is found (by (14.1) with the $f = 2n - 2$ of equal variances).
# Before you run the next cell, predict the share for four seeds of each, a usual number:

# %%
for n in (4, 8, 12, 16, 20):
    pairs = rng.normal((25, 30), spread, (2000, n, 2))
    means, error = pairs.mean(axis=1), np.sqrt(pairs.var(axis=1, ddof=1).sum(axis=1) / n)
    power = np.mean(np.abs(means[:, 1] - means[:, 0]) > student_t(2 * n - 2) * error)
    print(f"{n:3} seeds each: a difference of 5 points is found in {power:4.0%} of the experiments")

# %% [markdown]
# (For large $n$, $t$ is 1.96 and $n \approx 2\,(2.8\, s / d)^2$: half the difference needs four
# times the seeds.) Larger networks that are trained longer vary less: He et al. (2016) give
# 6.61 ± 0.16% for five runs of ResNet-110 on CIFAR-10. With such a spread a few seeds are enough
# for 0.7 points. With a GPU and more time, use `--scale small` or `--scale paper`.
#
# ## Summary
#
# - A table without a spread cannot say which of its differences would come back.
# - Welch's margin (14.1) is the least one should ask of a difference; with few seeds it is wide.
# - In small: Tables 1 and 4 are undecided, as they had to be. Table 3's direction is clear. In
#   Figure 4 the residual responses grow, and the naive ones do not fade.
# - Undecided is not equal. State the power, too: which difference the experiment would have found.
#
# ## Questions
#
# 1. You run five seeds and report the best, because "the others had bad luck". What do you measure?
#
# <details><summary>Answer</summary>
#
# Mostly the spread. The best of five normal values lies about 1.16 standard deviations above the
# mean, so the network that varies more looks better. Somebody who runs it once will not get it.
# </details>
#
# 2. The same seed for both networks: does that make the comparison fairer?
#
# <details><summary>Answer</summary>
#
# Only if the seed makes things alike that matter for both, such as the order of the images and
# the wrong labels: then differences seed by seed vary less than the values, and one tests those.
# Weights of networks of different shapes have nothing in common, whatever the seed.
# </details>
#
# 3. One of three runs fails entirely (error 85%). May you leave it out?
#
# <details><summary>Answer</summary>
#
# Not silently, and not because it is inconvenient. That one run of three fails *is* a result about
# the network. Report it, and say with what it was compared; if a cause is found (a rate too large),
# repeat all runs without it.
# </details>
#
# 4. Margins assume that values are normal. Where is that plainly wrong here?
#
# <details><summary>Answer</summary>
#
# Errors cannot go below 0 or (by much) above 90%, and runs that fail make a second hump. With three
# values one cannot test it either. The margin is then only a rule of thumb.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: section 4.1, Tables 1, 3 and 4, Figure 4.
# - B. L. Welch, *The generalization of "Student's" problem when several different population
#   variances are involved*, Biometrika 34, 1947.
# - K. He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016, arXiv:1512.03385:
#   Table 6, the spread of five runs.
# - X. Bouthillier et al., *Accounting for Variance in Machine Learning Benchmarks*, MLSys 2021,
#   arXiv:2103.03098.
