"""Stochastic gradient descent with Nesterov momentum, and learning-rate schedules.

A schedule is a function of the step: `schedule(step) -> lr`. The loop sets
`optimizer.lr = schedule(step)` before each step, and that is all there is to it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array, Tensor
from minran.errors import CheckpointError, GradientError, RecipeError, expect

Schedule = Callable[[int], float]


class SGD:
    """Stochastic gradient descent as PyTorch defines it (dampening 0).

        g = grad + weight_decay p;  v = momentum v + g
        p = p - lr (g + momentum v)   with Nesterov momentum
        p = p - lr v                  without

    params: the tensors to train. `lr` may be set between steps. The paper uses momentum 0.9,
    Nesterov, weight decay 1e-4 (section 4.1).

    Raises RecipeError for a number that is negative or not finite, for Nesterov without
    momentum, and for parameters that do not require a gradient or are listed twice.

    >>> p = nn.Parameter(np.array([1.0]))
    >>> p.grad = np.array([0.5])
    >>> optim.SGD([p], lr=0.1).step()
    >>> p.item()
    0.95
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        # A Tensor can be iterated over, too: its rows, which would not be what is trained.
        expect(not isinstance(params, Tensor), "SGD: params must be a list, got one", RecipeError)
        self.params = list(params)
        expect(len(self.params) > 0, "SGD: there are no parameters to train", RecipeError)
        for index, param in enumerate(self.params):
            expect(
                isinstance(param, Tensor) and param.requires_grad,
                f"SGD: params[{index}] is no Tensor that requires a gradient",
                RecipeError,
            )
        expect(
            len({id(param) for param in self.params}) == len(self.params),
            "SGD: a parameter is listed twice; each step would move it twice",
            RecipeError,
        )
        for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
            expect(
                0 <= value < math.inf,
                f"SGD: {name} must be a number of at least 0, got {value}",
                RecipeError,
            )
        expect(momentum > 0 or not nesterov, "SGD: nesterov needs a momentum above 0", RecipeError)
        self.lr = lr
        self.momentum, self.weight_decay = float(momentum), float(weight_decay)
        self.nesterov = nesterov
        self.velocity = [backend.current().xp.zeros_like(p.data) for p in self.params]

    def expect_gradients(self) -> None:
        """Raise GradientError if a parameter has no gradient."""
        for param in self.params:
            expect(
                param.grad is not None,
                f"SGD.step: a parameter of shape {param.shape} has no gradient; call "
                "loss.backward() first, and check that the loss depends on it",
                GradientError,
            )

    def step(self) -> None:
        """Move every parameter along its gradient. Raises GradientError if one has none."""
        self.expect_gradients()
        kernels = backend.current()
        # As a NumPy float64 scalar it would pull a float32 update up to float64.
        lr = float(self.lr)
        for param, velocity in zip(self.params, self.velocity, strict=True):
            kernels.sgd_update(
                param.data,
                param.grad,
                velocity,
                lr,
                self.momentum,
                self.weight_decay,
                self.nesterov,
            )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for param in self.params:
            param.grad = None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the velocities, in the order of the parameters."""
        return {
            f"velocity.{index}": np.array(backend.to_host(velocity))
            for index, velocity in enumerate(self.velocity)
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue with these velocities. Raises CheckpointError if they do not fit."""
        shapes = {f"velocity.{i}": tuple(v.shape) for i, v in enumerate(self.velocity)}
        expect(
            {name: tuple(array.shape) for name, array in state.items()} == shapes,
            f"the optimiser's state ({len(state)} velocities) does not belong to these "
            f"{len(shapes)} parameters",
            CheckpointError,
        )
        for index, velocity in enumerate(self.velocity):
            velocity[...] = backend.to_device(state[f"velocity.{index}"])


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
        self._lr = lr
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


def constant(lr: float) -> Schedule:
    """lr, always."""
    return lambda step: lr


def multistep(lr: float, milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """lr times `factor` for every milestone (in steps) that lies behind.

    The paper: lr 0.1, milestones 64,000 and 96,000, factor 0.1 (section 4.1).

    >>> schedule = optim.multistep(0.1, [64_000, 96_000])
    >>> [round(schedule(step), 4) for step in (0, 64_000, 96_000)]
    [0.1, 0.01, 0.001]
    """
    return lambda step: lr * factor ** sum(step >= milestone for milestone in milestones)


def cosine(lr: float, total: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Up in a line over `warmup` steps, then down to `final` lr along half a cosine.

    lr(s) = final + (1 - final) (1 + cos(pi u)) / 2 times lr, u = (s - warmup)/(total - warmup).
    Raises RecipeError unless there are steps, and warm-up is a part of them.
    """
    expect(
        0 <= warmup <= total and total > 0,
        f"cosine: needs 0 <= warmup <= total and total > 0, got {warmup} of {total} steps",
        RecipeError,
    )

    def at(step: int) -> float:
        if step < warmup:
            return lr * (step + 1) / warmup
        u = min(1.0, (step - warmup) / max(1, total - warmup))
        return lr * (final + (1 - final) * (1 + math.cos(math.pi * u)) / 2)

    return at


def one_cycle(lr: float, total: int, warmup: float = 0.25, start: float = 0.04) -> Schedule:
    """From `start` lr up to lr in the first `warmup` share of the steps, then down to near 0.

    Both ways along half a cosine (Smith & Topin 2018): high rates for most of a short run. With
    c(u) = (1 + cos(pi u)) / 2, which falls from 1 to 0, and peak = warmup total:

        lr(s) = lr (1 - (1 - start) c(s / peak))                      before the peak
        lr(s) = lr max(1e-4, c((s - peak) / (total - peak)))          after it

    Raises RecipeError unless there are steps, and the share is in [0, 1).
    """
    expect(
        0 <= warmup < 1 and total > 0,
        f"one_cycle: needs 0 <= warmup < 1 and total > 0, got {warmup} of {total} steps",
        RecipeError,
    )
    peak = warmup * total

    def at(step: int) -> float:
        if step < peak:
            return lr * (1 - (1 - start) * (1 + math.cos(math.pi * step / peak)) / 2)
        u = min(1.0, (step - peak) / (total - peak))
        return lr * max(1e-4, (1 + math.cos(math.pi * u)) / 2)

    return at
