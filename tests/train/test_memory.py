"""A run that will not fit says so before it starts, and which batch fits."""

from __future__ import annotations

import gc
import re
import warnings
from pathlib import Path

import pytest
from train_helpers import assert_same_run, tiny

from minran import create_model, inspect, machine
from minran.backend import cpu
from minran.backend.cpu import memory
from minran.data import Loader, Preprocess, load_shapes
from minran.inspect.memory import largest
from minran.optim import SGD
from minran.train import evaluate, make_model, train
from minran.train.steps import train_step


def test_a_warning_names_a_batch_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = "training.epochs=1", "training.batch_size=24", "training.test_batch_size=4"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # there is room
        train(tiny(*changes), tmp_path / "quiet", quiet=True)
    # Python alone is counted as 63 MB: what is left is enough for some pictures, but not for 24.
    monkeypatch.setattr(machine, "free_bytes", lambda: 68_000_000)
    gc.collect()  # what earlier tests left would be kept for the next arrays
    memory.release_memory()
    with pytest.warns(UserWarning, match=r"24 images of 32 .* 68 MB are free") as caught:
        train(tiny(*changes), tmp_path / "told", quiet=True)
    fits = int(re.search(r"training.batch_size=(\d+) fits", str(caught[0].message))[1])
    totals = [
        inspect.memory(make_model(tiny(), 10), batch, 32, test_batch=4).total
        for batch in (fits, 2 * fits)
    ]
    assert fits in (3, 6, 12) and totals[0] <= 68_000_000 < totals[1]  # halves of 24
    assert_same_run(tmp_path / "told", tmp_path / "quiet")  # it is a warning, and nothing else


def test_where_nothing_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_bytes", lambda: 1000)
    memory.release_memory()
    with pytest.warns(UserWarning, match="not even one image fits"):
        train(tiny("training.epochs=1"), tmp_path / "run", quiet=True)


def test_a_test_does_not_keep_the_memory_of_steps_nor_steps_that_of_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is kept serves arrays of its own size only: the batches of a test have other sizes."""
    model, data = create_model("attention_nano"), load_shapes("test", 11)
    images, labels = Preprocess.fit(data.images)(data.images), data.labels
    train_step(model, SGD(model.parameters(), 0.1), (images[:8], labels[:8]))
    assert memory.pooled() > 0
    freed: list[int] = []
    release = memory.release_memory

    def watched() -> None:
        freed.append(memory.pooled())
        release()

    monkeypatch.setattr(cpu, "release_memory", watched)
    evaluate(model, Loader(data, 4))  # batches of 4, 4 and 3
    assert len(freed) == 3 and min(freed) > 0
    assert memory.pooled() == 0


def test_the_largest_that_fits() -> None:
    assert [largest(lambda n: n <= 10, batch) for batch in (64, 11, 2, 1)] == [8, 5, 1, 0]


def test_the_count_ends_no_run_that_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A smaller batch, or a process's share, may be one picture with a map of one pixel."""
    monkeypatch.setattr(machine, "free_bytes", lambda: 1000)
    memory.release_memory()
    changes = "training.epochs=1", "data.size=16", "model.options.depths=[3, 1]"
    with pytest.warns(UserWarning, match="not even one image fits"):
        train(tiny(*changes), tmp_path / "run", quiet=True)


def test_a_container_has_less(tmp_path: Path) -> None:
    whole = machine.free_bytes(tmp_path / "none")
    for name, text in (("max", "9000"), ("current", "7000"), ("stat", "a 1\ninactive_file 500")):
        (tmp_path / f"memory.{name}").write_text(f"{text}\n")
    assert machine.free_bytes(tmp_path) == 9000 - 7000 + 500 < whole
    (tmp_path / "memory.current").write_text("9600\n")
    assert machine.free_bytes(tmp_path) == 0
    (tmp_path / "memory.max").write_text("max\n")  # no limit
    assert machine.free_bytes(tmp_path) > 1 << 20


def test_what_is_free() -> None:
    free = machine.free_bytes()
    assert 1 << 20 < free <= 1 << 60
    array = memory.empty((1 << 22,), "u1")
    pooled = memory.free_memory() - machine.free_bytes()
    del array
    gained = memory.free_memory() - machine.free_bytes() - pooled
    assert gained > (1 << 22) - (1 << 21)  # other processes take and give meanwhile
