"""Every operation on tensors: values, gradients, dtypes, running statistics, properties."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from emulation import EmulatedBackend
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from op_cases import (
    CASES,
    NOT_DIFFERENTIABLE,
    OpCase,
    check_float32,
    check_parity,
    check_running_statistics,
    compare,
)

from minran import Tensor, backend, ops, tensor, use
from minran.backend import cpu
from minran.ops.fused import NormReLUConv2d

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)


@pytest.fixture(params=["numpy", "naive"])
def each_backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with use(request.param):
        yield


@pytest.fixture(params=["numpy", "naive", "emulated"])
def and_the_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every backend, the GPU's as its emulation."""
    with use("numpy" if request.param == "emulated" else request.param):
        if request.param == "emulated":
            monkeypatch.setattr(backend, "_current", EmulatedBackend())
        yield


def skip_without_fused(case: OpCase) -> None:
    if case.name.startswith("norm_relu_conv2d") and not hasattr(
        backend.current(), "norm_relu_conv2d"
    ):
        pytest.skip(f"{backend.current().name} has no fused kernels")


@pytest.mark.usefixtures("and_the_gpu")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_pytorch(case: OpCase) -> None:
    skip_without_fused(case)
    check_parity(case)


def test_case_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_public_operation_has_a_case() -> None:
    alias = {"upsample_bilinear2d": "upsample", "batch_norm_relu": "batch_norm relu"}
    names = [name for name in ops.__all__ if name.islower() and name not in NOT_DIFFERENTIABLE]
    missing = [
        name
        for name in names
        if not any(case.name.startswith(alias.get(name, name)) for case in CASES)
    ]
    assert not missing


@pytest.mark.usefixtures("and_the_gpu")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_stays_float32(case: OpCase) -> None:
    skip_without_fused(case)
    check_float32(case)


@pytest.mark.parametrize(
    "other",
    [2, 2.0, np.float64(2), np.int64(2), np.full(3, 2.0), np.full(3, 2)],
    ids=lambda other: type(other).__name__ + str(getattr(other, "dtype", "")),
)
def test_numbers_and_arrays_take_the_tensors_precision(other: object) -> None:
    """NumPy's float64 scalars and arrays must not make a float32 network a float64 one."""
    x = tensor([1.0, 2.0, 4.0], requires_grad=True)
    results = [x + other, other + x, x - other, other - x, x * other, other * x, x / other]
    results.append(other / x)
    if np.ndim(other) == 0:
        results.append(x**other)
    for y in results:
        assert isinstance(y, Tensor)
        assert y.dtype == np.float32
        x.grad = None
        y.backward(np.ones(3))  # a float64 gradient is no leak either
        assert x.grad.dtype == np.float32


def test_integers_are_not_rounded() -> None:
    x = tensor([1, 2, 4])
    assert x.mean().item() == pytest.approx(7 / 3)
    np.testing.assert_allclose((x * 0.5).numpy(), [0.5, 1, 2])
    np.testing.assert_array_equal((x + 1).numpy(), [2, 3, 5])


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (4, 2)])
@pytest.mark.parametrize("momentum", [0.1, 0.7])
@pytest.mark.usefixtures("each_backend")
def test_running_statistics(relu: bool, shape: tuple[int, ...], momentum: float) -> None:
    check_running_statistics(relu, shape, momentum)


def fused_and_plain(x: Tensor, norm: list[Tensor], w: Tensor, training: bool) -> list[Tensor]:
    """conv(relu(bn(x))) + x twice over: the second norm reads what the first call gave."""
    results = []
    for fuse in (True, False):
        running = [np.zeros(3), np.ones(3)]
        y, moments = x, None
        for _ in range(2):
            if fuse:
                op = NormReLUConv2d((*running, training, 0.1, 1e-5), 1, 1, moments)
                y, moments = op(y, *norm, w, y), op.moments_of_y
            else:
                y = ops.conv2d(ops.batch_norm_relu(y, *norm, *running, training), w, padding=1) + y
        last = ops.batch_norm(y, *norm, *running, training, moments=moments)
        results += [y, last, *map(tensor, running)]
    return results


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("record", [True, False])
def test_the_fused_operation_is_the_plain_ones(training: bool, record: bool) -> None:
    """Also where a norm takes over the moments that the operation before it has summed."""
    rng = np.random.default_rng(0)
    x = tensor(5 + rng.standard_normal((3, 5, 4, 3)), requires_grad=record)
    norm = [tensor(rng.uniform(0.5, 2, 3), requires_grad=record) for _ in range(2)]
    w = tensor(rng.standard_normal((3, 3, 3, 3)), requires_grad=record)
    results = fused_and_plain(x, norm, w, training)
    for mine, theirs in zip(results[:4], results[4:], strict=True):
        compare("result", mine.numpy(), theirs.numpy(), 1e-12)
    if record:
        gradients = []
        for y in (results[1], results[5]):
            for leaf in (x, *norm, w):
                leaf.grad = None
            y.backward(np.random.default_rng(1).standard_normal(y.shape))
            gradients.append([leaf.grad for leaf in (x, *norm, w)])
        for mine, theirs in zip(*gradients, strict=True):
            compare("gradient", mine, theirs, 1e-11)


@pytest.mark.parametrize(
    "gamma",
    [
        (1.0, 2.0, 0.5),
        (-1.0, 2.0, -0.5),
        (0.0, 1.0, 2.0),
        (1e-9, 1.0, 1.0),
        (1e-40, 1.0, 1.0),
        (0.3, 1.0, 1.0),
    ],
)
@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fused_whatever_gamma_is(
    gamma: tuple[float, ...], beta: float, stride: int, dtype: type[np.floating]
) -> None:
    """The norm's factor goes into the weights where dividing by it is safe, and nowhere else."""
    rng = np.random.default_rng(0)
    arrays = [5 + rng.standard_normal((6, 5, 4, 3)), np.array(gamma), np.full(3, beta)]
    arrays.append(rng.standard_normal((3, 3, 3, 2)))
    gy = rng.standard_normal((6, 5, 4, 2))[:, ::stride, ::stride]

    def results(dtype: type[np.floating], fuse: bool) -> list[np.ndarray]:
        x, *norm, w = leaves = [tensor(a, requires_grad=True, dtype=dtype) for a in arrays]
        running = [np.zeros(3, dtype), np.ones(3, dtype)]
        if fuse:
            y = ops.norm_relu_conv2d(x, *norm, *running, True, w, stride, 1)
        else:
            y = ops.conv2d(ops.batch_norm_relu(x, *norm, *running, True), w, None, stride, 1)
        y.backward(gy.astype(dtype))
        return [y.data, *(leaf.grad for leaf in leaves)]

    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    for mine, theirs in zip(results(dtype, True), results(np.float64, False), strict=True):
        scale = max(1.0, float(np.abs(theirs).max()))
        assert np.abs(mine - theirs).max() / scale < tolerance


@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize("uses", list(itertools.product((0, 1, 2), repeat=2)), ids=str)
def test_fused_where_the_map_is_used_elsewhere_too(uses: tuple[int, int], leaf: bool) -> None:
    """What has arrived at x before, as many times as `uses[0]`, is added, and what comes after."""
    rng = np.random.default_rng(0)
    start, gy = rng.standard_normal((2, 4, 4, 3)), rng.standard_normal((2, 4, 4, 3))
    w = tensor(rng.standard_normal((1, 1, 3, 3)))
    gradients = []
    for fuse in (True, False):
        begin = tensor(start, requires_grad=True)
        x = begin if leaf else (2.0 * begin).retain_grad()
        norm = *(tensor(np.ones(3), requires_grad=True) for _ in "gb"), np.zeros(3), np.ones(3)
        total = tensor(np.zeros(x.shape))
        for _ in range(uses[1]):  # made before: their gradients arrive later
            total = total + x * x
        if fuse:
            total = total + ops.norm_relu_conv2d(x, *norm, True, w, residual=x)
        else:
            total = total + ops.conv2d(ops.batch_norm_relu(x, *norm, True), w) + x
        for _ in range(uses[0]):
            total = total + x * x
        total.backward(gy)
        gradients.append([begin.grad, x.grad, norm[0].grad])
    for mine, theirs in zip(*gradients, strict=True):
        compare("gradient", mine, theirs, 1e-12)


def test_fused_with_a_deviation_beyond_all_numbers() -> None:
    """Of a variance that overflows 1 / std is 0: what is left is relu(beta), no NaN."""
    x, w = np.full((2, 3, 3, 2), 1e19, np.float32), np.ones((1, 1, 2, 1), np.float32)
    norm = np.ones(2), np.full(2, 0.5), np.zeros(2), np.zeros(2)
    y, _ = cpu.norm_relu_conv2d(x, norm, w, 1, 0, None, False)
    np.testing.assert_array_equal(y, 1)
    gradients = cpu.norm_relu_conv2d_backward(
        np.ones_like(y), x, norm, w, 1, 0, lambda *sums: (*sums, None), None
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (1, 1, 4, 1), (1, 1, 1, 1), (3, 3, 1, 1)])
def test_the_fused_backward_leaves_its_operands_alone(shape: tuple[int, ...]) -> None:
    """With one channel, turning a kernel around makes a view of it, not a copy."""
    rng = np.random.default_rng(0)
    c = shape[2]
    leaves = [rng.standard_normal(s) for s in ((2, 4, 4, c), (c,), (c,), shape)]
    leaves[1] = 2 + leaves[2] ** 2  # a gamma that ggamma may be divided by
    x, gamma, beta, w = (tensor(leaf.copy(), requires_grad=True) for leaf in leaves)
    y = ops.norm_relu_conv2d(x, gamma, beta, np.zeros(c), np.ones(c), True, w, 1, shape[0] // 2)
    gy = np.ones(y.shape)
    y.backward(gy)
    for one, before in zip((x, gamma, beta, w), leaves, strict=True):
        np.testing.assert_array_equal(one.data, before)
    np.testing.assert_array_equal(gy, 1)


def test_evaluation_leaves_running_statistics_alone() -> None:
    mean, var = np.array([0.5]), np.array([2.0])
    x, one = tensor(np.ones((2, 3, 3, 1))), tensor(np.ones(1), requires_grad=True)
    ops.batch_norm(x, one, one, mean, var, training=False).sum().backward()
    assert mean == 0.5
    assert var == 2.0


def test_evaluation_gradients_use_the_statistics_of_the_forward_pass() -> None:
    """Training in between moves the running arrays; a graph made before must not notice."""
    rng = np.random.default_rng(0)
    mean, var = np.zeros(2), np.ones(2)
    x = tensor(rng.standard_normal((3, 2, 2, 2)), requires_grad=True)
    gamma, beta = tensor(np.ones(2), requires_grad=True), tensor(np.zeros(2), requires_grad=True)
    y = ops.batch_norm(x, gamma, beta, mean, var, training=False)
    ops.batch_norm(tensor(9 * x.data), gamma, beta, mean, var, training=True)
    y.backward(np.ones(y.shape))
    np.testing.assert_allclose(x.grad, 1 / np.sqrt(1 + 1e-5), rtol=1e-12)


def test_float32_running_statistics_stay_float32() -> None:
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    x = tensor(np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(np.float32))
    one = tensor(np.ones(3, np.float32))
    ops.batch_norm(x, one, one, mean, var, training=True)
    assert mean.dtype == var.dtype == np.float32
    assert mean.any()


def test_no_gradient_is_computed_for_what_needs_none() -> None:
    x, w = tensor(np.ones((1, 3, 3, 2))), tensor(np.ones((3, 3, 2, 1)), requires_grad=True)
    ops.conv2d(x, w).sum().backward()
    assert x.grad is None
    assert w.grad is not None


def test_cross_entropy_takes_labels_of_any_kind() -> None:
    logits = tensor(np.random.default_rng(0).standard_normal((3, 4)))
    expected = ops.cross_entropy(logits, np.array([1, 0, 3])).item()
    one_hot = np.eye(4)[[1, 0, 3]]
    for labels in ([1, 0, 3], tensor([1, 0, 3]), one_hot, tensor(one_hot), one_hot.tolist()):
        assert ops.cross_entropy(logits, labels).item() == pytest.approx(expected, rel=1e-12)


@EXAMPLES
@given(st.data())
def test_any_slice(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    x = np.random.default_rng(0).standard_normal(shape)
    leaf = tensor(x, requires_grad=True)
    y = leaf[index]
    np.testing.assert_array_equal(y.numpy(), x[index])
    gy = np.asarray(np.random.default_rng(1).standard_normal(y.shape))
    y.backward(gy)
    expected = np.zeros(shape)
    expected[index] = gy  # a slice picks no entry twice
    np.testing.assert_array_equal(leaf.grad, expected)


def test_corners_are_aligned_unless_said() -> None:
    x = tensor(np.array([0.0, 1.0]).reshape(1, 1, 2, 1))
    y = ops.upsample_bilinear2d(x, (1, 5))
    np.testing.assert_allclose(y.numpy().ravel(), [0, 0.25, 0.5, 0.75, 1])
