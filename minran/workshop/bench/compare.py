"""One measurement: the same job given to several contenders in turn, and what came of it.

A measurement is what stands in the JSON, whose format `docs/results` relies on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from statistics import median
from threading import TIMEOUT_MAX
from typing import Any

from minran.workshop.bench import contenders
from minran.workshop.bench.contenders import REFERENCE, TORCH, Contender, Who
from minran.workshop.bench.rounds import Machine, Round, Settings, in_turn, paired_ratios, spread
from minran.workshop.bench.worker import Worker, WorkerError

Measurement = dict[str, Any]
"""A job with its options, a row for each contender, and all rounds: see `summary`."""


def summary(
    who: Who, rounds: Sequence[Round], calls: dict[str, int], facts: dict[str, Any]
) -> Measurement:
    """For each contender its times and ratios, pair by pair, in the kept rounds.

    calls: how often each did the job in a turn; facts: what else is known about it. `ratio` says
    how many times longer the reference takes, `to_torch` how many times longer the contender takes
    than PyTorch channels_last.
    """
    kept = [each for each in rounds if each["kept"]]
    times = {
        name: [each["seconds"][name] / count for each in kept]
        for name, count in calls.items()
        if kept
    }
    reference = next((name for name in REFERENCE if name in times), None)

    def ratio(above: str | None, below: str | None) -> dict[str, float] | None:
        if above == below or above not in times or below not in times:
            return None
        return spread(paired_ratios(times[above], times[below]))

    return {
        "reference": reference,
        "contenders": [
            {
                "name": name,
                "label": contender.label,
                "seconds": spread(times[name]) if name in times else None,
                "ratio": ratio(reference, name),
                "to_torch": ratio(name, TORCH),
                "calls_per_turn": calls.get(name),
                **facts.get(name, {}),
            }
            for contender in who
            for name in [contender.name]
        ],
        "kept_rounds": len(kept),
        "disturbed_rounds": sum(each["disturbed"] for each in kept),
        "rounds": list(rounds),
    }


class Team:
    """The workers of several contenders, for one job after another; made by `team_of`.

    A contender that cannot start or fails is left out with a note; the others go on.
    """

    def __init__(self, who: Who, settings: Settings) -> None:
        self.settings, self.machine = settings, Machine()
        self.workers: dict[str, Worker] = {}
        self.contenders: list[Contender] = []
        self.notes: list[str] = []
        for contender in who:
            if settings.only and contender.name not in settings.only:
                continue
            missing = [need for need in contender.needs if not contenders.is_installed(need)]
            if missing:
                self.notes.append(f"{contender.label}: {', '.join(missing)} not installed")
                continue
            label = contender.label.replace("several", str(settings.processes))
            self.contenders.append(replace(contender, label=label))

    def measure(self, job: str, options: dict[str, Any]) -> Measurement:
        """Prepare the job everywhere, measure it in turn, ask for memory and versions.

        If the settings ask for it, also for the time of each kernel, where an adapter can tell.
        """
        settings, workers, machine = self.settings, self.workers, self.machine
        calls: dict[str, int] = {}
        facts: dict[str, Any] = {}
        rounds: list[Round] = []
        extra: dict[str, Any] = {}
        notes = self.notes
        for name, worker in list(workers.items()):
            how = {"job": job, "options": options, "warmup": settings.warmup}
            try:
                answer = worker.ask("prepare", self.time_left(worker.label), **how)
            except WorkerError as error:
                # It may hold memory, or be beyond an answer: a fresh start is for the next team.
                self.notes.append(str(error))
                workers.pop(name).close()
                continue
            if "seconds" in answer:
                calls[name] = math.ceil(settings.turn_seconds / max(answer["seconds"], 1e-7)) or 1
        try:
            rounds = in_turn(
                calls,
                lambda name: float(workers[name].ask("run", repeat=calls[name])["seconds"]),
                lambda name: machine.watch(workers[name].pid),
                settings,
                lambda: machine.wait_until_quiet(settings.patience, settings.limit),
            )
            for name in calls:
                facts[name] = workers[name].ask("facts")
                if settings.kernels and not extra:
                    extra = self.kernels(name)
        except WorkerError as error:
            notes = [*notes, str(error)]
        found = summary(self.contenders, rounds, calls, facts)
        return {"job": job, "options": options, **found, "notes": [*notes], **extra}

    def kernels(self, name: str) -> dict[str, Any]:
        """The kernels of a contender, under this name, if it can tell.

        On a CPU measured in rounds: of each number the median over the rounds that count.
        """
        worker, settings, machine = self.workers[name], self.settings, self.machine
        on_gpu = settings.device == "gpu"
        answer = worker.ask("kernels", repeat=3 if on_gpu else 1)
        if "kernels" not in answer:
            return {}
        if on_gpu:
            return {"kernels": answer["kernels"]}
        found: list[dict[str, dict[str, float]]] = []

        def one_step(name: str) -> float:
            found.append(worker.ask("kernels", repeat=1)["kernels"])
            return sum(each["seconds"] for each in found[-1].values())

        rounds = in_turn(
            [name],
            one_step,
            lambda name: machine.watch(worker.pid),
            settings,
            lambda: machine.wait_until_quiet(settings.patience, settings.limit),
        )
        kept = [each for each, this in zip(found, rounds, strict=True) if this["kept"]]
        return {
            "kernels": {
                kernel: {what: median(each[kernel][what] for each in kept) for what in numbers}
                for kernel, numbers in kept[0].items()
            },
            "kernel_rounds": rounds,
        }

    def time_left(self, label: str) -> float:
        """Seconds until the deadline. Raises WorkerError if there are none."""
        left = self.settings.deadline - time.monotonic()
        if left <= 0:
            raise WorkerError(f"{label}: not started, the time is up")
        return min(left, TIMEOUT_MAX)


@contextmanager
def team_of(who: Who, settings: Settings) -> Iterator[Team]:
    """Contenders in processes of their own, which end with the block."""
    team = Team(who, settings)
    with ExitStack() as stack:
        for contender in team.contenders:
            try:
                worker = Worker(contender, settings, team.time_left(contender.label))
            except WorkerError as error:
                team.notes.append(str(error))
            else:
                team.workers[contender.name] = stack.enter_context(worker)
        yield team
