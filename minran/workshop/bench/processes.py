"""The parent's side of a contender's process: start it, ask it, end it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import TIMEOUT_MAX, Timer
from typing import Any

import minran
from minran.errors import MinranError
from minran.workshop.bench.contenders import Contender, find_mpiexec
from minran.workshop.bench.rounds import Settings

WORKER = "minran.workshop.bench.worker"

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MINRAN_NUM_THREADS",
    "NUM_CPU_THREADS",
)


class WorkerError(MinranError, RuntimeError):
    """A contender could not do its job; the others go on."""


class Worker:
    """One contender in a process of its own. A context manager: the process ends with the block.

    Of `settings`, the threads, device and precision are the contender's; one that is parallel
    deals the threads to its processes. timeout: seconds that any one answer may take. Raises
    WorkerError when it cannot be made.
    """

    def __init__(
        self, contender: Contender, settings: Settings, timeout: float | None = None
    ) -> None:
        self.contender, self.timeout = contender, timeout
        processes = settings.processes if contender.parallel else 1
        threads = max(1, settings.threads // processes)
        described = {
            "adapter": contender.adapter,
            "threads": threads,
            "device": settings.device,
            "precision": settings.precision,
            **contender.options,
        }
        mpiexec = find_mpiexec() if processes > 1 else None
        launcher = [mpiexec, "-n", str(processes)] if mpiexec else []
        # Open for as long as the process runs, which is longer than any block here.
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [*launcher, sys.executable, "-m", WORKER, json.dumps(described)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=environment(threads),
        )
        try:
            self._answer(timeout)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, do: str, timeout: float | None = None, **options: Any) -> dict[str, Any]:
        """One question and its answer. Raises WorkerError if the worker failed or timed out."""
        with contextlib.suppress(OSError):  # it has died: the missing answer tells
            print(json.dumps({"do": do, **options}), file=self._process.stdin, flush=True)
        return self._answer(timeout or self.timeout)

    def _answer(self, timeout: float | None) -> dict[str, Any]:
        late: list[bool] = []

        def stop() -> None:
            late.append(True)
            self._process.kill()

        timer = Timer(timeout or TIMEOUT_MAX, stop)
        timer.daemon = True
        timer.start()
        try:
            line = self._process.stdout.readline() if self._process.stdout else ""
        finally:
            timer.cancel()
        name = self.contender.label
        if late:
            raise WorkerError(f"{name}: stopped, not done within {timeout:.0f} s")
        if not line:
            raise WorkerError(f"{name}: ended unexpectedly{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        """The last error that it wrote to standard error, or the last line at all."""
        status = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        errors = [line for line in lines if "Error: " in line]
        found = errors or lines
        return f" ({found[-1]})" if found else f" with status {status}"

    def close(self) -> None:
        """End the process: kindly, then not."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._process.kill()
        self.close()


class Starter:
    """A contender whose job is to start a fresh Python that imports something.

    It is asked as a Worker is; to prepare means to start once, so that files come from the disk's
    cache from then on.
    """

    def __init__(
        self, contender: Contender, settings: Settings, timeout: float | None = None
    ) -> None:
        self.contender, self.threads = contender, settings.threads
        self.pid = os.getpid()

    def ask(self, do: str, timeout: float | None = None, **options: Any) -> dict[str, Any]:
        """Seconds of one start."""
        if do == "facts":
            return {}
        begin = time.perf_counter()
        code = f"import {self.contender.imports}"
        subprocess.run([sys.executable, "-c", code], env=environment(self.threads), check=True)
        return {"seconds": time.perf_counter() - begin}

    def close(self) -> None:
        """There is nothing to end."""

    def __enter__(self) -> Starter:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def environment(threads: int) -> dict[str, str]:
    """The environment of a worker: this minran, and `threads` threads for whoever reads them."""
    root = str(Path(minran.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **dict.fromkeys(THREADS, str(threads))}
