"""A mask and its gate small enough to be computed by hand, for notebooks 08 and 09.

4x4 positions and two channels; all units add nothing, so that T = u. Numbers are chosen such that
every value is a short fraction, or one times ln 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from minran import ops
from minran.autograd import tensor
from minran.hints import checked
from minran.inspect.picture import Picture
from minran.inspect.style import new_figure, theme
from minran.inspect.themes import symbol_colour
from minran.workshop.course.show import Frames, frames

U = np.array(
    [
        [[3, 1, -1, 0], [1, 2, -2, -1], [0, -1, -3, -1], [6, 2, 1, 3]],
        [[0, 1, 2, 0], [1, 2, 1, -1], [2, 0, 3, 1], [1, -1, 2, 0]],
    ],
    np.float64,
).transpose(1, 2, 0)
"""u, (4, 4, 2)."""

WEIGHTS = np.log(3) * np.array([[1.0, -1.0], [-1.0, 1.0]])
"""From the channels of the hourglass's output to the logits: their difference times ln 3."""

GRADIENT = np.zeros((4, 4, 2))
"""g_H, (4, 4, 2)."""
GRADIENT[0, 0, 0], GRADIENT[1, 0, 0], GRADIENT[2, 2, 1] = 4, 16, -12


def worked() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values and gradients (h, w, 2) of all steps by name, computed by the library.

    The gradient of u stands as its two parts: "u, by the trunk" and "u, by the mask".
    """
    u, other = (tensor(U[None], requires_grad=True) for _ in range(2))
    pooled = ops.max_pool2d(u, 3, stride=2, ceil_mode=True)
    up = ops.upsample_bilinear2d(pooled, 4, align_corners=True)
    logits = ops.conv2d(up, tensor(WEIGHTS[None, None]))
    mask, trunk = ops.sigmoid(logits), other * 1.0
    steps = {"pool": pooled, "up": up, "logits": logits, "M": mask, "T": trunk}
    gated = ops.gate(mask, trunk)
    for step in steps.values():
        step.retain_grad()
    gated.backward(GRADIENT[None])
    values = {"u": U} | {name: step.numpy()[0] for name, step in steps.items()}
    slopes = {name: np.asarray(step.grad)[0] for name, step in steps.items()}
    parts = {"u, by the trunk": other.grad, "u, by the mask": u.grad}
    slopes |= {name: np.asarray(part)[0] for name, part in parts.items()}
    return values | {"H": gated.numpy()[0]}, {"H": GRADIENT, **slopes}


@checked()
def paper_frames(backward: bool = False) -> Frames:
    """The worked module, a frame for each step: what goes in, and what comes out at the right."""
    values, slopes = worked()
    log = np.log(3)
    if not backward:
        v = values | {"logits / ln 3": values["logits"] / log}
        steps = [
            (("u",), "u is given: two channels of 4x4 positions. No unit adds anything."),
            (("u", "pool"), "pool: the largest of 3x3 at stride 2; the last window has 2x2."),
            (("pool", "up"), "up: bilinear interpolation, corners aligned, in thirds."),
            (("up", "logits / ln 3"), "logits: the first channel minus the second; then minus it."),
            (("logits / ln 3", "M"), "M: for k ln 3 the sigmoid is 3^k / (1 + 3^k)."),
            (("M", "T", "H"), "H = (1 + M) T, with T = u."),
        ]
    else:
        g = {f"g of {name}": slope for name, slope in slopes.items()}
        v = values | g
        for name in ("up", "pool", "u, by the mask"):
            v[f"g of {name} / ln 3"] = slopes[name] / log
        v["g of u"] = slopes["u, by the trunk"] + slopes["u, by the mask"]
        by_mask = "g of u, by the mask / ln 3"
        steps = [
            (("g of H",), "g of H is given: three numbers that are not 0."),
            (("g of H", "M", "g of T"), "g_T = g_H (1 + M)."),
            (("g of H", "T", "g of M"), "g_M = g_H T."),
            (("g of M", "M", "g of logits"), "The sigmoid: g_M M (1 - M)."),
            (("g of logits", "g of up / ln 3"), "The convolution: difference, and minus it."),
            (("g of up / ln 3", "g of pool / ln 3"), "Interpolation: each collects by its thirds."),
            (("g of pool / ln 3", "u", by_mask), "The pool: to the largest of each window."),
            (("g of T", by_mask, "g of u"), "g_u = g_T + ln 3 times what came through the mask."),
        ]
    return frames([_drawn(v, names) for names, _ in steps], [words for _, words in steps])


def _drawn(values: Mapping[str, np.ndarray], names: Sequence[str]) -> Picture:
    """Tables of numbers side by side, a row for each channel; the last is new."""
    colours, cell = theme(), np.array([0.43, 0.34])
    lefts = 0.85 + np.cumsum([0, *(values[name].shape[1] * cell[0] + 0.5 for name in names)])
    size = np.array([lefts[-1], 3.75])
    figure = new_figure(float(size[0]), float(size[1]), False)
    figure.set_layout_engine("none")
    small: dict[str, Any] = {"va": "center", "fontsize": 8.5}
    for (name, left), channel in product(zip(names, lefts), range(2)):
        table = values[name][..., channel]
        rows, columns = table.shape
        corner = left, size[1] - 0.6 - 1.65 * channel - rows * cell[1]
        box = *(corner / size), *(cell * [columns, rows] / size)
        axes = figure.add_axes(box, xlim=(0, columns), ylim=(rows, 0))
        axes.set(xticks=range(columns), yticks=range(rows))
        axes.tick_params(length=0, labelleft=False, labelbottom=False)
        axes.grid(color=colours.grid)
        axes.spines[:].set(color=colours.colours[name == names[-1]], linewidth=1.6)
        if channel == 0:
            ink = symbol_colour(name, colours)
            axes.set_title(name.replace(", ", ",\n"), fontsize=9, color=ink, pad=4)
        if name == names[0]:
            words = f"channel {channel + 1}"
            axes.text(-0.2, rows / 2, words, ha="right", color=colours.text, **small)
        for (row, column), value in np.ndenumerate(table):
            ink = colours.text if value else colours.faint
            axes.text(column + 0.5, row + 0.5, _short(value), ha="center", color=ink, **small)
    return figure


def _short(value: float) -> str:
    """An exact short fraction, or two digits after the point."""
    near = Fraction(value).limit_denominator(30)
    return str(near) if abs(near - value) < 1e-9 else f"{value:.2f}"
