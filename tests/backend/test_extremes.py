"""Infinite, masked, constant and missing (NaN) values: as PyTorch, and without a warning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_kernels import BACKENDS, Kernels, nchw, nhwc, run_gate, run_max_pool2d, torch_gate
from torch.nn import functional

from minran import ops, tensor

INF, NAN = np.inf, np.nan
SIZES = [(4, 5), (7, 5), (4, 9), (8, 10), (2, 3), (1, 1)]


@pytest.fixture(scope="module", params=BACKENDS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return Kernels(request.param)


def same(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def picture(shape: tuple[int, ...] = (2, 4, 5, 3)) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("value", [INF, -INF, NAN])
@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_upsample_spreads_a_pixel_no_further_than_its_weights(
    kernels: Kernels, size: tuple[int, int], corners: bool, value: float
) -> None:
    """PyTorch lets it spoil also what it has the weight 0 in: there 0 times infinity is NaN."""
    x = picture()
    clean = kernels.upsample_bilinear2d(x, size, corners)
    touched = np.zeros_like(x)
    touched[1, 2, 3, 1] = 1
    reached = kernels.upsample_bilinear2d(touched, size, corners) != 0
    x[1, 2, 3, 1] = value
    y = kernels.upsample_bilinear2d(x, size, corners)
    same(y, np.where(reached, value, clean))

    gy = picture((2, *size, 3))
    clean = kernels.upsample_bilinear2d_backward(gy, x.shape, corners)
    touched = np.zeros_like(gy)
    place = 0, size[0] // 2, size[1] // 2, 2
    touched[place] = 1
    reached = kernels.upsample_bilinear2d_backward(touched, x.shape, corners) != 0
    gy[place] = value
    gx = kernels.upsample_bilinear2d_backward(gy, x.shape, corners)
    same(gx, np.where(reached, value, clean))


def test_an_upsample_to_the_same_size_changes_nothing(kernels: Kernels) -> None:
    x = picture()
    x[0, 1, 1, 0], x[1, 0, 0, 2], x[1, 3, 4, 1] = INF, NAN, -INF
    for corners in (True, False):
        np.testing.assert_array_equal(kernels.upsample_bilinear2d(x, (4, 5), corners), x)


def test_a_relus_gradient_passes_at_nan_and_is_0_elsewhere(kernels: Kernels) -> None:
    x = np.array([-1, 0, 1, NAN, INF, -INF, 2, -2], np.float32)
    gy = np.array([NAN, INF, 3, 4, 5, -INF, INF, 8], np.float32)
    leaf = torch.tensor(x, requires_grad=True)
    leaf.relu().backward(torch.tensor(gy))
    y = kernels.relu(x)
    same(y, torch.tensor(x).relu().numpy())
    same(kernels.relu_backward(gy, y), leaf.grad.numpy())
    # Behind a batch norm it is the same.
    column, one = (lambda a: a.reshape(-1, 1, 1, 1)), np.ones(1)
    gx = kernels.batch_norm_backward_input(
        column(gy), column(x), column(y), one, 0 * one, one, one, one, None
    )
    same(gx.ravel(), leaf.grad.numpy())


@pytest.mark.parametrize("window", [((3, 3), (2, 2), (1, 1)), ((2, 3), (1, 1), (0, 1))], ids=str)
@pytest.mark.parametrize("ceil_mode", [True, False])
def test_a_max_pools_gradient_goes_to_nan(kernels: Kernels, window: Any, ceil_mode: bool) -> None:
    """To the last of several; and an infinite gradient goes to its maximum alone."""
    x = np.round(picture((3, 6, 7, 4)))
    x[0, 1, 1, 0] = x[0, 1, 2, 0] = x[1, 5, 6, 3] = x[0, 4, 4, 1] = NAN
    x[0, 4, 5, 1], x[2, :, :, 0] = INF, -INF

    def theirs(x, *options):
        return nhwc(functional.max_pool2d(nchw(x), *options[:3], 1, options[3]))

    leaf = torch.tensor(x, requires_grad=True)
    expected = theirs(leaf, *window, ceil_mode)
    gy = picture(tuple(expected.shape))
    gy[2, 1, 1, 2], gy[2, 0, 2, 3] = INF, NAN
    expected.backward(torch.tensor(gy))
    y, (gx,) = run_max_pool2d(kernels, gy, x, *window, ceil_mode)
    same(y, expected.detach().numpy())
    same(gx, leaf.grad.numpy())


@pytest.mark.parametrize("residual", [True, False])
def test_a_gate_of_infinite_features(kernels: Kernels, residual: bool) -> None:
    mask = np.array([0, 0, 0.5, 1, 0, 0], np.float32)
    trunk = np.array([INF, -INF, -INF, 3e38, NAN, 2], np.float32)
    gy = np.array([1, INF, -INF, 2, 3, NAN], np.float32)
    leaves = [torch.tensor(a, requires_grad=True) for a in (mask, trunk)]
    expected = torch_gate(*leaves, residual)
    expected.backward(torch.tensor(gy))
    with np.errstate(all="ignore"):
        h, gradients = run_gate(kernels, gy, mask, trunk, residual)
    for mine, theirs in zip((h, *gradients), (expected, *(t.grad for t in leaves)), strict=True):
        same(mine, theirs.detach().numpy())


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_masked_and_of_largest_scores(
    kernels: Kernels, dtype: Any, smoothing: float
) -> None:
    most = np.finfo(dtype).max
    logits = np.array([[-INF, 1, 2], [most, 0, -most], [most, most, 1], [-INF, -INF, 5]], dtype)
    labels = np.array([2, 0, 1, 2])
    for rows in ([0], [1], [2], [3], [0, 1, 2, 3]):
        # The loops calculate in float64, where the largest float32 is nothing special.
        wide = torch.float64 if kernels.name == "naive" else None
        leaf = torch.tensor(logits[rows], dtype=wide, requires_grad=True)
        expected = functional.cross_entropy(
            leaf, torch.tensor(labels[rows]), label_smoothing=smoothing
        )
        expected.backward()
        targets = (1 - smoothing) * np.eye(3, dtype=dtype)[labels[rows]] + smoothing / 3
        targets = targets.astype(dtype)
        loss, log_probabilities = kernels.cross_entropy(logits[rows], targets)
        same(loss, expected.item())
        one = np.ones((), dtype)
        same(kernels.cross_entropy_backward(one, log_probabilities, targets), leaf.grad.numpy())


@pytest.mark.parametrize(
    "row", [[-INF, -INF], [-INF, 3], [INF, 1], [INF, -INF], [3e38, -3e38], [NAN, 1], [1, NAN]]
)
def test_softmax_of_infinite_scores(kernels: Kernels, row: list[float]) -> None:
    x = np.array([row, [1, 2]], np.float32)
    same(kernels.softmax(x), torch.tensor(x).softmax(-1).numpy())
    same(kernels.log_softmax(x), torch.tensor(x).log_softmax(-1).numpy())


def test_sigmoid_of_infinite_numbers(kernels: Kernels) -> None:
    x = np.array([-INF, INF, NAN, -3e38, 3e38], np.float32)
    y = kernels.sigmoid(x)
    same(y, torch.tensor(x).sigmoid().numpy())
    same(kernels.sigmoid_backward(np.ones_like(y), y), [0, 0, NAN, 0, 0])


@pytest.mark.parametrize("value", [0, 88.8, -123456.7, 1e-30, 1e19])
def test_spatial_attention_of_a_constant_map_is_one_half(kernels: Kernels, value: float) -> None:
    x = np.full((2, 9, 7, 3), value, np.float32)
    y, *rest = kernels.spatial_attention(x, 1e-5)
    np.testing.assert_array_equal(y, np.float32(0.5))
    gx = kernels.spatial_attention_backward(np.ones_like(x), x, y, *rest)
    np.testing.assert_allclose(gx, 0, atol=1e-4)


@pytest.mark.parametrize(
    "op", [ops.sigmoid, ops.softmax, ops.log_softmax, ops.relu, lambda x: x * x, lambda x: x.exp()]
)
def test_what_is_too_small_is_0_whatever_numpy_is_told(op: Any) -> None:
    x = tensor(np.array([-104, -90, -1e-38, 1e-30, 0, 5], np.float32), requires_grad=True)
    with np.errstate(all="raise"):
        op(x).backward(np.full(6, 1e-30, np.float32))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_no_error_whatever_numpy_is_told(smoothing: float) -> None:
    logits = tensor(np.array([[-INF, 3e38, 1], [-200, 200, 0]], np.float32), requires_grad=True)
    with np.errstate(all="raise"):
        ops.cross_entropy(logits, [1, 1], smoothing).backward()
    assert np.isfinite(logits.grad).all()
