"""What a recipe leaves open follows the number of pictures, and is written down."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest
from train_helpers import TINY, assert_same_run, tiny

from minran.train import Recipe, load_recipe, parse, train
from minran.train.settle import settled

OPEN = TINY.replace("epochs = 2\n", "").replace("batch_size = 4\n", "")


@pytest.mark.parametrize(
    ("pictures", "batch", "steps", "epochs"),
    [
        (1, 1, 1, 600),  # never more than all pictures
        (7, 7, 1, 600),
        (16, 8, 2, 300),  # of 20 pictures
        (63, 8, 7, 86),
        (120, 8, 15, 40),
        (128, 16, 8, 75),  # the first number with 8 full batches of 16
        (1023, 64, 15, 40),
        (1024, 128, 8, 75),
        (1600, 128, 12, 50),
        (50_000, 128, 390, 8),  # CIFAR: as before there was a rule
    ],
)
def test_batches_and_epochs_follow_the_number_of_pictures(pictures, batch, steps, epochs):
    recipe, line = settled(parse("", changes=["training.precise_norm=0"]), pictures)
    assert (recipe.training.batch_size, recipe.training.epochs) == (batch, epochs)
    words = f"{epochs} epochs of {steps} step{'s' if steps > 1 else ''}"
    assert line == f"{pictures:,} images to train on: batches of {batch}, {words}"


def test_what_the_recipe_says_is_kept():
    said = Recipe()
    said.training = replace(said.training, batch_size=100, epochs=3, precise_norm=0)
    assert settled(said, 20) == (said, "")
    some = replace(said, training=replace(said.training, epochs=None))
    recipe, line = settled(some, 20)
    assert (recipe.training.batch_size, recipe.training.epochs) == (100, 600)
    assert "batches" not in line and some.training.epochs is None, (
        "the recipe itself is not changed"
    )
    some.training.iterations = 5
    assert settled(some, 20) == (some, ""), "iterations say how long"


def test_the_how_tos_recipe_is_as_before_on_cifar():
    recipe = settled(load_recipe("cifar10-small"), 50_000)[0]
    assert (recipe.training.batch_size, recipe.training.epochs) == (128, 8)


def test_a_run_keeps_what_was_decided(tmp_path, capsys):
    """Its recipe says it, one line prints it, and whoever goes on finds it."""
    changes = ["training.iterations=9", "training.log_every=1"]
    left = parse(OPEN, "tiny", changes)
    first = train(left, tmp_path / "whole")
    assert "24 images to train on: batches of 8, batch norm's" in capsys.readouterr().out
    stored = first.run.recipe()
    assert stored.training.batch_size == 8 and "batch_size = 8\n" in stored.to_toml()

    def interrupt(row):
        if row["step"] == 2:
            signal.raise_signal(signal.SIGINT)

    assert not train(left, tmp_path / "parts", quiet=True, on_row=interrupt).finished
    assert train(left, tmp_path / "parts", resume=True, quiet=True).finished
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    train(tiny(*changes, "training.batch_size=8"), tmp_path / "said", quiet=True)
    assert_same_run(tmp_path / "said", tmp_path / "whole")
