"""The average of the weights that training went through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minran import backend
from minran.autograd import Array
from minran.errors import RecipeError, expect, expect_number, expect_whole
from minran.nn import Module
from minran.optim.sgd import SGD


class Average:
    """The mean of a network's weights w over the steps so far, in which later ones count more.

        a_t = sum_s d^(t-s) w_s / sum_s d^(t-s)          over the steps s = 1 .. t
            = a_(t-1) + (1 - d) / (1 - d^t) (w_t - a_(t-1))

    An exponential moving average: about the last 1 / (1 - d) steps count. The second factor takes
    the weights of step 0 out of it, as Adam does (Kingma and Ba, 2015). Running statistics are
    averaged in the same way. Call `update` after every step of `optimizer`.

    model, optimizer: the network and what trains it; decay: d, at least 0 and below 1.

    >>> net = nn.Linear(1, 1)
    >>> sgd = optim.SGD(net.parameters(), lr=0.1)
    >>> average = optim.Average(net, sgd, decay=0.9)
    >>> for step in (1, 2):
    ...     net.load_state_dict({"weight": np.array([[float(step)]]), "bias": np.zeros(1)})
    ...     average.update(step)
    >>> with average.applied():  # (0.9 * 1 + 2) / (0.9 + 1)
    ...     print(round(net.weight.item(), 4))
    1.5263
    """

    def __init__(self, model: Module, optimizer: SGD, decay: float) -> None:
        expect(isinstance(model, Module), "Average: model must be a Module", RecipeError)
        expect(isinstance(optimizer, SGD), "Average: optimizer must be an SGD", RecipeError)
        expect_number(decay, "Average: decay", 0, 1, RecipeError)
        self.optimizer, self.decay = optimizer, float(decay)
        self.arrays = [*optimizer.arrays, *(buffer for _, buffer in model.named_buffers())]
        self.means = [array.copy() for array in self.arrays]
        # In an array, so that a step that was recorded as a graph finds it.
        self.share = backend.current().xp.ones(1, self.arrays[0].dtype)

    def update(self, step: int) -> None:
        """Count the weights after step number `step`, the first of which is 1."""
        expect_whole(step, "Average.update: step", error=RecipeError)
        self.weigh(step)
        self.mix()

    def weigh(self, step: int) -> None:
        """The first half of `update`: what the weights of this step count."""
        self.share.fill((1 - self.decay) / (1 - self.decay**step))

    def mix(self) -> None:
        """The second half, which only launches on a GPU."""
        for mean, array in zip(self.means, self.arrays, strict=True):
            mean += self.share * (array - mean)

    def restart(self) -> None:
        """Take the network's present weights for the average."""
        for mean, array in zip(self.means, self.arrays, strict=True):
            mean[...] = array

    def apply(self) -> None:
        """Give the network the averaged weights in the place of its own."""
        self._write(self.means)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network has the averaged weights, afterwards its own again."""
        own = [array.copy() for array in self.arrays]
        self.apply()
        try:
            yield
        finally:
            self._write(own)

    def _write(self, values: list[Array]) -> None:
        for array, value in zip(self.arrays, values, strict=True):
            array[...] = value
        for param in self.optimizer.params:
            param.changed_in_place()
