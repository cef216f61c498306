"""From a recipe to the objects a run is made of: data, model, optimiser, schedule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minran import data, optim
from minran.data import Dataset, Loader, Preprocess
from minran.errors import RecipeError, expect
from minran.models import create_model
from minran.nn import Module
from minran.train.checkpoint import Checkpoint, load_checkpoint
from minran.train.recipe import Recipe, parse


@dataclass
class Parts:
    """Everything a run is made of."""

    model: Module
    optimizer: optim.SGD
    schedule: optim.Schedule
    train: Loader
    test: Loader
    preprocess: Preprocess
    total_steps: int

    @property
    def class_names(self) -> list[str]:
        """The names of the classes."""
        return list(self.train.dataset.class_names)


def build(recipe: Recipe, data_dir: str | Path | None = None) -> Parts:
    """Load the data and make model, optimiser and schedule, all from the recipe's seed."""
    train_data, test_data = load_data(recipe, data_dir)
    preprocess = Preprocess.fit(train_data.images, recipe.data.std)
    training = recipe.training
    train = Loader(
        train_data,
        training.batch_size,
        preprocess,
        augment=recipe.augment.pad_crop_flip,
        cutout=recipe.augment.cutout,
        mixup=recipe.augment.mixup,
        shuffle=True,
        drop_last=True,
        seed=recipe.seed,
    )
    test = Loader(test_data, training.test_batch_size, preprocess)
    model = make_model(recipe, train_data.num_classes)
    settings = recipe.optimizer
    optimizer = optim.SGD(
        model.parameters(),
        settings.lr,
        settings.momentum,
        settings.nesterov,
        settings.weight_decay,
    )
    total = training.iterations or training.epochs * len(train)
    expect(total > 0, "training.epochs or training.iterations must be positive", RecipeError)
    return Parts(model, optimizer, _schedule(recipe, total), train, test, preprocess, total)


def load_data(recipe: Recipe, data_dir: str | Path | None = None) -> tuple[Dataset, Dataset]:
    """Training and test pictures of the recipe, cut to its counts, labels made noisy."""
    wanted = recipe.data
    sets = []
    for split, count in (("train", wanted.train_count), ("test", wanted.test_count)):
        options: dict[str, Any] = {}
        if wanted.name == "shapes" and count:
            options["count"] = count
        dataset = data.load(wanted.name, split, data_dir, **options)
        sets.append(dataset.subset(slice(0, count)) if count else dataset)
    train, test = sets
    if wanted.label_noise:
        expect(
            0 <= wanted.label_noise < 1,
            f"data.label_noise must be in [0, 1), got {wanted.label_noise}",
            RecipeError,
        )
        matrix = data.label_noise_matrix(train.num_classes, 1 - wanted.label_noise)
        rng = np.random.default_rng([recipe.seed, 7])
        noisy = data.corrupt_labels(train.labels, matrix, rng)
        train = Dataset(train.images, noisy, train.class_names, train.name, train.masks)
    return train, test


def make_model(recipe: Recipe, num_classes: int) -> Module:
    """The recipe's network with fresh weights."""
    options = dict(recipe.model.options)
    return create_model(recipe.model.name, num_classes, seed=recipe.seed, **options)


def load_model(path: str | Path) -> tuple[Module, Preprocess, Checkpoint]:
    """A trained network from a checkpoint, in evaluation mode, on the current backend.

    Returns the model, the preprocessing its pictures need, and the checkpoint (recipe text,
    class names, progress). Raises CheckpointError.
    """
    checkpoint = load_checkpoint(path)
    recipe = parse(checkpoint.recipe, str(path))
    model = make_model(recipe, len(checkpoint.class_names))
    model.load_state_dict(checkpoint.model)
    return model.eval(), Preprocess.from_state(checkpoint.preprocess), checkpoint


def _schedule(recipe: Recipe, total: int) -> optim.Schedule:
    settings, lr = recipe.schedule, recipe.optimizer.lr
    schedules: dict[str, Any] = {
        "constant": lambda: optim.constant(lr),
        "multistep": lambda: optim.multistep(lr, settings.milestones, settings.factor),
        "cosine": lambda: optim.cosine(lr, total, int(settings.warmup * total)),
        "one_cycle": lambda: optim.one_cycle(lr, total, settings.warmup),
    }
    expect(
        settings.kind in schedules,
        f"schedule.kind must be one of {', '.join(schedules)}, got {settings.kind!r}",
        RecipeError,
    )
    return schedules[settings.kind]()
