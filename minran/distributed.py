"""Data-parallel training: every process computes its share of each batch.

    mpiexec -n 2 minran train --recipe cifar10-small

All processes hold the same network. A batch B is cut into shares B_r, and with

    L = sum_r |B_r| / |B| L_r      gradient of L = sum_r |B_r| / |B| gradient of L_r

each process weighs its own loss L_r, goes backward, and the gradients are summed. Batch norm
takes its statistics over all shares (`ops.norm`), so this is the step that one process would do
on the whole batch, up to rounding; all sums run in a fixed order, so that a run repeats bit for
bit with the same number of processes.

The messages are MPI's (mpi4py, imported when mpiexec has started this process); between GPUs
sums go through NCCL. Own training loops do, after `start()`, about what `train_step` does:

    mine = distributed.share(len(images))
    loss = ops.cross_entropy(model(tensor(images[mine])), labels[mine])
    loss.backward(distributed.weight(len(images)))
    distributed.sum_gradients(model.parameters())
    optimizer.step()
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from minran import backend, checks, machine
from minran.autograd import Array, Tensor
from minran.backend.cpu.memory import empty
from minran.backend.world import World, current, install
from minran.errors import BackendError, MinranError, expect, expect_whole, pip_install
from minran.hints import checked
from minran.streams import Output

__all__ = [
    "MPIWorld",
    "NCCLWorld",
    "from_leader",
    "leader_first",
    "leads",
    "share",
    "start",
    "sum_gradients",
    "sum_numbers",
    "weight",
]

Value = TypeVar("Value")

RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""What the mpiexec of MPICH, Open MPI and their kin tells the processes that it starts."""

PATIENCE = 1.0
"""Seconds that the others let process 0 speak first: what all stumble over is told once."""

SMALL = 1 << 16
"""Bytes up to which everybody sends everything to everybody: one message takes longest."""

FAREWELL = 0.3
"""Seconds that mpiexec gets to pass on last words, which it drops when it ends the processes."""


def start() -> World:
    """Join the processes that mpiexec has started; alone, nothing happens. Returns the world.

    Call it once, after `backend.use` and before anything is computed. From then on an error
    that nobody catches ends all processes, and so does one that ends (`sys.exit`) while another
    waits for it; each computes on its share of the cores.

    Raises BackendError if mpi4py is missing, or its MPI is not that of mpiexec.
    """
    told = [os.environ[name] for name in SIZE_VARIABLES if name in os.environ]
    alone = not any(name in os.environ for name in RANK_VARIABLES) or told == ["1"]
    if alone or current().size > 1:
        return current()
    mpi = _import_mpi()
    comm = mpi.COMM_WORLD
    if comm.Get_size() == 1:
        library = mpi.Get_library_version().splitlines()[0].strip()
        what = f"mpiexec has started {told and told[0]} processes, but mpi4py's {library} sees one"
        expect(not told, f"{what}: this mpiexec belongs to another MPI", BackendError)
        return current()
    neighbours = comm.Split_type(mpi.COMM_TYPE_SHARED)
    on_gpu = backend.current().name == "cupy"
    world = NCCLWorld(comm, mpi, neighbours.Get_rank()) if on_gpu else MPIWorld(comm, mpi)
    install(world)
    _share_cores(neighbours)
    # The others would wait for this process forever.
    sys.excepthook = lambda *error: fail("".join(traceback.format_exception(*error)).rstrip(), 1)
    atexit.register(_farewell, world, os.getpid())
    return current()


def _import_mpi() -> Any:
    try:
        import mpi4py

        # Only the main thread sends messages; MPI need not guard against more.
        mpi4py.rc.thread_level = "funneled"
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        what = "several processes need mpi4py and an MPI library"
        raise BackendError(f"{what}: {pip_install('distributed')} ({error})") from error
    return MPI


def _share_cores(neighbours: Any) -> None:
    """Cores over the processes of this machine: more threads than cores only get in the way."""
    threadpool_limits(1, user_api="blas")
    if backend.has("set_threads") and "MINRAN_NUM_THREADS" not in os.environ:
        own = machine.cores()
        every = set().union(*neighbours.allgather(own))
        # mpiexec may have bound each process to cores of its own already.
        fair = min(len(own), len(every) // neighbours.Get_size())
        backend.current().set_threads(max(1, fair))


def share(count: int) -> slice:
    """This process's samples of a batch of `count`: nearly equal slices, by rank."""
    expect_whole(count, "share: count", 0)
    world = current()
    return slice(count * world.rank // world.size, count * (world.rank + 1) // world.size)


def weight(count: int) -> float:
    """What the loss of this process's share of `count` samples weighs in that of the batch."""
    expect_whole(count, "weight: count")
    mine = share(count)
    return (mine.stop - mine.start) / count


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each parameter's gradient by its sum over all processes: one message for all."""
    parameters = checks.tensors(parameters, Tensor, "sum_gradients: parameters")
    world = current()
    if world.size == 1:
        return
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    gradients: list[Array] = [parameter.grad for parameter in trained]
    flat = world.sum(backend.current().xp.concatenate([grad.ravel() for grad in gradients]))
    start = 0
    for parameter in trained:
        parameter.grad = flat[start : start + parameter.size].reshape(parameter.shape)
        start += parameter.size


def sum_numbers(*numbers: float) -> list[float]:
    """Each number summed over all processes, in float64."""
    checks.expect_numbers("sum_numbers", numbers)
    return [float(total) for total in current().sum(np.array(numbers, np.float64))]


def leads() -> bool:
    """Whether this process is the one that writes files and prints."""
    return current().rank == 0


@checked()
def from_leader(function: Callable[[], Value]) -> Value:
    """`function()`, which only process 0 calls: all get its result, or its MinranError."""
    result: Any = None
    try:
        result = (function(), None) if leads() else None
    except MinranError as error:
        result = None, error
    value, error_of_leader = current().collect(result)[0]
    if error_of_leader is not None:
        raise error_of_leader
    return value  # type: ignore[no-any-return]


@checked()
def expect_alike(facts: Mapping[str, Any]) -> None:
    """All processes call this with what must be the same in each: `{"seed": 0, ...}`.

    Raises BackendError, in all of them, for the first fact that differs, and names the process.
    """
    first, *others = current().collect(dict(facts))
    for rank, theirs in enumerate(others, 1):
        for name, here in first.items():
            there = theirs.get(name)
            what = f"{name} is {there!r} in process {rank} and {here!r} in process 0"
            expect(there == here, f"all processes must do the same: {what}", BackendError)


@contextmanager
def leader_first() -> Iterator[None]:
    """The block runs on process 0, then on the others: one downloads, the others find it done."""
    if not leads():
        current().collect(None)
    try:
        yield
    finally:
        if leads():
            current().collect(None)


@checked()
def fail(message: str, status: int) -> int:
    """Print `message` and end all processes with `status`; alone, return it to the caller."""
    world = current()
    if not leads():
        time.sleep(PATIENCE)
        message = f"process {world.rank}: {message}"
    print(message, file=Output(sys.stderr), flush=True)
    world.abort(status)
    return status


def _farewell(world: MPIWorld, process: int) -> None:
    """At the end of this process: whoever waits for it now would wait forever."""
    if os.getpid() != process:
        return  # a child after a fork
    waits = world.part()
    if waits is not None:
        fail(f"process {world.rank} has ended while process {waits} waits for it", 1)


class MPIWorld(World):
    """The processes of one mpiexec. Sums run in the order of ranks, whatever MPI it is."""

    def __init__(self, comm: Any, mpi: Any) -> None:
        self.comm, self.mpi = comm, mpi
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        # For `part`: how many messages this process has begun, where the others can read it.
        self.ending = comm.Dup()
        self.window = mpi.Win.Allocate(8, 8, comm=self.ending)
        self.begun = np.frombuffer(self.window, np.int64)
        self.begun[0] = 0

    def _all(self, message: Callable[..., Any], *arguments: Any) -> Any:
        """A message of all to all, counted before this process waits for the others in it."""
        self.begun[0] += 1
        return message(*arguments)

    def counts(self, count: int) -> list[int]:
        return self.gather(np.array([count], np.int64)).ravel().tolist()

    def gather(self, array: Array) -> Array:
        every = empty((self.size, *array.shape), array.dtype)
        self._all(self.comm.Allgather, np.ascontiguousarray(array), every)
        return every

    def sum(self, array: Array) -> Array:
        if array.nbytes <= SMALL:
            return self.gather(array).sum(0)
        # Process k adds up part k of everybody's array, and tells everybody the result.
        length = -(-array.size // self.size)
        mine, parts = (empty((self.size, length), array.dtype) for _ in range(2))
        mine.ravel()[: array.size] = array.ravel()
        mine.ravel()[array.size :] = 0
        self._all(self.comm.Alltoall, mine, parts)
        return self.gather(parts.sum(0)).ravel()[: array.size].reshape(array.shape)

    def collect(self, value: Any) -> list[Any]:
        return list(self._all(self.comm.allgather, value))

    def part(self) -> int | None:
        """Wait until all processes part; at once the number of one that waits for this in vain."""
        all_part, theirs = self.ending.Ibarrier(), np.zeros(1, np.int64)
        while not all_part.Test():
            for rank in range(self.size):
                self.window.Lock(rank, self.mpi.LOCK_SHARED)
                self.window.Get(theirs, rank)
                self.window.Unlock(rank)
                if theirs[0] > self.begun[0]:
                    return rank
            time.sleep(0.01)
        self.window.Free()
        return None

    def abort(self, status: int) -> None:
        """End all processes, once mpiexec has passed on what this one has printed."""
        Output(sys.stdout).flush()
        Output(sys.stderr).flush()
        time.sleep(FAREWELL)
        self.comm.Abort(status)


class NCCLWorld(MPIWorld):
    """One GPU for each process: CuPy's arrays go from GPU to GPU, NumPy's still through MPI.

    NCCL adds in an order that depends on the GPUs and their wiring alone.
    """

    def __init__(self, comm: Any, mpi: Any, local_rank: int) -> None:
        super().__init__(comm, mpi)
        import cupy
        from cupy.cuda import nccl

        what = "several GPUs need NCCL, which CuPy does not find"
        install = 'pip install "nvidia-nccl-cu12" (or -cu13, as your CuPy)'
        expect(getattr(nccl, "available", True), f"{what}; {install}", BackendError)
        found = cupy.cuda.runtime.getDeviceCount()
        what = f"process {self.rank} is number {local_rank + 1} on a machine with {found} GPU(s)"
        expect(local_rank < found, f"{what}; start one process for each GPU", BackendError)
        self.cupy = cupy
        cupy.cuda.Device(local_rank).use()
        identity = self.collect(nccl.get_unique_id() if self.rank == 0 else None)[0]
        self.nccl = nccl.NcclCommunicator(self.size, identity, self.rank)
        self.types = {"f": nccl.NCCL_FLOAT32, "d": nccl.NCCL_FLOAT64}
        self.add = nccl.NCCL_SUM

    def gather(self, array: Array) -> Array:
        if isinstance(array, np.ndarray):
            return super().gather(array)
        return self._between_gpus(self.nccl.allGather, array, (self.size, *array.shape))

    def sum(self, array: Array) -> Array:
        if isinstance(array, np.ndarray):
            return super().sum(array)
        return self._between_gpus(self.nccl.allReduce, array, array.shape, self.add)

    def _between_gpus(
        self, send: Callable[..., Any], array: Array, shape: tuple[int, ...], *how: Any
    ) -> Array:
        """What `send` makes of the arrays of all processes, after the GPU's other work."""
        source, target = self.cupy.ascontiguousarray(array), self.cupy.empty(shape, array.dtype)
        stream, kind = self.cupy.cuda.get_current_stream().ptr, self.types[array.dtype.char]
        self._all(send, source.data.ptr, target.data.ptr, source.size, kind, *how, stream)
        return target
