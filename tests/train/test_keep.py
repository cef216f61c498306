"""Checkpoints of epochs that stay: `training.keep_every`."""

from __future__ import annotations

from train_helpers import assert_same_arrays, rows_of, tiny

from minran.train import Run, load_checkpoint, train


def names(folder) -> list[str]:
    return [file.name for file in Run(folder).epoch_files()]


def test_kept_checkpoints_are_those_of_their_epochs(tmp_path):
    recipe = tiny("training.keep_every=2", "training.epochs=5", "data.train_count=8")
    train(recipe, tmp_path / "run", quiet=True)
    assert names(tmp_path / "run") == ["epoch-002.safetensors", "epoch-004.safetensors"]
    short = tiny("training.epochs=2", "data.train_count=8", "schedule.kind=constant")
    long = tiny(
        "training.keep_every=2", "training.epochs=3", "data.train_count=8", "schedule.kind=constant"
    )
    train(short, tmp_path / "short", quiet=True)
    train(long, tmp_path / "long", quiet=True)
    kept = load_checkpoint(Run(tmp_path / "long").epoch_file(2))
    last = load_checkpoint(Run(tmp_path / "short").last_file)
    assert kept.progress.epoch == 2 and kept.progress.step == last.progress.step
    assert_same_arrays(kept.model, last.model)


def test_keeping_changes_nothing_and_force_clears(tmp_path):
    train(tiny(), tmp_path / "plain", quiet=True)
    train(tiny("training.keep_every=1"), tmp_path / "kept", quiet=True)
    assert rows_of(tmp_path / "kept") == rows_of(tmp_path / "plain")
    assert len(names(tmp_path / "kept")) == 2 and names(tmp_path / "plain") == []
    train(tiny("training.epochs=1"), tmp_path / "kept", quiet=True, force=True)
    assert names(tmp_path / "kept") == []


def test_epochs_are_in_order_whatever_their_digits(tmp_path):
    run = Run(tmp_path)
    for epoch in (1000, 2, 999, 30):
        run.epoch_file(epoch).touch()
    assert run.epoch_files() == [run.epoch_file(epoch) for epoch in (2, 30, 999, 1000)]
