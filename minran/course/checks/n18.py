"""Checks of notebook 18: cost of a channel gate, the gate itself, a gate cheaper than a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import no_grad, ops, tensor
from minran.autograd import Tensor
from minran.course.checking import Wrong, compare, expect_function
from minran.course.gates import SqueezeExciteParts, cost
from minran.models import MaskBranch
from minran.models.units import Build
from minran.nn import Module

SHARE = 0.1
"""A cheap gate may have this share of the mask's parameters and of its multiply-adds."""


class _Reference(SqueezeExciteParts):
    def forward(self, x: Tensor) -> Tensor:
        """s(x), spread over the map."""
        s = ops.sigmoid(self.expand(ops.relu(self.reduce(self.squeeze(x)))))
        return self.spread(s.reshape(len(x), 1, 1, -1), x)


def check_18_1(answer: Callable[..., Any]) -> None:
    """squeeze_excite_cost(channels, size, reduction) -> (parameters, multiply-adds)."""
    expect_function("squeeze_excite_cost", answer)
    hint = (
        "(18.3): two linear layers with bias, C to C / rho and back, run once for a picture: "
        "after the global average there is one position"
    )
    for channels, size, reduction in ((64, 32, 16), (256, 8, 4), (16, 7, 2)):
        expected = cost(_Reference(channels, reduction), size, channels)
        where = f"C = {channels}, {size}x{size} positions, rho = {reduction}"
        got = answer(channels, size, reduction)
        compare("(parameters, multiply-adds)", got, expected, hint, 0, where)


def check_18_2(answer: Any) -> None:
    """A subclass of SqueezeExciteParts with a forward."""
    _expect_class("SqueezeExcite", answer, SqueezeExciteParts)
    hint = (
        "(18.2): squeeze, reduce, ReLU, expand, sigmoid; then reshape to (N, 1, 1, C) and "
        "spread(s, u)"
    )
    for n, size, channels in ((3, 6, 8), (2, 5, 16)):
        mine, ours = (
            kind(channels, 4, np.random.default_rng(18), np.float64)
            for kind in (answer, _Reference)
        )
        u = tensor(2 * np.random.default_rng(n).standard_normal((n, size, size, channels)) + 0.5)
        where = f"u ({n}, {size}, {size}, {channels})"
        compare("what your gate puts out", mine(u), ours(u), hint, 1e-9, where)


def check_18_3(answer: Any) -> None:
    """A class CheapGate(channels, rng): M(u) of the shape of u, cheap, positional, global."""
    _expect_class("CheapGate", answer, Module)
    for size, channels, depth in ((32, 64, 3), (16, 128, 2), (8, 256, 1)):
        gate = answer(channels, np.random.default_rng(0))
        mask = MaskBranch(Build(np.random.default_rng(0)), channels, depth, 1, "mixed", "hourglass")
        where = f"{size}x{size} positions, {channels} channels"
        _check_map(gate, size, channels, where)
        counts = zip(
            ("parameters", "multiply-adds"),
            cost(gate, size, channels),
            cost(mask, size, channels),
            strict=True,
        )
        for name, got, whole in counts:
            if got > SHARE * whole:
                raise Wrong(
                    f"the gate has {got / whole:.0%} of the mask's {name}, expected at most "
                    f"{SHARE:.0%}",
                    f"{where}: {got:,} of {whole:,}",
                    "a 1x1 convolution from C to C costs C^2 at each position: go through few "
                    "channels, as squeeze-and-excitation does",
                )
    _check_reach(answer(64, np.random.default_rng(0)))


def _check_map(gate: Module, size: int, channels: int, where: str) -> None:
    u = tensor(np.random.default_rng(1).standard_normal((2, size, size, channels)), dtype="float32")
    with no_grad():
        y = gate(u)
    if not isinstance(y, Tensor) or y.shape != u.shape:
        got = y.shape if isinstance(y, Tensor) else type(y).__name__
        hint = "one weight for every number of the trunk"
        raise Wrong(f"the gate puts out {got}, expected the shape {u.shape} of u", where, hint)
    values = y.numpy()
    if not (values.min() >= 0 and values.max() <= 1):
        text = f"{where}: from {values.min():.3g} to {values.max():.3g}"
        raise Wrong("the gate's values do not lie between 0 and 1", text, "end with a sigmoid")
    for axes, what in (((1, 2), "position"), (3, "channel")):
        if np.ptp(values, axis=axes).max() < 1e-6:
            hint = "a part that is computed at each position (a 1x1 convolution), with C outputs"
            raise Wrong(f"the gate does not depend on the {what}", where, hint)


def _check_reach(gate: Module) -> None:
    """Every parameter gets a gradient; the far corner changes the middle."""
    u = tensor(
        np.random.default_rng(2).standard_normal((4, 16, 16, 64)),
        requires_grad=True,
        dtype="float32",
    )
    y = gate(u)
    middle = np.zeros(y.shape, np.float32)
    middle[:, 8, 8] = np.random.default_rng(3).standard_normal(64)
    y.backward(middle)
    where = "16x16 positions: the gradient of the middle with respect to u"
    gradient = np.zeros(u.shape) if u.grad is None else np.asarray(u.grad)
    if not np.abs(gradient[:, 0, 0]).any():
        hint = "add a part that has seen every position, as a global average has"
        raise Wrong("the middle of the gate does not see the corner of the map", where, hint)
    for name, parameter in gate.named_parameters():
        if parameter.grad is None or not np.abs(np.asarray(parameter.grad)).any():
            hint = "is it used in forward?"
            raise Wrong(f"no gradient reaches the parameter {name}", where, hint)


def _expect_class(name: str, answer: Any, base: type) -> None:
    if not (isinstance(answer, type) and issubclass(answer, base)):
        raise Wrong(
            f"{name} must be a class that inherits from {base.__name__}",
            f"got {answer!r}",
            "pass the class itself, without ()",
        )
