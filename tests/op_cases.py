"""Operations on tensors against PyTorch: one helper, one line per case.

A case is a function of Tensors, the same function in PyTorch, and the shapes of its inputs. The
kernels' geometry (odd sizes, strides, padding, ties) has its own sweep in tests/backend; here is
what lies above it: argument handling, gradients of every input, dtypes, the graph.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from minran import Tensor, backend, ops, tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class OpCase:
    """`mine` and `theirs` on standard normal inputs of `shapes` (positive ones if asked)."""

    name: str
    mine: Callable[..., Tensor]
    theirs: Callable[..., torch.Tensor]
    shapes: tuple[Shape, ...]
    positive: bool = False

    def __str__(self) -> str:
        return self.name

    def inputs(self, dtype: Any = np.float64) -> list[np.ndarray]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        draw = (lambda s: rng.uniform(0.5, 2, s)) if self.positive else rng.standard_normal
        return [np.asarray(draw(shape), dtype) for shape in self.shapes]

    def in_minran(self, dtype: Any = np.float64) -> tuple[np.ndarray, list[np.ndarray]]:
        """The result and the gradients of <r, result> for a random r."""
        leaves = [tensor(x, requires_grad=True) for x in self.inputs(dtype)]
        y = self.mine(*leaves)
        y.backward(_cotangent(self.name, y.shape).astype(y.dtype))
        assert all(leaf.grad is not None for leaf in leaves)
        return y.numpy(), [backend.to_host(leaf.grad) for leaf in leaves]

    def in_torch(self, dtype: torch.dtype = torch.float64) -> tuple[np.ndarray, list[np.ndarray]]:
        leaves = [torch.tensor(x, dtype=dtype, requires_grad=True) for x in self.inputs()]
        y = self.theirs(*leaves)
        y.backward(torch.tensor(_cotangent(self.name, tuple(y.shape)), dtype=dtype))
        return y.detach().numpy(), [leaf.grad.numpy() for leaf in leaves]


def check_parity(case: OpCase, tolerance: float = 1e-10) -> None:
    """The result and every gradient equal PyTorch's, in float64."""
    y, gradients = case.in_minran()
    expected_y, expected_gradients = case.in_torch()
    compare(f"{case.name}: result", y, expected_y, tolerance)
    for k, (mine, theirs) in enumerate(zip(gradients, expected_gradients, strict=True)):
        compare(f"{case.name}: gradient of input {k}", mine, theirs, tolerance)


def check_float32(case: OpCase) -> None:
    """In float32 nothing turns float64, and digits are lost only to rounding."""
    y, gradients = case.in_minran(np.float32)
    exact, exact_gradients = case.in_torch()
    for mine, theirs in zip([y, *gradients], [exact, *exact_gradients], strict=True):
        assert mine.dtype == np.float32, f"{case.name}: {mine.dtype} in a float32 path"
        compare(case.name, mine.astype(np.float64), theirs, 1e-4)


def check_running_statistics(
    relu: bool = False, shape: Shape = (3, 4, 5, 2), momentum: float = 0.1
) -> None:
    """Three training batches move the running mean and variance as PyTorch's."""
    rng = np.random.default_rng(0)
    mean, var = rng.normal(size=2), rng.uniform(0.5, 2, 2)
    their_mean, their_var = torch.tensor(mean), torch.tensor(var)
    gamma, beta = tensor(np.ones(2)), tensor(np.zeros(2))
    op = ops.batch_norm_relu if relu else ops.batch_norm
    for _ in range(3):
        x = 3 + 2 * rng.standard_normal(shape)
        op(tensor(x), gamma, beta, mean, var, training=True, momentum=momentum)
        theirs = torch.tensor(x)
        theirs = nchw(theirs) if theirs.ndim == 4 else theirs
        functional.batch_norm(
            theirs, their_mean, their_var, training=True, momentum=momentum, eps=1e-5
        )
        compare("running_mean", mean, their_mean.numpy(), 1e-12)
        compare("running_var", var, their_var.numpy(), 1e-12)


def compare(what: str, mine: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """max |mine - theirs| <= tolerance max |theirs|, in one shape and dtype."""
    assert mine.shape == theirs.shape, f"{what}: shape {mine.shape}, PyTorch {theirs.shape}"
    assert mine.dtype == theirs.dtype, f"{what}: dtype {mine.dtype}, PyTorch {theirs.dtype}"
    if mine.size:
        error = np.abs(mine - theirs).max() / max(np.abs(theirs).max(), 1e-3)
        assert error <= tolerance, f"{what} differs by {error:.1e} of the largest value"


def _cotangent(name: str, shape: Shape) -> np.ndarray:
    return np.random.default_rng([zlib.crc32(name.encode()), 1]).standard_normal(shape)


def both(name: str, f: Callable[..., Any], *shapes: Shape, positive: bool = False) -> OpCase:
    """A case whose function reads the same in minran and in PyTorch."""
    return OpCase(name, f, f, shapes, positive)


def pair(
    name: str,
    mine: Callable[..., Tensor],
    theirs: Callable[..., torch.Tensor],
    *shapes: Shape,
) -> OpCase:
    return OpCase(name, mine, theirs, shapes)


def nchw(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def torch_conv2d(x, w, bias=None, stride=1, padding=0, groups=1):
    w = w.permute(3, 2, 0, 1)
    return nhwc(functional.conv2d(nchw(x), w, bias, stride, padding, 1, groups))


def conv(name: str, *shapes: Shape, **options: Any) -> OpCase:
    return pair(
        f"conv2d {name}",
        lambda *t: ops.conv2d(*t, **options),
        lambda *t: torch_conv2d(*t, **options),
        *shapes,
    )


def max_pool(name: str, x: Shape, *args: Any, **options: Any) -> OpCase:
    def theirs(t, kernel_size, stride=None, padding=0, ceil_mode=False):
        return nhwc(functional.max_pool2d(nchw(t), kernel_size, stride, padding, 1, ceil_mode))

    return pair(
        f"max_pool2d {name}",
        lambda t: ops.max_pool2d(t, *args, **options),
        lambda t: theirs(t, *args, **options),
        x,
    )


def avg_pool(name: str, x: Shape, *args: Any) -> OpCase:
    return pair(
        f"avg_pool2d {name}",
        lambda t: ops.avg_pool2d(t, *args),
        lambda t: nhwc(functional.avg_pool2d(nchw(t), *args)),
        x,
    )


def upsample(name: str, x: Shape, size: Any, align_corners: bool) -> OpCase:
    def theirs(t):
        y = functional.interpolate(nchw(t), size, mode="bilinear", align_corners=align_corners)
        return nhwc(y)

    return pair(
        f"upsample {name}", lambda t: ops.upsample_bilinear2d(t, size, align_corners), theirs, x
    )


def running(channels: int) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(-1, 1, channels), np.linspace(0.5, 2, channels)


def batch_norm(name: str, x: Shape, training: bool, relu: bool = False, eps: float = 1e-5):
    def mine(t, gamma, beta):
        mean, var = (array.astype(t.dtype) for array in running(x[-1]))
        op = ops.batch_norm_relu if relu else ops.batch_norm
        return op(t, gamma, beta, mean, var, training, eps=eps)

    def theirs(t, gamma, beta):
        mean, var = (torch.tensor(array, dtype=t.dtype) for array in running(x[-1]))
        first = nchw(t) if t.ndim == 4 else t
        y = functional.batch_norm(first, mean, var, gamma, beta, training, 0.1, eps)
        y = nhwc(y) if t.ndim == 4 else y
        return y.relu() if relu else y

    return pair(f"batch_norm {name}", mine, theirs, x, x[-1:], x[-1:])


def fused(name: str, x: Shape, w: Shape, y: Shape, training: bool, **options: int) -> OpCase:
    """norm_relu_conv2d with a residual; not every backend has it."""

    def mine(t, gamma, beta, weight, residual):
        mean, var = (array.astype(t.dtype) for array in running(x[-1]))
        return ops.norm_relu_conv2d(
            t, gamma, beta, mean, var, training, weight, residual=residual, **options
        )

    def theirs(t, gamma, beta, weight, residual):
        mean, var = (torch.tensor(array, dtype=t.dtype) for array in running(x[-1]))
        a = functional.batch_norm(nchw(t), mean, var, gamma, beta, training, 0.1, 1e-5).relu()
        return torch_conv2d(nhwc(a), weight, **options) + residual

    return pair(f"norm_relu_conv2d {name}", mine, theirs, x, x[-1:], x[-1:], w, y)


LABELS = np.array([2, 0, 3, 3, 1])
SOFT = np.random.default_rng(5).dirichlet(np.ones(4), 5)


def cross_entropy(name: str, labels: np.ndarray, smoothing: float = 0.0) -> OpCase:
    def theirs(logits):
        target = torch.tensor(labels)
        target = target.to(logits.dtype) if target.is_floating_point() else target.long()
        return functional.cross_entropy(logits, target, label_smoothing=smoothing)

    return pair(
        f"cross_entropy {name}",
        lambda logits: ops.cross_entropy(logits, labels, label_smoothing=smoothing),
        theirs,
        (5, 4),
    )


def torch_spatial(x):
    var, mean = torch.var_mean(x, (1, 2), correction=0, keepdim=True)
    return ((x - mean) / (var + 1e-5).sqrt()).sigmoid()


PICTURE = (2, 5, 4, 3)
ROWS = np.array([2, 0, 2, 2])

NOT_DIFFERENTIABLE = {"folded_unit"}
"""Names of `ops` without a gradient: two questions, and one operation for evaluation."""

POINTWISE = {
    "relu": (ops.relu, torch.relu),
    "sigmoid": (ops.sigmoid, torch.sigmoid),
}
"""Operations of one tensor, number by number, and the same in PyTorch."""

CASES = [
    *(pair(name, *twins, PICTURE) for name, twins in POINTWISE.items()),
    both("a + b", lambda a, b: a + b, (3, 4), (3, 4)),
    both("a + row", lambda a, b: a + b, (3, 4), (4,)),
    both("column + a", lambda a, b: a + b, (3, 1), (3, 4)),
    both("outer +", lambda a, b: a + b, (3, 1), (1, 4)),
    both("scalar + a", lambda a, b: a + b, (), (3, 4)),
    both("one + a", lambda a, b: a + b, (1, 1), (2, 3, 4)),
    both("a - row", lambda a, b: a - b, (3, 4), (4,)),
    both("row - a", lambda a, b: a - b, (4,), (2, 3, 4)),
    both("a b", lambda a, b: a * b, (3, 4), (3, 4)),
    both("a column", lambda a, b: a * b, (3, 4), (3, 1)),
    both("channels", lambda x, s: x * s, PICTURE, (3,)),
    both("a / row", lambda a, b: a / b, (3, 4), (4,), positive=True),
    both("column / a", lambda a, b: a / b, (3, 1), (3, 4), positive=True),
    both("2 + x", lambda x: 2 + x, (3,)),
    both("2 - x", lambda x: 2 - x, (3,)),
    both("x - 2", lambda x: x - 2, (3,)),
    both("2 x", lambda x: 2 * x, (3,)),
    both("x / 2", lambda x: x / 2, (3,)),
    both("2 / x", lambda x: 2 / x, (3,), positive=True),
    both("-x", lambda x: -x, (3, 4)),
    both("x ** 3", lambda x: x**3, (3, 4)),
    both("x ** -1", lambda x: x**-1, (3, 4), positive=True),
    both("x ** 0.5", lambda x: x**0.5, (3, 4), positive=True),
    both("x ** 0", lambda x: x**0, (3, 4)),
    both("a @ b", lambda a, b: a @ b, (3, 4), (4, 2)),
    both("a @ a", lambda a: a @ a, (3, 3)),
    both("exp", lambda x: x.exp(), (3, 4)),
    both("log", lambda x: x.log(), (3, 4), positive=True),
    both("sqrt", lambda x: x.sqrt(), (3, 4), positive=True),
    both("sum", lambda x: x.sum(), PICTURE),
    both("sum of a number", lambda x: x.sum(), ()),
    both("sum axis", lambda x: x.sum(1), PICTURE),
    both("sum last axis", lambda x: x.sum(-1), PICTURE),
    both("sum axes", lambda x: x.sum((0, -1)), PICTURE),
    pair("sum keepdims", lambda x: x.sum(2, True), lambda x: x.sum(2, True), PICTURE),
    both("mean", lambda x: x.mean(), PICTURE),
    both("mean axes", lambda x: x.mean((1, 2)), PICTURE),
    pair("mean keepdims", lambda x: x.mean(-1, True), lambda x: x.mean(-1, True), PICTURE),
    both("max", lambda x: x.max(), PICTURE),
    pair("max axis", lambda x: x.max(1), lambda x: x.amax(1), PICTURE),
    pair("max axes", lambda x: x.max((0, -1)), lambda x: x.amax((0, -1)), PICTURE),
    pair("max keepdims", lambda x: x.max(1, True), lambda x: x.amax(1, True), PICTURE),
    pair("max of ties", lambda x: (x * 0).max(1), lambda x: (x * 0).amax(1), (3, 4)),
    both("reshape", lambda x: x.reshape(6, -1), PICTURE),
    both("reshape tuple", lambda x: x.reshape((8, 15)), PICTURE),
    both("reshape list", lambda x: x.reshape([8, 15]), PICTURE),
    pair("transpose", lambda x: x.transpose(), lambda x: x.permute(3, 2, 1, 0), PICTURE),
    pair(
        "transpose axes",
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: x.permute(0, 3, 1, 2),
        PICTURE,
    ),
    pair(
        "transpose tuple", lambda x: x.transpose((2, 0, 1)), lambda x: x.permute(2, 0, 1), (2, 3, 4)
    ),
    pair(
        "reshape of a transpose",
        lambda x: x.transpose(1, 0).reshape(-1),
        lambda x: x.permute(1, 0).reshape(-1),
        (3, 4),
    ),
    both("x[1]", lambda x: x[1], (3, 4)),
    both("x[:, 1:3]", lambda x: x[:, 1:3], (3, 4)),
    both("x[..., ::2]", lambda x: x[..., ::2], PICTURE),
    both("x[1, 2]", lambda x: x[1, 2], (3, 4)),
    both("x[None]", lambda x: x[None], (3, 4)),
    both("x[rows], some twice", lambda x: x[ROWS], (3, 4)),
    both("x[rows, columns], some twice", lambda x: x[[0, 2, 0], [1, 1, 1]], (3, 4)),
    both("x[booleans]", lambda x: x[np.array([True, False, True])], (3, 4)),
    pair(
        "concat",
        lambda a, b: ops.concat([a, b]),
        lambda a, b: torch.cat([a, b], -1),
        (3, 4),
        (3, 2),
    ),
    pair(
        "concat of three along rows",
        lambda a, b, c: ops.concat([a, b, c], 0),
        lambda a, b, c: torch.cat([a, b, c], 0),
        (1, 4),
        (2, 4),
        (3, 4),
    ),
    pair(
        "concat of equal widths",
        lambda a, b: ops.concat([a, b]),
        lambda a, b: torch.cat([a, b], -1),
        (3, 4),
        (3, 4),
    ),
    pair("concat x, x", lambda x: ops.concat([x, x]), lambda x: torch.cat([x, x], -1), (3, 4)),
    pair("linear", ops.linear, lambda x, w: x @ w, (4, 5), (5, 3)),
    pair("linear with bias", ops.linear, lambda x, w, b: x @ w + b, (4, 5), (5, 3), (3,)),
    conv("plain", (2, 5, 4, 3), (3, 3, 3, 4)),
    conv("bias", (2, 5, 4, 3), (3, 3, 3, 4), (4,), padding=1),
    conv("stride pair", (2, 6, 7, 3), (3, 2, 3, 2), (2,), stride=(1, 2), padding=(1, 0)),
    conv("groups", (2, 5, 4, 4), (3, 3, 2, 6), (6,), padding=1, groups=2),
    conv("1x1 stride 2", (2, 5, 4, 3), (1, 1, 3, 2), stride=2),
    pair(
        "conv2d of a transposed image",
        lambda x, w: ops.conv2d(x.transpose(0, 2, 1, 3), w, padding=1),
        lambda x, w: torch_conv2d(x.permute(0, 2, 1, 3), w, padding=1),
        PICTURE,
        (3, 3, 3, 2),
    ),
    max_pool("int", (2, 6, 4, 3), 2),
    max_pool("ceil mode", (2, 7, 6, 3), 3, 2, ceil_mode=True),
    max_pool("pairs", (2, 7, 6, 3), (3, 2), (2, 1), (1, 0)),
    pair(
        "max_pool2d of negatives, padded",
        lambda x: ops.max_pool2d(-x.exp(), 3, 2, 1),
        lambda x: nhwc(functional.max_pool2d(nchw(-x.exp()), 3, 2, 1)),
        (2, 7, 6, 3),
    ),
    pair(
        "max_pool2d of ties",
        lambda x: ops.max_pool2d(x - x.detach(), 2),
        lambda x: nhwc(functional.max_pool2d(nchw(x - x.detach()), 2)),
        (2, 6, 4, 3),
    ),
    avg_pool("int", (2, 6, 4, 3), 2),
    avg_pool("padding", (2, 7, 6, 3), 3, 2, 1),
    pair("global_avg_pool", ops.global_avg_pool, lambda x: x.mean((1, 2)), PICTURE),
    upsample("align_corners", (2, 3, 2, 3), (5, 7), True),
    upsample("one size for both", (2, 3, 2, 3), 6, True),
    upsample("half pixels", (2, 3, 2, 3), (5, 7), False),
    upsample("smaller", (2, 6, 5, 2), (3, 2), True),
    batch_norm("training", PICTURE, True),
    batch_norm("training, large eps", PICTURE, True, eps=0.3),
    batch_norm("evaluation", PICTURE, False),
    batch_norm("evaluation, large eps", PICTURE, False, eps=0.3),
    batch_norm("relu training", PICTURE, True, relu=True),
    batch_norm("relu evaluation", PICTURE, False, relu=True),
    batch_norm("features training", (6, 3), True),
    batch_norm("features relu evaluation", (6, 3), False, relu=True),
    fused("1x1", PICTURE, (1, 1, 3, 4), (2, 5, 4, 4), True),
    fused("1x1, stride 2", PICTURE, (1, 1, 3, 4), (2, 3, 2, 4), True, stride=2),
    fused("3x3", PICTURE, (3, 3, 3, 2), (2, 5, 4, 2), True, padding=1),
    fused("3x3, stride 2", PICTURE, (3, 3, 3, 2), (2, 3, 2, 2), True, padding=1, stride=2),
    fused("3x3, no padding", PICTURE, (3, 3, 3, 2), (2, 3, 2, 2), True),
    fused("3x3, evaluation", PICTURE, (3, 3, 3, 2), (2, 5, 4, 2), False, padding=1),
    fused("2x2, stride 3", (2, 7, 8, 3), (2, 2, 3, 2), (2, 3, 3, 2), True, padding=1, stride=3),
    pair(
        "channel_attention",
        ops.channel_attention,
        lambda x: x / x.norm(dim=3, keepdim=True),
        PICTURE,
    ),
    pair("spatial_attention", ops.spatial_attention, torch_spatial, PICTURE),
    pair("gate", ops.gate, lambda m, t: (1 + m) * t, PICTURE, PICTURE),
    pair("gate naive", lambda m, t: ops.gate(m, t, "naive"), lambda m, t: m * t, PICTURE, PICTURE),
    pair("softmax", ops.softmax, lambda x: x.softmax(-1), (4, 5)),
    pair("log_softmax", ops.log_softmax, lambda x: x.log_softmax(-1), (4, 5)),
    cross_entropy("of integers", LABELS),
    cross_entropy("of bytes", LABELS.astype(np.uint8)),
    cross_entropy("smoothed", LABELS, 0.1),
    cross_entropy("soft", SOFT),
    cross_entropy("soft, smoothed", SOFT, 0.3),
    both("x used three times", lambda x: x * x + x, (3, 4)),
    both("a result used twice", lambda x: (lambda y: y * y + y)(x.exp()), (3, 4)),
    both("diamond", lambda x: (x * 2 + x.exp()) * (x - 1), (3, 4)),
    pair(
        "attention module in small",
        lambda x, w: ops.gate(ops.sigmoid(ops.conv2d(x, w)), x) + x,
        lambda x, w: (1 + torch_conv2d(x, w).sigmoid()) * x + x,
        PICTURE,
        (1, 1, 3, 3),
    ),
]

BY_NAME = {case.name: case for case in CASES}
