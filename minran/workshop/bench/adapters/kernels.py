"""The time of each GPU kernel in one training step."""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from minran.backend.gpu import launch

_NAME = re.compile(r"(?:void )?([\w:]+)")


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
        self._events.append((kernel, start, end))

    def seconds(self) -> Iterable[tuple[str, float]]:
        """Kernel and seconds of each launch."""
        for name, start, end in self._events:
            end.synchronize()
            yield name, self.xp.cuda.get_elapsed_time(start, end) / 1e3


def by_kernel(work: Callable[[], object], repeat: int) -> dict[str, float]:
    """Mean seconds of one call of `work` in each kernel, template arguments left out.

    By NVIDIA's own tracing, which PyTorch's profiler gives access to, whoever launched. Without
    PyTorch by events around our launches: then what the host takes to launch counts too, a few
    microseconds each, and CuPy's own few kernels do not.
    """
    try:
        from torch.profiler import ProfilerActivity, profile
    except ImportError:
        return _by_events(work, repeat)
    device = launch.device()
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        for _ in range(repeat):
            work()
        device.xp.cuda.Device().synchronize()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    launches = ((each["name"], each["dur"] / 1e6) for each in events if each.get("cat") == "kernel")
    return _means(launches, repeat)


def _by_events(work: Callable[[], object], repeat: int) -> dict[str, float]:
    timed = TimedDevice(launch.device())
    with launch.using(timed):
        for _ in range(repeat):
            work()
        return _means(timed.seconds(), repeat)


def _means(launches: Iterable[tuple[str, float]], repeat: int) -> dict[str, float]:
    """Seconds of a call by kernel, the longest first."""
    total: dict[str, float] = defaultdict(float)
    for name, seconds in launches:
        found = _NAME.match(name)
        total[found.group(1) if found else name] += seconds / repeat
    return dict(sorted(total.items(), key=lambda item: -item[1]))
