"""minran: by itself, in several processes, and with one of its decisions taken back."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minran import backend, distributed, ops
from minran._version import __version__
from minran.autograd import Array, Tensor, no_grad, tensor
from minran.backend.cpu.blocks import TUNING
from minran.models import create_model
from minran.models.fused import FusedBuild
from minran.models.units import units
from minran.nn import Module
from minran.optim import SGD, FlatSGD
from minran.train import capture_step
from minran.train.steps import forward_backward
from minran.workshop.bench.adapters import (
    Adapter,
    NotHere,
    Work,
    both_passes,
    launched,
    maps,
    pictures,
)
from minran.workshop.bench.adapters.floors import bytes_of_step

COPY_PIECES = 64


OPS: dict[str, Callable[..., Tensor]] = {
    "conv2d": lambda x, w, out, kernel, stride: ops.conv2d(x, w, None, stride, kernel // 2),
    "norm_relu_conv2d": lambda x, gamma, beta, w, mean, var, x_mean, x_var, out, kernel, stride: (
        ops.norm_relu_conv2d(
            *(x, gamma, beta, mean, var, True, w, stride, kernel // 2), moments=(x_mean, x_var)
        )
    ),
    "batch_norm_relu": lambda x, gamma, beta, mean, var: ops.batch_norm_relu(
        x, gamma, beta, mean, var, True
    ),
    "max_pool2d": lambda x: ops.max_pool2d(x, 3, 2, ceil_mode=True),
    "upsample_bilinear2d": lambda x, out: ops.upsample_bilinear2d(x, (out, out)),
    "sigmoid": lambda x: ops.sigmoid(x),
    "gate": lambda x, mask: ops.gate(mask, x),
    "global_avg_pool": lambda x: ops.global_avg_pool(x),
    "linear": lambda x, w, out: ops.linear(x, w),
    "cross_entropy": lambda x, labels: ops.cross_entropy(x, labels),
}


class Minran(Adapter):
    """The current tree. captured: replay the step as one CUDA graph."""

    ops = OPS
    no_grad = no_grad

    def __init__(self, captured: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.captured = captured
        self.graph: Any = None
        backend.use(self.device)
        if self.device == "gpu":
            backend.current().set_precision(self.precision)

    def versions(self) -> dict[str, str]:
        xp = backend.current().xp
        return {"minran": __version__, xp.__name__: xp.__version__}

    def make_step(self, model: str, batch: int, size: int, classes: int) -> Work:
        network = self._network(model)
        on_gpu = self.device == "gpu"
        short = on_gpu and self.precision == "bf16"
        self.step_bytes = bytes_of_step(network, batch, size, 2 if short else 4)
        kind = FlatSGD if on_gpu else SGD
        optimizer = kind(network.parameters(), 0.01, 0.9, nesterov=True, weight_decay=1e-4)
        images, labels = self._share(pictures(batch, size, classes))
        weight = None if on_gpu else distributed.weight(batch)
        if on_gpu:
            # As training has them there: pictures on the GPU, labels as probabilities.
            labels = np.eye(classes, dtype=np.float32)[labels]
            images, labels = backend.to_device(images), backend.to_device(labels)
        if self.captured:
            self.graph = capture_step(network, optimizer, images, labels)
            return self.graph

        def step() -> object:
            optimizer.zero_grad()
            _, loss = forward_backward(network, images, labels, weight=weight)
            distributed.sum_gradients(optimizer.params)
            optimizer.step()
            # On a GPU nobody waits for the loss of every step.
            return None if weight is None else distributed.sum_numbers(weight * loss.item())[0]

        return step

    def make_inference(self, model: str, batch: int, size: int, classes: int) -> Work:
        network = self._network(model).eval()
        images = backend.to_device(self._share(pictures(batch, size, classes))[0])

        def forward() -> object:
            with no_grad():
                logits = network(Tensor(backend.activations(images))).data
            distributed.sum_numbers(0)  # done when the last process is
            return logits

        return forward

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        stack = units(FusedBuild(np.random.default_rng(0)), width, count)
        x = self.leaf("x", maps(batch, size, size, width))
        gy = self.place(maps(batch, size, size, width))
        return both_passes(lambda: stack(x), [x, *stack.parameters()], gy)

    def leaf(self, name: str, array: np.ndarray) -> Tensor:
        return tensor(backend.to_device(array), requires_grad=True)

    def place(self, array: np.ndarray) -> Array:
        return backend.to_device(array)

    def copy(self, y: Tensor) -> Array:
        return y.data.copy()

    def make_data(self, batch: int) -> Work:
        from minran.data import Loader, load_shapes

        # prefetch=0: what a batch costs, not how well its cost is hidden behind the step.
        loader = Loader(
            load_shapes(count=max(2000, batch)), batch, augment=True, shuffle=True, prefetch=0
        )
        batches = loader.epoch(0)

        def following() -> object:
            nonlocal batches
            try:
                return next(batches)
            except StopIteration:
                batches = loader.epoch(0)
                return next(batches)

        return following

    def make_copy(self, bytes: int) -> Work:
        xp = backend.current().xp
        source = xp.ones((COPY_PIECES, bytes // COPY_PIECES // 4), xp.float32)
        target = xp.empty_like(source)
        if self.device == "gpu":
            return lambda: xp.copyto(target, source)
        from minran.backend.cpu import blocks

        def piece(rows: slice) -> None:
            np.copyto(target[rows], source[rows])

        return lambda: blocks.map_blocks(piece, COPY_PIECES, source[:1].nbytes)

    def timed(self, work: Work, repeat: int) -> float:
        if self.device == "cpu":
            return super().timed(work, repeat)
        cuda = backend.current().xp.cuda
        start, end = launched(cuda.Event, work, repeat)
        return float(cuda.get_elapsed_time(start, end)) / 1e3

    def kernels(self, work: Work, repeat: int) -> dict[str, float]:
        """Seconds by kernel of one call of `work`; only for an eager step on a GPU."""
        if self.device != "gpu" or self.captured:
            raise NotHere
        from minran.workshop.bench.adapters.kernels import by_kernel

        return by_kernel(work, repeat)

    def device_bytes(self) -> int | None:
        """All that CuPy's pool has taken, which it never gives back, and the graph's own."""
        if self.device == "cpu":
            return None
        pool = backend.current().xp.get_default_memory_pool()
        return int(pool.total_bytes()) + (self.graph.memory if self.graph else 0)

    def _share(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """This process's part of a batch."""
        return [array[distributed.share(len(array))] for array in arrays]

    def _network(self, model: str) -> Module:
        network = create_model(model)
        self.parameters = network.num_parameters()
        return network


NAP = 0.001
"""Seconds between two looks for a message. MPI itself waits without ever sleeping, which would
take a core from the contender whose turn it is."""


class MinranMPI(Minran):
    """Started by mpiexec; process 0 is asked and answers, the others do what it is told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.world: Any = distributed.start()
        self.speaks = distributed.leads()

    def versions(self) -> dict[str, str]:
        import mpi4py

        processes = f"{self.world.size} processes, {self.threads} thread(s) each"
        return {**super().versions(), "mpi4py": mpi4py.__version__, "mpi": processes}

    def asks(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines that process 0 reads, in all processes."""
        if self.world.size == 1:
            yield from lines
        elif distributed.leads():
            for line in itertools.chain(lines, [None]):
                for rank in range(1, self.world.size):
                    self.world.comm.send(line, rank)
                if line is not None:
                    yield line
        else:
            while True:
                while not self.world.comm.Iprobe(source=0):
                    time.sleep(NAP)
                told = self.world.comm.recv(source=0)
                if told is None:
                    return
                yield told

    def total(self, number: int) -> int:
        return int(distributed.sum_numbers(number)[0])

    def failed(self, error: Exception) -> None:
        """The others would wait for ever: end them all, with the reason."""
        if self.world.size > 1:
            distributed.fail(f"{type(error).__name__}: {error}", 1)


class Without(Minran):
    """minran with one of its decisions taken back, to see what the decision is worth."""

    def __init__(self, decision: str, **options: Any) -> None:
        super().__init__(**options)
        DECISIONS[decision]()


def without_fusion() -> None:
    """Batch norm, ReLU, convolution and addition one after the other, each result kept."""
    del backend.current().norm_relu_conv2d  # a kernel that a backend need not have


def without_cache_blocks() -> None:
    """Each thread gets one block, its whole share of the batch, whatever its size."""
    TUNING.cache_blocks = False


def without_python_threads() -> None:
    """One Python thread; BLAS uses the cores instead, and only the products are shared."""
    TUNING.cache_blocks, TUNING.blas_threads = False, backend.current().threads()
    without_second_core()


def without_second_core() -> None:
    """Everything on one thread."""
    backend.current().set_threads(1)


def without_reuse() -> None:
    """Every array is fresh memory from the system."""
    TUNING.reuse = False


DECISIONS: dict[str, Callable[[], None]] = {
    "fusion": without_fusion,
    "cache_blocks": without_cache_blocks,
    "python_threads": without_python_threads,
    "second_core": without_second_core,
    "reuse": without_reuse,
}
