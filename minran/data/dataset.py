"""The one container that every loader of pictures returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from minran.errors import DataError, expect, shortened
from minran.hints import checked

SPLITS = ("train", "test")


@checked(DataError)
@dataclass(frozen=True)
class Dataset:
    """Pictures with their labels, all in memory.

    images: (N, H, W, C) uint8; labels: (N,) int64 in [0, K); class_names: K names;
    masks: (N, H, W) bool, True where the object is, or None where nobody drew it.

    Raises DataError when the arrays do not fit together.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    name: str
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        expect(
            images.ndim == 4 and images.dtype == np.uint8,
            f"{self.name}: images must be (N, H, W, C) uint8, got {images.shape} {images.dtype}",
            DataError,
        )
        expect(
            labels.shape == images.shape[:1] and labels.dtype == np.int64,
            f"{self.name}: labels must be ({len(images)},) int64, "
            f"got {labels.shape} {labels.dtype}",
            DataError,
        )
        check_labels(labels, len(self.class_names), self.name)
        expect(
            self.masks is None
            or (self.masks.shape == images.shape[:3] and self.masks.dtype == np.bool_),
            f"{self.name}: masks must be {images.shape[:3]} bool, got "
            f"{getattr(self.masks, 'shape', None)} {getattr(self.masks, 'dtype', None)}",
            DataError,
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    def subset(self, indices: slice | Sequence[int] | np.ndarray) -> Dataset:
        """Return the data set of the pictures at `indices`, in that order."""
        index = indices
        if not isinstance(indices, slice):
            index = np.asarray(indices)
            # A mask of the pictures' own length is an index too.
            expect(
                index.ndim == 1 and (index.dtype.kind in "iub" or not index.size),
                f"{self.name}: indices must be whole numbers, got {shortened(indices)}",
                DataError,
            )
            index = index if index.size else index.astype(int)
            try:
                self.labels[index]
            except IndexError as error:
                raise DataError(f"{self.name}: indices do not fit: {error}") from error
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            masks=None if self.masks is None else self.masks[index],
        )


def check_labels(labels: np.ndarray, num_classes: int, source: str) -> None:
    """Raise DataError naming `source` and the first label outside [0, num_classes)."""
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{source}: label {int(labels[first])} of record {first} is out of range "
            f"(expected 0..{num_classes - 1}; {wrong.size} such labels)"
        )


def check_split(split: str) -> None:
    """Raise DataError unless `split` is "train" or "test"."""
    expect(split in SPLITS, f'split must be "train" or "test", got {split!r}', DataError)
