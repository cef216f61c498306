"""One adapter for each framework: the same jobs, spelled as its users would spell them.

An adapter is made in a process of its own (`worker`) and imports its framework when it is made.
`prepare(job, options)` builds everything and returns a function that does the job
once; what is measured is that function.

| job       | one call does                                  | options                     |
|-----------|------------------------------------------------|-----------------------------|
| step      | forward, backward, Nesterov update             | model, batch, size, classes |
| inference | forward in evaluation mode                     | the same                    |
| units     | pre-activation units, forward and backward     | batch, width, size, count   |
| op        | one operation forward, maybe backward          | kind, shape, backward, ...  |
| data      | the next augmented batch                       | batch                       |
| copy      | a copy of a large array                        | bytes                       |
| import    | the start of a Python that imports a module    |                             |
"""

from __future__ import annotations

import importlib
import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

Work = Callable[[], object]


class NotHere(Exception):  # noqa: N818 - an answer, not a mistake
    """This contender has no such job."""


class Adapter:
    """What every adapter can do; each framework's own overrides what it knows better.

    threads: processor threads to use; device: "cpu" or "gpu"; precision: "fp32", "tf32" or "bf16".
    packages: what is measured. ops: by kind of operation, a function of what `operands` returns and
    of the job's options; their tensors are made by leaf(name, array), whose gradient is asked for
    (an array called w is a weight, not a map), place(array) where none is, and copy(result), to be
    a gradient. no_grad: a context in which nothing is noted for a backward pass. event, elapsed: a
    mark in what a GPU does, and the milliseconds between two.
    """

    packages: tuple[str, ...] = ("numpy",)
    ops: Mapping[str, Callable[..., Any]] = {}
    leaf: Callable[[str, np.ndarray], Any]
    place: Callable[[np.ndarray], Any]
    copy: Callable[[Any], Any]
    no_grad: Callable[[], AbstractContextManager[Any]]
    event: Callable[[], Any]
    elapsed: Callable[[Any, Any], float]
    parameters: int | None = None

    def __init__(self, threads: int = 1, device: str = "cpu", precision: str = "fp32") -> None:
        self.threads, self.device, self.precision = threads, device, precision

    def versions(self) -> dict[str, str]:
        """The versions of what is measured."""
        return {package: importlib.metadata.version(package) for package in self.packages}

    def prepare(self, job: str, options: dict[str, Any]) -> Work:
        """A function that does the job once. Raises NotHere for a job it does not know."""
        maker = getattr(self, f"make_{job}", None)
        if maker is None:
            raise NotHere
        return maker(**options)

    def make_op(self, kind: str, shape: Sequence[int], backward: bool, **options: int) -> Work:
        """The framework's own function from `ops`, forward alone or forward and backward."""
        if kind not in self.ops:
            raise NotHere
        trained, fixed = operands(kind, shape, **options)
        leaves = {name: self.leaf(name, array) for name, array in trained.items()}
        rest = {name: self.place(array) for name, array in fixed.items()}

        def forward() -> Any:
            return self.ops[kind](**leaves, **rest, **options)

        def without_backward() -> object:
            with self.no_grad():
                return forward()

        if not backward:
            return without_backward
        return both_passes(forward, [*leaves.values()], self.copy(forward()))

    def timed(self, work: Work, repeat: int) -> float:
        """Seconds that `repeat` calls of `work` take together; on a GPU between two events."""
        if self.device == "cpu":
            begin = time.perf_counter()
            for _ in range(repeat):
                work()
            return time.perf_counter() - begin
        start, end = self.event(), self.event()
        start.record()
        for _ in range(repeat):
            work()
        end.record()
        end.synchronize()
        return float(self.elapsed(start, end)) / 1e3

    def kernels(self, work: Work, repeat: int) -> dict[str, Any]:
        """By kernel what one call of `work` takes: see `minran`. NotHere where nobody can tell."""
        raise NotHere

    def device_bytes(self) -> int | None:
        """Bytes of the GPU's memory that the framework has taken, None on a CPU."""
        return None


def both_passes(function: Callable[[], Any], leaves: Sequence[Any], gy: Any) -> Work:
    """Forward and backward: every call makes the gradients anew and returns that of the first."""

    def both() -> object:
        for leaf in leaves:
            leaf.grad = None
        function().backward(gy)
        return leaves[0].grad

    return both


def load(name: str, **options: Any) -> Adapter:
    """The adapter "module:Class", made with `options`."""
    module, _, kind = name.partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), kind)(**options)


def pictures(batch: int, size: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The batch that everybody gets: images (N, H, W, 3) float32 and labels (N,) int64."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, size, size, 3), dtype=np.float32)
    return images, rng.integers(0, classes, batch)


def maps(*shape: int) -> np.ndarray:
    """Feature maps with standard normal values, float32."""
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def bottleneck(width: int) -> tuple[tuple[int, int, int], ...]:
    """Channels in, channels out and kernel of the convolutions of a unit, each after a norm."""
    narrow = width // 4
    return (width, narrow, 1), (narrow, narrow, 3), (narrow, width, 1)


def operands(
    kind: str, shape: Sequence[int], out: int = 0, kernel: int = 1, stride: int = 1
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What an operation is trained by, x first, and what else it takes, by name.

    Maps are (N, H, W, C), weights (KH, KW, C, out) or (C, out). x_mean and x_var are what the
    operation that made x would have summed on the way.
    """
    x, channels = maps(*shape), shape[-1]
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    trained: dict[str, np.ndarray] = {"x": x}
    fixed: dict[str, np.ndarray] = {}
    if kind == "gate":
        trained["mask"] = x.copy()
    if kind == "cross_entropy":
        fixed["labels"] = np.arange(len(x)) % channels
    if "norm" in kind:
        trained |= {"gamma": ones, "beta": zeros}
        fixed |= {"mean": zeros.copy(), "var": ones.copy()}
    if kind == "linear":
        trained["w"] = 0.05 * maps(channels, out)
    if "conv2d" in kind:
        trained["w"] = 0.05 * maps(kernel, kernel, channels, out)
    if kind == "norm_relu_conv2d":
        wide = x.reshape(-1, channels).astype(np.float64)
        fixed |= {"x_mean": wide.mean(0), "x_var": wide.var(0)}
    return trained, fixed
