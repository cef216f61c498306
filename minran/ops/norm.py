"""Batch normalisation, alone and with the ReLU that pre-activation units put behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np

from minran import backend
from minran.autograd import Array, Op, Tensor
from minran.backend import world
from minran.errors import ShapeError, expect, expect_bool, expect_number, shortened

Moments = tuple[Array, Array]
"""Mean and biased variance per channel."""


class BatchNorm(Op):
    """y = gamma xhat + beta, xhat = (x - mean) / sqrt(var + eps); max(y, 0) if `relu`.

    In training, mean and var are the batch's, so they move with x and
    gx = gamma / std (g - mean(g) - xhat mean(g xhat)); otherwise they are constants and
    gx = gamma / std g. Always ggamma = sum g xhat and gbeta = sum g.

    The batch is that of all processes (`minran.distributed`): mean, var and the two means in gx
    run over every share of it. ggamma and gbeta are this process's own, as all gradients of
    parameters are; the training loop sums them.
    """

    def __init__(
        self,
        running_mean: Array,
        running_var: Array,
        training: bool,
        momentum: float,
        eps: float,
        relu: bool,
        moments: Moments | None = None,
    ) -> None:
        expect(
            isinstance(eps, Real) and 0 < eps < math.inf,
            f"batch_norm: eps must be a number above 0, got {shortened(eps)}",
        )
        expect_number(momentum, "batch_norm: momentum", -math.inf)
        expect_bool(training, "batch_norm: training")
        self.running = running_mean, running_var
        self.training, self.momentum, self.eps, self.relu = training, momentum, eps, relu
        self.known = moments

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        self.x, self.gamma = x, gamma
        self.mean, self.inv_std = self.statistics(x, gamma, beta)
        y = backend.current().batch_norm(x, gamma, beta, self.mean, self.inv_std, self.relu)
        self.y = y if self.relu else None
        return y

    def statistics(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Array]:
        """mean and 1 / sqrt(var + eps): the batch's, moving the running ones, or the running."""
        running_mean, running_var = self.running
        _check(x, gamma, beta, running_mean, running_var)
        self.count = None
        if not self.training:
            return inference_statistics(running_mean, running_var, self.eps)
        counts = world.current().counts(x.size // x.shape[-1])
        self.count = sum(counts)
        expect(
            self.count > 1,
            f"batch_norm: x {tuple(x.shape)} has one value per channel, no variance to train on",
        )
        kernels = backend.current()
        mean, var = _join(counts, self.known or kernels.batch_moments(x))
        if backend.has("batch_statistics"):  # the three lines below as one launch
            rates = self.momentum, self.eps, self.count
            return mean, kernels.batch_statistics(mean, var, running_mean, running_var, *rates)
        _update(running_mean, mean, self.momentum)
        _update(running_var, var * (self.count / (self.count - 1)), self.momentum)
        return mean, 1 / (var + self.eps) ** 0.5

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        kernels = backend.current()
        ggamma, gbeta = kernels.batch_norm_backward_sums(
            gy, self.x, self.y, self.mean, self.inv_std
        )
        gx = None
        if self.needs[0]:
            sums = self.whole(ggamma, gbeta)
            gx = kernels.batch_norm_backward_input(
                gy, self.x, self.y, self.gamma, self.mean, self.inv_std, *sums, self.count
            )
        dtype = self.gamma.dtype
        return gx, ggamma.astype(dtype), gbeta.astype(dtype)

    def whole(self, ggamma: Array, gbeta: Array) -> Sequence[Array]:
        """ggamma and gbeta of the whole batch, which its statistics pass on to every gx."""
        together = world.current()
        if together.size == 1 or self.count is None:
            return ggamma, gbeta
        return together.sum(backend.current().xp.stack([ggamma, gbeta]))


def batch_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Array,
    running_var: Array,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    moments: Moments | None = None,
) -> Tensor:
    """Normalise every channel to mean 0 and variance 1, then scale and shift it.

        y = gamma (x - mean) / sqrt(var + eps) + beta

    x: (N, H, W, C) or (N, C); gamma, beta, running_mean, running_var: (C,) -> y as x.
    In training, mean and (biased) var are those of the batch and the running arrays move, in
    place: running = (1 - momentum) running + momentum batch, with the unbiased variance, as
    in PyTorch. Otherwise mean and var are the running ones. `moments`: the batch's mean and
    biased variance, if you know them already.

    Raises ShapeError if shapes do not fit, eps is not above 0, or in training if a channel has a
    single value.

    >>> x = tensor(np.array([[1.0], [3.0]]))
    >>> one, zero = np.ones(1), np.zeros(1)
    >>> y = ops.batch_norm(x, tensor(one), tensor(zero), zero, one, training=True)
    >>> y.numpy().ravel().round(3)
    array([-0.9,  1.3])
    >>> zero, one  # the running mean and variance have moved
    (array([0.2]), array([1.1]))
    """
    op = BatchNorm(running_mean, running_var, training, momentum, eps, False, moments)
    return _as_pictures(op, x, gamma, beta)


def batch_norm_relu(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Array,
    running_var: Array,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    moments: Moments | None = None,
) -> Tensor:
    """relu(batch_norm(x, ...)) in one pass; arguments, shapes and errors as `batch_norm`.

    >>> x, one, zero = tensor(np.array([[1.0], [3.0]])), np.ones(1), np.zeros(1)
    >>> y = ops.batch_norm_relu(x, tensor(one), tensor(zero), zero, one, training=True)
    >>> y.numpy().ravel().round(3)
    array([0. , 1.3])
    """
    op = BatchNorm(running_mean, running_var, training, momentum, eps, True, moments)
    return _as_pictures(op, x, gamma, beta)


def expect_tensor(x: Tensor) -> None:
    """Raise ShapeError unless x is a Tensor."""
    expect(isinstance(x, Tensor), f"expected a Tensor as x, got {type(x).__name__}")


def inference_affine(
    gamma: Tensor, beta: Tensor, running_mean: Array, running_var: Array, eps: float
) -> tuple[Array, Array]:
    """Batch norm in evaluation as a x + b: a = gamma / sqrt(var + eps), b = beta - a mean."""
    mean, inv_std = inference_statistics(running_mean, running_var, eps)
    a = gamma.data * inv_std
    return a, beta.data - a * mean


def inference_statistics(running_mean: Array, running_var: Array, eps: float) -> Moments:
    """The mean and 1 / sqrt(var + eps) of a batch norm in evaluation, in float64."""
    mean, var = running_mean.astype(np.float64), running_var.astype(np.float64)
    return mean, 1 / (var + eps) ** 0.5


def _as_pictures(op: BatchNorm, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """The kernels see (N, H, W, C); features (N, C) pass through as one-pixel pictures."""
    expect_tensor(x)
    if x.ndim == 2:
        n, c = x.shape
        return op(x.reshape(n, 1, 1, c), gamma, beta).reshape(n, c)
    return op(x, gamma, beta)


def _join(counts: list[int], moments: Moments) -> Moments:
    """The moments of the whole batch from those of each process's share.

        n mean = sum_r n_r mean_r;    n var = sum_r n_r (var_r + (mean_r - mean)^2)

    In the order of the processes, so that all get the same bits.
    """
    if len(counts) == 1:
        return moments
    xp = backend.current().xp
    means, variances = xp.moveaxis(world.current().gather(xp.stack(moments)), 1, 0)
    share = xp.asarray(counts, means.dtype)[:, None] / sum(counts)
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean) ** 2)).sum(0)


def _update(running: Array, batch: Array, momentum: float) -> None:
    """Running = (1 - momentum) running + momentum batch, in place."""
    running *= 1 - momentum
    running += (momentum * batch).astype(running.dtype)


def _check(x: Array, *vectors: Array) -> None:
    expect(x.ndim == 4, f"batch_norm: x must be (N, H, W, C) or (N, C), got {tuple(x.shape)}")
    names = ("gamma", "beta", "running_mean", "running_var")
    for name, vector in zip(names, vectors, strict=True):
        if not (hasattr(vector, "dtype") and backend.is_floating(vector.dtype)):
            what = f"batch_norm: {name} must be a floating-point array"
            raise ShapeError(f"{what}, got {shortened(vector)}")
        expect(
            tuple(vector.shape) == (x.shape[-1],),
            f"batch_norm: x {tuple(x.shape)} has {x.shape[-1]} channels, so {name} must be "
            f"({x.shape[-1]},), got {tuple(vector.shape)}",
        )
