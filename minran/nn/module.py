"""Module: parameters, buffers and sub-modules under names; Sequential; observe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from minran import backend, checks
from minran.autograd import Array, Tensor
from minran.errors import expect, shortened


class Parameter(Tensor):
    """A Tensor that is trained: a leaf that requires a gradient."""

    __slots__ = ()

    def __init__(self, data: Array) -> None:
        super().__init__(data, requires_grad=True)


class Module:
    """A piece of a network.

    Sub-modules and parameters are found among the instance's attributes, in the order in
    which they were assigned, and are named by them: `stem.0.weight`. A module's own parameters
    come before those of its parts. Lists, tuples and dicts are looked into whenever somebody
    asks, so they may grow: `layers.0.weight`, `parts.mask.weight`. What is reached by two names
    counts once, under the first. Arrays that belong to the state but are not trained (running
    statistics) are listed in `buffer_names`.

    Raises ShapeError for parts where they would be missed: in a set, a generator or another
    collection without names, on the class, or under a name that is taken.
    """

    buffer_names: tuple[str, ...] = ()
    training: bool = True

    def forward(self, x: Tensor) -> Tensor:
        """The result for input x."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs: Tensor) -> Tensor:
        output = self.forward(*inputs)
        for callback in _observers.get():
            callback(self, inputs, output)
        return output

    def __init_subclass__(cls) -> None:
        checks.expect_none_shared(cls, parts(vars(cls), (Module, Parameter)))

    def children(self) -> Iterator[tuple[str, Module]]:
        """The direct sub-modules with their names, those in lists, tuples and dicts too."""
        return parts(vars(self), Module)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module ("") and all below it, parents first, with dotted names."""
        seen: dict[int, Module] = {}
        waiting = [(prefix, self)]
        while waiting:
            name, module = waiting.pop()
            if id(module) not in seen:
                seen[id(module)] = module
                yield name, module
                children = [(_dotted(name, part), child) for part, child in module.children()]
                waiting += reversed(children)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name, a module's own before those of its parts."""
        seen: dict[int, Parameter] = {}
        for prefix, module in self.named_modules():
            for name, value in parts(vars(module), Parameter):
                if id(value) not in seen:
                    seen[id(value)] = value
                    yield _dotted(prefix, name), value

    def parameters(self) -> list[Parameter]:
        """Every parameter, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Every buffer (running statistics) with its dotted name."""
        for prefix, module in self.named_modules():
            for name in module.buffer_names:
                yield _dotted(prefix, name), getattr(module, name)

    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.size for parameter in self.parameters())

    def train(self, mode: bool = True) -> Self:
        """Batch norm uses and tracks the statistics of the batch; returns the module."""
        expect(isinstance(mode, bool), f"train: mode must be True or False, got {mode!r}")
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
        return {name: np.array(backend.to_host(array)) for name, array in self._state().items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Copy `state` into the parameters and buffers; nothing changes if it does not fit.

        Raises CheckpointError naming the missing and unknown entries, ShapeError naming the
        first entry of another shape.
        """
        own = self._state()
        for name, array in checks.fitting_state(own, state).items():
            own[name][...] = backend.to_device(array)
        for parameter in self.parameters():
            parameter.changed_in_place()

    def _state(self) -> dict[str, Array]:
        """The arrays of parameters and buffers themselves, by name."""
        parameters = [(name, parameter.data) for name, parameter in self.named_parameters()]
        state: dict[str, Array] = {}
        for name, array in (*parameters, *self.named_buffers()):
            expect(name not in state, f"two parts of this {type(self).__name__} are named {name}")
            state[name] = array
        return state


def parts(attributes: Mapping[Any, Any], kinds: Any, above: tuple[int, ...] = ()) -> Any:
    """(name, part) for what is of `kinds` among `attributes`, and in their lists and dicts."""
    for key, value in attributes.items():
        if isinstance(value, kinds):
            yield key, value
        elif not isinstance(value, dict | list | tuple):
            checks.expect_in_sight(key, value, (Module, Parameter))
        elif id(value) not in above:  # a list may contain itself
            inside = value if isinstance(value, dict) else dict(enumerate(value))
            for name, part in parts(inside, kinds, (*above, id(value))):
                yield f"{key}.{name}", part


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


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

    def __setattr__(self, name: str, value: Any) -> None:
        if name.isdigit():
            checks.expect_module(value, Module, f"{type(self).__name__}: place {name}")
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[Module]:
        # Not `named_modules`: a module may stand in several places.
        return (module for module in vars(self).values() if isinstance(module, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]

    def forward(self, x: Tensor) -> Tensor:
        """Each module on the result of the one before."""
        for module in self:
            x = module(x)
        return x


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Within the block the model is in evaluation mode; then each module's own mode is back."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


Observer = Callable[[Module, tuple[Tensor, ...], Tensor], Any]
_observers: ContextVar[tuple[Observer, ...]] = ContextVar("observers", default=())


@contextmanager
def observe(callback: Observer) -> Iterator[None]:
    """Within the block, `callback(module, inputs, output)` is called after every Module call.

    Children report before their parents. This is how summaries, drawings and mask viewers
    look inside a network without the network knowing. It holds for its own thread only.

    Within the block every module is computed by itself. Otherwise `minran.models` computes some
    together, for speed: the results are the same except for rounding (docs/explain/numerics.md).
    """
    expect(callable(callback), f"observe: expected a function, got {shortened(callback)}")
    token = _observers.set((*_observers.get(), callback))
    try:
        yield
    finally:
        _observers.reset(token)


def is_observed() -> bool:
    """Whether an `observe` block is active."""
    return bool(_observers.get())
