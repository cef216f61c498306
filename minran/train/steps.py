"""One step of training, and one test."""

from __future__ import annotations

import zlib
from collections.abc import Generator
from contextlib import closing
from typing import Any, Protocol

import numpy as np

from minran import backend, distributed, ops
from minran.autograd import Tensor, no_grad, tensor
from minran.data import Batch, Dataset, Loader
from minran.errors import expect
from minran.hints import checked
from minran.nn import Module
from minran.nn.module import evaluating
from minran.optim import SGD
from minran.train.checkpoint import Progress

Outcome = tuple[float, int]
"""What came of a step: the loss of its batch, and how many pictures it got right."""


class Steps(Protocol):
    """How a run takes its steps; the loop asks, and books what came of them."""

    def epoch(self, progress: Progress) -> Generator[list[Outcome], None, None]:
        """Take the steps of the epoch that are still to do, some at a time.

        The caller counts each in `progress` before it asks for more, and may stop asking.
        """


@checked()
def train_step(
    model: Module, optimizer: SGD, batch: Batch, label_smoothing: float = 0.0
) -> tuple[float, int]:
    """One step of gradient descent on a batch; returns its loss and how many it got right.

    batch: images (N, H, W, 3) float32, labels (N,) integers, and with mixup soft labels (N, K),
    which the loss is then taken against. With several processes all call this with the same
    batch, and each takes its share; the step, and what is returned, are those of the batch.
    """
    good = len(batch) in (2, 3) and len({len(part) for part in batch}) == 1
    good = good and batch[0].ndim == 4 and batch[0].dtype.kind == "f"
    shapes = ", ".join(f"{part.shape} {part.dtype}" for part in batch)
    expect(good, f"train_step: batch must be prepared images (N, H, W, C) and labels, got {shapes}")
    mine, weight = distributed.share(len(batch[0])), distributed.weight(len(batch[0]))
    images, labels, targets = batch[0][mine], batch[1][mine], batch[-1][mine]
    logits = model(_inputs(model, images))
    loss = ops.cross_entropy(logits, targets, label_smoothing)
    optimizer.zero_grad()
    loss.backward(weight)
    distributed.sum_gradients(optimizer.params)
    optimizer.step()
    correct = _count_correct(logits, labels)
    batch_loss, batch_correct = distributed.sum_numbers(weight * loss.item(), correct)
    return batch_loss, int(batch_correct)


@checked()
def evaluate(model: Module, loader: Loader) -> tuple[float, float]:
    """The mean loss and the accuracy (0 to 1) of `model` on all pictures of `loader`.

    The network is in evaluation mode meanwhile, and afterwards in the mode it had before. With
    several processes all call this, and each tests its share.
    """
    loss_sum, correct, seen = 0.0, 0, 0
    with evaluating(model), no_grad(), closing(loader.epoch(0)) as batches:
        for batch in batches:
            mine = distributed.share(len(batch[0]))
            images, labels = batch[0][mine], batch[1][mine]
            if len(labels) == 0:  # the last batch may be too small for a share of each
                continue
            logits = model(_inputs(model, images))
            loss_sum += ops.cross_entropy(logits, labels).item() * len(labels)
            correct += _count_correct(logits, labels)
            seen += len(labels)
    loss, right, total = distributed.sum_numbers(loss_sum, correct, seen)
    return loss / total, right / total


def _inputs(model: Module, images: np.ndarray) -> Tensor:
    """Pictures as a Tensor of the network's precision."""
    _, parameter = next(model.named_parameters())
    return Tensor(backend.activations(tensor(images, dtype=parameter.dtype).data))


def _count_correct(logits: Tensor, labels: np.ndarray) -> int:
    return int((logits.numpy().argmax(1) == labels).sum())


def expect_same_pictures(**datasets: Dataset) -> None:
    """Raise BackendError, in all processes, unless each has the same; alone, nothing is read.

    datasets: by what they are called in the message (training=..., test=...).
    """
    if distributed.current().size == 1:
        return
    facts: dict[str, Any] = {}
    for which, data in datasets.items():
        facts |= {
            f"the number of {which} pictures": len(data),
            f"the list of classes of {which} pictures": list(data.class_names),
            f"the checksum of the {which} labels": zlib.crc32(data.labels.tobytes()),
            f"the checksum of the {which} pictures": zlib.crc32(data.images.tobytes()),
        }
    distributed.expect_alike(facts)
