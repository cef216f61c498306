"""Training on a GPU: a step only launches, may be recorded as one graph, and is read seldom.

Between two looks at the losses the host only writes the learning rate and the number of the step
to the device, then launches the step. A step that is recorded once and replayed

- only launches: it does not wait for the device, read from it, or copy to it. Whatever changes
  from step to step (learning rate, number of the step, seed, batch) lies in the device's memory;
- allocates from memory that nothing else uses: the recorder sees to it (`backend/gpu/graph`);
- ran before: kernels are compiled, memory is there. What those warm-up steps moved is put back.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from minran import backend, distributed
from minran.autograd import Array
from minran.backend.gpu.launch import MAX_ELEMENTS
from minran.data import Loader
from minran.data.augment import PAD, one_hot
from minran.errors import BackendError, RecipeError, expect
from minran.hints import checked
from minran.nn import Module
from minran.optim import SGD, FlatSGD
from minran.optim.flat import Operands
from minran.train.recipe import Recipe
from minran.train.setup import Parts
from minran.train.steps import Outcome, Steps, forward_backward

WARM_UP = 2  # the first step compiles, the second finds the memory as all later ones do
SLOTS = 1024  # steps whose outcomes the device keeps: when they are full, it is read
Batch = tuple[Array, Array, Array]
"""images (N, H, W, C), truth (N, K), which is 1 at the label, and targets (N, K) of the loss."""


def steps_for(recipe: Recipe, parts: Parts, capture: bool) -> Steps:
    """The steps below on a backend that can."""
    if backend.has("record_step"):
        return DeviceSteps(recipe, parts, capture)
    return Steps(recipe, parts)


class UnreadSteps(Steps):
    """Steps that are launched, and read when somebody looks."""

    unread = 0

    def take(self, batch: Any, step: int, look: bool) -> list[Outcome]:
        """Launch a step; whoever looks waits until all are done."""
        self.launch(batch, step)
        self.unread += 1
        if not look and self.unread < SLOTS:
            return []
        rows, first = self.read(), step + 1 - self.unread
        self.unread = 0
        unread = [rows[number % SLOTS] for number in range(first, step + 1)]
        return [(float(loss), int(correct)) for loss, correct in unread]

    def launch(self, batch: Any, step: int) -> None:
        """Start step number `step`, and do not wait for it."""
        raise NotImplementedError

    def read(self) -> np.ndarray:
        """The outcome of step s in row s % SLOTS, for the last steps; this waits for them."""
        raise NotImplementedError


class DeviceSteps(UnreadSteps):
    """The steps of a network of minran on a GPU; of several processes each has its own GPU.

    Each takes its share of the batch, as in `train_step`. What they tell each other in a step
    goes from GPU to GPU and is part of the graph: the moments and sums of batch norm, and one
    array of all gradients. All record and replay the same, in the same order.
    """

    def __init__(self, recipe: Recipe, parts: Parts, capture: bool) -> None:
        super().__init__(recipe, parts)
        if not isinstance(parts.optimizer, FlatSGD):
            raise RecipeError("training on a GPU needs FlatSGD (minran.train.build makes it)")
        self.capture, self.optimizer, self.average = capture, parts.optimizer, parts.average
        self.dtype = parts.optimizer.params[0].dtype
        # What changes from step to step and is no learning rate: the seed and the step's number.
        self.numbers = backend.to_device(np.array([recipe.seed % 2**32, 0], np.uint32))
        self.outcomes = backend.current().xp.zeros((SLOTS, 2), self.dtype)
        size, self.world = parts.train.batch_size, distributed.current()
        self.share, self.weight = distributed.share(size), distributed.weight(size)
        # A number would be copied to the device in each step.
        self.start = backend.current().xp.full((), self.weight, self.dtype)
        # The kernel knows pictures in memory, labels of one byte, the paper's augmentation, no
        # mixup, and counts numbers with 32 bits.
        train, data = parts.train, parts.train.dataset
        held = isinstance(data.images, np.ndarray)
        fits = held and data.num_classes <= 256 and data.images.size <= MAX_ELEMENTS
        on_device = fits and train.augment != "imagenet" and not train.mixup
        self.source: DeviceBatches | HostBatches = (
            DeviceBatches(train, self.numbers, self.share)
            if on_device
            else HostBatches(train, self.share)
        )
        self._run: Callable[[], Any] | None = None

    def batches(self, epoch: int, start: int) -> Generator[None, None, None]:
        """Each batch lies on the device, where `source` finds it, before the next step."""
        return self.source.epoch(epoch, start)

    def launch(self, batch: None, step: int) -> None:
        """Write down what changes from step to step, then launch the step, recorded or not."""
        self.numbers[1:].fill(step)
        if self.average:
            self.average.weigh(step + 1)
        if self._run is None:
            self._run = self._recorded() if self.capture else self.step
        self._run()

    def read(self) -> np.ndarray:
        rows = backend.to_host(self.outcomes)
        return self.world.sum(rows * [self.weight, 1]) if self.world.size > 1 else rows

    def step(self) -> None:
        """The step itself: `train_step` without a word to the host."""
        images, truth, targets = self.source.make()
        truth, targets = (array.astype(self.dtype, copy=False) for array in (truth, targets))
        self.optimizer.zero_grad()
        smoothing = self.recipe.training.label_smoothing
        logits, loss = forward_backward(self.parts.model, images, targets, smoothing, self.start)
        self.optimizer.step(self.world.sum)
        if self.average:
            self.average.mix()
        kernels = backend.current()
        kernels.record_step(loss.data, logits.data, truth, self.numbers, self.outcomes)

    def _recorded(self) -> Callable[[], Any]:
        """The step as a graph; if it cannot be recorded, the step itself and one warning."""
        moved = what_a_step_moves(self.parts.model, self.optimizer)
        moved += self.average.means if self.average else []
        try:
            return CapturedStep(self.step, moved, self.optimizer)
        except CaptureError as error:
            slower = "could not be recorded as a graph and runs launch by launch, which is slower"
            warnings.warn(f"the training step {slower} ({error})", stacklevel=2)
            return self.step


class DeviceBatches:
    """All images stay on the device, and one kernel makes the batch that `numbers` say.

    Same order of images as the loader's, but other windows: their chance is a hash of seed and
    step (`backend/gpu/augment`), not the loader's generator.
    """

    def __init__(self, loader: Loader, numbers: Array, share: slice) -> None:
        place, data = backend.current().place, loader.dataset
        self.images, self.labels = place(data.images[:]), place(data.labels.astype(np.uint8))
        self.mean = place(loader.preprocess.mean)
        self.order = place(loader.order(0).astype(np.int32))
        self.loader, self.numbers, self.share = loader, numbers, share

    def epoch(self, epoch: int, start: int) -> Generator[None, None, None]:
        """The order of the epoch, in the place of the last one's: it says all."""
        self.order[...] = backend.to_device(self.loader.order(epoch).astype(np.int32))
        yield from [None] * (len(self.loader) - start)

    def make(self) -> Batch:
        """The batch, as a part of the step: two launches."""
        kernels, loader = backend.current(), self.loader
        pictures = self.images, self.order, self.mean, loader.preprocess.std
        pad, which = PAD if loader.augment else 0, (self.numbers, loader.batch_size)
        images = kernels.augmented_batch(
            *pictures, *which, pad, bool(loader.augment), loader.cutout, self.share
        )
        classes = loader.dataset.num_classes
        truth = kernels.one_hot_batch(self.labels, self.order, *which, classes, self.share)
        return images, truth, truth


class HostBatches:
    """Batches that the loader prepares, copied into arrays that stay where they are."""

    def __init__(self, loader: Loader, share: slice) -> None:
        xp, data, count = backend.current().xp, loader.dataset, share.stop - share.start
        scores = count, data.num_classes
        self.images = xp.zeros((count, *data.images.shape[1:]), np.float32)
        self.truth, self.targets = xp.zeros(scores, np.float32), xp.zeros(scores, np.float32)
        self.uploader = backend.current().uploader([self.images, self.truth, self.targets])
        self.loader, self.share = loader, share

    def epoch(self, epoch: int, start: int) -> Generator[None, None, None]:
        """Each batch is copied to the device while the step before it runs."""
        with closing(self.loader.epoch(epoch, start)) as batches:
            for images, labels, *soft in batches:
                truth = one_hot(labels, self.loader.dataset.num_classes)
                sent = images, truth, soft[0] if soft else truth
                self.uploader.send(*(array[self.share] for array in sent))
                self.uploader.take()
                yield

    def make(self) -> Batch:
        """The batch, as a part of the step: no launch at all."""
        return self.images, self.truth, self.targets


class CaptureError(BackendError):
    """This step cannot be recorded."""


@checked()
class CapturedStep:
    """`step` as one graph; each call replays it.

    step: a function that only launches; state: the arrays that it changes, which are as before
    when this returns; optimizers: those that move parameters in it, whose `lr` each call takes.
    Raises what the step raises when it runs, and CaptureError for what fails in the recording.
    """

    optimizer: FlatSGD
    loss: Array
    """Of a step that `capture_step` made: its optimiser, and the loss, which each call writes."""

    def __init__(
        self, step: Callable[[], Any], state: Sequence[Array], *optimizers: FlatSGD
    ) -> None:
        # The graph knows where arrays lie and keeps none; the step does, its inputs among them.
        self.step = step
        name = backend.current().name
        message = f"a training step is recorded as a graph on a GPU only; the backend is {name}"
        expect(backend.has("recorder"), message, CaptureError)
        self.recorder = backend.current().recorder()
        self.operands = [RecordedOperands(optimizer) for optimizer in optimizers]
        before = [array.copy() for array in state]
        try:
            with self.recorder.working():
                for _ in range(WARM_UP):
                    step()
                self._record()
        finally:
            for array, value in zip(state, before, strict=True):
                array[...] = value
        for operands in self.operands:
            operands.finish()

    def _record(self) -> None:
        eager = [(operands.optimizer, operands.optimizer.operands) for operands in self.operands]
        try:
            for operands in self.operands:
                operands.optimizer.operands = operands
            with self.recorder.recording():
                self.step()
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise CaptureError(reason[0] if reason else type(error).__name__) from error
        finally:
            for optimizer, before in eager:
                optimizer.operands = before

    def __call__(self) -> None:
        for operands in self.operands:
            operands.lr.fill(operands.optimizer.lr)
        self.recorder.launch()

    @property
    def memory(self) -> int:
        """Bytes of the device's memory that the recorded step keeps for itself."""
        return int(self.recorder.memory)


class RecordedOperands(Operands):
    """The optimiser's operands in memory that a graph reads at every replay.

    They are made before the recording: memory that is taken in it is written to by the graph.
    """

    def __init__(self, optimizer: FlatSGD) -> None:
        super().__init__(len(optimizer.params))
        self.optimizer = optimizer
        self.lr = backend.current().xp.zeros(1, optimizer.flat.dtype)
        self.gradients: list[Array] = []

    def table(self, gradients: list[Array]) -> Array:
        """The table, empty: nothing can be copied to the device now (`finish`)."""
        self.gradients = gradients
        return self.on_device

    def rate(self, lr: float) -> Array:
        return self.lr

    def finish(self) -> None:
        """After the recording: write down where its gradients lie, now and in every replay."""
        if self.gradients:
            super().table(self.gradients)


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
        losses[:] = [forward_backward(model, images, labels, label_smoothing)[1].data]
        flat.step()

    losses: list[Array] = []
    captured = CapturedStep(step, what_a_step_moves(model, flat), flat)
    captured.optimizer, captured.loss = flat, losses[0]
    return captured


def what_a_step_moves(model: Module, optimizer: FlatSGD) -> list[Array]:
    """Parameters, velocities, running statistics."""
    buffers = [buffer for _, buffer in model.named_buffers()]
    return [optimizer.flat, optimizer.flat_velocity, *buffers]
