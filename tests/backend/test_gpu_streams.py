"""Launches on a second stream: right however early or late it runs, and each wait is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedBackend, RemoteDevice
from gpu_runs import using
from test_gpu_graph import place, small, state
from test_gpu_upload import Event, Machine, Stream

from minran.backend.gpu.cuda import CudaDevice
from minran.train import capture_step

EAGER = [(first, second) for first in (False, True) for second in (False, True)]


class Current(Machine):
    """As much of CuPy as two streams need, of which one is current."""

    def __init__(self, second: bool, first: bool) -> None:
        super().__init__(second, first)
        self.current = [self.steps]
        self.cuda.get_current_stream = lambda: self.current[-1]
        self.cuda.Event = lambda disable_timing: disable_timing
        self.cuda.Stream = partial(Entered, self, second)


class Entered(Stream):
    """A stream that is current in a block."""

    machine: Current

    def __init__(self, machine: Current, eager: bool, non_blocking: bool) -> None:
        assert non_blocking
        super().__init__(machine, eager)
        machine.streams.append(self)

    def __enter__(self) -> None:
        self.machine.current.append(self)

    def __exit__(self, *error: object) -> None:
        self.machine.current.pop()


def order(machine: Current) -> list[str]:
    """In which order the launches of a step ran that has work on a second stream."""
    ran: list[str] = []
    device = object.__new__(CudaDevice)
    device.xp = machine

    def launch(name: str) -> None:
        machine.current[-1].add(lambda: ran.append(name))

    for step in "12":
        launch(f"before {step}")
        with device.concurrently(lambda step=step: launch(f"work {step}")):
            launch(f"block {step}")
        launch(f"after {step}")
    machine.steps.run_until(machine.steps.added)
    return ran


def is_right(ran: list[str]) -> bool:
    """Whether each piece came after what it needs."""
    places = {name: ran.index(name) for name in ran}
    return len(places) == 8 and all(
        places[f"before {step}"] < places[f"{piece} {step}"] < places[f"after {step}"]
        for step in "12"
        for piece in ("work", "block")
    )


@pytest.mark.parametrize(("first", "second"), EAGER)
def test_what_comes_after_waits_for_both(first: bool, second: bool) -> None:
    assert is_right(order(Current(second, first)))


@pytest.mark.parametrize("missing", [0, 1])
def test_each_wait_is_needed(missing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, waits = Stream.wait_event, 0

    def forgetful(self: Stream, event: Event) -> None:
        nonlocal waits
        waits += 1
        if (waits - 1) % 2 != missing:
            real(self, event)

    monkeypatch.setattr(Stream, "wait_event", forgetful)
    assert not all(is_right(order(Current(second, first))) for first, second in EAGER)


class NeverJoined(RemoteDevice):
    """The work runs with the next block."""

    waiting: Callable[[], None] | None = None

    @contextmanager
    def concurrently(self, work: Callable[[], None]) -> Iterator[None]:
        """A step late."""
        if self.waiting is not None:
            self.waiting()
        self.waiting = work
        yield


def trained(device: Any) -> dict[str, np.ndarray]:
    """A network after three captured steps."""
    with using(EmulatedBackend(device)) as kernels:
        kernels.set_precision("fp32")
        model, optimizer, images, labels = small()
        captured = capture_step(model, optimizer, place(images), place(labels, np.int64))
        for _ in range(3):
            captured()
        return state(model)


def test_a_captured_step_is_the_same_early_and_late() -> None:
    early, late = trained(RemoteDevice()), trained(RemoteDevice(late=True))
    for name, array in early.items():
        np.testing.assert_array_equal(late[name], array, err_msg=name)
    wrong = trained(NeverJoined())
    assert any(not np.array_equal(wrong[name], array) for name, array in early.items())
