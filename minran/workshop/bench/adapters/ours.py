"""minran: by itself, in several processes, and with one of its decisions taken back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minran import backend, distributed, ops
from minran._version import __version__
from minran.autograd import Tensor, no_grad, tensor
from minran.backend.cpu.tuning import TUNING
from minran.models import create_model
from minran.models.fused import FusedBuild
from minran.models.units import units
from minran.nn import BatchNorm2d, Conv2d, Module
from minran.optim import SGD, FlatSGD
from minran.train import capture_step
from minran.train.steps import forward_backward
from minran.workshop.bench.adapters import Adapter, NotHere, Work, launched, maps, pictures
from minran.workshop.bench.adapters.floors import bytes_of_step

COPY_PIECES = 64


class Minran(Adapter):
    """The current tree. captured: replay the step as one CUDA graph."""

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
        images, labels = pictures(batch, size, classes)
        if on_gpu:
            # As training has them there: pictures on the GPU, labels as probabilities.
            labels = np.eye(classes, dtype=np.float32)[labels]
            images, labels = backend.to_device(images), backend.to_device(labels)
        if self.captured:
            self.graph = capture_step(network, optimizer, images, labels)
            return self.graph

        def step() -> object:
            optimizer.zero_grad()
            _, loss = forward_backward(network, images, labels)
            optimizer.step()
            # On a GPU nobody waits for the loss of every step.
            return None if on_gpu else loss.item()

        return step

    def make_inference(self, model: str, batch: int, size: int, classes: int) -> Work:
        network = self._network(model).eval()
        images = backend.to_device(pictures(batch, size, classes)[0])

        def forward() -> object:
            with no_grad():
                return network(Tensor(backend.activations(images))).data

        return forward

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        stack = units(FusedBuild(np.random.default_rng(0)), width, count)
        x = tensor(backend.to_device(maps(batch, size, size, width)), requires_grad=True)
        gy = backend.to_device(maps(batch, size, size, width))

        def both() -> object:
            x.grad = None
            stack.zero_grad()
            stack(x).backward(gy)
            return x.grad

        return both

    def make_op(self, kind: str, shape: list[int], backward: bool, **options: Any) -> Work:
        if kind not in OPS:
            raise NotHere
        inputs = [tensor(backend.to_device(maps(*shape)), requires_grad=True)]
        function = OPS[kind](inputs, **options)
        gy = function().data.copy()

        def forward() -> object:
            with no_grad():
                return function().data

        def both() -> object:
            for leaf in inputs:
                leaf.grad = None
            function().backward(gy)
            return inputs[0].grad

        return both if backward else forward

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

    def make_step(self, model: str, batch: int, size: int, classes: int) -> Work:
        network = self._network(model)
        optimizer = SGD(network.parameters(), 0.01, 0.9, nesterov=True, weight_decay=1e-4)
        images, labels = (
            array[distributed.share(batch)] for array in pictures(batch, size, classes)
        )
        weight = distributed.weight(batch)

        def step() -> float:
            optimizer.zero_grad()
            _, loss = forward_backward(network, images, labels, weight=weight)
            distributed.sum_gradients(optimizer.params)
            optimizer.step()
            return distributed.sum_numbers(weight * loss.item())[0]

        return step

    def make_inference(self, model: str, batch: int, size: int, classes: int) -> Work:
        network = self._network(model).eval()
        images = pictures(batch, size, classes)[0][distributed.share(batch)]

        def forward() -> object:
            with no_grad():
                logits = network(tensor(images)).data
            distributed.sum_numbers(0)  # done when the last one is
            return logits

        return forward

    def asks(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines that process 0 reads, in all processes."""
        if self.world.size == 1:
            yield from lines
        elif distributed.leads():
            for line in lines:
                self._tell(line)
                yield line
            self._tell(None)
        else:
            while (told := self._listen()) is not None:
                yield told

    def _tell(self, line: str | None) -> None:
        for rank in range(1, self.world.size):
            self.world.comm.send(line, rank)

    def _listen(self) -> str | None:
        comm = self.world.comm
        while not comm.Iprobe(source=0):
            time.sleep(NAP)
        line: str | None = comm.recv(source=0)
        return line

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


Inputs = list[Tensor]
Function = Callable[[], Tensor]


def _convolution(inputs: Inputs, out: int, kernel: int, stride: int) -> Function:
    conv = Conv2d(inputs[0].shape[-1], out, kernel, stride, kernel // 2)
    inputs += conv.parameters()
    return lambda: conv(inputs[0])


def _norm_relu_convolution(inputs: Inputs, out: int, kernel: int, stride: int) -> Function:
    x = inputs[0]
    norm = BatchNorm2d(x.shape[-1])
    conv = Conv2d(x.shape[-1], out, kernel, stride, kernel // 2)
    inputs += [*norm.parameters(), *conv.parameters()]
    # In a network the operation that made x has summed them on the way.
    moments = backend.current().batch_moments(x.data)
    statistics = norm.gamma, norm.beta, norm.running_mean, norm.running_var
    return lambda: ops.norm_relu_conv2d(
        x, *statistics, True, conv.weight, stride, kernel // 2, moments=moments
    )


def _batch_norm_relu(inputs: Inputs) -> Function:
    x = inputs[0]
    norm = BatchNorm2d(x.shape[-1])
    inputs += norm.parameters()
    running = norm.running_mean, norm.running_var
    return lambda: ops.batch_norm_relu(x, norm.gamma, norm.beta, *running, True)


def _gate(inputs: Inputs) -> Function:
    x = inputs[0]
    mask = tensor(x.data.copy(), requires_grad=True)
    inputs.append(mask)
    return lambda: ops.gate(mask, x)


def _cross_entropy(inputs: Inputs) -> Function:
    labels = np.arange(len(inputs[0].data)) % inputs[0].shape[-1]
    return lambda: ops.cross_entropy(inputs[0], labels)


def _linear(inputs: Inputs, out: int) -> Function:
    weight = tensor(maps(inputs[0].shape[-1], out), requires_grad=True)
    inputs.append(weight)
    return lambda: ops.linear(inputs[0], weight)


def _upsample(inputs: Inputs, out: int) -> Function:
    return lambda: ops.upsample_bilinear2d(inputs[0], (out, out))


OPS: dict[str, Callable[..., Function]] = {
    "conv2d": _convolution,
    "norm_relu_conv2d": _norm_relu_convolution,
    "batch_norm_relu": _batch_norm_relu,
    "max_pool2d": lambda inputs: lambda: ops.max_pool2d(inputs[0], 3, 2, ceil_mode=True),
    "upsample_bilinear2d": _upsample,
    "sigmoid": lambda inputs: lambda: ops.sigmoid(inputs[0]),
    "gate": _gate,
    "global_avg_pool": lambda inputs: lambda: ops.global_avg_pool(inputs[0]),
    "linear": _linear,
    "cross_entropy": _cross_entropy,
}
