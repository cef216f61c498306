"""`SGD` with few launches, for a GPU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minran import backend, checks
from minran.autograd import Array, Tensor
from minran.errors import RecipeError, expect
from minran.optim.sgd import SGD


class FlatSGD(SGD):
    """`SGD` for a GPU: one array of all parameters, one of all gradients, one of all velocities.

    A step is two launches, whatever the network: one brings the gradients together, one moves
    everything. The parameters become views of their array, each from a multiple of 16 bytes on.

    Arguments and errors as `SGD`; RecipeError too if the parameters are not of one dtype.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, *args: Any, **options: Any) -> None:
        super().__init__(params, lr, *args, **options)
        dtype = self.params[0].dtype
        alike = all(param.dtype == dtype for param in self.params)
        expect(alike, f"FlatSGD: all parameters must be {dtype}, as the first is", RecipeError)
        xp, step = backend.current().xp, 16 // dtype.itemsize
        sizes = [param.size for param in self.params]
        ends = list(itertools.accumulate(math.ceil(size / step) * step for size in sizes))
        starts = [0, *ends[:-1]]
        self.version = [0]  # of all parameters, which a step changes together
        self.flat, self.gradient, self.flat_velocity = (xp.zeros(ends[-1], dtype) for _ in "pgv")
        self.places = backend.to_device(np.array([starts, sizes], np.int32).T.copy())
        self.operands = Operands(len(sizes))
        for index, (param, start) in enumerate(zip(self.params, starts, strict=True)):
            place = slice(start, start + param.size)
            view = self.flat[place].reshape(param.shape)
            view[...] = param.data
            param.data = view
            param.version = self.version
            self.velocity[index] = self.flat_velocity[place].reshape(param.shape)

    @property
    def arrays(self) -> list[Array]:
        """The one array that a step moves."""
        return [self.flat]

    @classmethod
    def of(cls, optimizer: SGD) -> FlatSGD:
        """`optimizer` if it is flat, or one that goes on in its place, with the same velocities."""
        if isinstance(optimizer, FlatSGD):
            return optimizer
        numbers = optimizer.momentum, optimizer.nesterov, optimizer.weight_decay
        flat = cls(optimizer.params, optimizer.lr, *numbers)
        for new, old in zip(flat.velocity, optimizer.velocity, strict=True):
            new[...] = old
        return flat

    def step(self, total: Callable[[Array], Array] | None = None) -> None:
        """Move every parameter along its gradient. Raises GradientError if one has none.

        total: given all gradients in one array, says what is moved along in their place: their sum
        over several processes.
        """
        checks.expect_all_gradients(self.params)
        kernels, dtype = backend.current(), self.params[0].dtype
        gradients = [kernels.xp.asarray(param.grad, dtype, order="C") for param in self.params]
        kernels.gather(self.operands.table(gradients), self.places, self.gradient)
        gradient = total(self.gradient) if total else self.gradient
        numbers = self.operands.rate(self.lr), self.momentum, self.weight_decay, self.nesterov
        kernels.sgd_update(self.flat, gradient, self.flat_velocity, *numbers)
        self.version[0] += 1


class Operands:
    """What changes from step to step: where the gradients lie, and the learning rate.

    A step that is recorded as a graph has others, which the graph finds in the device's memory
    (`minran.train.gpu`).
    """

    def __init__(self, count: int) -> None:
        self.addresses = np.zeros(count, np.uint64)
        self.on_device = backend.to_device(self.addresses)

    def table(self, gradients: list[Array]) -> Array:
        """The addresses of the gradients, copied to the device only when they change."""
        addresses = backend.current().addresses(gradients)
        if (addresses != self.addresses).any():
            self.on_device[...] = backend.to_device(addresses)
            self.addresses = addresses
        return self.on_device

    def rate(self, lr: float) -> float | Array:
        """The learning rate as the kernel takes it."""
        return lr
