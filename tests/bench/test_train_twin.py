"""The twin's trainer: minran's own losses on the CPU, the loader's own pictures, a run's files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from minran import backend  # noqa: E402
from minran.data import Loader, load_shapes  # noqa: E402
from minran.errors import BackendError, RecipeError  # noqa: E402
from minran.train import Recipe, load_recipe, read_history, train  # noqa: E402
from minran.workshop.bench.train_twin import Pictures, main, train_twin  # noqa: E402

TINY = [
    "model.name=attention_nano",
    "data.name=shapes",
    "data.train_count=32",
    "data.test_count=20",
    "training.batch_size=8",
    "training.iterations=6",
    "training.log_every=1",
    "training.test_every=2",
    "training.precise_norm=0",
]


def tiny(*changes: str) -> Recipe:
    return load_recipe("cifar10-modern", [*TINY, *changes])


@pytest.mark.parametrize("change", ["augment.pad_crop_flip=false", "augment.cutout=6"])
def test_the_twin_has_the_losses_of_minran(tmp_path: Path, change: str) -> None:
    # A strong decay, so that one that is left out shows; a low rate, so that rounding does not.
    recipe = tiny(change, "optimizer.lr=0.02", "optimizer.weight_decay=0.05")
    train(recipe, tmp_path / "ours", quiet=True)
    train_twin(recipe, tmp_path / "twin", quiet=True)
    ours, twin = (read_history(tmp_path / name / "history.jsonl") for name in ("ours", "twin"))
    assert [row.keys() for row in twin] == [row.keys() for row in ours]
    assert [(row["step"], row["epoch"]) for row in twin] == [
        (row["step"], row["epoch"]) for row in ours
    ]
    for mine, other in zip(ours, twin, strict=True):
        assert other["lr"] == mine["lr"]
        if mine["kind"] == "step":
            # In single precision every step carries on, and amplifies, what was rounded before.
            rel = 1e-5 if mine["step"] <= 3 else 2e-3
            assert other["loss"] == pytest.approx(mine["loss"], rel=rel)
        else:
            assert other["train_loss"] == pytest.approx(mine["train_loss"], rel=1e-3)
            assert abs(other["train_accuracy"] - mine["train_accuracy"]) < 0.05
        if "test_loss" in mine:
            assert other["test_loss"] == pytest.approx(mine["test_loss"], rel=1e-3)
            assert abs(other["test_accuracy"] - mine["test_accuracy"]) < 0.11


@pytest.mark.parametrize(("augment", "cutout"), [(False, 0), (True, 0), (True, 8), (False, 5)])
def test_pictures_are_those_of_the_loader(augment: bool, cutout: int) -> None:
    dataset = load_shapes("train", count=21, seed=3)
    loader = Loader(
        dataset, 5, augment=augment, cutout=cutout, shuffle=True, drop_last=True, seed=4
    )
    pictures = Pictures(loader, torch.device("cpu"))
    for epoch in (0, 3):
        plan = pictures.plan(epoch)
        batches = list(loader.epoch(epoch))
        assert len(plan) == len(batches) == 4
        for row, (images, labels) in zip(plan, batches, strict=True):
            x, truth = pictures.make(row)
            assert x.is_contiguous(memory_format=torch.channels_last)
            np.testing.assert_array_equal(x.permute(0, 2, 3, 1).numpy(), images)
            np.testing.assert_array_equal(truth.numpy(), labels)


def test_the_command_stops_when_its_time_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "twin"
    changes = [word for change in TINY for word in ("--set", change)]
    command = ["--recipe", "cifar10-modern", "--out", str(out), *changes]
    assert main([*command, "--max-seconds", "0"]) == 0
    assert "stopped after step 1 of 6" in capsys.readouterr().out
    rows = read_history(out / "history.jsonl")
    assert [(row["kind"], row["step"]) for row in rows] == [("step", 1), ("epoch", 1)]
    assert "test_accuracy" in rows[-1]
    (facts,) = json.loads((out / "environment.json").read_text())
    assert facts["torch"] == torch.__version__ and facts["last_step"] == 1
    assert not facts["finished"]
    assert load_recipe(out / "recipe.toml").entries() == {
        **tiny().entries(),
        "name": "cifar10-modern",
    }
    assert main(command) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = (
        "augment.mixup=0.2",
        "training.ema=0.9",
        "augment.kind=imagenet",
        "training.precise_norm=8",
    )
    for change in (*others, "training.freeze=['fc']"):
        with pytest.raises(
            RecipeError,
            match=r"the twin's trainer has no (mixup|ema|precise_norm|freeze|augment.kind)",
        ):
            train_twin(tiny(change), tmp_path / "a")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="no NVIDIA GPU; use --device cpu"):
        train_twin(tiny(), tmp_path / "b", device="gpu")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        with pytest.raises(BackendError, match="needs PyTorch, which is not installed"):
            train_twin(tiny(), tmp_path / "c")
    assert not list(tmp_path.iterdir())
    assert backend.current().name == "numpy" and "torch" in sys.modules
