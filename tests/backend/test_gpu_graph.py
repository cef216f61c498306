"""The captured step: what it may do, what it leaves as it was, and what breaks one."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from emulation import DeviceArray, RemoteDevice
from emulation.graph import Pool, Tape
from gpu_runs import using

from minran import backend, ops
from minran.autograd import Tensor
from minran.backend.gpu import launch
from minran.backend.gpu.cuda import CudaDevice
from minran.backend.gpu.graph import CudaRecorder
from minran.errors import BackendError, GradientError, RecipeError
from minran.models import create_model
from minran.nn import Linear
from minran.optim import SGD, FlatSGD
from minran.train import CapturedStep, CaptureError, capture_step, train_step

OPTIONS = {"stem_width": 4, "widths": [4, 8], "tail_width": 8, "t": 1}
KINDS = ["emulated", pytest.param("cupy", marks=pytest.mark.gpu)]


@pytest.fixture(params=KINDS)
def kernels(request: pytest.FixtureRequest) -> Any:
    with using(request.param) as current:
        current.set_precision("fp32")
        yield current


@pytest.fixture
def emulated() -> Any:
    with using("emulated") as current:
        yield current


def place(array: Any, dtype: Any = np.float32) -> Any:
    return backend.to_device(np.asarray(array, dtype))


def small() -> tuple[Any, SGD, np.ndarray, np.ndarray]:
    """A network, its optimiser, and a batch on the host."""
    rng = np.random.default_rng(0)
    model = create_model("attention_nano", 4, **OPTIONS)
    optimizer = SGD(model.parameters(), 0.05, 0.9, nesterov=True, weight_decay=1e-3)
    return model, optimizer, rng.standard_normal((2, 16, 16, 3)), np.array([1, 3])


def state(model: Any) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.state_dict().items()}


# The flat optimiser


def test_flat_sgd_is_sgd(kernels: Any) -> None:
    results = []
    for flat in (False, True):
        model, optimizer, images, labels = small()
        if flat:
            optimizer = FlatSGD.of(optimizer)
            assert FlatSGD.of(optimizer) is optimizer
        losses = []
        for lr in (0.05, 0.01):
            optimizer.lr = lr
            losses.append(train_step(model, optimizer, (images, labels)))
        results.append((losses, state(model), optimizer.state_dict()))
    for one, other in zip(*results, strict=True):
        np.testing.assert_equal(one, other)


def test_parameters_are_views_on_16_byte_boundaries(kernels: Any) -> None:
    model, optimizer, *_ = small()
    before = state(model)
    flat = FlatSGD.of(optimizer)
    address = launch.device().address if kernels.name == "cupy" else RemoteDevice().address
    for parameter in model.parameters():
        assert (address(parameter.data) - address(flat.flat)) % 16 == 0
    np.testing.assert_equal(state(model), before)
    changed = {name: array + 1 for name, array in before.items()}
    model.load_state_dict(changed)
    np.testing.assert_equal(state(model), changed)
    total = sum(float(parameter.numpy().sum(dtype=np.float64)) for parameter in model.parameters())
    assert backend.to_host(flat.flat).sum(dtype=np.float64) == pytest.approx(total)


def test_flat_sgd_takes_any_gradient(kernels: Any) -> None:
    """One that is no contiguous array, one of another dtype; and none is an error."""
    layer = Linear(3, 5)
    flat = FlatSGD(layer.parameters(), 1.0)
    before = state(layer)
    with pytest.raises(GradientError, match="has no gradient"):
        flat.step()
    layer.weight.grad = place(np.arange(15).reshape(5, 3)).T
    layer.bias.grad = place(np.arange(5), np.float64)
    flat.step()
    expected = before["weight"] - np.arange(15, dtype=np.float32).reshape(5, 3).T
    np.testing.assert_array_equal(layer.weight.numpy(), expected)
    np.testing.assert_array_equal(layer.bias.numpy(), before["bias"] - np.arange(5))


def test_flat_sgd_wants_one_dtype(emulated: Any) -> None:
    mixed = [*Linear(3, 5).parameters(), *Linear(3, 5, dtype=np.float64).parameters()]
    with pytest.raises(RecipeError, match="all parameters must be float32"):
        FlatSGD(mixed, 0.1)


def test_gradients_accumulate_without_waiting(emulated: Any) -> None:
    model, optimizer, images, labels = small()
    flat, x, t = FlatSGD.of(optimizer), place(images), place(np.eye(4)[labels])
    before = DeviceArray.waits
    for _ in range(2):
        ops.cross_entropy(model(Tensor(x)), t).backward()
    flat.step()
    assert DeviceArray.waits == before


# Capture


def test_a_captured_step_is_the_step(kernels: Any) -> None:
    model, optimizer, images, labels = small()
    start = state(model)
    eager = []
    for lr in (0.05, 0.05, 0.01):
        optimizer.lr = lr
        eager.append(train_step(model, optimizer, (images, labels))[0])
    trained = state(model)

    model.load_state_dict(start)
    optimizer = SGD(model.parameters(), 0.05, 0.9, nesterov=True, weight_decay=1e-3)
    captured = capture_step(model, optimizer, place(images), place(labels, np.int64))
    np.testing.assert_equal(state(model), start)  # warm-up left nothing behind
    assert not any(velocity.any() for velocity in captured.optimizer.state_dict().values())
    losses = []
    for lr in (0.05, 0.05, 0.01):
        captured.optimizer.lr = lr
        captured()
        losses.append(captured.loss.item())
    np.testing.assert_equal(state(model), trained)
    assert losses == eager
    assert captured.memory > 0


def test_other_work_between_replays_does_no_harm(kernels: Any) -> None:
    """Eager steps on the same optimiser, tests of the network, new arrays: all in other memory."""
    results = []
    for disturbed in (False, True):
        model, optimizer, images, labels = small()
        captured = capture_step(model, optimizer, place(images), place(labels, np.int64))
        for _ in range(2):
            captured()
            if disturbed:
                kept = model.state_dict(), captured.optimizer.state_dict()
                train_step(model, captured.optimizer, (images[::-1], labels))
                junk = [place(np.full(size, np.nan)) for size in (3, 100, 2000, 30_000)]
                model.load_state_dict(kept[0])
                captured.optimizer.load_state_dict(kept[1])
                del junk
        results.append(state(model))
    np.testing.assert_equal(*results)


def test_new_pictures_in_the_same_place(emulated: Any) -> None:
    model, optimizer, images, labels = small()
    x = place(images)
    captured = capture_step(model, optimizer, x, place(labels, np.int64))
    first = state(model)
    captured()
    one = captured.loss.item()
    model.load_state_dict(first)
    x[...] = place(images[::-1])
    captured()
    assert captured.loss.item() != one


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("to the host", lambda loss: float(loss.data)),
        ("from the host", lambda loss: backend.to_device(np.zeros(3))),
        ("cublas", lambda loss: loss.data.reshape(1, 1) @ loss.data.reshape(1, 1)),
    ],
)
def test_what_cannot_be_captured(emulated: Any, name: str, spoil: Any) -> None:
    layer, x = Linear(3, 2), place(np.ones((4, 3)))
    flat, before = FlatSGD(layer.parameters(), 0.1), state(layer)

    def step() -> None:
        flat.zero_grad()
        loss = ops.cross_entropy(layer(Tensor(x)), place_once)
        spoil(loss)
        loss.backward()
        flat.step()

    place_once = place(np.eye(2)[[0, 1, 0, 1]])
    with pytest.raises(CaptureError, match=name):
        CapturedStep(step, [flat.flat, flat.flat_velocity], flat)
    np.testing.assert_equal(state(layer), before)
    step()  # still works, launch by launch
    assert np.abs(layer.weight.numpy() - before["weight"]).max() > 0


def test_what_the_step_itself_raises_is_told_as_it_is(emulated: Any) -> None:
    model, optimizer, images, labels = small()
    with pytest.raises(Exception, match="labels must be") as caught:
        capture_step(model, optimizer, place(images), place(labels[:1], np.int64))
    assert not isinstance(caught.value, CaptureError)


def test_warm_up_finds_all_memory(emulated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recording takes no more than the warm-up did, but for a few small blocks."""
    taken, arrays = [], Pool.array

    def array(pool: Pool, shape: Any, dtype: Any) -> np.ndarray:
        result = arrays(pool, shape, dtype)
        taken.append((Tape.current is not None, pool.taken))
        return result

    monkeypatch.setattr(Pool, "array", array)
    model, optimizer, images, labels = small()
    capture_step(model, optimizer, place(images), place(labels, np.int64))
    before = max(size for recorded, size in taken if not recorded)
    assert max(size for recorded, size in taken if recorded) - before <= 2048 < before / 50


# Planted bugs: what the emulated graph must notice


def test_freed_memory_is_noticed(emulated: Any) -> None:
    held, y = [place(np.ones(8))], place(np.zeros(8))

    def step() -> None:
        y[...] = emulated.relu(held[0])

    captured = CapturedStep(step, [y])
    captured()
    assert y.get().sum() == 8
    held.clear()
    with pytest.raises(AssertionError, match="memory that was freed"):
        captured()


def test_recording_outside_the_pool_is_noticed(emulated: Any) -> None:
    with (
        pytest.raises(RuntimeError, match="outside the graph's memory pool"),
        emulated.recorder().recording(),
    ):
        pass


def test_an_alias_is_noticed(emulated: Any) -> None:
    """Arrays of the pool share its memory: one that lives on after the recording would change."""
    recorder = emulated.recorder()
    with recorder.working():
        first = emulated.relu(place(np.ones(8)))
        address = first.host.ctypes.data
        del first
        second = emulated.relu(place(np.ones(8)))
        assert second.host.ctypes.data == address


# CuPy's part, with CuPy's calls written down


class FakeStream:
    def __init__(self, calls: list[str], name: str) -> None:
        self.calls, self.name = calls, name

    def __getattr__(self, call: str) -> Any:
        def method(*args: Any) -> str:
            self.calls.append(f"{self.name}.{call}")
            return f"event of {self.name}" if call == "record" else "graph"

        return method

    def __enter__(self) -> None:
        self.calls.append(f"{self.name} in use")

    def __exit__(self, *exc: object) -> None:
        self.calls.append(f"{self.name} left")


def fake_cupy(calls: list[str]) -> Any:
    @contextmanager
    def using_allocator(malloc: Any) -> Any:
        calls.append("pool in use")
        yield
        calls.append("pool left")

    pool = SimpleNamespace(malloc=None, total_bytes=lambda: 7, free_all_blocks=lambda: None)
    cuda = SimpleNamespace(
        Stream=lambda non_blocking: FakeStream(calls, "own"),
        get_current_stream=lambda: FakeStream(calls, "default"),
        MemoryPool=lambda: pool,
        using_allocator=using_allocator,
        runtime=SimpleNamespace(CUDARuntimeError=RuntimeError),
    )
    return SimpleNamespace(cuda=cuda, get_default_memory_pool=lambda: pool)


def test_cupy_records_on_its_own_stream_with_its_own_pool() -> None:
    calls: list[str] = []
    recorder = CudaRecorder(fake_cupy(calls))
    with pytest.raises(BackendError, match="no recorded step"):
        recorder.launch()
    with recorder.working(), recorder.recording():
        calls.append("step")
    inside = ["own in use", "pool in use", "own.begin_capture", "step", "own.end_capture"]
    outside = ["pool left", "own left", "own.synchronize"]
    assert calls == ["default.record", "own.wait_event", *inside, *outside]
    assert recorder.graph == "graph" and recorder.memory == 7


def test_cupy_ends_a_recording_that_failed() -> None:
    calls: list[str] = []
    recorder = CudaRecorder(fake_cupy(calls))
    with pytest.raises(ZeroDivisionError), recorder.working(), recorder.recording():
        _ = 1 / 0
    assert calls[-2:] == ["own left", "own.synchronize"] and "own.end_capture" in calls
    assert recorder.graph is None


def test_a_device_without_room_for_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    from test_gpu_available import OutOfMemoryError, fake_cupy

    cupy = fake_cupy(monkeypatch)

    def asarray(array: np.ndarray) -> None:
        raise OutOfMemoryError

    cupy.asarray = asarray
    with pytest.raises(BackendError, match="use a smaller batch"), launch.using(CudaDevice()):
        launch.place(np.zeros(1024, np.uint8))
