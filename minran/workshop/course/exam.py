"""Exam questions with variants (`minran course exam`); minran computes their solutions.

A question is a function that draws its numbers and returns what is asked and what comes out. The
same seed gives the same exam; the numbers of a question do not depend on the other questions.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from minran import Tensor, nn, ops, optim, tensor
from minran.errors import RecipeError, expect
from minran.inspect import summary
from minran.models.attention import MaskBranch
from minran.models.units import UNITS, Build

Rng = np.random.Generator


@dataclass(frozen=True)
class Question:
    """What is asked, and the solution: a method in words, and by name what comes out.

    given: the numbers drawn. text: with tables of numbers between lines of three backticks.
    """

    title: str
    given: dict[str, Any]
    text: str
    method: str
    results: dict[str, Any]


# --- the questions


def sizes(rng: Rng) -> Question:
    """Sizes after convolutions and pools."""
    side = int(rng.choice([28, 30, 32, 33, 36, 40, 48]))
    layers: list[tuple[str, int, int, int, int]] = []
    x = tensor(np.zeros((1, side, side, 1)))
    for name, kernels, strides in (
        ("convolution", [3, 5, 7], [1, 2]),
        ("max-pool", [2, 3], [2]),
        ("convolution", [1, 3], [1, 2]),
        ("max-pool", [3], [2]),
    ):
        kernel, stride = int(rng.choice(kernels)), int(rng.choice(strides))
        least = kernel // 2 if len(layers) == 3 else 0  # the last map is small
        padding = int(rng.integers(least, kernel // 2 + 1))
        weight = tensor(np.zeros((kernel, kernel, 1, 1)))
        if name == "convolution":
            x = ops.conv2d(x, weight, stride=stride, padding=padding)
        else:
            x = ops.max_pool2d(x, kernel, stride, padding)
        layers.append((name, kernel, stride, padding, x.shape[1]))
    lines = [f"{n:12} kernel {k}x{k}   stride {s}   padding {p}" for n, k, s, p, _ in layers]
    return Question(
        "Sizes",
        {"side": side, "layers": [layer[1:4] for layer in layers]},
        f"A map of {side}x{side} positions goes through four layers. Give the side of the map "
        f"after each. Sizes are rounded down.\n\n{_block(lines)}",
        "After each layer the side is floor((n + 2 p - k) / s) + 1.",
        {"sides": [layer[4] for layer in layers]},
    )


def unit(rng: Rng) -> Question:
    """Parameters and multiply-adds of a residual unit."""
    cin = int(rng.choice([16, 32, 64, 128]))
    cout, stride = cin * int(rng.choice([1, 2, 4])), int(rng.choice([1, 2]))
    side = int(rng.choice([8, 16, 32]))
    counts = summary(UNITS["preact"](Build(np.random.default_rng(0)), cin, cout, stride), side)
    projects = cin != cout or stride != 1
    return Question(
        "A residual unit",
        {"cin": cin, "cout": cout, "stride": stride, "side": side},
        f"A pre-activation bottleneck unit reads {cin} channels of {side}x{side} positions and "
        f"gives {cout} channels; its 3x3 convolution has stride {stride}. Convolutions have no "
        "bias; a batch norm and a ReLU stand before each of the three; a shortcut that changes "
        "the shape is a 1x1 convolution without a norm. (a) Give the parameters of the "
        "convolutions and of the norms. (b) Give the multiply-adds of one image, convolutions "
        "only.",
        f"The inner width is {cout} / 4 = {cout // 4}. A k x k convolution has k k C_in C_out "
        "weights, used once for each position of its output; a norm has 2 C. The shortcut "
        + ("projects: it counts." if projects else "is the input itself."),
        {
            "weights of convolutions": counts.parameters_without_norm,
            "parameters of norms": counts.parameters - counts.parameters_without_norm,
            "multiply-adds": counts.multiply_adds,
        },
    )


def gate(rng: Rng) -> Question:
    """The gate forward and backward, naive and residual."""
    values = {
        "M": rng.choice([0.1, 0.2, 0.25, 0.5, 0.75, 0.8, 0.9], (2, 2)),
        "T": rng.integers(-4, 5, (2, 2)) * 1.0,
        "g": rng.integers(-3, 4, (2, 2)) * 1.0,
    }
    results: dict[str, Any] = {}
    for learning, letter in (("naive", "N"), ("residual", "H")):
        mask, trunk = (tensor(values[one].reshape(1, 2, 2, 1), requires_grad=True) for one in "MT")
        y = ops.gate(mask, trunk, learning)
        y.backward(values["g"].reshape(1, 2, 2, 1))
        found = {letter: y.numpy(), "g_T": gradient_of(trunk), "g_M": gradient_of(mask)}
        results |= {f"{learning} {name}": one.reshape(2, 2) for name, one in found.items()}
    count, mean = int(rng.integers(3, 7)), float(rng.choice([0.25, 0.5]))
    results |= {"naive factor": mean**count, "residual factor": (1 + mean) ** count}
    return Question(
        "The gate",
        {**values, "count": count, "mean": mean},
        "A mask M, a trunk T and the gradient g at the gate's output are, at 2x2 positions of one "
        f"channel:\n\n{_block(_beside(values))}\n\n(a) Give the output and the gradients g_T and "
        "g_M for naive attention (M T) and for residual attention ((1 + M) T). (b) Every mask of "
        f"{count} modules in a row is {_plain(mean)} everywhere. By which factor do the gates "
        "alone change a map, naive and residual?",
        "Naive: N = M T, g_T = g M, g_M = g T. Residual: H = (1 + M) T, g_T = g (1 + M), "
        f"g_M = g T. Gates in a row multiply: m^{count} and (1 + m)^{count}.",
        results,
    )


def field(rng: Rng) -> Question:
    """The receptive field."""
    layers = [
        (int(rng.choice(kernels)), int(rng.choice(strides)))
        for kernels, strides in (([3, 5, 7], [1, 2]), ([2, 3], [2]), ([3, 5], [1, 2]), ([3], [1]))
    ]
    jump, needed = 1, 1
    for _, stride in layers:
        jump *= stride
    for kernel, stride in reversed(layers):
        needed = (needed - 1) * stride + kernel
    side = needed + 4 * jump  # so that one output in the middle sees no border
    x = tensor(np.zeros((1, side, 1, 1)), requires_grad=True)
    y = x
    for kernel, stride in layers:
        y = ops.conv2d(y, tensor(np.ones((kernel, 1, 1, 1))), stride=(stride, 1))
    g = np.zeros(y.shape)
    g[0, y.shape[1] // 2] = 1
    y.backward(g)
    seen = np.flatnonzero(gradient_of(x))
    lines = [f"kernel {kernel}x{kernel}   stride {stride}" for kernel, stride in layers]
    return Question(
        "The receptive field",
        {"layers": layers},
        "Four layers follow each other. (a) What is the side of the square of input positions "
        "that one position of the last map depends on? (b) By how many input positions do the "
        f"squares of two neighbours differ?\n\n{_block(lines)}",
        "Backwards from one position: r becomes (r - 1) s + k. The squares are shifted by the "
        "product of the strides.",
        {"side": int(np.ptp(seen)) + 1, "shift": jump},
    )


def interpolation(rng: Rng) -> Question:
    """Interpolation weights, forward and backward."""
    small, large = ((2, 4), (3, 5), (2, 5), (3, 7), (4, 7), (2, 6))[rng.integers(6)]
    row = rng.integers(0, 7, small) * (large - 1.0)
    g = rng.integers(-2, 4, large) * 1.0
    results = {}
    for what, values in (("weights", np.eye(small)), ("row", row[None])):
        x = tensor(values.reshape(-1, 1, small, 1), requires_grad=True)
        y = ops.upsample_bilinear2d(x, (1, large))
        results[what] = y.numpy().reshape(-1, large).T
    y.backward(g.reshape(y.shape))
    return Question(
        "Interpolation",
        {"small": small, "large": large, "row": row, "g": g},
        f"A row of {small} values is interpolated to {large} with aligned corners. (a) Give the "
        f"{large} x {small} matrix R of weights. (b) Interpolate {_plain(row)}. (c) The gradient "
        f"at the output is {_plain(g)}. Give the gradient at the input.",
        f"Output j lies at j ({small} - 1) / ({large} - 1) of the input. Backward is R transposed "
        "times g.",
        {
            "R": results["weights"],
            "output": results["row"].ravel(),
            "gradient": gradient_of(x).ravel(),
        },
    )


def schedule(rng: Rng) -> Question:
    """A learning rate schedule."""
    count, batch = int(rng.choice([20_000, 40_000, 50_000])), int(rng.choice([50, 100, 125]))
    epochs, lr = int(rng.choice([40, 80, 160])), float(rng.choice([0.1, 0.2, 0.4]))
    steps = count // batch * epochs
    milestones = [steps // 2, steps * 3 // 4]
    asked = [0, milestones[0], steps - 1]
    warmup = steps // 10
    half = warmup + (steps - warmup) // 2
    steep, smooth = optim.multistep(lr, milestones), optim.cosine(lr, steps, warmup)
    return Question(
        "The learning rate",
        {"count": count, "batch": batch, "epochs": epochs, "lr": lr, "asked": asked},
        f"{count:,} images are trained for {epochs} epochs in batches of {batch}. (a) How many "
        f"steps is that? (b) The rate begins with {lr:g} and is divided by 10 after a half and "
        f"after three quarters of the steps. Give it at steps {_words(asked)} (the first is step "
        f"0). (c) Instead it rises in a line during the first {warmup:,} steps, to {lr:g} at the "
        f"last of them, and then falls to 0 along half a cosine. Give it at steps 0, {warmup:,} "
        f"and {half:,}.",
        "(a) Images over batch, times epochs. (b) A factor of 0.1 for each change that is "
        "passed. (c) lr (s + 1) / warmup, then lr (1 + cos(pi u)) / 2 with u from 0 to 1.",
        {
            "steps": steps,
            "in steps": [steep(step) for step in asked],
            "cosine": [smooth(step) for step in (0, warmup, half)],
        },
    )


def adjoint(rng: Rng) -> Question:
    """Windows as a matrix, and its adjoint."""
    length, kernel = ((4, 3), (5, 3), (5, 2), (6, 3), (4, 2))[rng.integers(5)]
    count = length - kernel + 1
    v = rng.integers(1, 8, count * kernel) * 1.0
    x = tensor(np.eye(length).reshape(length, 1, length, 1), requires_grad=True)
    y = ops.conv2d(x, tensor(np.eye(kernel).reshape(1, kernel, 1, kernel)))
    y.backward(np.broadcast_to(v.reshape(1, 1, count, kernel), y.shape).copy())
    return Question(
        "The adjoint",
        {"length": length, "kernel": kernel, "v": v},
        f"A cuts a row of {length} numbers into its windows of {kernel}, with stride 1 and without "
        "padding, and writes them one after the other. (a) Write A as a matrix of "
        f"{count * kernel} rows and {length} columns. (b) Compute A transposed times v for v = "
        f"{_plain(v)}. (c) Which equation does the adjoint test check?",
        "(b) Each input gets the sum of what its copies got. (c) <A x, v> = <x, A' v>, for random "
        "x and v.",
        {"A": y.numpy().reshape(length, -1).T, "A'v": gradient_of(x)[0].ravel()},
    )


def norm(rng: Rng) -> Question:
    """Batch norm forward and backward."""
    centre, spread = int(rng.integers(-3, 4)), int(rng.integers(1, 4))
    x = rng.permutation([-1.0, -1.0, 1.0, 1.0]) * spread + centre
    gamma, beta = float(rng.integers(1, 4)), float(rng.integers(-2, 3))
    g = rng.integers(-2, 4, 4) * 1.0
    given = tensor(x.reshape(4, 1, 1, 1), requires_grad=True)
    y = ops.batch_norm(
        given, tensor([gamma]), tensor([beta]), np.zeros(1), np.ones(1), True, eps=1e-300
    )
    y.backward(g.reshape(4, 1, 1, 1))
    return Question(
        "Batch norm",
        {"x": x, "gamma": gamma, "beta": beta, "g": g},
        f"One channel of a batch of four 1x1 maps is {_plain(x)}; gamma = {_plain(gamma)}, beta = "
        f"{_plain(beta)}, epsilon is neglected. (a) Give the output in training mode. (b) The "
        f"gradient at the output is {_plain(g)}. Give the gradient at x. (c) Why is its sum zero?",
        "x^ = (x - mean) / sigma, y = gamma x^ + beta; g_x = gamma / sigma (g - mean(g) - x^ "
        "mean(g x^)). (c) A constant added to x changes no output, so the derivative along it is "
        "zero.",
        {"y": y.numpy().ravel(), "g_x": gradient_of(given).ravel()},
    )


def loss(rng: Rng) -> Question:
    """Softmax, cross-entropy and its gradient."""
    parts = rng.choice([1, 2, 3, 4, 5, 6], 3, replace=False)
    label = int(rng.integers(3))
    x = tensor(np.log(parts)[None], requires_grad=True)
    value = ops.cross_entropy(x, np.array([label]))
    value.backward()
    names = ", ".join(f"ln {part}" for part in parts)
    return Question(
        "The loss",
        {"parts": parts, "label": label},
        f"The logits of one image are ({names}); its label is class {label} (of 0, 1, 2). (a) Give "
        "the probabilities. (b) Give the cross-entropy. (c) Give the gradient at the logits. "
        "(d) What changes if 5 is added to every logit?",
        "p_k = e^z_k / sum, L = -ln p_label, gradient = p - e_label. (d) Nothing.",
        {"p": ops.softmax(x).numpy()[0], "L": float(value.numpy()), "gradient": gradient_of(x)[0]},
    )


def mask(rng: Rng) -> Question:
    """The mask: heights and units, and the depth of a network."""
    depth, r, m = int(rng.integers(1, 4)), int(rng.integers(1, 3)), int(rng.integers(1, 7))
    side = int(rng.choice([16, 24, 32]))
    branch = MaskBranch(Build(np.random.default_rng(0)), 4, depth, r, "mixed", "hourglass")
    heights: list[int] = []

    def see(module: nn.Module, inputs: Any, output: Any) -> None:
        if output.shape[1] != (heights or [side])[-1]:
            heights.append(output.shape[1])

    with nn.observe(see):
        branch.eval()(tensor(np.zeros((1, side, side, 4), np.float32)))
    count = sum(isinstance(one, UNITS["preact"]) for _, one in branch.named_modules())
    return Question(
        "The mask",
        {"depth": depth, "r": r, "m": m, "side": side},
        f"A mask of depth {depth} with r = {r} reads a map of {side}x{side} positions (pools: 3x3, "
        "stride 2, padding 1). (a) Give the heights of the map each time that it changes, down and "
        f"up. (b) How many residual units has the mask, skips included? (c) How many layers has "
        f"the trunk of a network with m = {m} attention modules in each of three stages?",
        "(a) Each pool halves, each interpolation gives back the size before the pool. "
        "(b) 2 d r + d - 1. (c) 36 m + 20.",
        {"heights": heights, "units": count, "layers": 36 * m + 20},
    )


QUESTIONS: dict[str, Callable[[Rng], Question]] = {
    one.__name__: one
    for one in (sizes, unit, gate, field, interpolation, schedule, adjoint, norm, loss, mask)
}


def gradient_of(x: Tensor) -> np.ndarray:
    """The gradient that a tensor got."""
    return np.asarray(x.grad)


# --- an exam


def exam(seed: int = 0, questions: Sequence[str] | None = None) -> tuple[str, str]:
    """The exam and its solutions, as Markdown; without `questions` all of them."""
    names = list(QUESTIONS) if questions is None else list(questions)
    unknown = [name for name in names if name not in QUESTIONS]
    expect(not unknown, f"there is no question {', '.join(unknown)}; {_KNOWN}", RecipeError)
    expect(len(set(names)) == len(names), f"a question stands twice in {names}", RecipeError)
    expect(bool(names), f"an exam needs a question; {_KNOWN}", RecipeError)
    asked, solved = [f"# Exam, variant {seed}"], [f"# Solutions, variant {seed}"]
    for place, name in enumerate(names, 1):
        one = draw(name, seed)
        heading = f"## {place}. {one.title}"
        asked += [heading, one.text]
        found = [
            f"{key} = {_plain(value)}".replace("= \n", "=\n") for key, value in one.results.items()
        ]
        solved += [heading, one.method, _block(found)]
    return "\n\n".join(asked) + "\n", "\n\n".join(solved) + "\n"


def draw(name: str, seed: int) -> Question:
    """A question's variant."""
    return QUESTIONS[name](np.random.default_rng([seed, list(QUESTIONS).index(name)]))


_KNOWN = f"known are {', '.join(QUESTIONS)}"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 11pt/1.45 serif; max-width: 42em; margin: 2em auto; padding: 0 1em }}
section {{ break-inside: avoid }}
pre {{ font-size: 10pt; white-space: pre-wrap }}
@page {{ size: A4; margin: 2cm }}
</style>
{body}
</html>
"""


def as_html(text: str) -> str:
    """What `exam` wrote as a page to print, one section for each question."""
    parts = []
    for part in re.split(r"\n\n(?=[^ ])", text.strip()):
        if part.startswith("```"):
            parts.append(f"<pre>{html.escape(part.strip('`').strip(chr(10)))}</pre>")
        elif part.startswith("## "):
            parts.append(f"</section><section><h2>{html.escape(part[3:])}</h2>")
        elif part.startswith("# "):
            parts.append(f"<section><h1>{html.escape(part[2:])}</h1>")
        else:
            parts.append(f"<p>{html.escape(part)}</p>")
    title = text.split("\n")[0].removeprefix("# ")
    return _PAGE.format(title=html.escape(title), body="\n".join([*parts, "</section>"]))


# --- numbers


def _plain(value: Any) -> str:
    """A number, (a, b), or a matrix row by row; fractions where they are simple."""
    array = np.asarray(value)
    if array.ndim == 2:
        return "".join(f"\n  {_plain(row)}" for row in array)
    if array.ndim == 1:
        return f"({', '.join(map(_plain, array))})"
    if array.dtype.kind in "iu":
        return f"{int(array):,}" if abs(int(array)) >= 10_000 else str(int(array))
    number = float(array)
    simple = Fraction(number).limit_denominator(30)
    if abs(simple - Fraction(number)) < 1e-9:
        short = f"{number:.3g}"
        return short if Fraction(short) == simple else str(simple)
    return f"{number:.4g}"


def _words(numbers: Sequence[int]) -> str:
    return f"{', '.join(f'{one:,}' for one in numbers[:-1])} and {numbers[-1]:,}"


def _block(lines: Sequence[str]) -> str:
    return "\n".join(["```", *lines, "```"])


def _beside(matrices: dict[str, np.ndarray]) -> list[str]:
    """Matrices with two rows, one next to the other."""
    rows = []
    for place in range(2):
        cells = [
            f"{f'{name} =' if place == 0 else '':4}"
            + "".join(f"{_plain(x):>6}" for x in one[place])
            for name, one in matrices.items()
        ]
        rows.append("    ".join(cells).rstrip())
    return rows
