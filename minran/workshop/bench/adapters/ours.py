"""minran: by itself, in several processes, and with one of its decisions taken back."""

from __future__ import annotations

import itertools
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minran import backend, distributed, ops
from minran._version import __version__
from minran.autograd import Array, Tensor, no_grad, tensor
from minran.backend.contract import KERNELS
from minran.backend.cpu import blocks
from minran.backend.cpu.blocks import TUNING
from minran.backend.gpu import launch
from minran.models import create_model
from minran.models.fused import FusedBuild
from minran.models.units import units
from minran.nn import Module
from minran.optim import SGD, FlatSGD
from minran.train import capture_step
from minran.train.steps import forward_backward
from minran.workshop.bench.adapters import Adapter, NotHere, Work, both_passes, maps, pictures

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
    """The current tree.

    captured: replay the step as one CUDA graph. parallel: `mpiexec` may have started several.
    without: the decision that is taken back, to see what it is worth.
    """

    ops = OPS
    no_grad = no_grad
    graph: Any = None

    def __init__(
        self, captured: bool = False, parallel: bool = False, without: str = "", **options: Any
    ) -> None:
        super().__init__(**options)
        self.captured, self.parallel = captured, parallel
        backend.use(self.device)
        if self.device == "gpu":
            backend.current().set_precision(self.precision)
            cuda = backend.current().xp.cuda
            self.event, self.elapsed = cuda.Event, cuda.get_elapsed_time
        if parallel:
            distributed.start()
        take_back(without)

    def versions(self) -> dict[str, str]:
        xp = backend.current().xp
        versions = {"minran": __version__, xp.__name__: xp.__version__}
        if self.parallel:
            import mpi4py

            count = distributed.current().size
            versions["mpi4py"] = mpi4py.__version__
            versions["mpi"] = f"{count} processes, {self.threads} thread(s) each"
        return versions

    def make_step(self, model: str, batch: int, size: int, classes: int) -> Work:
        network = self._network(model)
        on_gpu = self.device == "gpu"
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
        batches = itertools.chain.from_iterable(loader.epoch(0) for _ in itertools.count())
        return lambda: next(batches)

    def make_copy(self, bytes: int) -> Work:
        xp = backend.current().xp
        source = xp.ones((COPY_PIECES, bytes // COPY_PIECES // 4), xp.float32)
        target = xp.empty_like(source)
        if self.device == "gpu":
            return lambda: xp.copyto(target, source)

        def piece(rows: slice) -> None:
            np.copyto(target[rows], source[rows])

        return lambda: blocks.map_blocks(piece, COPY_PIECES, source[:1].nbytes)

    def kernels(self, work: Work, repeat: int) -> dict[str, Any]:
        """Of one call of `work`, by kernel: on a GPU seconds, if it is eager; else `on_threads`."""
        if self.captured:
            raise NotHere
        return by_kernel(work, repeat) if self.device == "gpu" else on_threads(work, repeat)

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


def take_back(decision: str) -> None:
    """Let this process compute without one of minran's decisions."""
    if decision == "fusion":
        # Norm, ReLU, convolution and addition one after the other, each result kept.
        del backend.current().norm_relu_conv2d  # a kernel that a backend need not have
    if decision in ("cache_blocks", "python_threads"):
        # Each thread gets one block, its whole share of the batch, whatever its size.
        TUNING.cache_blocks = False
    if decision == "python_threads":
        # One Python thread; BLAS uses the cores instead, and only the products are shared.
        TUNING.blas_threads = backend.current().threads()
    if decision in ("python_threads", "second_core"):
        backend.current().set_threads(1)
    if decision == "reuse":
        # Every array is fresh memory from the system.
        TUNING.reuse = False


# The time of each kernel

BETWEEN = "between the kernels"


def on_threads(work: Work, repeat: int) -> dict[str, dict[str, float]]:
    """Of one call of `work`, by kernel: calls, seconds, and seconds of processor time.

    Processor time is that of all threads. What is not in a kernel is Python between the kernels.
    """
    kernels, found = vars(backend.current()), Counter[tuple[str, str]]()
    plain = {name: kernels[name] for name in KERNELS if name in kernels}

    def clocks() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def note(name: str, begin: tuple[float, float]) -> None:
        seconds, processor = (now - then for now, then in zip(clocks(), begin, strict=True))
        numbers = {"calls": 1, "seconds": seconds, "processor_seconds": processor}
        found.update({(name, what): number / repeat for what, number in numbers.items()})

    def timed(name: str) -> Callable[..., Any]:
        def kernel(*arguments: Any, **options: Any) -> Any:
            begin = clocks()
            try:
                return plain[name](*arguments, **options)
            finally:
                note(name, begin)

        return kernel

    begin = clocks()
    try:
        kernels.update({name: timed(name) for name in plain})
        for _ in range(repeat):
            work()
    finally:
        kernels.update(plain)
    note(BETWEEN, begin)
    table: dict[str, dict[str, float]] = {name: {} for name, _ in found}
    for (name, what), number in found.items():
        table[name][what] = number
    for what in ("seconds", "processor_seconds"):
        table[BETWEEN][what] -= sum(row[what] for name, row in table.items() if name != BETWEEN)
    return dict(sorted(table.items(), key=lambda row: -row[1]["seconds"]))


def by_kernel(work: Work, repeat: int) -> dict[str, float]:
    """Mean seconds of one call of `work` in each kernel, template arguments left out.

    By NVIDIA's own tracing, which PyTorch's profiler gives access to, whoever launched. Without
    PyTorch by events around our launches: then what the host takes to launch counts too, a few
    microseconds each, and CuPy's own few kernels do not.
    """
    try:
        from torch.profiler import ProfilerActivity, profile
    except ImportError:
        return _by_events(work, repeat)
    device = launch.device()
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        for _ in range(repeat):
            work()
        device.xp.cuda.Device().synchronize()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    launches = ((each["name"], each["dur"] / 1e6) for each in events if each.get("cat") == "kernel")
    return _means(launches, repeat)


def _by_events(work: Work, repeat: int) -> dict[str, float]:
    device: Any = launch.device()
    cuda, plainly, events = device.xp.cuda, device.launch, []

    def between_events(program: Any, kernel: str, *rest: Any) -> None:
        start, end = cuda.Event(), cuda.Event()
        start.record()
        plainly(program, kernel, *rest)
        end.record()
        events.append((kernel, start, end))

    device.launch = between_events
    try:
        for _ in range(repeat):
            work()
    finally:
        device.launch = plainly
    for _, _, end in events:
        end.synchronize()
    launches = ((kernel, cuda.get_elapsed_time(*both) / 1e3) for kernel, *both in events)
    return _means(launches, repeat)


def _means(launches: Iterable[tuple[str, float]], repeat: int) -> dict[str, float]:
    """Seconds of a call by kernel, the longest first."""
    total: Any = Counter()
    for name, seconds in launches:
        found = re.match(r"(?:void )?([\w:]+)", name)
        total[found.group(1) if found else name] += seconds / repeat
    return dict(total.most_common())
