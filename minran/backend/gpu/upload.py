"""Batches on their way to the GPU while it works on the one before.

A copy from ordinary memory keeps the host until it is done, and on the step's own stream it waits
for that step's end. So a batch goes through page-locked memory, which the GPU reads by itself, on
a stream of its own, into arrays that the step does not read; when its turn comes it is copied on
within the GPU's memory. Three waits keep it right:

- the host writes to page-locked memory when the copy before has left it (`copied`);
- the copy begins when the batch before was taken from where it goes (`taken`);
- the step's stream takes a batch when its copy is done (`copied`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


class CudaUploader:
    """Copies batch after batch into `targets`, arrays of the device that stay where they are.

    Call `send` with the host's arrays, then `take`, then launch the step. `send` waits until the
    batch before has left the host's memory, so that the host is at most two steps ahead; `take`
    waits for nothing. `xp` is CuPy.
    """

    def __init__(self, xp: Any, targets: Sequence[Any]) -> None:
        self.cuda, self.targets = xp.cuda, targets
        self.locked = [self._page_locked(target) for target in targets]
        self.waiting = [xp.empty(target.shape, target.dtype) for target in targets]
        # Like the recorder's, not one that waits for the default stream by itself.
        self.stream = self.cuda.Stream(non_blocking=True)
        self.copied: Any = None
        self.taken: Any = None

    def _page_locked(self, target: Any) -> np.ndarray:
        memory = self.cuda.alloc_pinned_memory(target.nbytes)
        flat = np.frombuffer(memory, target.dtype, math.prod(target.shape))
        return flat.reshape(target.shape)

    def send(self, *arrays: np.ndarray) -> None:
        """Begin to copy a batch, one array for each target."""
        if self.copied is not None:
            self.copied.synchronize()
        for locked, array in zip(self.locked, arrays, strict=True):
            locked[...] = array
        if self.taken is not None:
            self.stream.wait_event(self.taken)
        for waiting, locked in zip(self.waiting, self.locked, strict=True):
            waiting.set(locked, self.stream)
        self.copied = self.stream.record()

    def take(self) -> None:
        """Put the batch that was sent into the targets: after what is there, before what comes."""
        current = self.cuda.get_current_stream()
        current.wait_event(self.copied)
        for target, waiting in zip(self.targets, self.waiting, strict=True):
            target[...] = waiting
        self.taken = current.record()
