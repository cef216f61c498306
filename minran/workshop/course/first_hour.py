"""The task of notebook 00b: three signs in an image, of which the framed one counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minran.errors import DataError
from minran.hints import checked

SIZE, SIGNS = 20, ("ring", "plus", "saltire", "tee")
_DRAWN = """
### .#. #.# ###
#.# ### .#. .#.
### .#. #.# .#.
"""
_SIGNS = np.array([[list(word) for word in row.split()] for row in _DRAWN.split("\n")[1:-1]])
_PIXELS = (_SIGNS == "#").transpose(1, 0, 2)
_FRAME = np.pad(np.zeros((7, 7)), 1, constant_values=0.5)


class FramedSigns(NamedTuple):
    """Images (N, 20, 20, 1) around 0, their labels (N,), and where the three signs are.

    masks: (N, 20, 20, 1), 1 on the framed sign and one pixel around it, else 0.
    corners: (N, 3, 2), row and column of the upper left pixel of each sign; the framed one first.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    corners: np.ndarray


@checked(DataError, count=1, seed=0)
def framed_signs(count: int, seed: int = 0) -> FramedSigns:
    """Images of three different signs of 3x3 pixels; the kind of the framed one is the label.

    The frame has 9x9 pixels, and two empty pixels lie between it and its sign: a window of 3x3
    sees a part of the frame or of a sign, never both. Noise has the standard deviation 0.15.
    The same arguments give the same images.

    Raises DataError for a count below 1 or a negative seed.

    >>> from minran.course import framed_signs
    >>> framed_signs(2).images.shape
    (2, 20, 20, 1)
    """
    rng = np.random.default_rng(seed)
    images = 0.15 * rng.standard_normal((count, SIZE, SIZE, 1)).astype(np.float32)
    masks = np.zeros_like(images)
    kinds = rng.permuted(np.tile(np.arange(4), (count, 1)), axis=1)[:, :3]
    cells = rng.permuted(np.tile(np.arange(4), (count, 1)), axis=1)[:, :3]
    # A cell of 10x10 pixels for each, within which the frame may move by one.
    corners = 10 * np.stack([cells // 2, cells % 2], axis=2) + rng.integers(3, 5, (count, 3, 2))
    for image, mask, kind, places in zip(images, masks, kinds, corners, strict=True):
        for sign, (row, column) in zip(kind, places, strict=True):
            image[row : row + 3, column : column + 3, 0] += _PIXELS[sign]
        row, column = places[0]
        image[row - 3 : row + 6, column - 3 : column + 6, 0] += _FRAME
        mask[row - 1 : row + 4, column - 1 : column + 4] = 1
    return FramedSigns(images, kinds[:, 0].copy(), masks, corners)
