from __future__ import annotations

import json
import subprocess

import pytest
from threadpoolctl import ThreadpoolController
from train_helpers import assert_same_arrays, rows_of, tiny

from minran import machine
from minran.cli import main
from minran.errors import CheckpointError, RecipeError
from minran.train import Run, environment, load_checkpoint, train
from minran.train.run import run_folder


@pytest.fixture
def run(tmp_path):
    """A run that was started and came to no checkpoint."""
    run = Run(tmp_path / "runs" / "one")
    run.create(tiny())
    return run


def test_create_writes_the_recipe(run):
    assert run.exists()
    assert run.recipe() == tiny()
    assert [path.name for path in run.folder.iterdir()] == ["recipe.toml"]


def test_no_run_is_overwritten_without_force(run):
    run.last_file.write_text("precious")
    for start in (
        lambda: run.create(tiny("seed=9")),
        lambda: train(tiny("seed=9"), run.folder, quiet=True),
    ):
        with pytest.raises(CheckpointError, match="holds a run already; continue it with --resume"):
            start()
    assert run.recipe() == tiny()
    assert run.last_file.read_text() == "precious"


def test_force_removes_the_files_of_a_run_and_no_others(run):
    for file in (run.last_file, run.best_file, run.history_file, run.environment_file):
        file.write_text("old")
    (run.folder / "notes.txt").write_text("mine")
    (run.folder / "figures").mkdir()
    (run.folder / "figures" / "a.png").write_text("mine")
    run.create(tiny("seed=9"), force=True)
    assert run.recipe().seed == 9
    assert sorted(p.name for p in run.folder.iterdir()) == ["figures", "notes.txt", "recipe.toml"]
    assert (run.folder / "figures" / "a.png").read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_is_no_run_is_never_touched(tmp_path, force):
    (tmp_path / "thesis.tex").write_text("mine")
    for start in (
        lambda: Run(tmp_path).create(tiny(), force),
        lambda: train(tiny(), tmp_path, force=force, quiet=True),
        lambda: train(tiny(), tmp_path / "thesis.tex", force=force, quiet=True),
    ):
        with pytest.raises(CheckpointError, match="exists and is no run"):
            start()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_will_do_and_so_will_one_with_what_a_killed_process_left(tmp_path):
    (tmp_path / ".recipe.toml.123.minran-tmp").write_text("half a rec")
    Run(tmp_path).create(tiny())
    assert Run(tmp_path).recipe() == tiny()


def test_nothing_is_written_for_a_run_that_cannot_start(tmp_path):
    for recipe in (tiny("data.name=nothing"), tiny("model.name=nothing")):
        with pytest.raises(ValueError, match="unknown"):
            train(recipe, tmp_path / "runs" / "x", quiet=True)
    assert not list(tmp_path.iterdir())


def test_there_is_no_run_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no run in .*nowhere"):
        train(tiny(), tmp_path / "nowhere", resume=True, quiet=True)
    assert not list(tmp_path.iterdir())


def test_a_damaged_recipe_is_named(run):
    run.recipe_file.write_text("seed = ")
    with pytest.raises(CheckpointError, match=r"recipe\.toml.*not valid TOML"):
        run.recipe()


def test_resume_refuses_another_recipe(run):
    changed = tiny("optimizer.lr=0.3", "name=renamed")
    with pytest.raises(CheckpointError, match=r"optimizer\.lr was 0\.2 and is 0\.3 now; start"):
        train(changed, run.folder, resume=True, quiet=True)
    assert run.continued(tiny("name=renamed", "description=x")) is None


def test_two_processes_cannot_train_in_one_folder(run):
    pytest.importorskip("fcntl")
    assert not run.is_running()
    with run.lock():
        assert run.is_running()
        with pytest.raises(CheckpointError, match="another process is training in"):
            train(tiny(), run.folder, resume=True, quiet=True)
    assert not run.is_running()
    with run.lock():
        pass


def test_a_lock_clears_what_killed_processes_left(run):
    left = run.folder / ".last.safetensors.123.minran-tmp"
    left.write_text("half")
    with run.lock():
        assert not left.exists()


def test_each_session_notes_what_it_ran_on(run):
    run.note_session()
    run.note_session()
    sessions = json.loads(run.environment_file.read_text())
    assert len(sessions) == 2
    wanted = {"date", "minran", "commit", "python", "numpy", "backend", "platform", "cpu", "cores"}
    assert wanted <= set(sessions[1])
    assert sessions[0]["backend"] == "numpy"
    # With other kernels the same products have other last bits, and take another time.
    blas = ThreadpoolController().select(user_api="blas").info()[0]
    assert sessions[0]["blas"].split()[0] == blas["internal_api"]
    assert sessions[0]["blas"].endswith(str(blas.get("architecture", blas["version"])))
    run.environment_file.write_text("{")
    with pytest.raises(CheckpointError, match=r"environment\.json is damaged"):
        run.note_session()


def test_the_commit_is_that_of_minran_not_of_a_project_around_it(tmp_path, monkeypatch):
    environment()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    installed = tmp_path / "venv" / "site-packages" / "minran"
    installed.mkdir(parents=True)
    monkeypatch.setattr("minran.machine.__file__", str(installed / "machine.py"))
    assert machine.commit() is None


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/", "/abs", "../x", "../../x", "a/../b", "a//b", "a/", "a\\b", "C:x"),
        *("a\nb", "\x1b[2J", "a.", "a ", " a", "con", "NUL.txt", "x/COM1", "a?", "a*", "\udcff"),
        *("~\0", "n" * 300, "\u00e9" * 150),
    ],
)
def test_names_that_lead_out_of_the_folder_of_runs_or_no_system_takes(tmp_path, name):
    with pytest.raises(RecipeError, match="is no name for a run"):
        run_folder(tmp_path, name)


def test_names_that_stay_in_the_folder_of_runs(tmp_path):
    for name in ("a", "seed-0", "group/mine", "\u00e9", "two words", "v1.2", "console", ".x"):
        assert run_folder(tmp_path, name) == tmp_path / name


def test_a_stranger_s_recipe_does_not_choose_where_files_go(tmp_path, capsys):
    recipe = tiny()
    recipe.name = "../../x"
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    before = sorted(tmp_path.rglob("*"))
    runs = str(tmp_path / "a" / "runs")
    for extra in ([], ["--name", "/x"], ["--name", ".."]):
        command = ["train", "--recipe", str(tmp_path / "r.toml"), "--runs", runs, *extra]
        assert main(command) == 2
        assert "is no name for a run" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"9" * 5000, b"5", b"\xff", b"[" + b" " * 2**24]
)
def test_a_damaged_environment_says_what_to_do(run, content):
    run.environment_file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"environment\.json is damaged .*move it away"):
        run.note_session()
    assert run.environment_file.read_bytes() == content


def test_the_commit_of_a_place_that_may_not_be_read(monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.stat", refuse)
    monkeypatch.setattr("pathlib.Path.resolve", lambda path: path)
    assert machine.commit() is None


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
