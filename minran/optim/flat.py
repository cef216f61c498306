"""`SGD` with few launches, for a GPU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array, Tensor
from minran.errors import RecipeError, expect
from minran.optim.sgd import SGD


class FlatSGD(SGD):
    """`SGD` for a GPU: one array of all parameters, one of all gradients, one of all velocities.

    A step is two launches, whatever the network: one brings the gradients together, one moves
    everything. The parameters become views of their array, each from a multiple of 16 bytes on.
    `lr` also lies in the device's memory, where a step that was recorded as a graph finds it.

    Arguments and errors as `SGD`; RecipeError too if the parameters are not of one dtype.
    """

    rate: Array = None
    _spare_table: Array

    def __init__(self, params: Iterable[Tensor], lr: float, *args: Any, **options: Any) -> None:
        super().__init__(params, lr, *args, **options)
        dtype = self.params[0].dtype
        expect(
            all(param.dtype == dtype for param in self.params),
            f"FlatSGD: all parameters must be {dtype}, as the first is",
            RecipeError,
        )
        xp, step = backend.current().xp, 16 // dtype.itemsize
        sizes = [param.size for param in self.params]
        ends = list(itertools.accumulate(math.ceil(size / step) * step for size in sizes))
        starts = [0, *ends[:-1]]
        self.version = [0]  # of all parameters, which a step changes together
        self.flat, self.gradient, self.flat_velocity = (xp.zeros(ends[-1], dtype) for _ in "pgv")
        self.places = backend.to_device(np.array([starts, sizes], np.int32).T.copy())
        self.table, self._spare_table = (
            backend.to_device(np.zeros(len(sizes), np.uint64)) for _ in range(2)
        )
        self._written = np.zeros(len(sizes), np.uint64)
        for index, (param, start) in enumerate(zip(self.params, starts, strict=True)):
            place = slice(start, start + param.size)
            view = self.flat[place].reshape(param.shape)
            view[...] = param.data
            param.data = view
            param.version = self.version
            self.velocity[index] = self.flat_velocity[place].reshape(param.shape)
        self.rate = xp.full(1, lr, dtype)

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

    @property
    def lr(self) -> float:
        """The learning rate; setting it changes the device's copy, behind what is launched."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        SGD.lr.__set__(self, lr)  # type: ignore[attr-defined]
        if self.rate is not None:
            self.rate.fill(lr)

    def step(self) -> None:
        """Move every parameter along its gradient. Raises GradientError if one has none."""
        self.expect_gradients()
        kernels, xp = backend.current(), backend.current().xp
        dtype = self.params[0].dtype
        gradients = [xp.asarray(param.grad, dtype, order="C") for param in self.params]
        if kernels.is_recording():
            # Nothing can be copied to the device now: a table of its own, written afterwards.
            # Memory taken now would not do: the launches before this one have used it already,
            # and will write to it again in every replay.
            table = self._spare_table
            self._recorded = table, gradients
            self._spare_table = None
        else:
            table = self._locate(gradients)
            if self._spare_table is None:
                self._spare_table = xp.zeros_like(table)
        kernels.gather(table, self.places, self.gradient)
        kernels.sgd_update(
            self.flat,
            self.gradient,
            self.flat_velocity,
            self.rate,
            self.momentum,
            self.weight_decay,
            self.nesterov,
        )
        self.version[0] += 1

    def _locate(self, gradients: list[Array]) -> Array:
        """The table of where the gradients lie: copied to the device only when that changes."""
        addresses = backend.current().addresses(gradients)
        if (addresses != self._written).any():
            self.table[...] = backend.to_device(addresses)
            self._written = addresses
        return self.table

    def finish_recording(self) -> None:
        """To be called once after a step was recorded, before it is launched: see `step`."""
        table, gradients = self._recorded
        table[...] = backend.to_device(backend.current().addresses(gradients))
