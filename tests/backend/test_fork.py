"""A child after a fork computes what its parent does: it has no threads of its own at first."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from minran import create_model, machine, ops, tensor
from minran.backend import cpu
from minran.backend.cpu import blocks, memory
from minran.data import Loader, load_shapes
from minran.errors import BackendError, DataError

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    # Python 3.12 and later warn of any fork beside threads; here that is the point.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

TIME_LIMIT = 20
"""Seconds after which a child counts as hanging; each takes a fraction of one."""


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = cpu.threads()
    cpu.set_threads(2)
    yield
    cpu.set_threads(before)


def gradients(_: Any = None) -> bytes:
    """Forward and backward of a network on two threads, with pooled memory."""
    rng = np.random.default_rng(0)
    model = create_model("attention_nano", seed=0)
    images, labels = rng.standard_normal((8, 32, 32, 3), np.float32), np.arange(8)
    ops.cross_entropy(model(tensor(images)), labels).backward()
    return b"".join(parameter.grad.tobytes() for parameter in model.parameters())


def in_child(work: Callable[[], Any]) -> bool:
    """Whether `work()` is true in a forked child; one that hangs is killed, and an error."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 3
        finally:
            os._exit(status)
    return wait(child) == 0


def wait(child: int) -> int:
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def test_a_fork() -> None:
    expected = gradients()
    assert blocks._pool is not None, "nothing was forked with threads"
    assert in_child(lambda: gradients() == expected)
    assert gradients() == expected


def test_a_child_may_choose_its_threads() -> None:
    expected = gradients()

    def work() -> bool:
        cpu.set_threads(3)
        return gradients() == expected

    assert in_child(work)


def test_forks_within_forks() -> None:
    expected = gradients()

    def inner() -> bool:
        return gradients() == expected

    assert in_child(lambda: in_child(inner) and inner() and in_child(inner))


def test_a_fork_from_another_thread() -> None:
    expected = gradients()
    with ThreadPoolExecutor(1) as other:
        assert other.submit(in_child, lambda: gradients() == expected).result()


def test_a_fork_from_within_a_kernel() -> None:
    """By either thread that runs blocks, while the other runs one."""
    expected = gradients()
    forked: dict[str, bool] = {}
    both = threading.Barrier(2, timeout=TIME_LIMIT)

    def block(samples: slice) -> None:
        both.wait()
        forked[threading.current_thread().name] = in_child(lambda: gradients() == expected)

    blocks.map_blocks(block, 2, blocks.HAND_OVER)
    assert list(forked.values()) == [True, True]


def test_forks_while_kernels_run() -> None:
    expected, stop = gradients(), threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            gradients()

    busy = threading.Thread(target=go_on)
    busy.start()
    try:
        for _ in range(5):
            time.sleep(0.01)
            assert in_child(lambda: gradients() == expected)
    finally:
        stop.set()
        busy.join()


def test_a_fork_beside_threads_of_blas() -> None:
    with threadpool_limits(2, "blas"):
        a = np.ones((600, 600))
        expected, product = gradients(), a @ a
        assert in_child(lambda: gradients() == expected and (a @ a == product).all())


def test_pooled_memory_is_not_shared() -> None:
    kept = memory.zeros((1 << 16,), np.float32)
    memory.empty((1 << 16,), np.float32)  # free again, so the child gets the same memory

    def work() -> bool:
        memory.empty((1 << 16,), np.float32)[...] = 1
        kept[...] = 1
        return True

    assert in_child(work)
    assert not kept.any()


def test_pools_of_processes() -> None:
    """multiprocessing's default on Linux before Python 3.14, and what joblib and others do."""
    expected = gradients()
    fork = multiprocessing.get_context("fork")
    with fork.Pool(2) as pool:
        assert pool.map_async(gradients, range(4)).get(TIME_LIMIT) == [expected] * 4
    with ProcessPoolExecutor(2, mp_context=fork) as executor:
        assert list(executor.map(gradients, range(4), timeout=TIME_LIMIT)) == [expected] * 4


def test_batches_in_a_child() -> None:
    """A new epoch works; one that is under way has its thread in the parent, and says so."""
    loader = Loader(load_shapes(count=64), batch_size=8, shuffle=True)
    images = [batch[0] for batch in loader.epoch(0)]
    under_way = loader.epoch(0)
    next(under_way)

    def refused() -> bool:
        with pytest.raises(DataError, match="before a fork"):
            next(under_way)
        return True

    def again() -> bool:
        rest = [batch[0] for batch in loader.epoch(0, start=1)]
        return all(map(np.array_equal, rest, images[1:]))

    def closed() -> bool:
        under_way.close()
        return True

    assert in_child(refused) and in_child(again) and in_child(closed)
    assert all(map(np.array_equal, (batch[0] for batch in under_way), images[1:]))


# --- how many threads


@pytest.mark.parametrize("told", ["abc", "1.5", "", "-1", "0", "2 3", "9" * 5000, "0x2", "²"])
def test_a_number_of_threads_that_is_none(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINRAN_NUM_THREADS", told)
    monkeypatch.setattr(blocks, "_threads", None)
    for use in (cpu.threads, cpu.ensure_available, gradients):
        with pytest.raises(BackendError, match="MINRAN_NUM_THREADS: expected a whole number"):
            use()


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINRAN_NUM_THREADS", " 3 ")
    monkeypatch.setattr(blocks, "_threads", None)
    assert cpu.threads() == 3
    monkeypatch.delenv("MINRAN_NUM_THREADS")
    monkeypatch.setattr(blocks, "_threads", None)
    assert cpu.threads() == len(machine.cores())
    for wrong in (0, -1, 1.5, "2", None):
        with pytest.raises(BackendError, match="set_threads: expected a whole number"):
            cpu.set_threads(wrong)


def test_a_wrong_number_of_threads_ends_a_command_before_it_begins(tmp_path) -> None:
    command = [sys.executable, "-m", "minran", "quickstart", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "MINRAN_NUM_THREADS": "two"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("minran: MINRAN_NUM_THREADS: expected") and "'two'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_without_more_threads_the_work_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As under `ulimit -u`: "can't start new thread"."""
    expected = gradients()
    cpu.set_threads(2)  # the next kernel starts its thread anew

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        assert gradients() == expected
    assert gradients() == expected


def test_small_work_stays_on_this_thread() -> None:
    def where(rows: slice) -> str:
        time.sleep(0.002)  # long enough for another thread to take a block
        return threading.current_thread().name

    here = threading.current_thread().name
    size = blocks.HAND_OVER // 16
    assert set(blocks.map_blocks(where, 15, size, size)) == {here}
    assert set(blocks.map_blocks(where, 16, size, size)) == {here, "minran_0"}
    assert set(blocks.map_blocks(where, 15, size, size, 0)) == {here, "minran_0"}


def test_nobody_waits_for_a_thread_that_has_no_block() -> None:
    """It may be busy with another caller's; what it finds later holds no arrays."""
    free, busy, seen = threading.Event(), threading.Event(), []
    blocks._hand_over(lambda: (busy.set(), free.wait(TIME_LIMIT)), 1)
    assert busy.wait(TIME_LIMIT)
    array = np.zeros(8)
    gone = weakref.ref(array)

    def block(rows: slice, array: np.ndarray = array) -> int:
        seen.append(threading.current_thread())
        array[rows] = 1
        return rows.start

    begin = time.monotonic()
    assert blocks.map_blocks(block, 8, blocks.HAND_OVER) == list(range(8))
    assert time.monotonic() - begin < TIME_LIMIT / 2
    assert set(seen) == {threading.current_thread()} and array.all()
    del array, block
    assert gone() is None
    free.set()


def test_the_first_error_of_the_blocks_is_raised() -> None:
    both, done = threading.Barrier(2, timeout=TIME_LIMIT), []

    def block(rows: slice) -> None:
        if rows.start < 2:
            both.wait()  # one on each thread
            raise ValueError(f"block {rows.start}")
        done.append(rows.start)

    for _ in range(3):
        with pytest.raises(ValueError, match="block 0"):
            blocks.map_blocks(block, 8, blocks.HAND_OVER)
    assert sorted(done) == sorted([*range(2, 8)] * 3)
