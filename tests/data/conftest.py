"""Fixtures of the data tests; what they are made of is in data_helpers.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_helpers import Server, fake_records

from minran.data import cifar


@contextmanager
def running() -> Iterator[Server]:
    with Server(np.random.default_rng(0).bytes(300_000)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running() as one:
        yield one


@pytest.fixture
def second(server: Server) -> Iterator[Server]:
    with running() as another:
        yield another


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, np.ndarray]:
    """Make the loaders expect files of 4 and 3 records; return such records by file name."""
    for name in ("MINRAN_DATA", "MINRAN_CIFAR_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache"))
    counts = {"train": 4, "test": 3}
    monkeypatch.setattr(cifar, "CIFAR10", replace(cifar.CIFAR10, records_per_file=counts))
    monkeypatch.setattr(cifar, "CIFAR100", replace(cifar.CIFAR100, records_per_file=counts))
    files = {f"data_batch_{i}.bin": fake_records(4, 1, i) for i in range(1, 6)}
    return files | {
        "test_batch.bin": fake_records(3, 1, 6),
        "train.bin": fake_records(4, 2, 7),
        "test.bin": fake_records(3, 2, 8),
    }
