"""Every command is run as a user runs it, on tiny inputs, and every mistake ends in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minran
from minran.cli import main, make_parser
from minran.cli.training import _by_class
from minran.data import read_pictures
from minran.inspect import class_probabilities
from minran.models import list_models
from minran.train import load_data, load_model, parse

TINY = [
    "--set=data.train_count=64",
    "--set=data.test_count=32",
    "--set=model.name=attention_nano",
    "--set=model.options={}",
    "--set=training.batch_size=16",
    "--set=training.epochs=1",
]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "demo"
    assert main(["quickstart", "--out", str(folder), *TINY]) == 0
    return folder


def _picture(path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_quickstart_leaves_picture_checkpoint_and_history(run_folder):
    for name in ("quickstart.png", "last.safetensors", "best.safetensors", "history.jsonl"):
        assert (run_folder / name).stat().st_size > 0
    with Image.open(run_folder / "quickstart.png") as picture:
        assert picture.width > 800


def test_no_runs_yet_is_no_mistake(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert "no runs yet" in capsys.readouterr().out


def test_evaluate_says_what_each_class_is_taken_for(run_folder, tmp_path, capsys):
    out = tmp_path / "confusion.png"
    assert main(["evaluate", str(run_folder), "--out", str(out), "--dark"]) == 0
    first, header, *lines, path = capsys.readouterr().out.splitlines()
    assert path == str(out) and out.stat().st_size > 1000
    assert header.split() == ["class", "pictures", "accuracy", "taken", "for", "most", "often"]
    model, prepare, checkpoint = load_model(run_folder / "best.safetensors")
    test = load_data(parse(checkpoint.recipe))[1]
    answers = class_probabilities(model, prepare(test.images)).argmax(1)
    assert len(lines) == 10
    for k, line in enumerate(lines):
        own = test.labels == k
        wrong = np.bincount(answers[own & (answers != k)], minlength=10)
        taken = f"{test.class_names[wrong.argmax()]} ({wrong.max()})" if wrong.any() else "-"
        share = f"{np.mean(answers[own] == k):.2%}" if own.any() else "-"
        assert line.split() == [test.class_names[k], str(own.sum()), share, *taken.split()]
    assert f"accuracy {np.mean(answers == test.labels):.2%}" in first


def test_the_surest_mistakes_are_of_different_classes(run_folder, tmp_path, capsys, monkeypatch):
    seen, draw = [], minran.inspect.prediction_figure
    monkeypatch.setattr(
        minran.inspect, "prediction_figure", lambda *a, **k: seen.append((a, k)) or draw(*a, **k)
    )
    out = tmp_path / "wrong.png"
    assert main(["evaluate", str(run_folder), "--mistakes", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out) and out.stat().st_size > 1000
    (((images, shares, names, *_), options),) = seen
    model, prepare, checkpoint = load_model(run_folder / "best.safetensors")
    test = load_data(parse(checkpoint.recipe))[1]
    every = class_probabilities(model, prepare(test.images))
    wrong = np.flatnonzero(every.argmax(1) != test.labels)
    surest = {k: every[wrong[test.labels[wrong] == k]].max(initial=0) for k in range(10)}
    first = [k for k in range(10) if surest[k] > 0][: len(images)]
    assert options["labels"][: len(first)] == first, "classes take turns, each with its surest"
    np.testing.assert_allclose(shares.max(1)[: len(first)], [surest[k] for k in first], rtol=1e-5)
    assert (shares.argmax(1) != options["labels"]).all() and names == test.class_names
    for image, label in zip(images, options["labels"], strict=True):
        assert any((image == other).all() for other in test.images[test.labels == label])


def test_without_a_mistake_nothing_is_drawn(run_folder, tmp_path, capsys, monkeypatch):
    none = np.array([], int), np.array([], int), np.array([])
    monkeypatch.setattr(minran.inspect, "surest_mistakes", lambda *args: none)
    assert main(["evaluate", str(run_folder), "--mistakes", str(tmp_path / "wrong.png")]) == 0
    assert "no wrong answer" in capsys.readouterr().out and not any(tmp_path.iterdir())


def test_of_many_classes_the_worst_are_printed():
    counts = np.diag(np.arange(1, 31)) + np.eye(30, k=1, dtype=int)
    counts[7] = 0  # no pictures
    lines = _by_class(counts, [f"c{k}" for k in range(30)]).splitlines()[1:]
    assert [line.split()[0] for line in lines] == [f"c{k}" for k in (*range(7), *range(8, 21))]
    assert lines[0].split() == ["c0", "2", "50.00%", "c1", "(1)"]
    assert "c7" not in _by_class(counts, ["x"] * 30)


def test_evaluate_predict_masks_plot(run_folder, tmp_path, capsys):
    assert main(["evaluate", str(run_folder)]) == 0
    assert "accuracy" in capsys.readouterr().out
    picture = _picture(tmp_path / "photo.png")
    drawing = tmp_path / "predicted.png"
    assert main(["predict", str(run_folder), str(picture), "--out", str(drawing)]) == 0
    assert "%" in capsys.readouterr().out
    assert drawing.stat().st_size > 0
    for arguments in ([], [str(picture)]):
        out = tmp_path / f"masks{len(arguments)}.png"
        assert main(["masks", str(run_folder), *arguments, "--out", str(out), "--count", "2"]) == 0
        assert out.stat().st_size > 0
    curves = tmp_path / "curves.svg"
    assert main(["plot", str(run_folder), "--out", str(curves)]) == 0
    assert "<svg" in curves.read_text()


def test_train_list_train_resume_and_runs(tmp_path, capsys):
    runs = str(tmp_path / "runs")
    assert main(["train", "--list"]) == 0
    assert "cifar10-attention56" in capsys.readouterr().out
    arguments = ["train", "--recipe", "quickstart", "--runs", runs, "--name", "a", *TINY]
    assert main(arguments) == 0
    assert main(arguments) == 2, "a run of that name is there already"
    assert main(["train", "--resume", f"{runs}/a"]) == 0
    capsys.readouterr()
    assert main(["runs", runs]) == 0
    assert "attention_nano" in capsys.readouterr().out


def test_train_on_a_folder_of_pictures(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for index in range(10):
            _picture(tmp_path / "mine" / name / f"{index}.png")
    arguments = ["train", "--recipe", "quickstart", "--runs", str(tmp_path / "runs")]
    arguments += ["--data", f"folder:{tmp_path / 'mine'}", "--name", "own", "--epochs", "1"]
    arguments += ["--set=model.name=attention_nano", "--set=model.options={}"]
    arguments += ["--set=training.batch_size=4"]
    assert main(arguments) == 0
    begin = ["--init", str(tmp_path / "runs" / "own"), "--set", "training.freeze=['stem']"]
    assert main([*arguments, *begin, "--runs", str(tmp_path / "finer")]) == 0


def test_pictures_of_another_size_and_shape(tmp_path, capsys, monkeypatch):
    """What the run says of size and fit is what every command looks at."""
    monkeypatch.chdir(tmp_path)
    for name, colour in (("cat", "red"), ("dog", "blue")):
        Path("mine", name).mkdir(parents=True)
        for index in range(6):
            Image.new("RGB", (60, 20), colour).save(f"mine/{name}/{index}.png")
    own = ["train", "--recipe", "quickstart", "--data", "folder:mine", "--model", "attention_nano"]
    own += ["--set=model.options={}", "--set=training.batch_size=4", "--epochs", "1", "--quiet"]
    own += ["--set=data.fit=pad", "--set=data.mean=channel", "--set=augment.kind=imagenet"]
    assert main([*own, "--name", "a", "--set=data.size=24"]) == 0
    seen = []
    monkeypatch.setattr("minran.data.read_pictures", lambda *a: seen.append(a) or read_pictures(*a))
    for command in ("predict", "masks", "gradcam"):
        assert main([command, "runs/a", "mine/cat/0.png"]) == 0
        assert seen.pop()[1:] == (24, "pad")
    assert main(["evaluate", "runs/a"]) == 0
    assert main(["train", "--resume", "runs/a", "--epochs", "2", "--quiet"]) == 0
    capsys.readouterr()
    assert main([*own, "--name", "small", "--set=data.size=5"]) == 2
    assert "8 pixels a side or more, not of 5" in capsys.readouterr().err
    assert not Path("runs/small").exists()


def test_imagenets_recipe_on_a_folder_from_pictures_to_masks(tmp_path, capsys, monkeypatch):
    """All of the recipe but the network and the length, at its 224 pixels."""
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        for part, count in (("train", 3), ("val", 1)):
            Path("mine", part, name).mkdir(parents=True)
            for index in range(count):
                _picture(Path("mine", part, name, f"{index}.png"))
    recipe = ["train", "--recipe", "imagenet-attention56", "--name", "own", "--quiet"]
    assert main(recipe) == 2, "the recipe's own folder is not here"
    assert "imagenet is not a folder" in capsys.readouterr().err
    own = [*recipe, "--data", "folder:mine", "--model", "attention_nano"]
    short = ["--set", "training.batch_size=2", "--set", "training.iterations=2"]
    assert main([*own, *short]) == 0
    rows = [json.loads(row) for row in Path("runs/own/history.jsonl").read_text().splitlines()]
    assert (rows[-1]["step"], rows[-1]["lr"]) == (2, 0.1)
    assert main(["masks", "runs/own", "--count", "1", "--out", "masks.png"]) == 0
    assert main(["predict", "runs/own", "mine/val/cat/0.png"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "runs/own", "--size", "320"]) == 0  # at another size than in training
    assert "accuracy" in capsys.readouterr().out
    assert main(["evaluate", "runs/own", "--size", "4"]) == 2
    assert "8 pixels a side or more, not of 4" in capsys.readouterr().err
    # For few pictures: other rates, and a length in epochs.
    finer = ["--set", "schedule.kind=one_cycle", "--epochs", "1", "--name", "finer"]
    assert main([*own, *finer, "--set", "training.batch_size=3"]) == 0


def test_summary_prints_the_memory_of_a_step(capsys):
    size = ["summary", "attention_small_cifar", "--size", "64"]
    assert main([*size, "--train", "--batch", "8", "--num-classes", "3"]) == 0
    model = minran.create_model("attention_small_cifar", 3)
    assert capsys.readouterr().out == f"{minran.inspect.memory(model, 8, 64)}\n"
    assert main([*size, "--train", "--device", "gpu"]) == 0
    assert "64 images of 64x64x3, gpu" in capsys.readouterr().out
    assert main(size) == 0
    assert "64x64x3" in capsys.readouterr().out


def test_summary_prints_the_exact_count(capsys):
    assert main(["summary", "attention_small_cifar"]) == 0
    assert "239,786" in capsys.readouterr().out
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in list_models())


def test_graph_writes_svg(tmp_path, capsys):
    out = tmp_path / "net.svg"
    assert main(["graph", "attention_nano", "--out", str(out)]) == 0
    assert out.read_text().lstrip().startswith(("<svg", "<?xml"))


def test_gradcheck_of_one_operation(capsys):
    assert main(["gradcheck", "gate"]) == 0
    assert "gate" in capsys.readouterr().out


def test_no_network_says_where_to_put_the_files(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MINRAN_CIFAR_URL", "")  # set by --mirror, and as before after the test
    arguments = ["train", "--recipe", "cifar10-small", "--data-dir", str(tmp_path / "data")]
    arguments += ["--mirror", (tmp_path / "share").as_uri(), "--runs", str(tmp_path / "runs")]
    with pytest.warns(UserWarning, match="binary.tar.gz.*; trying file:"):
        assert main(arguments) == 2
    message = capsys.readouterr().err
    for part in ("--data shapes", str(tmp_path / "data"), "share/cifar-10-python.tar.gz"):
        assert part in message


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match="attention57"):
        main(["--debug", "summary", "attention57"])


def test_every_command_has_help_with_examples(capsys):
    parser = make_parser()
    commands = next(a for a in parser._actions if hasattr(a, "choices") and a.choices).choices
    for name in commands:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        assert "examples:\n  " in capsys.readouterr().out, name
