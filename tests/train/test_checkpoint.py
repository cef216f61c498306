from __future__ import annotations

import errno
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from train_helpers import assert_same_arrays

from minran.errors import CheckpointError
from minran.files import is_temporary
from minran.train import Checkpoint, Progress, load_checkpoint, load_model, save_checkpoint
from minran.train.checkpoint import DTYPES, load_progress


def example(seed=0):
    rng = np.random.default_rng(seed)
    return Checkpoint(
        recipe='name = "é"\n',
        model={
            "stem.0.weight": rng.normal(size=(3, 3, 3, 8)).astype(np.float32),
            "norm.running_var": rng.normal(size=8) ** 2,
            "turned": rng.normal(size=(4, 5)).T,
        },
        preprocess={"mean": rng.normal(size=(32, 32, 3)).astype(np.float32), "std": np.array(64.0)},
        class_names=["cat", 'd"og', "ñandú"],
        progress=Progress(7, 1, 2, 0.1 + 0.2, 3, 8, 1 / 3, 12.5, 4, 12),
        optimizer={"velocity.0": rng.normal(size=(3, 3, 3, 8)).astype(np.float32)},
        data={"labels": np.array(7, np.uint32), "class_means": np.ones((3, 32, 3), np.float32)},
    )


def assert_same(one, other):
    for entry in ("recipe", "class_names", "progress"):
        assert getattr(one, entry) == getattr(other, entry)
    for group in DTYPES:
        assert_same_arrays(getattr(one, group), getattr(other, group))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, example())
    return path


def test_round_trip(file):
    assert_same(load_checkpoint(str(file)), example())
    assert load_progress(file) == example().progress


def test_a_checkpoint_replaces_the_one_before(file):
    save_checkpoint(file, example(1))
    assert_same(load_checkpoint(file), example(1))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_missing(tmp_path):
    for load in (load_checkpoint, load_progress, load_model):
        with pytest.raises(CheckpointError, match=r"there is no checkpoint .*none"):
            load(tmp_path / "none")
        with pytest.raises(CheckpointError, match="there is no checkpoint"):
            load(tmp_path)


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.999])
def test_truncated(file, share):
    os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(CheckpointError, match=r"last\.safetensors is damaged or not a checkpoint"):
        load_checkpoint(file)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, b"PK\3\4" * 50])
def test_no_safetensors_at_all(file, content):
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged or not a checkpoint"):
        load_checkpoint(file)


def test_somebody_elses_safetensors(file):
    for header in (None, {"format": "pt"}):
        save_file({"x": np.zeros(3)}, file, header)
        with pytest.raises(CheckpointError, match="is a safetensors file but no checkpoint"):
            load_checkpoint(file)


def test_one_wrong_bit_anywhere_is_noticed(file):
    content = bytearray(file.read_bytes())
    for position in np.random.default_rng(0).integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(position) % 8
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_checkpoint(file)


def test_a_header_of_another_version(file):
    save_checkpoint(file, replace(example(), recipe="[model]\nname = 'attention_9000'"))
    with pytest.raises(CheckpointError, match=r"does not fit this version.*unknown model"):
        load_model(file)
    save_checkpoint(file, replace(example(), recipe="[model]\nname = 'attention_nano'"))
    with pytest.raises(CheckpointError, match="does not belong to this model"):
        load_model(file)


# Writing is all or nothing


@pytest.mark.parametrize("operation", ["open", "fsync", "replace"])
def test_a_write_that_fails_changes_nothing(file, monkeypatch, operation):
    before = file.read_bytes()

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if operation == "open":
            patch.setattr("builtins.open", full)
        else:
            patch.setattr(os, operation, full)
        with pytest.raises(CheckpointError, match=r"could not write .*No space left on device"):
            save_checkpoint(file, example(1))
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_write_that_really_fails_in_the_middle_changes_nothing(file):
    resource = pytest.importorskip("resource")
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        with pytest.raises(CheckpointError, match="could not write"):
            save_checkpoint(file, example(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not write"):
        save_checkpoint(tmp_path / "file" / "last.safetensors", example())


def test_what_a_killed_process_leaves_is_in_nobodys_way(file, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*arguments):
        raise Killed

    # SIGKILL runs no `finally` either.
    monkeypatch.setattr(os, "replace", kill)
    monkeypatch.setattr(type(file), "unlink", kill)
    with pytest.raises(Killed):
        save_checkpoint(file, example(1))
    monkeypatch.undo()
    left = [path for path in file.parent.iterdir() if path != file]
    assert len(left) == 1 and is_temporary(left[0]) and not is_temporary(file)
    assert_same(load_checkpoint(file), example())
    save_checkpoint(file, example(2))
    assert_same(load_checkpoint(file), example(2))
