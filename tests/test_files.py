"""What is written is there whole, or what was there before is; no torn file, nothing left over."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from minran import ablate, cli, inspect
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


def test_a_place_is_asked_for_before_the_work(tmp_path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert expect_writable(tmp_path / "X.PNG", (".png",), "--out").name == "X.PNG"
    for path, words in (("folder.png", "is a folder"), ("no/x.png", "no folder"), ("x", "end in")):
        with pytest.raises(DataError, match=words):
            expect_writable(tmp_path / path, (".png",), "--out")


def test_no_command_writes_a_figure_another_way() -> None:
    """`savefig` and `write_text` leave half a file when they are cut off."""
    root = Path(cli.__file__).parent.parent
    for part in ("cli", "inspect", "ablate", "bench", "interop"):
        for file in (root / part).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            own = file.name == "style.py"
            for way in (".write_text(", ".write_bytes(", *(() if own else (".savefig(",))):
                assert way not in text, f"{file}: {way} is not whole or not at all"
    assert ablate.write.__doc__
