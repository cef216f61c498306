"""The time of each of our GPU kernels in one training step, by events around every launch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from minran.backend.gpu import launch


class TimedDevice:
    """A device that notes two events with each launch; anything else is the device's own."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._events: list[tuple[str, Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def launch(self, program: Any, kernel: str, grid: Any, block: Any, args: list) -> None:
        """Launch on the device, between two events."""
        start, end = self.xp.cuda.Event(), self.xp.cuda.Event()
        start.record()
        self._device.launch(program, kernel, grid, block, args)
        end.record()
        self._events.append((kernel.partition("<")[0], start, end))

    def seconds(self) -> dict[str, float]:
        """Seconds by kernel, the longest first."""
        total: dict[str, float] = defaultdict(float)
        for name, start, end in self._events:
            end.synchronize()
            total[name] += self.xp.cuda.get_elapsed_time(start, end) / 1e3
        return dict(sorted(total.items(), key=lambda item: -item[1]))


def by_kernel(work: Callable[[], object], repeat: int) -> dict[str, float]:
    """Mean seconds of one call of `work` in each kernel, template arguments left out.

    CuPy's own kernels, few beside ours, are not seen; what the host takes to launch is not
    counted unless the GPU waits for it between the two events.
    """
    timed = TimedDevice(launch.device())
    with launch.using(timed):
        for _ in range(repeat):
            work()
        return {name: seconds / repeat for name, seconds in timed.seconds().items()}
