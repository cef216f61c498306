"""What differences do not show: operations that write into arrays which are not their own.

Alone such an operation computes the right thing. In a network its input is another operation's
result, gy another one's gradient, and a buffer that it uses again is the result of its last call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array, Op, watch_forward


class Manners:
    """Looks on while f runs forward and back; `faults` says what was seen."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        # Arrays that operations returned, by what gave them, run by run: memory that they hold
        # cannot be had again, unless the operation itself keeps it.
        self.returned: list[dict[str, list[Array]]] = []

    @contextmanager
    def unchanged(self, faults: Iterable[tuple[Any, str]]) -> Iterator[None]:
        """Note the fault of each array that holds other numbers after the block than before."""
        before = [(now, now.copy(), fault) for now, fault in faults if hasattr(now, "dtype")]
        yield
        for now, then, fault in before:
            if bool(((now != then) & ((now == now) | (then == then))).any()):  # NaN equals NaN
                self.faults.append(fault)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, every operation's forward is looked at."""
        self.returned.append({})
        token = watch_forward.set(self._forward)
        try:
            yield
        finally:
            watch_forward.reset(token)

    def _forward(self, op: Op, arrays: tuple[Any, ...]) -> Array:
        who = f"{type(op).__name__}.forward"
        with self.unchanged(
            (x, f"{who} overwrites its input {k}; compute into a copy")
            for k, x in enumerate(arrays)
        ):
            result = op.forward(*arrays)
        if not _shares(result, arrays):
            self._returns(who, result)
        vars(op)["backward"] = functools.partial(self._backward, op, op.backward)
        return result

    def _backward(self, op: Op, backward: Callable[[Array], Any], gy: Array) -> Any:
        who = f"{type(op).__name__}.backward"
        inputs = [None if t is None else t.data for t in op.inputs or ()]
        faults = [(gy, f"{who} overwrites gy, which others read too; use a copy")]
        for k, x in enumerate(inputs):
            faults.append((x, f"{who} overwrites input {k} of the forward computation"))
        with self.unchanged(faults):
            gradients = backward(gy)
        for k, gradient in enumerate(gradients if isinstance(gradients, tuple | list) else ()):
            if _shares(gradient, inputs):
                fault = f"{who} returns the memory of an input as gradient {k}, which then changes"
                self.faults.append(f"{fault} with it; return an array of its own")
            elif not _shares(gradient, [gy]):
                self._returns(who, gradient)
        return gradients

    def _returns(self, who: str, array: Array) -> None:
        """Remember an array; one that an earlier run was given must not come again."""
        *earlier, now = self.returned
        now.setdefault(who, []).append(array)
        if any(_shares(array, run.get(who, ())) for run in earlier):
            self.faults.append(f"{who} returns a buffer that it uses again; return a new array")

    def expect_same(self, first: dict[int, Any], second: dict[int, Any], tolerance: float) -> None:
        """Two runs of the same computation give the same gradients."""
        for k, one in first.items():
            other, alike = second[k], one is second[k]
            if one is not None and other is not None:
                largest = tolerance * float(np.max(abs(one), initial=0, where=np.isfinite(one)))
                alike = np.allclose(one, other, tolerance, largest, equal_nan=True)
            if not alike:
                fault = f"the gradients of input {k} differ between two runs: backward is random"
                self.faults.append(f"{fault}, or keeps something from one call to the next")


def _shares(array: Any, others: Iterable[Any]) -> bool:
    """Whether an array lies in the memory of another one."""
    share = backend.current().xp.may_share_memory
    arrays = [other for other in others if hasattr(other, "dtype")]
    return hasattr(array, "dtype") and any(share(array, other) for other in arrays)
