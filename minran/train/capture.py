"""A training step that is recorded once and replayed: what must hold for that.

- It only launches: it does not wait for the device, read from it, or copy to it. Whatever changes
  from step to step (learning rate, number of the step, seed, batch) lies in the device's memory.
- It allocates from memory that nothing else uses: the recorder sees to it (`backend/gpu/graph`).
- It ran before: kernels are compiled, memory is there. Those warm-up steps move the network, so
  what they moved is put back.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from minran import backend, ops
from minran.autograd import Array, Tensor
from minran.errors import BackendError, expect
from minran.hints import checked
from minran.nn import Module
from minran.optim import SGD, FlatSGD

WARM_UP = 2
"""Steps before the recording: the first compiles, the second finds the memory as all later do."""


class CaptureError(BackendError):
    """This step cannot be recorded."""


@checked()
class CapturedStep:
    """`step` as one graph; each call replays it.

    step: a function that only launches; state: the arrays that it changes, which are as before
    when this returns; finish: called after the recording, before the first replay.

    Raises what the step raises when it runs, and CaptureError for what goes wrong only in the
    recording.
    """

    optimizer: FlatSGD
    loss: Array
    """Of a step that `capture_step` made: its optimiser, and the loss, which each call writes."""

    def __init__(
        self,
        step: Callable[[], Any],
        state: Sequence[Array],
        finish: Callable[[], Any] = lambda: None,
    ) -> None:
        # The graph knows where arrays lie and keeps none; the step does, its inputs among them.
        self.step = step
        kernels = backend.current()
        expect(
            backend.has("recorder"),
            f"a training step is recorded as a graph on a GPU only; the backend is {kernels.name}",
            CaptureError,
        )
        self.recorder = kernels.recorder()
        before = [array.copy() for array in state]
        try:
            with self.recorder.working():
                for _ in range(WARM_UP):
                    step()
                self._record(step)
        finally:
            for array, value in zip(state, before, strict=True):
                array[...] = value
        finish()

    def _record(self, step: Callable[[], Any]) -> None:
        try:
            with self.recorder.recording():
                step()
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise CaptureError(reason[0] if reason else type(error).__name__) from error

    def __call__(self) -> None:
        self.recorder.launch()

    @property
    def memory(self) -> int:
        """Bytes of the device's memory that the recorded step keeps for itself."""
        return int(self.recorder.memory)


def captured_or_eager(
    step: Callable[[], Any], state: Sequence[Array], finish: Callable[[], Any]
) -> Callable[[], Any]:
    """The captured step; if it cannot be recorded, `step` itself and one warning."""
    try:
        return CapturedStep(step, state, finish)
    except CaptureError as error:
        warnings.warn(
            f"the training step could not be recorded as a graph and runs launch by launch, "
            f"which is slower ({error})",
            stacklevel=2,
        )
        return step


@checked()
def capture_step(
    model: Module, optimizer: SGD, images: Array, labels: Array, label_smoothing: float = 0.0
) -> CapturedStep:
    """The training step on one batch, whose arrays are on the device, as a graph.

    Each call takes a step on what `images` (N, H, W, 3) and `labels` ((N,) integers or (N, K)
    probabilities) hold then. The optimiser is made flat (`FlatSGD.of`): the one whose `lr` counts
    is the `optimizer` of the result. Raises CaptureError if the step cannot be recorded.
    """
    flat = FlatSGD.of(optimizer)

    def step() -> None:
        flat.zero_grad()
        pictures = Tensor(backend.activations(images))
        loss = ops.cross_entropy(model(pictures), labels, label_smoothing)
        loss.backward()
        flat.step()
        result["loss"] = loss.data

    result: dict[str, Array] = {}
    captured = CapturedStep(step, moved(model, flat), flat.finish_recording)
    captured.optimizer, captured.loss = flat, result["loss"]
    return captured


def moved(model: Module, optimizer: FlatSGD) -> list[Array]:
    """What a training step moves: parameters, velocities, running statistics."""
    return [
        optimizer.flat,
        optimizer.flat_velocity,
        *(buffer for _, buffer in model.named_buffers()),
    ]
