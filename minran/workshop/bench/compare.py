"""One measurement: the same job given to several contenders in turn, and what came of it.

A measurement is what stands in the JSON, whose format `docs/results` relies on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from minran.workshop.bench.contenders import CONTENDERS, REFERENCE, TORCH, Contender, available
from minran.workshop.bench.processes import Starter, Worker, WorkerError
from minran.workshop.bench.rounds import (
    Round,
    Settings,
    in_turn,
    paired_ratios,
    spread,
    this_machine,
    wait_until_quiet,
    watch,
)

Measurement = dict[str, Any]
"""A job with its options, a row for each contender, and all rounds: see `summary`."""


def summary(
    job: str,
    options: dict[str, Any],
    contenders: Sequence[Contender],
    rounds: Sequence[Round],
    calls: Mapping[str, int],
    facts: Mapping[str, dict[str, Any]],
    notes: Sequence[str],
) -> Measurement:
    """A measurement: for each contender its times and ratios, pair by pair, in the kept rounds.

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
        "job": job,
        "options": options,
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
            for contender in contenders
            for name in [contender.name]
        ],
        "kept_rounds": len(kept),
        "disturbed_rounds": sum(each["disturbed"] for each in kept),
        "rounds": list(rounds),
        "notes": list(notes),
    }


class Team:
    """The workers of several contenders, for one job after another; made by `team_of`.

    Who cannot start or fails is left out with a note; the others go on.
    """

    def __init__(
        self, names: Sequence[str], settings: Settings, among: Mapping[str, Contender]
    ) -> None:
        self.settings = settings
        found, self.notes = available(names, settings.only, among)
        count = str(settings.processes)
        self.contenders = [replace(c, label=c.label.replace("several", count)) for c in found]
        self.workers: dict[str, Worker | Starter] = {}
        self.machine = this_machine()

    def measure(self, job: str, options: dict[str, Any], kernels: bool = False) -> Measurement:
        """Prepare the job everywhere, measure it in turn, ask for memory and versions.

        kernels: also ask for the time of each GPU kernel, where an adapter can tell.
        """
        settings, notes = self.settings, list(self.notes)
        calls = {}
        for name, worker in list(self.workers.items()):
            seconds = self._prepare(worker, job, options, notes)
            if seconds is not None:
                calls[name] = max(1, math.ceil(settings.turn_seconds / max(seconds, 1e-7)))
        rounds: list[Round] = []
        facts: dict[str, dict[str, Any]] = {}
        extra: dict[str, Any] = {}
        try:
            if calls:

                def run(name: str) -> float:
                    return float(self.workers[name].ask("run", repeat=calls[name])["seconds"])

                rounds = in_turn(
                    {name: partial(run, name) for name in calls},
                    lambda name: watch(self.workers[name].pid, self.machine),
                    settings,
                    lambda: wait_until_quiet(self.machine, settings.patience, settings.limit),
                )
            for name in calls:
                facts[name] = self.workers[name].ask("facts")
                if kernels and not extra:
                    answer = self.workers[name].ask("kernels")
                    extra = {"kernels": answer["kernels"]} if "kernels" in answer else {}
        except WorkerError as error:
            notes.append(str(error))
        return summary(job, options, self.contenders, rounds, calls, facts, notes) | extra

    def _prepare(
        self, worker: Worker | Starter, job: str, options: dict[str, Any], notes: list[str]
    ) -> float | None:
        """Seconds of one call of the prepared job; None if there is no such job there."""
        contender = worker.contender
        try:
            answer = worker.ask(
                "prepare",
                self.timeout(contender),
                job=job,
                options=options,
                warmup=self.settings.warmup,
            )
        except WorkerError as error:
            # It may hold memory, or be beyond an answer: a fresh start is for the next team.
            notes.append(str(error))
            self.notes.append(str(error))
            del self.workers[contender.name]
            worker.close()
            return None
        if answer.get("why"):
            notes.append(f"{contender.label}: {answer['why']}")
        return answer.get("seconds")

    def timeout(self, contender: Contender) -> float | None:
        """Seconds that are left, None for no end. Raises WorkerError if there are none."""
        left = self.settings.time_left
        if left is not None and left <= 0:
            raise WorkerError(f"{contender.label}: not started, the time is up")
        return left


@contextmanager
def team_of(
    names: Sequence[str], settings: Settings, among: Mapping[str, Contender] = CONTENDERS
) -> Iterator[Team]:
    """Contenders in processes of their own, which end with the block."""
    team = Team(names, settings, among)
    with ExitStack() as stack:
        for contender in team.contenders:
            kind: type[Worker | Starter] = Starter if contender.imports else Worker
            try:
                worker = kind(contender, settings, team.timeout(contender))
            except WorkerError as error:
                team.notes.append(str(error))
            else:
                stack.enter_context(worker)
                team.workers[contender.name] = worker
        yield team


def compare(
    job: str,
    options: dict[str, Any],
    names: Sequence[str],
    settings: Settings,
    among: Mapping[str, Contender] = CONTENDERS,
) -> Measurement:
    """One job, with fresh workers: so the peak memory of each is the peak of this job."""
    with team_of(names, settings, among) as team:
        return team.measure(job, options)
