"""What a person sees of a run while it goes on, how they end it, and runs in a table."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from minran import distributed
from minran.errors import CheckpointError, MinranError, expect
from minran.hints import checked
from minran.streams import Output, progress_bar, text_table, visible
from minran.train.checkpoint import Progress
from minran.train.history import read_history
from minran.train.run import Run


class Reporter(AbstractContextManager["Reporter"]):
    """A progress bar in a terminal, one plain line per epoch when the output is piped."""

    def __init__(self, steps: int, batch_size: int, quiet: bool) -> None:
        self.steps, self.batch_size, self.quiet = steps, batch_size, quiet
        self.output, self.errors = Output(sys.stdout), Output(sys.stderr)
        self.interactive = self.errors.isatty() and not quiet
        self.bar: Any = None

    def __exit__(self, *exc: object) -> None:
        with suppress(Exception):
            self.bar.close()

    def step(self, progress: Progress, loss: float) -> None:
        """After every step."""
        if not self.interactive:
            return
        try:
            if self.bar is None:
                sizes = self.steps * self.batch_size, (progress.step - 1) * self.batch_size
                look: Any = {"unit": "img", "smoothing": 0.05, "output": self.errors}
                self.bar = progress_bar(total=sizes[0], initial=sizes[1], **look)
            self.bar.set_description(f"epoch {progress.epoch + 1}", refresh=False)
            accuracy = progress.correct / progress.seen
            self.bar.set_postfix(loss=f"{loss:.3f}", acc=f"{accuracy:.1%}", refresh=False)
            self.bar.update(self.batch_size)
        except Exception:  # whatever ails a bar, it is not worth a run
            self.interactive = False

    def epoch(self, row: dict[str, Any]) -> None:
        """After every epoch."""
        tested = f", test {row['test_accuracy']:.2%}" if "test_accuracy" in row else ""
        self.say(
            f"epoch {row['epoch']:3d}  step {row['step']:6d}  loss {row['train_loss']:.4f}  "
            f"train {row['train_accuracy']:.2%}{tested}  ({row['seconds']:.0f} s)"
        )

    def say(self, text: str) -> None:
        """One line, above the bar if there is one."""
        if self.interactive:
            with suppress(Exception):
                self.bar.clear()
        if not self.quiet:
            print(text, file=self.errors if self.interactive else self.output, flush=True)


class StopRequest:
    """Turns Ctrl-C, a polite kill and a terminal that closes into a wish to stop after the step.

    A step that is cut in the middle leaves half-moved parameters; so the first signal only
    sets `requested`, and a second one interrupts at once. Signals reach the main thread only:
    elsewhere `requested` is set by hand. Where SIGHUP is ignored (nohup), it stays so. `end` is
    when it is time to stop anyway, by `time.perf_counter`.
    """

    def __init__(self, quiet: bool = False, end: float = math.inf) -> None:
        self.requested = False
        self.quiet, self.end = quiet, end
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether any process was asked to stop: all end with the same step, or none does."""
        late = time.perf_counter() > self.end
        return distributed.sum_numbers(self.requested or late) != [0]

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is None or (name, signal.getsignal(number)) == ("SIGHUP", signal.SIG_IGN):
                    continue
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # The signal may have come in the middle of another print, or from a terminal that closes.
        if not self.quiet:
            wait = "\nstopping after this step (once more to stop at once)"
            print(wait, file=Output(sys.stderr))


@dataclass
class RunSummary:
    """What the table says about one run; accuracies are 0 to 1, None before the first test."""

    name: str
    model: str = ""
    data: str = ""
    epochs: str = ""  # epochs done and all, such as "3/8"
    best_accuracy: float | None = None
    last_accuracy: float | None = None
    minutes: float = 0.0
    status: str = "interrupted"
    """"finished", "running", "interrupted", or "damaged: " and what is wrong."""


@checked(CheckpointError)
def list_runs(folder: str | Path) -> list[RunSummary]:
    """The runs in `folder` and below it, by name; none if there is no such folder."""
    folder = Path(folder)
    expect(not folder.is_file(), f"list_runs: {folder} is a file, not a folder", CheckpointError)
    return [
        _summarise(file.parent, str(file.parent.relative_to(folder)))
        for file in sorted(folder.glob("**/recipe.toml"))
    ]


@checked(CheckpointError)
def compare(runs: list[RunSummary]) -> str:
    """A text table of runs, one a line."""
    if not runs:
        return "there are no runs yet; start one with minran train"
    lines = [("run", "model", "data", "epochs", "best", "last", "minutes", "status")]
    for run in runs:
        words = _cell(run.name), _cell(run.model), _cell(run.data), run.epochs
        tests = _percent(run.best_accuracy), _percent(run.last_accuracy)
        lines.append((*words, *tests, f"{run.minutes:.1f}", _cell(run.status, 200)))
    return "\n".join(text_table(lines, right=range(3, 7)))


def _summarise(folder: Path, name: str) -> RunSummary:
    """One run; a run that cannot be read is listed as damaged, and does not hide the others."""
    run, name = Run(folder), name if name != "." else folder.resolve().name
    try:
        recipe, progress = run.recipe(), run.progress()
        rows = read_history(run.history_file) if run.history_file.exists() else []
    except (MinranError, OSError) as error:
        return RunSummary(name, status=f"damaged: {error}")
    epochs = [row for row in rows if row["kind"] == "epoch"]
    tests = [row["test_accuracy"] for row in epochs if row.get("test_accuracy") is not None]
    planned: Any = recipe.training.epochs
    if recipe.training.iterations:  # how many epochs that makes is known after the first
        every = epochs[0].get("step") if epochs else None
        planned = -(-progress.total_steps // every) if every and progress.total_steps else "?"
    ended = "finished" if progress.finished else "interrupted"
    return RunSummary(
        name,
        recipe.model.name,
        recipe.data.name,
        f"{len(epochs)}/{planned}",
        best_accuracy=max(tests, default=None),
        last_accuracy=tests[-1] if tests else None,
        minutes=max([progress.seconds, *(row.get("seconds") or 0 for row in epochs)]) / 60,
        status="running" if run.is_running() else ended,
    )


def _cell(text: str, width: int = 60) -> str:
    """`text` on one line, without what would move a terminal's cursor, and not too long."""
    shown = visible(text)
    return shown if len(shown) <= width else shown[: width - 3] + "..."


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
