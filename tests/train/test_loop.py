from __future__ import annotations

import errno
import os
import threading

import numpy as np
import pytest
from train_helpers import rows_of, tiny

from minran import create_model, no_grad, ops, tensor
from minran.data import Loader, Preprocess, load_shapes
from minran.errors import MinranError, RecipeError, ShapeError
from minran.optim import SGD
from minran.train import (
    CaptureError,
    build,
    capture_step,
    evaluate,
    load_checkpoint,
    load_data,
    load_model,
    read_history,
    train,
    train_step,
)
from minran.train.report import Reporter, StopRequest


def test_history_rows(tmp_path):
    """Each epoch's row is the mean over its steps, of every picture once."""
    seen = []
    result = train(tiny("training.log_every=1"), tmp_path / "run", quiet=True, on_row=seen.append)
    assert result.finished
    assert seen == result.history.rows == read_history(tmp_path / "run" / "history.jsonl")
    steps = [row for row in seen if row["kind"] == "step"]
    assert [(row["step"], row["epoch"]) for row in steps] == [
        (step, 1 + (step > 6)) for step in range(1, 13)
    ]
    for epoch, row in enumerate(result.history.epochs, 1):
        losses = [s["loss"] for s in steps if s["epoch"] == epoch]
        assert row["train_loss"] == pytest.approx(np.mean(losses), rel=1e-12)
        assert (row["step"], row["epoch"]) == (6 * epoch, epoch)
        assert 24 * row["train_accuracy"] == pytest.approx(round(24 * row["train_accuracy"]))
        assert row["lr"] == steps[6 * epoch - 1]["lr"]
        assert row["seconds"] > 0


def test_the_rate_of_a_step_is_the_schedules(tmp_path):
    recipe = tiny("training.log_every=1", "schedule.kind=multistep", "schedule.milestones=[3, 9]")
    rows = train(recipe, tmp_path / "run", quiet=True).history.rows
    rates = [row["lr"] for row in rows if row["kind"] == "step"]
    assert rates == pytest.approx([0.2] * 3 + [0.02] * 6 + [0.002] * 3)


def test_the_last_row_is_what_the_saved_network_scores(tmp_path):
    result = train(tiny(), tmp_path / "run", quiet=True)
    model, preprocess, checkpoint = load_model(result.run.last_file)
    _, test = load_data(tiny())
    loss, accuracy = evaluate(model, Loader(test, 7, preprocess))
    last = result.history.epochs[-1]
    assert loss == pytest.approx(last["test_loss"], rel=1e-5)
    assert accuracy == pytest.approx(last["test_accuracy"], abs=1 / 40)
    assert checkpoint.class_names == list(test.class_names)
    assert checkpoint.progress.step == 12


def test_the_confusion_matrix_counts_every_picture(tmp_path):
    parts, counts = build(tiny()), np.zeros((10, 10), int)
    _, accuracy = evaluate(parts.model, parts.test, counts)
    assert accuracy == counts.trace() / 40
    labels = parts.test.dataset.labels
    np.testing.assert_array_equal(counts.sum(1), np.bincount(labels, minlength=10))
    with pytest.raises(ShapeError, match=r"confusion must be \(10, 10\), got \(3, 3\)"):
        evaluate(parts.model, parts.test, np.zeros((3, 3), int))


def test_load_model_is_the_model_that_was_saved(tmp_path):
    result = train(tiny(), tmp_path / "run", quiet=True)
    model, preprocess, _ = load_model(result.run.last_file)
    assert not model.training
    x = preprocess(load_data(tiny())[1].images)
    with no_grad():
        np.testing.assert_array_equal(model(tensor(x)).numpy(), result.model(tensor(x)).numpy())


def test_tests_are_as_rare_as_asked_and_the_last_epoch_has_one(tmp_path):
    recipe = tiny("training.epochs=5", "training.test_every=2", "data.train_count=8")
    rows = train(recipe, tmp_path / "run", quiet=True).history.epochs
    assert [row["epoch"] for row in rows if "test_accuracy" in row] == [2, 4, 5]


def test_iterations_end_a_run_within_an_epoch(tmp_path):
    result = train(tiny("training.iterations=8"), tmp_path / "run", quiet=True)
    assert result.finished
    assert [row["step"] for row in result.history.epochs] == [6, 8]
    assert "test_accuracy" in result.history.epochs[-1]
    assert load_checkpoint(result.run.last_file).progress.finished


@pytest.mark.parametrize(
    "changes",
    [
        ("training.label_smoothing=0.2",),
        ("augment.mixup=0.5",),
        ("augment.cutout=10",),
        ("augment.pad_crop_flip=false",),
        ("data.label_noise=0.5",),
        ("model.options.dtype=float64",),
        ("data.std=1.0",),
        ("data.mean=channel",),
        ("data.size=20",),
        ("augment.kind=imagenet",),
    ],
)
def test_every_choice_trains_and_matters(tmp_path, changes):
    changes = (*changes, "training.epochs=1", "training.log_every=1")
    rows = train(tiny(*changes), tmp_path / "run", quiet=True).history.rows
    plain = train(tiny(*changes[1:]), tmp_path / "plain", quiet=True).history.rows
    assert rows[0]["loss"] != plain[0]["loss"]


def test_train_step_uses_the_soft_labels():
    model = create_model("attention_nano", seed=0)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4, 32, 32, 3)).astype(np.float32)
    labels = np.array([1, 2, 3, 4])
    soft = rng.dirichlet(np.ones(10), 4).astype(np.float32)
    logits = model(tensor(images)).numpy()
    loss, correct = train_step(model, SGD(model.parameters(), 0.0), (images, labels, soft), 0.1)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert loss == pytest.approx(-np.mean(((0.9 * soft + 0.01) * log_p).sum(1)), rel=1e-5)
    assert correct == (logits.argmax(1) == labels).sum()


# Evaluation


@pytest.mark.parametrize("batch_size", [1, 7, 10, 16, 100])
def test_evaluate_averages_over_pictures_not_over_batches(batch_size):
    data = load_shapes("test", 20)
    preprocess = Preprocess.fit(data.images)
    model = create_model("attention_nano", seed=1, dtype="float64").eval()
    with no_grad():
        logits = model(tensor(preprocess(data.images).astype(np.float64)))
        loss = ops.cross_entropy(logits, data.labels).item()
    accuracy = (logits.numpy().argmax(1) == data.labels).mean()
    measured = evaluate(model, Loader(data, batch_size, preprocess))
    assert measured == pytest.approx((loss, accuracy), rel=1e-12)


@pytest.mark.parametrize("fails", [False, True])
def test_evaluate_leaves_the_network_as_it_was(fails):
    data = load_shapes("test", 10)
    model = create_model("attention_nano", seed=0)
    model.stem.eval()  # one part frozen by hand
    modes = [module.training for _, module in model.named_modules()]
    before = model.state_dict()
    loader = Loader(data, 4)
    if fails:
        model.forward = None
        with pytest.raises(TypeError):
            evaluate(model, loader)
    else:
        evaluate(model, loader)
    assert [module.training for _, module in model.named_modules()] == modes
    assert len(set(modes)) == 2
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(p.grad is None for p in model.parameters())


# Data of a recipe


def test_share_of_noisy_labels():
    changes = ("data.train_count=1000", "data.test_count=100")
    clean, test = load_data(tiny(*changes))
    for noise in (0.1, 0.7):
        noisy, noisy_test = load_data(tiny(*changes, f"data.label_noise={noise}"))
        wrong = clean.labels != noisy.labels
        assert abs(wrong.mean() - noise) < 4 * np.sqrt(noise * (1 - noise) / 1000)
        assert len(set(noisy.labels[wrong])) == 10
        np.testing.assert_array_equal(test.labels, noisy_test.labels)
        np.testing.assert_array_equal(clean.images, noisy.images)


def test_noise_follows_the_seed():
    changes = ("data.train_count=100", "data.label_noise=0.5")
    first, again, other = (load_data(tiny(*changes, f"seed={s}"))[0].labels for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_part_of_a_folder_keeps_all_its_classes(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("ant", "bee", "cat"):
        for part, count in (("train", 8), ("test", 2)):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(count):
                image.new("RGB", (8, 8), (index, 0, 0)).save(
                    tmp_path / part / name / f"{index}.png"
                )
    recipe = tiny("data.train_count=12", "data.test_count=3")
    recipe.data.name = f"folder:{tmp_path}"
    data, test = load_data(recipe)
    assert np.bincount(data.labels).tolist() == [4, 4, 4]
    assert np.bincount(test.labels).tolist() == [1, 1, 1]
    recipe.data.train_count = 1000
    with pytest.raises(RecipeError, match=r"data\.train_count is 1000, but .* has \d+ train"):
        load_data(recipe)


# When it goes wrong


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_diverging_loss_is_one_sentence_and_the_checkpoint_is_from_before(tmp_path):
    folder = tmp_path / "run"
    recipe = tiny("training.log_every=1", "training.checkpoint_every=1")
    recipe.optimizer.lr = 1e25
    with pytest.raises(MinranError) as caught:
        train(recipe, folder, quiet=True)
    message = str(caught.value)
    assert message.startswith("training diverged: ") and "\n" not in message
    assert "try a smaller optimizer.lr" in message
    last = folder / "last.safetensors"
    assert (str(last) in message) == last.exists()
    rows = read_history(folder / "history.jsonl")
    assert all(np.isfinite(row["loss"]) for row in rows)


def break_at(monkeypatch, step, value):
    """Make the weights of one step infinite although its loss is fine."""
    from minran.train import steps

    calls = []

    def broken(model, optimizer, *arguments):
        result = train_step(model, optimizer, *arguments)
        calls.append(1)
        if len(calls) == step:
            value(model)
        return result

    monkeypatch.setattr(steps, "train_step", broken)


@pytest.mark.parametrize("step", [5, 6, 8])
@pytest.mark.parametrize("place", ["bias", "running_var"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_broken_weights_are_never_saved(tmp_path, monkeypatch, step, place):
    def break_weights(model):
        array = model.fc.bias.data if place == "bias" else model.norm.running_var
        array[0] = np.inf

    break_at(monkeypatch, step, break_weights)
    with pytest.raises(MinranError, match=r"training diverged: .*last\.safetensors is from before"):
        train(tiny(), tmp_path / "run", quiet=True)
    checkpoint = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert checkpoint.progress.step == (4 if step < 8 else 6)
    rows = read_history(tmp_path / "run" / "history.jsonl")
    assert sum(row["kind"] == "epoch" for row in rows) == (step == 8)
    assert all(np.isfinite(array).all() for array in checkpoint.model.values())


def test_a_test_loss_that_is_not_finite_does_not_end_the_run(tmp_path, monkeypatch):
    from minran.train import steps

    monkeypatch.setattr(steps, "evaluate", lambda model, loader: (float("inf"), 0.1))
    result = train(tiny(), tmp_path / "run", quiet=True)
    assert result.finished
    assert result.history.epochs[-1]["test_loss"] is None


def test_resume_and_force_exclude_each_other(tmp_path):
    with pytest.raises(RecipeError, match="resume and force exclude each other"):
        train(tiny(), tmp_path, resume=True, force=True)


def test_a_recipe_changed_by_hand_is_checked_too(tmp_path):
    recipe = tiny()
    recipe.training.log_every = 0
    with pytest.raises(RecipeError, match=r"training\.log_every must be at least 1"):
        train(recipe, tmp_path / "run")
    recipe = tiny()
    recipe.optimizer.lr = "fast"
    with pytest.raises(RecipeError, match=r"optimizer\.lr must be a number"):
        train(recipe, tmp_path / "run")
    recipe = tiny()
    recipe.model.options["widths"] = (8, 8)  # a tuple, as in Python
    assert train(recipe, tmp_path / "run", quiet=True).finished


def test_no_thread_outlives_the_run(tmp_path):
    def stop(row):
        raise KeyError("from on_row")

    with pytest.raises(KeyError, match="from on_row"):
        train(tiny(), tmp_path / "run", quiet=True, on_row=stop)
    assert not [t for t in threading.enumerate() if t.name.startswith("minran-loader")]


# What a person sees


def test_piped_output_is_plain_lines(tmp_path, capsys):
    train(tiny(), tmp_path / "run")
    settled, *lines = capsys.readouterr().out.splitlines()
    assert settled.startswith("24 images to train on: ") and len(lines) == 2
    assert lines[1].startswith("epoch   2  step     12  loss ")
    assert "test " in lines[1] and "\r" not in "".join(lines)
    train(tiny(), tmp_path / "quiet", quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train(tiny(), tmp_path / "run")
    output = capsys.readouterr()
    assert output.out == ""
    for word in ("48/48", "img/s", "loss=", "acc=", "epoch 2", "test "):
        assert word in output.err, word


def test_a_stop_request_in_another_thread_leaves_signals_alone(tmp_path):
    results = []

    def work():
        with StopRequest() as stop:
            results.append(stop.requested)
        results.append(train(tiny(), tmp_path / "run", quiet=True))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results[0] is False
    assert results[1].finished


def test_a_reporter_without_steps_closes():
    with Reporter(0, 0, quiet=True) as reporter:
        reporter.say("nothing")


def test_build_uses_the_recipe():
    parts = build(tiny("optimizer.momentum=0.8", "augment.cutout=3", "seed=4"))
    assert (parts.optimizer.momentum, parts.train.cutout, parts.train.seed) == (0.8, 3, 4)
    assert parts.total_steps == 12
    assert parts.train.drop_last and parts.train.shuffle
    assert not parts.test.shuffle and not parts.test.drop_last and not parts.test.augment
    assert parts.preprocess is parts.train.preprocess is parts.test.preprocess


def test_a_full_disk_message_is_for_people(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MinranError, match=r"could not write .*recipe\.toml .No space left"):
        train(tiny(), tmp_path / "run", quiet=True)


def test_a_step_is_captured_on_a_gpu_only():
    model = create_model("attention_nano")
    sgd = SGD(model.parameters(), lr=0.1)
    pictures, labels = np.zeros((2, 16, 16, 3), np.float32), np.zeros(2, int)
    with pytest.raises(CaptureError, match="on a GPU only; the backend is numpy"):
        capture_step(model, sgd, pictures, labels)


def test_a_batch_is_never_larger_than_the_training_set(tmp_path):
    with pytest.warns(UserWarning, match="batch_size is 100, but there are 24 images to train on"):
        few = train(tiny("training.batch_size=100"), tmp_path / "few", quiet=True)
    train(tiny("training.batch_size=24"), tmp_path / "all", quiet=True)
    assert rows_of(tmp_path / "few") == rows_of(tmp_path / "all")
    assert few.finished and few.history.epochs[-1]["step"] == 2
