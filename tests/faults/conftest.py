"""One run that nothing disturbs, for all tests of faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.fault_helpers import LONG, SEED, TALLY, small

from minran.backend import cpu
from minran.train import train


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert train(small(), folder, quiet=True).finished
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Bits do not depend on it, and children start sooner."""
    before = cpu.threads()
    cpu.set_threads(1)
    yield
    cpu.set_threads(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which choice of faults this was, and how many there were."""
    if TALLY:
        form = "long" if LONG else "short"
        counts = ", ".join(f"{count} {what}" for what, count in sorted(TALLY.items()))
        terminalreporter.write_line(f"faults ({form} form, seed {SEED}), children: {counts}")
