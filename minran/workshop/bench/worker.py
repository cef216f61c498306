"""The process that holds one contender: `-m minran.workshop.bench.worker '{"adapter": ...}'`.

A process for each keeps their memory, their threads and their allocators apart. It reads one
JSON object a line from standard input and answers each with one line:

    {"do": "prepare", "job": ..., "options": ..., "warmup": 2}  ->  {"seconds": of one call}
    {"do": "run", "repeat": 3}                                  ->  {"seconds": of all three}
    {"do": "facts"}                                             ->  versions, memory
    {"do": "kernels", "repeat": 3}                              ->  seconds by GPU kernel

or with {"absent": true} for a job it does not have, or {"error": "..."}. `Worker` is the side that
asks. If `mpiexec` started several processes, process 0 reads and answers, the others do the same.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import TIMEOUT_MAX, Timer
from typing import Any

import minran
from minran import distributed
from minran.errors import MinranError
from minran.machine import peak_bytes
from minran.workshop.bench.adapters import Adapter, NotHere, Work, load
from minran.workshop.bench.contenders import Contender, find_mpiexec
from minran.workshop.bench.rounds import Settings

THREADS = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "MINRAN_NUM", "NUM_CPU")
"""Of the variables ..._THREADS that frameworks read."""

NAP = 0.001
"""Seconds between two looks for a message. MPI itself waits without ever sleeping, which would
take a core from the contender whose turn it is."""


class WorkerError(MinranError, RuntimeError):
    """A contender could not do its job; the others go on."""


class Worker(contextlib.AbstractContextManager["Worker"]):
    """One contender in a process of its own. A context manager: the process ends with the block.

    Of `settings`, the threads, device and precision are the contender's; one that is parallel
    deals the threads to its processes. timeout: seconds that any one answer may take. Raises
    WorkerError when it cannot be made.
    """

    def __init__(
        self, contender: Contender, settings: Settings, timeout: float = TIMEOUT_MAX
    ) -> None:
        self.label, self.timeout = contender.label, timeout
        processes = settings.processes if contender.options.get("parallel") else 1
        threads = max(1, settings.threads // processes)
        described = {"adapter": contender.adapter, "threads": threads, **contender.options}
        described |= {"device": settings.device, "precision": settings.precision}
        mpiexec = find_mpiexec() if processes > 1 else None
        launcher = [mpiexec, "-n", str(processes)] if mpiexec else []
        # Open for as long as the process runs, which is longer than any block here.
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [*launcher, sys.executable, "-m", __name__, json.dumps(described)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            env=environment(threads),
        )
        self.pid = self._process.pid
        try:
            self._answer(timeout)
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, timeout: float | None = None, **options: Any) -> dict[str, Any]:
        """One question and its answer. Raises WorkerError if the worker failed or timed out."""
        with contextlib.suppress(OSError):  # it has died: the missing answer tells
            print(json.dumps({"do": do, **options}), file=self._process.stdin, flush=True)
        return self._answer(timeout or self.timeout)

    def _answer(self, timeout: float) -> dict[str, Any]:
        late: list[bool] = []

        def stop() -> None:
            late.append(True)
            self._process.kill()

        timer = Timer(timeout, stop)
        timer.daemon = True
        timer.start()
        try:
            line = self._process.stdout.readline() if self._process.stdout else ""
        finally:
            timer.cancel()
        if late:
            raise WorkerError(f"{self.label}: stopped, not done within {timeout:.0f} s")
        if not line:
            raise WorkerError(f"{self.label}: ended unexpectedly{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.label}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        """The last error that it wrote to standard error, or the last line at all."""
        status = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        found = [line for line in lines if "Error: " in line] or lines
        return f" ({found[-1]})" if found else f" with status {status}"

    def close(self) -> None:
        """End the process: kindly, then not."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._process.kill()
        self.close()


def environment(threads: int) -> dict[str, str]:
    """The environment of a worker: this minran, and `threads` threads for whoever reads them."""
    root = str(Path(minran.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    limits = {f"{name}_THREADS": str(threads) for name in THREADS}
    return {**os.environ, "PYTHONPATH": path, **limits}


# In the process itself


def main() -> None:
    """Make the adapter that the command line describes, then answer until the input ends."""
    # Some frameworks print while they compile: what they print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for reply in replies(json.loads(sys.argv[1]), sys.stdin):
        print(json.dumps(reply), file=answers, flush=True)


def replies(described: dict[str, Any], asks: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The answers to `asks`; the first one says that the adapter is made."""
    try:
        adapter = load(described.pop("adapter"), **described)
    except Exception as error:
        yield _failure(error)
        return
    bench = Bench(adapter)
    answers = (bench.reply(**json.loads(line)) for line in heard(asks))
    for answer in itertools.chain([{"ready": True}], answers):
        if distributed.leads():
            yield answer


def heard(asks: Iterable[str]) -> Iterator[str]:
    """The lines that process 0 reads, in all processes."""
    world: Any = distributed.current()
    if distributed.leads():
        for line in itertools.chain(asks, [None]):
            for rank in range(1, world.size):
                world.comm.send(line, rank)
            if line is not None:
                yield line
        return
    while True:
        while not world.comm.Iprobe(source=0):
            time.sleep(NAP)
        told = world.comm.recv(source=0)
        if told is None:
            return
        yield told


class Bench:
    """One adapter and the job that it has prepared; a method for each thing to ask, see above."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.work: Work = nothing
        self.baseline = peak_bytes()

    def reply(self, do: str, **options: Any) -> dict[str, Any]:
        """Do what is asked; whatever goes wrong is an answer, too."""
        try:
            return getattr(self, do)(**options)
        except NotHere:
            return {"absent": True}
        except Exception as error:
            if distributed.current().size > 1:
                # The others would wait for ever: end them all, with the reason.
                distributed.fail(f"{type(error).__name__}: {error}", 1)
            return _failure(error)

    def prepare(self, job: str, options: dict[str, Any], warmup: int = 2) -> dict[str, Any]:
        self.work = nothing
        work = self.adapter.prepare(job, options)
        # At least twice: the first call compiles.
        seconds = [self.adapter.timed(work, 1) for _ in range(max(2, warmup))]
        self.work = work
        return {"seconds": min(seconds[1:])}

    def run(self, repeat: int = 1) -> dict[str, Any]:
        return {"seconds": self.adapter.timed(self.work, repeat)}

    def kernels(self, repeat: int = 3) -> dict[str, Any]:
        return {"kernels": self.adapter.kernels(self.work, repeat)}

    def facts(self) -> dict[str, Any]:
        adapter = self.adapter
        if not adapter.packages:
            return {}
        imported, peak = map(int, distributed.sum_numbers(self.baseline, peak_bytes()))
        return {
            "versions": adapter.versions(),
            "parameters": adapter.parameters,
            "import_bytes": imported,
            "peak_bytes": peak,
            "device_bytes": adapter.device_bytes(),
        }


def nothing() -> object:
    """What is done before a job is prepared."""
    raise NotHere


def _failure(error: Exception) -> dict[str, Any]:
    traceback.print_exc()
    first = [*str(error).strip().splitlines(), "no message"][0]
    return {"error": f"{type(error).__name__}: {first}"}


if __name__ == "__main__":
    main()
