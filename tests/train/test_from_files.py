"""A run whose pictures are read as they are needed is the run whose pictures are in memory."""

from __future__ import annotations

import os

import numpy as np
import pytest
from train_helpers import assert_same_arrays, assert_same_run, rows_of, tiny

from minran.cli import main
from minran.data import Pictures
from minran.errors import CheckpointError, DataError
from minran.train import load_checkpoint, load_data, train

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two classes of 20 noisy pictures; the split gives some of them to the test."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, base in (("cat", 0), ("dog", 90)):
        (root / name).mkdir()
        for n in range(20):
            pixels = base + rng.integers(0, 160, (40, 36, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{n:02}.jpg")
    return root


def recipe(root, memory, *changes):
    return tiny(
        f"data.name=folder:{root}",
        f"data.memory={memory}",
        "data.train_count=0",
        "data.test_count=0",
        *changes,
    )


KINDS = {
    "paper": ["augment.cutout=6"],
    "mixup": ["augment.mixup=0.3", "data.label_noise=0.2"],
    "imagenet": ["augment.kind=imagenet", "data.fit=pad", "data.size=40"],
    "part": ["data.train_count=17", "data.test_count=5", "data.mean=channel"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_training_from_files_has_the_bits_of_training_from_memory(root, tmp_path, kind):
    for memory, folder in ((0, "files"), (1, "memory")):
        train(recipe(root, memory, *KINDS[kind]), tmp_path / folder, quiet=True)
    assert isinstance(load_data(recipe(root, 0))[0].images, Pictures)
    assert isinstance(load_data(recipe(root, 1))[1].images, np.ndarray)
    files, memory = (tmp_path / name for name in ("files", "memory"))
    assert rows_of(files) == rows_of(memory)
    one, other = (load_checkpoint(folder / "last.safetensors") for folder in (files, memory))
    for group in ("model", "optimizer", "preprocess"):
        assert_same_arrays(getattr(one, group), getattr(other, group))
    assert_same_arrays(one.data, other.data | {"files": one.data["files"]})


def test_it_goes_on_in_the_middle_of_an_epoch(root, tmp_path):
    reference, folder = tmp_path / "reference", tmp_path / "run"
    train(recipe(root, 0), reference, quiet=True)

    def stop(row):
        if row["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe(root, 0), folder, quiet=True, on_row=stop)
    assert load_checkpoint(folder / "last.safetensors").progress.batch > 0
    assert train(recipe(root, 0), folder, resume=True, quiet=True).finished
    assert_same_run(folder, reference)


def copied(root, place):
    for file in root.rglob("*.jpg"):
        target = place / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return place


def test_other_files_are_not_gone_on_with(root, tmp_path):
    """One picture of another length is enough, although it hardly moves any mean."""
    mine = copied(root, tmp_path / "mine")
    train(recipe(mine, 0, "training.epochs=1"), tmp_path / "run", quiet=True)
    for file in mine.rglob("*.jpg"):
        os.utime(file)  # when they were written does not matter
    again = recipe(mine, 0)
    assert train(again, tmp_path / "run", resume=True, quiet=True).finished
    for file in (mine / "cat").iterdir():
        file.write_bytes(file.read_bytes() + b"\0\xff\xd9")
    with pytest.raises(CheckpointError, match="training images are not those"):
        train(recipe(mine, 0, "training.epochs=3"), tmp_path / "run", resume=True, quiet=True)


def test_a_file_that_breaks_in_the_run_ends_it_with_one_sentence(root, tmp_path):
    mine = copied(root, tmp_path / "mine")

    def tear(row):
        for file in mine.rglob("*.jpg"):
            os.truncate(file, 300)

    with pytest.raises(DataError, match=r"\.jpg cannot be read as at the start: it was changed"):
        train(recipe(mine, 0), tmp_path / "run", quiet=True, on_row=tear)


def test_commands_read_the_test_pictures_of_such_a_run(root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    for memory in (0, 1):
        train(recipe(root, memory, "training.epochs=1"), f"run{memory}", quiet=True)
        assert main(["masks", f"run{memory}", "--count", "2", "--out", f"{memory}.png"]) == 0
        capsys.readouterr()
        assert main(["evaluate", f"run{memory}"]) == 0
        said.append(capsys.readouterr().out.replace(f"run{memory}", "run"))
    assert said[0] == said[1]
    pictures = [np.asarray(Image.open(f"{memory}.png")) for memory in (0, 1)]
    np.testing.assert_array_equal(*pictures)
