"""A training step as one CUDA graph: recorded once, launched as often as wanted.

Some thousand launches a step cost the host more time than the GPU needs to run them. While a
stream records, launches do not run: CUDA writes them down, with their arguments, as a graph. One
call then launches all of them.

The graph holds addresses, not arrays. So what the step allocates must lie where nothing else
ever will: memory that is freed during the recording goes back to its pool, and an array made
later would share it with the graph, silently. Hence a pool for this graph alone, kept as long as
the graph is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from minran.errors import BackendError, expect


class CudaRecorder:
    """Records launches, on a stream and with memory of its own, and replays them.

    Use: inside `working()`, run the step a few times, then once more inside `recording()`;
    outside, `launch()` as often as wanted.

    `xp` is CuPy. The stream must not be the default one, which cannot record, and must not wait
    for it by itself, which recording forbids ("non-blocking").
    """

    def __init__(self, xp: Any) -> None:
        self.xp, self.cuda = xp, xp.cuda
        self.stream = self.cuda.Stream(non_blocking=True)
        self.pool = self.cuda.MemoryPool()
        self.graph: Any = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """The block runs on the recorder's stream and takes the recorder's memory.

        It begins when all that was launched before has run, and at its end the host waits.
        """
        self.stream.wait_event(self.cuda.get_current_stream().record())
        # What earlier steps used and no longer need would be missing here.
        self.xp.get_default_memory_pool().free_all_blocks()
        try:
            with self.stream, self.cuda.using_allocator(self.pool.malloc):
                yield
        finally:
            self.stream.synchronize()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """The block's launches become the graph. Use it inside `working`."""
        self.stream.begin_capture()
        try:
            yield
        except BaseException:
            # Leave the stream usable; what went wrong first is the news.
            with suppress(self.cuda.runtime.CUDARuntimeError):
                self.stream.end_capture()
            raise
        self.graph = self.stream.end_capture()

    def launch(self) -> None:
        """Launch the graph on the current stream: after what is there, before what comes."""
        expect(self.graph is not None, "there is no recorded step to launch", BackendError)
        self.graph.launch()

    @property
    def memory(self) -> int:
        """Bytes of the GPU's memory that the recorded step keeps."""
        return int(self.pool.total_bytes())
