"""Data: CIFAR-10, CIFAR-100, the built-in shapes, your own pictures; augmentation; batches."""

from __future__ import annotations

import inspect
import os
from typing import Any

from minran.data.augment import (
    DEFAULT_STD,
    Preprocess,
    cutout,
    mixup,
    one_hot,
    pad_crop_flip,
    per_pixel_mean,
)
from minran.data.cifar import data_folder, load_cifar10, load_cifar100
from minran.data.dataset import Dataset
from minran.data.folder import load_folder, read_pictures
from minran.data.loader import Batch, Loader
from minran.data.noise import corrupt_labels, label_noise_matrix
from minran.data.shapes import load_shapes
from minran.errors import DataError, expect
from minran.hints import checked

__all__ = [
    "DEFAULT_STD",
    "Batch",
    "Dataset",
    "Loader",
    "Preprocess",
    "corrupt_labels",
    "cutout",
    "data_folder",
    "label_noise_matrix",
    "load",
    "load_cifar10",
    "load_cifar100",
    "load_folder",
    "load_shapes",
    "mixup",
    "one_hot",
    "pad_crop_flip",
    "per_pixel_mean",
    "read_pictures",
]


@checked(DataError)
def load(
    name: str,
    split: str = "train",
    data_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Dataset:
    """Load a data set by name: "shapes", "cifar10", "cifar100" or "folder:PATH".

    data_dir: where CIFAR lies (the others have no use for it); options: those of `load_shapes`,
    `load_cifar10`, `load_cifar100` or `load_folder`.

    Raises DataError for an unknown name or option, and whatever the loader itself raises.
    """
    kind, _, path = name.partition(":")
    loaders = {
        "shapes": load_shapes,
        "cifar10": load_cifar10,
        "cifar100": load_cifar100,
        "folder": load_folder,
    }
    # Only a folder takes a path, and it must have one.
    expect(
        kind in loaders and bool(path) == (kind == "folder"),
        f'unknown data set {name!r}: expected "shapes", "cifar10", "cifar100" or "folder:PATH"',
        DataError,
    )
    loader: Any = loaders[kind]
    taken = {"split", "data_dir", "path"}
    known = set(inspect.signature(loader).parameters) - taken
    unknown = sorted(set(options) - known)
    message = f"{kind} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}"
    expect(not unknown, message, DataError)
    if kind == "folder":
        options["path"] = path
    elif kind != "shapes":
        options["data_dir"] = data_dir
    return loader(split=split, **options)
