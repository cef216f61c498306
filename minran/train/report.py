"""What a person sees while a run goes on, and how they end it."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from minran import distributed
from minran.streams import Output, progress_bar
from minran.train.checkpoint import Progress


class Reporter:
    """A progress bar in a terminal, one plain line per epoch when the output is piped.

    Training goes on where neither can be shown (any more).
    """

    def __init__(self, steps: int, batch_size: int, quiet: bool) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.quiet = quiet
        self.output, self.errors = Output(sys.stdout), Output(sys.stderr)
        self.interactive = self.errors.isatty() and not quiet
        self.bar: Any = None

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(Exception):
            self.bar.close()

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        """After every step."""
        if self.interactive:
            try:
                self._move_bar(progress, loss)
            except Exception:  # whatever ails a bar, it is not worth a run
                self.interactive = False

    def _move_bar(self, progress: Progress, loss: float) -> None:
        if self.bar is None:
            pictures = self.steps * self.batch_size
            done = (progress.step - 1) * self.batch_size
            self.bar = progress_bar(
                total=pictures, initial=done, unit="img", smoothing=0.05, output=self.errors
            )
        self.bar.set_description(f"epoch {progress.epoch + 1}", refresh=False)
        accuracy = progress.correct / progress.seen
        self.bar.set_postfix(loss=f"{loss:.3f}", acc=f"{accuracy:.1%}", refresh=False)
        self.bar.update(self.batch_size)

    def epoch(self, row: dict[str, Any]) -> None:
        """After every epoch."""
        tested = f", test {row['test_accuracy']:.2%}" if "test_accuracy" in row else ""
        self.say(
            f"epoch {row['epoch']:3d}  step {row['step']:6d}  loss {row['train_loss']:.4f}  "
            f"train {row['train_accuracy']:.2%}{tested}  ({row['seconds']:.0f} s)"
        )

    def say(self, text: str) -> None:
        """One line, above the bar if there is one."""
        if self.quiet:
            return
        if self.interactive:
            with suppress(Exception):
                self.bar.clear()
            print(text, file=self.errors, flush=True)
        else:
            print(text, file=self.output, flush=True)


class StopRequest:
    """Turns Ctrl-C, a polite kill and a terminal that closes into a wish to stop after the step.

    A step that is cut in the middle leaves half-moved parameters; so the first signal only
    sets `requested`, and a second one interrupts at once. Signals reach the main thread only:
    in another thread nothing changes, and setting `requested` by hand does the same. Where
    SIGHUP is ignored (nohup), a terminal that closes changes nothing either.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.requested = False
        self.quiet = quiet
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether any process was asked to stop: all end with the same step, or none does."""
        return distributed.sum_numbers(self.requested) != [0]

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
        if self.quiet:
            return
        # The signal may have come in the middle of another print, or from a terminal that closes.
        print("\nstopping after this step (once more to stop at once)", file=Output(sys.stderr))
