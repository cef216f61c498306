"""The bench from its options to its files, with workers that answer at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_helpers import FakeWorker, ScriptedMachine, arguments

from minran.bench import run
from minran.errors import RecipeError
from minran.models import create_model
from minran.workshop.bench import compare, contenders, report, session
from minran.workshop.bench.adapters.floors import bytes_of_step
from minran.workshop.bench.compare import Team, summary, team_of
from minran.workshop.bench.contenders import CONTENDERS, TORCH, named
from minran.workshop.bench.report import markdown, median, points, row
from minran.workshop.bench.rounds import Settings
from minran.workshop.bench.session import COPY_BYTES


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> type[FakeWorker]:
    """Every worker is a fake, every framework installed, nobody watches."""
    FakeWorker.seconds = dict.fromkeys(CONTENDERS, 1.0)
    FakeWorker.closed, FakeWorker.asked, FakeWorker.settings = [], [], []
    FakeWorker.kernels = {"conv_forward": 0.25}
    monkeypatch.setattr(compare, "Worker", FakeWorker)
    monkeypatch.setattr(compare, "Machine", ScriptedMachine)
    monkeypatch.setattr(contenders, "is_installed", lambda need: True)
    return FakeWorker


def turn(
    seconds: dict[str, float], others: float | None, disturbed: bool, kept: bool
) -> dict[str, Any]:
    cores = dict.fromkeys(seconds, others)
    return {"seconds": seconds, "others_cores": cores, "disturbed": disturbed, "kept": kept}


def test_a_measurement_counts_calls_and_ratios() -> None:
    chosen = named("minran", "torch")
    turns = [(4.0, 1.0, True), (9.0, 1.5, True), (1.0, 9.0, False)]
    rounds = [turn({"minran": a, "torch": b}, 0.0, False, kept) for a, b, kept in turns]
    result = summary(chosen, rounds, {"minran": 2, "torch": 1}, {})
    ours = row(result, "minran")["seconds"]
    assert (ours["low"], ours["high"], ours["n"]) == (2.0, 4.5, 2)
    assert median(result, "torch") == 1.25
    ratio = row(result, "torch")["ratio"]
    assert (ratio["low"], ratio["median"], ratio["high"]) == (2.0, 2.5, 3.0)
    assert row(result, "minran")["ratio"] is None
    assert row(result, "jax") == {} and median(result, "jax") is None


def test_short_jobs_are_repeated_until_a_turn_is_long_enough(workers: Any) -> None:
    workers.seconds = {"minran": 0.2, "torch": 2.0}
    with team_of(named("minran", "torch"), Settings(rounds=2, turn_seconds=0.5)) as team:
        result = team.measure("step", {"model": "m"})
    assert [each["calls_per_turn"] for each in result["contenders"]] == [3, 1]
    assert [name for name, do, _ in workers.asked if do == "run"] == ["minran", "torch"] * 2
    assert row(result, "torch")["ratio"]["median"] == pytest.approx(0.1)
    assert sorted(workers.closed) == ["minran", "torch"]


def test_who_fails_is_left_out_with_a_note(workers: Any) -> None:
    workers.seconds = {"minran": 1.0, "torch": "out of memory", "torch_channels_last": -1.0}
    who = named("minran", "torch", "torch_channels_last", "jax")
    with team_of(who, Settings(rounds=1)) as team:
        first = team.measure("step", {})
        second = team.measure("step", {})
    for result in (first, second):
        assert [each["name"] for each in result["contenders"] if each["seconds"]] == ["minran"]
    assert first["notes"] == ["JAX jit: cannot start", "PyTorch eager, NCHW: out of memory"]
    assert [name for name, do, _ in workers.asked if do == "prepare"].count("torch") == 1
    assert "out of memory" in report.text(first)


def test_nothing_is_started_when_the_time_is_up(workers: Any) -> None:
    with team_of(named("minran"), Settings(rounds=1, deadline=0.0)) as team:
        result = team.measure("step", {"model": "m", "batch": 1})
    assert result["rounds"] == []
    assert result["notes"] == ["minran: not started, the time is up"]
    assert "time is up" in report.text(result)


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "is_installed", lambda need: need not in ("torch", "mpiexec"))
    team = Team(contenders.NETWORKS, Settings())
    assert [each.name for each in team.contenders] == ["minran", "products"]
    assert team.notes[:2] == [
        "minran, several processes: mpiexec not installed",
        "PyTorch eager, NCHW: torch not installed",
    ]
    only = Team(contenders.NETWORKS, Settings(only=("minran", "torch")))
    assert [each.name for each in only.contenders] == ["minran"] and len(only.notes) == 1


def check_document(path: Path) -> dict[str, Any]:
    """The promises of the JSON: whoever reads it relies on these names."""
    document: dict[str, Any] = json.loads(path.read_text())
    assert set(document) == {"format", "environment", "settings", "sections", "roofline"}
    assert document["format"] == report.FORMAT
    assert {"date", "commit", "cpu", "cores", "numpy", "command"} <= set(document["environment"])
    assert {"rounds", "threads", "limit", "device"} <= set(document["settings"])
    spread = {"median", "low", "first_quartile", "third_quartile", "high", "n"}
    for measurements in document["sections"].values():
        for each in measurements:
            assert {"title", "job", "options", "contenders", "rounds", "notes"} <= set(each)
            assert {"kept_rounds", "disturbed_rounds", "reference"} <= set(each)
            for shown in each["contenders"]:
                assert {"name", "label", "seconds", "ratio", "to_torch"} <= set(shown)
                assert shown["seconds"] is None or set(shown["seconds"]) == spread
                assert shown["ratio"] is None or set(shown["ratio"]) == spread
            for measured in each["rounds"]:
                assert set(measured) == {"seconds", "others_cores", "disturbed", "kept"}
    return document


def test_all_sections_end_in_one_file_and_a_picture(
    workers: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, picture = tmp_path / "new" / "bench.json", tmp_path / "bench.png"
    asked = ["--ops", "--peers", "--scaling", "--decisions"]
    args = arguments(*asked, "--rounds", "2", "--json", str(file))

    args.plot = str(picture)
    monkeypatch.setattr("sys.argv", ["/home/somebody/minran/bench/__main__.py", *asked])
    assert run(args) == 0
    document = check_document(file)
    command = "python -m minran.bench --ops --peers --scaling --decisions"
    assert document["environment"]["command"] == command
    counts = {name: len(found) for name, found in document["sections"].items()}
    assert counts == {
        "ops": 2 * len(session.op_cases(64)),
        "peers": 3,
        "scaling": 7,
        "decisions": 1,
    }
    pages = markdown(document)
    assert "| `conv2d 3x3 3->16 at 32x32` | 1000 | 1.00 | 1000 | 1000 | 1.00 | 100% |" in pages
    assert "| DeZero | 1000 | 1.00 (1.00-1.00) | 1.00 (1.00-1.00) | 300 |" in pages
    drawn = points(document)
    assert ("attention56_cifar, training step, batch 16", "minran", 1, 1, 1) in drawn
    assert picture.stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "conv2d 3x3 3->16 at 32x32" in shown
    assert "attention128_cifar, batch 64" in shown
    assert "DeZero" in shown


def test_the_gpu_section(workers: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workers.seconds = {
        "minran": 0.02,
        "minran_captured": 0.005,
        "torch": 0.012,
        "torch_channels_last": 0.01,
        "torch_compiled": "no compiler",
    }
    file = tmp_path / "gpu.json"
    args = arguments("--device", "gpu", "--rounds", "3", "--json", str(file))
    assert run(args) == 0
    document = check_document(file)
    steps = document["sections"]["networks"]
    assert [each["options"]["batch"] for each in steps] == [128, 64, 512] * 2
    assert steps[0]["reference"] == "minran_captured"
    ratios = {row["name"]: row["ratio"] for row in steps[0]["contenders"]}
    assert ratios["torch_channels_last"]["median"] == pytest.approx(0.5)
    assert steps[0]["kernels"] == {"conv_forward": 0.25}
    assert steps[3]["notes"] == ["torch.compile(max-autotune): no compiler"]
    assert "kernels" not in steps[3]
    # The copy was measured first, and took 0.02 s for 2 x 256 MiB; the step took 0.005 s.
    assert next(options for _, do, options in workers.asked if do == "prepare")["job"] == "copy"
    size = bytes_of_step(create_model("attention56_cifar"), 128, 32)
    share = size / (2 * COPY_BYTES / 0.02) / 0.005
    assert document["roofline"][0]["share"] == pytest.approx(share, rel=1e-9)
    assert len(document["roofline"]) == 6
    assert document["settings"]["precision"] == "tf32"
    assert "conv_forward" in capsys.readouterr().out


def test_the_copy_is_measured_whoever_else_is(workers: Any, tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    words = "--device", "gpu", "--batch", "64", "--only", "torch", "--json", str(file)
    assert run(arguments(*words)) == 0
    assert [row["contender"] for row in check_document(file)["roofline"]] == ["torch"]


def test_threads_and_processes_by_number_of_cores(
    workers: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workers.seconds |= {"minran": 0.5, "minran_mpi": 0.4, "torch_channels_last": 0.25}
    of_kernel = {"calls": 3, "seconds": 0.5, "processor_seconds": 0.8}
    workers.kernels = {"conv2d": of_kernel, "relu": dict.fromkeys(of_kernel, 0.002)}
    file = tmp_path / "cores.json"
    words = "--cores", "1", "2", "--batch", "8", "16", "--rounds", "2", "--json", str(file)
    assert run(arguments(*words)) == 0
    found = check_document(file)["sections"]["cores"]
    asked = [(each["options"]["batch"], each["cores"]) for each in found]
    assert asked == [(8, 1), (8, 2), (16, 1), (16, 2)]
    named = [[row["name"] for row in each["contenders"]] for each in found]
    assert named == [["minran", TORCH], ["minran", "minran_mpi", TORCH]] * 2
    assert found[1]["kernels"] == workers.kernels
    assert [each["kept"] for each in found[1]["kernel_rounds"]] == [True, True]
    assert {each.threads for each in workers.settings} == {1, 2}
    assert all(each.threads == each.processes for each in workers.settings)
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    # Of 2 x 0.502 s two threads worked 0.802 s: for 0.202 s one was alone, a quarter of 0.802 s.
    # As one core takes the same 0.502 s, all is serial by times.
    of_step = "batch 8, 2 cores 500 2.00 400 1.60 1.60 25% 100%"
    of_conv = "conv2d 3 500 500 1.60 25% 100%"
    assert of_step.split() in lines and of_conv.split() in lines
    assert ["batch", "8,", "1", "cores", "500", "2.00", "1.60"] in lines
    assert "relu" not in shown  # less than a hundredth of the step


def test_serial_parts() -> None:
    row = {"seconds": 1.0, "processor_seconds": 1.6}
    assert report.utilisation(row) == 1.6
    # Of 2 s that two threads had 0.4 are missing: so long one worked and the other waited.
    assert report.alone(row, 2) == pytest.approx(0.4 / 1.6)
    # Three threads: of 3 s 1.4 are missing, which two threads waited.
    assert report.alone(row, 3) == pytest.approx(0.7 / 1.6)
    assert report.alone({"seconds": 1.0, "processor_seconds": 4.0}, 4) == 0
    # One second: a fifth of it serial, the rest on 4 threads.
    assert report.amdahl(1.0, 0.2 + 0.8 / 4, 4) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cores", "1", "0"], r"--cores must be at least 1, got \[1, 0\]"),
        (["--model", "attention57"], "no model 'attention57'"),
        (["--rounds", "0"], "--rounds must be at least 1, got 0"),
        (["--batch", "64", "0"], r"--batch must be at least 1, got \[64, 0\]"),
        (["--only", "caffe"], "no contender 'caffe'; there are minran"),
    ],
)
def test_wrong_options_are_named(workers: Any, words: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        run(arguments(*words))


def test_a_disturbed_measurement_says_so() -> None:
    chosen = named("minran")
    rounds = [
        turn({"minran": 1.0}, 0.9, True, False),
        turn({"minran": 1.0}, 0.4, True, True),
        turn({"minran": 1.0}, 0.0, False, True),
    ]
    job = {"job": "data", "options": {"batch": 8}, "notes": []}
    shown = report.text(job | summary(chosen, rounds, {"minran": 1}, {}))
    assert "1 of the rounds that count were DISTURBED: others used up to 0.40 cores" in shown
    assert "1 disturbed rounds were measured again" in shown
    rounds = [turn({"minran": 1.0}, None, False, True)]
    blind = job | summary(chosen, rounds, {"minran": 1}, {})
    assert "nobody could tell" in report.text(blind)
