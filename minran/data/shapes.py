"""The built-in shapes data: coloured objects on cluttered backgrounds, with their true masks.

Nothing is downloaded: every picture is computed from a seed. One object of ten classes lies at a
random place, in a random size, rotation and colour, on a textured background among small strokes
and dots. A linear classifier on the pixels fails (there is no pixel where a class shows), a small
convolutional network succeeds, and the exact mask of the object is known, so that an attention
mask can be scored against it.
"""

from __future__ import annotations

import numpy as np

from minran.data.dataset import SPLITS, Dataset, check_split
from minran.data.outlines import CLASS_NAMES, OUTLINES
from minran.data.scenery import (
    blend,
    oklch_to_srgb,
    paint_backgrounds,
    paint_distractors,
    pixel_grid,
    uniform,
)
from minran.errors import DataError, expect
from minran.hints import checked

DEFAULT_COUNTS = {"train": 8000, "test": 2000}
SUPERSAMPLING = 3
# Pictures are drawn in blocks, each from its own random stream, so that a smaller `count` gives
# the beginning of a larger one, and so that the arrays in work fit the processor's cache.
BLOCK = 100


@checked(DataError)
def load_shapes(
    split: str = "train", count: int | None = None, seed: int = 0, size: int = 32
) -> Dataset:
    """Draw `count` pictures of the shapes data (8,000 for training, 2,000 for testing by default).

    images: (count, size, size, 3) uint8; labels: (count,) int64, every class ten times in every
    100 pictures; masks: (count, size, size) bool, True where the object covers at least half of
    the pixel. The same arguments give the same bytes (on another processor a colour may round to
    its neighbour), a smaller count gives the first pictures of a larger one, and train and test
    pictures come from different random streams.

    Raises DataError for an unknown split, a count below 1, a size below 16 or a negative seed.

    >>> shapes = data.load_shapes("test", count=20)
    >>> shapes.images.shape, shapes.masks.shape, shapes.class_names[shapes.labels[0]]
    ((20, 32, 32, 3), (20, 32, 32), 'bars')
    """
    check_split(split)
    if count is None:
        count = DEFAULT_COUNTS[split]
    expect(count >= 1, f"load_shapes: count must be at least 1, got {count}", DataError)
    expect(size >= 16, f"load_shapes: size must be at least 16, got {size}", DataError)
    expect(seed >= 0, f"load_shapes: seed must not be negative, got {seed}", DataError)

    images = np.empty((count, size, size, 3), np.uint8)
    labels = np.empty(count, np.int64)
    masks = np.empty((count, size, size), np.bool_)
    for block, start in enumerate(range(0, count, BLOCK)):
        rng = np.random.default_rng([SPLITS.index(split), seed, block])
        part = slice(start, min(start + BLOCK, count))
        drawn = _draw_block(rng, size)
        images[part], labels[part], masks[part] = (a[: part.stop - start] for a in drawn)
    return Dataset(images, labels, CLASS_NAMES, "shapes", masks)


def _draw_block(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw BLOCK pictures: background, then distractors, then the object, then sensor noise."""
    labels = rng.permutation(np.arange(BLOCK) % len(OUTLINES))
    object_lightness, background_lightness = _contrasting_lightness(rng)
    canvas = paint_backgrounds(rng, background_lightness, size)
    canvas = paint_distractors(rng, canvas, object_lightness)

    coverage = _object_coverage(rng, labels, size)
    chroma, hue = uniform(rng, 0.12, 0.22, BLOCK), uniform(rng, 0, 2 * np.pi, BLOCK)
    colour = oklch_to_srgb(object_lightness, chroma, hue)[:, None, None]
    canvas = blend(canvas, coverage, _shading(rng, size) * colour)
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    canvas += uniform(rng, 0.005, 0.02, (BLOCK, 1, 1, 1)) * noise
    return np.rint(255 * np.clip(canvas, 0, 1)).astype(np.uint8), labels, coverage >= 0.5


def _contrasting_lightness(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Choose lightnesses of object and background, (BLOCK,) each, bright on dark or the reverse."""
    bright_object = rng.random(BLOCK) < 0.5
    bright, dark = uniform(rng, 0.72, 0.88, BLOCK), uniform(rng, 0.28, 0.45, BLOCK)
    # A dark object is drawn a little lighter than a dark background: near black, hues vanish.
    on_dark, on_bright = (bright, dark), (dark + 0.12, bright + 0.04)
    return (
        np.where(bright_object, on_dark[0], on_bright[0]),
        np.where(bright_object, on_dark[1], on_bright[1]),
    )


def _shading(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a slow light-to-dark factor over each picture, (BLOCK, size, size, 1), around 1."""
    rows, columns = pixel_grid(size)
    angle = uniform(rng, 0, 2 * np.pi, (BLOCK, 1, 1))
    slope = np.cos(angle) * (columns - 0.5) + np.sin(angle) * (rows - 0.5)
    return (1 + 0.35 * slope)[..., None]


def _object_coverage(rng: np.random.Generator, labels: np.ndarray, size: int) -> np.ndarray:
    """Return the share of each pixel that the object covers, (BLOCK, size, size) float32.

    The outline is tested at SUPERSAMPLING^2 points of every pixel, in the object's frame:
    (u, v) = R(-angle) (point - centre) / radius.
    """
    each = (BLOCK, 1, 1)
    radius, angle = uniform(rng, 0.26, 0.4, each), uniform(rng, 0, 2 * np.pi, each)
    # The whole object stays inside the picture, so no mask is cut by the border.
    row, column = radius + uniform(rng, 0, 1, (2, *each)) * (1 - 2 * radius)
    cosine, sine = np.cos(angle) / radius, np.sin(angle) / radius

    rows, columns = pixel_grid(size, SUPERSAMPLING)
    coverage = np.empty((BLOCK, size, size), np.float32)
    for label, outline in enumerate(OUTLINES):
        at = labels == label
        du, dv = columns - column[at], rows - row[at]
        inside = outline(cosine[at] * du + sine[at] * dv, cosine[at] * dv - sine[at] * du)
        points = inside.reshape(-1, size, SUPERSAMPLING, size, SUPERSAMPLING)
        coverage[at] = points.sum(axis=(2, 4), dtype=np.float32) / SUPERSAMPLING**2
    return coverage
