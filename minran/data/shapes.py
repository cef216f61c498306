"""The built-in shapes data: coloured objects on cluttered backgrounds, with their true masks.

Every image is computed from a seed: one object of ten classes at a random position, in a random
size, rotation and colour, on a textured background among small strokes and dots. A linear
classifier on the pixels fails, a small convolutional network succeeds, and the exact mask of the
object is known, so that an attention mask can be scored against it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minran.data.dataset import SPLITS, Dataset
from minran.errors import DataError
from minran.hints import checked

DEFAULT_COUNTS = {"train": 8000, "test": 2000}
SUPERSAMPLING = 3
_SINE_OF_60 = np.float32(np.sqrt(3) / 2)
# Pictures are drawn in blocks, each from its own random stream, so that a smaller `count` gives
# the beginning of a larger one, and so that the arrays in work fit the processor's cache.
BLOCK = 100


@checked(DataError, count=1, seed=0, size=16, split=SPLITS)
def load_shapes(
    split: str = "train", count: int | None = None, seed: int = 0, size: int = 32
) -> Dataset:
    """Draw `count` images of the shapes data (8,000 for training, 2,000 for testing by default).

    images: (count, size, size, 3) uint8; labels: (count,) int64, every class ten times in every
    100 images; masks: (count, size, size) bool, True where the object covers half of the pixel.
    The same arguments give the same bytes (on another processor a colour may round to its
    neighbour), and a smaller count gives the first images of a larger one.

    Raises DataError for an unknown split, a count below 1, a size below 16 or a negative seed.

    >>> shapes = data.load_shapes("test", count=20)
    >>> shapes.images.shape, shapes.masks.shape, shapes.class_names[shapes.labels[0]]
    ((20, 32, 32, 3), (20, 32, 32), 'bars')
    """
    count = DEFAULT_COUNTS[split] if count is None else count
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
    """Draw BLOCK images: background, then distractors, then the object, then sensor noise."""
    labels = rng.permutation(np.arange(BLOCK) % len(OUTLINES))
    # Bright on dark or the reverse; a dark object is drawn a little lighter than a dark
    # background: near black, hues vanish.
    bright_object = rng.random(BLOCK) < 0.5
    bright, dark = uniform(rng, 0.72, 0.88, BLOCK), uniform(rng, 0.28, 0.45, BLOCK)
    pairs = (bright, dark), (dark + 0.12, bright + 0.04)
    lightness, background_lightness = np.where(bright_object, *pairs)
    canvas = paint_backgrounds(rng, background_lightness, size)
    canvas = paint_distractors(rng, canvas, lightness)

    coverage = _object_coverage(rng, labels, size)
    chroma, hue = uniform(rng, 0.12, 0.22, BLOCK), uniform(rng, 0, 2 * np.pi, BLOCK)
    colour = oklch_to_srgb(lightness, chroma, hue)[:, None, None]
    canvas = blend(canvas, coverage, _shading(rng, size) * colour)
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    canvas += uniform(rng, 0.005, 0.02, (BLOCK, 1, 1, 1)) * noise
    return np.rint(255 * np.clip(canvas, 0, 1)).astype(np.uint8), labels, coverage >= 0.5


def _shading(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a slow light-to-dark factor over each image, (BLOCK, size, size, 1), around 1."""
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
    for label, outline in enumerate(OUTLINES.values()):
        at = labels == label
        du, dv = columns - column[at], rows - row[at]
        inside = outline(cosine[at] * du + sine[at] * dv, cosine[at] * dv - sine[at] * du)
        points = inside.reshape(-1, size, SUPERSAMPLING, size, SUPERSAMPLING)
        coverage[at] = points.sum(axis=(2, 4), dtype=np.float32) / SUPERSAMPLING**2
    return coverage


def _between(low: float, x: np.ndarray, high: float) -> np.ndarray:
    return (low <= x) & (x <= high)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Pentagram: the five lines through its tips; a point inside is beyond at most one of them."""
    beyond = np.zeros(u.shape, dtype=np.int8)
    for angle in 2 * np.pi * np.arange(5) / 5:
        direction = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        beyond += direction[0] * u + direction[1] * v > np.float32(np.cos(2 * np.pi / 5))
    return beyond <= 1


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """x^2 + (5 y / 4 - sqrt|x|)^2 <= 1, moved and scaled into the unit disc."""
    x, y = 1.29 * u, 1.29 * v + 0.2
    bent = 1.25 * y - np.sqrt(np.abs(x))
    return x * x + bent * bent <= 1


# The ten outlines, as inequalities in the plane: which points (u, v) in the object's own frame,
# arrays of one shape, are inside? Every outline lies in the unit disc, and none becomes another by
# rotation, mirroring or scaling.
OUTLINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": lambda u, v: u * u + v * v <= 0.85**2,
    "ring": lambda u, v: _between(0.5**2, u * u + v * v, 0.93**2),
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 0.7,
    # Three half-planes at 120 degrees, each at half the circumscribed radius.
    "triangle": lambda u, v: np.maximum(v, _SINE_OF_60 * np.abs(u) - 0.5 * v) <= 0.5,
    # Two bars of one length that cross at right angles.
    "cross": lambda u, v: (
        (np.minimum(np.abs(u), np.abs(v)) <= 0.24) & (np.maximum(np.abs(u), np.abs(v)) <= 0.92)
    ),
    "star": _star,
    # A disc without a smaller disc that leaves it on one side.
    "crescent": lambda u, v: (u * u + v * v <= 0.95**2) & ((u - 0.42) ** 2 + v * v >= 0.72**2),
    # A shaft along u and a triangular head whose tip is at u = 0.98.
    "arrow": lambda u, v: (
        (_between(-0.95, u, 0.2) & (np.abs(v) <= 0.18))
        | ((u >= 0.1) & (np.abs(v) <= 0.82 * (0.98 - u)))
    ),
    # Two parallel bars with a gap between them.
    "bars": lambda u, v: (np.abs(u) <= 0.75) & _between(0.22, np.abs(v), 0.62),
    "heart": _heart,
}
CLASS_NAMES = tuple(OUTLINES)

# OKLab (B. Ottosson, 2020): equal steps of L look like equal steps of lightness whatever the hue,
# so a difference of L between object and background guarantees that the object can be seen.
_LAB_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def oklch_to_srgb(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Convert OKLCH colours to sRGB in [0, 1], clipping what a screen cannot show.

    lightness in [0, 1], chroma from 0 (grey), hue in radians: (...) each; returns (..., 3) float32.
    """
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    linear = np.clip((lab @ _LAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded.astype(np.float32)


def blend(canvas: np.ndarray, coverage: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Paint over: canvas + coverage (colour - canvas).

    canvas: (N, H, W, 3); coverage: (N, H, W) in [0, 1]; colour: broadcastable to canvas.
    """
    return canvas + coverage[..., None] * (colour - canvas)


def pixel_grid(size: int, samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (1, S, 1) and columns (1, 1, S) of sample points in [0, 1], S = size samples."""
    points = ((np.arange(size * samples) + 0.5) / (size * samples)).astype(np.float32)
    return points[None, :, None], points[None, None, :]


def uniform(
    rng: np.random.Generator, low: float, high: float, shape: int | tuple[int, ...]
) -> np.ndarray:
    """Draw from [low, high) in float32, so that whole images stay float32."""
    return np.float32(low) + np.float32(high - low) * rng.random(shape, dtype=np.float32)


def paint_backgrounds(rng: np.random.Generator, lightness: np.ndarray, size: int) -> np.ndarray:
    """Fill each image with a pattern between two colours near its own lightness.

    lightness: (N,); returns (N, size, size, 3) float32. The patterns are gradients, stripes,
    checks and clouds, one kind an image.
    """
    count = len(lightness)
    half_step = uniform(rng, 0.03, 0.09, count)
    hue = uniform(rng, 0, 2 * np.pi, count)
    other_hue = hue + rng.normal(0, 0.9, count)
    first = oklch_to_srgb(lightness - half_step, uniform(rng, 0.02, 0.1, count), hue)
    second = oklch_to_srgb(lightness + half_step, uniform(rng, 0.02, 0.1, count), other_hue)

    # All patterns are made of three plane waves: the kinds differ in the waves' frequencies (in
    # periods a picture) and in how they combine.
    kind = rng.integers(0, 4, count)[:, None, None]
    gradient, stripes, checks = kind == 0, kind == 1, kind == 2
    shape = (3, count, 1, 1)
    frequency = uniform(rng, 0.6, 3.0, shape)
    angle, phase = uniform(rng, 0, 2 * np.pi, (2, *shape))
    fine = uniform(rng, 3.0, 7.0, (count, 1, 1))
    frequency[0] = np.select([gradient, stripes, checks], [0.4, fine, 0.6 * fine], frequency[0])
    frequency[1] = np.where(checks, frequency[0], frequency[1])
    angle[1] = np.where(checks, angle[0] + np.pi / 2, angle[1])

    rows, columns = pixel_grid(size)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    waves = np.sin(2 * np.pi * frequency * along + phase)
    clouds = np.clip(0.5 * waves.sum(axis=0), -1, 1)
    pattern = np.select([gradient | stripes, checks], [waves[0], waves[0] * waves[1]], clouds)
    background = np.broadcast_to(first[:, None, None], (count, size, size, 3))
    return blend(background, 0.5 + 0.5 * pattern, second[:, None, None])


def paint_distractors(
    rng: np.random.Generator, canvas: np.ndarray, lightness: np.ndarray
) -> np.ndarray:
    """Paint up to five short strokes and dots all over each image, as light as its object.

    canvas: (N, S, S, 3); lightness: (N,) of each image's object; returns (N, S, S, 3).
    A stroke is the set of points within a radius of a segment; a segment of no length is a dot.
    """
    count, size = len(canvas), canvas.shape[1]
    each = (count, 1, 1)
    rows, columns = pixel_grid(size)
    for _ in range(5):
        is_stroke, is_present = rng.random(each) < 0.6, rng.random(each) < 0.7
        half_length = np.where(is_stroke, uniform(rng, 0.03, 0.1, each), np.float32(0))
        radius = uniform(rng, 0.014, 0.035, each)
        angle = uniform(rng, 0, np.pi, each)
        du, dv = columns - uniform(rng, 0, 1, each), rows - uniform(rng, 0, 1, each)
        along = np.cos(angle) * du + np.sin(angle) * dv
        across = np.cos(angle) * dv - np.sin(angle) * du
        overshoot = np.maximum(np.abs(along) - half_length, 0)
        distance = np.sqrt(overshoot * overshoot + across * across)
        # An edge one pixel wide: full inside, none outside, linear between.
        coverage = np.clip((radius - distance) * size + 0.5, 0, 1) * is_present

        tone = np.clip(lightness + rng.normal(0, 0.06, count), 0.1, 0.97)
        chroma, hue = uniform(rng, 0.06, 0.18, count), uniform(rng, 0, 2 * np.pi, count)
        canvas = blend(canvas, coverage, oklch_to_srgb(tone, chroma, hue)[:, None, None])
    return canvas
