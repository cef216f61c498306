"""Stochastic gradient descent with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minran import backend, checks
from minran.autograd import Array, Tensor
from minran.errors import RecipeError, expect, expect_number


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
        self.params: list[Tensor] = checks.trained(params, Tensor)
        expect_number(momentum, "SGD: momentum", 0, 1, RecipeError)
        expect_number(weight_decay, "SGD: weight_decay", error=RecipeError)
        expect(momentum > 0 or not nesterov, "SGD: nesterov needs a momentum above 0", RecipeError)
        self.lr = lr
        self.momentum, self.weight_decay = float(momentum), float(weight_decay)
        self.nesterov = nesterov
        self.velocity = [backend.current().xp.zeros_like(p.data) for p in self.params]

    @property
    def arrays(self) -> list[Array]:
        """The arrays that a step moves."""
        return [param.data for param in self.params]

    def step(self) -> None:
        """Move every parameter along its gradient. Raises GradientError if one has none."""
        checks.expect_all_gradients(self.params)
        update = backend.current().sgd_update
        numbers = self.lr, self.momentum, self.weight_decay, self.nesterov
        for param, velocity in zip(self.params, self.velocity, strict=True):
            update(param.data, param.grad, velocity, *numbers)
            param.changed_in_place()

    @property
    def lr(self) -> float:
        """The learning rate, which may be set between steps."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        expect_number(lr, "SGD: lr", error=RecipeError)
        # As a NumPy float64 scalar it would pull a float32 update up to float64.
        self._lr = float(lr)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for param in self.params:
            param.grad = None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the velocities, in the order of the parameters."""
        return {name: np.array(backend.to_host(array)) for name, array in self._state().items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue with these velocities. Raises CheckpointError if they do not fit."""
        own = self._state()
        checks.expect_velocities(own, state)
        for name, velocity in own.items():
            velocity[...] = backend.to_device(state[name])

    def _state(self) -> dict[str, Array]:
        return {f"velocity.{index}": array for index, array in enumerate(self.velocity)}
