"""The adapters do the jobs that they name, and the floors are counted right."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from minran import backend, nn
from minran.backend.cpu import blocks, memory
from minran.backend.cpu.blocks import TUNING
from minran.inspect import summary
from minran.models import create_model
from minran.workshop.bench import session, worker
from minran.workshop.bench.adapters import Adapter, NotHere, load, ours
from minran.workshop.bench.adapters.floors import Products, bytes_of_step, convolutions
from minran.workshop.bench.adapters.ours import Minran
from minran.workshop.bench.adapters.pytorch import PyTorch
from minran.workshop.bench.contenders import CONTENDERS

NANO = {"model": "attention_nano", "batch": 2, "size": 32, "classes": 10}
CASES = [
    {**case, "shape": [2, *case["shape"][1:]]}
    for case in session.op_cases(2)
    if 64 in case["shape"] or case["kind"] in ("linear", "cross_entropy", "global_avg_pool")
]


def name(case: dict[str, Any]) -> str:
    return "-".join(str(value) for value in case.values())


@pytest.mark.parametrize("case", CASES, ids=name)
def test_both_sides_do_the_same_operation(case: dict[str, Any]) -> None:
    ours, theirs = Minran(), PyTorch(channels_last=True)
    for backward in (False, True):
        found = np.asarray(ours.prepare("op", {**case, "backward": backward})())
        other = theirs.prepare("op", {**case, "backward": backward})()
        if other.ndim == 4:  # type: ignore[attr-defined]
            other = other.permute(0, 2, 3, 1)  # type: ignore[attr-defined]
        np.testing.assert_allclose(found, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", sorted({case["kind"] for case in session.op_cases(2)}))
def test_every_kind_of_operation_has_a_case_above(kind: str) -> None:
    assert kind in {case["kind"] for case in CASES}


def test_networks_train_and_infer() -> None:
    ours, theirs = Minran(), PyTorch()
    for adapter in (ours, theirs):
        step = adapter.prepare("step", NANO)
        losses = [step() for _ in range(4)]
        assert losses[-1] < losses[0]  # type: ignore[operator]
        assert tuple(adapter.prepare("inference", NANO)().shape) == (2, 10)  # type: ignore[attr-defined]
        units = {"batch": 2, "width": 16, "size": 8, "count": 2}
        gradient = adapter.prepare("units", units)()
        assert np.prod(gradient.shape) == 2 * 16 * 8 * 8  # type: ignore[attr-defined]
    assert ours.parameters == theirs.parameters == create_model("attention_nano").num_parameters()


@pytest.fixture
def undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a decision changes is put back."""
    for name, value in vars(TUNING).items():
        monkeypatch.setattr(TUNING, name, value)
    kernel = backend.current().norm_relu_conv2d
    monkeypatch.setattr(backend.current(), "norm_relu_conv2d", kernel)
    monkeypatch.setattr(blocks, "_threads", blocks.threads())
    # A change of threads ends the pool of threads: let it be another one than the other tests'.
    monkeypatch.setattr(blocks, "_pool", None)


DECISIONS = [each.options["without"] for each in CONTENDERS.values() if "without" in each.options]


@pytest.mark.parametrize("decision", DECISIONS)
def test_without_a_decision_the_step_is_the_same(decision: str, undone: None) -> None:
    with_it = Minran().prepare("step", NANO)
    expected = [with_it() for _ in range(3)]
    without = load("ours:Minran", without=decision).prepare("step", NANO)
    np.testing.assert_allclose([without() for _ in range(3)], expected, rtol=2e-3)


@pytest.mark.parametrize(
    ("decision", "threads", "blas", "count", "reused"),
    [
        ("", 2, 1, 4, True),
        ("fusion", 2, 1, 4, True),
        ("cache_blocks", 2, 1, 2, True),
        ("python_threads", 1, 2, 1, True),
        ("second_core", 1, 1, 4, True),
        ("reuse", 2, 1, 4, False),
    ],
)
def test_what_a_decision_takes_back(
    undone: None, decision: str, threads: int, blas: int, count: int, reused: bool
) -> None:
    blocks.set_threads(2)
    ours.take_back(decision)
    assert backend.has("norm_relu_conv2d") == (decision != "fusion")
    assert blocks.threads() == threads

    def blas_threads(rows: slice) -> int:
        return max(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas")

    assert blocks.map_blocks(blas_threads, 8, 1 << 19) == [blas] * count
    memory._free.clear()
    memory.empty((1 << 15,), np.uint8)
    assert memory.pooled() == (1 << 15) * reused


def test_batches_and_copies_go_on_for_ever() -> None:
    adapter = Minran(threads=2)
    following = adapter.prepare("data", {"batch": 900})
    assert [len(following()[0]) for _ in range(4)] == [900, 900, 200, 900]  # type: ignore[index]
    adapter.prepare("copy", {"bytes": 1 << 20})()


def test_the_products_are_those_of_the_network() -> None:
    shapes = convolutions("attention_nano", batch=3, size=32)
    products = sum(rows * inner * columns for ((rows, inner), (_, columns)), *_ in shapes)
    counted = summary(create_model("attention_nano"))
    assert products == 3 * (counted.multiply_adds - 32 * 10)
    adapter = Products(threads=2)
    adapter.prepare("step", NANO)()
    adapter.prepare("inference", NANO)()
    with pytest.raises(NotHere):
        adapter.prepare("op", {"kind": "sigmoid", "shape": [1, 2, 2, 4], "backward": True})


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_threads_share_the_rows_of_a_product(threads: int) -> None:
    adapter = Products(threads=threads)
    case = {"shape": [1, 5, 5, 4], "out": 7, "kernel": 3, "stride": 1}
    adapter.prepare("op", {"kind": "conv2d", "backward": False, **case})()
    left, right, result = (adapter.array(*shape) for shape in [(25, 36), (36, 7), (25, 7)])
    np.testing.assert_allclose(result, left @ right, rtol=1e-4, atol=1e-4)


def test_the_bytes_of_a_step_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1, stride=2), nn.BatchNormReLU(8), nn.Sigmoid())
    x, y = 4 * 4 * 3, 2 * 2 * 8
    assert bytes_of_step(model, batch=5, size=4) == 5 * 4 * (3 * (x + y) + 8 * y + 3 * y + 2 * y)
    assert model.training


def test_process_0_tells_the_others_what_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(worker.heard(["a", "b"])) == ["a", "b"]
    sent: list[tuple[str | None, int]] = []
    # Messages between two processes of one test.
    comm = SimpleNamespace(
        send=lambda message, rank: sent.append((message, rank)),
        Iprobe=lambda source: source == 0,
        recv=lambda source: sent.pop(0)[source],
    )
    for rank in (0, 1):
        world = SimpleNamespace(size=2, rank=rank, comm=comm)
        monkeypatch.setattr(worker.distributed, "current", lambda world=world: world)
        assert list(worker.heard([] if rank else ["a", "b"])) == ["a", "b"]
        assert sent == ([] if rank else [("a", 1), ("b", 1), (None, 1)])


def test_alone_the_parallel_step_is_the_plain_one() -> None:
    adapter = Minran(parallel=True)
    parallel, plain = adapter.prepare("step", NANO), Minran().prepare("step", NANO)
    assert [parallel() for _ in range(2)] == [plain() for _ in range(2)]
    assert adapter.prepare("inference", NANO)().shape == (2, 10)  # type: ignore[attr-defined]


class Counter(Adapter):
    """An adapter whose job is to count."""

    def versions(self) -> dict[str, str]:
        return {"counter": "1"}

    def make_count(self, start: int) -> Any:
        self.value = start

        def work() -> None:
            self.value += 1

        return work

    def make_fail(self) -> Any:
        raise MemoryError("too much")

    def timed(self, work: Any, repeat: int) -> float:
        for _ in range(repeat):
            work()
        return float(self.value)


def ask(monkeypatch: pytest.MonkeyPatch, *asks: dict[str, Any]) -> list[dict[str, Any]]:
    monkeypatch.setattr(worker, "load", lambda name, **options: Counter(**options))
    described = {"adapter": "counter", "threads": 3}
    return list(worker.replies(described, [json.dumps(each) for each in asks]))


def test_a_worker_answers_each_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare = {"do": "prepare", "job": "count", "options": {"start": 10}, "warmup": 3}
    answers = ask(
        monkeypatch,
        {"do": "run"},
        prepare,
        {"do": "run", "repeat": 5},
        {"do": "prepare", "job": "sleep", "options": {}},
        {"do": "prepare", "job": "fail", "options": {}},
        {"do": "kernels"},
        {"do": "facts"},
    )
    assert answers[0] == {"ready": True}
    assert answers[1]["absent"]
    # Warm-ups left it at 11, 12, 13; the first one does not count.
    assert answers[2] == {"seconds": 12.0}
    assert answers[3] == {"seconds": 18.0}
    assert answers[4] == {"absent": True}
    assert answers[5] == {"error": "MemoryError: too much"}
    assert answers[6]["absent"]
    assert answers[7]["versions"] == {"counter": "1"}
    assert answers[7]["peak_bytes"] >= answers[7]["import_bytes"] > 0
    assert "MemoryError" in capsys.readouterr().err


def test_an_adapter_that_cannot_be_made_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    replies = worker.replies({"adapter": "no_such_module:Nothing"}, [])
    assert "no_such_module" in next(replies)["error"]
    assert list(replies) == []


class Events:
    """CuPy's events with a clock of our own: each record is a millisecond after the last."""

    now = 0.0

    class Event:
        def record(self) -> None:
            Events.now += 1.0
            self.at = Events.now

        def synchronize(self) -> None:
            pass

    @staticmethod
    def get_elapsed_time(start: Events.Event, end: Events.Event) -> float:
        return end.at - start.at


def test_steps_on_a_gpu_are_timed_by_events() -> None:
    adapter = Minran()
    adapter.device = "gpu"
    adapter.event, adapter.elapsed = Events.Event, Events.get_elapsed_time

    def work() -> None:
        Events.now += 10.0

    assert adapter.timed(work, 3) == pytest.approx(0.031)


def test_kernels_are_summed_by_name() -> None:
    launched: list[str] = []
    device = SimpleNamespace(
        xp=SimpleNamespace(cuda=Events),
        has_tf32=True,
        launch=lambda program, kernel, grid, block, args: launched.append(kernel),
    )
    plainly = device.launch
    with ours.launch.using(device):  # type: ignore[arg-type]

        def work() -> None:
            now = ours.launch.device()
            assert now.has_tf32
            for kernel in ("relu<float>", "relu<double>", "pool<float>"):
                now.launch(None, kernel, (1,), (1,), [])  # type: ignore[arg-type]

        assert ours._by_events(work, 2) == {"relu": pytest.approx(0.002), "pool": 0.001}
        assert device.launch is plainly
    assert launched == ["relu<float>", "relu<double>", "pool<float>"] * 2


@pytest.mark.parametrize("captured", [False, True])
def test_the_step_for_a_gpu_runs_on_the_emulated_one(
    monkeypatch: pytest.MonkeyPatch, captured: bool
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "backend")
    from emulation import EmulatedBackend, RemoteDevice

    adapter = Minran(captured=captured)
    adapter.device = "gpu"
    monkeypatch.setattr(backend, "_current", EmulatedBackend(RemoteDevice()))
    step = adapter.prepare("step", {**NANO, "size": 16})
    weight = adapter.graph.optimizer.flat if captured else None
    before = None if weight is None else weight.get().copy()
    step()
    assert adapter.parameters == 16_602
    if weight is not None and before is not None:
        assert np.isfinite(float(adapter.graph.loss.get()))
        assert (weight.get() != before).mean() > 0.9


def test_a_captured_step_has_no_kernels() -> None:
    captured = Minran(captured=True)
    captured.device = "gpu"
    with pytest.raises(NotHere):
        captured.kernels(lambda: None, 1)


def test_adapters_are_loaded_by_name() -> None:
    assert isinstance(load("floors:Products", threads=1), Products)


def test_a_step_on_threads_is_timed_kernel_by_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks that each reading moves on: 1 s of the wall, 2 s of the processor."""
    adapter = Minran()
    x = np.ones((2, 3), np.float32)
    clock = itertools.count()
    monkeypatch.setattr(ours.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(ours.time, "process_time", lambda: 2.0 * next(clock))
    plain = backend.current().relu

    def work() -> None:
        now = backend.current()
        assert np.array_equal(now.relu(x), x) and np.array_equal(now.relu(x), x)
        now.sigmoid(x)
        assert now.relu is not plain

    found = adapter.kernels(work, 2)
    # A kernel: two readings of each clock, one after the other, so 2 s and 4 s between them.
    assert found["relu"] == {"calls": 2, "seconds": 4, "processor_seconds": 8}
    assert found["sigmoid"] == {"calls": 1, "seconds": 2, "processor_seconds": 4}
    # Between the first reading and the last but one 26 s of two calls, 12 of them in six kernels.
    assert found[ours.BETWEEN] == {"calls": 0.5, "seconds": 7, "processor_seconds": 14}
    assert list(found) == [ours.BETWEEN, "relu", "sigmoid"]
    assert backend.current().relu is plain

    def failing() -> None:
        backend.current().relu(None)

    with pytest.raises(AttributeError):
        adapter.kernels(failing, 1)
    assert backend.current().relu is plain
