"""A ready-made gradient check for every public operation: `minran gradcheck conv2d`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import backend, ops
from minran.autograd import Array, Tensor
from minran.errors import GradientError, RecipeError, expect_whole, nearest
from minran.gradcheck.check import gradcheck
from minran.gradcheck.report import GradcheckReport

Case = tuple[Callable[..., Tensor], tuple[Any, ...]]
"""A function of Tensors, and inputs for it."""


def _normal(*shapes: tuple[int, ...]) -> Callable[[np.random.Generator], tuple[Any, ...]]:
    """Inputs of these shapes, normally distributed."""
    return lambda rng: tuple(rng.standard_normal(shape) for shape in shapes)


def _positive(*shapes: tuple[int, ...]) -> Callable[[np.random.Generator], tuple[Any, ...]]:
    """Inputs of these shapes between 1/2 and 2, for what is singular at 0."""
    return lambda rng: tuple(rng.uniform(0.5, 2, shape) for shape in shapes)


def _batch_norm(op: Callable[..., Tensor], training: bool) -> Callable[..., Tensor]:
    """`op` with running statistics made anew for each call: a check must not move them."""

    def f(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        running = np.linspace(-1, 1, x.shape[-1]), np.linspace(0.5, 2, x.shape[-1])
        mean, var = (backend.to_device(array) for array in running)
        return op(x, gamma, beta, mean, var, training)

    return f


def _norm_relu_conv2d(
    x: Tensor, gamma: Tensor, beta: Tensor, w: Tensor, residual: Tensor
) -> Tensor:
    def op(
        x: Tensor, gamma: Tensor, beta: Tensor, mean: Array, var: Array, training: bool
    ) -> Tensor:
        return ops.norm_relu_conv2d(
            x, gamma, beta, mean, var, training, w, stride=2, padding=1, residual=residual
        )

    return _batch_norm(op, training=True)(x, gamma, beta)


_PICTURE = (2, 5, 4, 3)
_NORM = (_PICTURE, (3,), (3,))
_LABELS = np.array([2, 0, 3, 2])

_CASES: dict[str, tuple[Callable[..., Tensor], Callable[[np.random.Generator], Any]]] = {
    "add": (lambda a, b: a + b, _normal((3, 4), (4,))),
    "sub": (lambda a, b: a - b, _normal((3, 1), (3, 4))),
    "mul": (lambda a, b: a * b, _normal((3, 4), (3, 1))),
    "div": (lambda a, b: a / b, _positive((3, 4), (4,))),
    "neg": (lambda x: -x, _normal((3, 4))),
    "pow": (lambda x: x**3, _normal((3, 4))),
    "exp": (lambda x: x.exp(), _normal((3, 4))),
    "log": (lambda x: x.log(), _positive((3, 4))),
    "sqrt": (lambda x: x.sqrt(), _positive((3, 4))),
    "matmul": (lambda a, b: a @ b, _normal((3, 4), (4, 2))),
    "sum": (lambda x: x.sum((0, 2)), _normal((3, 4, 2))),
    "mean": (lambda x: x.mean(1), _normal((3, 4, 2))),
    "max": (lambda x: x.max(1), _normal((3, 4, 2))),
    "reshape": (lambda x: x.reshape(6, -1), _normal((3, 4, 2))),
    "transpose": (lambda x: x.transpose(2, 0, 1), _normal((3, 4, 2))),
    "index": (lambda x: x[[0, 2, 0], 1:], _normal((3, 4))),
    "concat": (lambda a, b: ops.concat([a, b]), _normal((3, 4), (3, 2))),
    "linear": (ops.linear, _normal((4, 5), (5, 3), (3,))),
    "conv2d": (
        lambda x, w, bias: ops.conv2d(x, w, bias, stride=(2, 1), padding=1),
        _normal(_PICTURE, (3, 3, 3, 4), (4,)),
    ),
    "max_pool2d": (lambda x: ops.max_pool2d(x, 3, 2, ceil_mode=True), _normal((2, 6, 5, 2))),
    "avg_pool2d": (lambda x: ops.avg_pool2d(x, 3, 2, 1), _normal((2, 6, 5, 2))),
    "global_avg_pool": (ops.global_avg_pool, _normal(_PICTURE)),
    "upsample_bilinear2d": (lambda x: ops.upsample_bilinear2d(x, (7, 6)), _normal((2, 4, 3, 2))),
    "batch_norm": (_batch_norm(ops.batch_norm, training=True), _normal(*_NORM)),
    "batch_norm_eval": (_batch_norm(ops.batch_norm, training=False), _normal(*_NORM)),
    "batch_norm_relu": (_batch_norm(ops.batch_norm_relu, training=True), _normal(*_NORM)),
    "norm_relu_conv2d": (_norm_relu_conv2d, _normal(*_NORM, (3, 3, 3, 4), (2, 3, 2, 4))),
    "relu": (ops.relu, _normal(_PICTURE)),
    "sigmoid": (ops.sigmoid, _normal(_PICTURE)),
    "channel_attention": (ops.channel_attention, _normal(_PICTURE)),
    "spatial_attention": (ops.spatial_attention, _normal(_PICTURE)),
    "gate": (ops.gate, _normal(_PICTURE, _PICTURE)),
    "gate_naive": (lambda mask, trunk: ops.gate(mask, trunk, "naive"), _normal(_PICTURE, _PICTURE)),
    "softmax": (ops.softmax, _normal((4, 5))),
    "log_softmax": (ops.log_softmax, _normal((4, 5))),
    "cross_entropy": (
        lambda logits: ops.cross_entropy(logits, _LABELS, label_smoothing=0.1),
        _normal((4, 5)),
    ),
}


def _case(name: str) -> Callable[[np.random.Generator], Case]:
    function, inputs = _CASES[name]
    return lambda rng: (function, inputs(rng))


OPS: dict[str, Callable[[np.random.Generator], Case]] = {name: _case(name) for name in _CASES}
"""By name: what makes a function and inputs for it from a random generator."""


def check_op(name: str, seed: int = 0) -> GradcheckReport:
    """Check the gradients of the operation `name` on random inputs.

    Raises RecipeError for an unknown name, with the nearest known one.

    >>> check_op("gate").passed
    True
    """
    expect_whole(seed, "gradcheck: seed", 0, error=GradientError)
    if not isinstance(name, str) or name not in OPS:
        close = nearest(str(name), OPS, cutoff=0.4)
        hint = f"did you mean {close!r}? " if close else ""
        raise RecipeError(f"gradcheck: unknown operation {name!r}; {hint}known: {', '.join(OPS)}")
    function, inputs = OPS[name](np.random.default_rng(seed))
    return gradcheck(function, *inputs, seed=seed, name=name)
