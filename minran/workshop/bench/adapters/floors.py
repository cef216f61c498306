"""The two floors that no implementation gets below: the products, and the bytes to move.

Products: the matrix products that a network's convolutions cannot do without. Their time is the
floor of any implementation that calls BLAS: what a step takes beyond it is normalising, copying
and adding. The rows are dealt to the Python threads, one BLAS thread each.

Bytes: each operation is taken to read and write its maps once, batch norm and ReLU as one:

    convolution      x and y forward; gy and gx for the input; x and gy for the weights
    norm and ReLU    x for the statistics, x and y to apply; backward twice: g and x, then gx
    everything else  what goes in and comes out, forward and backward, and once more its input

Weights and vectors are small compared with the maps and left out. An implementation that fuses more
moves less, one that fuses nothing moves more: it is a measuring stick, no hard limit.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from minran import backend, machine
from minran.autograd import tensor
from minran.backend.cpu.product import summed_product, tall_product
from minran.backend.geometry import conv_output_size
from minran.inspect.probe import call_shapes
from minran.models import create_model
from minran.nn import BatchNorm2d, Conv2d, Module
from minran.workshop.bench.adapters import Adapter, NotHere, Work, maps, pictures

Factors = tuple[tuple[int, int], tuple[int, int]]
"""The shapes of the two matrices of a product."""


class Products(Adapter):
    """y = columns w, gx = columns(gy) w^T and gw = x^T columns(gy), of ready-made operands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        threadpool_limits(1, "blas")
        self.pool = ThreadPoolExecutor(self.threads)
        self.array = functools.cache(maps)

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__, "blas": machine.blas()}

    def make_step(self, model: str, batch: int, size: int, classes: int) -> Work:
        (forward, _, weights), *others = convolutions(model, batch, size)
        # Nobody asks for the gradient of the pictures.
        return self._all([forward, weights, *itertools.chain(*others)])

    def make_inference(self, model: str, batch: int, size: int, classes: int) -> Work:
        return self._all([forward for forward, *_ in convolutions(model, batch, size)])

    def make_op(self, kind: str, shape: Sequence[int], backward: bool, **options: int) -> Work:
        if kind not in ("conv2d", "norm_relu_conv2d"):
            raise NotHere
        batch, height, width, channels = shape
        kernel, stride = options["kernel"], options["stride"]
        ho, wo = (conv_output_size(n, kernel, stride, kernel // 2) for n in (height, width))
        products = _products(batch * ho * wo, channels, kernel * kernel, options["out"])
        return self._all(products if backward else products[:1])

    def _all(self, products: Sequence[Factors]) -> Work:
        # Made now, in this thread: what is timed finds its operands ready.
        plans = [
            (self.array(*left), self.array(*right), self.array(left[0], right[1]))
            for left, right in products
        ]

        def share(k: int) -> None:
            for a, b, out in plans:
                rows = slice(len(a) * k // self.threads, len(a) * (k + 1) // self.threads)
                if len(b) == len(a):  # gw: every thread sums over its own rows
                    summed_product(a[rows], b[rows])
                else:
                    tall_product(a[rows], b, out[rows])

        return lambda: list(self.pool.map(share, range(self.threads)))


def _products(pixels: int, cin: int, taps: int, cout: int) -> tuple[Factors, Factors, Factors]:
    """Those of a convolution: forward, for the input's gradient, for that of the weights."""
    return (
        ((pixels, taps * cin), (taps * cin, cout)),
        ((pixels, taps * cout), (taps * cout, cin)),
        ((pixels, cin), (pixels, taps * cout)),
    )


def convolutions(model: str, batch: int, size: int) -> list[tuple[Factors, Factors, Factors]]:
    """The products of each convolution (of one group) of `model`, in the order it does them."""
    found = []
    for module, _, output in call_shapes(create_model(model), tensor(pictures(1, size, 1)[0])):
        if isinstance(module, Conv2d) and module.groups == 1:
            kh, kw, cin, cout = module.weight.shape
            found.append(_products(batch * math.prod(output[1:3]), cin, kh * kw, cout))
    return found


def bytes_of_step(model: Module, batch: int, size: int, itemsize: int = 4) -> int:
    """Bytes of maps that one training step of `model` reads and writes.

    size: height and width of the images; itemsize: bytes of a number. Counted by running one
    image through the model.
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
