"""A ready-made gradient check for every public operation: `minran gradcheck conv2d`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minran import backend, ops
from minran.autograd import Tensor
from minran.errors import GradientError, RecipeError, expect_whole, nearest
from minran.gradcheck.check import gradcheck
from minran.gradcheck.report import GradcheckReport

# In quotes: NumPy loads its generators when they are first asked for, which takes a while.
Inputs = Callable[["np.random.Generator"], tuple[Any, ...]]
"""Makes inputs for a function of Tensors."""


def _normal(*shapes: tuple[int, ...]) -> Inputs:
    """Inputs of these shapes, normally distributed."""
    return lambda rng: tuple(rng.standard_normal(shape) for shape in shapes)


def _positive(*shapes: tuple[int, ...]) -> Inputs:
    """Inputs of these shapes between 1/2 and 2, for what is singular at 0."""
    return lambda rng: tuple(rng.uniform(0.5, 2, shape) for shape in shapes)


def _norm(op: Callable[..., Tensor], training: bool, **options: Any) -> Callable[..., Tensor]:
    """`op` with running statistics made anew for each call: a check must not move them."""

    def f(x: Tensor, gamma: Tensor, beta: Tensor, *more: Tensor) -> Tensor:
        running = np.linspace(-1, 1, x.shape[-1]), np.linspace(0.5, 2, x.shape[-1])
        mean, var = map(backend.to_device, running)
        inputs = dict(zip(("w", "residual"), more, strict=False))
        return op(x, gamma, beta, mean, var, training, **inputs, **options)

    return f


_MATRIX, _CUBE, _PICTURE = (3, 4), (3, 4, 2), (2, 5, 4, 3)
_NORM = (_PICTURE, (3,), (3,))

_CASES: dict[str, tuple[Callable[..., Tensor], Inputs]] = {
    "add": (lambda a, b: a + b, _normal(_MATRIX, (4,))),
    "sub": (lambda a, b: a - b, _normal((3, 1), _MATRIX)),
    "mul": (lambda a, b: a * b, _normal(_MATRIX, (3, 1))),
    "div": (lambda a, b: a / b, _positive(_MATRIX, (4,))),
    "neg": (lambda x: -x, _normal(_MATRIX)),
    "pow": (lambda x: x**3, _normal(_MATRIX)),
    "exp": (lambda x: x.exp(), _normal(_MATRIX)),
    "log": (lambda x: x.log(), _positive(_MATRIX)),
    "sqrt": (lambda x: x.sqrt(), _positive(_MATRIX)),
    "matmul": (lambda a, b: a @ b, _normal(_MATRIX, (4, 2))),
    "sum": (lambda x: x.sum((0, 2)), _normal(_CUBE)),
    "mean": (lambda x: x.mean(1), _normal(_CUBE)),
    "max": (lambda x: x.max(1), _normal(_CUBE)),
    "reshape": (lambda x: x.reshape(6, -1), _normal(_CUBE)),
    "transpose": (lambda x: x.transpose(2, 0, 1), _normal(_CUBE)),
    "index": (lambda x: x[[0, 2, 0], 1:], _normal(_MATRIX)),
    "concat": (lambda a, b: ops.concat([a, b]), _normal(_MATRIX, (3, 2))),
    "linear": (ops.linear, _normal((4, 5), (5, 3), (3,))),
    "conv2d": (
        lambda x, w, bias: ops.conv2d(x, w, bias, stride=(2, 1), padding=1),
        _normal(_PICTURE, (3, 3, 3, 4), (4,)),
    ),
    "max_pool2d": (lambda x: ops.max_pool2d(x, 3, 2, ceil_mode=True), _normal((2, 6, 5, 2))),
    "avg_pool2d": (lambda x: ops.avg_pool2d(x, 3, 2, 1), _normal((2, 6, 5, 2))),
    "upsample_bilinear2d": (lambda x: ops.upsample_bilinear2d(x, (7, 6)), _normal((2, 4, 3, 2))),
    "batch_norm": (_norm(ops.batch_norm, training=True), _normal(*_NORM)),
    "batch_norm_eval": (_norm(ops.batch_norm, training=False), _normal(*_NORM)),
    "batch_norm_relu": (_norm(ops.batch_norm_relu, training=True), _normal(*_NORM)),
    "norm_relu_conv2d": (
        _norm(ops.norm_relu_conv2d, training=True, stride=2, padding=1),
        _normal(*_NORM, (3, 3, 3, 4), (2, 3, 2, 4)),
    ),
    "gate_naive": (lambda mask, trunk: ops.gate(mask, trunk, "naive"), _normal(_PICTURE, _PICTURE)),
    "softmax": (ops.softmax, _normal((4, 5))),
    "log_softmax": (ops.log_softmax, _normal((4, 5))),
    "cross_entropy": (
        lambda logits: ops.cross_entropy(logits, np.array([2, 0, 3, 2]), label_smoothing=0.1),
        _normal((4, 5)),
    ),
}


def _of_pictures(op: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], Inputs]:
    parameters = inspect.signature(op).parameters.values()
    return op, _normal(*(_PICTURE for one in parameters if one.default is one.empty))


_CASES |= {
    name: _of_pictures(getattr(ops, name))
    for name in ops.__all__
    if name.islower() and name not in {*_CASES, "folded_unit"}
}
"""The other operations take pictures; `folded_unit` has no gradient."""


def _ready(function: Callable[..., Tensor], inputs: Inputs) -> Callable[..., Any]:
    return lambda rng: (function, inputs(rng))


OPS: dict[str, Callable[[np.random.Generator], tuple[Callable[..., Tensor], tuple[Any, ...]]]] = {
    name: _ready(*case) for name, case in _CASES.items()
}
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
