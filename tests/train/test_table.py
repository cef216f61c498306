from __future__ import annotations

import os

import pytest
from train_helpers import tiny

from minran.errors import BackendError
from minran.train import LiveCurves, Run, compare, list_runs, read_history, train
from minran.train.report import RunSummary


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three runs: finished, stopped by a step too many, and started only."""
    folder = tmp_path_factory.mktemp("runs")
    train(tiny(), folder / "done", quiet=True)
    train(tiny("training.iterations=9"), folder / "group" / "by-steps", quiet=True)
    with pytest.raises(KeyError):
        train(tiny(), folder / "half", quiet=True, on_row=stop_at_step_10)
    Run(folder / "started").create(tiny("training.iterations=100"))
    (folder / "no-run").mkdir()
    return folder


def stop_at_step_10(row):
    if row["step"] == 10:
        raise KeyError


def test_list_runs(folder):
    runs = list_runs(str(folder))
    assert [run.name for run in runs] == ["done", "group/by-steps", "half", "started"]
    assert [run.status for run in runs] == ["finished", "finished", "interrupted", "interrupted"]
    assert [run.epochs for run in runs] == ["2/2", "2/2", "1/2", "0/?"]
    assert {(run.model, run.data) for run in runs} == {("attention_nano", "shapes")}
    tests = [
        row["test_accuracy"]
        for row in read_history(folder / "done" / "history.jsonl")
        if row["kind"] == "epoch"
    ]
    assert (runs[0].best_accuracy, runs[0].last_accuracy) == (max(tests), tests[-1])
    assert runs[3].best_accuracy is None
    assert runs[0].minutes > 0 and runs[3].minutes == 0


def test_a_run_that_trains_now(folder):
    pytest.importorskip("fcntl")
    with Run(folder / "half").lock():
        assert [run.status for run in list_runs(folder)][2] == "running"


def test_a_damaged_run_does_not_hide_the_others(tmp_path):
    Run(tmp_path / "good").create(tiny())
    for name, file in (("a", "recipe_file"), ("b", "history_file"), ("c", "last_file")):
        run = Run(tmp_path / name)
        run.create(tiny())
        getattr(run, file).write_text("{{{\n")
    runs = list_runs(tmp_path)
    assert [run.status.split(":")[0] for run in runs] == ["damaged"] * 3 + ["interrupted"]
    assert len(compare(runs).splitlines()) == 5


def test_rows_and_files_that_cannot_be_do_not_hide_the_others(tmp_path):
    """Rows without their numbers are listed with what there is, damage with its reason."""
    rows = {
        "bare": '{"kind": "epoch"}\n',
        "no numbers": '{"kind": "epoch", "step": 0, "test_accuracy": null, "seconds": null}\n',
        "deep": "[" * 100_000 + "\n",
        "long": '{"kind": "epoch", "step": ' + "9" * 5000 + "}\n",
    }
    for name, text in rows.items():
        run = Run(tmp_path / name)
        run.create(tiny("training.iterations=9"))
        run.history_file.write_text(text)
    recipes = {
        "a deep recipe": "x = " + "[" * 50_000,
        "a long number": "seed = " + "9" * 5000,
        "latin": b"name = '\xff'",
        "huge": "#" * 1_000_000,
    }
    for name, text in recipes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_bytes(
            text if type(text) is bytes else text.encode()
        )
    os.mkfifo(tmp_path / "latin" / "history.jsonl")
    (tmp_path / "a folder" / "recipe.toml").mkdir(parents=True)
    statuses = {run.name: run.status.split(":")[0] for run in list_runs(tmp_path)}
    assert statuses == {
        **dict.fromkeys(["bare", "no numbers"], "interrupted"),
        **dict.fromkeys(["deep", "long", *recipes, "a folder"], "damaged"),
    }
    table = compare(list_runs(tmp_path)).splitlines()
    assert len(table) == 1 + len(statuses) and max(map(len, table)) < 400


def test_names_cannot_break_the_table(tmp_path):
    Run(tmp_path / "two\nlines\x1b[2J").create(tiny("name=x", 'model.name="a\\rb"'))
    line = compare(list_runs(tmp_path)).splitlines()[1]
    assert "two\\nlines\\x1b[2J" in line and "a\\rb" in line and line.isprintable()


def test_a_single_run_can_be_listed_by_its_own_folder(folder):
    assert [run.name for run in list_runs(folder / "done")] == ["done"]


def test_no_runs(tmp_path):
    assert list_runs(tmp_path) == list_runs(tmp_path / "nowhere") == []
    assert compare([]) == "there are no runs yet; start one with minran train"


def test_the_table():
    runs = [
        RunSummary("a", "net", "cifar10", "8/8", 0.7712, 0.77, 12.34, "finished"),
        RunSummary("longer", "network", "shapes", "10/160", None, None, 0.0, "interrupted"),
    ]
    assert compare(runs).splitlines() == [
        "run     model    data     epochs    best    last  minutes  status",
        "a       net      cifar10     8/8  77.12%  77.00%     12.3  finished",
        "longer  network  shapes   10/160       -       -      0.0  interrupted",
    ]


# Curves in a notebook


def test_live_curves_redraw_one_figure(tmp_path, monkeypatch):
    pytest.importorskip("IPython")
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(("update", figure))

    def display(figure, display_id):
        assert display_id is True
        shown.append(("display", figure))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    curves = LiveCurves(every=0)
    result = train(tiny(), tmp_path / "run", quiet=True, on_row=curves)
    assert curves.rows == result.history.rows
    assert [what for what, _ in shown] == ["display"] + ["update"] * 7
    loss, accuracy = curves.figure.axes
    assert [len(line.get_xdata()) for line in loss.lines] == [6, 2]  # steps; tests
    assert [len(line.get_xdata()) for line in accuracy.lines] == [2, 2]

    shown.clear()
    train(tiny(), tmp_path / "rare", quiet=True, on_row=LiveCurves(every=1e9))
    assert len(shown) == 3  # the first row, and the ends of the epochs


def test_live_curves_need_ipython(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(BackendError, match="needs IPython: pip install"):
        LiveCurves()
