"""The process that holds one contender: `-m minran.workshop.bench.worker '{"adapter": ...}'`.

A process for each keeps their memory, their threads and their allocators apart. It reads one
JSON object a line from standard input and answers each with one line:

    {"do": "prepare", "job": ..., "options": ..., "warmup": 2}  ->  {"seconds": of one call}
    {"do": "run", "repeat": 3}                                  ->  {"seconds": of all three}
    {"do": "facts"}                                             ->  versions, memory
    {"do": "kernels", "repeat": 3}                              ->  seconds by GPU kernel

or with {"absent": true} for a job it does not have, or {"error": "..."}.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from minran.machine import peak_bytes
from minran.workshop.bench.adapters import Adapter, NotHere, Work, load


def main() -> None:
    """Make the adapter that the command line describes, then answer until the input ends."""
    # Some frameworks print while they compile: what they print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    described = json.loads(sys.argv[1])
    for reply in replies(described, sys.stdin):
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def replies(described: dict[str, Any], asks: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The answers to `asks`; the first one says that the adapter is made."""
    try:
        adapter = load(described.pop("adapter"), **described)
    except Exception as error:
        yield _failure(error)
        return
    bench = Bench(adapter)
    if adapter.speaks:
        yield {"ready": True}
    for line in adapter.asks(asks):
        reply = bench.reply(**json.loads(line))
        if adapter.speaks:
            yield reply


class Bench:
    """One adapter and the job that it has prepared; a method for each thing to ask."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.work: Work | None = None
        self.baseline = peak_bytes()

    def reply(self, do: str, **options: Any) -> dict[str, Any]:
        """Do what is asked; whatever goes wrong is an answer, too."""
        try:
            answer: dict[str, Any] = getattr(self, do)(**options)
            return answer
        except NotHere as why:
            return {"absent": True, "why": str(why)}
        except Exception as error:
            self.adapter.failed(error)
            return _failure(error)

    def prepare(self, job: str, options: dict[str, Any], warmup: int = 2) -> dict[str, Any]:
        """Build the job and do it `warmup` times (at least twice: the first call compiles)."""
        self.work = None
        work = self.adapter.prepare(job, options)
        seconds = [self.adapter.timed(work, 1) for _ in range(max(2, warmup))]
        self.work = work
        return {"seconds": min(seconds[1:])}

    def run(self, repeat: int = 1) -> dict[str, Any]:
        """Do the prepared job `repeat` times."""
        return {"seconds": self.adapter.timed(self._prepared(), repeat)}

    def kernels(self, repeat: int = 3) -> dict[str, Any]:
        """Seconds of one call by kernel, where the adapter can tell."""
        return {"kernels": self.adapter.kernels(self._prepared(), repeat)}

    def facts(self) -> dict[str, Any]:
        """Versions, parameters of the network, and memory until now."""
        return {
            "versions": self.adapter.versions(),
            "parameters": self.adapter.parameters,
            "step_bytes": self.adapter.step_bytes,
            "import_bytes": self.adapter.total(self.baseline),
            "peak_bytes": self.adapter.total(peak_bytes()),
            "device_bytes": self.adapter.device_bytes(),
        }

    def _prepared(self) -> Work:
        if self.work is None:
            raise NotHere
        return self.work


def _failure(error: Exception) -> dict[str, Any]:
    traceback.print_exc()
    first = str(error).strip().splitlines()
    return {"error": f"{type(error).__name__}: {first[0] if first else 'no message'}"}


if __name__ == "__main__":
    main()
