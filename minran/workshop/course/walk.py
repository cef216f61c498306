"""One image through one attention module, forward and back: every map, for notebooks 08 and 09."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np

from minran import ops
from minran.autograd import Tensor, tensor
from minran.errors import expect
from minran.hints import checked
from minran.inspect.picture import Picture
from minran.inspect.probe import attention_modules, hearing
from minran.inspect.style import MAP_COLOURS, SIGNED_COLOURS, new_figure, show, theme
from minran.inspect.themes import symbol_colour
from minran.live.network import Step, steps
from minran.nn import Module, observe
from minran.nn.module import evaluating
from minran.workshop.course.show import Frames, frames

SLOPE_COLOURS = "PuOr_r"


@dataclass(frozen=True, eq=False)
class Walk:
    """What one image leaves in one attention module; maps are (h, w, C).

    picture: the image as it is shown; steps: forward, in order; gradients: dL/d(step) by the
    step's key, L the cross-entropy of the label; trunk, mask: the two parts of that of u.
    """

    picture: np.ndarray
    steps: list[Step]
    gradients: dict[str, np.ndarray]
    trunk: np.ndarray
    mask: np.ndarray

    def channel(self) -> int:
        """The channel whose mask varies most over the positions of this image."""
        (mask,) = (step.values for step in self.steps if step.key == "M")
        return int(mask.std(axis=(0, 1)).argmax())


@checked()
def walk_through(
    model: Module, picture: np.ndarray, image: np.ndarray, label: int, name: str
) -> Walk:
    """Send a prepared image (H, W, C) through a network and its loss back; look at one module.

    picture: the image as it is shown; name: the dotted name of an attention module. In evaluation
    mode; the network's gradients are forgotten. Raises ShapeError for another name.
    """
    modules = dict(attention_modules(model, "walk_through"))
    expect(name in modules, f"walk_through: the network has no attention module {name!r}")
    module = modules[name]
    keep, seen = hearing([module], Tensor.retain_grad)
    with evaluating(model):
        with observe(keep):
            logits = model(tensor(image[None]))
        ops.cross_entropy(logits, np.array([label])).backward()
        found = [(key, words, value) for key, words, value in steps(module, seen)]
        gradients = {key: cast(Any, value.grad)[0] for key, _, value in found}
        through = {}
        for key, branch in (("T", module.trunk), ("M", module.mask)):
            u = tensor(seen[id(module.before)].numpy(), requires_grad=True)
            cast(Module, branch)(u).backward(gradients[key][None])
            through[key] = cast(Any, u.grad)[0]
    model.zero_grad()
    forward = [Step(key, words, value.numpy()[0]) for key, words, value in found]
    return Walk(picture, forward, gradients, through["T"], through["M"])


@checked()
def walk_frames(walk: Walk, channel: int, backward: bool = False) -> Frames:
    """One channel of every step, a frame for each: forward, or from H back to u.

    Raises ShapeError for a channel that the module does not have.
    """
    most = walk.steps[0].values.shape[-1] - 1
    expect(0 <= channel <= most, f"walk_frames: channel must be 0 to {most}, got {channel}")
    values = {step.key: step.values[..., channel] for step in walk.steps}
    keys = list(values)
    if not backward:
        pictures = [_drawn(walk, values, {}, keys[:n]) for n in range(len(keys) + 1)]
        sizes = ["x".join(map(str, step.values.shape)) for step in walk.steps]
        forward = [f"{s.key}: {s.equation}; {n}" for s, n in zip(walk.steps, sizes)]
        return frames(pictures, ["The image.", *forward])
    slopes = {key: found[..., channel] for key, found in walk.gradients.items()}
    moments = [(key, slopes[key], _words(key, keys)) for key in ("H", "T", *keys[-3:0:-1])]
    for part, words in (
        (walk.trunk[..., channel], "what comes through the trunk (M held still)."),
        (walk.mask[..., channel], "what comes through the mask (T held still), by the max-pool."),
        (slopes["u"], "the sum of the two goes on to the layers before."),
    ):
        moments.append(("u", part, f"u: {words}"))
    shown: dict[str, np.ndarray] = {}
    pictures = [_drawn(walk, values, {}, keys)]
    for key, found, _ in moments:
        shown = {**{k: v for k, v in shown.items() if k != key}, key: found}
        pictures.append(_drawn(walk, values, shown, keys))
    first = "Forward is done: every step has its values. Backward begins at H."
    return frames(pictures, [first, *(words for _, _, words in moments)])


def _words(key: str, keys: Sequence[str]) -> str:
    """Which rule a gradient of the way back comes by."""
    pools = [each for each in keys if each.startswith("pool")]
    known = {
        "H": "dL/dH arrives from the layers after the module.",
        "T": "g_T = g_H (1 + M), entry by entry.",
        "M": "g_M = g_H T, entry by entry.",
        "logits": "g_M M (1 - M): the slope of the sigmoid.",
        f"up {len(pools)}": "back through the two 1x1 convolutions.",
        "smallest": "back through the interpolation: each value collects what it gave.",
        pools[-1]: "back through the residual units on the smallest map.",
    }
    if key in known:
        return f"{key}: {known[key]}"
    if key in pools:
        return f"{key}: from the skip, and from the next pool: to the largest of each window."
    return f"{key}: back through the interpolation and the units before it."


SIDE, ACROSS, DOWN = 0.98, 1.24, 1.66
"""Of a panel, and from the middle of one to that of the next; inches."""


def _centre(key: str, depth: int) -> np.ndarray:
    """Where the panel of a step is: right and down."""
    kind, _, number = key.partition(" ")
    if number:
        column, row = (1, int(number)) if kind == "pool" else (3, depth + 1 - int(number))
    else:
        first = {"image": (0, 0), "u": (1, 0), "T": (3, 0), "H": (5, 0), "smallest": (2, depth)}
        column, row = {**first, "logits": (4, 1), "M": (5, 1)}[key]
    return np.array([0.62 + ACROSS * column, -0.8 - DOWN * row])


def _arrows(depth: int) -> list[tuple[str, str]]:
    """From step to step, forward."""
    pools, ups = ([f"{kind} {n}" for n in range(1, depth + 1)] for kind in ("pool", "up"))
    way = ["image", "u", *pools, "smallest", *ups, "logits", "M", "H"]
    skips = zip(pools[:-1], ups[:0:-1])
    return [*pairwise(way), *skips, ("u", "T"), ("T", "H")]


def _drawn(
    walk: Walk,
    values: Mapping[str, np.ndarray],
    slopes: Mapping[str, np.ndarray],
    done: Sequence[str],
) -> Picture:
    """The module, a panel for each step; the last of `slopes`, or else of `done`, is framed."""
    depth, colours = sum(key.startswith("pool") for key in values), theme()
    wide, high = 6 * ACROSS, DOWN * (depth + 1) + 0.1
    figure = new_figure(wide, high, False)
    figure.set_layout_engine("none")
    paper = figure.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(-high, 0))
    paper.axis("off")
    for start, end in _arrows(depth):
        a, b = _centre(start, depth), _centre(end, depth)
        gap = np.sign(b - a) * (SIDE / 2 + np.where(a[0] == b[0], 0.24, 0.04))
        tail, head = (b - gap, a + gap) if slopes and start != "image" else (a + gap, b - gap)
        paper.annotate("", head, tail, arrowprops={"arrowstyle": "-|>", "color": colours.faint})
    limit = max(np.abs(found).max() for key, found in values.items() if key != "M")
    newest = [*slopes][-1] if slopes else done[-1] if done else "image"
    for key, found in {"image": walk.picture, **values, **slopes}.items():
        x, y = _centre(key, depth) - SIDE / 2
        axes = figure.add_axes((x / wide, 1 + y / high, SIDE / wide, SIDE / high))
        how: dict[str, Any] = {"cmap": SIGNED_COLOURS, "vmin": -limit, "vmax": limit}
        if key in slopes:
            peak = np.abs(found).max()
            how = {"cmap": SLOPE_COLOURS, "vmin": -peak, "vmax": peak}
        elif key == "M":
            how = {"cmap": MAP_COLOURS, "vmin": 0, "vmax": 1}
        title = f"gradient of {key}" if key in slopes else key
        show(axes, found, colours, title, **how)
        axes.title.set(fontsize=8.5, color=symbol_colour(title, colours))
        if key not in ("image", *done):
            axes.images[0].set_visible(False)
            axes.title.set_color(colours.faint)
            axes.spines[:].set(visible=True, color=colours.grid)
        elif key != "image":
            words = f"{found.min():.2g} to {found.max():.2g}"
            axes.set_xlabel(words, fontsize=8, color=colours.text, labelpad=2)
        if slopes and key not in ("image", *slopes):
            axes.images[0].set_alpha(0.3)
        if key == newest:
            axes.spines[:].set(visible=True, color=colours.colours[1], linewidth=2.5)
    limits = (
        f"features: blue below 0,\nwhite 0, red above 0;\none scale, -{limit:.3g} to {limit:.3g}"
    )
    if slopes:
        limits = "gradients: purple below 0,\nwhite 0, orange above 0;\neach on its own scale"
    words = limits + ("" if "M" in slopes else "\nM: black 0, yellow 1")
    paper.text(4 * ACROSS + 0.2, -high + 0.5, words, fontsize=8.5, color=colours.text)
    return figure
