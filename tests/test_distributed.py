"""Several processes take the steps that one takes, and end together, well or badly."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import distributed_worker
import numpy as np
import pytest
from train.train_helpers import assert_same_run

from minran import checks, distributed, tensor
from minran.backend import world
from minran.cli import main
from minran.train import Run, load_checkpoint, read_history

BESIDE = str(Path(sys.executable).parent)
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([BESIDE, os.environ.get("PATH", "")]))
MISSING = [
    name
    for name, there in (
        ("mpi4py", importlib.util.find_spec("mpi4py") is not None),
        ("mpiexec", MPIEXEC is not None),
    )
    if not there
]
needs_mpi = pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} missing")

TESTS = Path(__file__).parent
TIME_LIMIT = 60
"""Seconds after which a job counts as hanging; the longest takes a few."""

TINY = """
name = "tiny"
seed = 31
[model]
name = "attention_nano"
options = { stem_width = 8, widths = [8, 8], tail_width = 8, t = 1, dtype = "float64" }
[data]
name = "shapes"
train_count = 27
test_count = 41
[optimizer]
lr = 0.02
[augment]
cutout = 6
mixup = 0.3
[training]
epochs = 2
batch_size = 9
test_batch_size = 8
log_every = 1
checkpoint_every = 2
label_smoothing = 0.1
ema = 0.5
"""


def environment(**changes: str) -> dict[str, str]:
    """Nothing of a world that the tests themselves may run in."""
    mine = {
        key: value for key, value in os.environ.items() if "MPI" not in key and "PMI" not in key
    }
    mine.pop("MINRAN_NUM_THREADS", None)
    return mine | {"PYTHONPATH": str(TESTS.parent), "OPENBLAS_NUM_THREADS": "1"} | changes


def start(processes: int, *arguments: str) -> subprocess.Popen[str]:
    """`mpiexec -n processes python arguments`."""
    assert MPIEXEC is not None
    return subprocess.Popen(
        [MPIEXEC, "-n", str(processes), sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def finish(job: subprocess.Popen[str], limit: float = TIME_LIMIT) -> tuple[int, str, str]:
    """The job's exit status, and what it printed; a job that hangs is an error."""
    try:
        output, errors = job.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        job.kill()
        output, errors = job.communicate()
        pytest.fail(f"the job hangs:\n{output}\n{errors}")
    return job.returncode, output, errors


def worker(processes: int, *arguments: str, limit: float = TIME_LIMIT) -> tuple[int, str, str]:
    """A task of distributed_worker.py."""
    return finish(start(processes, str(TESTS / "distributed_worker.py"), *arguments), limit)


def train_command(folder: Path, *more: str) -> list[str]:
    """Train TINY as the run `folder`."""
    recipe = folder.parent / "tiny.toml"
    recipe.write_text(TINY)
    place = ["--runs", str(folder.parent), "--name", folder.name]
    return ["train", "--recipe", str(recipe), *place, *more]


def trained(processes: int, *command: str) -> tuple[int, str, str]:
    """`mpiexec -n processes minran command`."""
    return finish(start(processes, "-m", "minran", *command))


def assert_close(one: np.ndarray, other: np.ndarray, what: str) -> None:
    """Equal to 1e-10 of the largest number; gradients of 0 are not, by roundings of 1e-18."""
    error = np.abs(one - other).max() / max(np.abs(one).max(), 1e-7)
    assert error <= 1e-10, f"{what}: relative error {error:.1e}"


def losses(folder: Path) -> np.ndarray:
    """Every loss of a run's history: of steps, epochs and tests."""
    keys = ("loss", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    rows = read_history(Run(folder).history_file)
    return np.array([row[key] for row in rows for key in keys if key in row])


# --- one process


def test_alone_nothing_changes() -> None:
    gradients = np.arange(3.0)
    alone = world.World()
    assert (alone.rank, alone.size, alone.counts(7)) == (0, 1, [7])
    assert alone.sum(gradients) is gradients
    assert distributed.share(5) == slice(0, 5)
    assert distributed.weight(5) == 1
    assert distributed.sum_numbers(2, 0.5) == [2, 0.5]
    assert distributed.leads()
    with distributed.leader_first():
        assert distributed.from_leader(lambda: "found") == "found"


def test_a_step_prints_no_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is made ready although nobody needs it took a third of a step."""
    monkeypatch.setattr(checks, "shortened", None)
    distributed.sum_gradients([tensor([1.0], requires_grad=True)])


def test_alone_mpi_is_not_imported() -> None:
    program = (
        "import sys; from minran import distributed; world = distributed.start();"
        "assert world.size == 1 and 'mpi4py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], env=environment(), check=True)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_make_up_the_batch(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (7, 8, 64, 100):
        found, weights = [], []
        for rank in range(size):
            place = world.World()
            place.rank, place.size = rank, size
            monkeypatch.setattr(world, "_current", place)
            mine = distributed.share(count)
            found += range(count)[mine]
            weights.append(distributed.weight(count))
            assert mine.stop - mine.start in (count // size, -(-count // size))
        assert found == list(range(count))
        assert sum(weights) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("variable", distributed.RANK_VARIABLES)
def test_without_mpi4py_a_sentence_says_what_to_install(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "0")
    monkeypatch.delenv("PMI_SIZE", raising=False)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert main(["train", "--recipe", "quickstart"]) == 2
    assert 'pip install "minran[distributed]"' in capsys.readouterr().err


@needs_mpi
def test_the_mpiexec_of_another_mpi_is_noticed() -> None:
    """Each process would be alone, and all would write the same files."""
    program = "from minran import distributed; distributed.start()"
    job = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(OMPI_COMM_WORLD_RANK="1", OMPI_COMM_WORLD_SIZE="2"),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert job.returncode != 0
    assert "another MPI" in job.stderr


# --- several processes


@needs_mpi
@pytest.mark.parametrize("size", [2, 3])
def test_sums_run_in_the_order_of_processes(size: int, tmp_path: Path) -> None:
    status, _, errors = worker(size, "world", str(tmp_path / "found"))
    assert status == 0, errors
    found = [np.load(tmp_path / f"found.{rank}.npz") for rank in range(size)]
    for key in found[0].files:
        for here in found:
            if key.startswith("sum"):
                total = sum(each[key.replace("sum", "own")] for each in found)
                assert here[key].dtype == total.dtype
                np.testing.assert_array_equal(here[key], total)
            elif key.startswith("gathered"):
                own = np.stack([each[key.replace("gathered", "own")] for each in found])
                np.testing.assert_array_equal(here[key], own)
    for here in found:
        assert list(here["counts"]) == [10 * rank + 1 for rank in range(size)]
        assert here["leader"] == found[0]["leader"]
        assert str(here["error"]) == "process 0 found no data"


@needs_mpi
@pytest.mark.parametrize(
    ("size", "batch", "model", "unit"),
    [
        (2, 6, "attention_nano", ""),
        (3, 7, "attention_nano", "inception"),
        (2, 3, "attention56_cifar", ""),
    ],
)
def test_steps_are_those_of_one_process(
    size: int, batch: int, model: str, unit: str, tmp_path: Path
) -> None:
    """Losses, gradients, running statistics and weights, with equal and unequal shares."""
    status, _, errors = worker(size, "steps", str(tmp_path / "all.npz"), str(batch), model, unit)
    assert status == 0, errors
    distributed_worker.steps(str(tmp_path / "one.npz"), str(batch), model, unit)
    one, all_ = np.load(tmp_path / "one.npz"), np.load(tmp_path / "all.npz")
    assert one.files == all_.files
    for key in set(one.files) - {"threads"}:
        assert one[key].dtype == all_[key].dtype
        assert_close(one[key], all_[key], key)
    cores = len(os.sched_getaffinity(0))
    assert list(all_["threads"]) == [max(1, cores // size)] * size


@needs_mpi
def test_a_run_is_that_of_one_process_and_repeats(tmp_path: Path) -> None:
    """With mixup, cutout, smoothing, unequal shares, and test batches of one picture."""
    assert main(train_command(tmp_path / "one", "--quiet")) == 0
    for name in ("two", "again"):
        status, output, errors = trained(2, *train_command(tmp_path / name))
        assert status == 0, errors
        assert output.count("epoch   1") == output.count("test accuracy") == 1
        assert not errors
    assert_close(losses(tmp_path / "one"), losses(tmp_path / "two"), "losses")
    last = [load_checkpoint(tmp_path / name / "last.safetensors") for name in ("one", "two")]
    for key, array in last[0].model.items():
        assert_close(array, last[1].model[key], key)
    assert_same_run(tmp_path / "again", tmp_path / "two")
    assert sorted(os.listdir(tmp_path / "two")) == sorted(os.listdir(tmp_path / "one"))

    # A mistake that all processes make is told once.
    status, output, errors = trained(2, *train_command(tmp_path / "two"))
    assert status == 2
    assert errors.count("holds a run already") == 1


@needs_mpi
def test_processes_begin_with_the_same_weights_and_freeze_the_same(tmp_path: Path) -> None:
    assert main(train_command(tmp_path / "first", "--quiet")) == 0
    begin = ["--init", str(tmp_path / "first"), "--set", "training.freeze=['stem', 'stages.0']"]
    assert main(train_command(tmp_path / "one", *begin, "--quiet")) == 0
    status, output, errors = trained(2, *train_command(tmp_path / "two", *begin))
    assert status == 0 and output.count("weights of") == 1, errors
    assert_close(losses(tmp_path / "one"), losses(tmp_path / "two"), "losses")
    names = ("first/best", "one/last", "two/last")
    begun, *last = (load_checkpoint(tmp_path / f"{name}.safetensors").model for name in names)
    for key, array in last[0].items():
        assert_close(array, last[1][key], key)
        assert np.array_equal(last[1][key], begun[key]) == key.startswith(("stem.", "stages.0."))


@needs_mpi
def test_one_process_writes(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    place = [str(tmp_path / name) for name in ("found.npz", "tiny.toml", "run")]
    status, _, errors = worker(2, "writes", *place)
    assert status == 0, errors
    found = np.load(tmp_path / "found.npz")
    rows = len(read_history(Run(tmp_path / "run").history_file))
    assert found["files"][0] > rows and found["files"][1] == 0
    assert list(found["told"]) == [rows, 0]
    assert list(found["known"]) == [rows, rows]


@needs_mpi
def test_a_stopped_run_goes_on_in_any_number_of_processes(tmp_path: Path) -> None:
    job = start(2, "-m", "minran", *train_command(tmp_path / "whole"))
    assert finish(job)[0] == 0
    job = start(2, "-m", "minran", *train_command(tmp_path / "cut", "--set", "training.epochs=2"))
    history = Run(tmp_path / "cut").history_file
    deadline = time.monotonic() + TIME_LIMIT
    while not (history.exists() and history.read_text()) and time.monotonic() < deadline:
        time.sleep(0.005)
    job.send_signal(signal.SIGTERM)
    status, output, _ = finish(job)
    assert status == 130
    assert output.count("go on with --resume") == 1
    assert 0 < Run(tmp_path / "cut").progress().step < 6
    shutil.copytree(tmp_path / "cut", tmp_path / "other")

    assert trained(2, "train", "--resume", str(tmp_path / "cut"))[0] == 0
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert main(["train", "--resume", str(tmp_path / "other"), "--quiet"]) == 0
    assert_close(losses(tmp_path / "other"), losses(tmp_path / "whole"), "losses")


@needs_mpi
def test_batches_too_small_for_all_are_refused(tmp_path: Path) -> None:
    command = train_command(tmp_path / "run", "--set", "training.batch_size=1")
    status, _, errors = trained(2, *command)
    assert status == 2
    assert errors.count("training.batch_size is 1") == 1
    assert not (tmp_path / "run").exists()


@needs_mpi
@pytest.mark.parametrize(
    ("rank", "how"),
    [
        (0, "raises"),
        (1, "raises"),
        (0, "killed"),
        (1, "killed"),
        (0, "exit0"),
        (1, "exit0"),
        (1, "exit3"),
        (1, "interrupted"),
    ],
)
def test_who_dies_takes_the_others_along(rank: int, how: str) -> None:
    status, _, errors = worker(2, "fails", str(rank), how)
    assert status != 0
    if how == "raises":
        assert errors.count("RuntimeError: the disk of this machine is on fire") == 1
        assert rank == 0 or "process 1: Traceback" in errors
    if how.startswith("exit"):
        assert f"process {rank} has ended while process {1 - rank} waits for it" in errors


@needs_mpi
def test_processes_may_end_one_after_the_other() -> None:
    assert worker(2, "ends_apart") == (0, "done\n", "")


@needs_mpi
def test_a_process_that_differs_is_named(tmp_path: Path) -> None:
    status, _, errors = worker(2, "unlike", str(tmp_path / "said"))
    assert status == 0, errors
    said, also = ((tmp_path / f"said.{rank}").read_text().splitlines() for rank in (0, 1))
    assert said == also
    what = [
        "the number of test images is 13 in process 1 and 12 in process 0",
        "the list of classes of test images is [",
        "the checksum of the test labels is ",
        "the checksum of the test images is ",
        "seed is 1 in process 1 and 0 in process 0",
        "epochs is 2 in process 1 and 3 in process 0",
        "of 0 is None in process 1 and 1 in process 0",
    ]
    assert len(said) == len(what)
    for sentence, part in zip(said, what, strict=True):
        assert part in sentence


@needs_mpi
@pytest.mark.parametrize("changes", ["--set=seed=4", "--epochs=3", "--set=data.train_count=36"])
def test_a_process_with_another_recipe_is_named(changes: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    place = [str(tmp_path / name) for name in ("tiny.toml", "runs")]
    status, output, errors = worker(2, "other_recipe", *place, changes)
    assert (status, output) == (2, "")
    # One sentence of one process; what MPI itself says of the end follows.
    assert errors.startswith("minran: all processes must do the same: ")
    assert errors.count("minran: ") == errors.count("in process 1 and") == 1
    assert changes.removeprefix("--set=").removeprefix("--").split("=")[0] in errors
    assert not (tmp_path / "runs").exists()
