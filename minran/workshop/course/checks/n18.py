"""Checks of notebook 18: cost of a channel gate, the gate itself, a gate cheaper than a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import no_grad, ops, tensor
from minran.autograd import Tensor
from minran.models import MaskBranch
from minran.models.units import Build
from minran.nn import Module
from minran.workshop.course.checking import (
    Wrong,
    beside,
    compare,
    expect_class,
    expect_function,
    generator,
)
from minran.workshop.course.gates import SqueezeExciteParts, cost

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
    expect_class("SqueezeExcite", answer, SqueezeExciteParts)
    hint = (
        "(18.2): squeeze, reduce, ReLU, expand, sigmoid; then reshape to (N, 1, 1, C) and "
        "spread(s, u)"
    )
    for n, size, channels in ((3, 6, 8), (2, 5, 16)):
        rng = generator(182, n)
        seed, u = int(rng.integers(1 << 30)), rng.standard_normal((n, size, size, channels))
        mine, ours = (beside(run_parts, kind, seed, 2 * u + 0.5) for kind in (answer, _Reference))
        where = f"u ({n}, {size}, {size}, {channels})"
        compare("what your gate puts out", mine, ours, hint, 1e-9, where)


def run_parts(kind: Any, seed: int, u: np.ndarray) -> Any:
    """What a squeeze-and-excitation gate with weights of that seed makes of u."""
    return kind(u.shape[3], 4, np.random.default_rng(seed), np.float64)(tensor(u))


def check_18_3(answer: Any) -> None:
    """A class CheapGate(channels, rng): M(u) of the shape of u, cheap, positional, global."""
    expect_class("CheapGate", answer, Module)
    for size, channels, depth in ((32, 64, 3), (16, 128, 2), (8, 256, 1)):
        mask = MaskBranch(Build(np.random.default_rng(0)), channels, depth, 1, "mixed", "hourglass")
        where = f"{size}x{size} positions, {channels} channels"
        _check_map(answer, size, channels, where)
        counts = zip(
            ("parameters", "multiply-adds"),
            beside(gate_cost, answer, size, channels),
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
    _check_reach(answer)


def gate_cost(answer: Any, size: int, channels: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a gate; counted in the process that it runs in."""
    return cost(answer(channels, np.random.default_rng(0)), size, channels)


def run_gate(answer: Any, seed: int, u: np.ndarray) -> Any:
    """What a gate with weights of that seed makes of u."""
    gate = answer(u.shape[3], np.random.default_rng(seed))
    with no_grad():
        return gate(tensor(u, dtype="float32"))


def unreached(answer: Any, seed: int, u: np.ndarray) -> list[str]:
    """The parameters that get no gradient."""
    gate = answer(u.shape[3], np.random.default_rng(seed))
    y = gate(tensor(u, dtype="float32"))
    y.backward(np.random.default_rng(seed).standard_normal(y.shape).astype(np.float32))
    grads = {name: parameter.grad for name, parameter in gate.named_parameters()}
    return [name for name, grad in grads.items() if grad is None or not np.any(np.asarray(grad))]


def _check_map(answer: Any, size: int, channels: int, where: str) -> None:
    rng = generator(183, size)
    seed, u = int(rng.integers(1 << 30)), rng.standard_normal((2, size, size, channels))
    y = beside(run_gate, answer, seed, u)
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


def _check_reach(answer: Any) -> None:
    """Every parameter gets a gradient; the far corner changes the middle."""
    rng = generator(184)
    seed, u = int(rng.integers(1 << 30)), rng.standard_normal((4, 16, 16, 64))
    other = u.copy()
    other[:, 0, 0] += 10 * rng.standard_normal((4, 64))
    before, after = (beside(run_gate, answer, seed, one).numpy() for one in (u, other))
    where = "16x16 positions; the corner changed, and the gate's middle did not"
    if np.array_equal(before[:, 8, 8], after[:, 8, 8]):
        hint = "add a part that has seen every position, as a global average has"
        raise Wrong("the middle of the gate does not see the corner of the map", where, hint)
    for name in beside(unreached, answer, seed, u):
        raise Wrong(
            f"no gradient reaches the parameter {name}", "16x16 positions", "is it used in forward?"
        )
