"""How many bytes a training step has to move: the other floor, besides the products.

Each operation is taken to read and write its maps once, with batch norm and ReLU as one:

    convolution      x and y forward; gy and gx for the input; x and gy for the weights
    norm and ReLU    x for the statistics, x and y to apply; backward twice: g and x, then gx
    everything else  what goes in and comes out, forward and backward, and once more its input

Weights and vectors are small beside the maps and left out. An implementation that fuses more
moves less, one that fuses nothing moves more: it is a measuring stick, no hard limit.
"""

from __future__ import annotations

import math

import numpy as np

from minran import backend
from minran.autograd import tensor
from minran.inspect.probe import call_shapes
from minran.nn import BatchNorm2d, Conv2d, Module


def bytes_of_step(model: Module, batch: int, size: int, itemsize: int = 4) -> int:
    """Bytes of maps that one training step of `model` reads and writes.

    size: height and width of the pictures; itemsize: bytes of a number. Counted by running one
    picture through the model.
    """
    numbers = 0
    picture = backend.current().xp.zeros((1, size, size, 3), np.float32)
    for module, came, went in call_shapes(model, tensor(picture)):
        x, y = math.prod(came), math.prod(went)
        if isinstance(module, Conv2d):
            numbers += 3 * (x + y)
        elif isinstance(module, BatchNorm2d):
            numbers += 3 * x + 5 * x
        elif not any(True for _ in module.children()):
            numbers += 3 * x + 2 * y
        # A unit adds its input at the end, and the gradients of both ways meet there again.
        elif hasattr(module, "conv3"):
            numbers += 3 * y
    return itemsize * batch * numbers
