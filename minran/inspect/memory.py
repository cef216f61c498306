"""How much memory a step of training takes, before it is taken."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minran import backend, ops
from minran.autograd import Array, Op, Tensor, no_grad, watch_forward
from minran.backend import shapes
from minran.hints import checked
from minran.inspect.probe import Size, blank_picture
from minran.nn import Module
from minran.nn.module import evaluating
from minran.streams import text_table

PROGRAM = 60 << 20
"""Bytes of Python with NumPy and minran, about; docs/results/memory compares all with measured."""
AHEAD = 5
"""Batches that lie in memory: the loader's, and the one that is computed with."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a training step of `batch` images of (H, W, C), by what they hold.

    maps: by stage, what the forward pass keeps for the backward pass; moving: what both passes
    hold for a moment, at most, on the CPU with what is kept for later arrays of the same size;
    buffers: columns and blocks of the CPU's threads; weights: with gradients, velocities and
    averages; batches: images that are prepared; program: Python itself (the CPU only).
    """

    batch: int
    image_shape: tuple[int, ...]
    device: str
    maps: dict[str, int]
    moving: int
    buffers: int
    weights: int
    batches: int
    program: int

    @property
    def total(self) -> int:
        """Bytes altogether."""
        rest = self.moving + self.buffers + self.weights + self.batches + self.program
        return sum(self.maps.values()) + rest

    def __str__(self) -> str:
        lines = [(f"maps of {stage}", gigabytes(size)) for stage, size in self.maps.items()]
        others = {
            "gradients of maps, results": self.moving,
            "columns and blocks": self.buffers,
            "weights, gradients, velocities": self.weights,
            "images that are prepared": self.batches,
            "Python and its packages": self.program,
        }
        lines += [(what, gigabytes(size)) for what, size in others.items() if size]
        size = "x".join(map(str, self.image_shape))
        head = f"a training step of {self.batch} images of {size}, {self.device}"
        lines = [(head, "memory"), *lines, ("together", gigabytes(self.total))]
        return "\n".join(text_table(lines, right=(1,)))


@checked(batch=1, test_batch=0, device=("cpu", "gpu"))
def memory(
    model: Module,
    batch: int,
    image_size: Size = None,
    device: str = "cpu",
    test_batch: int = 0,
    averaged: bool = False,
) -> Memory:
    """What a training step with SGD and momentum takes: nothing is computed, only counted.

    batch: images a step; image_size: rows and columns (one number for both), None for those
    that the model was drawn for; device: "cpu", or "gpu" for its memory, with maps in float32, or
    in bfloat16 if a GPU is used now that stores them so. test_batch: images of a test's batch on
    the CPU, 0 for none; averaged: whether weights are averaged too (`training.ema`).

    Compared with measured memory in docs/results/memory. The model stays as it was. Raises
    ShapeError for a number below 1, another device, or images that do not fit.

    >>> inspect.memory(minran.create_model("attention56"), 32).total > 3 << 30
    True
    """
    gpu, picture = device == "gpu", blank_picture(model, image_size)
    stored = np.dtype(backend.activations(picture.data).dtype)
    parameters = model.parameters()
    stay = sum(parameter.size * parameter.dtype.itemsize for parameter in parameters)
    before = [(parameter, parameter._data, parameter.grad) for parameter in parameters]
    with evaluating(model), shapes.counted(gpu) as ledger:
        model.train()
        for parameter in parameters:  # which may lie on a GPU
            parameter._data = _without_numbers(parameter.shape, parameter.dtype)
            parameter.grad = None
        try:
            shape = picture.shape[1:]
            maps = _step(model, Tensor(_without_numbers((batch, *shape), stored)), ledger)
            peak = ledger.peak
            if test_batch and not gpu:
                ledger.copies.clear()  # `train.evaluate` gives back what the steps kept
                model.eval()
                with no_grad():
                    model(Tensor(_without_numbers((test_batch, *shape), stored)))
        finally:
            for parameter, data, gradient in before:
                parameter._data, parameter.grad = data, gradient
        peak = max(peak, ledger.peak)
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    trained = stay - sum(parameter.size * parameter.dtype.itemsize for parameter in frozen)
    # Velocities and gradients; these once more on a GPU, where the optimiser puts them together.
    weights = stay + trained * (3 if gpu else 2) + stay * averaged
    made = picture.size * picture.dtype.itemsize * batch
    return Memory(
        batch=batch,
        image_shape=shape,
        device=device,
        maps=maps,
        moving=max(0, peak - sum(maps.values()) - trained),
        buffers=0 if gpu else ledger.buffers,
        weights=weights,
        batches=made if gpu else made * AHEAD,
        program=0 if gpu else PROGRAM,
    )


def _without_numbers(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of the host of this shape, which takes no memory and is not counted."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def _step(model: Module, images: Tensor, ledger: shapes.Ledger) -> dict[str, int]:
    """Both passes; what the first kept for the second, by stage."""
    stages = {id(p.data): _stage(name) for name, p in model.named_parameters()}

    def watch(op: Op, arrays: tuple[Any, ...]) -> Array:
        # Operations with weights say where we are; those without belong to the ones before.
        known = (stages[id(array)] for array in arrays if id(array) in stages)
        ledger.place = next(known, ledger.place)
        return op.forward(*arrays)

    token = watch_forward.set(watch)
    try:
        logits = model(images)
    finally:
        watch_forward.reset(token)
    loss = ops.cross_entropy(logits, np.zeros(len(images), int))
    kept = Counter(ledger.by_place)
    del logits
    ledger.place = "backward"
    loss.backward()
    return {stage: kept[stage] for stage in dict.fromkeys(stages.values())}


def _stage(name: str) -> str:
    """`stages.0` of "stages.0.1.trunk.weight", `stem` of "stem.0.weight"."""
    first, second, *_ = (*name.split("."), "")
    return f"{first}.{second}" if first == "stages" else first


def largest(fits: Callable[[int], bool], batch: int) -> int:
    """The largest of batch / 2, batch / 4, ... that fits; 0 if not even one image does."""
    while batch > 1:
        batch //= 2
        if fits(batch):
            return batch
    return 0


def gigabytes(size: int) -> str:
    """Bytes in gigabytes, small ones in megabytes."""
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{math.ceil(size / 1e6)} MB"
