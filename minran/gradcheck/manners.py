"""What differences do not show: operations that write into arrays which are not their own.

Alone such an operation computes the right thing. In a network its input is another operation's
result, gy another one's gradient, and a buffer that it uses again is the result of its last call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array, Op, Tensor, watch_forward


class Manners:
    """Looks on while f runs forward and back; `faults` says what was seen, each once."""

    def __init__(self) -> None:
        self.faults: dict[str, None] = {}
        # Arrays that operations returned, by what gave them, run by run: memory that they hold
        # cannot be had again, unless the operation itself keeps it.
        self.returned: list[dict[str, list[Array]]] = []

    def note(self, fault: str) -> None:
        """Remember it."""
        self.faults[fault] = None

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
        before = _copies(arrays)
        result = op.forward(*arrays)
        for k in _changed(arrays, before):
            self.note(f"{type(op).__name__}.forward overwrites its input {k}; compute into a copy")
        if not _shares(result, arrays):
            self._returns(f"{type(op).__name__}.forward", result)
        return result

    def _returns(self, who: str, array: Array) -> None:
        """Remember an array; one that an earlier run was given must not come again."""
        *earlier, now = self.returned
        now.setdefault(who, []).append(array)
        for run in earlier:
            if _shares(array, tuple(run.get(who, ()))):
                self.note(f"{who} returns a buffer that it uses again; return a new array")

    def watch_backward(self, y: Tensor) -> None:
        """Look at the backward of every operation behind y."""
        waiting, seen = [y], {id(y): y}
        while waiting:
            op = waiting.pop().op
            if op is None or op.inputs is None:
                continue
            op.__dict__["backward"] = self._watched(op)
            for source in op.inputs:
                if source is not None and id(source) not in seen:
                    seen[id(source)] = source
                    waiting.append(source)

    def _watched(self, op: Op) -> Callable[[Array], Any]:
        original, name = op.backward, type(op).__name__

        def backward(gy: Array) -> Any:
            inputs = tuple(None if t is None else t.data for t in op.inputs or ())
            before, gy_before = _copies(inputs), gy.copy()
            gradients = original(gy)
            if _changed((gy,), (gy_before,)):
                self.note(f"{name}.backward overwrites gy, which others read too; use a copy")
            for k in _changed(inputs, before):
                self.note(f"{name}.backward overwrites input {k} of the forward computation")
            for k, gradient in enumerate(gradients if isinstance(gradients, tuple | list) else ()):
                if _shares(gradient, inputs):
                    self.note(
                        f"{name}.backward returns the memory of an input as gradient {k}, which "
                        "then changes with it; return an array of its own"
                    )
                elif not _shares(gradient, (gy,)):
                    self._returns(f"{name}.backward", gradient)
            return gradients

        return backward

    def expect_input(self, label: str, now: Array, before: Array) -> None:
        """f has left its input as it was."""
        if _changed((now,), (before,)):
            self.note(f"{label} was overwritten: f must leave its inputs as they are")

    def expect_same(self, first: dict[int, Any], second: dict[int, Any], tolerance: float) -> None:
        """Two runs of the same computation give the same gradients."""
        for k, one in first.items():
            if not _alike(one, second[k], tolerance):
                self.note(
                    f"the gradients of input {k} differ between two runs: backward is random, or "
                    "keeps something from one call to the next"
                )


def _alike(one: Any, other: Any, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    largest = tolerance * float(np.max(abs(one), initial=0, where=np.isfinite(one)))
    return bool(np.allclose(one, other, tolerance, largest, equal_nan=True))


def _copies(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(array.copy() if hasattr(array, "dtype") else None for array in arrays)


def _changed(arrays: tuple[Any, ...], before: tuple[Any, ...]) -> list[int]:
    """Which arrays hold other numbers than before (a NaN is as good as another)."""
    return [
        k
        for k, (now, then) in enumerate(zip(arrays, before, strict=True))
        if hasattr(now, "dtype") and bool(((now != then) & ((now == now) | (then == then))).any())
    ]


def _shares(gradient: Any, inputs: tuple[Any, ...]) -> bool:
    xp = backend.current().xp
    return hasattr(gradient, "dtype") and any(
        hasattr(array, "dtype") and xp.may_share_memory(gradient, array) for array in inputs
    )
