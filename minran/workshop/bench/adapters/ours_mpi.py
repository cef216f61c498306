"""minran in several processes that share each batch (`minran.distributed`)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from minran import distributed, ops
from minran.autograd import no_grad, tensor
from minran.optim import SGD
from minran.workshop.bench.adapters import Work, pictures
from minran.workshop.bench.adapters.ours import Minran

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
            loss = ops.cross_entropy(network(tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward(weight)
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
