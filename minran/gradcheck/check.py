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

import inspect
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array, Tensor, as_array
from minran.errors import GradientError, expect, expect_number, expect_whole
from minran.gradcheck.manners import Manners
from minran.gradcheck.probe import Probe, along_entry
from minran.gradcheck.report import Direction, GradcheckReport, InputReport
from minran.streams import progress_bar

_SECONDS_WITHOUT_PROGRESS = 2.0


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
    for number, what in ((eps, "eps"), (tolerance, "tolerance")):
        expect_number(number, f"gradcheck: {what}", 0, 1, GradientError)
        expect(number > 0, f"gradcheck: eps and tolerance must be > 0, got {what} 0", GradientError)
    expect(eps >= 1e-16, f"gradcheck: 1 + eps must not be 1, got eps={eps}", GradientError)
    expect_whole(directions, "gradcheck: directions", error=GradientError)
    expect_whole(max_entries, "gradcheck: max_entries", error=GradientError)
    expect_whole(seed, "gradcheck: seed", 0, error=GradientError)
    expect(callable(f), f"gradcheck: f must be a function, got {f!r}", GradientError)
    # A stream of our own: inputs drawn from default_rng(seed) must not equal the cotangent.
    rng = np.random.default_rng((seed, zlib.crc32(b"gradcheck")))
    xp = backend.current().xp
    arrays = [
        as_array(x, None, f"gradcheck: input {k}", GradientError) for k, x in enumerate(inputs)
    ]
    checked = [k for k, x in enumerate(arrays) if x.dtype.kind == "f"]
    expect(bool(checked), "gradcheck: expected at least one floating-point input", GradientError)
    for k in checked:
        expect(
            bool(xp.isfinite(arrays[k]).all()),
            f"gradcheck: input {k} holds numbers that are not finite: no differences there",
            GradientError,
        )
    labels = _names(f, len(arrays))
    notes = [
        f"{labels[k]} came as {arrays[k].dtype} and was converted: differences need float64."
        for k in checked
        if arrays[k].dtype != np.float64
    ]
    for k in checked:
        arrays[k] = arrays[k].astype(np.float64)

    manners = Manners()
    cotangent: list[Array] = []
    y, gradients = _backward(f, arrays, checked, rng, cotangent, manners)
    _, again = _backward(f, arrays, checked, rng, cotangent, manners)
    manners.expect_same(gradients, again, tolerance)
    if y.dtype != np.float64:
        notes.append(f"f returned {y.dtype} for float64 inputs: the differences are blurred.")
    probe = Probe(f, arrays, y, cotangent[0])
    reports = []
    for k in checked:
        gradient = gradients[k]
        if gradient is None:
            notes.append(f"no gradient arrived at {labels[k]}; taken as zero.")
            gradient = np.zeros(arrays[k].shape)
        chosen = np.arange(gradient.size)
        along = 0
        if gradient.size > max_entries:
            chosen = np.sort(rng.choice(gradient.size, max_entries, replace=False))
            along = directions
        reports.append(
            _check_input(probe, k, labels[k], gradient, chosen, along, eps, tolerance, rng)
        )
    return GradcheckReport(
        name or _title(f), reports, tolerance, eps, notes, strict, list(manners.faults)
    )


def _backward(
    f: Callable[..., Tensor],
    arrays: list[Array],
    checked: list[int],
    rng: np.random.Generator,
    cotangent: list[Array],
    manners: Manners,
) -> tuple[Array, dict[int, np.ndarray | None]]:
    """y, and what backward says for each checked input; draws the cotangent if there is none."""
    leaves = [Tensor(x.copy(), requires_grad=k in checked) for k, x in enumerate(arrays)]
    with manners.watching():
        y = f(*leaves)
    expect(
        isinstance(y, Tensor),
        f"gradcheck: f must return one Tensor, got {type(y).__name__}",
        GradientError,
    )
    expect(
        y.requires_grad,
        f"gradcheck: f's result ({y.dtype}) depends on no input that is checked",
        GradientError,
    )
    expect(
        bool(backend.current().xp.isfinite(y.data).all()),
        "gradcheck: f's result is not finite there: no differences; move the inputs",
        GradientError,
    )
    value = y.data.copy()
    if not cotangent:
        cotangent.append(backend.to_device(np.asarray(rng.standard_normal(y.shape))))
    manners.watch_backward(y)
    y.backward(cotangent[0].astype(y.dtype))
    for k in checked:
        manners.expect_input(f"input {k}", leaves[k].data, arrays[k])
    return value, {
        k: None if leaves[k].grad is None else np.array(backend.to_host(leaves[k].grad))
        for k in checked
    }


def _check_input(
    probe: Probe,
    k: int,
    label: str,
    gradient: np.ndarray,
    chosen: np.ndarray,
    along: int,
    eps: float,
    tolerance: float,
    rng: np.random.Generator,
) -> InputReport:
    """Differences entry by entry at `chosen`, then along so many random directions."""
    x = probe.arrays[k]
    host = backend.to_host(x).reshape(-1)
    numeric = np.full(gradient.size, np.nan)
    gaps = np.zeros(gradient.size)
    seconds = 2 * probe.seconds * (len(chosen) + along)
    for i in _progress(chosen, label, seconds):
        h = eps * max(1.0, abs(float(host[i])))
        slope = probe.slope(k, along_entry(x, i), h)
        numeric[i], gaps[i] = slope.central, slope.gap

    flat = gradient.reshape(-1)
    steps = np.maximum(1.0, abs(host))
    # Rounding of f, and of x + h itself, which makes the step another one.
    largest = max(_largest(flat), _largest(numeric), np.finfo(float).tiny)
    unit = np.finfo(float).eps
    floor = (probe.rounding / steps + unit * abs(host) / steps * largest) / eps
    scale = np.maximum(largest, floor / tolerance)
    finite = np.isfinite(numeric)
    error = np.where(finite & np.isfinite(flat), abs(flat - numeric) / scale, np.inf)
    unseen = np.ones(gradient.size, bool)
    unseen[chosen] = False
    error[unseen] = np.nan
    kinks = np.zeros(gradient.size, bool)
    hidden = ~unseen & (floor > tolerance * largest) & (error <= tolerance)
    for i in chosen:
        # A kink explains an error up to the gap of the two sides, not a larger one.
        suspicious = gaps[i] > 1e-3 * scale[i] or error[i] > tolerance
        if suspicious and gaps[i] > 2 * floor[i] and error[i] * scale[i] <= 1.01 * gaps[i]:
            kinks[i] = probe.bends(k, along_entry(x, i), eps * steps[i], gaps[i])
        # No gradient at all is no small one.
        if hidden[i] and 4 * abs(flat[i]) * steps[i] <= probe.rounding:
            move = along_entry(x, i)
            hidden[i] = not probe.sees_nothing(k, move, float(steps[i]))

    found = [_check_direction(probe, k, gradient, eps, tolerance, rng) for _ in range(along)]
    shape = gradient.shape
    return InputReport(
        label,
        gradient,
        numeric.reshape(shape),
        error.reshape(shape),
        kinks.reshape(shape),
        found,
        hidden.reshape(shape),
        min(1e300, float(floor.max(initial=0.0)) / max(largest, 1e-290)),
    )


def _check_direction(
    probe: Probe,
    k: int,
    gradient: np.ndarray,
    eps: float,
    tolerance: float,
    rng: np.random.Generator,
) -> Direction:
    """<gradient, v> against differences along a random v with entries of size 1."""
    x = probe.arrays[k]
    # As the entries' steps, relative to what is larger than 1.
    v = rng.standard_normal(gradient.shape) * np.maximum(1.0, abs(backend.to_host(x)))
    step = backend.to_device(v)

    def move(h: float) -> Array:
        return x + h * step

    slope = probe.slope(k, move, eps)
    analytic = float((gradient * v).sum())
    floor = probe.rounding / eps
    # <gradient, v> is a sum of random signs: its usual size is the gradient's length.
    length = float(np.linalg.norm(gradient * np.maximum(1.0, abs(backend.to_host(x)))))
    largest = max(length, abs(slope.central), np.finfo(float).tiny)
    scale = max(largest, floor / tolerance)
    error = abs(analytic - slope.central) / scale
    explained = error > tolerance and error * scale <= 1.01 * slope.gap
    kink = bool(explained and slope.gap > 2 * floor) and probe.bends(k, move, eps, slope.gap)
    hidden = floor > tolerance * largest and error <= tolerance
    if hidden and 4 * length <= probe.rounding:
        hidden = not probe.sees_nothing(k, move)
    error = error if np.isfinite(error) else float("inf")
    return Direction(analytic, slope.central, error, kink, hidden)


def _largest(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(abs(finite).max()) if finite.size else 0.0


def _progress(entries: Iterable[int], label: str, seconds: float) -> Iterator[int]:
    """The entries, with a progress bar (on a terminal) if they take a while."""
    if seconds < _SECONDS_WITHOUT_PROGRESS:
        return iter(entries)
    return iter(progress_bar(entries, desc=f"gradcheck {label}", unit="entry", leave=False))


def _names(f: Callable[..., Tensor], count: int) -> list[str]:
    """The names of f's parameters, as far as it tells them."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in parameters if parameter.kind in plain]
    return [names[k] if k < len(names) else f"input {k}" for k in range(count)]


def _title(f: Callable[..., Tensor]) -> str:
    title = getattr(f, "__name__", type(f).__name__)
    return "f" if title == "<lambda>" else title
