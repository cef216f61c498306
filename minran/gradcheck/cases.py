"""A ready-made gradient check for every public operation: `minran gradcheck conv2d`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minran import backend, ops
from minran.autograd import Tensor
from minran.errors import GradientError, RecipeError, did_you_mean, expect_whole
from minran.gradcheck.check import gradcheck
from minran.gradcheck.report import GradcheckReport

Function = Callable[..., Tensor]
# In quotes: NumPy loads its generators when they are first asked for, which takes a while.
Case = Callable[["np.random.Generator"], tuple[Function, tuple[Any, ...]]]
"""Makes a function of Tensors, and inputs for it."""

Shape = tuple[int, ...]


def _normal(f: Function, *shapes: Shape) -> Case:
    """f at inputs of these shapes, normally distributed."""
    return lambda rng: (f, tuple(rng.standard_normal(shape) for shape in shapes))


def _positive(f: Function, *shapes: Shape) -> Case:
    """f at inputs of these shapes between 1/2 and 2, for what is singular at 0."""
    return lambda rng: (f, tuple(rng.uniform(0.5, 2, shape) for shape in shapes))


def _norm(op: Function, training: bool, *shapes: Shape, **options: Any) -> Case:
    """`op` with running statistics made anew for each call: a check must not move them."""

    def f(x: Tensor, gamma: Tensor, beta: Tensor, *more: Tensor) -> Tensor:
        running = np.linspace(-1, 1, x.shape[-1]), np.linspace(0.5, 2, x.shape[-1])
        mean, var = map(backend.to_device, running)
        inputs = dict(zip(("w", "residual"), more, strict=False))
        return op(x, gamma, beta, mean, var, training, **inputs, **options)

    return _normal(f, _PICTURE, (3,), (3,), *shapes)


def _of_pictures(op: Function) -> Case:
    """`op` at an image for each argument without a default."""
    parameters = inspect.signature(op).parameters.values()
    return _normal(op, *(_PICTURE for one in parameters if one.default is one.empty))


_MATRIX, _CUBE, _PICTURE = (3, 4), (3, 4, 2), (2, 5, 4, 3)

OPS: dict[str, Case] = {
    "add": _normal(lambda a, b: a + b, _MATRIX, (4,)),
    "sub": _normal(lambda a, b: a - b, (3, 1), _MATRIX),
    "mul": _normal(lambda a, b: a * b, _MATRIX, (3, 1)),
    "div": _positive(lambda a, b: a / b, _MATRIX, (4,)),
    "neg": _normal(lambda x: -x, _MATRIX),
    "pow": _normal(lambda x: x**3, _MATRIX),
    "exp": _normal(lambda x: x.exp(), _MATRIX),
    "log": _positive(lambda x: x.log(), _MATRIX),
    "sqrt": _positive(lambda x: x.sqrt(), _MATRIX),
    "matmul": _normal(lambda a, b: a @ b, _MATRIX, (4, 2)),
    "sum": _normal(lambda x: x.sum((0, 2)), _CUBE),
    "mean": _normal(lambda x: x.mean(1), _CUBE),
    "max": _normal(lambda x: x.max(1), _CUBE),
    "reshape": _normal(lambda x: x.reshape(6, -1), _CUBE),
    "transpose": _normal(lambda x: x.transpose(2, 0, 1), _CUBE),
    "index": _normal(lambda x: x[[0, 2, 0], 1:], _MATRIX),
    "concat": _normal(lambda a, b: ops.concat([a, b]), _MATRIX, (3, 2)),
    "linear": _normal(ops.linear, (4, 5), (5, 3), (3,)),
    "conv2d": _normal(
        lambda x, w, bias: ops.conv2d(x, w, bias, stride=(2, 1), padding=1),
        *(_PICTURE, (3, 3, 3, 4), (4,)),
    ),
    "max_pool2d": _normal(lambda x: ops.max_pool2d(x, 3, 2, ceil_mode=True), (2, 6, 5, 2)),
    "avg_pool2d": _normal(lambda x: ops.avg_pool2d(x, 3, 2, 1), (2, 6, 5, 2)),
    "upsample_bilinear2d": _normal(lambda x: ops.upsample_bilinear2d(x, (7, 6)), (2, 4, 3, 2)),
    "batch_norm": _norm(ops.batch_norm, True),
    "batch_norm_eval": _norm(ops.batch_norm, False),
    "batch_norm_relu": _norm(ops.batch_norm_relu, True),
    "norm_relu_conv2d": _norm(
        ops.norm_relu_conv2d, True, (3, 3, 3, 4), (2, 3, 2, 4), stride=2, padding=1
    ),
    "gate_naive": _normal(lambda mask, trunk: ops.gate(mask, trunk, "naive"), _PICTURE, _PICTURE),
    "softmax": _normal(ops.softmax, (4, 5)),
    "log_softmax": _normal(ops.log_softmax, (4, 5)),
    "cross_entropy": _normal(
        lambda logits: ops.cross_entropy(logits, np.array([2, 0, 3, 2]), label_smoothing=0.1),
        (4, 5),
    ),
}
"""By name. The operations that are not here take images; `folded_unit` has no gradient."""

OPS |= {
    name: _of_pictures(getattr(ops, name))
    for name in ops.__all__
    if name.islower() and name not in {*OPS, "folded_unit"}
}


def check_op(name: str, seed: int = 0) -> GradcheckReport:
    """Check the gradients of the operation `name` on random inputs.

    Raises RecipeError for an unknown name, with the nearest known one.

    >>> check_op("gate").passed
    True
    """
    expect_whole(seed, "gradcheck: seed", 0, error=GradientError)
    if not isinstance(name, str) or name not in OPS:
        hint = did_you_mean(str(name), OPS)
        raise RecipeError(f"gradcheck: unknown operation {name!r}; {hint}")
    function, inputs = OPS[name](np.random.default_rng(seed))
    return gradcheck(function, *inputs, seed=seed, name=name)
