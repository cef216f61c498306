"""ablate, masks, gradcam, predict and export, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minran
from minran.cli import main
from minran.inspect import RULES
from minran.train import load_checkpoint, parse, train

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
        (["--figure", "epochs", "--stages", "1", "--stretch"], ["m.png"]),
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


@pytest.mark.parametrize("command", ["masks", "gradcam"])
def test_pictures_of_all_classes_are_shown(command, tmp_path, monkeypatch):
    """A folder is sorted by class: its first six pictures are all of the first."""
    for number, name in enumerate(("cat", "dog", "emu")):
        for k in range(8):
            path = tmp_path / "pictures" / ("test" if k < 4 else "train") / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (80 * number, 10 * k, 0)).save(path)
    changes = [f"data.name=folder:{tmp_path}/pictures", "data.train_count=0", "data.test_count=0"]
    train(parse(RECIPE, "kept", changes), tmp_path / "run", quiet=True)
    shown = []
    name = "mask_figure" if command == "masks" else "gradcam_figure"
    draw = getattr(minran.inspect, name)

    def note(pictures, *rest):
        shown.append(pictures[:, 0, 0, :2].tolist())
        return draw(pictures, *rest)

    monkeypatch.setattr(minran.inspect, name, note)
    assert main([command, str(tmp_path / "run"), "--count=5", f"--out={tmp_path}/m.png"]) == 0
    assert shown == [[[0, 0], [80, 0], [160, 0], [0, 10], [80, 10]]]


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
