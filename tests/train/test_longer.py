"""A run may be trained longer: with what rates, to which bits, and killed in that very moment."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from train_helpers import assert_same_run, rows_of, start_child, tiny

from minran import cli
from minran.errors import CheckpointError, RecipeError
from minran.train import Run, load_checkpoint, load_recipe, save_checkpoint, train


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of two epochs, by the schedule "one_cycle"."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert train(tiny(), folder, quiet=True).finished
    return folder


@pytest.fixture(scope="module")
def longer(finished, tmp_path_factory) -> Path:
    """The same run, then trained to three epochs without a disturbance."""
    folder = tmp_path_factory.mktemp("longer") / "run"
    shutil.copytree(finished, folder)
    assert train(tiny("training.epochs=3"), folder, resume=True, quiet=True).finished
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_where_the_rate_does_not_depend_on_the_length_it_is_the_run_asked_for_at_once(tmp_path):
    at_once, later = tmp_path / "at-once", tmp_path / "later"
    constant = "schedule.kind=constant"
    train(tiny(constant, "training.epochs=3"), at_once, quiet=True)
    train(tiny(constant, "training.epochs=1"), later, quiet=True)
    train(tiny(constant, "training.epochs=3"), later, resume=True, quiet=True)
    file = later / "best.safetensors"
    best = load_checkpoint(file)
    if best.progress.step == 6:  # the first epoch is the best one: what it knew is its own length
        assert best.progress.total_steps == 6
        best.progress.total_steps = 18
        save_checkpoint(file, best)
    assert_same_run(later, at_once)


def test_from_here_on_the_rates_are_those_of_a_run_of_the_new_length(finished, longer):
    before, after = rows_of(finished), rows_of(longer)
    assert after[: len(before)] == before, "what was written stays"
    from minran.train import build

    schedule = build(tiny("training.epochs=3")).schedule
    added = after[len(before) :]
    assert [row["step"] for row in added] == [14, 16, 18, 18]
    assert [row["lr"] for row in added] == [schedule(row["step"] - 1) for row in added]


def test_afterwards_recipe_and_checkpoint_agree_and_the_run_is_finished(longer, capsys):
    assert Run(longer).recipe().training.epochs == 3
    checkpoint = load_checkpoint(longer / "last.safetensors")
    assert "epochs = 3" in checkpoint.recipe
    assert checkpoint.progress.total_steps == checkpoint.progress.step == 18
    before = contents(longer)
    assert cli.main(["train", "--resume", str(longer)]) == 0
    assert "finished already" in capsys.readouterr().out
    assert contents(longer) == before


def test_stopped_again_a_plain_resume_goes_on(finished, longer, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    result = train(
        tiny("training.epochs=3"),
        folder,
        resume=True,
        quiet=True,
        on_row=lambda row: signal.raise_signal(signal.SIGTERM),
    )
    assert not result.finished
    assert cli.main(["train", "--resume", str(folder), "--quiet"]) == 0
    assert_same_run(folder, longer)


# Operations on files: 1-4 write recipe.toml, 5-8 the checkpoint, then environment.json, rows, ...
@pytest.mark.parametrize("at", [1, 2, 3, 5, 7, 9, 13, 16])
def test_killed_in_that_very_moment(finished, longer, tmp_path, at):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    child = start_child(tiny("training.epochs=3"), folder, at)
    child.stdout.read()
    assert child.wait() == -signal.SIGKILL
    run = Run(folder)
    if run.recipe().training.epochs == 2:
        assert cli.main(["train", "--resume", str(folder), "--quiet", "--epochs", "3"]) == 0
    else:
        assert cli.main(["train", "--resume", str(folder), "--quiet"]) == 0
    assert_same_run(folder, longer)


def test_a_run_that_came_to_no_checkpoint(tmp_path, finished):
    folder = tmp_path / "run"
    Run(folder).create(tiny("training.epochs=9"))
    assert train(tiny(), folder, resume=True, quiet=True).finished
    assert_same_run(folder, finished)
    assert Run(folder).recipe().training.epochs == 2


@pytest.mark.parametrize("length", ["training.epochs=1", "training.iterations=12"])
def test_no_less_than_was_done(finished, length):
    before = contents(finished)
    with pytest.raises(CheckpointError, match=r"12 steps \(2 epochs\) already.*ask for more"):
        train(tiny(length), finished, resume=True, quiet=True)
    assert contents(finished) == before


def test_anything_else_is_another_run(finished):
    with pytest.raises(CheckpointError, match=r"optimizer.lr was 0.2 and is 0.1 now"):
        train(tiny("optimizer.lr=0.1", "training.epochs=3"), finished, resume=True, quiet=True)


def test_an_entry_without_an_effect_is_refused():
    for change in ("schedule.milestones=[3]", "schedule.factor=0.1"):
        with pytest.raises(RecipeError, match=r"no effect: schedule.kind is 'one_cycle'"):
            tiny(change)
    with pytest.raises(RecipeError, match=r"schedule.warmup would have no effect"):
        tiny("schedule.kind=constant", "schedule.warmup=0.1")
    with pytest.raises(RecipeError, match=r"no effect: training.iterations is 9"):
        tiny("training.iterations=9", "training.epochs=3")
    recipe = tiny()
    recipe.schedule.milestones = [3]
    with pytest.raises(RecipeError, match=r"schedule.milestones = .3. would have no effect"):
        train(recipe, "nowhere")
    assert not Path("nowhere").exists()


def test_epochs_that_are_asked_for_count_instead_of_the_recipes_iterations():
    recipe = load_recipe("cifar10-attention56", ["training.epochs=2", "schedule.kind=one_cycle"])
    assert (recipe.training.iterations, recipe.training.epochs) == (0, 2)
    assert recipe.schedule.milestones == [], "what only multistep uses is dropped with it"
