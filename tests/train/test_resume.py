"""A run interrupted anywhere and resumed is bit for bit the run that was not interrupted."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from train_helpers import assert_same_run, rows_of, start_child, tiny

from minran.errors import CheckpointError
from minran.train import Run, load_checkpoint, run, save_checkpoint, steps, train


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The folder of the run that nobody interrupts."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    assert train(tiny(), folder, quiet=True).finished
    return folder


def go_on(folder, recipe=None):
    return train(recipe or tiny(), folder, resume=True, quiet=True)


def press(signal_number, row):
    """An `on_row` that sends this process a signal at the `row`-th row."""
    seen = []

    def on_row(values):
        seen.append(values)
        if len(seen) == row:
            signal.raise_signal(signal_number)

    return on_row


def test_the_same_recipe_gives_the_same_run(reference, tmp_path):
    train(tiny(), tmp_path / "run", quiet=True)
    assert_same_run(tmp_path / "run", reference)


def test_resume_at_the_very_start(reference, tmp_path):
    """Killed before the first checkpoint: with rows in the history, or with nothing at all."""
    folder = tmp_path / "run"
    Run(folder).create(tiny())
    assert go_on(folder).finished
    assert_same_run(folder, reference)

    os.remove(folder / "last.safetensors")
    assert go_on(folder).finished
    assert_same_run(folder, reference)


# Rows 1, 2, 3 are steps 2, 4, 6; row 4 is the end of the first epoch; row 7 is the last step,
# row 8 the end of the run.
@pytest.mark.parametrize("row", [1, 2, 3, 4, 5])
def test_ctrl_c(reference, tmp_path, capsys, row):
    folder = tmp_path / "run"
    result = train(tiny(), folder, on_row=press(signal.SIGINT, row))
    assert not result.finished
    assert not result.model.training
    output = capsys.readouterr()
    step = 2 * row if row < 4 else 2 * row - 2
    # The wish that comes during the test after an epoch (row 4) is met after that test.
    assert f"stopped after step {step}; go on with --resume {folder}" in output.out
    assert "stopping after this step (once more to stop at once)" in output.err
    assert load_checkpoint(folder / "last.safetensors").progress.step == step
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert go_on(folder).finished
    assert_same_run(folder, reference)


@pytest.mark.parametrize("row", [7, 8])
def test_ctrl_c_when_there_is_nothing_left_to_do(reference, tmp_path, row):
    assert train(tiny(), tmp_path / "run", quiet=True, on_row=press(signal.SIGINT, row)).finished
    assert_same_run(tmp_path / "run", reference)


def test_stopped_again_and_again(reference, tmp_path):
    folder = tmp_path / "run"
    result = train(tiny(), folder, quiet=True, on_row=press(signal.SIGTERM, 1))
    sessions = 1
    while not result.finished:
        result = train(tiny(), folder, resume=True, quiet=True, on_row=press(signal.SIGTERM, 1))
        sessions += 1
    assert sessions >= 6
    assert_same_run(folder, reference)


def test_a_second_ctrl_c_stops_at_once(reference, tmp_path):
    folder = tmp_path / "run"

    def twice(row):
        if row["step"] == 10:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tiny(), folder, quiet=True, on_row=twice)
    assert load_checkpoint(folder / "last.safetensors").progress.step == 8
    assert go_on(folder).finished
    assert_same_run(folder, reference)


def test_a_finished_run_is_left_alone(reference, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in reference.iterdir()}
    result = train(tiny(), reference, resume=True)
    assert result.finished and not result.model.training
    assert capsys.readouterr().out == f"the run in {reference} is finished already\n"
    assert result.history.rows[-1]["step"] == 12
    assert {path.name: path.stat().st_mtime_ns for path in reference.iterdir()} == before
    expected = load_checkpoint(reference / "last.safetensors").model
    for name, array in result.model.state_dict().items():
        np.testing.assert_array_equal(array, expected[name])


def fail_at(monkeypatch, call):
    """The disk is full at the `call`-th time something is forced to it, and from then on."""
    calls = []
    fsync = os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) >= call:
            # What did not fit is missing.
            os.truncate(descriptor, max(0, os.fstat(descriptor).st_size - 9))
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


# In order: recipe, environment, two rows, checkpoint, row, epoch, best, last, ...
@pytest.mark.parametrize("call", [2, 3, 4, 5, 7, 8, 9, 12, 14])
def test_a_full_disk(reference, tmp_path, monkeypatch, call):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        fail_at(patch, call)
        with pytest.raises(CheckpointError, match=r"could not write .*No space left on device"):
            train(tiny(), folder, quiet=True)
        # Still full: a second try fails the same way, and breaks nothing.
        with pytest.raises(CheckpointError, match=r"could not write .*No space left on device"):
            go_on(folder)
    assert go_on(folder).finished
    assert_same_run(folder, reference)


def test_killed_between_best_and_last(tmp_path, monkeypatch):
    """The best checkpoint is ahead of the last one then, and the same again after it."""
    monkeypatch.setattr(steps, "evaluate", improving())
    train(tiny(), tmp_path / "reference", quiet=True)
    monkeypatch.setattr(steps, "evaluate", improving())

    class Killed(BaseException):
        pass

    save = run.save_checkpoint

    def killed_after_best(path, checkpoint):
        save(path, checkpoint)
        if path.name == "best.safetensors" and checkpoint.progress.step == 12:
            raise Killed

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(run, "save_checkpoint", killed_after_best)
        with pytest.raises(Killed):
            train(tiny(), folder, quiet=True)
    assert load_checkpoint(folder / "best.safetensors").progress.step == 12
    assert load_checkpoint(folder / "last.safetensors").progress.step == 8
    assert go_on(folder).finished
    best = load_checkpoint(folder / "best.safetensors").progress
    tests = [row["test_accuracy"] for row in rows_of(folder) if row["kind"] == "epoch"]
    assert best.best_accuracy == max(tests) == tests[-1]
    assert_same_run(folder, tmp_path / "reference")


def improving():
    """An `evaluate` whose accuracy follows from the network, and grows from test to test."""

    def evaluate(model, loader):
        size = float(np.abs(model.fc.bias.numpy()).sum())
        return 1.0, size / (1 + size)

    return evaluate


def test_best_is_the_first_of_the_best_tests(tmp_path, monkeypatch):
    accuracies = iter([0.2, 0.5, 0.4, 0.5])
    monkeypatch.setattr(steps, "evaluate", lambda model, loader: (1.0, next(accuracies)))
    train(tiny("training.epochs=4"), tmp_path / "run", quiet=True)
    best = load_checkpoint(tmp_path / "run" / "best.safetensors").progress
    assert (best.step, best.best_accuracy) == (12, 0.5)


def test_other_pictures_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    train(tiny(), folder, quiet=True, on_row=press(signal.SIGINT, 2))
    from minran.train import setup

    load = setup.data.load
    monkeypatch.setattr(setup.data, "load", lambda *a, **options: load(*a, **options, seed=1))
    with pytest.raises(CheckpointError, match="training images are not those that the run"):
        go_on(folder)


@pytest.mark.parametrize("change", ["classes swapped", "labels", "nothing", "an old file"])
def test_swapped_classes_and_other_labels_are_refused(tmp_path, monkeypatch, change):
    """The mean picture, the names and the number of pictures stay as they were."""
    folder = tmp_path / "run"
    train(tiny(), folder, quiet=True, on_row=press(signal.SIGINT, 2))
    if change == "an old file":  # it knows nothing of labels: it goes on, as it always did
        checkpoint = load_checkpoint(folder / "last.safetensors")
        checkpoint.data = {}
        save_checkpoint(folder / "last.safetensors", checkpoint)
    from minran.train import setup

    load = setup.data.load

    def changed(*arguments, **options):
        shapes = load(*arguments, **options)
        order, labels = np.arange(len(shapes)), shapes.labels
        if change == "classes swapped":  # as when two folders change their names
            first, second = (np.flatnonzero(labels == label) for label in (0, 1))
            both = min(len(first), len(second))
            order[first[:both]], order[second[:both]] = second[:both], first[:both]
        elif change == "labels":
            labels = np.roll(labels, 1)
        return replace(shapes, images=shapes.images[order], labels=labels, masks=None)

    monkeypatch.setattr(setup.data, "load", changed)
    if change in ("nothing", "an old file"):
        assert go_on(folder).finished
        return
    with pytest.raises(CheckpointError, match="images, labels or classes were changed"):
        go_on(folder)


@pytest.mark.parametrize(
    "changes",
    [
        ("augment.mixup=1.0", "training.label_smoothing=0.1"),
        ("augment.cutout=8", "data.label_noise=0.3", "schedule.kind=cosine"),
        ("training.iterations=9", "model.options.dtype=float64", "training.test_every=3"),
        ("training.ema=0.8",),
        ("augment.kind=imagenet", "data.size=20", "data.mean=channel"),
    ],
)
def test_every_path_of_the_loop_resumes(tmp_path, changes):
    recipe = tiny(*changes)
    train(recipe, tmp_path / "reference", quiet=True)
    train(recipe, tmp_path / "run", quiet=True, on_row=press(signal.SIGINT, 2))
    assert go_on(tmp_path / "run", recipe).finished
    assert_same_run(tmp_path / "run", tmp_path / "reference")


# In processes of their own


def test_ctrl_c_in_another_process(reference, tmp_path):
    child = start_child(tiny("training.epochs=300"), tmp_path / "long")
    assert [child.stdout.readline() for _ in range(5)][-1].strip() == "8"
    child.send_signal(signal.SIGINT)
    output = child.stdout.read().split()
    assert child.wait(20) == 0
    assert "stopped" in output


def test_kill_9_at_random_moments(reference, tmp_path):
    folder, rng = tmp_path / "run", random.Random(0)
    for rows in (1, 2, 1, 3):
        child = start_child(tiny(), folder)
        for _ in range(rows):
            child.stdout.readline()
        time.sleep(rng.uniform(0, 0.04))
        child.kill()
        child.stdout.read()
        child.wait()
    assert go_on(folder).finished
    assert_same_run(folder, reference)


def die_and_go_on(folder, reference, at):
    child = start_child(tiny(), folder, at)
    child.stdout.read()
    assert child.wait() == -signal.SIGKILL
    if Run(folder).exists():
        go_on(folder)
    else:
        train(tiny(), folder, quiet=True)
    assert_same_run(folder, reference)


# Operations 1-4 write the recipe, 5-8 environment.json; then rows, checkpoints, rows, ...
@pytest.mark.parametrize("at", [1, 4, 9, 13, 15, 16, 22, 26, 28])
def test_kill_9_in_the_middle_of_writing(reference, tmp_path, at):
    die_and_go_on(tmp_path / "run", reference, at)


@pytest.mark.slow
def test_kill_9_at_every_operation_on_files(reference, tmp_path):
    child = start_child(tiny(), tmp_path / "whole")
    operations = int(child.stdout.read().split()[-1])
    child.wait()
    assert operations > 40
    for at in range(1, operations + 1):
        die_and_go_on(tmp_path / str(at), reference, at)


def test_killed_in_every_session(reference, tmp_path):
    """Each session gets only a little further than the one before."""
    folder = tmp_path / "run"
    for at in (11, 17, 19, 12):
        child = start_child(tiny(), folder, at)
        child.stdout.read()
        assert child.wait() == -signal.SIGKILL
    assert go_on(folder).finished
    assert_same_run(folder, reference)
