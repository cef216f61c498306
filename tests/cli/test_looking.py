"""ablate, masks, gradcam, predict and export, as a user types them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minran.cli import main
from minran.inspect import RULES
from minran.train import load_checkpoint, parse, save_checkpoint, train

RECIPE = """
name = "kept"
[model]
name = "attention_nano"
[data]
name = "shapes"
train_count = 24
test_count = 20
[training]
epochs = 2
batch_size = 8
keep_every = 1
"""


@pytest.fixture(autouse=True)
def _keep_warning_filters():
    with warnings.catch_warnings():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("looking") / "kept"
    train(parse(RECIPE), folder, quiet=True)
    return str(folder)


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Pictures of odd sizes, modes and formats."""
    rng = np.random.default_rng(0)
    made = []
    for name, shape, mode in (
        ("wide.png", (40, 130, 4), "RGBA"),
        ("tall.jpg", (90, 31, 3), "RGB"),
        ("grey.gif", (5, 7), "L"),
    ):
        path = tmp_path / name
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(path)
        made.append(str(path))
    return made


def figures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.stat().st_size > 1000)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["m.png"]),
        (["--rule", "spots", "--top", "1", "--dark"], ["m.png"]),
        (["--channels", "3,0", "--stages", "2"], ["m.png"]),
        (["--figure", "histograms"], ["m.png"]),
        (["--figure", "before-after"], ["m-stage-1.png", "m-stage-2.png"]),
        (["--figure", "before-after", "--stages", "1", "--channels", "2"], ["m.png"]),
        (["--figure", "epochs", "--stages", "1"], ["m.png"]),
    ],
    ids=" ".join,
)
def test_masks(options, expected, run, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert main(["masks", run, "--count", "2", "--out", str(out / "m.png"), *options]) == 0
    assert figures(out) == expected
    assert capsys.readouterr().out.split() == [str(out / name) for name in expected]


def test_masks_and_gradcam_of_own_files(files, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert main(["masks", run, *files, "--out", str(out / "m.svg")]) == 0
    assert main(["gradcam", run, *files, "--class", "ring", "--out", str(out / "g.png")]) == 0
    assert figures(out) == ["g.png", "m.svg"]


def test_gradcam_of_test_pictures(run, tmp_path, capsys):
    out = tmp_path / "g.pdf"
    assert main(["gradcam", run, "--layer", "tail.0", "--count", "2", "--out", str(out)]) == 0
    assert out.stat().st_size > 1000


def test_masks_over_named_checkpoints(run, tmp_path):
    out = tmp_path / "m.png"
    also = [f"--also={run}/epoch-001.safetensors", f"--also={run}/last.safetensors"]
    arguments = ["masks", run, "--figure", "epochs", "--stages", "2", "--out", str(out), *also]
    assert main(arguments) == 0
    assert out.stat().st_size > 1000


def test_scores_are_printed(run, capsys):
    assert main(["masks", run, "--score", "--rule", "variance", "--pictures", "16"]) == 0
    printed = capsys.readouterr().out
    for words in ("stage 2, channel mean", "Grad-CAM", "centre", "IoU", "scored on 8 test"):
        assert words in printed


def test_predict_prints_as_many_classes_as_asked(files, run, tmp_path, capsys):
    out = tmp_path / "answers.png"
    assert main(["predict", run, *files, "--top", "5", "--dark", "--out", str(out)]) == 0
    *lines, path = capsys.readouterr().out.strip().splitlines()
    assert [line.count("%") for line in lines] == [5, 5, 5]
    assert path == str(out) and out.stat().st_size > 1000


def test_export_takes_pictures(run, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    out = tmp_path / "model.onnx"
    for options, kind in (([], onnx.TensorProto.UINT8), (["--prepared"], onnx.TensorProto.FLOAT)):
        assert main(["export", run, "--out", str(out), *options]) == 0
        model = onnx.load(out)
        assert model.graph.input[0].type.tensor_type.elem_type == kind
        names = json.loads(model.metadata_props[0].value)
        assert names == load_checkpoint(f"{run}/last.safetensors").class_names


TINY = [
    "--set=data.train_count=16",
    "--set=data.test_count=20",
    "--set=training.epochs=1",
    "--set=training.batch_size=8",
    "--set=model.options.widths=[8, 8]",
    "--set=model.options.tail_width=8",
]


def test_ablate_trains_reports_and_goes_on(tmp_path, capsys):
    arguments = ["ablate", "table4", "--out", str(tmp_path), *TINY]
    assert main([*arguments, "--seeds", "1"]) == 0
    first = capsys.readouterr().out
    assert "no spread to judge by" in first and "5.52" in first
    assert main([*arguments, "--seeds", "2"]) == 0
    assert capsys.readouterr().out.count("finished already") == 2
    stored = json.loads((tmp_path / "nano" / "table4.json").read_text())
    assert [cell["seeds"] for cell in stored["cells"]] == [[0, 1], [0, 1]]
    assert (tmp_path / "nano" / "table4.md").is_file()
    # The same runs serve another table; only what is new is trained.
    assert main(["ablate", "table1", "table4", "--seeds", "1", "--out", str(tmp_path), *TINY]) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished already") == 2 and printed.count(": training") == 2


def test_ablate_lists_commands_that_train_the_same_runs(tmp_path, capsys):
    import shlex

    arguments = ["ablate", "table4", "--seeds", "1", "--out", str(tmp_path), *TINY]
    assert main([*arguments, "--list"]) == 0
    for line in capsys.readouterr().out.strip().splitlines():
        assert main([*shlex.split(line)[1:], "--quiet"]) == 0
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("finished already") == 2


def test_the_rules_in_the_help_are_the_real_ones():
    """Written out in the parsers, so that --help need not import what computes."""
    from minran.cli.attention import CHANNEL_RULES

    assert tuple(RULES) == CHANNEL_RULES


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["masks", "RUN", "--stages", "3"], "masks in stages 1, 2"),
        (["masks", "RUN", "--channels", "a"], "--channels wants whole numbers"),
        (["masks", "RUN", "--channels", "99"], "channels from 0 to 15"),
        (["masks", "RUN", "--top", "0", "--rule", "mean"], "count must be 1 to"),
        (["masks", "RUN", "--count", "0"], "--count must be at least 1"),
        (["masks", "RUN", "--out", "mask.xyz"], "mask.xyz"),
        (["masks", "RUN", "nowhere.png"], "nowhere.png"),
        (["masks", "nowhere"], "there is no checkpoint nowhere"),
        (["masks", "RUN", "--score", "--pictures", "2"], "at least 4 pictures"),
        (["gradcam", "RUN", "--class", "tiger"], "no class 'tiger'; known: disc"),
        (["gradcam", "RUN", "--layer", "stage"], "no module called 'stage'"),
        (["predict", "RUN", "."], "could not read"),
        (["predict", "RUN", "x.png", "--top", "0"], "--top must be at least 1"),
        (["ablate", "table1", "--seeds", "0"], "at least one seed"),
        (["ablate", "table1", "--set", "seed=1"], "--seeds"),
        (["ablate", "table1", "--set", "optimizer.lrr=1"], "optimizer.lr"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_ends_with_one_sentence(arguments, words, run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([run if word == "RUN" else word for word in arguments]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("minran: ") and captured.count("\n") == 1
    assert words in captured
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


def test_epochs_that_nobody_kept(run, tmp_path, capsys):
    checkpoint = load_checkpoint(f"{run}/last.safetensors")
    (tmp_path / "other").mkdir()
    save_checkpoint(tmp_path / "other" / "last.safetensors", checkpoint)
    assert main(["masks", str(tmp_path / "other"), "--figure", "epochs"]) == 2
    assert "training.keep_every=1" in capsys.readouterr().err


def test_scores_need_true_masks(files, run, capsys):
    assert main(["masks", run, *files, "--score"]) == 2
    assert "only the built-in shapes have" in capsys.readouterr().err
