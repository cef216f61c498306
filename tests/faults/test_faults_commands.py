"""Commands that write a file: killed, or on a full disk, they leave the old file or the new one.

As in test_faults_train.py, `MINRAN_FAULT_SEED=N` says which points are tried, and
`MINRAN_FAULT_LONG=1` tries all of them.
"""

from __future__ import annotations

import errno
import io
import signal
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from faults.fault_helpers import chosen, count_points, disturbed, needs_fork
from PIL import Image

from minran.cli import main
from minran.files import is_temporary

pytestmark = [needs_fork, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

OLD = b"what was here before"

COMMANDS = {
    "plot": ("plot {run} --out {out}/curves.svg", ["curves.svg"]),
    "masks": (
        "masks {run} --figure before-after --count 1 --out {out}/m.svg",
        ["m-stage-1.svg", "m-stage-2.svg"],
    ),
    "gradcam": ("gradcam {run} --count 1 --out {out}/seen.png", ["seen.png"]),
    "graph": ("graph attention_nano --depth 1 --out {out}/net.svg", ["net.svg"]),
    "predict": ("predict {run} {picture} --out {out}/answers.pdf", ["answers.pdf"]),
    "export": ("export {run} --out {out}/model.onnx", ["model.onnx"]),
}
"""Each command, and the files that it writes."""


@pytest.fixture(autouse=True)
def _same_bytes_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without names drawn at random and the time of day in SVG and PDF."""
    monkeypatch.setitem(matplotlib.rcParams, "svg.hashsalt", "faults")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


@pytest.fixture
def command(
    request: pytest.FixtureRequest, reference: Path, tmp_path: Path
) -> tuple[Callable[[Path], list[str]], dict[str, bytes]]:
    """The command line that writes into a given folder, and what it writes when all goes well."""
    line, names = COMMANDS[request.param]
    if request.param == "export":
        pytest.importorskip("onnx")
    picture = tmp_path / "picture.png"
    Image.fromarray(np.zeros((32, 32, 3), dtype=np.uint8)).save(picture)

    def words(folder: Path) -> list[str]:
        return [part.format(run=reference, picture=picture, out=folder) for part in line.split()]

    # In this process, so that the children find everything imported.
    whole = filled(tmp_path / "whole", names)
    succeeds(words(whole))
    written = {name: (whole / name).read_bytes() for name in names}
    assert OLD not in written.values()
    return words, written


def filled(folder: Path, names: list[str]) -> Path:
    """A folder in which every file is there already, with other content."""
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(OLD)
    return folder


def succeeds(words: list[str]) -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
        assert main(words) == 0, errors.getvalue()


def finds_the_disk_full(words: list[str]) -> None:
    """The command ends with one sentence that names a file and the reason."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
        assert main(words) == 2
    said = errors.getvalue()
    assert said.count("\n") == 1
    assert "could not write" in said and "No space left on device" in said
    assert "what was there before is unchanged" in said


def expect_old_or_new(folder: Path, written: dict[str, bytes]) -> int:
    """No file is torn, and nothing else lies there but temporary files; how many are new."""
    for path in folder.iterdir():
        assert path.name in written or is_temporary(path), path
    found = [(folder / name).read_bytes() for name in written]
    for content, new in zip(found, written.values(), strict=True):
        assert content in (OLD, new)
    return sum(content != OLD for content in found)


@pytest.mark.parametrize("command", COMMANDS, indirect=True)
def test_killed_at_points(
    command: tuple[Callable[[Path], list[str]], dict[str, bytes]], tmp_path: Path
) -> None:
    words, written = command
    counted = filled(tmp_path / "counted", list(written))
    points = count_points(counted, lambda: succeeds(words(counted)))
    assert expect_old_or_new(counted, written) == len(written)
    assert len(list(counted.iterdir())) == len(written)
    assert points >= 8 * len(written)
    new = []
    for at in chosen(points, 3 * len(written)):
        folder = filled(tmp_path / str(at), list(written))
        work = lambda folder=folder: succeeds(words(folder))  # noqa: E731
        assert disturbed(folder, at, work) == -signal.SIGKILL, at
        new.append(expect_old_or_new(folder, written))
    assert new == sorted(new)
    # What the killed process left is in nobody's way.
    succeeds(words(folder))
    assert expect_old_or_new(folder, written) == len(written)


@pytest.mark.parametrize("command", COMMANDS, indirect=True)
def test_a_full_disk(
    command: tuple[Callable[[Path], list[str]], dict[str, bytes]], tmp_path: Path
) -> None:
    words, written = command
    counted = filled(tmp_path / "counted", list(written))
    points = count_points(counted, lambda: succeeds(words(counted)), errno.ENOSPC)
    # The last point is the removal of a temporary file that has its place already.
    for at in chosen(points - 1, 2 * len(written)):
        folder = filled(tmp_path / str(at), list(written))
        work = lambda folder=folder: finds_the_disk_full(words(folder))  # noqa: E731
        assert disturbed(folder, at, work, errno.ENOSPC) == 0, at
        assert expect_old_or_new(folder, written) < len(written)
