"""Training curves of a run that goes on, in a notebook.

A file of its own: Sphinx links source to one page a file, and this class stands in `train`'s.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from minran.errors import expect, import_extra
from minran.hints import checked
from minran.inspect.curves import curves_figure


@checked()
class LiveCurves:
    """One figure that redraws itself: `train(recipe, folder, on_row=LiveCurves())`.

    rows: the history so far, for a run that is resumed (`read_history(run.history_file)`).
    every: seconds between two drawings at least; the end of an epoch is always drawn.
    options: those of `minran.inspect.curves_figure` (`panels=`, `dark=`).

    The newest figure is `figure`, for `figure.savefig(...)`. Raises BackendError without IPython.
    """

    def __init__(
        self, rows: Iterable[dict[str, Any]] = (), every: float = 1.0, **options: Any
    ) -> None:
        unknown = sorted(set(options) - {"panels", "dark"})
        expect(not unknown, f"LiveCurves: there is no option {', '.join(unknown)}")
        needs = "LiveCurves draws in a notebook and needs IPython"
        self._display = import_extra("IPython.display", "notebooks", needs).display
        self.rows, self.every, self.options = list(rows), every, options
        self.figure: Any = None
        self._handle: Any = None
        self._drawn = -float("inf")

    def __call__(self, row: dict[str, Any]) -> None:
        """Add a row of the history, and draw if it is time to."""
        self.rows.append(row)
        if row["kind"] == "epoch" or time.monotonic() - self._drawn >= self.every:
            self.draw()

    def draw(self) -> None:
        """Draw all rows, in the place of the figure before."""
        self.figure = curves_figure({"this run": list(map(_as_point, self.rows))}, **self.options)
        if self._handle is None:
            self._handle = self._display(self.figure, display_id=True)
        else:
            self._handle.update(self.figure)
        self._drawn = time.monotonic()


def _as_point(row: dict[str, Any]) -> dict[str, Any]:
    """The losses of single steps are the training curve: it moves before an epoch is over."""
    if row["kind"] == "step":
        return {**row, "train_loss": row["loss"]}
    return {key: value for key, value in row.items() if key != "train_loss"}
