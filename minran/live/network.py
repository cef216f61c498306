"""One image through a network, with every step of every attention module kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np

from minran import backend
from minran.autograd import Tensor
from minran.errors import expect
from minran.hints import checked
from minran.inspect.masks import resize_maps
from minran.inspect.probe import attention_modules, exchanged_masks, hearing, watch
from minran.models.attention import ACTIVATIONS, AttentionModule, Hourglass, MaskBranch
from minran.nn import Module

Value = TypeVar("Value")

GATES: dict[str | None, str] = {"residual": "H = (1 + M) T", "naive": "H = M T", None: "H = T"}
"""How the trunk goes on, by the way of learning; None: without a mask."""

FORMULAS = {
    "mixed": "M = sigmoid(logits)",
    "channel": "M = logits / length over the channels",
    "spatial": "M = sigmoid((logits - mean) / deviation over the map)",
}
"""How the last map of a mask becomes M, by the kind of attention (Eq. 4-6)."""


@dataclass(frozen=True, eq=False)
class Step:
    """What one step of an attention module gave for one image (paper section 3).

    key: "u", "pool 1", "up 1", "logits", "M", "T" or "H"; equation: how it is computed, plain;
    values: (h, w, C).
    """

    key: str
    equation: str
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Shown:
    """One pass: logits (K,), and the steps of each attention module by its dotted name."""

    logits: np.ndarray
    modules: dict[str, list[Step]]

    @property
    def probabilities(self) -> np.ndarray:
        """The softmax of the logits (K,)."""
        return backend.load("numpy").softmax(self.logits)


class Painted(Module):
    """The same values (h, w), at every channel, for every x, in place of a mask's output."""

    def __init__(self, own: MaskBranch, values: np.ndarray) -> None:
        self.own, self.values = own, values

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C); the values are resized to the size of x."""
        self.own(x)  # its steps are shown all the same
        maps = resize_maps(self.values[None], (x.shape[1], x.shape[2]))[..., None]
        return Tensor(backend.to_device(np.broadcast_to(maps, x.shape).astype(x.dtype)))


@contextmanager
def painted(model: Module, masks: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Within the block, the named modules have these masks (h, w) in place of their own."""
    modules = dict(attention_modules(model, "look")) if masks else {}
    pairs = []
    for name, values in masks.items():
        expect(name in modules, f"look: the network has no attention module {name!r} with a mask")
        good = values.ndim == 2 and values.size > 0 and bool(np.isfinite(values).all())
        expect(good, f"look: a painted mask must be finite numbers (h, w), got {values.shape}")
        own = cast(MaskBranch, modules[name].mask)
        pairs.append((modules[name], Painted(own, values)))
    with exchanged_masks(pairs):
        yield


@checked()
def look(
    model: Module, picture: np.ndarray, masks: Mapping[str, np.ndarray] | None = None
) -> Shown:
    """One pass of a prepared image (H, W, C), or with painted masks instead of some.

    masks: (h, w) by a module's dotted name; resized to the module's maps, the same at every
    channel. The network is left as it was; one without masks has trunks and outputs. Raises
    ShapeError if the image does not fit, a name is not of an attention module with a mask, or a
    mask is not finite numbers (h, w).
    """
    expect(picture.ndim == 3, f"look: an image must be (H, W, C), got shape {picture.shape}")
    with painted(model, masks or {}):
        modules = attention_modules(model, "look", masked=False)
        keep, seen = hearing((m for _, m in modules), lambda output: output.numpy()[0])
        logits = watch(model, picture[None], keep, "look", 1)[0]
        parts = {n: [Step(*step) for step in steps(module, seen)] for n, module in modules}
    return Shown(logits, parts)


def steps(module: AttentionModule, seen: Mapping[int, Value]) -> Iterator[tuple[str, str, Value]]:
    """Key, equation and output of the steps of one module, in the order of their computation.

    seen: the output of each part, by `id`; for `after`, what went in, which is the module's H.
    """
    yield "u", "u = before(x)", seen[id(module.before)]
    painted = isinstance(module.mask, Painted)
    mask = module.mask.own if isinstance(module.mask, Painted) else module.mask
    if mask is not None:
        levels, level = [], mask.body
        while isinstance(level, Hourglass):
            levels.append(level)
            level = getattr(level, "inner", None)  # type: ignore[assignment]
        for n, level in enumerate(levels, 1):
            yield f"pool {n}", "max over 3 x 3, stride 2", seen[id(level.pool)]
        if levels:
            yield "smallest", "residual units on the smallest map", seen[id(levels[-1].bottom)]
        for n, level in enumerate(reversed(levels), 1):
            yield f"up {n}", "bilinear interpolation", seen[id(level.interpolate)]
        *_, last, _ = mask.head
        yield "logits", "two 1 x 1 convolutions", seen[id(last)]
        formula = "M, painted by you" if painted else FORMULAS[kind_of(mask)]
        yield "M", formula, seen[id(module.mask)]
    yield "T", "T = trunk(u)", seen[id(module.trunk)]
    yield "H", GATES[module.learning if mask is not None else None], seen[id(module.after)]


def kind_of(mask: MaskBranch) -> str:
    """Which attention it is: "mixed", "channel" or "spatial"."""
    *_, activation = mask.head
    return next(name for name, kind in ACTIVATIONS.items() if isinstance(activation, kind))


def about(model: Module) -> dict[str, object]:
    """What tells a network from others with the same trunk, for the page.

    "words": the way of learning and the kind of attention; "least": the least value that its masks
    can have, None without masks.
    """
    _, module = attention_modules(model, "live", masked=False)[0]
    if module.mask is None:
        return {"words": f"no mask: {GATES[None]}", "least": None}
    kind = kind_of(module.mask)
    words = f"{module.learning} learning, {GATES[module.learning]}; {kind} attention"
    words += "" if isinstance(module.mask.body, Hourglass) else "; masks without pooling"
    return {"words": words, "least": -1 if kind == "channel" else 0}
