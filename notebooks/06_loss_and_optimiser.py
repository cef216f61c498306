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
#     number: 6
#     seconds: 10
#     minutes: 150
# ---

# %% [markdown]
# # 06 · Loss and optimiser
#
# **You will be able to**
#
# - turn scores into probabilities without overflow, and derive the gradient "probability minus
#   target";
# - derive when gradient descent converges, and what momentum changes;
# - write one Nesterov step as PyTorch and minran define it, and show that it is Nesterov's
#   method;
# - say what weight decay does, alone and together with batch norm;
# - say why the learning rate has to fall, and read the usual schedules.
#
# **Time**: 150 minutes to read and do; runs in 10 seconds on 2 cores.
#
# **Needs**: notebook 01; eigenvalues of a symmetric matrix; notebook 04 for section 6. A good place
# for a break is after section 2: sections 1 and 2 are about the loss, the others about the
# optimiser.

# %% tags=["setup"]
import numpy as np

from minran import create_model, ops, optim, tensor
from minran.backend import cpu, naive
from minran.course import check, explore, show_source
from minran.data import load_shapes
from minran.inspect.style import dress, legend, new_figure, theme

rng = np.random.default_rng(6)
colours = theme()

# %% [markdown]
# ## 1 · From scores to probabilities
#
# For each image the network outputs $K$ scores $z_1, \dots, z_K$, the *logits*. The softmax
# makes them positive and lets them add up to one:
#
# $$
# p_k = \frac{e^{z_k}}{\sum_j e^{z_j}} ,
# \qquad
# \log p_k = z_k - \mathrm{lse}(z) ,
# \qquad
# \mathrm{lse}(z) = \log \sum_j e^{z_j} .
# \tag{6.1}
# $$
#
# In float32, $e^{89}$ is already infinite, and $\infty/\infty$ is not a number. But a constant
# added to all scores changes nothing: with $m = \max_j z_j$,
#
# $$
# \mathrm{lse}(z) = \log \Big( e^{m} \sum_j e^{z_j - m} \Big) = m + \log \sum_j e^{z_j - m} .
# \tag{6.2}
# $$
#
# Now every exponent is $\le 0$ and one of them is $0$: the sum lies between $1$ and $K$. Nothing
# can overflow, and the logarithm never sees a zero. $\mathrm{lse}$, *log-sum-exp*, is a smooth
# maximum, $m \le \mathrm{lse}(z) \le m + \log K$, and the softmax is its gradient:
#
# $$
# \frac{\partial\, \mathrm{lse}}{\partial z_j} = \frac{e^{z_j}}{\sum_i e^{z_i}} = p_j .
# \tag{6.3}
# $$

# %%
scores = np.array([[1000.0, 1001.0, 998.0]], np.float32)
with np.errstate(over="ignore", invalid="ignore"):
    print("(6.1) as it stands:", np.exp(scores) / np.exp(scores).sum())
print("the library:       ", ops.softmax(tensor(scores)).numpy().round(4))
show_source(cpu.log_softmax)

# %% [markdown]
# ## 2 · Cross-entropy and its gradient
#
# How good are the probabilities $p_{n1}, \dots, p_{nK}$ of image $n$ if the truth is the
# distribution $t_{n1}, \dots, t_{nK}$? For a plain label, $t$ is $1$ at the label and $0$
# elsewhere. The *cross-entropy* is the mean surprise,
#
# $$
# L = -\frac1N \sum_{n=1}^N \sum_{k=1}^K t_{nk} \log p_{nk} .
# \tag{6.4}
# $$
#
# With plain labels it is minus the mean log-likelihood: the smaller, the more probable are the
# labels under the model. Its smallest value is the entropy of $t$, which is $0$ for plain labels.
#
# For the gradient put (6.1) in, for one image, and use (6.3):
#
# $$
# \begin{aligned}
# L_n &= -\sum_k t_k z_k + \Big(\sum_k t_k\Big)\, \mathrm{lse}(z) \\
# \Longrightarrow\quad
# \frac{\partial L_n}{\partial z_j} &= -t_j + \Big(\sum_k t_k\Big)\, p_j = p_j - t_j ,
# \end{aligned}
# \tag{6.5}
# $$
#
# because $\sum_k t_k = 1$. Over the batch,
#
# $$
# g_{z} = \frac{1}{N}\, (p - t) .
# \tag{6.6}
# $$
#
# **Probability minus target.** It adds up to zero over the classes, no entry leaves $[-1, 1]/N$,
# and it does not vanish where the network is most wrong: an image with
# $p_{\text{label}} \approx 0$ pulls with full force. (The squared error of $p$ would have a
# factor $p(1 - p)$ there, and pull with none.)
#
# The second derivative shows that the loss is convex in $z$:
# $\partial p_j/\partial z_i = p_j(\delta_{ij} - p_i)$, so for any $u$
#
# $$
# u^\top \frac{\partial^2 L_n}{\partial z^2}\, u = \sum_j p_j u_j^2 - \Big(\sum_j p_j u_j\Big)^2
# = \mathrm{Var}_p(u) \ge 0 .
# \tag{6.7}
# $$
#
# In the *weights* of a deep network it is not convex at all.

# %%
margin = np.linspace(-8, 8, 161)  # score of the label minus score of the other class
logits = tensor(np.stack([margin, np.zeros_like(margin)], 1), requires_grad=True)
labels = np.zeros(len(margin), int)
losses = -ops.log_softmax(logits).numpy()[:, 0]
loss = ops.cross_entropy(logits, labels)
loss.backward()
gradient = logits.grad[:, 0] * len(margin)  # without the 1/N
p = 1 / (1 + np.exp(-margin))
squared = 2 * (p - 1) * p * (1 - p)  # the gradient of (1 - p)^2

# %% tags=["hide-input"]
figure = new_figure(9.2, 2.9, False)
left, right = figure.subplots(1, 2)
dress(left, colours, "loss of one image, two classes", "score of the label − other score")
left.plot(margin, losses, color=colours.colours[0], linewidth=1.8, label="cross-entropy")
left.plot(
    margin,
    np.maximum(-margin, 0),
    color=colours.faint,
    linewidth=1.2,
    linestyle="--",
    label="max(−margin, 0)",
)
dress(right, colours, "gradient of the label's score", "score of the label − other score")
right.plot(margin, gradient, color=colours.colours[0], linewidth=1.8, label="cross-entropy: p − 1")
right.plot(
    margin,
    squared,
    color=colours.colours[1],
    linewidth=1.8,
    linestyle="--",
    label="squared error of p",
)
legend(left, colours)
legend(right, colours, loc="lower right")
figure

# %% [markdown]
# A check that costs nothing: a network that knows nothing gives each of $K$ classes about $1/K$,
# so the **first loss must be near $\log K$**, here $\log 10 = 2.303$. If it is 9, look at the
# initial weights or at the preparation of the images.

# %%
data = load_shapes("train", 64)
images = data.images / np.float32(255) - np.float32(0.5)
model = create_model("attention_nano", num_classes=10)
print("first loss:", round(ops.cross_entropy(model(tensor(images)), data.labels).item(), 3))

# %% [markdown]
# ### Label smoothing
#
# With $t' = (1 - e)\,t + e/K$ the label gets a little less than $1$, every class a little more
# than $0$. By (6.5) the gradient is zero at $p = t'$, at a finite margin: the network need not
# push its scores to infinity. In the library: `cross_entropy(..., label_smoothing=0.1)`.
#
# ### Exercise: the gradient
#
# It must work for scores of 1000, and for soft targets (rows that add up to one).


# %% tags=["exercise"]
# Task 06.1: write the gradient of the cross-entropy with respect to the logits, (6.6).
def cross_entropy_gradient(logits, targets):
    """logits, targets (N, K) -> (N, K)."""
    ### BEGIN SOLUTION
    shifted = logits - logits.max(1, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(1, keepdims=True)
    return (p - targets) / len(logits)
    ### END SOLUTION


# %% tags=["check"]
check("06.1", cross_entropy_gradient)

# %%
show_source(naive.cross_entropy_backward, docstring=False, after="06.1")

# %% [markdown]
# ## 3 · Gradient descent on a valley
#
# Training moves the parameters $\theta$ against the gradient, with learning rate $\eta$ (`lr`):
#
# $$
# \theta_{t+1} = \theta_t - \eta\, \nabla L(\theta_t) .
# \tag{6.8}
# $$
#
# (The letters change: from here on $t$ counts steps, $v$ is a velocity, and later $p$ is a stored
# parameter; in sections 1 and 2 $t$ was a target and $p$ a probability.)
#
# (*Stochastic* gradient descent: $\nabla L$ is that of one batch. For now, no noise.) Near a
# minimum every smooth loss looks like $\frac12 \theta^\top H \theta$ with $H$ symmetric; along
# its eigenvectors the coordinates do not influence each other, and along one with eigenvalue
# $\lambda$,
#
# $$
# \theta_{t+1} = (1 - \eta\lambda)\, \theta_t ,
# \qquad
# \text{which shrinks if and only if}\quad 0 < \eta\lambda < 2 .
# \tag{6.9}
# $$
#
# The steepest direction $\lambda_{\max}$ limits $\eta$; along the flattest, $\lambda_{\min}$,
# progress is then slow. The best single $\eta$ makes both ends equally fast,
# $1 - \eta\lambda_{\min} = -(1 - \eta\lambda_{\max})$, so
#
# $$
# \eta = \frac{2}{\lambda_{\min} + \lambda_{\max}} ,
# \qquad
# \text{factor per step}\quad \frac{\kappa - 1}{\kappa + 1} ,
# \qquad
# \kappa = \frac{\lambda_{\max}}{\lambda_{\min}} .
# \tag{6.10}
# $$
#
# About $\kappa$ steps for each factor of $e^2$. For deep networks $\kappa$ is large.
#
# ## 4 · Momentum
#
# Let a velocity collect the gradients (Polyak's *heavy ball*; `momentum` is $\mu$):
#
# $$
# v_{t+1} = \mu v_t + g_t ,
# \qquad
# \theta_{t+1} = \theta_t - \eta\, v_{t+1} ,
# \qquad
# g_t = \nabla L(\theta_t) .
# \tag{6.11}
# $$
#
# If the gradient is constant, $v \to g\,(1 + \mu + \mu^2 + \cdots) = g/(1 - \mu)$: with
# $\mu = 0.9$ steps become **ten times** as long where gradients agree, while those that change
# sign cancel. So momentum 0.9 with $\eta$ resembles plain descent with $10\,\eta$ in flat
# directions, and it is no surprise that it needs a smaller $\eta$.
#
# On the quadratic, $g_t = \lambda\theta_t$. From (6.11), $\eta v_{t+1} = \theta_t - \theta_{t+1}$
# and $\eta v_t = \theta_{t-1} - \theta_t$; put both into the first equation times $\eta$:
#
# $$
# \theta_{t+1} = (1 + \mu - \eta\lambda)\, \theta_t - \mu\, \theta_{t-1} .
# \tag{6.12}
# $$
#
# Solutions are sums of $z^t$ with $z^2 - (1 + \mu - \eta\lambda) z + \mu = 0$ ($z$ is now a root,
# no logit). The product of the two roots is $\mu$. If they are complex they are conjugate, so
# $|z|^2 = \mu$, **whatever $\lambda$ is**; and they are complex if
#
# $$
# (1 + \mu - \eta\lambda)^2 < 4\mu
# \quad\Longleftrightarrow\quad
# (1 - \sqrt\mu)^2 < \eta\lambda < (1 + \sqrt\mu)^2 .
# \tag{6.13}
# $$
#
# So all directions between these bounds shrink at the same rate $\sqrt\mu$, swinging. Put
# $\lambda_{\min}$ and $\lambda_{\max}$ on the bounds and divide:
#
# $$
# \sqrt\kappa = \frac{1 + \sqrt\mu}{1 - \sqrt\mu}
# \quad\Longrightarrow\quad
# \text{factor per step}\quad \sqrt\mu = \frac{\sqrt\kappa - 1}{\sqrt\kappa + 1} :
# \tag{6.14}
# $$
#
# about $\sqrt\kappa$ steps instead of $\kappa$. This is why momentum is used.
#
# ## 5 · Nesterov's step
#
# Nesterov's idea: look where the velocity is about to carry us, and take the gradient **there**.
# In the form of Sutskever et al., with a velocity $w$ that contains the learning rate,
#
# $$
# w_{t+1} = \mu w_t - \eta\, \nabla L(\theta_t + \mu w_t) ,
# \qquad
# \theta_{t+1} = \theta_t + w_{t+1} .
# \tag{6.15}
# $$
#
# For a library that is awkward: the network would have to be evaluated at $\theta_t + \mu w_t$
# while its parameters hold $\theta_t$. PyTorch and minran define instead, with $g$ the gradient
# at the parameters $p$ **as they are stored**,
#
# $$
# v \leftarrow \mu v + g ,
# \qquad
# p \leftarrow p - \eta\,(g + \mu v) .
# \tag{6.16}
# $$
#
# Is that the same method? **Yes, if one lets the stored parameters be the point looked at.** Put
# $w_t = -\eta\, v_t$ and
#
# $$
# p_t := \theta_t + \mu w_t = \theta_t - \eta\mu\, v_t .
# \tag{6.17}
# $$
#
# Then $g_t = \nabla L(p_t)$ is the gradient of (6.15). Its first equation, divided by $-\eta$,
# reads $v_{t+1} = \mu v_t + g_t$: the first half of (6.16). The second reads
# $\theta_{t+1} = \theta_t - \eta\, v_{t+1}$. Now follow $p$:
#
# $$
# \begin{aligned}
# p_{t+1} &= \theta_{t+1} - \eta\mu\, v_{t+1}
# = \theta_t - \eta\, v_{t+1} - \eta\mu\, v_{t+1} && \text{(6.17), then the step}\\
# &= p_t + \eta\mu\, v_t - \eta\, v_{t+1} - \eta\mu\, v_{t+1} && \text{(6.17) backwards}\\
# &= p_t + \eta\,(v_{t+1} - g_t) - \eta\, v_{t+1} - \eta\mu\, v_{t+1} && \mu v_t = v_{t+1} - g_t \\
# &= p_t - \eta\,(g_t + \mu\, v_{t+1}) ,
# \end{aligned}
# \tag{6.18}
# $$
#
# which is the second half of (6.16). $\blacksquare$ So the parameters of a network trained with
# Nesterov momentum are the points looked at, not the points $\theta_t$; the two meet as the
# velocity dies. The equality holds as long as $\eta$ and $\mu$ are constant. When $\eta$ falls,
# (6.15) goes on with the old long step $w$, while in (6.16) $\eta$ is not part of $v$, and the
# very next step is short.


# %%
def slope(theta):
    """The gradient of a loss that is no quadratic."""
    return np.sinh(theta) * np.array([1.0, 8.0])


lr, mu = 0.05, 0.9
theta, velocity = np.array([2.0, 1.0]), np.zeros(2)
stored = tensor(theta.copy(), requires_grad=True)
sgd = optim.SGD([stored], lr=lr, momentum=mu, nesterov=True)
for step in range(30):
    ahead = theta + mu * velocity
    if step % 10 == 0:
        print(f"step {step:2d}: Nesterov looks at", ahead.round(6), end=", ")
        print("minran stores", stored.numpy().round(6))
    velocity = mu * velocity - lr * slope(ahead)  # (6.15)
    theta = theta + velocity
    stored.grad = slope(stored.numpy())
    sgd.step()  # (6.16)
print("largest difference after 30 steps:", abs(theta + mu * velocity - stored.numpy()).max())

# %% [markdown]
# What does it gain? On the quadratic, (6.16) is linear in $(p, v)$ with $g = \lambda p$:
#
# $$
# \begin{gathered}
# \begin{pmatrix} p_{t+1} \\ v_{t+1} \end{pmatrix}
# = \begin{pmatrix} 1 - \eta\lambda(1 + \mu) & -\eta\mu^2 \\ \lambda & \mu \end{pmatrix}
# \begin{pmatrix} p_t \\ v_t \end{pmatrix} , \\
# z^2 - (1 + \mu)(1 - \eta\lambda)\, z + \mu\,(1 - \eta\lambda) = 0 .
# \end{gathered}
# \tag{6.19}
# $$
#
# (Trace and determinant of the matrix are the sum and product of its eigenvalues.) Where the roots
# are complex, $|z| = \sqrt{\mu\,(1 - \eta\lambda)}$: smaller than the heavy ball's $\sqrt\mu$, and
# the more so the steeper the direction. But it diverges earlier. At $z = -1$ (6.19) gives the limit
# $\eta\lambda < (2 + 2\mu)/(1 + 2\mu)$, 1.36 for $\mu = 0.9$, against $2 + 2\mu = 3.8$ for the
# heavy ball.


# %%
def factor(kind, step, mu=0.9):
    """The largest |z| per step, for step = lr * lambda."""
    if kind == "plain":
        return abs(1 - step)
    shrink = 1 - step if kind == "Nesterov" else 1.0
    middle = (1 + mu) * (1 - step) if kind == "Nesterov" else 1 + mu - step
    return max(abs(np.roots([1, -middle, mu * shrink])))


steps = np.logspace(-3.5, 0.62, 240)
kinds = ("plain", "momentum", "Nesterov")
factors = {kind: [factor(kind, step) for step in steps] for kind in kinds}

# %% tags=["hide-input"]
figure = new_figure(6.8, 3.2, False)
axis = dress(
    figure.subplots(),
    colours,
    "How fast does an error die?",
    "lr × curvature λ",
    "steps for a factor of 10 (log)",
)
for k, kind in enumerate(kinds):
    values = np.array(factors[kind])
    needed = np.where(values < 1, -1 / np.log10(np.clip(values, 1e-4, 1 - 1e-9)), np.nan)
    axis.loglog(
        steps,
        needed,
        color=colours.colours[k],
        linestyle=("-", "--", "-.")[k],
        linewidth=1.8,
        label=kind,
    )
axis.set_ylim(0.4, 1e4)
legend(axis, colours, loc="upper right")
figure

# %% [markdown]
# Read from left to right: in flat directions (small $\lambda$) momentum is ten times faster than
# plain descent; in the middle its curve is flat, (6.13); Nesterov's goes on falling. At the
# right, each curve ends where it diverges.
#
# Now the paths. $L = \frac12(\theta_1^2 + 30\,\theta_2^2)$, a valley with $\kappa = 30$, all
# three with the library's `SGD`. First **the same** $\eta$ for all, which is not fair to plain
# descent; below each at the best of 20 rates.
#
# Before you run the next cells, predict: at its own best rate, is plain descent worse than the two
# others after 40 steps, and does Nesterov's path cross the valley more or less often than the heavy
# ball's?

# %%
curvature = np.array([1.0, 30.0])


def path(lr, momentum, nesterov, steps=40):
    """The points that SGD visits, from one fixed start."""
    theta = tensor(np.array([-9.0, 1.6]), requires_grad=True)
    sgd = optim.SGD([theta], lr=lr, momentum=momentum, nesterov=nesterov)
    points = [theta.numpy().copy()]
    for _ in range(steps):
        loss = (theta * theta * tensor(curvature)).sum() * 0.5
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        points.append(theta.numpy().copy())
    return np.array(points)


# %% tags=["hide-input"]
def draw_paths(lr=0.03, momentum=0.8):
    """Contours of the loss and the three paths."""
    figure = new_figure(9.6, 2.7, False)
    grid = np.meshgrid(np.linspace(-10, 5, 160), np.linspace(-2.1, 2.1, 100))
    height = 0.5 * (grid[0] ** 2 + 30 * grid[1] ** 2)
    for k, (axis, kind) in enumerate(zip(figure.subplots(1, 3, sharey=True), kinds)):
        points = path(lr, 0.0 if kind == "plain" else momentum, kind == "Nesterov")
        dress(axis, colours, kind)
        axis.grid(False)
        axis.contour(
            *grid, height, levels=np.logspace(-0.5, 2.2, 9), colors=colours.grid, linewidths=0.8
        )
        axis.plot(*points.T, color=colours.colours[k], marker="o", markersize=2.6, linewidth=1.1)
        axis.plot(0, 0, "+", color=colours.text, markersize=9)
        axis.set_xlim(-10, 5)
        axis.set_ylim(-2.1, 2.1)
        loss = 0.5 * (points[-1] ** 2 * curvature).sum()
        axis.set_xlabel(f"after 40 steps: loss {loss:.2g}", color=colours.text, fontsize=9)
    return figure


# %%
explore(draw_paths, lr=(0.005, 0.01, 0.03, 0.05, 0.065), momentum=(0.5, 0.8, 0.95))

# %%
for kind in kinds:
    best = np.inf, 0.0
    for lr in np.linspace(0.005, 0.1, 20):
        last = path(lr, 0.0 if kind == "plain" else 0.8, kind == "Nesterov")[-10:]
        best = min(best, (0.5 * (last**2 * curvature).sum(1).max(), lr))
    print(f"{kind:9} at its best rate, {best[1]:.3f}: loss below {best[0]:.1g} in steps 31 to 40")

# %% [markdown]
# ### One step by hand
#
# Parameter $p = 1$, velocity $v = 0.5$, gradient $g = 0.2$; $\eta = 0.1$, $\mu = 0.9$, no decay.
# Then $v \leftarrow 0.9 \cdot 0.5 + 0.2 = 0.65$, the step is
# $g + \mu v = 0.2 + 0.9 \cdot 0.65 = 0.785$ with the **new** velocity, and
# $p \leftarrow 1 - 0.0785 = 0.9215$.
#
# ## 6 · Weight decay
#
# Add $\frac{\omega}{2} |\theta|^2$ to the loss, with $\omega$ = `weight_decay`. Its gradient is
# $\omega\,\theta$, so
#
# $$
# \begin{aligned}
# g &= \nabla L(\theta) + \omega\, \theta && \text{and, without momentum,} \\
# \theta &\leftarrow (1 - \eta\omega)\, \theta - \eta\, \nabla L(\theta) .
# \end{aligned}
# \tag{6.20}
# $$
#
# Every step takes a share $\eta\omega$ off each weight (in the long run $\eta\omega/(1 - \mu)$ with
# momentum). With the paper's numbers, $0.1 \cdot 10^{-4}/(1 - 0.9) = 10^{-4}$ per step: a weight on
# which the loss does not depend is halved in 7,000 steps. Along an eigenvector of $H$ with a
# minimum at $\theta^*$, decay moves the minimum to $\theta^* \lambda/(\lambda + \omega)$:
# directions that hardly matter to the loss, $\lambda \ll \omega$, go to zero, the others stay.
#
# **Before a batch norm the effect is different.** By (4.4) the size of a filter $w$ before a batch
# norm does not matter to the loss, and its gradient is at right angles to it. By Pythagoras, one
# plain step makes
#
# $$
# |w|^2 \leftarrow (1 - \eta\omega)^2 |w|^2 + \eta^2 |\nabla L|^2
# \approx |w|^2 - 2\eta\omega\, |w|^2 + \eta^2 |\nabla L|^2 .
# \tag{6.21}
# $$
#
# Gradients only ever lengthen $w$, decay shortens it. What matters is the direction $w/|w|$, and
# a step turns it by the angle $\eta\,|\nabla L|/|w|$. Where the two terms balance,
# $\eta^2 |\nabla L|^2 = 2\eta\omega |w|^2$, and
#
# $$
# \text{angle per step} = \frac{\eta\, |\nabla L|}{|w|} = \sqrt{2\eta\omega} .
# \tag{6.22}
# $$
#
# So before batch norm, weight decay does not make the function simpler. It sets **how fast the
# filters turn**, together with the learning rate. Without decay $|w|$ grows without end, and
# learning slows down.
#
# (6.22) is for plain steps. With momentum a gradient moves $w$ by $\eta/(1 - \mu)$ in the long run,
# and decay shortens it by $\eta\omega/(1 - \mu)$ per step, so the balance is
# $|w|^2 = \eta\,|\nabla L|^2 / (2\omega(1 - \mu))$. One step of the heavy ball, $\eta v$, has
# $|v|^2 = |\nabla L|^2/(1 - \mu^2)$ if the gradients of different steps are independent. Nesterov's
# step is $g + \mu v_{t+1} = (1 + \mu)\, g + \mu^2 v_t$. Together,
#
# $$
# \text{angle} = \sqrt{\frac{2\eta\omega}{1 + \mu}} \;\;\text{(heavy ball)},
# \qquad
# \sqrt{2\eta\omega\,\frac{1 + 2\mu - 2\mu^3}{1 + \mu}} \;\;\text{(Nesterov)}.
# \tag{6.23}
# $$
#
# With $\mu = 0.9$, as in the paper's recipe, these are 0.73 and 0.84 of (6.22).


# %%
def turning(weight_decay, steps=2000, lr=0.1, momentum=0.0, nesterov=False):
    """Length and angle per step of a filter whose loss sees its direction only; random targets."""
    generator = np.random.default_rng(0)
    w = tensor(generator.standard_normal(64), requires_grad=True)
    sgd = optim.SGD([w], lr, momentum, nesterov=nesterov, weight_decay=weight_decay)
    lengths, angles = [], []
    for _ in range(steps):
        length = np.linalg.norm(w.numpy())
        direction = w.numpy() / length
        pull = generator.standard_normal(64)
        w.grad = (pull - direction * (direction @ pull)) / length  # at right angles to w
        sgd.step()
        cosine = direction @ w.numpy() / np.linalg.norm(w.numpy())
        lengths.append(length)
        angles.append(np.arccos(min(1.0, cosine)))
    return np.array(lengths), np.array(angles)


decays = (0.0, 2e-3, 2e-2)
runs = {decay: turning(decay) for decay in decays}

# %% tags=["hide-input"]
figure = new_figure(9.2, 2.8, False)
left, right = figure.subplots(1, 2)
dress(left, colours, "length |w|", "step")
dress(right, colours, "angle per step (radians)", "step")
right.set_yscale("log")
for k, decay in enumerate(decays):
    left.plot(runs[decay][0], color=colours.colours[k], linewidth=1.6, label=f"decay {decay:g}")
    smooth = np.convolve(runs[decay][1], np.ones(50) / 50, "valid")
    right.plot(smooth, color=colours.colours[k], linewidth=1.6, label=f"decay {decay:g}")
    if decay:
        right.axhline(
            np.sqrt(2 * 0.1 * decay), color=colours.colours[k], linestyle=":", linewidth=1.4
        )
legend(right, colours, ncols=3, loc="upper right")
right.set_ylim(0.008, 0.3)
figure

# %% [markdown]
# Dotted: (6.22). With each decay the length settles at its own value, and so does the angle. The
# same with momentum 0.9:

# %%
for name, mu, nesterov in (
    ("plain", 0.0, False),
    ("heavy ball", 0.9, False),
    ("Nesterov", 0.9, True),
):
    measured = turning(2e-2, momentum=mu, nesterov=nesterov)[1][-1000:].mean()
    share = (1 + 2 * mu - 2 * mu**3 if nesterov else 1) / (1 + mu)
    print(f"{name:10} angle {measured:.4f}, expected {np.sqrt(2 * 0.1 * 2e-2 * share):.4f}")

# %% [markdown]
# The decay of $10^{-4}$ in this library's recipes acts on all parameters. Some other recipes
# leave out $\gamma$, $\beta$ and biases.
#
# ### Exercise: one step


# %% tags=["exercise"]
# Task 06.2: write one step of SGD with Nesterov momentum and weight decay, (6.16) and (6.20).
def nesterov_step(p, grad, v, lr, momentum, weight_decay):
    """Arrays p, grad, v of one shape -> the new p and the new v."""
    ### BEGIN SOLUTION
    g = grad + weight_decay * p
    v = momentum * v + g
    p = p - lr * (g + momentum * v)
    return p, v
    ### END SOLUTION


# %% tags=["check"]
check("06.2", nesterov_step)

# %% [markdown]
# The library's kernel as a loop:

# %%
show_source(naive.sgd_update, after="06.2")

# %% [markdown]
# ## 7 · Why the learning rate must fall
#
# A batch's gradient is the true one plus noise $\xi_t$ of mean zero and variance $\sigma^2$
# (batch size in the denominator). Along one eigenvector, without momentum,
# $\theta_{t+1} = (1 - \eta\lambda)\,\theta_t - \eta\,\xi_t$. The noise is independent of the
# past, so variances add; in the long run $V = \mathbb E[\theta^2]$ satisfies
#
# $$
# V = (1 - \eta\lambda)^2 V + \eta^2\sigma^2
# \quad\Longrightarrow\quad
# V = \frac{\eta\, \sigma^2}{\lambda\,(2 - \eta\lambda)} .
# \tag{6.24}
# $$
#
# The parameters do not come to rest. They move at random about the minimum, with a variance
# proportional to $\eta$, and the loss stays $\frac12\lambda V$ above its minimum. With a large rate
# they come near the minimum fast and stay far from it on average; with a small rate the other way
# round. Hence: large first, then small. At each drop of the rate the loss falls within about
# $1/(\eta\lambda)$ steps to its new level: the sudden fall in training curves with such a schedule.

# %%
drops = optim.multistep(0.5, milestones=(300, 600))
flat, noise = 1.0, 1.0
theta = np.full(2000, 3.0)  # 2000 runs side by side
expected, mean_loss = [], []
for step in range(900):
    eta = drops(step)
    theta = (1 - eta * flat) * theta - eta * noise * rng.standard_normal(theta.shape)
    mean_loss.append(0.5 * flat * (theta**2).mean())
    expected.append(0.5 * eta * noise**2 / (2 - eta * flat))

# %% tags=["hide-input"]
figure = new_figure(9.4, 3.0, False)
left, right = figure.subplots(1, 2)
dress(left, colours, "noisy descent, mean of 2,000 runs", "step", "loss above the minimum")
left.semilogy(mean_loss, color=colours.colours[0], linewidth=1.5, label="measured")
left.semilogy(expected, color=colours.colours[1], linewidth=1.5, linestyle="--", label="(6.24)")
legend(left, colours)
dress(right, colours, "three schedules, 160,000 steps", "step (thousands)", "lr")
total = 160_000
schedules = {
    "multistep (the paper)": optim.multistep(0.1, (64_000, 96_000)),
    "cosine, warm-up 5,000": optim.cosine(0.1, total, warmup=5_000),
    "one cycle": optim.one_cycle(0.1, total),
}
at = np.arange(0, total, 400)
for k, (name, schedule) in enumerate(schedules.items()):
    right.plot(
        at / 1000,
        [schedule(s) for s in at],
        color=colours.colours[k],
        linestyle=("-", "--", "-.")[k],
        linewidth=1.7,
        label=name,
    )
legend(right, colours, loc="upper right")
figure

# %% [markdown]
# A schedule is a function from step to rate; the training loop sets
# `optimizer.lr = schedule(step)` and that is all.
#
# $$
# \eta_{\text{multistep}}(s) = \eta\, f^{\,\#\{m\,:\,s \ge m\}} ,
# \qquad
# \eta_{\text{cosine}}(s) = \eta\; \tfrac12\Big(1 + \cos \pi \frac{s - s_w}{S - s_w}\Big) ,
# \tag{6.25}
# $$
#
# with milestones $m$ and factor $f = 0.1$; $S$ steps in all, the first $s_w$ a linear warm-up.
# The paper multiplies by 0.1 at 64,000 and 96,000 steps. Short runs on a CPU do better with one
# cycle (notebook 12).
#
# ## Summary
#
# - Log-sum-exp with the maximum taken out cannot overflow (6.2); its gradient is the softmax
#   (6.3).
# - Cross-entropy's gradient is (probability − target)/N (6.6). The first loss is $\log K$.
# - Plain descent needs about $\kappa$ steps, momentum about $\sqrt\kappa$ (6.10, 6.14).
# - minran's and PyTorch's Nesterov step stores the point looked at (6.17), and is then exactly
#   Nesterov's (6.18).
# - Weight decay pulls to zero (6.20); before batch norm it sets how fast filters turn (6.22, with
#   momentum 6.23).
# - Noise keeps the loss at a level proportional to the learning rate (6.24): so lower the rate.
#
# ## Questions
#
# 1. All logits of an image are equal. What is its gradient (6.6) for label $k$?
#
#    <details><summary>Answer</summary>
#
#    $p = 1/K$ everywhere: $(1/K - 1)/N$ at the label, $1/(KN)$ elsewhere.
#
#    </details>
#
# 2. Why does the library have one operation `cross_entropy` of logits, and not
#    `nll(log(softmax(z)))`?
#
#    <details><summary>Answer</summary>
#
#    $\log(\mathrm{softmax})$ takes the logarithm of a probability that may have been rounded to
#    0, and its gradient divides by it. (6.2) and (6.6) do neither.
#
#    </details>
#
# 3. Momentum goes from 0.9 to 0.99. By what should the learning rate change, to keep the step in
#    flat directions?
#
#    <details><summary>Answer</summary>
#
#    The step there is $\eta/(1 - \mu)$: from $10\,\eta$ to $100\,\eta$. Divide $\eta$ by ten.
#
#    </details>
#
# 4. After the learning rate is divided by ten in (6.16), how long does the velocity remember the
#    old rate?
#
#    <details><summary>Answer</summary>
#
#    Not at all: $v$ is a sum of gradients, $\eta$ multiplies it afresh in each step. In (6.15)
#    $w$ would carry the old steps on for about $1/(1 - \mu) = 10$ steps.
#
#    </details>
#
# 5. In (6.22), without momentum, what happens to the angle per step when the learning rate is
#    divided by ten, at once and in the long run?
#
#    <details><summary>Answer</summary>
#
#    At once $|w|$ is what it was, so the angle is ten times smaller. Then $|w|$ shrinks to its
#    new balance, in about $1/(\eta\omega)$ steps, and the angle rises to $\sqrt{2\eta\omega}$,
#    which is $\sqrt{10}$ times smaller than before the drop.
#
#    </details>
#
# 6. Show that a step of (6.16) with $\mu = 0$ is (6.8).
#
#    <details><summary>Answer</summary>
#
#    $v = g$, $p \leftarrow p - \eta\,(g + 0)$. The library refuses `nesterov=True` with momentum
#    0 all the same: it would promise what it is not.
#
#    </details>
#
# ## References
#
# - Y. Nesterov, *A method of solving a convex programming problem with convergence rate
#   O(1/k²)*, 1983.
# - B. Polyak, *Some methods of speeding up the convergence of iteration methods*, 1964.
# - I. Sutskever, J. Martens, G. Dahl and G. Hinton, *On the importance of initialization and
#   momentum in deep learning*, ICML 2013: (6.15).
# - G. Goh, *Why momentum really works*, Distill, 2017.
# - T. van Laarhoven, *L2 regularization versus batch and weight normalization*, arXiv:1706.05350.
# - L. N. Smith and N. Topin, *Super-convergence*, arXiv:1708.07120: one cycle.
# - F. Wang et al., *Residual attention network for image classification*, CVPR 2017, section 4.1:
#   the recipe.
# - In the library: `minran/optim/sgd.py`, `minran/ops/loss.py`, `minran/backend/naive/loss.py`.
