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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minran/minran/blob/main/notebooks/00_start_here.ipynb)
#
# **You will be able to**
#
# - run a trained Residual Attention Network and look at its masks;
# - name its parts, from the stem to the classifier, and find each in the code;
# - compute what an attention module puts out from its mask and its trunk;
# - look up every symbol of this course: what it means, where it is in the code, which notebook
#   explains it.
#
# **Time**: 30 minutes to read and do; runs in 8 seconds on 2 cores.
#
# **Needs**: Python and NumPy. Nothing is downloaded.

# %% tags=["setup"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("minran") is None:  # in Colab
    wheel = "minran[notebooks] @ git+https://github.com/minran/minran"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wheel], check=True)

import numpy as np

from minran import inspect, ops
from minran.course import check, show_source
from minran.data import load_shapes
from minran.train import load_pretrained

# %% [markdown]
# ## 1 · A network that looks
#
# This network was trained by `minran quickstart`, in about a minute and a half on two processor
# cores. Its pictures come from the library's own **shapes** data, which is drawn, not
# photographed: one object of ten kinds on a busy background. They are made here, so nothing has to
# be downloaded, and the true outline of every object is known. (CIFAR-10, the data of the paper,
# comes in notebook 12.)

# %%
model, preprocess, class_names = load_pretrained("quickstart")
test = load_shapes("test", 300)
inputs = preprocess(test.images)
probabilities = inspect.class_probabilities(model, inputs)
answers = probabilities.argmax(axis=1)
print(f"right on {np.mean(answers == test.labels):.1%} of {len(test.labels)} test pictures")

_, firsts = np.unique(test.labels, return_index=True)
shown = np.sort(firsts)[:5]
inspect.prediction_figure(test.images[shown[:3]], probabilities[shown[:3]], class_names, count=3)

# %% [markdown]
# So far this is any classifier. What makes this network special is that it computes, at three
# depths, a **mask**: an array as large as its features, that says for each position and each
# channel how much that feature shall count. Here are the masks' means over channels, laid over the
# pictures, beside the true objects. Nobody told the network where the objects are; it was trained
# on labels alone.

# %%
attentions = inspect.attention_maps(model, inputs)
inspect.mask_figure(
    test.images[shown],
    attentions,
    true_masks=test.masks[shown],
    class_names=class_names,
    labels=test.labels[shown],
)

# %% [markdown]
# Look before you believe. Some maps follow the object, some are bright everywhere *but* on it, and
# those of the last stage, only 4×4 values each, are vague. A mean over channels hides much, too:
# each channel has a mask of its own. Below are the channels of the first stage whose masks vary
# most over the picture. Whether masks find objects is a question of numbers: notebook 13 scores
# them against the true outlines, beside a baseline that always points at the middle.

# %%
inspect.mask_figure(test.images[shown], attentions[:1], test.masks[shown], rule="variance", count=4)

# %% [markdown]
# ## 2 · The map of the network
#
# The whole network, with the shape of the features on every arrow (height × width × channels). In
# the browser, click the name of a box to fold it.

# %%
inspect.module_graph(model, depth=2)

# %% [markdown]
# | part | what it does |
# |---|---|
# | **stem** | one convolution that makes channels out of colours, and (here) a pool to save time |
# | **stages** | three; all but the first halve the size; they hold the attention modules |
# | **tail** | residual units without attention |
# | **norm, pool, fc** | batch norm and ReLU, mean over positions, a linear layer: logits |
#
# Everything new is inside the **attention module**. This is Figure 2 of the paper, drawn from the
# code: the *trunk* on one side, the *mask* on the other, and the gate that joins them.

# %%
module = dict(model.named_modules())["stages.0.1"]
inspect.module_graph(module, image_size=(16, 16))

# %% [markdown]
# From top to bottom:
#
# - **before**: residual units, then the way splits;
# - **trunk** $T$: two residual units, which compute features as in any residual network;
# - **mask** $M$: pools make the map small, so that each value sees much of the picture;
#   interpolation brings it back to full size; two $1\times1$ convolutions and a sigmoid make
#   values between 0 and 1;
# - **gate**: $H = (1 + M)\,T$, element by element (the paper's Eq. 3);
# - **after**: more residual units.
#
# The names in the drawing are the names in the code. The mask of the first module is
# `stages.0.1.mask`: stage 0, place 1 in it (place 0 is a plain unit), its part `mask`. Every module
# and every parameter can be had by such a name:

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
# With $0 \le M \le 1$ the naive gate can only make features smaller, and a network has many of
# them in a row. The residual gate leaves them at least as they are. Notebook 09 is about this
# difference.


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
show_source(ops.gate)

# %% [markdown]
# ## 4 · How the course goes on
#
# | notebooks | what you build |
# |---|---|
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
# ## 5 · Symbols
#
# The table holds every symbol of the course, what it is, where it is in the code, and the notebook
# that explains it. `ops.conv2d(stride)` means the argument `stride` of `minran.ops.conv2d`, and
# names such as `stages.0.1.mask` are parts of the network above. (A test follows every name in the
# table.)
#
# | symbol | what it is | in the code | notebook |
# |---|---|---|---|
# | $N, H, W, C$ | pictures, height, width, channels: the order of all axes | `Tensor.shape` | 00 |
# | $x$, $y$ | input and output of an operation | `Op.forward` | 01 |
# | $L$ | the loss, one number | `ops.cross_entropy` | 01, 06 |
# | $g^y$ | gradient of the loss, $\partial L/\partial y$ | `Op.backward(gy)` | 01 |
# | $J$ | Jacobian $\partial y_i/\partial x_j$; never stored | `Op.backward` | 01 |
# | $h$, $\varepsilon$ | step of a difference; precision of the numbers | `gradcheck(eps)` | 02 |
# | $r$ | random cotangent, in gradient checks | `gradcheck(seed)` | 02 |
# | $A^{\mathsf T}$ | adjoint of a linear operation | `Op.backward` | 02 |
# | $w$ | weights of a convolution $(K_H, K_W, C, K)$ | `stem.0.weight` | 03 |
# | $K_H, K_W$ | height and width of a kernel or window | `nn.Conv2d(kernel_size)` | 03, 05 |
# | $K$ | output channels; also the number of classes | `nn.Conv2d(out_channels)` | 03, 06 |
# | $s$, $p$ | stride and padding | `ops.conv2d(stride)`, `ops.conv2d(padding)` | 03 |
# | $G$ | groups of a convolution | `ops.conv2d(groups)` | 03 |
# | $\mu$ | mean of a channel over the batch | `norm.running_mean` | 04 |
# | $\sigma^2$ | variance of a channel over the batch | `norm.running_var` | 04 |
# | $\hat x$ | the normalised input, mean 0 and variance 1 | `ops.batch_norm` | 04 |
# | $\gamma, \beta$ | scale and shift of a batch norm | `norm.gamma`, `norm.beta` | 04 |
# | $\epsilon$ | what keeps a division by a standard deviation finite | `ops.batch_norm(eps)` | 04 |
# | $m$ | momentum of the running statistics | `ops.batch_norm(momentum)` | 04 |
# | $\max$ | the largest of a window | `ops.max_pool2d` | 05 |
# | $R_h, R_w$ | interpolation, $Y = R_h X R_w^{\mathsf T}$ | `ops.upsample_bilinear2d` | 05 |
# | $z$, $p_k$ | logits, and the probabilities made from them | `fc`, `ops.softmax` | 06 |
# | $t$ | target probabilities | `ops.cross_entropy(label_smoothing)` | 06 |
# | $\theta$ | any parameter | `nn.Parameter` | 06 |
# | $\eta$ | learning rate | `optim.SGD(lr)` | 06 |
# | $\mu$, $v$ | momentum and velocity of the optimiser | `optim.SGD(momentum)` | 06 |
# | $\lambda$ | weight decay | `optim.SGD(weight_decay)` | 06 |
# | $F(x)$ | what a residual unit adds to its input: $x + F(x)$ | `models.PreActUnit` | 07 |
# | $T$ | trunk branch: features | `stages.0.1.trunk` | 08 |
# | $M$ (also $s$) | soft mask branch | `stages.0.1.mask` | 08 |
# | $H$ | output of the gate | `ops.gate` | 08, 09 |
# | $h_{\mathrm{up}}, h_{\mathrm{down}}$ | halves of the mask | `stages.0.1.mask.body` | 08 |
# | $d$ | depth of a mask: number of its max-pools | `models.Hourglass(depth)` | 08 |
# | $p$ | units before the split, and after the gate | `models.AttentionModule(p)` | 08 |
# | $t$ | units in the trunk | `models.AttentionModule(t)` | 08 |
# | $r$ | units at each level of the mask | `models.AttentionModule(r)` | 08 |
# | $H = M\,T$ | naive attention learning, Eq. 1 | `ops.gate(learning)` | 09 |
# | $H = (1+M)\,T$ | residual attention learning, Eq. 3 | `ops.gate(learning)` | 09 |
# | $f_1$ | mixed attention, Eq. 4 | `ops.sigmoid` | 10 |
# | $f_2$ | channel attention, Eq. 5 | `ops.channel_attention` | 10 |
# | $f_3$ | spatial attention, Eq. 6 | `ops.spatial_attention` | 10 |
# | $m$ | attention modules in a stage; depth $36\,m + 20$ | `create_model` | 11 |
# | $Q$, $r$ | label noise matrix, Eq. 7 | `data.label_noise_matrix(clean_ratio)` | 15 |
# | $\tau$ | threshold above which a pixel of a map counts | `inspect.score(threshold)` | 13 |
# | $\alpha_c$ | weight of a channel in Grad-CAM | `inspect.gradcam` | 13 |
# | $s$, $v$ | spread of single values; variance of their mean | `ablate.summarise` | 14 |
# | $t_f$ | 95% limit of Student's t, $f$ degrees of freedom | `ablate.student_t` | 14 |
# | $e_j$ | 1 at place $j$, 0 elsewhere: a label as probabilities | `data.one_hot` | 15 |
# | IoU | overlap of a mask and the true object: both over either | `inspect.score` | 13 |
# | $F$, $B$ | operations and bytes of a kernel call | `course.Spent` | 17 |
# | $\pi$, $\beta$ | operations and bytes a second, at most | `course.seconds_of` | 17 |
# | $I$ | arithmetic intensity, $F/B$ | `course.timed_kernels` | 17 |
# | $g_{ij}$ | influence of a pixel on the middle of a mask | `inspect.mask_reach` | 18 |
# | $z$, $s$ | a channel's mean; its weight | `course.SqueezeExciteParts` | 18 |
# | $\rho$ | reduction of a channel gate | `course.SqueezeExciteParts(reduction)` | 18 |
#
# Some letters mean two things, as in the papers that they come from: $p$ is a padding, a
# probability and a number of units, $r$ a cotangent, a number of units and a clean ratio, $\mu$ a
# mean and a momentum, $m$ a momentum and a number of modules, $\beta$ a shift and a bandwidth. The
# notebook always says which.
#
# ## Summary
#
# - A Residual Attention Network is a residual network in which a mask weights the features.
# - $M$ and $T$ come from the same input; $H = (1 + M)\,T$.
# - Every part has a name that is the same in the drawing, in the code and in the checkpoint.
# - The shapes data is the library's own, with known outlines; it is not the paper's data.
#
# ## Questions
#
# 1. The mask of stage 3 is a map of $4\times4$. Why does it look smooth when laid over a picture of
#    $32\times32$?
#
# <details><summary>Answer</summary>
#
# Each of its values belongs to a patch of $8\times8$ pixels and more. To lay it over the picture
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
# Raising features at places that help to name the class lowers the loss. That is a reason to hope,
# not a proof: a mask may also raise background features that a later layer subtracts. So one must
# measure, against the outlines and against a baseline that always points at the middle: notebook
# 13.
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
