"""What a gradient check found: a verdict, and a map of where the gradient is wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minran.errors import some

_LEGEND = ". right  : below 1e-4  + below 1e-2  # above  K kink  ? not looked at"
_MAP_ROWS, _MAP_COLUMNS = 24, 64


@dataclass(frozen=True)
class Entry:
    """One entry of one input: backward's gradient and the differences'."""

    index: tuple[int, ...]
    analytic: float
    numeric: float
    error: float

    def __str__(self) -> str:
        place = list(self.index) if self.index else "the number"
        return f"{place}: backward {self.analytic:.9g}, differences {self.numeric:.9g}"


@dataclass(frozen=True)
class Direction:
    """The derivative along a random direction; `kink` says that a corner of f is in the way."""

    analytic: float
    numeric: float
    error: float
    kink: bool
    hidden: bool = False
    """Whether rounding of f hides an error of the tolerance's size."""


@dataclass(frozen=True)
class InputReport:
    """Everything about one input; the four arrays have its shape.

    analytic    dL/dx of backward
    numeric     dL/dx of differences, nan where not looked at
    error       |analytic - numeric| over the largest gradient of the input, nan likewise
    kinks       where the one-sided differences disagree, so that no derivative exists
    hidden      where rounding of f hides an error of the tolerance's size: nothing can be told
    floor       the error that rounding can hide, over the largest gradient of the input
    """

    name: str
    analytic: np.ndarray
    numeric: np.ndarray
    error: np.ndarray
    kinks: np.ndarray
    directions: list[Direction] = field(default_factory=list)
    hidden: np.ndarray = field(default_factory=lambda: np.zeros((), bool))
    floor: float = 0.0

    def __str__(self) -> str:
        return f"{self.name} {self.error.shape}"

    @property
    def seen(self) -> np.ndarray:
        """Which entries were compared and have a derivative."""
        return ~np.isnan(self.error) & ~self.kinks

    @property
    def checked(self) -> int:
        """How many these are."""
        return int(self.seen.sum())

    @property
    def undecided(self) -> bool:
        """Whether rounding hides what was asked for, at an entry or along a direction."""
        hidden = any(way.hidden and not way.kink for way in self.directions)
        return hidden or bool((self.hidden & ~self.kinks).any())

    @property
    def worst(self) -> Entry | None:
        """The entry with the largest error, kinks apart; None if there is none."""
        if not self.checked:
            return None
        at = np.where(self.seen, self.error, -1.0).argmax()
        index = tuple(map(int, np.unravel_index(at, self.error.shape)))
        values = (self.analytic, self.numeric, self.error)
        return Entry(index, *(float(array[index]) for array in values))

    @property
    def relative_error(self) -> float:
        """The largest error over entries and directions, kinks apart."""
        errors = [way.error for way in self.directions if not way.kink]
        return max([self.worst.error if self.worst else 0.0, *errors])

    def kink_indices(self) -> list[tuple[int, ...]]:
        """Where the kinks are."""
        return [tuple(map(int, index)) for index in np.argwhere(self.kinks)]

    def hint(self, tolerance: float) -> str:
        """What the pattern of the errors suggests, or nothing."""
        analytic, numeric = self.analytic[self.seen], self.numeric[self.seen]
        wrong = self.error[self.seen] > tolerance
        if not np.isfinite(analytic).all():
            return "backward returned numbers that are not finite"
        if not analytic.any() and numeric.any():
            return "backward is zero everywhere: does the op return this gradient at all?"
        large = abs(numeric) > 1e-2 * abs(numeric).max() if numeric.size else wrong
        ratios = analytic[large] / numeric[large]
        if large.sum() > 1 and np.ptp(ratios) < 1e-4 * abs(ratios).max():
            return f"backward is {np.median(ratios):.6g} times the differences everywhere"
        return f"{int(wrong.sum())} of {wrong.size} entries are wrong"

    def text_map(self, tolerance: float) -> str:
        """The errors of the 2-D slice through the worst entry, one character per entry.

        The slice runs along the two longest axes; of a large one, the part around the worst.
        """
        index = self.worst.index if self.worst else (0,) * self.error.ndim
        if not index or self.error.size < 2:
            return ""
        axes = sorted(np.argsort([-size for size in self.error.shape], kind="stable")[:2].tolist())
        cut: tuple[Any, ...] = tuple(slice(None) if a in axes else i for a, i in enumerate(index))
        error = np.atleast_2d(self.error[cut])
        kinds = [self.kinks[cut], np.isnan(error), error <= tolerance, error <= 1e-4, error <= 1e-2]
        marks = np.select(kinds, list("K?.:+"), "#")
        row, column = [0, *(index[axis] for axis in axes)][-2:]
        marks = marks[_window(len(marks), row, _MAP_ROWS)]
        marks = marks[:, _window(marks.shape[1], column, _MAP_COLUMNS)]
        place = ", ".join(":" if isinstance(part, slice) else str(part) for part in cut)
        lines = [f"error map of {self.name}[{place}]", f"  {_LEGEND}"]
        return "\n".join([*lines, *("    " + " ".join(line) for line in marks)])


@dataclass(frozen=True)
class GradcheckReport:
    """The verdict on one function; print it, or look into `inputs`."""

    name: str
    inputs: list[InputReport]
    tolerance: float
    eps: float
    notes: list[str]
    strict: bool = False
    faults: list[str] = field(default_factory=list)
    """What operations did to arrays that are not their own."""

    @property
    def passed(self) -> bool:
        """Whether every gradient that has a derivative was seen to be right, and one has."""
        return self.verdict == "PASSED"

    @property
    def verdict(self) -> str:
        """PASSED, FAILED, or CANNOT TELL."""
        if self.faults or not all(self._input_passed(one) for one in self.inputs):
            return "FAILED"
        undecided = any(one.undecided for one in self.inputs)
        judged = any(one.checked for one in self.inputs)
        return "PASSED" if judged and not undecided else "CANNOT TELL"

    @property
    def relative_error(self) -> float:
        """The largest error of all inputs, kinks apart."""
        return max(one.relative_error for one in self.inputs)

    @property
    def worst(self) -> tuple[str, Entry] | None:
        """The name of the input and its entry with the largest error."""
        found = [(one.name, one.worst) for one in self.inputs if one.worst is not None]
        return max(found, key=lambda pair: pair[1].error, default=None)

    def _input_passed(self, one: InputReport) -> bool:
        bent = bool(one.kinks.any()) or any(way.kink for way in one.directions)
        return one.relative_error <= self.tolerance and not (self.strict and bent)

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        lines = [
            f"gradcheck {self.name}: {self.verdict}, largest relative error "
            f"{self.relative_error:.1e} (tolerance {self.tolerance:.0e}, step {self.eps:.0e})"
        ]
        lines += [f"  WRONG {fault}" for fault in self.faults]
        width = max(len(str(one)) for one in self.inputs)
        for one in self.inputs:
            good = self._input_passed(one)
            what = f"{one.checked} of {one.error.size} entries"
            if one.directions:
                what += f", {len(one.directions)} directions"
            mark = "WRONG" if not good else "?    " if one.undecided else "ok   "
            lines.append(f"  {mark} {one!s:{width}}  {one.relative_error:.1e}  {what}")
            lines += [f"        {line}" for line in self._details(one)]
        if not any(one.error.size for one in self.inputs):
            lines.append("  nothing could be judged: the inputs are empty")
        elif not any(one.checked for one in self.inputs):
            lines.append("  nothing could be judged: every entry lies at a kink; move the inputs")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def _details(self, one: InputReport) -> list[str]:
        """The worst entry of an input, a map of what is wrong, and what could not be judged."""
        lines = [] if one.worst is None else [f"worst at {one.worst}"]
        if one.relative_error > self.tolerance:
            lines += [one.hint(self.tolerance), *one.text_map(self.tolerance).splitlines()]
        if one.undecided:
            what = f"rounding of f hides errors of up to {one.floor:.1e} of the gradient"
            needed = self.eps * one.floor / self.tolerance
            advice = "compute in float64, leave large constants out, or scale the inputs down"
            if needed < 1e-3 or self.eps < 1e-6:
                advice = f"take eps={max(1e-6, needed if needed < 1e-3 else 0):.0e} or more"
            lines.append(f"cannot tell: {what}; {advice}")
        if places := one.kink_indices():
            shown = some([str(list(place)) for place in places], 4)
            lines.append(
                f"warning: a kink near {len(places)} {'entry' if len(places) == 1 else 'entries'} "
                f"({shown}): left and right differences disagree, as at relu's corner or "
                f"a tie in a max-pool; {'counted' if self.strict else 'not counted'}"
            )
        if bent := sum(way.kink for way in one.directions):
            lines.append(f"warning: {bent} of {len(one.directions)} directions cross a kink")
        return lines

    def plot(self) -> Any:
        """A Matplotlib figure: per input backward, differences, and the error's logarithm."""
        import matplotlib.pyplot as plt

        rows = len(self.inputs)
        figure, axes = plt.subplots(rows, 3, figsize=(10, 3 * rows), squeeze=False)
        for line, one in zip(axes, self.inputs, strict=True):
            limit = float(np.nanmax(abs(np.stack([one.analytic, one.numeric])))) or 1.0
            gradient = {"cmap": "RdBu", "vmin": -limit, "vmax": limit}
            error = np.log10(np.maximum(one.error, 1e-16))
            for axis, title, values, style in (
                (line[0], "backward", one.analytic, gradient),
                (line[1], "differences", one.numeric, gradient),
                (line[2], "log10 error", error, {"cmap": "magma", "vmin": -12, "vmax": 0}),
            ):
                rows_and_last = values.reshape(-1, *values.shape[-1:] or (1,))
                figure.colorbar(axis.imshow(rows_and_last, aspect="auto", **style), ax=axis)
                axis.set_title(f"{one}: {title}", fontsize=9)
                axis.set(xlabel="last axis", ylabel="all others")
        figure.suptitle(f"{self.name}: {'passed' if self.passed else 'FAILED'}")
        figure.tight_layout()
        return figure


def names_of(f: Callable[..., Any], count: int) -> list[str]:
    """The names of f's parameters, as far as it tells them."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return [f"input {k}" for k in range(count)]
    places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [*places, *(f"input {k}" for k in range(len(places), count))][:count]


def title_of(f: Callable[..., Any]) -> str:
    """The name of f, as far as it has one."""
    title = getattr(f, "__name__", type(f).__name__)
    return "f" if title == "<lambda>" else title


def _window(size: int, at: int, most: int) -> slice:
    """At most `most` places of an axis, around `at`."""
    first = max(0, min(at - most // 2, size - most))
    return slice(first, first + most)
