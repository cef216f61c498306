"""Training steps on a GPU: batches, losses and counts stay there, and many steps run unobserved.

Between two looks at the losses the host only launches: it writes the learning rate and the number
of the step to the device, then launches the step, as one graph if it could be recorded
(`capture`). It looks when a row of the history is due.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from typing import Any, Protocol

import numpy as np

from minran import backend, distributed, ops
from minran.autograd import Array, Tensor
from minran.data import Batch, Loader
from minran.data.augment import one_hot
from minran.errors import RecipeError, expect
from minran.optim import FlatSGD
from minran.train.capture import captured_or_eager, moved
from minran.train.checkpoint import Progress
from minran.train.recipe import Recipe
from minran.train.setup import Parts
from minran.train.steps import Outcome

MAX_STRETCH = 1024
"""Steps taken between two looks at the losses, at most."""

DeviceBatch = tuple[Array, Array, Array]
"""images (N, H, W, C), truth (N, K), which is 1 at the label, and targets (N, K) of the loss."""


class Batches(Protocol):
    """Where the steps' batches come from."""

    def epoch(self, epoch: int, start: int) -> Any:
        """A context in which the batches of `epoch` from number `start` on are at hand."""

    def advance(self) -> None:
        """Prepare the next batch; before each step, and not part of it."""

    def make(self) -> DeviceBatch:
        """The batch of this step; part of it, so it only launches."""


class DeviceBatches:
    """All pictures stay on the device, and one kernel makes the batch that `numbers` say.

    Same order of pictures as the loader's, but other windows: their chance is a hash of seed and
    step (`backend/gpu/augment`), not the loader's generator.
    """

    def __init__(self, loader: Loader, recipe: Recipe, numbers: Array) -> None:
        place, data = backend.current().place, loader.dataset
        self.images, self.labels = place(data.images), place(data.labels.astype(np.uint8))
        self.mean, self.order = place(loader.preprocess.mean), place(_order(loader, 0))
        self.loader, self.augment, self.numbers = loader, recipe.augment, numbers

    def epoch(self, epoch: int, start: int) -> Any:
        """The order of the epoch, in the place of the last one's."""
        self.order[...] = backend.to_device(_order(self.loader, epoch))
        return nullcontext()

    def advance(self) -> None:
        """Nothing: the batch follows from the number of the step."""

    def make(self) -> DeviceBatch:
        """Two launches."""
        kernels, loader = backend.current(), self.loader
        size, classes = loader.batch_size, loader.dataset.num_classes
        images = kernels.augmented_batch(
            self.images,
            self.order,
            self.mean,
            loader.preprocess.std,
            self.numbers,
            size,
            pad=4 if self.augment.pad_crop_flip else 0,
            mirror=self.augment.pad_crop_flip,
            cutout=self.augment.cutout,
        )
        truth = kernels.one_hot_batch(self.labels, self.order, self.numbers, size, classes)
        return images, truth, truth


def _order(loader: Loader, epoch: int) -> np.ndarray:
    return loader.order(epoch).astype(np.int32)


class HostBatches:
    """Batches that the loader prepares, copied into arrays that stay where they are."""

    def __init__(self, loader: Loader) -> None:
        xp, data = backend.current().xp, loader.dataset
        scores = loader.batch_size, data.num_classes
        self.images = xp.zeros((loader.batch_size, *data.images.shape[1:]), np.float32)
        self.truth, self.targets = xp.zeros(scores, np.float32), xp.zeros(scores, np.float32)
        self.loader = loader
        self.waiting: Generator[Batch, None, None]

    def epoch(self, epoch: int, start: int) -> Any:
        """closing: the thread that prepares batches ends with the epoch, however that ends."""
        self.waiting = self.loader.epoch(epoch, start)
        return closing(self.waiting)

    def advance(self) -> None:
        """Copy the next batch to the device."""
        images, labels, *soft = next(self.waiting)
        truth = one_hot(labels, self.loader.dataset.num_classes)
        self.images[...] = backend.to_device(images)
        self.truth[...] = backend.to_device(truth)
        self.targets[...] = backend.to_device(soft[0] if soft else truth)

    def make(self) -> DeviceBatch:
        """No launch at all."""
        return self.images, self.truth, self.targets


class DeviceSteps:
    """Steps on a backend that makes batches and keeps records on the device."""

    def __init__(self, recipe: Recipe, parts: Parts, capture: bool) -> None:
        expect(
            isinstance(parts.optimizer, FlatSGD),
            "training on a GPU needs FlatSGD (minran.train.build makes it)",
            RecipeError,
        )
        xp = backend.current().xp
        self.training, self.parts, self.capture = recipe.training, parts, capture
        self.optimizer: Any = parts.optimizer
        self.dtype = parts.optimizer.params[0].dtype
        # What changes from step to step and is no learning rate: the seed and the step's number.
        self.numbers = backend.to_device(np.array([recipe.seed % 2**32, 0], np.uint32))
        self.outcomes = xp.zeros((MAX_STRETCH, 2), self.dtype)
        # The kernel knows labels of one byte, and no mixup.
        on_device = not recipe.augment.mixup and parts.train.dataset.num_classes <= 256
        self.batches: Batches = (
            DeviceBatches(parts.train, recipe, self.numbers)
            if on_device
            else HostBatches(parts.train)
        )
        self._run: Callable[[], Any] | None = None

    def epoch(self, progress: Progress) -> Generator[list[Outcome], None, None]:
        """The outcomes of all steps up to the next row of the history, checkpoint or end."""
        with self.batches.epoch(progress.epoch, progress.batch):
            while progress.batch < len(self.parts.train):
                first = progress.step
                last = first + self._stretch(progress)
                for step in range(first, last):
                    self._take(step)
                yield self._read(first, last)

    def _stretch(self, progress: Progress) -> int:
        """How many steps to take before the next look."""
        every = [self.training.log_every]
        if self.training.checkpoint_every:
            every.append(self.training.checkpoint_every)
        return min(
            MAX_STRETCH,
            len(self.parts.train) - progress.batch,
            progress.total_steps - progress.step,
            *(steps - progress.step % steps for steps in every),
        )

    def _take(self, step: int) -> None:
        """Launch step number `step`, without waiting for it."""
        self.optimizer.lr = self.parts.schedule(step)
        self.numbers[1:].fill(step)
        self.batches.advance()
        if self._run is None:
            self._run = self.step
            if self.capture:
                state = moved(self.parts.model, self.optimizer)
                self._run = captured_or_eager(self.step, state, self.optimizer.finish_recording)
        self._run()

    def step(self) -> None:
        """The step itself, which only launches: `train_step` without a word to the host."""
        kernels = backend.current()
        self.optimizer.zero_grad()
        images, truth, targets = (
            array.astype(self.dtype, copy=False) for array in self.batches.make()
        )
        logits = self.parts.model(Tensor(backend.activations(images)))
        loss = ops.cross_entropy(logits, targets, self.training.label_smoothing)
        loss.backward()
        self.optimizer.step()
        kernels.record_step(loss.data, logits.data, truth, self.numbers, self.outcomes)

    def _read(self, first: int, last: int) -> list[Outcome]:
        """What came of the steps; this waits until they are done."""
        rows = backend.to_host(self.outcomes)
        slots = (rows[step % MAX_STRETCH] for step in range(first, last))
        return [(float(loss), int(correct)) for loss, correct in slots]


def on_device() -> bool:
    """Whether steps run as above: on a backend that can, unless several processes share them."""
    return distributed.current().size == 1 and backend.has("record_step")
