"""The bug clinic (notebook 16): attention modules with the bugs of public ports of the network.

`healthy()` is our own attention module. `patient(name)` is the same module, same weights, with
one bug. `trace(module, x)` notes every call inside. Each bug runs without an error, trains, and
lowers the loss: that is why it went unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minran import ops
from minran.autograd import Tensor, tensor
from minran.errors import RecipeError, expect
from minran.hints import checked
from minran.inspect.probe import Call, names_by_id, record
from minran.models import AttentionModule, Hourglass, MaskBranch, PreActUnit
from minran.models.attention import Head
from minran.models.units import Build
from minran.nn import Module, Sequential, UpsampleBilinear2d

# --- the bugs


class LeakyMask(MaskBranch):
    """The trunk's features are added to the mask's last map, before the head."""

    def forward(self, x: Tensor, trunk: Tensor | None = None) -> Tensor:
        """(N, H, W, C), (N, H, W, C) -> (N, H, W, C)."""
        y = self.body(x)
        return self.head(y if trunk is None else y + trunk)


class TrunkInMask(AttentionModule):
    """H = (1 + M(u, T)) T: the mask is a function of what it should judge."""

    mask: Any

    def forward(self, x: Tensor) -> Tensor:
        u = self.before(x)
        t = self.trunk(u)
        return self.after(ops.gate(self.mask(u, t), t, self.learning))


class FlatHourglass(Hourglass):
    """Every pool reads the input of the mask: all levels have half its size, none is deeper."""

    def forward(self, x: Tensor) -> Tensor:
        return self.interpolate(_level(self, x), x)


def _level(one: Hourglass, x: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, H // 2, W // 2, C)."""
    d = one.down(one.pool(x))
    return one.bottom(d) if one.depth == 1 else one.up(one.skip(d) + _level(one.inner, x))


class NearestUpsample(UpsampleBilinear2d):
    """Every pixel is repeated: steps where the mask should be smooth."""

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """(N, h, w, C) -> (N, H, W, C), with the height and width of `like`."""
        if like is None:
            return x
        rows, columns = (
            np.arange(large) * small // large
            for small, large in zip(x.shape[1:3], like.shape[1:3], strict=True)
        )
        return x[:, rows][:, :, columns]


class NakedGate(AttentionModule):
    """H = M T where H = (1 + M) T was promised."""

    mask: Any

    def forward(self, x: Tensor) -> Tensor:
        u = self.before(x)
        return self.after(self.mask(u) * self.trunk(u))


class HalfGate(AttentionModule):
    """H = (1 + M/2) T: larger than T, as it should be, and wrong. Only the check has it."""

    mask: Any

    def forward(self, x: Tensor) -> Tensor:
        u = self.before(x)
        return self.after((1 + self.mask(u) / 2) * self.trunk(u))


# --- the waiting room: a module gets a bug by becoming one of a class with another forward


def _leak(module: Any, build: Build) -> None:
    module.__class__, module.mask.__class__ = TrunkInMask, LeakyMask


def _flatten(module: Any, build: Build) -> None:
    module.mask.body.__class__ = FlatHourglass


def _repeat(module: Any, build: Build) -> None:
    for _, part in module.named_modules():
        if isinstance(part, Hourglass):
            part.interpolate = NearestUpsample()


def _norm(module: Any, build: Build) -> None:
    *layers, activation = module.mask.head
    channels = layers[-1].weight.shape[-1]
    module.mask.head = Head(*layers, build.norm(channels), activation)


def _project(module: Any, build: Build) -> None:
    units: list[Any] = [part for _, part in module.named_modules() if type(part) is PreActUnit]
    for unit in units:
        cin, cout = unit.conv1.weight.shape[2], unit.conv3.weight.shape[3]
        unit.projection = build.conv(cin, cout, 1)


def _strip(module: Any, build: Build) -> None:
    module.__class__ = NakedGate


@dataclass(frozen=True)
class Bug:
    """One bug: its name, what is done wrong, and how to put it into a healthy module."""

    name: str
    words: str
    infect: Callable[[AttentionModule, Build], None]


BUGS = {
    bug.name: bug
    for bug in (
        Bug("trunk in mask", "adds the trunk's output to the mask's last map", _leak),
        Bug("never nests", "lets every pool read the mask's input", _flatten),
        Bug("nearest", "repeats pixels instead of interpolating", _repeat),
        Bug("norm before sigmoid", "puts a batch norm right before the sigmoid", _norm),
        Bug("unused projections", "makes projections in every unit, uses none", _project),
        Bug("gate without 1", "multiplies by M instead of 1 + M", _strip),
    )
}
"""The six bugs, by name, in the order of the tasks."""


@checked(RecipeError)
def healthy(channels: int = 16, depth: int = 2, seed: int = 0) -> AttentionModule:
    """Our attention module in float64 with fresh weights: p = 1, t = 2, r = 1, mixed attention."""
    return AttentionModule(Build(np.random.default_rng(seed), np.float64), channels, depth)


def patient(name: str, channels: int = 16, depth: int = 2, seed: int = 0) -> AttentionModule:
    """`healthy(channels, depth, seed)` with the bug `name` of `BUGS`, and the same weights.

    Raises RecipeError for an unknown name.
    """
    expect(name in BUGS, f"patient: name must be one of {tuple(BUGS)}, got {name!r}", RecipeError)
    module = healthy(channels, depth, seed)
    BUGS[name].infect(module, Build(np.random.default_rng(seed), np.float64))
    return module


def features(channels: int = 16, size: int = 16, count: int = 2, seed: int = 1) -> Tensor:
    """What could come into a module: standard normal noise (count, size, size, channels)."""
    rng = np.random.default_rng(seed)
    return tensor(rng.standard_normal((count, size, size, channels)))


def features_for(module: AttentionModule) -> Tensor:
    """`features` of the width that the module takes."""
    first: Any = module.before[0]
    return features(first.norm1.gamma.size)


# --- looking inside


@checked()
def trace(module: Module, x: Tensor) -> dict[str, Call]:
    """Run `module` on x and return the call of every module inside by its name, in order.

    The module itself has the name "". A module comes after those inside it.
    """
    names = names_by_id(module)
    with record() as calls:
        module(x)
    return {names[id(call.module)]: call for call in calls}


def shape_trace(module: Module, x: Tensor, inside: str = "mask") -> str:
    """The calls within the part `inside`, one a line: name, kind, shapes in and out.

    What happens inside residual units is left out.
    """
    rows = []
    closed = tuple(f"{name}." for name, m in module.named_modules() if isinstance(m, PreActUnit))
    for name, call in trace(module, x).items():
        part = name.startswith(f"{inside}.") and not isinstance(call.module, Sequential)
        if (name == inside or part) and not name.startswith(closed):
            came = " and ".join(map(_size, call.inputs))
            kind = type(call.module).__name__
            rows.append((name, kind, came, _size(call.output)))
    first, second, third = (max((len(row[k]) for row in rows), default=0) for k in range(3))
    return "\n".join(
        f"{name:{first}}  {kind:{second}}  {came:>{third}} -> {size}"
        for name, kind, came, size in rows
    )


def _size(x: Tensor) -> str:
    return "x".join(map(str, x.shape[1:3]))
