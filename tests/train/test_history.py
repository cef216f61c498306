from __future__ import annotations

import errno
import json
import math
import os

import pytest

from minran.errors import CheckpointError
from minran.train import History, read_history

ROWS = [{"kind": "step", "step": s, "loss": 1 / s} for s in (1, 2, 3)]
ROWS += [{"kind": "epoch", "step": 3, "epoch": 1, "train_loss": 0.1 + 0.2}]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run" / "history.jsonl"
    history = History(path)
    for row in ROWS:
        history.append(row)
    return path


def test_rows_are_one_json_object_a_line_and_come_back_exactly(file):
    assert [json.loads(line) for line in file.read_text().splitlines()] == ROWS
    assert read_history(file) == ROWS
    assert History(file).epochs == ROWS[-1:]


@pytest.mark.parametrize("missing", [1, 2, 40])
def test_a_last_line_cut_off_is_left_out_and_not_written_behind(file, missing):
    os.truncate(file, file.stat().st_size - missing)
    assert read_history(file) == ROWS[:-1]
    history = History(file)
    assert history.rows == ROWS[:-1]
    history.append({"kind": "step", "step": 4})
    assert read_history(file) == [*ROWS[:-1], {"kind": "step", "step": 4}]


@pytest.mark.parametrize("keep", [0, 1, 3, 4])
def test_going_back_to_a_checkpoint(file, keep):
    with open(file, "a") as open_file:
        open_file.write('{"kind": "st')
    history = History(file, keep)
    assert history.rows == read_history(file) == ROWS[:keep]
    for row in ROWS[keep:]:
        history.append(row)
    assert read_history(file) == ROWS


def test_a_history_shorter_than_its_checkpoint_is_refused(file):
    before = file.read_bytes()
    with pytest.raises(CheckpointError, match="has 4 rows, but its checkpoint was made after 5"):
        History(file, keep=5)
    assert file.read_bytes() == before


def test_a_whole_history_is_not_written_again(file):
    before = file.stat().st_mtime_ns, file.stat().st_ino
    History(file, keep=4)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


@pytest.mark.parametrize(
    "line",
    [
        *("{", "3", "[]", '{"step": 1}', "", "\ufffd\0\0", '{"kind": "step"}}', "\ufeff{}", "null"),
        *("[" * 100_000, '{"kind":' * 100_000, '{"kind": "step", "step": ' + "9" * 5000 + "}"),
        *('{"kind": 5}', '{"kind": ["epoch"]}', '{"kind": "step", "step": -1}'),
        *('{"kind": "step", "step": null}', '{"kind": "epoch", "epoch": 1.5}'),
        *('{"kind": "step", "step": true}', '{"kind": "step", "step": 1e400}'),
        *('{"kind": "step", "loss": NaN}', '{"kind": "epoch", "seconds": "1"}'),
        *('{"kind": "epoch", "test_accuracy": [1]}', '{"kind": "epoch", "test_loss": -Infinity}'),
    ],
    ids=lambda line: f"{line:.30}",
)
def test_another_damaged_line_is_named(file, line):
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], line + "\n", *lines[1:]]))
    with pytest.raises(CheckpointError, match=r"history\.jsonl, line 2 is"):
        read_history(file)


def test_a_missing_history(tmp_path):
    with pytest.raises(CheckpointError, match="there is no history"):
        read_history(tmp_path / "none.jsonl")
    assert History(tmp_path / "none.jsonl").rows == []
    assert not (tmp_path / "none.jsonl").exists()


def test_numbers_that_are_not_finite_stay_json(file):
    row = History(file).append({"kind": "epoch", "test_loss": math.inf, "x": math.nan})
    assert row == read_history(file)[-1] == {"kind": "epoch", "test_loss": None, "x": None}
    assert "NaN" not in file.read_text() and "Infinity" not in file.read_text()


def test_a_full_disk_is_one_sentence_and_the_row_does_not_count(file, monkeypatch):
    history = History(file)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"could not write .*No space left on device"):
        history.append({"kind": "step", "step": 4})
    assert history.rows == ROWS


def test_a_text_of_somebody_else_is_refused_and_stays(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my only notes")
    with pytest.raises(CheckpointError, match="ends in what is no row of a history: 'my only"):
        History(path)
    assert path.read_text() == "my only notes"
