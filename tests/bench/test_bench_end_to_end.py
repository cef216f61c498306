"""The bench with real processes: a small network, one round, no judgement of its speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench_helpers import arguments
from test_bench_session import check_document

from minran.bench import run
from minran.workshop.bench import contenders, worker
from minran.workshop.bench.contenders import CONTENDERS, Contender
from minran.workshop.bench.rounds import Settings
from minran.workshop.bench.worker import Worker, WorkerError

NANO = ["--model", "attention_nano", "--batch", "4", "--rounds", "1", "--threads", "1"]
NANO += ["--extra-rounds", "0", "--patience", "0"]


def test_beside_pytorch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    pytest.importorskip("torch")
    names = ["minran", "products", "torch_channels_last"]
    args = arguments(*NANO, "--jobs", "step", "--only", *names, "--json", str(file))
    assert run(args) == 0
    (measured,) = check_document(file)["sections"]["networks"]
    rows = {row["name"]: row for row in measured["contenders"]}
    assert list(rows) == names
    assert len(measured["rounds"]) == measured["kept_rounds"] == 1
    assert rows["torch_channels_last"]["ratio"]["median"] > 0
    assert rows["minran"]["parameters"] == rows["torch_channels_last"]["parameters"] == 16_602
    assert rows["minran"]["peak_bytes"] > rows["minran"]["import_bytes"] > 10_000_000
    assert "PyTorch eager, channels_last" in capsys.readouterr().out


def test_in_two_processes(capsys: pytest.CaptureFixture[str]) -> None:
    if not all(map(contenders.is_installed, CONTENDERS["minran_mpi"].needs)):
        pytest.skip("no mpi4py with an mpiexec here")
    assert run(arguments(*NANO, "--jobs", "step", "--only", "minran_mpi")) == 0
    assert "minran, 2 processes" in capsys.readouterr().out
    with Worker(CONTENDERS["minran_mpi"], Settings(threads=2)) as worker:
        model = {"model": "no_such_model", "batch": 2, "size": 32, "classes": 10}
        # One process fails, or both: the job ends, and nobody waits for ever.
        with pytest.raises(WorkerError, match="unknown model 'no_such_model'"):
            worker.ask("prepare", timeout=60, job="step", options=model)


BLOCK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Missing())
"""


def test_with_numpy_alone(tmp_path: Path) -> None:
    """No PyTorch, and nothing of what only training, pictures and downloads need."""
    missing = ("torch", "mpi4py", "matplotlib", "tqdm", "safetensors")
    missing += ("platformdirs", "PIL", "cupy", "psutil")
    (tmp_path / "sitecustomize.py").write_text(BLOCK.format(names=missing))
    file = tmp_path / "bench.json"
    root = Path(worker.minran.__file__).parents[1]
    path = os.pathsep.join([str(tmp_path), str(root)])
    done = subprocess.run(
        [sys.executable, "-m", "minran.bench", *NANO, "--json", str(file)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "PyTorch eager, NCHW: torch not installed" in done.stdout
    assert "import minran takes" in done.stdout
    assert "nobody could tell whether other programs were at work (no psutil)" in done.stdout
    document = check_document(file)
    assert set(document["sections"]) == {"networks", "data", "import", "copy"}
    step = document["sections"]["networks"][0]
    assert [row["name"] for row in step["contenders"]] == ["minran", "products"]
    assert document["roofline"][0]["share"] > 0


def test_a_worker_that_dies_ends_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with Worker(CONTENDERS["products"], Settings()) as worker:
        with pytest.raises(WorkerError, match="unexpected keyword"):
            worker.ask("prepare", job="step", options={"colour": "blue"})
        worker._process.kill()
        with pytest.raises(WorkerError, match="ended unexpectedly"):
            worker.ask("facts")
    with pytest.raises(WorkerError, match="Nothing: ModuleNotFoundError"):
        Worker(Contender("nothing", "Nothing", "nothing:Nothing"), Settings())


def test_a_worker_that_takes_too_long_is_stopped() -> None:
    with Worker(CONTENDERS["products"], Settings()) as worker:
        worker.ask("prepare", job="op", options={**_product(), "backward": True})
        with pytest.raises(WorkerError, match="stopped, not done within 0 s"):
            worker.ask("run", timeout=0.3, repeat=10**9)


def _product() -> dict[str, object]:
    return {"kind": "conv2d", "shape": [1, 4, 4, 4], "out": 4, "kernel": 1, "stride": 1}


def test_workers_get_this_minran_and_the_threads() -> None:
    environment = worker.environment(3)
    assert environment["PYTHONPATH"].startswith(str(Path(worker.minran.__file__).parents[1]))
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "3"


def test_every_contender_names_an_adapter_that_is_there() -> None:
    folder = Path(contenders.__file__).parent / "adapters"
    for contender in (*CONTENDERS.values(), *contenders.IMPORTS):
        module, _, kind = contender.adapter.partition(":")
        assert f"class {kind}(" in (folder / f"{module}.py").read_text()


@pytest.mark.parametrize("door", ["minran.bench.markdown", "minran.bench.train_twin"])
def test_recorded_commands_have_a_door(door: str) -> None:
    """docs/results names them so."""
    words = ["--help"] if door.endswith("twin") else ["docs/results/cpu-ops.json"]
    done = subprocess.run(
        [sys.executable, "-m", door, *words],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(worker.minran.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--recipe" in done.stdout or "| operation |" in done.stdout
