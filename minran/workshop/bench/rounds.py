"""Contenders measured in turn, A B C A B C, and the rounds that count."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol


class HasOthers(Protocol):
    """What a watch tells when its block is over."""

    others: float | None


MakeWatch = Callable[[str], AbstractContextManager[HasOthers]]


@dataclass(frozen=True)
class Turn:
    """One contender's time in one round, and the cores that others used meanwhile."""

    seconds: float
    others: float | None


@dataclass(frozen=True)
class Round:
    """One turn of every contender; `kept` says whether the summary counts it."""

    turns: dict[str, Turn]
    disturbed: bool
    kept: bool = False

    @property
    def others(self) -> float:
        """Cores that others used in its worst turn."""
        return max((turn.others or 0.0 for turn in self.turns.values()), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Everything about the round."""
        return {
            "seconds": {name: turn.seconds for name, turn in self.turns.items()},
            "others_cores": {name: turn.others for name, turn in self.turns.items()},
            "disturbed": self.disturbed,
            "kept": self.kept,
        }


def in_turn(
    contenders: dict[str, Callable[[], float]],
    watch: MakeWatch,
    rounds: int,
    repeats: int,
    limit: float,
    before_round: Callable[[], object] = lambda: None,
) -> list[Round]:
    """Measure until `rounds` rounds were quiet, with at most `repeats` rounds more than that.

    contenders: name -> a function that works and returns its seconds; watch(name) watches
    the machine meanwhile. A round is disturbed if others used more than `limit` cores in any of
    its turns: then no ratio of it can be trusted, so it is measured again as a whole.

    Returns all rounds. Kept are the quiet ones; if there are too few, the least disturbed ones
    fill up, and they stay marked as disturbed.
    """
    done: list[Round] = []
    while quiet_count(done) < rounds and len(done) < rounds + repeats:
        before_round()
        turns = {}
        for name, work in contenders.items():
            with watch(name) as watched:
                seconds = work()
            turns[name] = Turn(seconds, watched.others)
        worst = max((turn.others or 0.0 for turn in turns.values()), default=0.0)
        done.append(Round(turns, disturbed=worst > limit))
    return _choose(done, rounds)


def quiet_count(rounds: list[Round]) -> int:
    """How many rounds nobody disturbed."""
    return sum(not each.disturbed for each in rounds)


def _choose(done: list[Round], wanted: int) -> list[Round]:
    """Mark `wanted` rounds as kept: the quiet ones first, then the least disturbed."""

    def worse(index: int) -> tuple[bool, float, int]:
        disturbed = done[index].disturbed
        return disturbed, done[index].others if disturbed else 0.0, index

    kept = sorted(range(len(done)), key=worse)[:wanted]
    return [Round(each.turns, each.disturbed, index in kept) for index, each in enumerate(done)]
