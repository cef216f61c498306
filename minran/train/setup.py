"""From a recipe, or a file, to the objects that a run is made of: data, model, optimiser."""

from __future__ import annotations

import warnings
import zlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minran import backend, data, distributed, optim
from minran.data import Dataset, Loader, Pictures, Preprocess
from minran.errors import CheckpointError, DataError, RecipeError, ShapeError, did_you_mean, expect
from minran.files import explained
from minran.hints import checked
from minran.inspect.probe import expect_size, picture_size
from minran.models import create_model
from minran.nn import BatchNorm2d, Module, init
from minran.train.checkpoint import Checkpoint, Progress, load_checkpoint, save_checkpoint
from minran.train.recipe import Recipe, parse
from minran.train.settle import settled
from minran.train.weights import begin_with, freeze, list_pretrained, shipped_file

# First word of the random stream of label noise; 1 and 2 are the loader's.
_NOISE_STREAM = 3
_SMALL = 1 << 18
"""Networks of so many numbers are made even for files that have fewer, to say what does not fit."""


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
    average: optim.Average | None  # with `training.ema`: the weights that are tested and saved
    data: dict[str, np.ndarray]
    """What tells the training images and labels from others (`_describe`)."""
    plain: Loader
    """The training images without augmentation, in batches of the same size, mixed."""
    recipe: Recipe
    """The recipe, with nothing left open."""
    settled: str = ""
    """What was decided where the recipe left it open; "" if it left nothing."""
    origin: str = ""
    """What was loaded by `training.init`, and what was not; "" if nothing was to be."""

    @property
    def class_names(self) -> list[str]:
        """The names of the classes."""
        return list(self.train.dataset.class_names)

    def train_mode(self) -> None:
        """Training mode; but batch norms that are not trained keep and use their statistics."""
        for _, module in self.model.train().named_modules():
            if isinstance(module, BatchNorm2d):
                module.training = module.gamma.requires_grad or module.beta.requires_grad

    def averaged(self) -> AbstractContextManager[None]:
        """Within the block the model has the weights that are tested and saved."""
        return self.average.applied() if self.average else nullcontext()

    def checkpoint(self, recipe: Recipe, progress: Progress) -> Checkpoint:
        """Where model and optimiser are, for a file."""
        with self.averaged():
            state = self.model.state_dict()
        return Checkpoint(
            recipe=recipe.to_toml(),
            model=state,
            raw=self.model.state_dict() if self.average else {},
            preprocess=self.preprocess.state(),
            class_names=self.class_names,
            progress=progress,
            optimizer=self.optimizer.state_dict(),
            data=self.data,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put model and optimiser where `checkpoint` left them.

        Raises CheckpointError if it does not belong to this network or these images.
        """
        theirs = checkpoint.data or self.data  # the first checkpoints knew nothing of this
        files = self.data.get("files")  # None where the pictures are in memory
        same = (
            checkpoint.class_names == self.class_names
            and _alike(checkpoint.preprocess["mean"], self.preprocess.mean)
            and np.array_equal(theirs.get("labels", ()), self.data["labels"])
            and _alike(theirs.get("class_means"), self.data["class_means"])
            and theirs.get("files", files) == files
        )
        other = "the training images are not those that the run started with: images, labels or"
        other += " classes were changed (or a folder was split by an earlier version of minran)"
        expect(same, other, CheckpointError)
        self.model.load_state_dict(checkpoint.model)
        if self.average:
            self.average.restart()
            self.model.load_state_dict(checkpoint.raw)
        self.optimizer.load_state_dict(checkpoint.optimizer)


def _alike(colours: np.ndarray | None, own: np.ndarray) -> bool:
    """Shapes images may differ in single roundings between processors, not by more."""
    same = colours is not None and colours.shape == own.shape
    return same and bool(np.abs(colours - own).max() < 0.05)


@checked(RecipeError)
def build(recipe: Recipe, data_dir: str | Path | None = None, begin: bool = True) -> Parts:
    """Load the data and make model, optimiser and schedule, all from the recipe's seed.

    begin: load the weights of `training.init`; False for parts that are restored. Raises
    RecipeError, DataError or CheckpointError.
    """
    use_precision(recipe)
    train_data, test_data = load_data(recipe, data_dir)
    sample = train_data.sample()
    preprocess = Preprocess.fit(sample.images[:], recipe.data.std, recipe.data.mean)
    recipe, said = settled(recipe, len(train_data))
    training = recipe.training
    # With few pictures of one's own, the batch that a recipe asks for would never be full.
    asked = training.batch_size or 0
    size = min(asked, len(train_data))
    if size < asked and distributed.leads():
        warnings.warn(
            f"training.batch_size is {asked}, but there are {size} images to "
            f"train on: all {size} make one batch",
            stacklevel=2,
        )
    processes = distributed.current().size
    few = f"training.batch_size is {size}: not an image for each of the {processes} processes"
    expect(size >= processes, few, RecipeError)
    share = distributed.share if processes > 1 else None
    same: dict[str, Any] = {"shuffle": True, "drop_last": True, "seed": recipe.seed, "share": share}
    train = Loader(
        train_data,
        size,
        preprocess,
        augment=recipe.augment.pad_crop_flip and recipe.augment.kind,
        cutout=recipe.augment.cutout,
        mixup=recipe.augment.mixup,
        **same,
    )
    plain = Loader(train_data, size, preprocess, **same)
    test = Loader(test_data, training.test_batch_size, preprocess, share=share)
    model = make_model(recipe, train_data.num_classes)
    drawn, pixels = picture_size(model, None)[0], recipe.data.size
    if pixels != drawn:
        with explained(RecipeError, f"{recipe.model.name}: ", kinds=ShapeError):
            expect_size(model, pixels)
    if 2 * pixels < drawn and distributed.leads():
        warnings.warn(
            f"{recipe.model.name} was drawn for images of {drawn} pixels, and data.size is "
            f"{pixels}: its last maps have hardly a pixel. Set data.size={drawn}, or take a "
            "network for CIFAR",
            stacklevel=2,
        )
    origin = _begin(recipe, model, train_data, preprocess) if begin and training.init else ""
    freeze(model, training.freeze)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind = optim.FlatSGD if backend.has("gather") else optim.SGD
    optimizer = kind(trained, **asdict(recipe.optimizer))
    average = optim.Average(model, optimizer, training.ema) if training.ema else None
    total = training.iterations or (training.epochs or 0) * len(train)
    expect(total > 0, "training.epochs or training.iterations must be positive", RecipeError)
    schedule, facts = _schedule(recipe, total), _describe(train_data, sample)
    made = model, optimizer, schedule, train, test, preprocess, total, average, facts
    return Parts(*made, plain, recipe, said, origin)


def _begin(recipe: Recipe, model: Module, pictures: Dataset, preprocess: Preprocess) -> str:
    """Load the weights of `training.init`; what came of that."""
    training = recipe.training
    least, classes = training.init_least, pictures.class_names
    origin, checkpoint = begin_with(model, training.init, classes, least)
    theirs = checkpoint.preprocess["std"] if checkpoint else preprocess.std
    if theirs != preprocess.std and distributed.leads():
        warnings.warn(
            f"{training.init} was trained on pixels divided by {theirs:g}, and data.std is "
            f"{preprocess.std:g} now",
            stacklevel=3,
        )
    return origin


def _schedule(recipe: Recipe, total: int) -> optim.Schedule:
    settings, lr = recipe.schedule, recipe.optimizer.lr
    values, defaults = recipe.entries(), Recipe().entries()
    for key, reason in recipe.unused().items():
        # How long a run takes is said by iterations, if they are given: that stands in the recipe.
        good = key == "training.epochs" or values[key] == defaults[key]
        expect(good, f"{key} = {values[key]!r} would have no effect: {reason}", RecipeError)
    schedules: dict[str, Any] = {
        "constant": lambda: optim.constant(lr),
        "multistep": lambda: optim.multistep(lr, settings.milestones, settings.factor),
        "cosine": lambda: optim.cosine(lr, total, int(settings.warmup * total)),
        "one_cycle": lambda: optim.one_cycle(lr, total, settings.warmup),
    }
    return schedules[settings.kind]()


def _describe(dataset: Dataset, sample: Dataset) -> dict[str, np.ndarray]:
    """What a checkpoint keeps to tell whether these are the images and labels of its run.

    labels: a checksum of them all, uint32; class_means: (K, H, C) float32, the mean colour of each
    row of each class's images in the sample, which changes when classes change places; files:
    a checksum of names and lengths of files that are read as needed, uint32.
    """
    means = np.zeros((dataset.num_classes, *dataset.images.shape[1::2]), np.float32)
    for label in np.unique(sample.labels):
        means[label] = sample.images[sample.labels == label].mean(axis=(0, 2))
    labels = np.array(zlib.crc32(dataset.labels.tobytes()), np.uint32)
    facts = {"labels": labels, "class_means": means}
    if isinstance(dataset.images, Pictures):
        facts["files"] = np.array(dataset.checksum(), np.uint32)
    return facts


@checked(RecipeError)
def use_precision(recipe: Recipe) -> None:
    """Let a GPU calculate as the recipe says, until told otherwise; a CPU knows one way only."""
    if backend.has("set_precision"):
        # "tf32" is the default and means: where the GPU has it.
        backend.current().set_precision(None if recipe.precision == "tf32" else recipe.precision)
    elif recipe.precision == "bf16":
        cpu = "precision 'bf16' is for a GPU; on the CPU everything is float32"
        warnings.warn(cpu, stacklevel=2)


@checked(RecipeError)
def load_data(recipe: Recipe, data_dir: str | Path | None = None) -> tuple[Dataset, Dataset]:
    """Training and test images of the recipe, cut to its counts, training labels made noisy.

    Of a data set with more images than `data.train_count` (or `test_count`) every so many-th
    is taken, so that a folder of images, which is sorted by class, keeps all its classes.
    """
    wanted, found = recipe.data, []
    other = f"data.size is {wanted.size}, but {wanted.name} has images of 32 pixels and no others"
    expect(wanted.size == 32 or not wanted.name.startswith("cifar"), other, RecipeError)
    how: dict[str, Any] = {} if wanted.name.startswith("cifar") else {"size": wanted.size}
    if wanted.name.startswith("folder:"):
        how |= {"fit": wanted.fit, "memory": wanted.memory}
    for split, count in (("train", wanted.train_count), ("test", wanted.test_count)):
        if wanted.name == "shapes" and count:
            found.append(data.load("shapes", split, count=count, **how))
            continue
        whole = data.load(wanted.name, split, data_dir, **how)
        few = f"data.{split}_count is {count}, but {wanted.name} has {len(whole)} {split} images"
        expect(count <= len(whole), few, RecipeError)
        found.append(whole.subset(np.arange(count) * len(whole) // count) if count else whole)
    train, test = found
    if wanted.label_noise:
        matrix = data.label_noise_matrix(train.num_classes, 1 - wanted.label_noise)
        rng = np.random.default_rng([_NOISE_STREAM, recipe.seed])
        train = replace(train, labels=data.corrupt_labels(train.labels, matrix, rng))
    return train, test


@checked(RecipeError)
def make_model(recipe: Recipe, num_classes: int) -> Module:
    """The recipe's network with fresh weights. Raises RecipeError for a wrong option."""
    options = dict(recipe.model.options)
    for option, source in (("seed", "the recipe's seed"), ("num_classes", "the data")):
        message = f"model.options.{option} must not be set: it comes from {source}"
        expect(option not in options, message, RecipeError)
    return create_model(recipe.model.name, num_classes, seed=recipe.seed, **options)


@checked(CheckpointError)
def load_model(path: str | Path) -> tuple[Module, Preprocess, Checkpoint]:
    """A trained network from a checkpoint, in evaluation mode, on the current backend.

    Returns it, the preprocessing its images need, and the checkpoint. Raises CheckpointError.
    """
    checkpoint = load_checkpoint(path)
    kinds = (RecipeError, ShapeError, DataError, RecursionError)
    with explained(CheckpointError, f"{path} does not fit this version of minran: ", kinds=kinds):
        recipe = parse(checkpoint.recipe, str(path))
        # A stranger's recipe may ask for any amount of memory and time.
        size = sum(array.size for array in checkpoint.model.values())
        with init.at_most(max(size, _SMALL)):
            model = make_model(recipe, len(checkpoint.class_names))
        model.load_state_dict(checkpoint.model)
        return model.eval(), Preprocess.from_state(checkpoint.preprocess), checkpoint


class Pretrained(NamedTuple):
    """A trained network in evaluation mode, and what it takes to use it."""

    model: Module
    preprocess: Preprocess
    class_names: list[str]


@checked(CheckpointError)
def load_pretrained(name: str) -> Pretrained:
    """A network that was trained with the recipe in its file, on the current backend.

    `model(tensor(preprocess(images)))` gives logits for uint8 images (N, 32, 32, 3). What
    each was trained on, and its accuracy, stands in `docs/results`. Raises CheckpointError.
    """
    known = list_pretrained()
    none = f"there are no weights for {name!r}; {did_you_mean(name, known)}"
    expect(name in known, none, CheckpointError)
    with shipped_file(name) as file:
        model, preprocess, checkpoint = load_model(file)
    return Pretrained(model, preprocess, checkpoint.class_names)


@checked(CheckpointError)
def export_weights(checkpoint: str | Path, target: str | Path) -> None:
    """Write `checkpoint` to `target` without the optimiser's state: what is needed to predict."""
    full = load_checkpoint(checkpoint)
    save_checkpoint(Path(target), replace(full, optimizer={}, data={}, raw={}))
