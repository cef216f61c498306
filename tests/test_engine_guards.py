"""What the engine refuses: calls that would answer with the gradient of nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
import torch

from minran import Op, Tensor, nn, no_grad, ops, optim, tensor
from minran.autograd import is_recording
from minran.errors import GradientError, MinranError, ShapeError


def leaf(*values: float) -> Tensor:
    return tensor(np.array(values), requires_grad=True)


class Times(Op):
    """y = k x."""

    def __init__(self, k: float = 2.0) -> None:
        self.k = k

    def forward(self, x: Any) -> Any:
        return x * self.k

    def backward(self, gy: Any) -> tuple[Any, ...]:
        return (gy * self.k,)


# --- one instance, one call


def test_a_second_call_is_refused_and_the_first_stays_right() -> None:
    op, a, b = Times(), leaf(1.0), leaf(1.0)
    y = op(a)
    for again in (b, a, y, tensor(np.ones(1))):
        with pytest.raises(GradientError, match=r"Times: .* one call; make a new one"):
            op(again)
    with no_grad(), pytest.raises(GradientError, match="Times"):
        op(b)
    (3 * y).backward()
    assert a.grad == 6
    with pytest.raises(GradientError, match="Times: this instance was called before"):
        op(b)


def test_calls_that_were_not_recorded_leave_an_instance_free() -> None:
    op, x = Times(), leaf(1.0)
    with no_grad():
        op(x)
    op(tensor(np.ones(1)))
    with pytest.raises(ShapeError):
        op(3.0)  # type: ignore[arg-type]
    op(x).backward()
    assert x.grad == 2


def test_a_forward_that_failed_leaves_an_instance_free() -> None:
    class Picky(Times):
        def forward(self, x: Any) -> Any:
            self.x = x
            return super().forward(x) / (0 if x.size > 1 else 1) if x.size == 1 else [][0]

    op, x = Picky(), leaf(3.0)
    with pytest.raises(IndexError):
        op(leaf(1.0, 2.0))
    op(x).backward()
    assert x.grad == 2


class Odd(Op):
    """An operation that returns what it is told to."""

    def __init__(self, result: Any = None, gradients: Any = None, **attributes: Any) -> None:
        self.result, self.gradients, self.attributes = result, gradients, attributes

    def forward(self, x: Any) -> Any:
        vars(self).update(self.attributes)
        return x * 2 if self.result is None else self.result

    def backward(self, gy: Any) -> Any:
        return self.gradients


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (Odd(2.0), r"Odd\.forward must return an array, got float"),
        (Odd([2.0]), r"Odd\.forward must return an array, got list"),
        (Odd(np.ones(1, int)), "Odd: a result of int64 has no gradient"),
        (Odd(np.array(["a"])), "real numbers"),
        (Odd(inputs=3), r"Odd\.forward sets self\.inputs"),
        (Odd(gradients=np.ones(1)), r"Odd\.backward returned no tuple but one ndarray"),
        (Odd(gradients=None), r"Odd\.backward returned no tuple but one NoneType"),
        (Odd(gradients=(2.0,)), r"Odd\.backward: expected an array as gradient, got a float"),
        (Odd(gradients=(np.ones(1, bool),)), r"Odd\.backward: .* floating-point, got dtype bool"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_an_operation_returns_is_looked_at(op: Op, words: str) -> None:
    with pytest.raises(MinranError, match=words):
        op(leaf(1.0)).backward()


# --- values that changed between forward and backward


def step(p: Tensor) -> None:
    p.grad = np.ones_like(p.data)
    optim.SGD([p], lr=0.1).step()


def in_place(p: Tensor) -> None:
    p.data -= 0.1


CHANGES: list[Callable[[Tensor], None]] = [step, in_place]

NEEDED: dict[str, Callable[[Tensor], Tensor]] = {
    "product": lambda p: p * p,
    "saved result": lambda p: p * 1.0 * p,
    "view": lambda p: (lambda v: v * v)(p.reshape(2, 2)),
    "view of a view": lambda p: (lambda v: v @ v)(p.reshape(2, 2).transpose()),
    "row": lambda p: p[1:] ** 3,
    "detached": lambda p: p * p.detach(),
    "tensor of it": lambda p: p * tensor(p),
    "in a deep graph": lambda p: ((p * p).exp() * 2).sum() + 1,
    "linear": lambda p: ops.linear(tensor(np.ones((1, 2)), True), p.reshape(2, 2)),
    "conv2d": lambda p: ops.conv2d(tensor(np.ones((1, 2, 2, 2)), True), p.reshape(1, 1, 2, 2)),
    "norm": lambda p: ops.batch_norm(p.reshape(4, 1), *UNIT, training=True),
}
UNIT = tensor(np.ones(1)), tensor(np.zeros(1)), np.zeros(1), np.ones(1)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NEEDED)
def test_a_changed_value_that_backward_needs_is_refused(
    name: str, change: Callable[[Tensor], None]
) -> None:
    p = leaf(1.0, 2.0, 3.0, 4.0)
    y = NEEDED[name](p).sum()
    change(p)
    with pytest.raises(GradientError, match="was changed in place"):
        y.backward()
    p.grad = None
    NEEDED[name](p).sum().backward()  # a graph made afterwards is fine
    assert p.grad is not None


def test_the_message_says_which_operation_and_which_input() -> None:
    x, w = leaf(1.0), leaf(2.0)
    y = x * w
    in_place(w)
    with pytest.raises(GradientError, match=r"Mul\.backward needs input 1 \(1,\) as it was"):
        y.backward()


def test_a_result_that_backward_needs() -> None:
    x = leaf(1.0)
    y = x.exp()
    y.data += 1
    with pytest.raises(GradientError, match=r"Exp\.backward needs its result"):
        y.backward()


def test_loading_a_state_counts_as_a_change() -> None:
    layer = nn.Linear(2, 2)
    y = layer(tensor(np.ones((1, 2), np.float32), requires_grad=True)).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(GradientError, match=r"Linear\.backward needs input 1 \(2, 2\)"):
        y.backward()


def test_what_backward_does_not_need_may_change() -> None:
    p, q = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = ((p + q) * 3 - q).sum()
    step(p)
    in_place(q)
    y.backward()
    np.testing.assert_array_equal(p.grad, [4, 4])  # 1 of `step`, 3 of the sum


def test_another_array_leaves_the_graph_as_it_was() -> None:
    """The operation holds the old array: the gradient is that of the old point."""
    p = leaf(3.0)
    y = p * p
    p.data = np.array([100.0])
    step(p)
    p.grad = None
    y.backward()
    assert p.grad == 6


def test_but_not_if_it_was_changed_before() -> None:
    p = leaf(3.0)
    y = p * p
    in_place(p)
    p.data = np.array([3.0])
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()


def test_labels_and_indices_are_copied() -> None:
    """Whoever made them may write the next batch into them."""
    x, rows = leaf(1.0, 2.0, 3.0), np.array([0, 0])
    soft, labels = np.array([[0.5, 0.5, 0.0]]), np.array([1])
    y = x[rows].sum() + x[[1, 1]].sum()
    losses = [ops.cross_entropy(x.reshape(1, 3), t) for t in (soft, labels)]
    rows[:], soft[:], labels[:] = 2, [0, 0, 1], 2
    y.backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 0])
    for loss, expected in zip(losses, ([0.5, 0.5, 0], [0, 1, 0]), strict=True):
        x.grad = None
        loss.backward()
        p = np.exp(x.data) / np.exp(x.data).sum()
        np.testing.assert_allclose(x.grad, p - expected)


def test_a_normal_training_loop_goes_on() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x = tensor(np.ones((4, 2), np.float32))
    for _ in range(3):
        for _ in range(2):  # gradients of two batches
            ops.cross_entropy(net(x), [0, 1, 0, 1]).backward()
        sgd.step()
        sgd.zero_grad()


# --- no_grad


def test_no_grad_again_nested_and_in_any_order() -> None:
    block, seen = no_grad(), []
    for _ in range(2):
        with block:
            with block:
                seen.append(is_recording())
            seen.append(is_recording())
        seen.append(is_recording())
    assert seen == [False, False, True] * 2
    first, second = no_grad(), no_grad()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not is_recording()
    second.__exit__(None, None, None)
    assert is_recording()


def test_no_grad_decorates_without_parentheses_and_twice() -> None:
    @no_grad
    @no_grad()
    def inside() -> bool:
        """Whether it records."""
        return is_recording()

    assert not inside()
    assert inside.__doc__ == "Whether it records."
    assert is_recording()
    with pytest.raises(GradientError, match="no_grad: expected a function to decorate, got 3"):
        no_grad(3)


def test_a_decorated_generator_leaves_its_caller_recording() -> None:
    @no_grad()
    def batches() -> Generator[bool, Any, str]:
        try:
            got = yield is_recording()
            while got is not None:
                try:
                    got = yield is_recording()
                except ValueError:
                    got = yield is_recording()
        finally:
            ended.append(is_recording())
        return "end"

    ended: list[bool] = []
    two = [batches(), batches()]
    for generator in two:
        assert next(generator) is False
        assert is_recording()
    assert two[0].send(1) is False
    assert two[0].throw(ValueError()) is False
    with pytest.raises(StopIteration, match="end"):
        two[0].send(None)
    two[1].close()
    assert ended == [False, False]
    assert is_recording()


def test_a_decorated_coroutine() -> None:
    @no_grad()
    async def inside() -> bool:
        await asyncio.sleep(0)
        return is_recording()

    async def both() -> tuple[bool, bool]:
        task = asyncio.create_task(inside())
        await asyncio.sleep(0)
        outside = is_recording()
        return outside, await task

    assert asyncio.run(both()) == (True, False)


def test_threads_share_one_no_grad() -> None:
    block, seen = no_grad(), []

    def other() -> None:
        seen.append(is_recording())
        with block:
            seen.append(is_recording())
        seen.append(is_recording())

    with block:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert not is_recording()
    assert seen == [True, False, True]


# --- what a tensor is made of


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tensor("abc"), "tensor: data: expected a number or numbers, got 'abc'"),
        (lambda: tensor("1.5", dtype="float32"), "got '1.5'"),
        (lambda: tensor(None), "got None"),
        (lambda: tensor({"a": 1}), "got {'a': 1}"),
        (lambda: tensor({1, 2}), "got {1, 2}"),
        (lambda: tensor(x for x in range(3)), "generator"),
        (lambda: tensor([[1.0], [1.0, 2.0]]), r"got \[\[1.0\], \[1.0, 2.0\]\]"),
        (lambda: tensor([1, None]), "got"),
        (lambda: tensor(1j), "real numbers, got dtype complex128"),
        (lambda: tensor([1j], dtype="float32"), "real numbers, got dtype complex128"),
        (lambda: tensor(np.array(["2020-01-01"], "M8[D]")), "real numbers, got dtype datetime64"),
        (lambda: tensor(10**400), "got 1000"),
        (lambda: tensor(np.ma.array([1.0, 2.0], mask=[True, False])), "masked array"),
        (lambda: tensor([1.0], dtype="flaot"), "there is no dtype 'flaot'"),
        (lambda: tensor([1.0], dtype=complex), "real numbers, got dtype complex128"),
        (lambda: tensor([1.0], "float64"), "requires_grad must be True or False, got 'float64'"),
        (lambda: Tensor([1.0]), "Tensor: data must be an array, got a list; see minran.tensor"),
        (lambda: Tensor(3), "must be an array, got a int"),
        (lambda: Tensor(torch.ones(2)), "must be an array, got a Tensor"),
        (lambda: Tensor(np.array(["a"])), "real numbers, got dtype <U1"),
        (lambda: Tensor(np.ma.array([1.0])), "masked array"),
        (lambda: setattr(leaf(1.0), "data", [1.0]), "must be an array, got a list"),
        (lambda: setattr(leaf(1.0), "data", np.ones(1, int)), "only floating-point"),
        (lambda: np.asarray(leaf(1.0)), "would lose this tensor's gradient"),
        (lambda: np.stack([leaf(1.0), leaf(2.0)]), "would lose this tensor's gradient"),
        (lambda: tensor([leaf(1.0), leaf(2.0)]), "would lose this tensor's gradient"),
        (lambda: bool(leaf(1.0, 2.0)), r"shape \(2,\) is neither true nor false"),
        (lambda: leaf(1.0, 2.0)["a"], "index: .*shape"),
        (lambda: leaf(1.0, 2.0)[5], "index: .*out of bounds"),
        (lambda: leaf(1.0, 2.0)[0, 0], "index: too many indices"),
        (lambda: leaf(1.0).backward(np.ones(1, complex)), "real numbers"),
        (lambda: leaf(1.0).backward("1"), "backward: the gradient: expected a number"),
    ],
)
def test_what_is_no_tensor_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(MinranError, match=words):
        make()


def test_numpy_takes_tensors_without_a_gradient() -> None:
    x = tensor([[1.0, 2.0]])
    assert np.asarray(x).dtype == np.float32
    np.testing.assert_array_equal(np.stack([x, x]), [[[1, 2]], [[1, 2]]])
    assert tensor([tensor(1.0), tensor(2.0)]).shape == (2,)
    assert type(tensor(np.matrix([[1.0]])).data) is np.ndarray
    assert bool(tensor(1.0))
    assert not tensor([[0.0]])
    assert np.asarray(x, dtype="float64").dtype == np.float64


# --- whole numbers


def whole(*shape: int) -> Tensor:
    return tensor(np.full(shape, 200, np.uint8))


VECTOR = tensor(np.ones(1))
FLOATS_ONLY: list[Callable[[], Any]] = [
    lambda: ops.conv2d(whole(1, 2, 2, 1), whole(1, 1, 1, 1)),
    lambda: ops.linear(whole(1, 2), whole(2, 1)),
    lambda: whole(1, 2) @ whole(2, 1),
    lambda: ops.gate(whole(1, 1, 1, 1), whole(1, 1, 1, 1)),
    lambda: ops.max_pool2d(whole(1, 2, 2, 1), 2),
    lambda: ops.avg_pool2d(whole(1, 2, 2, 1), 2),
    lambda: ops.global_avg_pool(whole(1, 2, 2, 1)),
    lambda: ops.upsample_bilinear2d(whole(1, 2, 2, 1), 3),
    lambda: ops.batch_norm(whole(2, 1), VECTOR, VECTOR, np.zeros(1), np.ones(1), True),
    lambda: ops.batch_norm_relu(whole(2, 1), VECTOR, VECTOR, np.zeros(1), np.ones(1), True),
    lambda: ops.relu(whole(2)),
    lambda: ops.relu(tensor(np.array([True]))),
    lambda: ops.sigmoid(whole(2)),
    lambda: ops.softmax(whole(2)),
    lambda: ops.log_softmax(whole(2)),
    lambda: ops.channel_attention(whole(1, 1, 1, 2)),
    lambda: ops.spatial_attention(whole(1, 1, 1, 2)),
    lambda: ops.cross_entropy(whole(1, 2), [0]),
    lambda: whole(2).exp(),
    lambda: whole(2).log(),
    lambda: whole(2).sqrt(),
    lambda: Times()(whole(2)),
    lambda: whole(2) ** -1,
    lambda: -tensor(np.array([True])),
    lambda: tensor(np.array([True])) - tensor(np.array([True])),
]


@pytest.mark.parametrize("call", FLOATS_ONLY)
def test_operations_on_fractions_refuse_whole_numbers(call: Callable[[], Any]) -> None:
    with pytest.raises(ShapeError, match=r"fractions|make them floats"):
        call()


def test_arithmetic_takes_whole_numbers_as_numpy_does() -> None:
    x = tensor(np.array([1, 2, 4]))
    assert (x + 1).dtype.kind == "i"
    np.testing.assert_array_equal((x / 8).numpy(), [0.125, 0.25, 0.5])
    np.testing.assert_allclose(x.mean().numpy(), 7 / 3)
    np.testing.assert_array_equal((x**2).numpy(), [1, 4, 16])
    np.testing.assert_array_equal((x**0.5).numpy(), [1, 2**0.5, 2])
    np.testing.assert_array_equal(x[x[:2]].numpy(), [2, 4])
    assert x.max().item() == 4
    assert whole(300).sum().item() == 60_000


def test_whole_numbers_beside_floats_take_their_precision() -> None:
    x, n = tensor([1.5, 2.5], requires_grad=True), tensor(np.array([2, 3]))
    for y in (x * n, n * x, x - n, n / x, x @ tensor([[1], [2]]) if False else x + n):
        assert y.dtype == np.float32
    (n * x).sum().backward()
    assert x.grad.dtype == np.float32


# --- powers


VALUES = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, np.inf, -np.inf, np.nan]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "n", [0, 0.0, -0.0, 0.5, -0.5, 1, 2, 3, -1, -2, -3, 1.5, -1.5, 1 / 3, True, np.inf, np.nan]
)
def test_powers_are_pytorchs(n: float) -> None:
    x, theirs = leaf(*VALUES), torch.tensor(VALUES, dtype=torch.float64, requires_grad=True)
    y, expected = x**n, theirs**n
    y.sum().backward()
    expected.sum().backward()
    # Either power may be off by one unit in the last place (the promise of C libraries and SLEEF;
    # which runs depends on the processor), and the product of n and x^(n - 1) is rounded once more
    # on either side.
    bound = {"rtol": 3 * np.finfo(float).eps, "atol": 0, "equal_nan": True}
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), **bound)
    np.testing.assert_allclose(x.grad, theirs.grad.numpy(), **bound)
    if float(n).is_integer():  # what is a whole number, or the inverse of a power of two, is exact
        np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
        np.testing.assert_array_equal(x.grad, theirs.grad.numpy())
    x32 = tensor(np.ones(3, np.float32), requires_grad=True)
    (x32**n).sum().backward()
    assert x32.grad.dtype == np.float32


def test_a_gradient_has_its_leafs_precision() -> None:
    single = tensor([1.0, 2.0], requires_grad=True)
    double = tensor(np.array([3.0, 4.0]), requires_grad=True)
    for _ in range(2):
        (single * double).sum().backward()
    assert single.grad is not None and single.grad.dtype == np.float32
    assert double.grad is not None and double.grad.dtype == np.float64
    assert single.grad.tolist() == [6, 8] and double.grad.tolist() == [2, 4]
