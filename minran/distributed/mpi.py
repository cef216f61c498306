"""The worlds of several processes: messages by MPI, sums between GPUs by NCCL."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from minran.autograd import Array
from minran.backend.cpu.memory import empty
from minran.backend.world import World
from minran.errors import BackendError, expect
from minran.streams import Output

SMALL = 1 << 16
"""Bytes up to which everybody sends everything to everybody: one message takes longest."""

FAREWELL = 0.3
"""Seconds that mpiexec gets to pass on last words, which it drops when it ends the processes."""


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

    def counts(self, count: int) -> list[int]:
        """The `count` of every process, by rank."""
        self.begun[0] += 1
        every = np.empty(self.size, np.int64)
        self.comm.Allgather(np.array([count], np.int64), every)
        return [int(each) for each in every]

    def gather(self, array: Array) -> Array:
        """The `array` (...) of every process, by rank: (size, ...)."""
        self.begun[0] += 1
        every = empty((self.size, *array.shape), array.dtype)
        self.comm.Allgather(np.ascontiguousarray(array), every)
        return every

    def sum(self, array: Array) -> Array:
        """The sum of `array` over all processes, added in the order of ranks."""
        if array.nbytes <= SMALL:
            return self.gather(array).sum(0)
        self.begun[0] += 1
        # Process k adds up part k of everybody's array, and tells everybody the result.
        length = -(-array.size // self.size)
        mine, parts = (empty((self.size, length), array.dtype) for _ in range(2))
        mine.ravel()[: array.size] = array.ravel()
        mine.ravel()[array.size :] = 0
        self.comm.Alltoall(mine, parts)
        total = self.gather(parts.sum(0)).ravel()[: array.size]
        return total.reshape(array.shape)

    def broadcast(self, value: Any) -> Any:
        """The value that process 0 has."""
        self.begun[0] += 1
        return self.comm.bcast(value)

    def collect(self, value: Any) -> list[Any]:
        """The `value` of every process, by rank."""
        self.begun[0] += 1
        return list(self.comm.allgather(value))

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

        found = cupy.cuda.runtime.getDeviceCount()
        expect(
            local_rank < found,
            f"process {self.rank} is number {local_rank + 1} on a machine with {found} GPU(s); "
            "start one process for each GPU",
            BackendError,
        )
        self.cupy = cupy
        cupy.cuda.Device(local_rank).use()
        identity = self.broadcast(nccl.get_unique_id() if self.rank == 0 else None)
        self.nccl = nccl.NcclCommunicator(self.size, identity, self.rank)
        self.types = {"f": nccl.NCCL_FLOAT32, "d": nccl.NCCL_FLOAT64}
        self.add = nccl.NCCL_SUM

    def gather(self, array: Array) -> Array:
        """The `array` (...) of every process, by rank: (size, ...)."""
        if isinstance(array, np.ndarray):
            return super().gather(array)
        self.begun[0] += 1
        array = self.cupy.ascontiguousarray(array)
        every = self.cupy.empty((self.size, *array.shape), array.dtype)
        self.nccl.allGather(*self._ends(array, every))
        return every

    def sum(self, array: Array) -> Array:
        """The sum of `array` over all processes."""
        if isinstance(array, np.ndarray):
            return super().sum(array)
        self.begun[0] += 1
        array = self.cupy.ascontiguousarray(array)
        total = self.cupy.empty_like(array)
        *ends, stream = self._ends(array, total)
        self.nccl.allReduce(*ends, self.add, stream)
        return total

    def _ends(self, source: Array, target: Array) -> tuple[int, int, int, int, int]:
        """From where, to where, how many, of which type, behind which other work of the GPU."""
        stream = self.cupy.cuda.get_current_stream().ptr
        return source.data.ptr, target.data.ptr, source.size, self.types[source.dtype.char], stream
