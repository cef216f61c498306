"""A training in two processes of which one is killed, or whose disk is full, ends and goes on.

`MINRAN_FAULT_SEED=N` says where (default: the day), `MINRAN_FAULT_LONG=1` tries more places.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from faults.fault_helpers import LONG, SEED, expect_readable, needs_fork
from test_distributed import assert_close, losses, needs_mpi, train_command, trained, worker
from train.train_helpers import assert_same_run

from minran.cli import main
from minran.train import Run, load_checkpoint

pytestmark = [needs_mpi, needs_fork]

COUNTS = {"sum": 320, "write": 100, "full": 60}
"""A little less than there are in this run: sums in which each process takes part, points of the
leader's writing, and those at which a disk can fail."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes that nothing disturbs."""
    folder = tmp_path_factory.mktemp("two") / "whole"
    status, _, errors = trained(2, *train_command(folder))
    assert status == 0, errors
    return folder


def places() -> list[tuple[int, str, int]]:
    """Which process (only the leader writes), where, and when."""
    rng = random.Random(SEED)
    found = [
        (rank, where, rng.randint(1, COUNTS[where]))
        for _ in range(5 if LONG else 1)
        for rank, where in ((0, "sum"), (1, "sum"), (0, "write"), (0, "full"))
    ]
    # One of each two a day.
    return found if LONG else [found[SEED % 2], found[2 + SEED % 2]]


@pytest.mark.parametrize(("rank", "where", "at"), places())
def test_a_process_dies_and_the_run_goes_on(
    rank: int, where: str, at: int, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = train_command(folder)
    status, output, errors = worker(2, "dies", str(rank), where, str(at), *command)
    assert status != 0, output
    assert "Traceback" not in errors
    if where == "full":
        assert status == 2
        assert errors.count("No space left on device") == 1
    if folder.exists():
        expect_readable(folder)
    begun = Run(folder).exists()
    rest = ["train", "--resume", str(folder)] if begun else command
    other = tmp_path / "elsewhere" / "run"
    other.parent.mkdir()
    if begun:
        shutil.copytree(folder, other)

    status, _, errors = trained(2, *rest)
    assert status == 0, errors
    assert_same_run(folder, whole)

    alone = ["train", "--resume", str(other)] if begun else train_command(other)
    assert main([*alone, "--quiet"]) == 0
    assert_close(losses(other), losses(whole), "losses")
    last = [load_checkpoint(place / "last.safetensors") for place in (other, whole)]
    for key, array in last[0].model.items():
        assert_close(array, last[1].model[key], key)
