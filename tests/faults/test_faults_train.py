"""Training that is killed, or whose disk fails, loses nothing: it goes on to the same bits.

`MINRAN_FAULT_SEED=N` says which points are tried (default: the day), `MINRAN_FAULT_LONG=1` tries
all of them, and more random moments.
"""

from __future__ import annotations

import errno
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults.fault_helpers import (
    LONG,
    SEED,
    as_nobody,
    begin,
    chosen,
    count_points,
    disturbed,
    ended,
    expect_readable,
    expect_same,
    forked,
    go_on,
    needs_fork,
    small,
)

from minran.errors import CheckpointError
from minran.train import Run, read_history, train

pytestmark = [needs_fork, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]


def train_in(folder: Path, **options: Any) -> Callable[[], None]:
    """The work of a child: train or go on in `folder`."""

    def work() -> None:
        resume = Run(folder).exists() and not options.get("force")
        train(small(), folder, resume=resume, quiet=True, **options)

    return work


def refused(folder: Path, words: str, **options: Any) -> Callable[[], None]:
    """The work of a child that must end with one sentence with `words` in it."""

    def work() -> None:
        with pytest.raises(CheckpointError, match=words) as caught:
            train_in(folder, **options)()
        assert "\n" not in str(caught.value)

    return work


# --- killed


def test_killed_at_points(reference: Path, tmp_path: Path) -> None:
    points = count_points(tmp_path / "whole", train_in(tmp_path / "whole"))
    expect_same(tmp_path / "whole", reference)
    assert points > 100
    for at in chosen(points, 9):
        folder = tmp_path / str(at)
        assert disturbed(folder, at, train_in(folder)) == -signal.SIGKILL, at
        expect_readable(folder)
        go_on(folder)
        expect_same(folder, reference)


def test_killed_at_points_in_every_session(reference: Path, tmp_path: Path) -> None:
    """Each session comes to one checkpoint at least (some 50 points), and little further."""
    folder, step = tmp_path / "run", 52 + SEED % 7
    sessions = 0
    while disturbed(folder, step, train_in(folder)) == -signal.SIGKILL:
        sessions += 1
        assert sessions < 60
        expect_readable(folder)
    assert sessions >= 1
    expect_same(folder, reference)


def test_killed_at_points_of_overwriting(reference: Path, tmp_path: Path) -> None:
    """`--force` over a finished run: what is there is the old run, the new one, or to be begun."""
    whole = shutil.copytree(reference, tmp_path / "whole")
    points = count_points(whole, train_in(whole, force=True))
    clearing = 30  # the old files go, the recipe and the session are written
    for at in chosen(points if LONG else clearing, 3):
        folder = shutil.copytree(reference, tmp_path / str(at))
        assert disturbed(folder, at, train_in(folder, force=True)) == -signal.SIGKILL, at
        expect_readable(folder)
        go_on(folder, force=at % 2 == 0)
        expect_same(folder, reference)


def test_killed_at_random_moments(reference: Path, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    start = time.monotonic()
    assert forked(train_in(tmp_path / "whole")) == 0
    whole = time.monotonic() - start
    for k in range(100 if LONG else 8):
        folder = tmp_path / str(k)
        child = begin(train_in(folder))
        time.sleep(rng.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        assert ended(child) in (-signal.SIGKILL, 0)
        expect_readable(folder)
        go_on(folder)
        expect_same(folder, reference)


# --- the disk


def test_a_disk_that_fails_at_points(reference: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    points = count_points(whole, train_in(whole), errno.ENOSPC)
    errors = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES)
    for k, at in enumerate(chosen(points - 1, 11)):
        folder, error = tmp_path / str(at), errors[(k + SEED) % len(errors)]
        words = f"could not .*{os.strerror(error)}"
        assert disturbed(folder, at, refused(folder, words), error) == 0, at
        if folder.exists():
            expect_readable(folder)
        go_on(folder)
        expect_same(folder, reference)


@pytest.mark.parametrize("size", [10, 2_000, 60_000])
def test_files_that_may_not_grow(size: int, reference: Path, tmp_path: Path) -> None:
    """As `ulimit -f` has it, by the system itself."""
    folder = tmp_path / "run"

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        refused(folder, "could not write .*File too large")()

    assert forked(work) == 0
    expect_readable(folder)
    go_on(folder)
    expect_same(folder, reference)


@pytest.mark.skipif(not LONG, reason="long form only")
@pytest.mark.parametrize("kilobytes", [4, 16, 64, 100, 200, 300])
def test_a_full_file_system(kilobytes: int, reference: Path, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount")
    try:
        assert forked(refused(place / "run", "could not .*No space left on device")) == 0
        expect_readable(place / "run")
        shutil.copytree(place / "run", tmp_path / "run")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    go_on(tmp_path / "run")
    expect_same(tmp_path / "run", reference)


def test_a_folder_that_may_not_be_written(reference: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        half = place / "half"
        assert not train(small(), half, quiet=True, on_row=stop_at(2)).finished
        before = {file.name: file.read_bytes() for file in half.iterdir()}
        for folder in (half, place):
            os.chmod(folder, 0o555)

        def work() -> None:
            with as_nobody():
                refused(half, "could not .*Permission denied")()
                refused(place / "new", "could not .*Permission denied")()

        assert forked(work) == 0
        for folder in (place, half):
            os.chmod(folder, 0o755)
        assert {file.name: file.read_bytes() for file in half.iterdir()} == before
        assert os.listdir(place) == ["half"]
        go_on(half)
        expect_same(half, reference)


def stop_at(row: int) -> Callable[[dict[str, Any]], None]:
    """An `on_row` that asks the run to stop at its `row`-th row."""
    return at_row(row, lambda: signal.raise_signal(signal.SIGTERM))


# --- the folder


def at_row(row: int, work: Callable[[], Any]) -> Callable[[dict[str, Any]], None]:
    """An `on_row` that does `work` at the `row`-th row."""
    left = [row]

    def on_row(_: dict[str, Any]) -> None:
        left[0] -= 1
        if left[0] == 0:
            work()

    return on_row


GONE = "was removed, moved or replaced while training"


@pytest.mark.parametrize("row", [1, 2, 4])
def test_the_folder_is_removed(row: int, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "run"
    for gone in (folder, folder.parent):
        remove = at_row(row, lambda gone=gone: shutil.rmtree(gone))
        refused(folder, GONE, on_row=remove)()
        assert not gone.exists()


@pytest.mark.parametrize("row", [1, 2, 4])
def test_the_folder_is_moved(row: int, reference: Path, tmp_path: Path) -> None:
    folder, place = tmp_path / "run", tmp_path / "elsewhere"
    refused(folder, GONE, on_row=at_row(row, lambda: folder.rename(place)))()
    assert not folder.exists()
    expect_readable(place)
    go_on(place)
    expect_same(place, reference)


def test_the_folder_is_replaced_by_another_run(reference: Path, tmp_path: Path) -> None:
    """Two trainings of one name: the first must not write into the second's folder."""
    folder = tmp_path / "run"

    def replace() -> None:
        shutil.rmtree(folder)
        go_on(folder)

    refused(folder, GONE, on_row=at_row(2, replace))()
    expect_same(folder, reference)


def test_the_history_is_removed(tmp_path: Path) -> None:
    """Its rows could not be had again, and a new file would not be this run's."""
    folder = tmp_path / "run"
    remove = at_row(3, lambda: os.remove(folder / "history.jsonl"))
    refused(folder, "history.jsonl was removed while training", on_row=remove)()
    assert not (folder / "history.jsonl").exists()


# --- two at once


def test_two_runs_in_one_folder(reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ready, go = os.pipe()

    def second() -> None:
        os.read(ready, 1)
        for other in ({}, {"force": True}):
            refused(folder, "another process is training in", **other)()

    waiting = begin(second)
    results = []

    def let_go() -> None:
        os.write(go, b"!")
        results.append(ended(waiting))

    train(small(), folder, quiet=True, on_row=at_row(2, let_go))
    assert results == [0]
    expect_same(folder, reference)


def test_a_race_for_one_folder(reference: Path, tmp_path: Path) -> None:
    """Of processes that start at once one trains, the others say why not."""
    for k in range(20 if LONG else 2):
        folder = tmp_path / str(k)
        children = [begin(partial(try_to_train, folder)) for _ in range(3)]
        assert [ended(child) for child in children] == [0] * 3
        assert len(list((folder.parent / f"{k}.won").iterdir())) == 1
        expect_same(folder, reference)


def try_to_train(folder: Path) -> None:
    won = folder.parent / f"{folder.name}.won"
    won.mkdir(exist_ok=True)
    try:
        train(small(), folder, quiet=True)
        (won / str(os.getpid())).touch()
    except CheckpointError as error:
        if not re.search("another process is training|holds a run already", str(error)):
            raise


def test_a_lock_ends_with_its_process(reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    child = begin(train_in(folder, on_row=at_row(2, lambda: time.sleep(60))))
    deadline = time.monotonic() + 30
    while not Run(folder).history_file.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert Run(folder).is_running()
    copied = shutil.copytree(folder, tmp_path / "copy")
    assert not Run(copied).is_running(), "a copy is another folder"
    os.kill(child, signal.SIGKILL)
    ended(child)
    assert not Run(folder).is_running()
    for place in (folder, copied):
        go_on(place)
        expect_same(place, reference)


# --- damage


def test_torn_and_flipped_files(reference: Path, tmp_path: Path) -> None:
    """A damaged checkpoint is refused; a history that ends in half a line is mended."""
    half = tmp_path / "half"
    assert not train(small(), half, quiet=True, on_row=stop_at(3)).finished
    rng = random.Random(SEED)
    content = (half / "last.safetensors").read_bytes()
    for _ in range(200 if LONG else 12):
        folder = tmp_path / "damaged"
        shutil.copytree(half, folder)
        damaged = bytearray(content)
        place = rng.randrange(len(content))
        if rng.random() < 0.5:
            damaged[place] ^= 1 << rng.randrange(8)
        else:
            del damaged[place:]
        (folder / "last.safetensors").write_bytes(damaged)
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        with pytest.raises(CheckpointError):
            train(small(), folder, resume=True, quiet=True)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
        shutil.rmtree(folder)

    history = half / "history.jsonl"
    with open(history, "ab") as file:
        file.write(b'{"kind": "step", "st')
    rows = len(read_history(history))
    assert rows >= Run(half).progress().rows
    go_on(half)
    expect_same(half, reference)
