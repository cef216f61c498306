"""A run of six steps on any backend, for tests of training on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedBackend, RemoteDevice

from minran import backend
from minran.train import Recipe, Result, parse, train

TINY = """
name = "tiny"
seed = 3
precision = "fp32"
[model]
name = "attention_nano"
options = { stem_width = 4, widths = [4, 8], tail_width = 8, t = 1 }
[data]
name = "shapes"
train_count = 7
test_count = 4
[optimizer]
lr = 0.1
[training]
epochs = 2
batch_size = 2
log_every = 2
test_batch_size = 4
"""

EXACT = ("model.options.dtype=float64", "augment.pad_crop_flip=false")
"""With these a run on the device must be that on the CPU, up to rounding in float64."""


def tiny(*changes: str) -> Recipe:
    """Two epochs of three steps, a row every two steps."""
    return parse(TINY, "tiny", changes)


@contextmanager
def using(kind: Any) -> Iterator[Any]:
    """The backend "numpy", "emulated" or "cupy", or a given one."""
    before = backend._current
    if kind == "emulated":
        kind = EmulatedBackend(RemoteDevice())
    backend._current = backend.load(kind) if isinstance(kind, str) else kind
    try:
        yield backend._current
    finally:
        if hasattr(backend._current, "set_precision"):
            backend._current.set_precision(None)
        backend._current = before


def run(kind: Any, folder: Path, *changes: str, **options: Any) -> Result:
    """Train on a backend, or go on with `resume=True`."""
    with using(kind):
        result = train(tiny(*changes), folder, quiet=True, **options)
        result.state = result.model.state_dict()  # type: ignore[attr-defined]
        return result


def rows(result: Result) -> list[dict[str, Any]]:
    """The history but for the seconds."""
    return [{key: row[key] for key in row if key != "seconds"} for row in result.history.rows]


def assert_same(one: Result, other: Result) -> None:
    """The same history and the same network, bit for bit."""
    assert rows(one) == rows(other)
    for name, array in one.state.items():  # type: ignore[attr-defined]
        np.testing.assert_array_equal(array, other.state[name], err_msg=name)  # type: ignore


def assert_close(one: Result, other: Result, tolerance: float) -> None:
    """The same rows and losses, up to rounding."""
    assert len(one.history.rows) == len(other.history.rows)
    for mine, yours in zip(rows(one), rows(other), strict=True):
        assert mine == {key: _about(value, tolerance) for key, value in yours.items()}


def _about(value: Any, tolerance: float) -> Any:
    return pytest.approx(value, rel=tolerance) if isinstance(value, float) else value
