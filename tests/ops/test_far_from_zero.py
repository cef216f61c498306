"""float32 batch norm of maps far from 0, in every path that has one: PyTorch's error at most twice.

The error is measured against PyTorch in float64, in the largest number of the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from op_cases import nchw, nhwc, torch_conv2d
from torch.nn import functional

from minran import Tensor, no_grad, ops, tensor

FLOOR = 4 * np.finfo(np.float32).eps
"""PyTorch may be exact by luck; half of it is what a norm may lose at 8 deviations from 0."""

C = 3
KINDS = ("batch_norm", "batch_norm_relu", "norm_relu_conv2d")
Arrays = list[np.ndarray]


def arguments(mean: float, gamma_sign: int, constant: bool) -> Arrays:
    """x, gamma, beta, w, running_mean, running_var: the running ones are those of x."""
    rng = np.random.default_rng(0)
    x = mean + (0 if constant else 1) * rng.standard_normal((4, 9, 7, C))
    x = x.astype(np.float32)
    wide = x.astype(np.float64)
    gamma, beta = gamma_sign * rng.uniform(0.5, 2, C), rng.standard_normal(C)
    w = rng.standard_normal((1, 1, C, C))
    arrays = [x, gamma, beta, w, wide.mean((0, 1, 2)), wide.var((0, 1, 2))]
    return [array.astype(np.float32) for array in arrays]


def in_minran(kind: str, training: bool, arrays: Arrays, gy: np.ndarray) -> Arrays:
    """y, gx and, behind a convolution, gw."""
    x, gamma, beta, w = (tensor(array, requires_grad=True) for array in arrays[:4])
    call: Any = getattr(ops, kind)
    last = (w,) if "conv" in kind else ()
    y = call(x, gamma, beta, *(array.copy() for array in arrays[4:]), training, *last)
    y.backward(gy)
    return [y.numpy(), x.grad, *([w.grad] if last else [])]


def in_torch(kind: str, training: bool, arrays: Arrays, gy: np.ndarray, dtype: Any) -> Arrays:
    x, gamma, beta, w, mean, var = (torch.tensor(array, dtype=dtype) for array in arrays)
    for leaf in (x, w):
        leaf.requires_grad = True
    y = nhwc(functional.batch_norm(nchw(x), mean, var, gamma, beta, training, 0.1, 1e-5))
    y = y if kind == "batch_norm" else y.relu()
    y = torch_conv2d(y, w) if "conv" in kind else y
    y.backward(torch.tensor(gy, dtype=dtype))
    return [y.detach().numpy(), x.grad.numpy(), *([w.grad.numpy()] if "conv" in kind else [])]


def error(actual: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(actual - truth).max() / max(np.abs(truth).max(), 1e-3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gamma_sign", [1, -1])
@pytest.mark.parametrize("mean", [2.0, 6.0, 30.0, -1e3, 1e4, 1e6])
def test_at_most_twice_pytorchs_error(
    kind: str, training: bool, gamma_sign: int, mean: float
) -> None:
    arrays = arguments(mean, gamma_sign, constant=False)
    gy = np.random.default_rng(1).standard_normal(arrays[0].shape).astype(np.float32)
    mine = in_minran(kind, training, arrays, gy)
    theirs = in_torch(kind, training, arrays, gy, torch.float32)
    truth = in_torch(kind, training, arrays, gy, torch.float64)
    for name, m, t, right in zip(("y", "gx", "gw"), mine, theirs, truth, strict=False):
        assert error(m, right) <= 2 * error(t, right) + FLOOR, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("value", [0.0, 88.8, 123456.7, -3e-5, 1e19, 3e38])
def test_of_a_constant_only_beta_is_left(kind: str, training: bool, value: float) -> None:
    arrays = arguments(value, 1, constant=True)
    y, *_ = in_minran(kind, training, arrays, np.zeros_like(arrays[0]))
    _, _, beta, w, *_ = arrays
    expected = beta if kind == "batch_norm" else np.maximum(beta, 0)
    expected = expected @ w[0, 0] if "conv" in kind else expected
    np.testing.assert_allclose(y, np.broadcast_to(expected, y.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mean", [0.0, 30.0, 1e4, 1e6])
def test_folded_unit_in_evaluation(mean: float) -> None:
    """The maps within the unit are far from 0 as well: their convolutions see to that."""
    rng = np.random.default_rng(0)
    x, *_ = arguments(mean, 1, constant=False)
    widths, shapes = (3, 4, 4), ((1, 1, 3, 4), (3, 3, 4, 4), (1, 1, 4, 3))
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    affine = [rng.uniform(0.5, 2, (2, c)).astype(np.float32) for c in widths]

    def unit(dtype: Any, norms: list[Any] | None) -> tuple[torch.Tensor, list[Any]]:
        """The unit in PyTorch; without `norms` the statistics are those of its maps."""
        y, found = torch.tensor(x, dtype=dtype), []
        for k, w in enumerate(weights):
            var, centre = torch.var_mean(y, (0, 1, 2), correction=0)
            statistics = (
                norms[k] if norms else [t.numpy().astype(np.float32) for t in (centre, var)]
            )
            found.append(statistics)
            vectors = (torch.tensor(v, dtype=dtype) for v in (*statistics, *affine[k]))
            y = functional.batch_norm(nchw(y), *vectors, False, 0.1, 1e-5).relu()
            y = torch_conv2d(nhwc(y), torch.tensor(w, dtype=dtype), padding=w.shape[0] // 2)
        return y + torch.tensor(x, dtype=dtype), found

    truth, statistics = unit(torch.float64, None)
    truth, _ = unit(torch.float64, statistics)
    theirs, _ = unit(torch.float32, statistics)
    norms = [
        (*map(tensor, pair), *running, 1e-5)
        for pair, running in zip(affine, statistics, strict=True)
    ]
    with no_grad():
        mine: Tensor = ops.folded_unit(tensor(x), norms, [tensor(w) for w in weights])
    # What is added to x drowns in it; without x, what the norms lose is seen.
    right = truth.numpy() - x
    scale = float(np.abs(right).max())
    rounding = np.finfo(np.float32).eps * np.abs(truth.numpy()).max()
    lost = np.abs(mine.numpy() - x - right).max()
    assert lost <= 2 * np.abs(theirs.numpy() - x - right).max() + FLOOR * scale + rounding
