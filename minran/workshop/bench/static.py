"""A training step on a GPU, counted without one: launches, bytes, instructions, a time.

The step of `train/gpu.py` runs with a device that writes down each launch and computes nothing.
NVIDIA's compiler then makes the machine code of the convolutions that it launched.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import site
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minran import backend
from minran.arguments import takes
from minran.backend import gpu
from minran.backend.gpu import cuda, engine, launch
from minran.errors import BackendError, RecipeError, expect
from minran.files import expect_ending
from minran.models import create_model
from minran.optim import FlatSGD
from minran.streams import text_table
from minran.train import environment
from minran.train.steps import forward_backward
from minran.workshop.bench.report import save
from minran.workshop.bench.session import network_options

Array = Any


class Launch(NamedTuple):
    """A kernel with its template arguments, its grid, and the bytes of the arrays it is given.

    steps: of a convolution, how often each block goes around the loop that multiplies.
    """

    instance: str
    blocks: int
    threads: int
    bytes: int
    steps: int = 0

    @property
    def kernel(self) -> str:
        """The name without template arguments."""
        return self.instance.partition("<")[0]


class _Numbers(np.ndarray):
    """An array that nobody computes with: what CuPy would launch is written down."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        def plain(array: Any) -> Any:
            return array.view(np.ndarray) if isinstance(array, _Numbers) else array

        if "out" in options:
            options["out"] = tuple(map(plain, options["out"]))
        with np.errstate(all="ignore"):
            y = getattr(ufunc, method)(*map(plain, inputs), **options)
        return _noted(f"cupy_{ufunc.__name__}", y, *inputs)

    def astype(self, dtype: Any, *args: Any, copy: bool = True, **more: Any) -> Any:  # type: ignore[override]
        same = not copy and self.dtype == dtype
        return self if same else _noted("cupy_copy", np.empty(self.shape, dtype), self)

    def __setitem__(self, index: Any, value: Any) -> None:
        _noted("cupy_copy", self[index], value)


def _noted(name: str, y: Any, *inputs: Any) -> Any:
    device: Any = launch.device()
    y = np.asarray(y).view(_Numbers)
    size = sum(each.nbytes for each in (y, *inputs) if isinstance(each, np.ndarray))
    device.launches.append(Launch(name, 1, 1, size))
    return y


class _Library:
    """NumPy where CuPy would be."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def asarray(array: Any, dtype: Any = None, order: Any = None) -> Any:
        y = np.asanyarray(array, dtype, order=order).view(_Numbers)
        copied = isinstance(array, _Numbers) and not np.may_share_memory(array, y)
        return _noted("cupy_copy", y, array) if copied else y


class CountingDevice:
    """A device that writes launches down, with tensor cores as all cards since 2020 have them."""

    has_tf32 = True

    def __init__(self) -> None:
        self.xp, self.launches = _Library(), list[Launch]()

    def launch(self, file: str, kernel: str, grid: Any, block: Any, args: list[Any]) -> None:
        """Write it down."""
        size = sum(arg.nbytes for arg in args if isinstance(arg, np.ndarray))
        threads, steps = math.prod(block), 0
        if kernel.startswith("conv_") and file == "conv.cu":
            steps = _steps(kernel, [int(arg) for arg in args if isinstance(arg, np.int32)])
        self.launches.append(Launch(kernel, math.prod(grid), threads, size, steps))

    @contextmanager
    def concurrently(self, work: Callable[[], None]) -> Iterator[None]:
        """Launches, whatever their order."""
        work()
        yield

    def empty(self, shape: Any, dtype: Any) -> Array:
        """Memory that nobody touches."""
        return np.empty(shape, dtype).view(_Numbers)

    def address(self, array: Array) -> int:
        """Where the array starts."""
        return int(array.ctypes.data)


def _steps(kernel: str, sizes: list[int]) -> int:
    """How many steps of k a block takes, from the last arguments of a kernel of conv.cu."""
    *before, _, _, _, inputs, _, _, outputs, height, width, _, _, _, _, groups = sizes
    channels = inputs if kernel.startswith("conv_forward") else outputs
    pixels = before[0] if before else 0  # of a slice
    k = pixels if kernel.startswith("conv_filters") else height * width * channels // groups
    return math.ceil(k / _depth_and_parts(kernel)[0])


def _depth_and_parts(kernel: str) -> tuple[int, int]:
    """Steps of k in shared memory, and among how many groups of warps a block shares them."""
    found = re.search(r"<\d+, \d+, (\d+)(?:, (\d+))?>", kernel)
    return (int(found[1]), int(found[2] or 1)) if found else (16, 1)


@contextmanager
def counted() -> Iterator[list[Launch]]:
    """Within the block the GPU's backend is in use, on a device that counts."""
    device, before, precision = CountingDevice(), backend.current(), engine._precision
    try:
        backend._current = gpu
        with launch.using(device):
            yield device.launches
    finally:
        backend._current, engine._precision = before, precision


def launches_of_step(model: str, batch: int, precision: str = "tf32") -> list[Launch]:
    """What a step of training on a GPU launches, in order: both passes, and the optimiser's."""
    options = network_options(model, batch)
    size, classes = options["size"], options["classes"]
    with counted() as launches:
        gpu.set_precision(precision)
        network = create_model(model)
        optimizer = FlatSGD(network.parameters(), 0.1, 0.9)
        images = launch.empty((batch, size, size, 3), np.float32)
        labels = np.eye(classes, dtype=np.float32)[np.zeros(batch, int)]
        launches.clear()
        forward_backward(network, images, labels)
        optimizer.step()
        return launches


class Loop(NamedTuple):
    """Of a kernel's machine code: the loop that multiplies, its products, and register spills."""

    instructions: int
    products: int
    spills: int


def loops(instances: Collection[str], architecture: int = 90) -> dict[str, Loop]:
    """What NVIDIA's compiler makes of kernels of conv.cu, by instance.

    Raises BackendError without the compiler, or without NVIDIA's reader of machine code.
    """
    code, names = cuda.compiled("conv.cu", list(instances), architecture)
    kernels: dict[str, list[tuple[int, str]]] = {}
    for line in _disassembled(code).splitlines():
        if found := re.search(r"Function : (\S+)", line):
            current = kernels[names[found[1]]] = []
        elif found := re.match(r"\s+/\*([0-9a-f]+)\*/\s+(.*?);", line):
            current.append((int(found[1], 16), found[2]))
    return {name: _loop(text) for name, text in kernels.items()}


def _loop(code: list[tuple[int, str]]) -> Loop:
    """Of all jumps back, the one around the most products."""
    places = {address: place for place, (address, _) in enumerate(code)}
    texts, found = [text for _, text in code], [(0, 0)]
    for place, (address, text) in enumerate(code):
        back = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", text)
        if back and int(back[1], 16) < address:
            loop = texts[places[int(back[1], 16)] : place + 1]
            found.append((sum("MMA" in each for each in loop), len(loop)))
    products, instructions = max(found)
    return Loop(instructions, products, sum("STL" in text or "LDL" in text for text in texts))


def _disassembled(code: bytes) -> str:
    """What cuobjdump says."""
    folders = [Path(each, "nvidia", "cu13", "bin") for each in site.getsitepackages()]
    folder = next((each for each in folders if (each / "cuobjdump").exists()), None)
    if folder is None:
        need = "pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
        raise BackendError(f"--static needs NVIDIA's reader of machine code; run {need}")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [str(folder / "cuobjdump"), "-sass", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True,
                              env={"PATH": str(folder)})  # fmt: skip
    return done.stdout


class Card(NamedTuple):
    """What a time is reckoned from. docs/results/gpu/README.md says how these were found."""

    multiprocessors: int
    clock: float
    bytes_per_second: float
    cycles: float
    """Between two instructions of a warp in the loops of conv.cu, if nobody else is waiting."""
    gap: float
    """Seconds from one launch of a graph to the next, if they do nothing."""


CARDS = {"H200": Card(132, 1.755e9, 4.195e12, 5.8, 2e-6)}


def seconds(each: Launch, found: dict[str, Loop], card: Card) -> float:
    """What a launch should take: the time of its bytes or of its instructions, and the gap.

    A block of w warps is on a multiprocessor with as many others as fit (`TOGETHER` in
    tensorcore.cuh); each of the four schedulers issues one instruction a cycle, and each warp one
    in `cycles`.
    """
    bytes_ = each.bytes / card.bytes_per_second
    if each.instance not in found:
        return bytes_ + card.gap
    depth, parts = _depth_and_parts(each.instance)
    low = "Tf32" in each.instance and depth > 16 and parts == 1
    together = (384 if low else 512) // each.threads
    here = min(together, math.ceil(each.blocks / card.multiprocessors))
    rounds = math.ceil(each.blocks / card.multiprocessors / here)
    cycles = max(card.cycles, here * each.threads / 32 / 4)
    issued = rounds * each.steps * found[each.instance].instructions * cycles / card.clock
    return max(bytes_, issued) + card.gap


def run(args: argparse.Namespace) -> int:
    """Count, print, and save as `args` say."""
    takes(args, "bench --static", "static model batch precision json")
    models, batches = args.model or ["attention56_cifar"], args.batch or [128]
    if args.json is not None:
        expect_ending(args.json, (".json",), "bench: --json")
    known = args.precision != "fp32"
    expect(known, "bench --static counts --precision tf32 or bf16, got fp32", RecipeError)
    for batch in batches:
        expect(batch >= 1, f"bench: --batch must be at least 1, got {batch}", RecipeError)
    steps = []
    for model, batch in itertools.product(models, batches):
        steps.append(counts := step_counts(model, batch, args.precision))
        print(text(counts), flush=True)
    if args.json is not None:
        save(args.json, {"environment": environment(), "steps": steps})
        print(f"results: {args.json}")
    return 0


def text(counts: dict[str, Any]) -> str:
    """`step_counts` as tables."""

    def row(name: str, of: dict[str, Any]) -> tuple[str, ...]:
        return (
            name,
            f"{of['launches']}",
            f"{of['bytes'] / 1e9:.2f} GB",
            f"{1e3 * of['seconds']:.2f} ms",
        )

    title = f"{counts['model']}, batch {counts['batch']}, {counts['precision']}"
    rows: list[tuple[str, ...]] = [(title, "launches", "bytes", f"{counts['card']}, reckoned")]
    rows += [row(each["kernel"], each) for each in counts["kernels"]] + [row("together", counts)]
    loops: list[tuple[str, ...]] = [("main loop", "instructions", "products", "spills")]
    loops += [
        (each["instance"], *(f"{each[key]}" for key in Loop._fields)) for each in counts["loops"]
    ]
    return "\n".join([*text_table(rows, (1, 2, 3)), "", *text_table(loops, (1, 2, 3))])


def step_counts(model: str, batch: int, precision: str, card: str = "H200") -> dict[str, Any]:
    """Launches, bytes and reckoned time by kernel, and the loops of the convolutions."""
    launches = launches_of_step(model, batch, precision)
    found = loops(sorted({each.instance for each in launches if each.steps}))
    kernels: dict[str, Counter[str]] = {}
    for each in launches:
        row = kernels.setdefault(each.kernel, Counter())
        row["launches"] += 1
        row["bytes"] += each.bytes
        row["seconds"] += seconds(each, found, CARDS[card])  # type: ignore[assignment]
    rows = sorted(kernels.items(), key=lambda row: -row[1]["seconds"])
    return {
        "model": model, "batch": batch, "precision": precision, "card": card,
        "kernels": [{"kernel": name, **row} for name, row in rows],
        "loops": [{"instance": name, **loop._asdict()} for name, loop in found.items()],
        **{key: sum(row[key] for _, row in rows) for key in ("launches", "bytes", "seconds")},
    }  # fmt: skip
