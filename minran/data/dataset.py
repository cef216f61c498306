"""The one container that every loader of images returns, and noise in its labels."""

from __future__ import annotations

import copy
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minran.errors import DataError, expect, shortened
from minran.hints import checked

_ALL, _SAMPLE = 1 << 30, 1 << 28  # bytes of pictures, see `Dataset.sample`
SPLITS = ("train", "test")


def need(condition: bool, message: str) -> None:
    """Raise DataError(message) unless `condition` holds."""
    expect(condition, message, DataError)


@checked(DataError)
class Pictures:
    """Images (N, H, W, C) uint8 that are read when they are asked for, as rows of an array.

    `pictures[index]` takes what an array's first axis takes and returns an array in memory. A
    class of your own has `read`, and calls this `__init__` with the shape. Threads may call `read`
    at the same time, and what it returns for a place must never change.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        need(min(shape) >= 0, f"Pictures: shape must be (N, H, W, C), got {shape}")
        self.places, self._picture = np.arange(shape[0]), shape[1:]

    def read(self, places: np.ndarray) -> np.ndarray:
        """The images number `places`, (n,) integers in [0, N): (n, H, W, C) uint8."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return len(self.places), *self._picture

    @property
    def size(self) -> int:
        """How many numbers all images have."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> np.ndarray:
        places = self.places[index]
        pictures = self.read(np.atleast_1d(places))
        wanted, found = (*np.shape(np.atleast_1d(places)), *self._picture), pictures.shape
        good = found == wanted and pictures.dtype == self.dtype
        need(good, f"Pictures.read must return {wanted} uint8, got {found} {pictures.dtype}")
        return pictures if np.ndim(places) else pictures[0]

    def select(self, index: Any) -> Pictures:
        """The images at `index`, not read yet."""
        chosen = copy.copy(self)
        chosen.places = self.places[index]
        return chosen

    def checksum(self) -> int:
        """What tells these images from others, as far as that is known without reading them."""
        return zlib.crc32(self.places.tobytes())


@checked(DataError)
@dataclass(frozen=True)
class Dataset:
    """Images with their labels.

    images: (N, H, W, C) uint8, in memory or read when asked for (`Pictures`); labels: (N,) int64
    in [0, K); class_names: K names;
    masks: (N, H, W) bool, True where the object is, or None where nobody drew it.

    Raises DataError when the arrays do not fit together.
    """

    images: np.ndarray | Pictures
    labels: np.ndarray
    class_names: tuple[str, ...]
    name: str
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.images.shape
        for what, kind, wanted in (
            ("images", np.uint8, shape if len(shape) == 4 else "(N, H, W, C)"),
            ("labels", np.int64, shape[:1]),
            ("masks", np.bool_, shape[:3]),
        ):
            array = getattr(self, what)
            if array is not None:
                good = array.shape == wanted and array.dtype == kind
                message = f"{what} must be {wanted} {np.dtype(kind)}"
                need(good, f"{self.name}: {message}, got {array.shape} {array.dtype}")
        check_labels(self.labels, len(self.class_names), self.name)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    def subset(self, indices: slice | Sequence[int] | np.ndarray) -> Dataset:
        """Return the data set of the images at `indices`, in that order."""
        index = indices
        if not isinstance(indices, slice):
            index = np.asarray(indices)
            # A mask of the pictures' own length is an index too.
            whole = index.ndim == 1 and (index.dtype.kind in "iub" or not index.size)
            need(whole, f"{self.name}: indices must be whole numbers, got {shortened(indices)}")
            index = index if index.size else index.astype(int)
        try:
            images, labels = self.images, self.labels[index]
            images = images.select(index) if isinstance(images, Pictures) else images[index]
        except IndexError as error:
            raise DataError(f"{self.name}: indices do not fit: {error}") from error
        masks = None if self.masks is None else self.masks[index]
        return replace(self, images=images, labels=labels, masks=masks)

    def checksum(self) -> int:
        """Of all images; of those that are read when asked for what is known without reading."""
        images = self.images
        return images.checksum() if isinstance(images, Pictures) else zlib.crc32(images.tobytes())

    def sample(self) -> Dataset:
        """The images, in memory, that statistics are taken of.

        All, if they have at most 1 GiB; else images at equal distances, 256 MiB of them but no
        more than 4,096. Whether the images are in memory or read when asked for does not matter.
        """
        images, bytes_each = self.images, int(np.prod(self.images.shape[1:]))
        count = len(self)
        if count * bytes_each > _ALL:
            count = min(4096, max(1, _SAMPLE // bytes_each))
        elif isinstance(images, np.ndarray):
            return self
        part = self.subset(np.arange(count) * len(self) // count)
        return replace(part, images=part.images[:])


@checked(DataError, labels="(N,)")
def in_turns(labels: np.ndarray) -> np.ndarray:
    """The order in which classes take turns: the first image of each, the second of each, ...

    labels: (N,) integers -> the numbers of the images, (N,); within a turn by class.

    >>> data.in_turns(np.array([0, 0, 0, 1, 2, 2])).tolist()
    [0, 3, 4, 1, 5, 2]
    """
    turns = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        own = labels == label
        turns[own] = np.arange(own.sum())
    return np.lexsort((labels, turns))


def check_labels(labels: np.ndarray, num_classes: int, source: str) -> None:
    """Raise DataError naming `source` and the first label outside [0, num_classes)."""
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        first, words = (int(wrong[0]), f"(expected 0..{num_classes - 1}; {wrong.size} such labels)")
        label = f"label {int(labels[first])} of record {first}"
        raise DataError(f"{source}: {label} is out of range {words}")


@checked(DataError, num_classes=2)
def label_noise_matrix(num_classes: int, clean_ratio: float) -> np.ndarray:
    """Return the transition matrix of Eq. 7: a label stays with probability r = clean_ratio.

    Q[i, i] = r and Q[i, j] = (1 - r) / (K - 1) elsewhere: row i holds the probabilities of the
    labels that an image of class i gets. Returns (K, K) float64. The paper's Table 5 prints the
    noise level 1 - r.

    Raises DataError unless K >= 2 and 0 <= r <= 1.

    >>> data.label_noise_matrix(3, clean_ratio=0.5)
    array([[0.5 , 0.25, 0.25],
           [0.25, 0.5 , 0.25],
           [0.25, 0.25, 0.5 ]])
    """
    need(0 <= clean_ratio <= 1, f"clean_ratio must lie in [0, 1], got {clean_ratio}")
    matrix = np.full((num_classes, num_classes), (1 - clean_ratio) / (num_classes - 1))
    np.fill_diagonal(matrix, clean_ratio)
    return matrix


@checked(DataError)
def corrupt_labels(labels: np.ndarray, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a new label for every label from its row of the transition matrix.

    labels: (N,) integers in [0, K); matrix: (K, K), rows summing to 1; returns (N,) int64.

    Raises DataError when the matrix is not a transition matrix or a label has no row in it.
    """
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    need(square, f"the transition matrix must be square, got shape {matrix.shape}")
    rows = "every row of the transition matrix must hold probabilities that sum to 1"
    sums = matrix.sum(axis=1)
    need(bool((matrix >= 0).all()) and np.allclose(sums, 1), f"{rows}, got row sums {sums}")
    whole = labels.ndim == 1 and labels.dtype.kind in "iu"
    need(whole, f"labels must be (N,) integers, got {labels.shape} {labels.dtype}")
    if labels.size:
        low, high = labels.min(), labels.max()
        message = f"labels must lie in 0..{len(matrix) - 1}, got {low}..{high}"
        need(bool(low >= 0) and bool(high < len(matrix)), message)
    # Inverse transform sampling: the new label is the number of cumulative probabilities that a
    # uniform number has passed. The last one, 1 up to rounding, is left out: nothing passes it.
    cumulative = np.cumsum(matrix, axis=1)[:, :-1]
    uniform = rng.random((len(labels), 1))
    return (uniform >= cumulative[labels]).sum(axis=1, dtype=np.int64)
