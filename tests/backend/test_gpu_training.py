"""Runs on the GPU backend: recorded or not, resumed, moved from one backend to another."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulation import DeviceArray, EmulatedBackend, RemoteDevice
from gpu_runs import EXACT, assert_close, assert_same, run, tiny, using

from minran.backend import cpu
from minran.errors import MinranError, RecipeError
from minran.train import build, parse
from minran.train.gpu import DeviceSteps, HostBatches

EMA = "training.ema=0.8"
FREEZE = "training.freeze=['stem', 'stages.0', 'tail.0.norm2']"
KINDS = ["emulated", pytest.param("cupy", marks=pytest.mark.gpu)]


@pytest.fixture(params=KINDS, scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def reference(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A captured run, with averaged weights, that nobody interrupts."""
    return run(kind, tmp_path_factory.mktemp(kind) / "run", EMA)


def press(row: int) -> Any:
    """An `on_row` that presses Ctrl-C at the `row`-th row."""
    seen = []

    def on_row(values: Any) -> None:
        seen.append(values)
        if len(seen) == row:
            signal.raise_signal(signal.SIGINT)

    return on_row


def test_eager_and_captured_are_the_same_run(kind: str, reference: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eager = run(kind, tmp_path / "run", EMA, capture=False)
    assert [row["step"] for row in reference.history.rows] == [2, 3, 4, 6, 6]
    assert_same(eager, reference)


@pytest.mark.parametrize("batches", ["device", "host", "frozen"])
def test_as_on_the_cpu(kind: str, tmp_path: Path, batches: str) -> None:
    host = ("augment.mixup=1.0", "training.label_smoothing=0.1", "augment.pad_crop_flip=true")
    changes = (*EXACT, *host) if batches == "host" else (*EXACT, EMA)
    changes += (FREEZE,) if batches == "frozen" else ()
    expected = run("numpy", tmp_path / "numpy", *changes)
    result = run(kind, tmp_path / "run", *changes)
    assert_close(result, expected, 1e-7)
    if batches == "frozen":
        for name, array in build(tiny(*EXACT)).model.state_dict().items():
            still = np.array_equal(array, result.state[name])
            assert still == name.startswith(("stem.", "stages.0.", "tail.0.norm2.")), name


@pytest.mark.parametrize(("row", "step"), [(1, 2), (3, 4)])
def test_stopped_and_resumed(
    kind: str, reference: Any, tmp_path: Path, row: int, step: int
) -> None:
    stopped = run(kind, tmp_path / "run", EMA, on_row=press(row))
    assert not stopped.finished and stopped.history.rows[-1]["step"] == step
    assert_same(run(kind, tmp_path / "run", EMA, resume=True), reference)


@pytest.mark.parametrize("first", ["device", "numpy"])
def test_a_run_moves_to_another_backend(kind: str, tmp_path: Path, first: str) -> None:
    one, other = (kind, "numpy") if first == "device" else ("numpy", kind)
    assert not run(one, tmp_path / "run", *EXACT, EMA, on_row=press(2)).finished
    moved = run(other, tmp_path / "run", *EXACT, EMA, resume=True)
    assert_close(moved, run("numpy", tmp_path / "numpy", *EXACT, EMA), 1e-7)


def test_a_step_that_cannot_be_captured(tmp_path: Path) -> None:
    """One that multiplies with CuPy's own product: one warning, and it trains."""

    class WithoutProducts(EmulatedBackend):
        def __getattr__(self, kernel: str) -> Any:
            if kernel.startswith("linear"):
                return getattr(cpu, kernel)  # x @ w: what the arrays' own library does
            return super().__getattr__(kernel)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = run(WithoutProducts(RemoteDevice()), tmp_path / "run", "training.iterations=3")
    (warning,) = caught
    assert "could not be recorded" in str(warning.message)
    assert "cublasSetStream" in str(warning.message)
    assert result.finished and result.history.rows[-1]["step"] == 3


def test_losses_are_read_once_a_stretch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take, seen = DeviceSteps.take, []

    def counted(self: DeviceSteps, batch: None, step: int, look: bool) -> Any:
        before = DeviceArray.waits
        outcomes = take(self, batch, step, look)
        assert all(np.isfinite(loss) and 0 <= right <= 2 for loss, right in outcomes)
        seen.append((len(outcomes), DeviceArray.waits - before))
        return outcomes

    monkeypatch.setattr(DeviceSteps, "take", counted)
    counts = ("data.train_count=9", "training.iterations=5")
    changes = ("training.log_every=4", "training.checkpoint_every=3", *counts)
    assert run("emulated", tmp_path / "run", *changes, capture=False).finished
    # Looks at 3 (checkpoint), 4 (row and end of the epoch) and 5 (end of the run).
    assert seen == [(0, 0), (0, 0), (3, 1), (1, 1), (1, 1)]


def test_cutout_is_made_on_the_device_and_mixup_on_the_host() -> None:
    with using("emulated"):
        for change, on_host in (("augment.cutout=8", False), ("augment.mixup=0.5", True)):
            steps = DeviceSteps(tiny(change), build(tiny(change)), capture=False)
            assert isinstance(steps.source, HostBatches) == on_host


def test_divergence_is_told(kind: str, tmp_path: Path) -> None:
    with np.errstate(all="ignore"), pytest.raises(MinranError, match="training diverged"):
        run(kind, tmp_path / "run", "optimizer.lr=1e30", "schedule.kind=constant")
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_tf32, asked, got in [
        (True, "tf32", "tf32"),
        (True, "fp32", "fp32"),
        (False, "tf32", "fp32"),
        (True, "bf16", "bf16"),
        (False, "bf16", "bf16"),
    ]:
        with using(EmulatedBackend(RemoteDevice(has_tf32=has_tf32))) as kernels:
            build(tiny(f"precision={asked}"))
            assert kernels.precision() == got
    assert parse("").precision == "tf32"
    with pytest.raises(RecipeError, match="'fp32' or 'tf32' or 'bf16', got 'fp16'"):
        tiny("precision=fp16")
