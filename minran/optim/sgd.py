"""Stochastic gradient descent with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from minran import backend
from minran.autograd import Array, Tensor
from minran.errors import (
    CheckpointError,
    GradientError,
    RecipeError,
    expect,
    expect_number,
    shortened,
)


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
        self.params = _distinct(params)
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

    def expect_gradients(self) -> None:
        """Raise GradientError if a parameter has no gradient, or one of another shape."""
        for param in self.params:
            if param.grad is None:
                raise GradientError(
                    f"SGD.step: a parameter of shape {param.shape} has no gradient; call "
                    "loss.backward() first, and check that the loss depends on it"
                )
            if getattr(param.grad, "shape", None) != param.shape:
                raise GradientError(
                    f"SGD.step: a parameter of shape {param.shape} has the gradient "
                    f"{shortened(param.grad)}, which is no array of that shape"
                )

    def step(self) -> None:
        """Move every parameter along its gradient. Raises GradientError if one has none."""
        self.expect_gradients()
        kernels = backend.current()
        for param, velocity in zip(self.params, self.velocity, strict=True):
            kernels.sgd_update(
                param.data,
                param.grad,
                velocity,
                self.lr,
                self.momentum,
                self.weight_decay,
                self.nesterov,
            )
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
        return {
            f"velocity.{index}": np.array(backend.to_host(velocity))
            for index, velocity in enumerate(self.velocity)
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue with these velocities. Raises CheckpointError if they do not fit."""
        given = state if isinstance(state, Mapping) else {}
        own = {f"velocity.{i}": velocity for i, velocity in enumerate(self.velocity)}
        shapes = {name: tuple(array.shape) for name, array in own.items()}
        expect(
            {name: np.shape(array) for name, array in given.items()} == shapes,
            f"the optimiser's state ({len(given) if given is state else 'no'} velocities) does not "
            f"belong to these {len(shapes)} parameters",
            CheckpointError,
        )
        for name, array in given.items():
            good = backend.is_floating(np.asarray(array).dtype) and np.isfinite(array).all()
            message = f"{name}: the optimiser's state must be finite floating-point numbers"
            expect(bool(good), message, CheckpointError)
        for name, velocity in own.items():
            velocity[...] = backend.to_device(given[name])


def _distinct(params: Iterable[Tensor]) -> list[Tensor]:
    """The parameters as a list, each of which can be trained."""
    # A Tensor can be iterated over, too: its rows, which would not be what is trained.
    what = f"SGD: params must be a list of tensors, got one {type(params).__name__}"
    expect(isinstance(params, Iterable) and not isinstance(params, Tensor), what, RecipeError)
    found = list(params)
    expect(len(found) > 0, "SGD: there are no parameters to train", RecipeError)
    for index, param in enumerate(found):
        what = f"SGD: params[{index}] is no Tensor that requires a gradient"
        expect(isinstance(param, Tensor) and param.requires_grad, what, RecipeError)
    what = "SGD: a parameter is listed twice; each step would move it twice"
    expect(len({id(param) for param in found}) == len(found), what, RecipeError)
    return found
