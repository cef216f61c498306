"""Batches that are copied while the GPU works: right however early or late its streams run."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minran import backend
from minran.backend.gpu.upload import CudaUploader

Run = Callable[[], None]


class Stream:
    """Work in order. What is not awaited runs at once if `eager`, else only when it must."""

    def __init__(self, machine: Machine, eager: bool) -> None:
        self.machine, self.eager = machine, eager
        self.queue: list[Run] = []
        self.done = self.added = 0

    def add(self, run: Run) -> None:
        self.queue.append(run)
        self.added += 1
        self.machine.settle()

    def record(self, event: Any = None) -> Event:
        return Event(self, self.added)

    def wait_event(self, event: Event) -> None:
        self.add(lambda: event.stream.run_until(event.number))

    def run_until(self, number: int) -> None:
        while self.done < number:
            self.done += 1
            self.queue.pop(0)()


class Event:
    def __init__(self, stream: Stream, number: int) -> None:
        self.stream, self.number = stream, number

    def synchronize(self) -> None:
        self.stream.run_until(self.number)


class Machine:
    """As much of CuPy as the uploader needs; the copying stream or the step's may be eager."""

    def __init__(self, eager_copies: bool, eager_steps: bool) -> None:
        self.steps = Stream(self, eager_steps)
        self.streams = [self.steps]

        def stream(non_blocking: bool) -> Stream:
            assert non_blocking
            self.streams.append(Stream(self, eager_copies))
            return self.streams[-1]

        self.cuda = SimpleNamespace(
            Stream=stream, get_current_stream=lambda: self.steps, alloc_pinned_memory=bytearray
        )

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return Array(self, np.full(shape, -1, dtype))

    def settle(self) -> None:
        for stream in self.streams:
            if stream.eager:
                stream.run_until(stream.added)


class Array:
    """An array of the device."""

    def __init__(self, machine: Machine, numbers: np.ndarray) -> None:
        self.machine, self.numbers = machine, numbers
        self.shape, self.dtype, self.nbytes = numbers.shape, numbers.dtype, numbers.nbytes

    def set(self, host: np.ndarray, stream: Stream) -> None:
        stream.add(lambda: np.copyto(self.numbers, host))

    def __setitem__(self, key: Any, value: Array) -> None:
        assert key is Ellipsis
        self.machine.steps.add(lambda: np.copyto(self.numbers, value.numbers))


def seen(machine: Machine, batches: int, uploader: type = CudaUploader) -> list[tuple[int, int]]:
    """What each step reads, where the host runs ahead as far as it is let."""
    images, labels = (machine.empty((2, 3), np.int64) for _ in range(2))
    made, found = uploader(machine, [images, labels]), []
    for number in range(batches):
        batch = np.full((2, 3), number)
        made.send(batch, 100 + batch)
        batch[...] = -2  # the loader may use the memory again
        made.take()
        machine.steps.add(lambda: found.append((images.numbers.max(), labels.numbers.min())))
    machine.steps.run_until(machine.steps.added)
    return found


ORDERS = [(copies, steps) for copies in (True, False) for steps in (True, False)]


@pytest.mark.parametrize(("copies", "steps"), ORDERS)
def test_every_step_reads_its_own_batch(copies: bool, steps: bool) -> None:
    assert seen(Machine(copies, steps), 5) == [(number, 100 + number) for number in range(5)]


class NoWait:
    """An event that nobody waits for."""

    def synchronize(self) -> None:
        pass

    stream, number = SimpleNamespace(run_until=lambda number: None), 0


@pytest.mark.parametrize("missing", ["host", "copy", "step"])
def test_each_wait_is_needed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one of them, some order of the streams gives a step another batch."""
    if missing == "host":
        monkeypatch.setattr(Event, "synchronize", NoWait.synchronize)
    else:
        wait = Stream.wait_event

        def forgetful(self: Stream, event: Event) -> None:
            by_step = self is self.machine.steps
            if by_step != (missing == "step"):
                wait(self, event)

        monkeypatch.setattr(Stream, "wait_event", forgetful)
    right = [(number, 100 + number) for number in range(5)]
    assert any(seen(Machine(*order), 5) != right for order in ORDERS)


def test_the_host_does_not_wait_for_steps() -> None:
    """Two batches are sent while no step runs; the third waits for the first to be taken."""
    machine = Machine(eager_copies=False, eager_steps=False)
    target = machine.empty((1,), np.int64)
    made = CudaUploader(machine, [target])
    for number in range(2):
        made.send(np.array([number]))
        made.take()
    assert machine.steps.done == 0
    made.send(np.array([2]))
    assert 0 < machine.steps.done < machine.steps.added


@pytest.mark.gpu
def test_every_step_reads_its_own_batch_on_a_card() -> None:
    with backend.use("cupy") as kernels:
        xp = kernels.xp
        target = xp.zeros((64, 224, 224, 3), np.float32)
        made, means = kernels.uploader([target]), []
        weight = xp.ones((2048, 2048), np.float32)
        for number in range(20):
            made.send(np.full(target.shape, number, np.float32))
            made.take()
            for _ in range(20):  # a step that is still at work when the next batch is sent
                weight = weight @ weight / 2048
            means.append(target.mean() * weight[0, 0])
        assert [float(mean) for mean in means] == pytest.approx(range(20), rel=1e-4)
