"""Data: CIFAR-10, CIFAR-100, the built-in shapes, your own images; augmentation; batches."""

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
    scale_crop_flip,
)
from minran.data.cifar import data_folder, load_cifar10, load_cifar100
from minran.data.dataset import (
    Dataset,
    Pictures,
    corrupt_labels,
    in_turns,
    label_noise_matrix,
    need,
)
from minran.data.folder import load_folder
from minran.data.loader import Batch, Loader
from minran.data.pictures import read_pictures
from minran.data.shapes import load_shapes
from minran.errors import DataError
from minran.hints import checked

__all__ = [
    "DEFAULT_STD",
    "Batch",
    "Dataset",
    "Loader",
    "Pictures",
    "Preprocess",
    "corrupt_labels",
    "cutout",
    "data_folder",
    "in_turns",
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
    "scale_crop_flip",
]

_LOADERS: dict[str, Any] = {
    "shapes": load_shapes,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "folder": load_folder,
}


@checked(DataError)
def load(
    name: str, split: str = "train", data_dir: str | os.PathLike[str] | None = None, **options: Any
) -> Dataset:
    """Load a data set by name: "shapes", "cifar10", "cifar100" or "folder:PATH".

    data_dir: where CIFAR lies (the others have no use for it); options: those of `load_shapes`,
    `load_cifar10`, `load_cifar100` or `load_folder`. Raises DataError, as these do.
    """
    kind, _, path = name.partition(":")
    # Only a folder takes a path, and it must have one.
    good = kind in _LOADERS and bool(path) == (kind == "folder")
    known = '"shapes", "cifar10", "cifar100" or "folder:PATH"'
    need(good, f"unknown data set {name!r}: expected {known}")
    loader = _LOADERS[kind]
    takes = set(inspect.signature(loader).parameters) - {"split", "data_dir", "path"}
    unknown = ", ".join(sorted(set(options) - takes))
    need(not unknown, f"{kind} has no option {unknown}; it has {', '.join(sorted(takes))}")
    if kind == "folder":
        options["path"] = path
    elif kind != "shapes":
        options["data_dir"] = data_dir
    return loader(split=split, **options)
