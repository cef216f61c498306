"""What is written is there whole, or what was there before is; no torn file, nothing left over."""

from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from minran import cli, inspect
from minran.errors import DataError, MinranError
from minran.files import expect_writable, write_atomically
from minran.inspect.style import save_figure
from minran.workshop.bench import report

ROWS = [{"kind": "epoch", "step": 1, "epoch": 1, "train_loss": 1.0}]

WRITERS: dict[str, tuple[str, Any]] = {
    "figure": ("x.png", lambda path: save_figure(inspect.curves_figure({"a": ROWS}), path)),
    "drawing": ("x.svg", lambda path: inspect.Svg("<svg/>" * 2000).save(path)),
    "bench": ("x.json", lambda path: report.save(path, {"rows": list(range(5000))})),
    "text": ("x.md", lambda path: write_atomically(path, "word " * 2000, DataError)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_leaves_the_earlier_file(kind, tmp_path, monkeypatch) -> None:
    name, write = WRITERS[kind]
    (tmp_path / name).write_text("the earlier one")

    def full(descriptor: int) -> None:
        os.truncate(descriptor, 7)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MinranError, match=r"No space left on device.*unchanged"):
        write(tmp_path / name)
    assert (tmp_path / name).read_text() == "the earlier one"
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and limits")
@pytest.mark.parametrize("kind", WRITERS)
def test_a_limit_on_the_size_of_files(kind, tmp_path) -> None:
    """The system's own refusal, in a child: a byte over the limit, the file is not there."""
    import resource

    name, write = WRITERS[kind]
    (tmp_path / name).write_text("the earlier one")
    child = os.fork()
    if child == 0:
        status = 9
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            write(tmp_path / name)
        except MinranError:
            status = 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert (tmp_path / name).read_text() == "the earlier one"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_what_killed_commands_left_goes_with_the_next_one(tmp_path) -> None:
    """Only what is old, is of this file, and is of a process that is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {
        f".x.md.{process}.minran-tmp"
        for process in (gone.pid, f"{gone.pid}.1", f"{gone.pid}{10**12}", os.getppid(), "word")
    }
    names |= {f".[x].md.{gone.pid}.minran-tmp", f".y.md.{gone.pid}.minran-tmp"}
    for name in names:
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    (tmp_path / f".z.md.{gone.pid}.minran-tmp").write_text("half")
    for name in ("x.md", "z.md"):
        write_atomically(tmp_path / name, "whole")
    there = {file.name for file in tmp_path.iterdir()}
    assert names - there == {f".x.md.{gone.pid}.minran-tmp"}
    assert f".z.md.{gone.pid}.minran-tmp" in there
    write_atomically(tmp_path / "[x].md", "whole")
    assert not (tmp_path / f".[x].md.{gone.pid}.minran-tmp").exists()


def test_a_place_is_asked_for_before_the_work(tmp_path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert expect_writable(tmp_path / "X.PNG", (".png",), "--out").name == "X.PNG"
    for path, words in (("folder.png", "is a folder"), ("no/x.png", "no folder"), ("x", "end in")):
        with pytest.raises(DataError, match=words):
            expect_writable(tmp_path / path, (".png",), "--out")


def test_no_command_writes_a_figure_another_way() -> None:
    """`savefig` and `write_text` leave half a file when they are cut off."""
    root = Path(cli.__file__).parent.parent
    own = {root / "inspect" / name for name in ("style.py", "picture.py")}
    for part in ("cli", "inspect", "interop", "workshop/ablate", "workshop/bench"):
        files = list((root / part).rglob("*.py"))
        assert files, part
        for file in files:
            wrong = {"write_text", "write_bytes", *(() if file in own else ("savefig",))}
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                assert getattr(node, "attr", "") not in wrong, f"{file}: not whole or not at all"
