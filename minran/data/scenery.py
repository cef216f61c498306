"""Colours, backgrounds and distractors of the shapes data."""

from __future__ import annotations

import numpy as np

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
    """Draw from [low, high) in float32, so that whole pictures stay float32."""
    return np.float32(low) + np.float32(high - low) * rng.random(shape, dtype=np.float32)


def paint_backgrounds(rng: np.random.Generator, lightness: np.ndarray, size: int) -> np.ndarray:
    """Fill each picture with a pattern between two colours near its own lightness.

    lightness: (N,); returns (N, size, size, 3) float32. The patterns are gradients, stripes,
    checks and clouds, one kind a picture.
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
    rng: np.random.Generator, canvas: np.ndarray, lightness: np.ndarray, strokes: int = 5
) -> np.ndarray:
    """Paint up to `strokes` short strokes and dots all over each picture, as light as its object.

    canvas: (N, S, S, 3); lightness: (N,) of each picture's object; returns (N, S, S, 3).
    A stroke is the set of points within a radius of a segment; a segment of no length is a dot.
    """
    count, size = len(canvas), canvas.shape[1]
    each = (count, 1, 1)
    rows, columns = pixel_grid(size)
    for _ in range(strokes):
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
