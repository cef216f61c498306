"""Compare what backward says with what differences of the function say.

For y = f(x_1, x_2, ...) and a random cotangent r of y's shape, L = <r, y> is a number, and

    dL/dx_k[i] = ( <r, f(.. x_k + h e_i ..)> - <r, f(.. x_k - h e_i ..)> ) / (2 h) + O(h^2)

A random r sees every output; a plain sum would miss errors that cancel. Rounding of f moves the
differences by about `floor` = 4 eps_machine <|r|, |f|> / h: an error below that cannot be seen, and
where tolerance asks for less the verdict is "cannot tell". Where f has a corner
(relu at 0, two equal maxima in a pool) the two one-sided differences disagree however small h
is, and no derivative exists: such entries are reported as kinks, and judged apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minran import backend, checks
from minran.autograd import Tensor, as_array
from minran.errors import GradientError
from minran.gradcheck.manners import Manners
from minran.gradcheck.probe import Line, Probe
from minran.gradcheck.report import Direction, GradcheckReport, InputReport, names_of, title_of
from minran.hints import checked
from minran.streams import progress_bar


@checked(GradientError, directions=1, max_entries=1, seed=0)
def gradcheck(
    f: Callable[..., Tensor],
    *inputs: Any,
    eps: float = 1e-6,
    tolerance: float = 1e-6,
    directions: int = 8,
    max_entries: int = 512,
    strict: bool = False,
    seed: int = 0,
    name: str = "",
) -> GradcheckReport:
    """Check every gradient of y = f(*inputs) by central differences in float64.

    f takes Tensors and returns one Tensor of any shape. inputs: arrays, numbers or Tensors;
    floating-point ones are checked (float32 is converted), integers pass through as they are.

    eps is the step h, relative to entries larger than 1. An entry's error is
    |backward - differences| over the largest gradient of its input; all must stay below
    `tolerance`. Inputs of more than `max_entries` entries are checked at that many entries
    drawn at random and along `directions` random directions, which feel every entry.
    Entries at kinks count as failures only if `strict`.

    The report has passed only if every gradient that has a derivative was seen to be right: not
    where rounding hides an error of `tolerance` (inputs or constants too large, `eps` too small,
    single precision within f), and not if an operation writes into arrays that are not its own.

    Raises GradientError if f returns no Tensor, two calls differ, inputs or results are not finite,
    or no input can be checked.
    """
    checks.expect_steps(eps, tolerance)
    arrays = [
        as_array(x, None, f"gradcheck: input {k}", GradientError) for k, x in enumerate(inputs)
    ]
    floats = [k for k, x in enumerate(arrays) if x.dtype.kind == "f"]
    checks.expect_differences(arrays, floats)
    labels, notes = names_of(f, len(arrays)), []
    for k in floats:
        if (came := arrays[k].dtype) != np.float64:
            notes.append(f"{labels[k]} came as {came} and was converted: differences need float64.")
        arrays[k] = arrays[k].astype(np.float64)

    # A stream of our own: inputs drawn from default_rng(seed) must not equal the cotangent.
    rng = np.random.default_rng((seed, zlib.crc32(b"gradcheck")))
    probe, manners = Probe(f, arrays, eps, tolerance, rng), Manners()
    gradients, again = (_backward(probe, floats, manners) for _ in range(2))
    manners.expect_same(gradients, again, tolerance)
    if probe.y.dtype != np.float64:
        notes.append(f"f returned {probe.y.dtype} for float64 inputs: the differences are blurred.")
    reports = []
    for k, gradient in gradients.items():
        if gradient is None:
            notes.append(f"no gradient arrived at {labels[k]}; taken as zero.")
            gradient = np.zeros(arrays[k].shape)
        chosen, along = np.arange(gradient.size), 0
        if gradient.size > max_entries:
            chosen = np.sort(rng.choice(gradient.size, max_entries, replace=False))
            along = directions
        ways = (rng.standard_normal(gradient.size) for _ in range(along))
        reports.append(_check_input(probe, labels[k], k, gradient, chosen, ways))
    faults = list(dict.fromkeys(manners.faults))
    return GradcheckReport(name or title_of(f), reports, tolerance, eps, notes, strict, faults)


def _backward(probe: Probe, floats: list[int], manners: Manners) -> dict[int, np.ndarray | None]:
    """What backward says for each checked input."""
    leaves = [Tensor(x.copy(), requires_grad=k in floats) for k, x in enumerate(probe.arrays)]
    with manners.unchanged(
        (leaves[k].data, f"input {k} was overwritten: f must leave its inputs as they are")
        for k in floats
    ):
        with manners.watching():
            y = probe.f(*leaves)
        checks.expect_same_result(y, probe.y)
        y.backward(probe.r.astype(y.dtype))
    grads = {k: leaves[k].grad for k in floats}
    return {k: None if g is None else np.array(backend.to_host(g)) for k, g in grads.items()}


def _check_input(
    probe: Probe, label: str, k: int, gradient: np.ndarray, chosen: np.ndarray, ways: Iterable[Any]
) -> InputReport:
    """Differences entry by entry at `chosen`, then along the random directions `ways`."""
    flat, x = gradient.reshape(-1), abs(backend.to_host(probe.arrays[k])).reshape(-1)
    size = np.maximum(1.0, x)  # steps are relative to what is larger than 1
    entries = progress_bar(chosen, desc=f"gradcheck {label}", unit="entry", leave=False, delay=2)
    lines = {i: Line(probe, k, i, 1.0, size[i]) for i in entries}
    numeric, error = np.full((2, flat.size), np.nan)
    kinks, hidden = np.zeros((2, flat.size), bool)
    numeric[chosen] = [line.central for line in lines.values()]
    tiny, unit = np.finfo(float).tiny, np.finfo(float).eps
    largest = max(_largest(flat), _largest(numeric), tiny)
    # Rounding of f, and of x + h itself, which makes the step another one.
    floor = (probe.rounding + unit * x * largest) / size / probe.eps
    for i, line in lines.items():
        error[i], kinks[i], hidden[i] = _judge(line, flat[i], largest, floor[i])

    found = []
    for way in ways:
        v = way * size
        line = Line(probe, k, slice(None), v, 1.0)
        analytic = float((flat * v).sum())
        # <gradient, v> is a sum of random signs: its usual size is the gradient's length.
        length = max(float(np.linalg.norm(flat * size)), abs(line.central), tiny)
        judged = _judge(line, analytic, length, probe.rounding / probe.eps)
        found.append(Direction(analytic, line.central, *judged))
    hides = min(1e300, float(floor.max(initial=0.0)) / max(largest, 1e-290))
    numeric, error, kinks, hidden = (
        one.reshape(gradient.shape) for one in (numeric, error, kinks, hidden)
    )
    return InputReport(label, gradient, numeric, error, kinks, found, hidden, hides)


def _judge(line: Line, analytic: float, largest: float, floor: float) -> tuple[float, bool, bool]:
    """Backward's slope against the differences': the error, whether at a kink, whether hidden.

    The error is relative to the `largest` gradient, and rounding hides what is below `floor`.
    """
    tolerance = line.probe.tolerance
    scale = max(largest, floor / tolerance)
    error = abs(analytic - line.central) / scale
    # A kink explains an error up to the gap of the two sides, not a larger one.
    suspicious = line.gap > 1e-3 * scale or error > tolerance
    explained = line.gap > 2 * floor and error * scale <= 1.01 * line.gap
    kink = suspicious and explained and line.bends()
    hidden = floor > tolerance * largest and error <= tolerance
    if hidden and 4 * abs(analytic) * line.size <= line.probe.rounding:
        hidden = not line.sees_nothing()  # no gradient at all is no small one
    return (error if np.isfinite(error) else float("inf")), bool(kink), hidden


def _largest(values: np.ndarray) -> float:
    return float(abs(values[np.isfinite(values)]).max(initial=0.0))
