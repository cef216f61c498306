"""Module: parameters, buffers and sub-modules under names; Sequential; observe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from minran import backend
from minran.autograd import Array, Tensor
from minran.errors import CheckpointError, expect


class Parameter(Tensor):
    """A Tensor that is trained: a leaf that requires a gradient."""

    __slots__ = ()

    def __init__(self, data: Array) -> None:
        super().__init__(data, requires_grad=True)


class Module:
    """A piece of a network.

    Sub-modules and parameters are found among the instance's attributes, in the order in
    which they were assigned, and are named by them: `stem.0.weight`. A module's own parameters
    come before those of its parts. Arrays that belong to the state but are not trained (running
    statistics) are listed in `buffer_names`.
    """

    buffer_names: tuple[str, ...] = ()
    training: bool = True

    def forward(self, x: Tensor) -> Tensor:
        """The result for input x."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs: Tensor) -> Tensor:
        output = self.forward(*inputs)
        for callback in _observers:
            callback(self, inputs, output)
        return output

    def children(self) -> Iterator[tuple[str, Module]]:
        """The direct sub-modules with their names."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module ("") and all below it, parents first, with dotted names."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name, a module's own before those of its parts."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield f"{prefix}.{name}" if prefix else name, value

    def parameters(self) -> list[Parameter]:
        """Every parameter, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Every buffer (running statistics) with its dotted name."""
        for prefix, module in self.named_modules():
            for name in module.buffer_names:
                yield f"{prefix}.{name}" if prefix else name, getattr(module, name)

    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.size for parameter in self.parameters())

    def train(self, mode: bool = True) -> Self:
        """Batch norm uses and tracks the statistics of the batch; returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Batch norm uses its running statistics; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers as NumPy arrays, by name."""
        state = {name: p.data for name, p in self.named_parameters()}
        state.update(self.named_buffers())
        return {name: np.array(backend.to_host(array)) for name, array in state.items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Copy `state` into the parameters and buffers; nothing changes if it does not fit.

        Raises CheckpointError naming the missing and unknown entries, ShapeError naming the
        first entry of another shape.
        """
        own: dict[str, Array] = {name: p.data for name, p in self.named_parameters()}
        own.update(self.named_buffers())
        missing = [name for name in own if name not in state]
        unknown = [name for name in state if name not in own]
        expect(
            not missing and not unknown,
            "the state does not belong to this model: "
            + "; ".join(_some("missing", missing) + _some("unknown", unknown)),
            CheckpointError,
        )
        new = {name: backend.to_host(state[name]) for name in own}
        for name, array in own.items():
            expect(
                new[name].shape == tuple(array.shape),
                f"{name}: the model has shape {tuple(array.shape)}, the state {new[name].shape}",
            )
            expect(
                new[name].dtype.kind in "fiu",
                f"{name}: expected numbers, the state has dtype {new[name].dtype}",
                CheckpointError,
            )
        for name, array in own.items():
            array[...] = backend.to_device(new[name].astype(array.dtype))


class Sequential(Module):
    """Modules one after another, named 0, 1, 2, ...

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(4, 10))
    >>> net(tensor(np.zeros((2, 8, 8, 3), "float32"))).shape
    (2, 10)
    >>> [name for name, _ in net.named_parameters()]
    ['0.weight', '3.weight', '3.bias']
    """

    def __init__(self, *modules: Module) -> None:
        for index, module in enumerate(modules):
            setattr(self, str(index), module)

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.children())

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]

    def forward(self, x: Tensor) -> Tensor:
        """Each module on the result of the one before."""
        for module in self:
            x = module(x)
        return x


Observer = Callable[[Module, tuple[Tensor, ...], Tensor], Any]
_observers: list[Observer] = []


@contextmanager
def observe(callback: Observer) -> Iterator[None]:
    """Within the block, `callback(module, inputs, output)` is called after every Module call.

    Children report before their parents. This is how summaries, drawings and mask viewers
    look inside a network without the network knowing.
    """
    _observers.append(callback)
    try:
        yield
    finally:
        _observers.remove(callback)


def is_observed() -> bool:
    """Whether an `observe` block is active."""
    return bool(_observers)


def _some(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{what} {', '.join(names[:3])}{more}"]
