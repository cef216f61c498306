"""The engine: accumulation, aliasing, recording, long chains, errors, memory, precision."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minran
from minran import Op, Tensor, backend, no_grad, ops, tensor, use
from minran.autograd import is_recording
from minran.backend.cpu import memory
from minran.errors import BackendError, GradientError, ShapeError
from minran.optim import SGD


def leaf(*values: float) -> Tensor:
    return tensor(np.array(values), requires_grad=True)


# --- gradients add up


def test_a_leaf_used_twice() -> None:
    x = leaf(3.0)
    (x * x + x).backward()
    assert x.grad == 7


def test_a_diamond() -> None:
    x = leaf(2.0)
    a = x * 3
    b = a * a
    (b * a + b + a).backward()  # 27 x^3 + 9 x^2 + 3 x
    assert x.grad == 81 * 4 + 18 * 2 + 3


def test_a_result_used_by_many() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    total = y.sum()
    for _ in range(9):
        total = total + y.sum()
    total.backward()
    np.testing.assert_array_equal(x.grad, [20, 20])


def test_old_and_new_paths_meet_in_the_right_order() -> None:
    """An op may run backward only when all that came after it has."""
    x = leaf(2.0)
    early = x * 5
    late = early
    for _ in range(4):
        late = late * x
    (late + early * early).backward()  # 5 x^5 + 25 x^2
    assert x.grad == 25 * 16 + 50 * 2


def test_gradients_add_up_over_calls() -> None:
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    first = x.grad
    (x * 4).sum().backward()
    np.testing.assert_array_equal(x.grad, [7, 7])
    np.testing.assert_array_equal(first, [3, 3])  # what was handed out stays
    x.grad = None
    (x * 4).sum().backward()
    np.testing.assert_array_equal(x.grad, [4, 4])


def test_one_loss_for_two_graphs() -> None:
    x = leaf(1.0)
    losses = [x * 2, x * 3]
    for loss in losses:
        loss.backward()
    assert x.grad == 5


def test_only_what_requires_a_gradient_gets_one() -> None:
    x, constant = leaf(1.0), tensor(np.array([2.0]))
    y = x * constant
    y.backward()
    assert constant.grad is None
    assert y.grad is None
    assert x.grad == 2


# --- no gradient array is shared

a_first = np.array([[1.0, 2.0], [3.0, 4.0]])

SHARING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a + b": lambda a, b: a + b,
    "a + a + b": lambda a, b: a + a + b,
    "a + (a + b)": lambda a, b: a + (a + b),
    "(a + b) + (a + b)": lambda a, b: (a + b) + (a + b),
    "s + s": lambda a, b: (lambda s: s + s)(a + b),
    "s + s + s": lambda a, b: (lambda s: s + s + s)(a + b),
    "a - b": lambda a, b: a - b,
    "reshape": lambda a, b: a.reshape(4) + b.reshape(4),
    "reshape twice": lambda a, b: a.reshape(4) + a.reshape(4) + b.reshape(4),
    "transpose": lambda a, b: a.transpose() + b.transpose() + a,
    "concat": lambda a, b: ops.concat([a, b, a]),
    "concat of itself": lambda a, b: ops.concat([a, a]) + ops.concat([b, b]),
    "rows": lambda a, b: a[0] + a[1] + b[0],
    "sum": lambda a, b: a.sum() + b.sum() + a.sum(),
    "gate": lambda a, b: ops.gate(a, b) + a + b,
    "relu": lambda a, b: ops.relu(a) + ops.relu(b) + a,
    "linear": lambda a, b: ops.linear(a, b) + a + b,
}


@pytest.mark.parametrize("name", SHARING)
def test_every_gradient_has_memory_of_its_own(name: str) -> None:
    """Writing into one leaf's gradient, or into the cotangent, must touch nothing else."""
    a, b = (tensor(a_first * k, requires_grad=True) for k in (1, 2))
    y = SHARING[name](a, b)
    gy = np.random.default_rng(0).standard_normal(y.shape)
    kept = gy.copy()
    y.backward(gy)
    expected = a.grad.copy(), b.grad.copy()
    np.testing.assert_array_equal(gy, kept)
    arrays = [a.data, b.data, y.data, gy, a.grad, b.grad]
    for i, grad in ((4, a.grad), (5, b.grad)):
        for j, other in enumerate(arrays):
            assert i == j or not np.shares_memory(grad, other)
    # The same from a second, freshly made graph: nothing was spoilt on the way.
    a.grad = b.grad = None
    SHARING[name](a, b).backward(gy)
    np.testing.assert_array_equal(a.grad, expected[0])
    np.testing.assert_array_equal(b.grad, expected[1])


@pytest.mark.parametrize("name", SHARING)
def test_shared_gradients_are_right(name: str) -> None:
    a, b = (tensor(a_first * k, requires_grad=True) for k in (1, 2))
    y = SHARING[name](a, b)
    gy = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(gy)
    h = 1e-6
    for x, other, first in ((a, b, True), (b, a, False)):
        for index in np.ndindex(2, 2):
            step = np.zeros((2, 2))
            step[index] = h
            moved = [tensor(x.data + sign * step) for sign in (1, -1)]
            ahead, behind = (
                SHARING[name](*((m, other) if first else (other, m))).numpy() for m in moved
            )
            assert x.grad[index] == pytest.approx((gy * (ahead - behind)).sum() / (2 * h), abs=1e-7)


def test_retained_gradients_are_copies() -> None:
    x = leaf(1.0, 2.0)
    y = (x * 2).retain_grad()
    z = y + y
    z.retain_grad()
    z.backward(np.array([1.0, 10.0]))
    np.testing.assert_array_equal(y.grad, [2, 20])
    np.testing.assert_array_equal(z.grad, [1, 10])
    np.testing.assert_array_equal(x.grad, [4, 40])
    y.grad[:] = 0
    np.testing.assert_array_equal(x.grad, [4, 40])


def test_a_leaf_is_its_own_loss() -> None:
    x, gy = leaf(1.0, 2.0), np.array([3.0, 4.0])
    x.backward(gy)
    x.backward(gy)
    gy[:] = 0
    np.testing.assert_array_equal(x.grad, [6, 8])


# --- recording


def test_no_grad_records_nothing() -> None:
    x = leaf(1.0)
    with no_grad():
        assert not is_recording()
        y = x * 2
        with no_grad():
            pass
        assert not is_recording()
    assert is_recording()
    assert not y.requires_grad
    assert y.op is None


def test_no_grad_is_restored_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert is_recording()


def test_no_grad_as_a_decorator() -> None:
    @no_grad()
    def predict(x: Tensor) -> Tensor:
        return x * 2

    x = leaf(1.0)
    for _ in range(2):  # a decorated function can be called again
        assert not predict(x).requires_grad
        assert (x * 2).requires_grad


def test_no_grad_holds_for_its_own_thread_only() -> None:
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_recording()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach_cuts_the_graph() -> None:
    x = leaf(2.0)
    y = (x * x).detach()
    assert not y.requires_grad
    (x * y).backward()
    assert x.grad == 4


def test_constants_keep_nothing_alive() -> None:
    x = tensor(np.ones(3))
    y = x * 2
    assert y.op is None
    assert not y.requires_grad


# --- depth


def test_a_chain_of_ten_thousand_operations() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + x
    y.backward()
    assert x.grad == 10_001


def test_a_long_chain_goes_without_backward() -> None:
    """Freeing is nested as deep as the chain is long: it must not overflow the C stack."""
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    end = weakref.ref(y)
    del y
    assert end() is None
    assert sys.getrefcount(x) < 5


# --- clear errors


def test_a_second_backward_says_that_the_graph_is_gone() -> None:
    x = leaf(1.0)
    y = x * 2
    y.backward()
    with pytest.raises(GradientError, match="freed by an earlier backward"):
        y.backward()
    assert x.grad == 2


def test_a_graph_that_joins_a_freed_one_says_so() -> None:
    x = leaf(1.0)
    shared = x * 2
    (shared * 3).backward()
    with pytest.raises(GradientError, match="freed by an earlier backward"):
        (shared * 4).backward()


def test_no_scalar_no_cotangent() -> None:
    with pytest.raises(GradientError, match=r"\(2,\) is no scalar; pass the gradient"):
        (leaf(1.0, 2.0) * 2).backward()


def test_a_cotangent_of_another_shape() -> None:
    with pytest.raises(GradientError, match=r"shape \(2,\), got \(3,\)"):
        (leaf(1.0, 2.0) * 2).backward(np.ones(3))


@pytest.mark.parametrize("gradient", [[1.0, 2.0], np.array([1.0, 2.0]), tensor([1.0, 2.0], True)])
def test_cotangents_of_any_kind(gradient: Any) -> None:
    x = tensor([1.0, 1.0], requires_grad=True)
    (x * 2).backward(gradient)
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_nothing_behind_the_loss_requires_a_gradient() -> None:
    with pytest.raises(GradientError, match="not made from any tensor that requires"):
        (tensor([1.0]) * 2).backward()
    with pytest.raises(GradientError, match="requires no gradient"):
        tensor([1.0]).retain_grad()


def test_item_needs_one_element() -> None:
    assert leaf(2.5).item() == 2.5
    with pytest.raises(ShapeError, match=r"1 element, got shape \(2,\)"):
        leaf(1.0, 2.0).item()


class Wrong(Op):
    """An operation whose backward returns what it is told to."""

    def __init__(self, *gradients: Any) -> None:
        self.gradients = gradients

    def forward(self, x: Any) -> Any:
        return x * 2

    def backward(self, gy: Any) -> tuple[Any, ...]:
        return self.gradients


def test_an_op_with_a_wrong_backward_is_named() -> None:
    with pytest.raises(GradientError, match=r"Wrong.backward returned 2 gradients for 1 inputs"):
        Wrong(np.ones(2), np.ones(2))(leaf(1.0, 2.0)).sum().backward()
    with pytest.raises(ShapeError, match=r"shape \(3,\) came for a tensor of shape \(2,\)"):
        Wrong(np.ones(3))(leaf(1.0, 2.0)).sum().backward()


def test_an_op_may_return_no_gradient() -> None:
    x = leaf(1.0)
    (Wrong(None)(x) + x).backward()
    assert x.grad == 1


def test_tensor_shows_what_it_is() -> None:
    x = tensor([[1.0, 2.0]], requires_grad=True)
    text = repr(x * 2)
    for word in ("[[2. 4.]]", "shape=(1, 2)", "float32", "requires_grad=True", "op=Mul"):
        assert word in text
    assert (x.ndim, x.size, len(x)) == (2, 2, 1)


def test_tensor_dtypes() -> None:
    assert tensor(1.5).dtype == tensor([1.0, 2.0]).dtype == np.float32
    assert tensor(np.ones(2)).dtype == np.float64
    assert tensor([1.0], dtype=np.float64).dtype == np.float64
    assert tensor([1, 2]).dtype.kind == "i"
    assert tensor(tensor([1.0]), requires_grad=True).requires_grad


# --- memory


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Without the cycle collector, only what refers to itself in a circle stays behind."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_graph_goes_with_its_result() -> None:
    x = leaf(1.0, 2.0)
    y = ops.sigmoid(x * x)
    watched = [weakref.ref(y), weakref.ref(y.op), weakref.ref(y.op.inputs[0])]
    del y
    assert [ref() for ref in watched] == [None] * 3


@pytest.mark.usefixtures("no_collector")
def test_backward_frees_as_it_goes() -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    inner, op = weakref.ref(y), weakref.ref(y.op)
    loss = y.sum()
    del y
    loss.backward()
    assert inner() is None
    assert op() is None
    assert loss.op is not None  # it stays, empty, to say that the graph is gone


def alive() -> int:
    """How many tensors and operations exist."""
    return sum(issubclass(type(thing), (Tensor, Op)) for thing in gc.get_objects())


@pytest.mark.usefixtures("no_collector")
def test_fifty_steps_hold_the_memory_of_one() -> None:
    rng = np.random.default_rng(0)
    model = minran.create_model("attention_nano")
    optimiser = SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    x, labels = rng.standard_normal((4, 16, 16, 3)).astype(np.float32), rng.integers(10, size=4)

    def step() -> None:
        loss = ops.cross_entropy(model(tensor(x)), labels)
        loss.backward()
        optimiser.step()
        model.zero_grad()

    def held() -> int:
        """Bytes in blocks of at least 512: below are numbers and tuples that Python hoards."""
        traces = tracemalloc.take_snapshot().traces
        return sum(trace.size for trace in traces if trace.size >= 512)

    step()  # the first step also fills caches: interpolation matrices, the pool of arrays
    tracemalloc.start()
    try:
        step()
        objects, bytes_held, peak = alive(), held(), tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        for _ in range(49):
            step()
        later, highest = held(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert alive() == objects
    # The smallest activation, left behind by every step, would be 49 times 2 KiB.
    assert later - bytes_held < 20_000
    assert highest - peak < 400_000


@pytest.mark.usefixtures("no_collector")
def test_an_abandoned_step_leaves_nothing() -> None:
    """An exception, or a forward pass without backward, must not keep its graph."""
    model = minran.create_model("attention_nano")
    x = tensor(np.zeros((2, 16, 16, 3), np.float32))
    model(x)
    before = alive()
    for _ in range(3):
        model(x)
        with pytest.raises(ShapeError):
            ops.cross_entropy(model(x), [0, 99])
    assert alive() == before


# --- pooled arrays


def bounds(array: np.ndarray) -> tuple[int, int]:
    start = array.__array_interface__["data"][0]
    return start, start + array.nbytes


def test_pooled_arrays_are_aligned_and_used_again() -> None:
    memory.release_memory()
    first = memory.empty((100, 100), np.float32)
    place = bounds(first)
    assert place[0] % 64 == 0
    assert first.flags.c_contiguous
    assert first.flags.writeable
    assert type(first) is np.ndarray
    del first
    assert bounds(memory.empty((10_000,), np.float32)) == place


def views(array: np.ndarray) -> Iterator[np.ndarray]:
    yield array[1:]
    yield array.reshape(-1)[5:]
    yield array.T[::2][:, ::3]
    yield array.view(np.uint8)
    yield array.view(np.ndarray)
    yield np.broadcast_to(array, (2, *array.shape))
    yield np.lib.stride_tricks.as_strided(array[1:], (5, 5), (4, 4))
    yield np.frombuffer(memoryview(array), np.float32)
    yield np.asarray(memoryview(array))
    yield array[2:].reshape(-1)[3:].view(np.int32)[::2]
    yield next(iter(array[3:]))
    yield np.array(array, copy=False, subok=True)
    yield tensor(array).transpose()[1].data


@pytest.mark.parametrize("kind", range(13))
def test_a_view_keeps_pooled_memory_from_being_used_again(kind: int) -> None:
    memory.release_memory()
    array = memory.empty((100, 100), np.float32)
    place = bounds(array)
    view = list(views(array))[kind]
    del array
    gc.collect()
    fresh = memory.empty((100, 100), np.float32)
    assert bounds(fresh) != place
    assert not np.shares_memory(view, fresh)
    del view
    gc.collect()
    assert bounds(memory.empty((100, 100), np.float32)) == place


def test_no_two_living_pooled_arrays_overlap() -> None:
    """Random life: arrays come, views replace them, views go."""
    rng = np.random.default_rng(0)
    living: list[tuple[np.ndarray, float]] = []
    for number in range(1500):
        if living and rng.random() < 0.45:
            living.pop(rng.integers(len(living)))
        elif living and rng.random() < 0.4:
            k = rng.integers(len(living))
            array, value = living[k]
            if array.size > 4:
                living[k] = array.reshape(-1)[rng.integers(4) :][:: rng.integers(1, 3)], value
        elif len(living) < 40:
            size = int(rng.choice([1 << 10, 1 << 12, 5000, 1 << 13]))
            array = memory.empty((size,), rng.choice([np.float32, np.float64]))
            array[:] = number
            living.append((array, float(number)))
        for array, value in living[-3:]:
            assert (array == value).all()
    for array, value in living:
        assert (array == value).all()


def test_pooled_arrays_in_threads() -> None:
    failures = []

    def work(mine: int) -> None:
        for number in range(300):
            array = memory.empty((5000,), np.float32)
            array[:] = mine * 1000 + number
            part = array[10:]
            del array
            if not (part == mine * 1000 + number).all():
                failures.append(mine)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_release_gives_memory_back() -> None:
    memory.release_memory()
    array = memory.empty((1 << 15,), np.uint8)
    assert memory.pooled() == 0
    del array
    assert memory.pooled() == 1 << 15


# --- precision and backends


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["numpy", "naive"])
def test_a_whole_network_keeps_its_precision(name: str, dtype: Any) -> None:
    options: dict[str, Any] = {"widths": (16,), "modules": (1,), "depths": (1,), "tail_width": 16}
    with use(name):
        model = minran.create_model("attention_nano", dtype=np.dtype(dtype).name, **options)
        seen = []
        x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(dtype)
        with minran.nn.observe(lambda module, inputs, output: seen.append(output.dtype)):
            loss = ops.cross_entropy(model(tensor(x)), [1, 2], label_smoothing=0.1)
        loss.backward()
        SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4).step()
    assert set(seen) == {np.dtype(dtype)}
    assert loss.dtype == dtype
    for key, parameter in model.named_parameters():
        assert parameter.grad.dtype == dtype, key
        assert parameter.dtype == dtype, key
    for key, array in model.named_buffers():
        assert array.dtype == dtype, key


@pytest.mark.parametrize("attention", ["mixed", "channel", "spatial"])
@pytest.mark.parametrize("unit", ["preact", "resnext", "inception"])
def test_no_operation_on_the_way_turns_float64(attention: str, unit: str) -> None:
    """Every op of every kind of network: its inputs, output and gradients are float32."""
    model = minran.create_model(
        "attention_nano", attention=attention, unit=unit, groups=4, learning="naive"
    )
    x = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype(np.float32)
    loss = ops.cross_entropy(model(tensor(x)), [1, 2])
    nodes = {id(loss): (loss, type(loss.op).__name__)}
    stack = [loss]
    while stack:
        node = stack.pop()
        for source in node.op.inputs if node.op is not None else ():
            if source is not None and id(source) not in nodes:
                nodes[id(source)] = source, type(source.op).__name__
                stack.append(source)
    assert len(nodes) > 100
    wanted = [(node, name) for node, name in nodes.values() if node.requires_grad]
    for node, _ in wanted:
        node.retain_grad()
    loss.backward()
    assert not {(name, node.dtype) for node, name in nodes.values() if node.dtype != np.float32}
    assert not {(name, node.grad.dtype) for node, name in wanted if node.grad.dtype != np.float32}


def test_use_switches_and_restores() -> None:
    assert backend.current().name == "numpy"
    with use("naive") as inside:
        assert inside.name == backend.current().name == "naive"
        with use("cpu"):
            assert backend.current().name == "numpy"
        assert backend.current().name == "naive"
    assert backend.current().name == "numpy"
    with pytest.raises(ZeroDivisionError), use("naive"):
        raise ZeroDivisionError
    assert backend.current().name == "numpy"
    use("naive")
    assert backend.current().name == "naive"
    use("numpy")


def test_an_unknown_backend_changes_nothing() -> None:
    with pytest.raises(BackendError, match=r"'torch'.*cupy.*naive.*numpy"):
        use("torch")
    assert backend.current().name == "numpy"


def test_one_graph_may_cross_backends() -> None:
    x = leaf(*np.linspace(-1, 1, 5))
    with use("naive"):
        y = ops.sigmoid(x)
    ops.sigmoid(y).sum().backward()
    s = 1 / (1 + np.exp(-x.data))
    t = 1 / (1 + np.exp(-s))
    np.testing.assert_allclose(x.grad, t * (1 - t) * s * (1 - s), rtol=1e-12)


def test_a_scalar_tensor_used_twice():
    a, b = (minran.tensor(value, requires_grad=True, dtype="float64") for value in (2.0, 3.0))
    p = a * b
    (p * (p + a)).backward()
    assert float(a.grad) == 2 * 2 * 9 + 2 * 2 * 3  # d/da (a^2 b^2 + a^2 b)
    assert float(b.grad) == 2 * 4 * 3 + 4


def test_memory_that_is_not_numpys() -> None:
    """Arrays that look at a buffer, a mapped file or a tensor of PyTorch are arrays like others."""
    torch = pytest.importorskip("torch")
    for array in (
        np.frombuffer(bytearray(48)).reshape(2, 3),
        np.frombuffer(bytes(48)).reshape(2, 3),
        torch.zeros(2, 3, dtype=torch.float64).numpy(),
        torch.zeros(2, 3, dtype=torch.float64).numpy()[:, ::-1],
    ):
        x = tensor(array, requires_grad=True)
        (x.transpose().reshape(-1) * 2).sum().backward()
        np.testing.assert_array_equal(x.grad, np.full((2, 3), 2))
