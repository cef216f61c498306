"""Compare what backward says with what differences of the function say.

For y = f(x_1, x_2, ...) and a random cotangent r of y's shape, L = <r, y> is a number, and

    dL/dx_k[i] = ( <r, f(.. x_k + h e_i ..)> - <r, f(.. x_k - h e_i ..)> ) / (2 h) + O(h^2)

A random r sees every output; a plain sum would miss errors that cancel. Where f has a corner
(relu at 0, two equal maxima in a pool) the two one-sided differences disagree however small h
is, and no derivative exists: such entries are reported as kinks, and judged apart.
"""

from __future__ import annotations

import inspect
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array, Tensor, no_grad
from minran.errors import GradientError, expect
from minran.gradcheck.report import Direction, GradcheckReport, InputReport

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

    Raises GradientError if f returns no Tensor, two calls differ, or no input can be checked.
    """
    # A stream of our own: inputs drawn from default_rng(seed) must not equal the cotangent.
    rng = np.random.default_rng((seed, zlib.crc32(b"gradcheck")))
    xp = backend.current().xp
    given = [getattr(x, "data", x) if isinstance(x, Tensor) else x for x in inputs]
    arrays = [xp.asarray(x) for x in given]
    checked = [k for k, x in enumerate(arrays) if x.dtype.kind == "f"]
    expect(bool(checked), "gradcheck: expected at least one floating-point input", GradientError)
    expect(eps > 0 and tolerance > 0, "gradcheck: eps and tolerance must be > 0", GradientError)
    labels = _names(f, len(arrays))
    notes = [
        f"{labels[k]} came as {arrays[k].dtype} and was converted: differences need float64."
        for k in checked
        if arrays[k].dtype != np.float64
    ]
    for k in checked:
        arrays[k] = arrays[k].astype(np.float64)

    y, cotangent, gradients = _backward(f, arrays, checked, rng)
    if y.dtype != np.float64:
        notes.append(f"f returned {y.dtype} for float64 inputs: the differences are blurred.")
    probe = _Probe(f, arrays, y, cotangent)
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
    return GradcheckReport(name or _title(f), reports, tolerance, eps, notes, strict)


def _backward(
    f: Callable[..., Tensor], arrays: list[Array], checked: list[int], rng: np.random.Generator
) -> tuple[Array, Array, dict[int, np.ndarray | None]]:
    """y, the cotangent, and what backward says for each checked input."""
    leaves = [Tensor(x.copy(), requires_grad=k in checked) for k, x in enumerate(arrays)]
    y = f(*leaves)
    expect(
        isinstance(y, Tensor),
        f"gradcheck: f must return one Tensor, got {type(y).__name__}",
        GradientError,
    )
    expect(
        y.requires_grad,
        "gradcheck: f's result depends on no input that is checked",
        GradientError,
    )
    value = y.data.copy()
    cotangent = backend.to_device(np.asarray(rng.standard_normal(y.shape)))
    y.backward(cotangent.astype(y.dtype))
    gradients = {
        k: None if leaves[k].grad is None else np.array(backend.to_host(leaves[k].grad))
        for k in checked
    }
    return value, cotangent, gradients


@dataclass
class _Slope:
    """Differences of L = <r, f> along one line: their slope, and how much they bend."""

    central: float
    gap: float
    """<|r|, |forward difference - backward difference|>: O(h) if f is smooth, not at a kink."""


class _Probe:
    """f at the inputs with one of them moved a little."""

    def __init__(self, f: Callable[..., Tensor], arrays: list[Array], y: Array, r: Array) -> None:
        self.f, self.arrays, self.y, self.r = f, arrays, y, r
        started = time.perf_counter()
        again = self._value(0, arrays[0])
        self.seconds = time.perf_counter() - started
        expect(
            bool((again == y).all()) or bool((y != y).any()),
            "gradcheck: two calls of f with the same inputs differ; fix its random numbers",
            GradientError,
        )
        # What rounding of y alone can do to <r, y(+h) - y(-h)>.
        self.rounding = 4 * np.finfo(np.float64).eps * float((abs(r) * abs(y)).sum())

    def _value(self, k: int, moved: Array) -> Array:
        with no_grad():
            tensors = [Tensor(moved if j == k else x) for j, x in enumerate(self.arrays)]
            return self.f(*tensors).data

    def slope(self, k: int, move: Callable[[float], Array], h: float) -> _Slope:
        """Differences of step h along `move`, which says where input k is after a step."""
        # Subtract first, contract with r after: fewer digits are lost.
        ahead = self._value(k, move(h)) - self.y
        behind = self.y - self._value(k, move(-h))
        return _Slope(
            central=float(((ahead + behind) * self.r).sum()) / (2 * h),
            gap=float((abs(ahead - behind) * abs(self.r)).sum()) / h,
        )

    def bends(self, k: int, move: Callable[[float], Array], h: float, gap: float) -> bool:
        """Whether a kink lies within h: half the step halves the gap of a smooth function."""
        for _ in range(2):
            h /= 2
            half = self.slope(k, move, h).gap
            if not 0.35 * gap <= half <= 0.65 * gap:
                return True
            gap = half
        return False


def _check_input(
    probe: _Probe,
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
        slope = probe.slope(k, _along_entry(x, i), h)
        numeric[i], gaps[i] = slope.central, slope.gap

    flat = gradient.reshape(-1)
    floor = probe.rounding / eps
    scale = max(_largest(flat), _largest(numeric), floor / tolerance, np.finfo(float).tiny)
    error = np.where(np.isfinite(numeric) & np.isfinite(flat), abs(flat - numeric) / scale, np.inf)
    unseen = np.ones(gradient.size, bool)
    unseen[chosen] = False
    error[unseen] = np.nan
    kinks = np.zeros(gradient.size, bool)
    for i in chosen:
        # A kink explains an error up to the gap of the two sides, not a larger one.
        suspicious = gaps[i] > 1e-3 * scale or error[i] > tolerance
        if suspicious and gaps[i] > 2 * floor and error[i] * scale <= 1.01 * gaps[i]:
            h = eps * max(1.0, abs(float(host[i])))
            kinks[i] = probe.bends(k, _along_entry(x, i), h, gaps[i])

    found = [_check_direction(probe, k, gradient, eps, tolerance, rng) for _ in range(along)]
    shape = gradient.shape
    return InputReport(
        label,
        gradient,
        numeric.reshape(shape),
        error.reshape(shape),
        kinks.reshape(shape),
        found,
    )


def _check_direction(
    probe: _Probe,
    k: int,
    gradient: np.ndarray,
    eps: float,
    tolerance: float,
    rng: np.random.Generator,
) -> Direction:
    """<gradient, v> against differences along a random v with entries of size 1."""
    v = rng.standard_normal(gradient.shape)
    x, step = probe.arrays[k], backend.to_device(v)

    def move(h: float) -> Array:
        return x + h * step

    slope = probe.slope(k, move, eps)
    analytic = float((gradient * v).sum())
    floor = probe.rounding / eps
    # <gradient, v> is a sum of random signs: its usual size is the gradient's length.
    scale = max(float(np.linalg.norm(gradient)), abs(slope.central), floor / tolerance)
    scale = max(scale, np.finfo(float).tiny)
    error = abs(analytic - slope.central) / scale
    explained = error > tolerance and error * scale <= 1.01 * slope.gap
    kink = bool(explained and slope.gap > 2 * floor) and probe.bends(k, move, eps, slope.gap)
    return Direction(analytic, slope.central, error if np.isfinite(error) else float("inf"), kink)


def _along_entry(x: Array, i: int) -> Callable[[float], Array]:
    """Where x is after a step of h along entry i: a copy, for f may return a view of it."""

    def move(h: float) -> Array:
        moved = x.copy()
        moved.reshape(-1)[i] += h
        return moved

    return move


def _largest(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(abs(finite).max()) if finite.size else 0.0


def _progress(entries: Iterable[int], label: str, seconds: float) -> Iterator[int]:
    """The entries, with a progress bar (on a terminal) if they take a while."""
    if seconds < _SECONDS_WITHOUT_PROGRESS:
        return iter(entries)
    from tqdm import tqdm

    return iter(tqdm(entries, desc=f"gradcheck {label}", unit="entry", leave=False, disable=None))


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
