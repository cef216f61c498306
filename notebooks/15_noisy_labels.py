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
#     number: 15
#     seconds: 60
#     minutes: 65
# ---

# %% [markdown]
# # 15 · Noisy labels
#
# **You will be able to**
#
# - build the matrix of label noise of the paper (Eq. 7) and draw labels from it;
# - say what a network converges to when labels are wrong, and up to which noise its answer is
#   still right;
# - measure which share of the logits' gradient comes from wrong labels, early and late in training;
# - tell two effects of wrong labels apart by runs that differ in one thing only;
# - test Eq. 2: do masks weigh the gradients of wrong labels less than those of right ones?
# - read the paper's Table 5 with the right amount of doubt.
#
# **Time**: 65 minutes to read and do; runs in 60 seconds on 2 cores.
# **Needs**: notebooks 06 (cross-entropy) and 09 (the mask as a filter on gradients).

# %% tags=["setup"]
import numpy as np

from minran import create_model, inspect, no_grad, ops, tensor
from minran.course import ablation, check, filtered_shares, label_filter, show_source
from minran.data import corrupt_labels, label_noise_matrix, load_shapes
from minran.inspect.style import MAP_COLOURS, dress, legend, new_figure, theme
from minran.optim import SGD
from minran.train import load_pretrained

colours = theme()

# %% [markdown]
# ## 1 · The matrix
#
# People who label images make mistakes. The paper asks whether attention helps against mistakes,
# and makes them on purpose: an image of class $i$ keeps its label with probability $r$, the
# **clean ratio**; otherwise it gets one of the $K - 1$ others, each as often. As a matrix of
# probabilities
#
# $$
# Q = \begin{pmatrix}
# r & \frac{1-r}{K-1} & \cdots & \frac{1-r}{K-1} \\
# \frac{1-r}{K-1} & r & \cdots & \frac{1-r}{K-1} \\
# \vdots & & \ddots & \vdots \\
# \frac{1-r}{K-1} & \frac{1-r}{K-1} & \cdots & r
# \end{pmatrix},
# \qquad Q_{ij} = P(\text{label } j \mid \text{class } i) .
# \tag{Eq. 7}
# $$
#
# Each row sums to 1. The paper's Table 5 prints the noise $1 - r$, not $r$.
#
# **Task 15.1.** Build it.


# %% tags=["exercise"]
# Task 15.1: the matrix of label noise
def noise_matrix(classes, clean_ratio):
    """Q of Eq. 7: (classes, classes) float64."""
    ### BEGIN SOLUTION
    wrong = (1 - clean_ratio) / (classes - 1)
    return np.full((classes, classes), wrong) + (clean_ratio - wrong) * np.eye(classes)
    ### END SOLUTION


# %% tags=["check"]
check("15.1", noise_matrix)

# %%
show_source(label_noise_matrix, docstring=False, after="15.1")

# %% [markdown]
# To draw labels from it, `corrupt_labels` compares a uniform number with the cumulative sums of the
# right row. On **the built-in shapes (not CIFAR)**, half of the labels wrong:

# %%
shapes = load_shapes("train", count=2000)
matrix = label_noise_matrix(10, clean_ratio=0.5)
noisy = corrupt_labels(shapes.labels, matrix, np.random.default_rng(15))
print(f"{np.mean(noisy != shapes.labels):.1%} of the labels are wrong")

# %% tags=["hide-input"]
counts = np.zeros((10, 10))
np.add.at(counts, (shapes.labels, noisy), 1)
found = counts / counts.sum(axis=1, keepdims=True)
figure = new_figure(8.6, 3.6, False)
left, right = figure.subplots(1, 2)
for axes, values, title in ((left, matrix, "Q for r = 0.5"), (right, found, "drawn, 2,000 labels")):
    drawn = axes.imshow(values, cmap=MAP_COLOURS, vmin=0, vmax=0.55)
    axes.set_title(title, color=colours.text, fontsize=11, loc="left", weight="bold")
    axes.set_xlabel("label", color=colours.text)
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.tick_params(colors=colours.faint, labelsize=8)
left.set_ylabel("class", color=colours.text)
bar = figure.colorbar(drawn, ax=(left, right), shrink=0.9)
bar.set_label("probability", color=colours.text)
bar.ax.tick_params(colors=colours.faint, labelsize=8)
figure

# %% [markdown]
# ## 2 · What noise does to the goal
#
# Take one image of class $i$, and let $p$ be the network's probabilities for it. With label $j$
# the gradient of the cross-entropy with respect to the logits is $p - e_j$ (notebook 06), where
# $e_j$ is 1 at position $j$ and 0 elsewhere. Label $j$ comes with probability $Q_{ij}$. So the
# **expected** gradient is
#
# $$
# \mathbb{E}_j\,[\,p - e_j\,] = p - \sum_j Q_{ij}\, e_j = p - Q_{i\cdot} ,
# \tag{15.1}
# $$
#
# the row of $Q$. It is zero at $p = Q_{i\cdot}$: with enough images and no memory, a network
# learns the *row*, not the class. Its answer is the largest entry, and that is still the class as
# long as
#
# $$
# r > \frac{1-r}{K-1} \iff r > \frac1K .
# \tag{15.2}
# $$
#
# With ten classes and 70% of the labels wrong, $r = 0.3$ is still three times $1/K$. Noise of this
# kind does not move the best answer at all. What it costs is the size of the signal.
#
# **Task 15.2.** Write the expected gradient of the logits for a batch: probabilities $p$ (N, K),
# true classes (N,), and $Q$. Of the mean over the batch, as `cross_entropy` takes it.


# %% tags=["exercise"]
# Task 15.2: the expected gradient under label noise
def expected_gradient(p, classes, matrix):
    """dL/dz (N, K) in expectation over labels drawn from the rows of `matrix`; L is the mean."""
    ### BEGIN SOLUTION
    return (p - matrix[classes]) / len(p)
    ### END SOLUTION


# %% tags=["check"]
check("15.2", expected_gradient)

# %% [markdown]
# The noise is in the *other* part. Around its mean, the gradient of one image has the variance
# $\sum_j Q_{ij}(1 - Q_{ij})$. Where the network has learnt the row, all of the gradient is that:
# the mean has gone to zero and the variance has not.
#
# ## 3 · Whose gradient is it?
#
# The length of one image's gradient with respect to the logits is $|p - e_j|$. Sum it over the
# images with right and with wrong labels, for a network without training, and for one that has
# been trained on clean labels.


# %%
def lengths(model, inputs, labels):
    """|p - e_j| for every image."""
    p = inspect.class_probabilities(model, inputs)
    return np.linalg.norm(p - np.eye(p.shape[1])[labels], axis=1)


trained, preprocess, _ = load_pretrained("quickstart")
inputs = preprocess(shapes.images)
fresh = create_model("attention_nano", seed=0)
fresh.train()
with no_grad():
    fresh(tensor(inputs[:256]))  # one pass, for the running statistics
wrong = noisy != shapes.labels
for name, model in (("fresh", fresh), ("trained on clean labels", trained)):
    norms = lengths(model, inputs, noisy)
    print(
        f"{name:23} right labels {norms[~wrong].mean():.2f} each, wrong {norms[wrong].mean():.2f}; "
        f"{norms[wrong].sum() / norms.sum():.0%} of all is of wrong ones"
    )

# %% [markdown]
# At the start every label pulls equally: half of them wrong, half of the length wrong. But the
# wrong ones pull in nine directions and cancel, while the right ones pull in one. So the classes
# are learnt first. In a network that has learnt them, nearly all of the length comes from mistakes.
# (This is the gradient of the **logits**. Section 4 measures what reaches the trunk.)
#
# What happens then? Before you run the cells below, predict: how many of the wrong labels does a
# network give back at the end that sees them again and again, and one that sees new ones each time?
#
# The trained network goes on, with half of the labels wrong, on 300 images
# that it sees again and again. An effect of wrong labels needs controls, runs that differ in one
# thing only:
#
# - **clean**: the same images, all labels right. Does the further training alone do it?
# - **drawn anew**: half wrong, but at every step other ones. This is what (15.1) describes; nothing
#   can be learnt by heart.

# %%
test = load_shapes("test", count=400)
test_inputs = preprocess(test.images)
few, few_labels, few_wrong, truth = inputs[:300], noisy[:300], wrong[:300], shapes.labels[:300]


def go_on(kind, seed=0, steps=120, batch=32):
    """Train on; at some steps: wrong labels' share of the length, p of the class, answers."""
    model, _, _ = load_pretrained("quickstart")
    sgd = SGD(model.parameters(), lr=0.005, momentum=0.9, nesterov=True)
    order, draws = np.random.default_rng(seed), np.random.default_rng(100 + seed)
    history = []
    for step in range(steps + 1):
        if step % 20 == 0:
            model.eval()
            p = inspect.class_probabilities(model, few)
            norms = np.linalg.norm(p - np.eye(10)[few_labels], axis=1)
            on_test = inspect.class_probabilities(model, test_inputs).argmax(axis=1)
            history.append(
                (
                    step,
                    norms[few_wrong].sum() / norms.sum(),
                    p[np.arange(300), truth].mean(),
                    np.mean(on_test == test.labels),
                    np.mean(p.argmax(axis=1)[few_wrong] == few_labels[few_wrong]),
                )
            )
        model.train()
        chosen = order.choice(300, batch, replace=False)
        labels = {"fixed": few_labels, "clean": truth}.get(kind, truth)[chosen]
        if kind == "drawn anew":
            labels = corrupt_labels(labels, matrix, draws)
        loss = ops.cross_entropy(model(tensor(few[chosen])), labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    return np.array(history).T


histories = {kind: go_on(kind) for kind in ("fixed", "drawn anew", "clean")}

# %% tags=["hide-input"]
figure = new_figure(9.4, 3.2, False)
panels = figure.subplots(1, 3)
titles = "p of the true class", "Test images: right", "Wrong labels: given back"
for axes, title, column in zip(panels, titles, (2, 3, 4), strict=True):
    dress(axes, colours, title, "step", "" if column > 2 else "mean, share")
    for index, (kind, history) in enumerate(histories.items()):
        look = {"color": colours.colours[index], "lw": 2, "label": kind}
        axes.plot(history[0], history[column], "osD"[index] + "-", **look)
    axes.set_ylim(-0.02, 1.05)
panels[0].axhline(0.5, color=colours.faint, ls=":", lw=1.4)
panels[0].annotate("r", (0, 0.5), (0, 3), textcoords="offset points", color=colours.faint)
legend(panels[2], colours, loc="upper left")
figure

# %%
print("labels      p of the class   test accuracy     lowest   wrong labels given back")
for kind, (_, _, p, accuracy, learnt) in histories.items():
    print(
        f"{kind:10}  {p[0]:.2f} -> {p[-1]:.2f}     {accuracy[0]:.1%} -> {accuracy[-1]:.1%}   "
        f"{accuracy.min():.1%}    {learnt[0]:.1%} -> {learnt[-1]:.1%}"
    )

# %% [markdown]
# Two effects, and the controls tell them apart.
#
# - **Certainty goes** with wrong labels of both kinds, and not with clean ones. (15.1) pulls the
#   probability of the true class from 0.9 towards $r = 0.5$, and may overshoot. All images share
#   that correction, so it is quick, and rough: answers change that need not, and test accuracy
#   falls before some of it comes back.
# - **Single images are learnt by heart** only where each image keeps its one wrong label. With
#   labels drawn anew, almost none of the first labels is given back after as many steps. So it
#   is not the noise that is learnt by heart, but its repetition; the expectation in (15.1) is over
#   labels drawn anew each time, and says nothing about it.
#
# One run of each kind is shown. With seeds 0, 1 and 2, 29 to 33% of the wrong labels are given back
# at the end if they stay the same, and 1 to 2% if they are drawn anew. The lowest test accuracy is
# 57 to 59% with labels drawn anew, and 75 to 78% at the end; it is never below 92% with clean ones.
#
# ## 4 · Eq. 2, tested on the trunk's gradient
#
# Eq. 2 (notebook 09) says that a naive mask multiplies the trunk's update by $M$: where the mask is
# near zero, a wrong label cannot change the trunk. With the residual gate the factor is $1 + M$, so
# it can at most halve the update against the rest. The paper offers this as the reason why
# attention resists noise, and measures no gradient. We can measure it.
#
# A factor on everything filters nothing: the optimiser's rate could do the same. A mask helps
# against wrong labels only if it takes *more* from them. So take images with right and with wrong
# labels, and compare the wrong ones' share of all gradient length at two places: **before** the
# gate, of $g_H$, and **after** it, of $g_T = g_H\,(1 + M)$ or $g_H\,M$. A filter lowers the share.
# As a control, each image gets the mask of the next image; and without a mask nothing changes.
#
# The mask reads the image, not the label. Before you look at the figure, predict: with a quarter to
# a third of the labels wrong, by how many points does the share fall at a residual gate? At a naive
# one?

# %%
show_source(filtered_shares, docstring=False)

# %% [markdown]
# First on networks that ship: the quickstart's with residual gates, with naive ones and with none,
# trained on clean labels, one seed each. The labels are those of section 3, half of them wrong, and
# the shares are in %, for the three stages:

# %%
for name in ("quickstart", "quickstart_naive", "quickstart_no_mask"):
    network, prepare, _ = load_pretrained(name)
    found = filtered_shares(network, prepare(shapes.images[:300]), few_labels, few_wrong)
    words = {key: ", ".join(f"{100 * share:.1f}" for share in found[key]) for key in found}
    print(f"{name:19} before {words['before']}; after {words['after']}; other {words['other']}")

# %% [markdown]
# These know the classes, so nearly all gradient comes from wrong labels, and no gate changes that
# by a point. But they never learned from wrong labels. Nine small networks, three kinds with three
# seeds each, were trained for eight epochs on labels of which 30 in 100 were drawn to be wrong;
# after each epoch the shares were measured on 400 training images. They have two attention modules.
# (`python -m minran.workshop.course.label_filter`; see `docs/results/label-filter`.)

# %% tags=["hide-input"]
log = label_filter()
figure = new_figure(9.6, 3.5, False)
panels = figure.subplots(1, 3, width_ratios=[1, 1, 1])
words = "share of gradient / share of images"
dress(panels[0], colours, "Wrong labels, before the gate", "epoch", words)
for index, kind in enumerate(("residual", "naive", "no mask")):
    runs = [run for run in log if run["kind"] == kind]
    for n, run in enumerate(runs):
        values = np.array([row["before"][0] for row in run["rows"]]) / run["wrong"]
        label = kind if n == 0 else None
        look = {"color": colours.colours[index], "marker": "osD"[index], "ms": 4, "lw": 1.4}
        panels[0].plot(values, label=label, **look)
legend(panels[0], colours, loc="upper left")
for axes, kind in zip(panels[1:], ("residual", "naive")):
    dress(axes, colours, f"What a {kind} gate changes", "epoch", "after minus before, points")
    for n, run in enumerate(run for run in log if run["kind"] == kind):
        for key, paint, style in (
            ("other", colours.faint, "--"),
            ("after", colours.colours[0], "-"),
        ):
            for module in range(2):
                change = [100 * (row[key][module] - row["before"][module]) for row in run["rows"]]
                words = {"after": "its own mask", "other": "another image's"}[key]
                label = words if n + module == 0 else None
                axes.plot(change, style, color=paint, lw=1.4, alpha=0.8, label=label)
    axes.axhline(0, color=colours.text, lw=0.8)
    axes.set_ylim(-3, 3)
    legend(axes, colours, loc="upper left")
figure

# %%
print("after the last epoch: share of wrong labels in %, before the gate -> after it")
for run in log:
    row = run["rows"][-1]
    for name, before, after in (
        ("g_H -> g_T", row["before"], row["after"]),
        ("update", row["update_before"], row["update_after"]),
    ):
        words = ", ".join(f"{100 * b:.1f} -> {100 * a:.1f}" for b, a in zip(before, after))
        print(f"{run['kind']:9} seed {run['seed']}  {name:11} {words}")

# %% [markdown]
# What all nine networks show:
#
# - Before the gate the wrong labels' share grows beyond their share of the images, because right
#   labels are learnt and wrong ones are not. It grows alike with masks and without.
# - **The gates hardly change it**: at residual gates by at most 0.6 points in any epoch, at naive
#   ones by at most 1.5. What a mask takes from wrong labels it takes from right ones too.
# - There is a trace of a filter. After the last epoch the share is lower after the gate than before
#   it at all six residual gates, by 0.1 to 0.4 points, and another image's mask does not do that in
#   each of them. At naive gates the sign differs.
# - The shares of the trunk's parameters, from 100 images, scatter more than that in both
#   directions.
#
# So Eq. 2 holds, and it does not say what one would like to read in it. A mask is a filter on the
# trunk's update, but it is computed from the image, and the image does not show whether its label
# is wrong. If masks make a network resist wrong labels, this filter is not the reason in these
# networks. They are small, and eight epochs are too few to learn wrong labels by heart; so this is
# no last word.
#
# ## 5 · The paper's table
#
# The paper's own evidence is a table of errors on CIFAR-10, one number for each cell and no spread:

# %%
paper = {(c["row"], c["column"]): c["paper"] for c in ablation("table5")}
rows = sorted({row for row, _ in paper})
columns = list(dict.fromkeys(column for _, column in paper))
print(f"{'the paper, error in %':22}" + "".join(f"{name:>12}" for name in columns))
for row in rows:
    print(f"{row:22}" + "".join(f"{paper[row, column]:12.2f}" for column in columns))

# %% [markdown]
# Read it with section 2 in mind. Both networks lose surprisingly little up to 50%, as (15.2) lets
# one expect: the best answer does not move. The attention network is better in each column. The
# column without noise stands elsewhere: Attention-92 has 4.99% in the paper's Table 6, and
# ResNet-164 has 5.46% (He et al., 2016). The differences:

# %%
differences = {"none wrong": 5.46 - 4.99}
for column in columns:
    differences[column] = paper["ResNet", column] - paper["Attention-92", column]
print(", ".join(f"{name}: {value:.2f}" for name, value in differences.items()), "points")

# %% [markdown]
# The advantage with noise is larger than without. One run for each number cannot say by how much.
#
# And in small: networks of some 50,000 parameters on 4,000 shapes, four epochs, made by
# `minran ablate table5 --scale nano` (log in `docs/results/ablations-nano`; here ResNet is the same
# network without masks, made deeper to have as many parameters).

# %% tags=["hide-input"]
cells = ablation("table5")
seeds = sorted({seed for cell in cells for seed in cell["seeds"]})
figure = new_figure(7.4, 3.3, False)
axes = dress(
    figure.subplots(),
    colours,
    f"Test error with wrong labels, nano scale, {len(seeds)} seed(s)",
    "wrong labels",
    "error, %",
)
for index, row in enumerate(rows):
    for x, column in enumerate(columns):
        values = next(c["values"] for c in cells if (c["row"], c["column"]) == (row, column))
        at = x + (index - 0.5) * 0.22
        axes.plot([at] * len(values), values, "os"[index], color=colours.colours[index], alpha=0.6)
        axes.hlines(np.mean(values), at - 0.08, at + 0.08, color=colours.colours[index], lw=3)
    axes.plot([], [], "os"[index], color=colours.colours[index], label=row)
axes.axhline(90, color=colours.faint, ls=":", lw=1.4)
axes.annotate("guessing", (0, 90), (0, 3), textcoords="offset points", color=colours.faint)
axes.set_xticks(range(len(columns)), [name.replace(" wrong", "") for name in columns])
axes.set_ylim(0, 97)
legend(axes, colours, loc="lower right")
figure

# %%
print(f"seeds: {seeds}")
for column in columns:
    pair = {c["row"]: np.array(c["values"]) for c in cells if c["column"] == column}
    difference = pair["ResNet"] - pair["Attention-92"]
    words = ", ".join(f"{value:+.1f}" for value in difference)
    print(f"{column:10} ResNet minus Attention, seed by seed: {words} points")

# %% [markdown]
# Each dot is one run, each bar their mean. Whether any of the differences is more than chance is
# the subject of notebook 14. Look first at how far the dots of one kind lie apart.
#
# ## Summary
#
# - $Q$ keeps a label with probability $r$ and spreads the rest evenly (Eq. 7).
# - In expectation the gradient is $p - Q_{i\cdot}$: the network learns the row. The answer stays
#   right while $r > 1/K$.
# - In a fresh network wrong labels cancel; in one that knows the classes nearly all of the gradient
#   comes from them. Certainty goes with any wrong labels; only labels that stay the same are learnt
#   by heart.
# - Eq. 2 is true of every gate, but in nine networks trained with wrong labels the masks hardly
#   tell wrong labels from right ones: what a mask takes from one it takes from the other.
# - The paper's table favours attention, more with noise than without; one number for each cell
#   cannot say how sure that is.
#
# ## Questions
#
# 1. Noise in real data is not even: cats become dogs, rarely ships. What changes in (15.2)?
#
# <details><summary>Answer</summary>
#
# The condition is $Q_{ii} > Q_{ij}$ for every $j$: the class must be the most frequent of *its own*
# labels. If 60% of the cats are labelled dogs, the best answer for a cat is dog, however clean the
# other classes are.
# </details>
#
# 2. Label smoothing with $\varepsilon = 0.1$ (notebook 06) and label noise look alike. Where do
#    they differ?
#
# <details><summary>Answer</summary>
#
# In expectation they are the same: targets spread over all classes. But smoothing is that spread
# target at every step, without variance; noise is one wrong label that stays wrong for its image,
# and can be learnt by heart.
# </details>
#
# 3. Stopping early is an old remedy. Which of the figures above explains it?
#
# <details><summary>Answer</summary>
#
# The right one of section 3. Giving back wrong labels takes many steps over the same images, and
# it goes on growing. Classes are learnt early, while wrong labels cancel. Stopping in between keeps
# the classes, and few of the wrong labels.
# </details>
#
# ## References
#
# - F. Wang et al., *Residual Attention Network for Image Classification*, CVPR 2017,
#   arXiv:1704.06904: section 4.1, Eq. 7 and Table 5.
# - K. He et al., *Identity Mappings in Deep Residual Networks*, ECCV 2016, arXiv:1603.05027:
#   ResNet-164 with clean labels.
# - C. Zhang et al., *Understanding Deep Learning Requires Rethinking Generalization*, ICLR 2017,
#   arXiv:1611.03530: networks that learn random labels by heart.
# - D. Arpit et al., *A Closer Look at Memorization in Deep Networks*, ICML 2017, arXiv:1706.05394:
#   patterns first, single examples later.
