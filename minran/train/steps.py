"""One step of training, one test, and the steps of a run."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

import numpy as np

from minran import backend, checks, distributed, ops
from minran.autograd import Array, Tensor, no_grad, tensor
from minran.data import Batch, Loader
from minran.hints import checked
from minran.nn import Module
from minran.nn.module import evaluating
from minran.optim import SGD
from minran.train.recipe import Recipe
from minran.train.setup import Parts

Outcome = tuple[float, int]
"""What came of a step: the loss of its batch, and how many images it got right."""


def forward_backward(
    model: Module,
    images: Array,
    targets: Array,
    label_smoothing: float = 0.0,
    weight: float | Array | None = None,
) -> tuple[Tensor, Tensor]:
    """Both passes over a batch: returns its logits and loss, and adds to the gradients.

        L = cross_entropy(model(images), targets);  p.grad = p.grad + weight dL/dp

    images: (N, H, W, C), taken to the precision of the network; targets: labels (N,) or
    probabilities (N, K); weight: a number, 1 if None.
    """
    logits = model(inputs(model, images))
    loss = ops.cross_entropy(logits, targets, label_smoothing)
    loss.backward(weight)
    return logits, loss


@checked()
def train_step(
    model: Module, optimizer: SGD, batch: Batch, label_smoothing: float = 0.0
) -> Outcome:
    """One step of gradient descent on a batch; returns its loss and how many it got right.

    batch: images (N, H, W, 3) float32, labels (N,) integers, and with mixup soft labels (N, K),
    which the loss is then taken against. With several processes all call this with the same
    batch, and each takes its share; the step, and what is returned, are those of the batch.
    """
    checks.expect_batch(batch)
    mine, weight = distributed.share(len(batch[0])), distributed.weight(len(batch[0]))
    images, labels, targets = batch[0][mine], batch[1][mine], batch[-1][mine]
    optimizer.zero_grad()
    logits, loss = forward_backward(model, images, targets, label_smoothing, weight)
    distributed.sum_gradients(optimizer.params)
    optimizer.step()
    correct = _count_correct(logits, labels)
    batch_loss, batch_correct = distributed.sum_numbers(weight * loss.item(), correct)
    return batch_loss, int(batch_correct)


@checked()
def evaluate(
    model: Module, loader: Loader, confusion: np.ndarray | None = None
) -> tuple[float, float]:
    """The mean loss and the accuracy (0 to 1) of `model` on all images of `loader`.

    The network is in evaluation mode meanwhile, and afterwards in the mode it had before. With
    several processes all call this, and each tests its share. confusion: (K, K) whole numbers, all
    0, in which each image counts in the row of its class and the column of the answer.
    """
    loss_sum, correct, seen = 0.0, 0, 0
    backend.release_memory()  # of maps of a training step; a test's have another size
    with evaluating(model), no_grad(), closing(loader.epoch(0)) as batches:
        for batch in batches:
            if len(batch[0]) < loader.batch_size:
                backend.release_memory()
            mine = distributed.share(len(batch[0]))
            images, labels = batch[0][mine], batch[1][mine]
            if len(labels):  # the last batch may be too small for a share of each
                logits = model(inputs(model, images))
                loss_sum += ops.cross_entropy(logits, labels).item() * len(labels)
                correct += _count_correct(logits, labels)
                seen += len(labels)
                if confusion is not None:
                    checks.expect_shape(confusion, 2 * logits.shape[1:], "evaluate: confusion")
                    np.add.at(confusion, (labels, logits.numpy().argmax(1)), 1)
    backend.release_memory()
    if confusion is not None:
        confusion[...] = distributed.current().sum(confusion)
    loss, right, total = distributed.sum_numbers(loss_sum, correct, seen)
    return loss / total, right / total


def inputs(model: Module, images: Array) -> Tensor:
    """Images as a Tensor of the network's precision."""
    _, parameter = next(model.named_parameters())
    return Tensor(backend.activations(tensor(images, dtype=parameter.dtype).data))


def _count_correct(logits: Tensor, labels: np.ndarray) -> int:
    return int((logits.numpy().argmax(1) == labels).sum())


class Steps:
    """The steps of a run, one at a time, on batches that the loader prepares meanwhile.

    `minran.train.gpu` has others, which it chooses where they are faster.
    """

    def __init__(self, recipe: Recipe, parts: Parts) -> None:
        self.recipe, self.parts = recipe, parts

    def batches(self, epoch: int, start: int) -> Generator[Any, None, None]:
        """The batches of `epoch` from number `start` on; close it when no more are wanted."""
        return self.parts.train.epoch(epoch, start)

    def take(self, batch: Any, step: int, look: bool) -> list[Outcome]:
        """Step number `step` (from 0) on a batch; returns its outcome.

        Other kinds of steps may wait until asked to `look`, and then return all that came of the
        steps since the last look.
        """
        parts, smoothing = self.parts, self.recipe.training.label_smoothing
        outcome = train_step(parts.model, parts.optimizer, batch, smoothing)
        if parts.average:
            parts.average.update(step + 1)
        return [outcome]

    def test(self) -> tuple[float, float]:
        """Loss and accuracy on the test images."""
        with self.parts.averaged():
            return evaluate(self.parts.model, self.parts.test)
