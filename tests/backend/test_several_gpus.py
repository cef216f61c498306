"""Several processes, an emulated GPU each: the captured step and their messages in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_runs import EXACT, run

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_distributed import needs_mpi, worker

from minran.train import Result

BATCH = ("data.train_count=11", "training.batch_size=5", "training.ema=0.5")
"""Two steps an epoch, of batches that two or three processes share unequally."""

SOURCES = {
    "device": (),
    "host": ("augment.pad_crop_flip=true", "augment.mixup=1.0", "training.label_smoothing=0.1"),
}
"""Images that lie on the device, and those that the loader prepares."""


@pytest.fixture(scope="module", params=SOURCES)
def changes(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return (*EXACT, *BATCH, *SOURCES[request.param])


@pytest.fixture(scope="module")
def alone(changes: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The run of one process."""
    return run("emulated", tmp_path_factory.mktemp("alone") / "run", *changes)


@needs_mpi
@pytest.mark.parametrize("processes", [2, 3])
def test_they_take_the_steps_that_one_takes(
    processes: int, changes: tuple[str, ...], alone: Result, tmp_path: Path
) -> None:
    places = str(tmp_path / "out"), str(tmp_path / "all")
    status, _, errors = worker(processes, "on_gpus", *places, *changes, limit=300)
    assert status == 0, errors
    found = [json.loads((tmp_path / f"out.{rank}.json").read_text()) for rank in range(processes)]
    weights = [np.load(tmp_path / f"out.{rank}.npz") for rank in range(processes)]

    assert found[0]["rows"] == [about(row) for row in alone.history.rows]
    for name, array in alone.state.items():  # type: ignore[attr-defined]
        for its in weights:
            np.testing.assert_array_equal(its[name], weights[0][name], err_msg=name)
        np.testing.assert_allclose(weights[0][name], array, 1e-10, 1e-10, err_msg=name)

    # All record the same messages in the same order, each of which the warm-up sent before.
    told = [message for message in found[0]["told"] if message.startswith("recorded")]
    assert all(its["told"] == found[0]["told"] for its in found)
    norms = sum(name.endswith("running_mean") for name in alone.state)  # type: ignore[attr-defined]
    assert len([message for message in told if " gather " in message]) == norms
    # Two convolutions read the norm before a projection, each of which sums on the way back.
    readers = norms + sum(name.endswith("shortcut.weight") for name in alone.state)  # type: ignore[attr-defined]
    assert len([message for message in told if " sum " in message]) == readers + 1


def about(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the history but for the seconds, up to rounding."""
    return {
        key: pytest.approx(value, rel=1e-10) if isinstance(value, float) else value
        for key, value in row.items()
        if key != "seconds"
    }
