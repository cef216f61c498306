"""Children that die, or whose disk fails, at a chosen operation on files; what must hold after."""

from __future__ import annotations

import builtins
import datetime
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from train.train_helpers import TINY, assert_same_run

from minran.train import Recipe, Run, load_checkpoint, parse, read_history, train

SEED = int(os.environ.get("MINRAN_FAULT_SEED", datetime.date.today().toordinal()))
"""Says which operations are tried, and which random moments; another every day."""

LONG = "MINRAN_FAULT_LONG" in os.environ
"""Whether every operation is tried, and ten times as many random moments."""

TALLY: Counter[str] = Counter()
"""What was done to children in this session, told at its end."""

TIME_LIMIT = 60

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def small(*changes: str) -> Recipe:
    """Two epochs of three steps: rows, checkpoints in the middle, kept epochs."""
    shorter = ("data.train_count=12", "data.test_count=10", "training.checkpoint_every=2")
    return parse(TINY, "small", [*shorter, "training.keep_every=1", *changes])


def chosen(points: int, every: int) -> list[int]:
    """Some of the numbers 1 to `points`: each `every`-th, from one that SEED says; all if LONG."""
    return list(range(1, points + 1) if LONG else range(1 + SEED % every, points + 1, every))


class Faults:
    """Counts what is done to files below `folder`, and at the `at`-th time lets it go wrong.

    Points are: before, in the middle of and after each write, and before and after each fsync,
    replace, unlink and mkdir. With `error` None the process is killed there; else that point and
    all later ones raise OSError(error), as a disk that is full and stays full.
    """

    def __init__(self, folder: Path, at: int = 0, error: int | None = None) -> None:
        self.folder, self.at, self.error, self.points = str(folder), at, error, 0

    def point(self) -> None:
        self.points += 1
        if not 0 < self.at <= self.points:
            return
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        os.kill(os.getpid(), signal.SIGKILL)

    def around(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if not self.concerns(arguments[0]):
                return operation(*arguments, **options)
            self.point()
            result = operation(*arguments, **options)
            # What was done cannot fail any more; the process can still die.
            if self.error is None:
                self.point()
            return result

        return wrapped

    def concerns(self, place: Any) -> bool:
        if isinstance(place, int):
            place = os.readlink(f"/proc/self/fd/{place}")
        return os.path.realpath(os.fspath(place)).startswith(self.folder)

    def install(self) -> None:
        """For good: this is a child that ends soon."""
        for name in ("fsync", "replace", "unlink", "remove", "mkdir"):
            setattr(os, name, self.around(getattr(os, name)))
        real = builtins.open

        def counted(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            opened = real(file, mode, *arguments, **options)
            if set(mode) & set("wax+") and not isinstance(file, int) and self.concerns(file):
                return Torn(opened, self)
            return opened

        builtins.open = counted


class Torn:
    """A file whose writes happen in two halves, with points before, between and after."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self.file, self.faults = file, faults

    def write(self, data: Any) -> int:
        half = len(data) // 2
        self.faults.point()
        self.file.write(data[:half])
        self.file.flush()
        self.faults.point()
        self.file.write(data[half:])
        if self.faults.error is None:
            self.file.flush()
            self.faults.point()
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()


def begin(work: Callable[[], Any]) -> int:
    """Start a child that does `work` and ends with status 0; prints the traceback otherwise."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    return child


def ended(child: int) -> int:
    """The child's exit status, or minus the signal that killed it; it must not hang."""
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            TALLY["killed" if os.WIFSIGNALED(status) else "not killed"] += 1
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def forked(work: Callable[[], Any]) -> int:
    """`work` in a child, and how that ended."""
    return ended(begin(work))


def count_points(folder: Path, work: Callable[[], Any], error: int | None = None) -> int:
    """At how many points `work` can be disturbed below `folder`: killed, or failed by the disk."""
    note = folder.parent / "points.json"

    def counted() -> None:
        faults = Faults(folder, 0, error)
        faults.install()
        work()
        note.write_text(json.dumps(faults.points))

    assert forked(counted) == 0
    return int(json.loads(note.read_text()))


def disturbed(folder: Path, at: int, work: Callable[[], Any], error: int | None = None) -> int:
    """`work` in a child that dies at point `at`, or whose disk fails from there on."""

    def wrapped() -> None:
        Faults(folder, at, error).install()
        work()

    TALLY["with a failing disk"] += error is not None
    return forked(wrapped)


def go_on(folder: Path, recipe: Recipe | None = None, force: bool = False) -> None:
    """What a person does after a crash: resume, or start if it had not come to a run."""
    resume = Run(folder).exists() and not force
    assert train(recipe or small(), folder, resume=resume, force=force, quiet=True).finished


def expect_readable(folder: Path) -> None:
    """At no moment is there a file that cannot be read; history may end in half a line."""
    run = Run(folder)
    for file in folder.glob("*.safetensors"):
        load_checkpoint(file)
    if run.exists():
        run.recipe()
    if run.environment_file.exists():
        json.loads(run.environment_file.read_text())
    if run.history_file.exists():
        rows = len(read_history(run.history_file))
        if run.last_file.exists():
            assert rows >= run.progress().rows


def expect_same(folder: Path, reference: Path) -> None:
    """The same weights bit for bit, the same rows, the same files, nothing left over."""
    assert_same_run(folder, reference)
    assert sorted(os.listdir(folder)) == sorted(os.listdir(reference))
    assert not Run(folder).is_running()


@contextmanager
def as_nobody() -> Iterator[None]:
    """In a child: rights count for this process too. Root may write anywhere."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    yield
