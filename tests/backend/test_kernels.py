"""Every kernel of every backend against PyTorch: values, gradients, digits, memory.

A case is one line of CASES: which kernel pair, on which shapes, with which options. A new
kernel needs a function that runs its pair, the same thing in PyTorch, and its lines. A new
backend needs its name in BACKENDS.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from emulation import EmulatedBackend
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from minran import backend
from minran.backend import naive
from minran.errors import BackendError

BACKENDS = ("naive", "cpu", "emulated", pytest.param("cupy", marks=pytest.mark.gpu))

FLOAT32_FLOOR = 4 * np.finfo(np.float32).eps
"""PyTorch may be exact by luck on a tiny case; this much error is always allowed."""


class Kernels:
    """A backend's kernels, called with NumPy arrays and answering with NumPy arrays.

    Arguments are read-only where the library can say so: no kernel may change its inputs. With
    `strided`, each one is a view with gaps and with its axes in reversed order in memory.
    """

    def __init__(self, name: str, strided: bool = False) -> None:
        self.name, self.strided = name, strided
        try:
            self.module: Any = EmulatedBackend() if name == "emulated" else backend.load(name)
        except BackendError as error:
            pytest.skip(str(error))
        if name == "cupy":
            self.module.set_precision("fp32")

    def __getattr__(self, kernel: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            placed = [self._place(arg) for arg in args]
            for array in placed:
                if isinstance(array, np.ndarray):
                    array.flags.writeable = False
            return _to_host(getattr(self.module, kernel)(*placed))

        return call

    def in_place(self, kernel: str, *args: Any) -> list[Any]:
        """Call a kernel that works in place; return what its arguments have become."""
        placed = [self._place(arg) for arg in args]
        assert getattr(self.module, kernel)(*placed) is None
        return [_to_host(arg) for arg in placed]

    def _place(self, arg: Any) -> Any:
        if not isinstance(arg, np.ndarray):
            return arg
        shape = tuple(2 * size for size in reversed(arg.shape)) if self.strided else arg.shape
        placed = self.module.xp.full(shape, np.nan, dtype=arg.dtype)
        if self.strided:
            placed = placed.T[(..., *[slice(None, None, 2)] * arg.ndim)]
        placed[...] = self.module.xp.asarray(arg)
        return placed


def _to_host(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(_to_host(part) for part in result)
    return backend.to_host(result) if hasattr(result, "dtype") else result


@pytest.fixture(scope="module", params=BACKENDS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return Kernels(request.param)


@dataclass(frozen=True)
class Case:
    """One kernel pair on inputs of `shapes`, and the same in PyTorch; `options` go to both."""

    run: Callable[..., tuple[Any, tuple[Any, ...]]]
    reference: Callable[..., torch.Tensor]
    shapes: tuple[tuple[int, ...], ...]
    options: tuple[Any, ...] = ()
    offset: float = 0.0
    """Where the first input lies."""

    def __str__(self) -> str:
        words = [self.run.__name__.removeprefix("run_"), *self.shapes, *self.options]
        words += [f"at {self.offset:g}"] if self.offset else []
        return " ".join(str(word).replace(" ", "") for word in words)

    def inputs(self, dtype: Any = np.float64, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng([zlib.crc32(str(self).encode()), seed])
        first, *others = (rng.standard_normal(shape) for shape in self.shapes)
        return [array.astype(dtype) for array in (self.offset + first, *others)]

    def cotangent(self, inputs: list[np.ndarray], seed: int = 0) -> np.ndarray:
        with torch.no_grad():
            shape = self.reference(*map(torch.tensor, inputs), *self.options).shape
        rng = np.random.default_rng([zlib.crc32(str(self).encode()), seed, 1])
        return np.asarray(rng.standard_normal(tuple(shape)), dtype=inputs[0].dtype)

    def on(self, kernels: Kernels, gy: np.ndarray, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Output and gradients of a backend."""
        y, gradients = self.run(kernels, gy, *inputs, *self.options)
        return [y, *gradients]

    def in_torch(
        self, gy: np.ndarray, inputs: list[np.ndarray], dtype: torch.dtype
    ) -> list[np.ndarray]:
        """Output and gradients of PyTorch."""
        leaves = [torch.tensor(x, dtype=dtype, requires_grad=True) for x in inputs]
        y = self.reference(*leaves, *self.options)
        y.backward(torch.tensor(gy, dtype=dtype))
        return [y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]


def relative_error(actual: np.ndarray, truth: np.ndarray) -> float:
    """The largest difference, measured in the largest value."""
    assert actual.shape == truth.shape
    if truth.size == 0:
        return 0.0
    error = np.abs(actual.astype(np.float64) - truth).max() / max(np.abs(truth).max(), 1e-3)
    return float("inf") if np.isnan(error) else float(error)


def assert_agrees(case: Case, kernels: Kernels) -> None:
    """Output and gradients equal PyTorch's in float64."""
    inputs = case.inputs()
    gy = case.cotangent(inputs)
    truth = case.in_torch(gy, inputs, torch.float64)
    for actual, expected in zip(case.on(kernels, gy, inputs), truth, strict=True):
        assert actual.dtype == np.float64
        assert relative_error(actual, expected) <= max(1e-10, of_the_mean(case, inputs))


def of_the_mean(case: Case, inputs: list[np.ndarray]) -> float:
    """What a mean of n numbers of size |offset|, added one by one, may lose: n roundings. It moves
    xhat, of deviation 1, as much.
    """
    count = inputs[0].size // inputs[0].shape[-1]
    return count * np.finfo(np.float64).eps / 2 * abs(case.offset)


def nchw(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


# The kernel pairs, each with its twin in PyTorch.


def run_conv2d(k, gy, x, w, *options):
    return k.conv2d(x, w, *options), k.conv2d_backward(gy, x, w, *options)


def torch_conv2d(x, w, stride, padding, groups):
    weight = w.permute(3, 2, 0, 1)
    return nhwc(functional.conv2d(nchw(x), weight, None, stride, padding, 1, groups))


def conv(x, w, stride=(1, 1), padding=(0, 0), groups=1):
    return Case(run_conv2d, torch_conv2d, (x, w), (stride, padding, groups))


def run_max_pool2d(k, gy, x, kernel, stride, padding, ceil_mode):
    y = k.max_pool2d(x, kernel, stride, padding, ceil_mode)
    return y, (k.max_pool2d_backward(gy, x, y, kernel, stride, padding),)


def torch_max_pool2d(x, kernel, stride, padding, ceil_mode):
    return nhwc(functional.max_pool2d(nchw(x), kernel, stride, padding, 1, ceil_mode))


def max_pool(x, kernel, stride, padding=(0, 0), ceil_mode=False):
    return Case(run_max_pool2d, torch_max_pool2d, (x,), (kernel, stride, padding, ceil_mode))


def run_avg_pool2d(k, gy, x, *window):
    return k.avg_pool2d(x, *window), (k.avg_pool2d_backward(gy, x.shape, *window),)


def torch_avg_pool2d(x, *window):
    return nhwc(functional.avg_pool2d(nchw(x), *window))


def avg_pool(x, kernel, stride, padding=(0, 0)):
    return Case(run_avg_pool2d, torch_avg_pool2d, (x,), (kernel, stride, padding))


def run_global_avg_pool(k, gy, x):
    return k.global_avg_pool(x), (k.global_avg_pool_backward(gy, x.shape),)


def global_pool(x):
    return Case(run_global_avg_pool, lambda x: x.mean((1, 2)), (x,))


def run_upsample(k, gy, x, size, align_corners):
    y = k.upsample_bilinear2d(x, size, align_corners)
    return y, (k.upsample_bilinear2d_backward(gy, x.shape, align_corners),)


def torch_upsample(x, size, align_corners):
    return nhwc(functional.interpolate(nchw(x), size, mode="bilinear", align_corners=align_corners))


def upsample(x, size, align_corners=True):
    return Case(run_upsample, torch_upsample, (x,), (size, align_corners))


def run_batch_norm(k, gy, x, gamma, beta, relu, training, offset):
    if training:
        mean, var = k.batch_moments(x)
        assert mean.dtype == var.dtype == np.float64
        inv_std = 1 / np.sqrt(var + 1e-5)
    else:
        mean, inv_std = _running(len(gamma), offset, gamma.dtype)
    y = k.batch_norm(x, gamma, beta, mean, inv_std, relu)
    output = y if relu else None
    sums = k.batch_norm_backward_sums(gy, x, output, mean, inv_std)
    assert sums[0].dtype == sums[1].dtype == np.float64
    count = x.size // len(gamma) if training else None
    gx = k.batch_norm_backward_input(gy, x, output, gamma, mean, inv_std, *sums, count)
    return y, (gx, *(total.astype(x.dtype) for total in sums))


def torch_batch_norm(x, gamma, beta, relu, training, offset):
    if training:
        y = nhwc(functional.batch_norm(nchw(x), None, None, gamma, beta, True, 0.1, 1e-5))
    else:
        mean, inv_std = map(
            torch.tensor, _running(len(gamma), offset, gamma.numpy(force=True).dtype)
        )
        var = (inv_std**-2 - 1e-5).to(x.dtype)
        y = nhwc(
            functional.batch_norm(nchw(x), mean.to(x.dtype), var, gamma, beta, False, 0.1, 1e-5)
        )
    return y.relu() if relu else y


def _running(channels, offset, dtype):
    """A running mean and 1 / sqrt(variance + 1e-5), in float64, of statistics kept as `dtype`."""
    mean = (offset + np.linspace(-1, 1, channels)).astype(dtype)
    var = np.linspace(0.25, 4, channels).astype(dtype)
    return mean.astype(np.float64), 1 / np.sqrt(var.astype(np.float64) + 1e-5)


def batch_norm(x, relu, training, offset=0.0):
    options = relu, training, offset
    return Case(run_batch_norm, torch_batch_norm, (x, x[-1:], x[-1:]), options, offset)


def through(name):
    """How to run a pair whose backward needs nothing but y."""

    def run(k, gy, x):
        y = getattr(k, name)(x)
        return y, (getattr(k, f"{name}_backward")(gy, y),)

    run.__name__ = f"run_{name}"
    return run


run_relu, run_sigmoid = through("relu"), through("sigmoid")
run_softmax, run_log_softmax = through("softmax"), through("log_softmax")


def run_add(k, gy, a, b):
    return k.add(a, b), (gy, gy)


def run_channel_attention(k, gy, x, eps):
    y, norm = k.channel_attention(x, eps)
    return y, (k.channel_attention_backward(gy, y, norm),)


def torch_channel_attention(x, eps):
    return x / (x.square().sum(3, keepdim=True) + eps).sqrt()


def run_spatial_attention(k, gy, x, eps):
    y, mean, inv_std = k.spatial_attention(x, eps)
    return y, (k.spatial_attention_backward(gy, x, y, mean, inv_std),)


def torch_spatial_attention(x, eps):
    var, mean = torch.var_mean(x, (1, 2), correction=0, keepdim=True)
    return ((x - mean) / (var + eps).sqrt()).sigmoid()


def run_gate(k, gy, mask, trunk, residual):
    return k.gate(mask, trunk, residual), k.gate_backward(gy, mask, trunk, residual)


def torch_gate(mask, trunk, residual):
    return (1 + mask) * trunk if residual else mask * trunk


def run_sigmoid_gate(k, gy, x, trunk, residual):
    if not hasattr(k.module, "sigmoid_gate"):
        pytest.skip("a kernel that a backend may leave out")
    return k.sigmoid_gate(x, trunk, residual), k.sigmoid_gate_backward(gy, x, trunk, residual)


def torch_sigmoid_gate(x, trunk, residual):
    return torch_gate(x.sigmoid(), trunk, residual)


def run_cross_entropy(k, gy, logits, kind):
    targets = _targets(logits.shape, kind).astype(logits.dtype)
    loss, log_probabilities = k.cross_entropy(logits, targets)
    assert log_probabilities.dtype == logits.dtype
    return loss, (k.cross_entropy_backward(gy, log_probabilities, targets),)


def torch_cross_entropy(logits, kind):
    return functional.cross_entropy(
        logits, torch.tensor(_targets(logits.shape, kind), dtype=logits.dtype)
    )


def _targets(shape, kind):
    rng = np.random.default_rng(0)
    if kind == "one-hot":
        return np.eye(shape[1])[rng.integers(shape[1], size=shape[0])]
    soft = rng.random(shape)
    return soft / soft.sum(1, keepdims=True)


def cross_entropy(logits, kind):
    return Case(run_cross_entropy, torch_cross_entropy, (logits,), (kind,))


CASES = [
    conv((2, 5, 7, 3), (3, 3, 3, 4), padding=(1, 1)),
    conv((2, 5, 4, 3), (3, 3, 3, 2)),
    conv((1, 4, 5, 3), (1, 1, 3, 5)),
    conv((2, 5, 4, 3), (1, 1, 3, 2), stride=(2, 2)),
    conv((2, 3, 4, 2), (1, 1, 2, 3), padding=(1, 1)),
    conv((2, 6, 5, 2), (3, 3, 2, 3), stride=(2, 2), padding=(1, 1)),
    conv((1, 8, 7, 2), (3, 3, 2, 3), stride=(3, 3), padding=(1, 1)),
    conv((1, 7, 8, 2), (2, 2, 2, 2), stride=(3, 3)),
    conv((1, 7, 6, 2), (3, 2, 2, 3), stride=(1, 2), padding=(0, 1)),
    conv((1, 6, 7, 2), (2, 3, 2, 3), stride=(3, 1), padding=(2, 0)),
    conv((1, 9, 8, 2), (5, 4, 2, 2), stride=(2, 3), padding=(2, 3)),
    conv((1, 3, 2, 2), (2, 2, 2, 2), padding=(3, 4)),
    conv((1, 11, 9, 3), (7, 7, 3, 2), stride=(2, 2), padding=(3, 3)),
    conv((2, 5, 4, 6), (3, 3, 2, 6), padding=(1, 1), groups=3),
    conv((1, 5, 6, 4), (3, 3, 2, 6), stride=(2, 2), padding=(1, 1), groups=2),
    conv((2, 4, 3, 4), (1, 1, 2, 2), groups=2),
    conv((1, 5, 4, 3), (3, 3, 1, 6), padding=(1, 1), groups=3),
    conv((3, 1, 1, 4), (3, 3, 4, 2), padding=(1, 1)),
    conv((1, 1, 1, 1), (1, 1, 1, 1)),
    conv((2, 3, 5, 2), (3, 5, 2, 2)),
    max_pool((2, 6, 8, 3), (2, 2), (2, 2)),
    max_pool((2, 7, 5, 2), (3, 3), (2, 2)),
    max_pool((2, 7, 6, 2), (3, 3), (2, 2), ceil_mode=True),
    max_pool((1, 8, 5, 2), (3, 3), (2, 2), ceil_mode=True),
    max_pool((2, 7, 6, 2), (3, 3), (2, 2), (1, 1)),
    max_pool((1, 5, 4, 2), (3, 3), (1, 1), (1, 1)),
    max_pool((2, 6, 9, 2), (3, 2), (2, 3), (1, 0)),
    max_pool((1, 7, 8, 2), (2, 3), (3, 1), (0, 1), ceil_mode=True),
    max_pool((1, 8, 7, 2), (2, 2), (3, 3), ceil_mode=True),
    max_pool((1, 6, 5, 1), (2, 2), (3, 3), (1, 1), ceil_mode=True),
    max_pool((3, 1, 1, 2), (3, 3), (2, 2), (1, 1)),
    max_pool((2, 7, 6, 8), (3, 3), (2, 2), ceil_mode=True),
    max_pool((3, 1, 1, 2), (2, 2), (2, 2), ceil_mode=True),
    max_pool((1, 3, 4, 2), (1, 1), (1, 1)),
    max_pool((1, 6, 5, 2), (4, 5), (2, 3), (2, 2), ceil_mode=True),
    avg_pool((2, 6, 4, 3), (2, 2), (2, 2)),
    avg_pool((1, 7, 5, 2), (3, 3), (2, 2), (1, 1)),
    avg_pool((2, 7, 8, 2), (2, 3), (3, 1), (1, 0)),
    avg_pool((1, 1, 1, 2), (1, 1), (1, 1)),
    global_pool((2, 3, 5, 4)),
    global_pool((1, 1, 1, 3)),
    upsample((2, 2, 3, 2), (4, 6)),
    upsample((2, 3, 4, 8), (5, 7)),
    upsample((1, 3, 2, 3), (5, 7)),
    upsample((1, 4, 4, 2), (7, 7)),
    upsample((1, 4, 3, 2), (4, 3)),
    upsample((1, 5, 6, 2), (3, 1)),
    upsample((2, 1, 1, 2), (3, 4)),
    upsample((1, 1, 4, 2), (1, 1)),
    upsample((2, 2, 3, 2), (4, 6), align_corners=False),
    upsample((1, 3, 2, 3), (5, 7), align_corners=False),
    upsample((1, 5, 6, 2), (3, 1), align_corners=False),
    upsample((2, 1, 1, 2), (3, 4), align_corners=False),
    *(
        batch_norm(shape, relu, training)
        for shape in [(3, 5, 4, 3), (1, 3, 7, 2), (4, 1, 1, 5)]
        for relu in (False, True)
        for training in (False, True)
    ),
    *(
        batch_norm((2, 9, 7, 3), relu, training, offset)
        for offset in (3.0, 1e2, 1e4, -1e5)
        for relu in (False, True)
        for training in (False, True)
    ),
    Case(run_relu, torch.relu, ((2, 3, 5, 4),)),
    Case(run_relu, torch.relu, ((7,),)),
    Case(run_sigmoid, torch.sigmoid, ((2, 3, 5, 4),)),
    Case(run_sigmoid, torch.sigmoid, ((7,),)),
    Case(run_add, torch.add, ((2, 3, 5, 4), (2, 3, 5, 4))),
    Case(run_channel_attention, torch_channel_attention, ((2, 3, 5, 4),), (1e-12,)),
    Case(run_channel_attention, torch_channel_attention, ((1, 1, 1, 3),), (0.5,)),
    Case(run_channel_attention, torch_channel_attention, ((1, 2, 1, 1),), (0.5,)),
    Case(run_spatial_attention, torch_spatial_attention, ((2, 3, 5, 4),), (1e-5,)),
    Case(run_spatial_attention, torch_spatial_attention, ((1, 2, 1, 3),), (0.5,)),
    Case(run_spatial_attention, torch_spatial_attention, ((2, 1, 1, 3),), (0.5,)),
    Case(run_gate, torch_gate, ((2, 3, 5, 4),) * 2, (True,)),
    Case(run_gate, torch_gate, ((2, 3, 5, 4),) * 2, (False,)),
    Case(run_sigmoid_gate, torch_sigmoid_gate, ((2, 3, 5, 4),) * 2, (True,)),
    Case(run_sigmoid_gate, torch_sigmoid_gate, ((1, 5, 3, 7),) * 2, (False,)),
    Case(run_softmax, lambda x: x.softmax(-1), ((5, 7),)),
    Case(run_softmax, lambda x: x.softmax(-1), ((2, 3, 1, 4),)),
    Case(run_log_softmax, lambda x: x.log_softmax(-1), ((5, 7),)),
    Case(run_log_softmax, lambda x: x.log_softmax(-1), ((2, 3, 1, 4),)),
    cross_entropy((6, 10), "one-hot"),
    cross_entropy((5, 3), "soft"),
    cross_entropy((1, 2), "soft"),
]

# Large enough that a backend which cuts its work into blocks cuts these, unevenly, and gives them
# to several threads (`blocks.HAND_OVER`); too large for the loops of naive.
LARGE = (9, 33, 31, 32)
LARGE_CASES = [
    conv(LARGE, (3, 3, 32, 16), padding=(1, 1)),
    conv(LARGE, (1, 1, 32, 48)),
    conv(LARGE, (3, 3, 32, 8), stride=(2, 2), padding=(1, 1)),
    conv(LARGE, (3, 3, 8, 16), padding=(1, 1), groups=4),
    max_pool(LARGE, (3, 3), (2, 2), ceil_mode=True),
    avg_pool(LARGE, (3, 3), (2, 2), (1, 1)),
    global_pool(LARGE),
    upsample(LARGE, (65, 61)),
    batch_norm(LARGE, relu=True, training=True),
    batch_norm(LARGE, relu=False, training=True),
    batch_norm(LARGE, relu=True, training=False),
    Case(run_relu, torch.relu, (LARGE,)),
    Case(run_sigmoid, torch.sigmoid, (LARGE,)),
    Case(run_add, torch.add, (LARGE, LARGE)),
    Case(run_channel_attention, torch_channel_attention, (LARGE,), (1e-12,)),
    Case(run_spatial_attention, torch_spatial_attention, (LARGE,), (1e-5,)),
    Case(run_gate, torch_gate, (LARGE, LARGE), (True,)),
    cross_entropy((128, 1000), "one-hot"),
]

LINEAR = ("conv2d", "avg_pool2d", "global_avg_pool", "upsample")
LINEAR_CASES = [case for case in CASES if str(case).startswith(LINEAR)]


@pytest.mark.parametrize("strided", [False, True], ids=["packed", "strided"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_pytorch_in_float64(kernels: Kernels, case: Case, strided: bool) -> None:
    assert_agrees(case, Kernels(kernels.name, strided))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_as_exact_as_pytorch(kernels: Kernels, case: Case) -> None:
    inputs = case.inputs(np.float32)
    gy = case.cotangent(inputs)
    truth = case.in_torch(gy, inputs, torch.float64)
    theirs = case.in_torch(gy, inputs, torch.float32)
    for mine, their, expected in zip(case.on(kernels, gy, inputs), theirs, truth, strict=True):
        assert mine.dtype == np.float32
        allowed = 2 * relative_error(their, expected) + FLOAT32_FLOOR
        assert relative_error(mine, expected) <= allowed


@pytest.mark.parametrize("case", LARGE_CASES, ids=str)
def test_large_arrays(kernels: Kernels, case: Case) -> None:
    if kernels.name == "naive":
        pytest.skip("loops are too slow for large arrays")
    assert_agrees(case, kernels)


@pytest.mark.parametrize("case", LARGE_CASES, ids=str)
def test_results_keep_their_memory(kernels: Kernels, case: Case) -> None:
    """What one call returned stays as it is while later calls run, and comes back bit for bit."""
    if kernels.name == "naive":
        pytest.skip("loops are too slow for large arrays")
    first, second = case.inputs(np.float32, seed=0), case.inputs(np.float32, seed=1)
    gy = case.cotangent(first)
    kept = case.on(kernels, gy, first)
    copies = [array.copy() for array in kept]
    case.on(kernels, -gy, second)
    again = case.on(kernels, gy, first)
    for array, copy, repeated in zip(kept, copies, again, strict=True):
        np.testing.assert_array_equal(array, copy)
        np.testing.assert_array_equal(repeated, copy)


@pytest.mark.parametrize("case", LARGE_CASES, ids=str)
def test_threads_change_no_bit(kernels: Kernels, case: Case) -> None:
    if not hasattr(kernels.module, "set_threads"):
        pytest.skip(f"{kernels.name} has no threads of its own")
    inputs = case.inputs(np.float32)
    gy = case.cotangent(inputs)
    before, results = kernels.module.threads(), []
    try:
        for count in (1, 3):
            kernels.module.set_threads(count)
            results.append(case.on(kernels, gy, inputs))
    finally:
        kernels.module.set_threads(before)
    for alone, together in zip(*results, strict=True):
        np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("case", LINEAR_CASES, ids=str)
def test_backward_is_the_adjoint(kernels: Kernels, case: Case) -> None:
    """<A x, gy> = <x, A' gy> for each input x in which the kernel is linear, the others fixed."""
    inputs = case.inputs()
    gy = case.cotangent(inputs)
    y, *gradients = case.on(kernels, gy, inputs)
    for x, gx in zip(inputs, gradients, strict=True):
        scale = np.linalg.norm(y) * np.linalg.norm(gy)
        assert abs(np.vdot(y, gy) - np.vdot(x, gx)) <= 1e-12 * scale


sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))
small = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(size=sizes, kernel=small, stride=small, padding=small, groups=st.integers(1, 2))
def test_any_convolution(kernels, size, kernel, stride, padding, groups):
    # Paddings of 0 to 2: the kernel always fits once the padding is added, or is cut to fit.
    padding = (padding[0] - 1, padding[1] - 1)
    kernel = tuple(min(k, s + 2 * p) for k, s, p in zip(kernel, size, padding, strict=True))
    assert_agrees(conv((1, *size, 2), (*kernel, 2 // groups, 2), stride, padding, groups), kernels)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(size=sizes, kernel=small, stride=small, pad=st.booleans(), ceil_mode=st.booleans())
def test_any_max_pool(kernels, size, kernel, stride, pad, ceil_mode):
    kernel = tuple(min(k, s) for k, s in zip(kernel, size, strict=True))
    padding = tuple(k // 2 if pad else 0 for k in kernel)
    assert_agrees(max_pool((1, *size, 2), kernel, stride, padding, ceil_mode), kernels)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), ()])
def test_add_in_place(kernels: Kernels, which: int, shape: tuple[int, ...]) -> None:
    for layout in (kernels, Kernels(kernels.name, strided=True)):
        a, b = np.random.default_rng(0).standard_normal((2, *shape))
        pair = [layout._place(np.asarray(a)), layout._place(np.asarray(b))]
        assert layout.module.add(*pair, out=pair[which]) is pair[which]
        np.testing.assert_array_equal(backend.to_host(pair[which]), a + b)


def test_conv2d_backward_without_gx(kernels: Kernels) -> None:
    for case in (conv((2, 5, 7, 3), (3, 3, 3, 4)), conv((2, 5, 7, 4), (1, 1, 2, 4), groups=2)):
        x, w = case.inputs()
        gy = case.cotangent([x, w])
        gx, gw = kernels.conv2d_backward(gy, x, w, *case.options, False)
        assert gx is None
        np.testing.assert_allclose(gw, case.in_torch(gy, [x, w], torch.float64)[2], rtol=1e-10)


@pytest.mark.parametrize(
    "case",
    [
        max_pool((2, 7, 6, 3), (3, 3), (2, 2), ceil_mode=True),
        max_pool((2, 6, 7, 3), (3, 3), (1, 1), (1, 1)),
        max_pool((2, 6, 7, 3), (2, 3), (2, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("values", [1, 2, 3])
def test_max_pool_ties_go_to_the_first_pixel(kernels: Kernels, case: Case, values: int) -> None:
    x = np.random.default_rng(values).integers(values, size=case.shapes[0]).astype(np.float64)
    gy = case.cotangent([x])
    truth = case.in_torch(gy, [x], torch.float64)
    for actual, expected in zip(case.on(kernels, gy, [x]), truth, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_max_pool_reads_no_padding(kernels: Kernels) -> None:
    x = -1 - np.random.default_rng(0).random((1, 5, 4, 2))
    assert kernels.max_pool2d(x, (3, 3), (2, 2), (1, 1), True).max() < -1
    floor = np.full((1, 3, 3, 1), -np.inf)
    assert (kernels.max_pool2d(floor, (3, 3), (2, 2), (1, 1), False) == -np.inf).all()


def test_not_a_number_is_not_hidden(kernels: Kernels) -> None:
    x = np.array([1.0, np.nan, -2.0, 3.0]).reshape(1, 2, 2, 1)
    one = np.ones(1)
    assert np.isnan(kernels.relu(x)[0, 0, 1, 0])
    assert np.isnan(kernels.max_pool2d(x, (2, 2), (2, 2), (0, 0), False)).all()
    assert np.isnan(kernels.batch_norm(x, one, one, one, one, True)[0, 0, 1, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_large_scores_do_not_overflow(kernels: Kernels, dtype: Any) -> None:
    x = np.array([[-1e4, -100, 0, 100, 1e4], [1e4, 1e4, 0, 0, 0]], dtype)
    log_probabilities = torch.tensor(x).log_softmax(-1).numpy()
    # Some libraries keep numbers below 1e-38 in float32, others call them 0.
    close = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-37)
    close(kernels.sigmoid(x), torch.tensor(x).sigmoid().numpy())
    close(kernels.softmax(x), np.exp(log_probabilities))
    close(kernels.log_softmax(x), log_probabilities)
    loss, _ = kernels.cross_entropy(x, np.full(x.shape, 0.2, dtype))
    close(loss, -log_probabilities.mean())


@pytest.mark.parametrize(
    ("dtype", "offset", "tolerance"), [(np.float32, 1e3, 1e-6), (np.float64, 1e6, 1e-9)]
)
def test_moments_far_from_zero(
    kernels: Kernels, dtype: Any, offset: float, tolerance: float
) -> None:
    """mean(x^2) - mean(x)^2 would lose all its digits here."""
    x = (offset + np.random.default_rng(0).standard_normal((8, 5, 7, 3))).astype(dtype)
    mean, var = kernels.batch_moments(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=16 * np.finfo(dtype).eps)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=tolerance)


def test_moments_whose_squares_overflow(kernels: Kernels) -> None:
    """x^2 is beyond float32, (x - mean)^2 is not."""
    x = 1e19 + 1e17 * np.random.default_rng(0).standard_normal((8, 5, 7, 3))
    mean, var = kernels.batch_moments(x.astype(np.float32))
    exact = x.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("strided", [False, True])
def test_finish_norm(kernels: Kernels, dtype: Any, strided: bool) -> None:
    rng = np.random.default_rng(0)
    mean, var, momentum, eps, count = rng.standard_normal(300), rng.random(300), 0.1, 1e-5, 24
    running = rng.random((300, 2)).astype(dtype)
    place = kernels.module.xp.asarray
    columns = place(running.copy()) if strided else place(running.T.copy()).T
    moved = columns[:, 0], columns[:, 1]
    gamma, beta = (place(array) for array in rng.standard_normal((2, 300)).astype(dtype))
    moments = place(mean), place(var)
    norm = kernels.module.finish_norm(moments, gamma, beta, *moved, momentum, eps, count)
    assert norm[0] is gamma and norm[1] is beta
    assert (backend.to_host(norm[2]) == mean).all()
    inv_std = norm[3]
    np.testing.assert_allclose(backend.to_host(inv_std), 1 / np.sqrt(var + eps), rtol=1e-14)
    for column, batch in enumerate((mean, var * count / (count - 1))):
        old = 0.9 * running[:, column].astype(np.float64)
        # Where the two summands nearly cancel, their rounding is what counts, not the sum's.
        allowed = 4 * np.finfo(dtype).eps * (np.abs(old) + np.abs(momentum * batch))
        error = np.abs(backend.to_host(moved[column]) - (old + momentum * batch))
        assert (error <= allowed).all()


@pytest.mark.parametrize("need_gx", [False, True])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (5, 7, 10), (33, 64, 12)])
def test_linear(kernels: Kernels, sizes: tuple[int, int, int], need_gx: bool) -> None:
    n, inputs, outputs = sizes
    rng = np.random.default_rng(0)
    x, w, gy = (rng.standard_normal(s) for s in ((n, inputs), (inputs, outputs), (n, outputs)))
    gx, gw = kernels.linear_backward(gy, x, w, need_gx)
    np.testing.assert_allclose(kernels.linear(x, w), x @ w, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gw, x.T @ gy, rtol=1e-12, atol=1e-12)
    assert (gx is not None) == need_gx
    if need_gx:
        np.testing.assert_allclose(gx, gy @ w.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", [0, 1])
def test_one_channel_whatever_its_stride(kernels: Kernels, padding: int) -> None:
    """An axis made by None has stride 0, and the array is contiguous all the same."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 6, 6))[..., None], rng.standard_normal((3, 3, 1, 2))
    assert x.strides[3] == 0
    options = (1, 1), (padding, padding), 1
    module = kernels.module
    placed = module.xp.asarray(x[..., 0])[..., None]
    theirs = naive.conv2d(x.copy(), w, *options)
    y = _to_host(module.conv2d(placed, module.xp.asarray(w), *options))
    np.testing.assert_allclose(y, theirs, rtol=1e-10)
    gy = rng.standard_normal(theirs.shape)
    gx, gw = module.conv2d_backward(module.xp.asarray(gy), placed, module.xp.asarray(w), *options)
    gx_theirs, gw_theirs = naive.conv2d_backward(gy, x.copy(), w, *options)
    np.testing.assert_allclose(_to_host(gx), gx_theirs, rtol=1e-9)
    np.testing.assert_allclose(_to_host(gw), gw_theirs, rtol=1e-9)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("strided", [False, True])
def test_sgd_update_is_pytorchs(
    kernels: Kernels, nesterov: bool, weight_decay: float, strided: bool
) -> None:
    rng = np.random.default_rng(0)
    param, velocity = rng.standard_normal((3, 4)), np.zeros((3, 4))
    theirs = torch.tensor(param, requires_grad=True)
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": weight_decay, "nesterov": nesterov}
    optimizer = torch.optim.SGD([theirs], **options)
    layout = Kernels(kernels.name, strided)
    for _ in range(4):
        grad = rng.standard_normal((3, 4))
        theirs.grad = torch.tensor(grad)
        optimizer.step()
        param, after, velocity, *_ = layout.in_place(
            "sgd_update", param, grad, velocity, *options.values()
        )
        np.testing.assert_array_equal(after, grad)
        np.testing.assert_allclose(param, theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sgd_update_without_momentum(kernels: Kernels, dtype: Any) -> None:
    param = np.array([1.0, -2.0], dtype)
    grad = np.array([0.5, 4.0], dtype)
    after, *_ = kernels.in_place(
        "sgd_update", param, grad, np.zeros(2, dtype), 0.5, 0.0, 0.0, False
    )
    assert after.dtype == dtype
    np.testing.assert_array_equal(after, [0.75, -4.0])
