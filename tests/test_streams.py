"""Readers, terminals and disks that go away neither stop a command nor change what it does."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import pty
import signal
import subprocess
import sys
import termios
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from train.train_helpers import TINY, tiny

from minran import streams
from minran.cli import main
from minran.errors import OutputError
from minran.streams import Output, progress_bar
from minran.train import Run, read_history, train

TIME_LIMIT = 60


class Writer:
    """The least that a stream can be."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class Broken(io.StringIO):
    """A stream whose every use is an error, of any kind."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    flush = isatty = fileno = lambda self: self.write("")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


BAD = [
    None,
    object(),
    closed(),
    Broken(BrokenPipeError(errno.EPIPE, "Broken pipe")),
    Broken(OSError(errno.EIO, "Input/output error")),
    Broken(ZeroDivisionError()),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: type(bad).__name__)
def test_an_output_never_raises(bad: Any) -> None:
    output = Output(bad)
    print("lost", file=output, flush=True)
    print("lost too", file=output, flush=True)
    assert output.isatty() is False
    bar = progress_bar(range(3), output=output, show=True, mininterval=0)
    assert list(bar) == [0, 1, 2]


def test_a_letter_that_the_console_lacks_is_written_as_a_number() -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="\n")
    print("caf\xe9 \u732b \udcff", file=Output(console), flush=True)
    assert console.buffer.getvalue() == b"caf\xe9 \\u732b \\udcff\n"


def test_a_failure_that_may_pass_is_forgotten() -> None:
    """A signal came in the middle of a write, or a pipe was full for a moment."""
    for passing in (RuntimeError("reentrant call"), BlockingIOError(errno.EAGAIN, "full")):
        stream = Broken(passing)
        output = Output(stream)
        output.write("lost")
        assert output.failure is None
        output.stream = Writer()
        output.write("arrives")
        assert output.stream.text == "arrives"


def test_within_the_block_streams_are_sturdy_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for gone in BAD[:5]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", gone)
            patch.setattr(sys, "stderr", gone)
            with streams.sturdy():
                print("lost", flush=True)
                print("lost", file=sys.stderr, flush=True)
            assert sys.stdout is gone and sys.stderr is gone


def test_what_a_full_disk_took_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Broken(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(OutputError, match="output is not complete: No space"), streams.sturdy():
        print("lost")
    assert sys.stdout is full


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: type(bad).__name__)
def test_training_goes_on_without_streams(
    bad: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a script that calls `train`, with the wish to stop told to nobody."""
    monkeypatch.setattr(sys, "stdout", bad)
    monkeypatch.setattr(sys, "stderr", bad)
    rows: list[Any] = []

    def on_row(row: dict[str, Any]) -> None:
        rows.append(row)
        if len(rows) == 5:
            signal.raise_signal(signal.SIGTERM)

    assert not train(tiny(), tmp_path / "run", on_row=on_row).finished
    assert train(tiny(), tmp_path / "run", resume=True).finished
    assert len(read_history(Run(tmp_path / "run").history_file)) == 8


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_bar_that_breaks_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tqdm

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def broken(self: Any, n: int = 1) -> None:
        raise AttributeError("no such thing in this version")

    for way in ("__init__", "update", "clear", "close"):
        with monkeypatch.context() as patch:
            patch.setattr(tqdm.tqdm, way, broken)
            patch.setattr(sys, "stderr", Terminal())
            assert train(tiny("training.epochs=1"), tmp_path / way).finished


# --- commands as people start them


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`command` in bash, where `minran` is this one; its status is that of minran."""
    (folder / "tiny.toml").write_text(TINY)
    minran = f"{sys.executable} -m minran"
    return subprocess.run(
        ["bash", "-c", command.replace("minran", minran) + "; exit ${PIPESTATUS[0]}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(streams.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )


TRAIN = "minran train --recipe tiny.toml --name a"


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        ("| head -1", 0, ""),
        ("2>&1 | true", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("> /dev/full", 2, "minran: standard output is not complete: No space left on device\n"),
    ],
)
def test_training_goes_on_to_its_end(end: str, status: int, said: str, tmp_path: Path) -> None:
    done = shell(f"{TRAIN} {end}", tmp_path)
    assert (done.returncode, done.stderr) == (status, said)
    run = Run(tmp_path / "runs" / "a")
    assert run.progress().finished and len(read_history(run.history_file)) == 8


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("minran train --list | head -1", 0, ""),
        ("minran --help | true", 0, ""),
        ("minran runs >&- 2>&- <&-", 0, ""),
        ("minran runs > /dev/full", 2, "standard output is not complete: No space left on device"),
        ("minran --help > /dev/full", 2, "standard output is not complete: No space"),
        ("minran runs missing > /dev/full", 2, "there is no folder missing"),
        ("minran runs missing 2>&-", 2, ""),
        ("minran runs missing 2> /dev/full", 2, ""),
    ],
)
def test_tables_end_without_a_word_of_the_reader(
    command: str, status: int, said: str, tmp_path: Path
) -> None:
    done = shell(command, tmp_path)
    assert done.returncode == status
    assert said in done.stderr
    assert done.stderr.count("\n") == bool(said)


def test_files_are_not_written_to_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """With `>&-`, the first file that is opened would get the number of standard output."""
    program = (
        "import os, sys\n"
        "from minran import streams\n"
        "with streams.sturdy():\n"
        "    numbers = [os.open('kept.bin', os.O_RDWR | os.O_CREAT)]\n"
        "    os.write(1, b'from C'), os.write(2, b'from C')\n"
        "sys.exit(numbers[0] < 3 or os.path.getsize('kept.bin') > 0)"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{program}" <&- >&- 2>&-'],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(streams.__file__).parents[1])},
    )
    assert done.returncode == 0


def in_terminal(
    tmp_path: Path, hangup: Any, epochs: int = 12
) -> tuple[subprocess.Popen[bytes], int]:
    """Train for long in a terminal of its own, up to the first reading of the bar there."""
    (tmp_path / "long.toml").write_text(TINY.replace("epochs = 2", f"epochs = {epochs}"))
    master, slave = pty.openpty()
    termios.tcsetwinsize(master, (24, 80))  # a bar has no room in a terminal of no size

    def own_terminal() -> None:
        signal.signal(signal.SIGHUP, hangup)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    child = subprocess.Popen(
        [sys.executable, "-m", "minran", "train", "--recipe", "long.toml", "--name", "a"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(streams.__file__).parents[1])},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=own_terminal,
    )
    os.close(slave)
    shown = b""
    while b"img/s" not in shown:  # at the child's end, reading is an error
        shown += os.read(master, 1000)
    return child, master


def test_a_terminal_closes_over_nohup(tmp_path: Path) -> None:
    child, master = in_terminal(tmp_path, signal.SIG_IGN)
    os.close(master)
    assert child.wait(TIME_LIMIT) == 0
    assert Run(tmp_path / "runs" / "a").progress().finished


def test_a_terminal_closes(tmp_path: Path) -> None:
    """As Ctrl-C: the step is finished, a checkpoint written."""
    child, master = in_terminal(tmp_path, signal.SIG_DFL)
    os.close(master)
    assert child.wait(TIME_LIMIT) == 130
    run = Run(tmp_path / "runs" / "a")
    assert 0 < run.progress().step < 72 and not run.progress().finished


def test_a_terminal_shows_a_bar_and_lines(tmp_path: Path) -> None:
    child, master = in_terminal(
        tmp_path, signal.SIG_DFL, epochs=1000
    )  # not over when it is told to stop
    shown, deadline = b"", time.monotonic() + TIME_LIMIT
    while b"epoch   3" not in shown and time.monotonic() < deadline:
        shown += os.read(master, 1000)
    assert b"epoch 2" in shown  # the bar, whose first reading had no epoch yet
    child.send_signal(signal.SIGINT)
    while b"--resume" not in shown and time.monotonic() < deadline:
        shown += os.read(master, 1000)
    assert b"stopping after this step" in shown
    assert child.wait(TIME_LIMIT) == 130
    os.close(master)


def test_a_command_may_be_called_within_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    filters, form = list(warnings.filters), warnings.formatwarning
    assert main(["runs", "missing"]) == 2
    assert (warnings.filters, warnings.formatwarning) == (filters, form)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert (sys.stdout, sys.stderr) == before
    captured = capsys.readouterr()
    assert captured.out.startswith("minran ") and "missing" in captured.err
