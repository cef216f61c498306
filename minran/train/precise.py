"""Batch norm's running statistics taken anew, where the moving averages are not good enough."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

import numpy as np

from minran import backend, distributed
from minran.autograd import no_grad
from minran.data import Loader
from minran.errors import RecipeError
from minran.hints import checked
from minran.nn import BatchNorm2d, Module
from minran.train.setup import Parts
from minran.train.steps import inputs


@checked(RecipeError, count=1)
def precise_norm(model: Module, loader: Loader, count: int) -> None:
    """Set the running mean and variance of batch norms to exact averages over batches.

        mean = 1/B sum_b mean_b;    var = 1/B sum_b (var_b + (mean_b - mean)^2)

    mean_b, var_b: (C,), of batch b under the weights as they are now; var_b is unbiased, as
    the running one. Batches are the first B of `loader.epoch(0)`, as many as `count` images take
    and no more than there are; they should be full and of mixed classes. Moving averages instead
    hold statistics of earlier weights and, after few steps, of no image at all: 0 and 1. (Wu and
    Johnson 2021, Rethinking "Batch" in BatchNorm, section 3.)

    Batch norms in evaluation mode (frozen ones) keep theirs and use them meanwhile. With several
    processes all call this, each normalises its share, and all get the same statistics.
    Raises RecipeError unless `count` is at least 1.
    """
    modules = [module for _, module in model.named_modules()]
    norms = [norm for norm in modules if isinstance(norm, BatchNorm2d) and norm.training]
    if not norms:
        return
    momenta, found = [norm.momentum for norm in norms], []
    try:
        for norm in norms:
            norm.momentum = 1.0  # what is tracked is then the batch alone
        with no_grad(), closing(loader.epoch(0)) as batches:
            for images, *_ in islice(batches, -(-count // loader.batch_size)):
                model(inputs(model, images[distributed.share(len(images))]))
                running = ((norm.running_mean, norm.running_var) for norm in norms)
                found.append([np.array([*map(backend.to_host, both)], float) for both in running])
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    for norm, *batch_statistics in zip(norms, *found, strict=True):
        means, variances = np.moveaxis(np.array(batch_statistics), 1, 0)
        mean = means.mean(axis=0)
        var = (variances + (means - mean) ** 2).mean(axis=0)
        for running, exact in ((norm.running_mean, mean), (norm.running_var, var)):
            running[...] = backend.to_device(exact.astype(running.dtype))


def renew_statistics(parts: Parts) -> None:
    """`precise_norm` with `training.precise_norm` images, none of them augmented, if it asks.

    Of the weights that are tested and saved: with `training.ema` of the average. Training goes on
    as without, since a step takes the statistics of its batch.
    """
    if count := parts.recipe.training.precise_norm:
        parts.train_mode()
        with parts.averaged():
            precise_norm(parts.model, parts.plain, count)
            if parts.average:
                parts.average.restart()
