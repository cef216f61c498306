"""One measurement: the same job given to several contenders in turn, and what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from minran.workshop.bench.contenders import Contender, available
from minran.workshop.bench.guard import DISTURBED, Watch, this_machine, wait_until_quiet
from minran.workshop.bench.processes import Worker, WorkerError
from minran.workshop.bench.rounds import Round, in_turn
from minran.workshop.bench.stats import paired_ratios, spread

REFERENCE = ("minran_captured", "minran")
"""Ratios are of the first of these that takes part, to every other."""

TORCH = "torch_channels_last"
"""PyTorch at its fastest without compiling: what everybody is compared with, too."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    rounds: how many count; extra_rounds: how many more may be spent to replace disturbed ones;
    warmup: calls before; turn_seconds: short jobs are repeated until a turn lasts this long;
    limit: cores that others may use; patience: seconds to wait for a quiet moment before a
    round; only: names of the contenders that may take part (all if empty); deadline: when
    (`time.monotonic`) nothing more is started, and what runs is stopped; processes: how many
    share each batch in a contender that is made of several.
    """

    rounds: int = 5
    extra_rounds: int = 5
    warmup: int = 2
    turn_seconds: float = 0.5
    threads: int = 1
    limit: float = DISTURBED
    patience: float = 5.0
    device: str = "cpu"
    precision: str = "fp32"
    only: tuple[str, ...] = ()
    deadline: float = math.inf
    processes: int = 2

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline, None if there is none."""
        return None if math.isinf(self.deadline) else self.deadline - time.monotonic()


@dataclass
class Measurement:
    """The rounds of one job, with what is known about the contenders."""

    job: str
    options: dict[str, Any]
    contenders: list[Contender]
    rounds: list[Round] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kernels: dict[str, float] | None = None

    def times(self, name: str) -> list[float]:
        """Seconds of one call, in each kept round."""
        kept = [each for each in self.rounds if each.kept]
        return [each.turns[name].seconds / self.calls[name] for each in kept]

    @property
    def names(self) -> list[str]:
        """Who was measured."""
        return list(self.calls) if self.rounds else []

    @property
    def reference(self) -> str | None:
        """Whose time stands above the line of the ratios."""
        return next((name for name in REFERENCE if name in self.names), None)

    @property
    def disturbed(self) -> int:
        """How many of the kept rounds others disturbed."""
        return sum(each.kept and each.disturbed for each in self.rounds)

    def median(self, name: str) -> float | None:
        """The median time of a contender, None if it was not measured."""
        return spread(self.times(name)).median if name in self.names else None

    def ratio(self, name: str) -> dict[str, float] | None:
        """How many times longer the reference takes than `name`, pair by pair."""
        reference = self.reference
        if reference is None or reference == name or name not in self.names:
            return None
        return spread(paired_ratios(self.times(reference), self.times(name))).to_json()

    def to_torch(self, name: str) -> dict[str, float] | None:
        """How many times longer `name` takes than PyTorch channels_last, pair by pair."""
        if TORCH not in self.names or name == TORCH or name not in self.names:
            return None
        return spread(paired_ratios(self.times(name), self.times(TORCH))).to_json()

    def to_json(self) -> dict[str, Any]:
        """Everything: the summary of each contender, and all rounds."""
        return {
            "job": self.job,
            "options": self.options,
            "reference": self.reference,
            "contenders": [self._row(contender) for contender in self.contenders],
            "kept_rounds": sum(each.kept for each in self.rounds),
            "disturbed_rounds": self.disturbed,
            "rounds": [each.to_json() for each in self.rounds],
            "notes": self.notes,
            **({} if self.kernels is None else {"kernels": self.kernels}),
        }

    def _row(self, contender: Contender) -> dict[str, Any]:
        name = contender.name
        measured = name in self.names
        return {
            "name": name,
            "label": contender.label,
            "seconds": spread(self.times(name)).to_json() if measured else None,
            "ratio": self.ratio(name),
            "to_torch": self.to_torch(name),
            "calls_per_turn": self.calls.get(name),
            **self.facts.get(name, {}),
        }


class Team:
    """The workers of several contenders, for one job after another.

    Who cannot start or fails is left out with a note; the others go on.
    """

    def __init__(self, names: Sequence[str], settings: Settings) -> None:
        self.settings = settings
        found, self.notes = available(names, settings.only)
        count = str(settings.processes)
        self.contenders = [replace(c, label=c.label.replace("several", count)) for c in found]
        self.workers: dict[str, Worker] = {}
        self.machine = this_machine()
        self._stack = ExitStack()

    def __enter__(self) -> Team:
        settings = self.settings
        try:
            for contender in self.contenders:
                try:
                    worker = Worker(
                        contender,
                        settings.threads,
                        settings.device,
                        settings.precision,
                        self._timeout(contender),
                        settings.processes,
                    )
                except WorkerError as error:
                    self.notes.append(str(error))
                    continue
                self.workers[contender.name] = self._stack.enter_context(worker)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def measure(self, job: str, options: dict[str, Any], kernels: bool = False) -> Measurement:
        """Prepare the job everywhere, measure it in turn, ask for memory and versions.

        kernels: also ask for the time of each GPU kernel, where an adapter can tell.
        """
        result = Measurement(job, options, self.contenders, notes=list(self.notes))
        for name, worker in list(self.workers.items()):
            calls = self._prepare(worker, job, options, result)
            if calls:
                result.calls[name] = calls
        contenders = {name: self._runner(name, calls) for name, calls in result.calls.items()}
        if not contenders:
            return result
        settings = self.settings
        try:
            result.rounds = in_turn(
                contenders,
                lambda name: Watch(self.workers[name].pid, self.machine),
                settings.rounds,
                settings.extra_rounds if self.machine else 0,
                settings.limit,
                lambda: wait_until_quiet(self.machine, settings.patience, settings.limit),
            )
            for name in result.calls:
                result.facts[name] = self.workers[name].ask("facts")
                if kernels and result.kernels is None:
                    result.kernels = self.workers[name].ask("kernels").get("kernels")
        except WorkerError as error:
            result.notes.append(str(error))
        return result

    def _prepare(self, worker: Worker, job: str, options: dict, result: Measurement) -> int:
        """How many calls make a turn of the prepared job; 0 if there is no such job there."""
        contender, settings = worker.contender, self.settings
        try:
            answer = worker.ask(
                "prepare",
                self._timeout(contender),
                job=job,
                options=options,
                warmup=settings.warmup,
            )
        except WorkerError as error:
            # It may hold memory, or be beyond an answer: a fresh start is for the next team.
            result.notes.append(str(error))
            self.notes.append(str(error))
            del self.workers[contender.name]
            worker.close()
            return 0
        if answer.get("absent"):
            if answer["why"]:
                result.notes.append(f"{contender.label}: {answer['why']}")
            return 0
        return max(1, math.ceil(settings.turn_seconds / max(answer["seconds"], 1e-7)))

    def _runner(self, name: str, calls: int) -> Any:
        return lambda: float(self.workers[name].ask("run", repeat=calls)["seconds"])

    def _timeout(self, contender: Contender) -> float | None:
        left = self.settings.time_left
        if left is not None and left <= 0:
            raise WorkerError(f"{contender.label}: not started, the time is up")
        return left


def compare(
    job: str, options: dict[str, Any], names: Sequence[str], settings: Settings
) -> Measurement:
    """One job, with fresh workers: so the peak memory of each is the peak of this job."""
    with Team(names, settings) as team:
        return team.measure(job, options)


def quick(settings: Settings) -> Settings:
    """Shorter turns, for tables with many rows; a disturbed one is repeated, not waited for.

    In a short turn the hundredths of a second of the counters weigh more: the limit is wider.
    """
    return replace(
        settings,
        turn_seconds=min(settings.turn_seconds, 0.3),
        patience=0.0,
        limit=max(settings.limit, 0.15),
    )
