"""Stand-ins for machines, watches and workers: the bench's arithmetic without its clock."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from typing import Any

from minran.bench import add_arguments
from minran.workshop.bench.contenders import Contender
from minran.workshop.bench.rounds import Machine, Settings
from minran.workshop.bench.worker import WorkerError


class ScriptedMachine(Machine):
    """A machine whose counters stand where a list says, one pair a reading; none if it is empty."""

    def __init__(self, busy: list[float] | None = None, used: list[float] | None = None) -> None:
        self._busy, self._used = iter(busy or []), iter(used or [])
        self.psutil = busy

    def busy(self) -> float:
        return next(self._busy)

    def used(self, pid: int) -> float:
        return next(self._used)


class FakeWorker(AbstractContextManager["FakeWorker"]):
    """A worker that answers at once: `seconds` by contender, or the error that it ends with."""

    seconds: dict[str, float | str]
    closed: list[str]
    asked: list[tuple[str, str, dict[str, Any]]]
    settings: list[Settings]
    kernels: dict[str, Any]
    pid = 1

    def __init__(self, contender: Contender, settings: Settings, *rest: Any) -> None:
        if contender.name not in self.seconds:
            raise WorkerError(f"{contender.label}: cannot start")
        self.contender, self.label = contender, contender.label
        self.settings.append(settings)

    def ask(self, do: str, timeout: float | None = None, **options: Any) -> dict[str, Any]:
        name = self.contender.name
        self.asked.append((name, do, options))
        seconds = self.seconds[name]
        if isinstance(seconds, str):
            raise WorkerError(f"{self.contender.label}: {seconds}")
        if seconds < 0:
            return {"absent": True}
        if do == "facts":
            return {"peak_bytes": 300_000_000, "import_bytes": 100_000_000}
        if do == "kernels":
            return {"kernels": self.kernels} if name == "minran" else {"absent": True}
        return {"seconds": seconds * options.get("repeat", 1)}

    def close(self) -> None:
        self.closed.append(self.contender.name)

    def __exit__(self, *exc: object) -> None:
        self.close()


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)
