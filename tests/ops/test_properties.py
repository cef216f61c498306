"""Every operation against PyTorch, with arguments that hypothesis draws: see `op_properties`.

50 examples an operation; MINRAN_EXAMPLES=2000 is the long run (docs/results/outside/README.md).

What is allowed. In float32, twice PyTorch's own error against float64, plus a floor: where PyTorch
is exact by luck nobody else has to be. The floor is 4 roundings of the largest number of the
result (of a gradient also: of the size that its terms have before they cancel), and 4 times what a
change of every argument by one rounding does to it, in float64. An argument that an operation
only compares, or whose mean it takes off, is not changed: there a large floor would hide a loss of
digits. In float64 the same by 2^-29, which is what a rounding is less, and twice, since PyTorch's
float64 has errors itself: no argument is spared there.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st
from op_properties import PROPERTIES, Argument, Call, arguments

from minran import ops, tensor

EXAMPLES = settings(
    max_examples=int(os.environ.get("MINRAN_EXAMPLES", "50")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)

U = 2.0**-24
"""The largest relative error of a rounding to float32."""


MORE_IS_FINITE = {"upsample_bilinear2d"}
"""PyTorch multiplies pixels by weights of 0 as well, and of an infinite one that is NaN."""

MORE_IS_MISSING = {"conv2d", "norm_relu_conv2d"}
"""Their gradients multiply infinite numbers by the zeros of the padding, which PyTorch leaves out:
NaN then stands where PyTorch has a number or an infinite one.

To look for them would cost every step a pass; what has an infinite pixel has no future in any case.
"""

Results = list[np.ndarray]


def in_minran(call: Call, args: list[Argument], gy: np.ndarray, dtype: Any) -> Results:
    """The result and all gradients of <gy, result>; the arguments stay as they are."""
    leaves = [tensor(arg.placed(dtype), requires_grad=call.records) for arg in args]
    y = call.mine(*leaves)
    if call.records:
        y.backward(gy.astype(dtype))
    for leaf, arg in zip(leaves, args, strict=True):
        np.testing.assert_array_equal(leaf.numpy(), arg.numbers)
    return [y.numpy(), *(leaf.grad for leaf in leaves if call.records)]


def in_torch(call: Call, numbers: list[np.ndarray], gy: np.ndarray | None, dtype: Any) -> Results:
    leaves = [torch.tensor(x, dtype=dtype, requires_grad=call.records) for x in numbers]
    y = call.theirs(*leaves)
    if gy is None or not call.records:
        return [y.detach().numpy()]
    y.backward(torch.tensor(gy, dtype=dtype))
    return [y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]


def largest(x: np.ndarray) -> float:
    return float(np.abs(x).max(initial=0))


def allowed_errors(
    call: Call, numbers: list[np.ndarray], gy: np.ndarray, truth: Results, spare: bool
) -> list[float]:
    """Of float32: see above. `spare` the argument that the call says."""
    rough = in_torch(call, numbers, gy, torch.float32)
    rng = np.random.default_rng(0)

    def moved(x: np.ndarray) -> np.ndarray:
        return x * (1 + U * rng.uniform(-1, 1, x.shape))

    others = [x if k == 0 and spare and call.still else moved(x) for k, x in enumerate(numbers)]
    changed = in_torch(call, others, moved(gy), torch.float64)
    # <gx, x> = <gy, y> says of what size a gradient is that cancels to almost nothing: a number of
    # x meets y.size / x.size of y. What divides by a norm of its own says it itself (`divisor`).
    power, size = largest(gy) * largest(truth[0]), truth[0].size
    scales = [
        0.0,
        *(power / (largest(x) or np.inf) * max(1, size / (x.size or 1)) for x in numbers),
    ]
    if call.divisor is not None and numbers[0].size:
        scales[1] = largest(gy) / float(call.divisor(*map(torch.tensor, numbers)).min())
    return [
        2 * largest(r - t) + 4 * (largest(c - t) + U * (largest(t) + scale))
        for r, c, t, scale in zip(rough, changed, truth, scales, strict=False)
    ]


def drawn(data: st.DataObject, name: str, special: bool) -> tuple[Call, list[Argument], Any]:
    call = data.draw(PROPERTIES[name])
    args = data.draw(arguments(call, special))
    numbers = [arg.numbers.astype(np.float64) for arg in args]
    (y,) = in_torch(call, numbers, None, torch.float64)
    gy = np.array(np.random.default_rng(1).standard_normal(y.shape), np.float32)
    return call, args, gy.astype(np.float64)


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@EXAMPLES
@given(data=st.data())
def test_values_and_gradients(name: str, data: st.DataObject) -> None:
    call, args, gy = drawn(data, name, special=False)
    numbers = [arg.numbers.astype(np.float64) for arg in args]
    if call.kink is not None:
        before = call.kink(*map(torch.tensor, numbers)).numpy()
        assume(np.abs(before).min(initial=1) > 1e-4)
    truth = in_torch(call, numbers, gy, torch.float64)
    for dtype, share in ((np.float32, 1.0), (np.float64, 2.0**-28)):
        allowed = allowed_errors(call, numbers, gy, truth, dtype is np.float32)
        mine = in_minran(call, args, gy, dtype)
        for k, (m, t, most) in enumerate(zip(mine, truth, allowed, strict=True)):
            assert m.dtype == dtype
            assert m.shape == t.shape
            note(f"{dtype.__name__}, result {k}: {largest(m - t):.2e} of {share * most:.2e}")
            assert not largest(m - t) > share * most  # not finite: PyTorch itself overflows


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@EXAMPLES
@given(data=st.data())
def test_infinite_and_missing_values(name: str, data: st.DataObject) -> None:
    """NaN and infinity are where PyTorch has them; what is finite there is so here."""
    call, args, gy = drawn(data, name, special=True)
    numbers = [arg.numbers.astype(np.float64) for arg in args]
    truth = in_torch(call, numbers, gy, torch.float64)
    mine = in_minran(call, args, gy, np.float64)
    for k, (m, t) in enumerate(zip(mine, truth, strict=True)):
        note(f"result {k}: {m.tolist()}, PyTorch {t.tolist()}")
        finite = np.isfinite(t)
        lost = np.isnan(m) if name in MORE_IS_MISSING and k > 0 else np.zeros_like(finite)
        if name not in MORE_IS_FINITE:
            np.testing.assert_array_equal(m[~finite & ~lost], t[~finite & ~lost])
        finite &= ~lost
        close = 1e-6 * largest(t[finite]) + 1e-12
        np.testing.assert_allclose(m[finite], t[finite], rtol=1e-6, atol=close)


def test_every_public_operation_has_its_line() -> None:
    names = {name for name in ops.__all__ if name.islower()}
    assert not names - set(PROPERTIES)
