"""Batch normalisation, alone and with the ReLU that pre-activation units put after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minran import backend, checks
from minran.autograd import Array, Op, Tensor
from minran.backend.world import Batch

Moments = Sequence[Array]
"""Mean and biased variance per channel."""


class BatchNorm(Op):
    """y = gamma xhat + beta, xhat = (x - mean) / sqrt(var + eps); max(y, 0) if `relu`.

    In training, mean and var are the batch's, so they move with x and
    gx = gamma / std (g - mean(g) - xhat mean(g xhat)); otherwise they are constants and
    gx = gamma / std g. Always ggamma = sum g xhat and gbeta = sum g.

    Where several processes hold a share of the batch each (`backend/world.py`), mean, var and the
    two means in gx run over all of it. ggamma and gbeta are this process's own, as all
    gradients of parameters are; the training loop sums them.
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
        checks.expect_norm(training, momentum, eps, moments)
        self.running = running_mean, running_var
        self.training, self.momentum, self.eps, self.relu = training, momentum, eps, relu
        self.moments = moments
        self.batch: Batch | None = None

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        self.shape = x.shape
        x = x[:, None, None] if x.ndim == 2 else x  # features are pictures of one pixel
        self.x, self.gamma = x, gamma
        self.mean, self.inv_std = self.finish(x, gamma, beta)[2:4]
        y = backend.current().batch_norm(x, gamma, beta, self.mean, self.inv_std, self.relu)
        self.y = y if self.relu else None
        return y.reshape(self.shape)

    def finish(self, x: Array, gamma: Array, beta: Array) -> Sequence[Array]:
        """gamma, beta, mean, 1 / sqrt(var + eps): the batch's, moving the running, or those."""
        # What is neither tuple nor list is the backend's own, and not summed yet.
        known = self.moments if isinstance(self.moments, (tuple, list)) else ()
        checks.expect_channels(x, gamma, beta, *self.running, *known)
        if not self.training:
            return gamma, beta, *running_statistics(*self.running, self.eps)
        kernels, self.batch = backend.current(), Batch(x.size // x.shape[-1])
        checks.expect_several(x, self.batch.count)
        moments = self.batch.moments(self.moments or kernels.batch_moments(x))
        rates = self.momentum, self.eps, self.batch.count
        return kernels.finish_norm(moments, gamma, beta, *self.running, *rates)  # type: ignore[no-any-return]

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        kernels, gy, gx = backend.current(), gy.reshape(self.x.shape), None
        x, y, statistics = self.x, self.y, (self.mean, self.inv_std)
        ggamma, gbeta = kernels.batch_norm_backward_sums(gy, x, y, *statistics)
        if self.needs[0]:
            sums = self.whole(ggamma, gbeta)
            gx = kernels.batch_norm_backward_input(gy, x, y, self.gamma, *statistics, *sums)
            gx = gx.reshape(self.shape)
        dtype = self.gamma.dtype
        return gx, ggamma.astype(dtype), gbeta.astype(dtype)

    def whole(self, ggamma: Array, gbeta: Array) -> tuple[Array, Array, int | None]:
        """Both sums over the whole batch, and its count: None if mean and var are constants."""
        if self.batch is None:
            return ggamma, gbeta, None
        return *self.batch.sums(ggamma, gbeta), self.batch.count


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
    return op(x, gamma, beta)


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
    return op(x, gamma, beta)


def running_statistics(running_mean: Array, running_var: Array, eps: float) -> Moments:
    """The mean and 1 / sqrt(var + eps) of a batch norm in evaluation, in float64."""
    mean, var = running_mean.astype(np.float64), running_var.astype(np.float64)
    return mean, 1 / (var + eps) ** 0.5
