"""From uint8 images to what the network reads: the paper's augmentation, and newer ones.

The paper's recipe [P 4.1], in its order: pad the raw image with 4 zeros (black pixels) on every
side, cut a random 32x32 window, mirror it half of the time, then subtract the per-pixel mean of
the training images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minran.errors import DataError, expect
from minran.files import explained
from minran.hints import checked

# About the standard deviation of CIFAR-10's training pixels around their per-pixel mean.
DEFAULT_STD = 64.0
# The paper's zeros on every side of a picture.
PAD = 4


@checked(images="(N, H, W, C)", pad=0)
def pad_crop_flip(images: np.ndarray, rng: np.random.Generator, pad: int = PAD) -> np.ndarray:
    """Pad every image with `pad` zeros on each side, cut a random window, mirror half of them.

    images: (N, H, W, C) of any dtype; returns a new array of the same shape and dtype. Each
    image draws its own window of the (2 pad + 1)^2, and its own mirroring (left-right). The
    paper pads the raw image, before the mean is subtracted: uint8, with a black border.

    Raises ShapeError unless images has 4 axes and pad >= 0.

    >>> images = np.ones((2, 32, 32, 3), "uint8")
    >>> data.pad_crop_flip(images, np.random.default_rng(0)).shape
    (2, 32, 32, 3)
    """
    return cut_windows(images, draw_windows(len(images), rng, pad), pad)


def draw_windows(count: int, rng: np.random.Generator, pad: int = PAD) -> np.ndarray:
    """Top, left and mirrored (0 or 1) of the windows of `pad_crop_flip`: (3, count) integers."""
    corners = rng.integers(0, 2 * pad + 1, (2, count))
    return np.concatenate([corners, rng.random((1, count)) < 0.5])


def cut_windows(images: np.ndarray, windows: np.ndarray, pad: int = PAD) -> np.ndarray:
    """The windows that `draw_windows` drew, cut from the padded images."""
    (count, height, width), (top, left, mirrored) = images.shape[:3], windows[..., None]
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = top + np.arange(height)
    # Reading a window's columns from right to left mirrors it.
    columns = left + np.where(mirrored > 0, np.arange(width)[::-1], np.arange(width))
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


AREA, RATIO = (0.08, 1.0), 4 / 3
"""Share of an image's area, and width by height at most, of the windows of `scale_crop_flip`."""
COLOUR = (0.6, 1.4)
"""Factors of brightness, contrast and saturation."""
_TRIES = 10
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # how light red, green and blue look


@checked(images="(N, H, W, 3)")
def scale_crop_flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """ImageNet's augmentation: a random window of any size, mirrored or not, in other colours.

    images: (N, H, W, 3), values 0..255; returns a new array of the same shape and dtype. Each
    image draws a window with 8% to 100% of its area and 3/4 to 4/3 of its shape, which bilinear
    interpolation makes as large as the image; half are mirrored. Then, with factors of 0.6 to
    1.4 and grey the lightness 0.299 R + 0.587 G + 0.114 B,

        brightness  x = b x                     contrast  x = m + c (x - m), m the mean grey of x
        saturation  x = grey + s (x - grey)     and what leaves 0..255 is cut to it.

    Raises ShapeError unless images is (N, H, W, 3).

    >>> images = np.ones((2, 64, 64, 3), "uint8")
    >>> data.scale_crop_flip(images, np.random.default_rng(0)).shape
    (2, 64, 64, 3)
    """
    return vary(images, draw_variations(images.shape, rng))


def draw_variations(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """What `scale_crop_flip` does to images of `shape` (N, H, W, 3): (8, N) numbers.

    Top, left, height and width of the window, mirrored (0 or 1), brightness, contrast, saturation.
    """
    count, height, width = shape[:3]
    area = height * width * rng.uniform(*AREA, (_TRIES, count))
    ratio = RATIO ** rng.uniform(-1, 1, (_TRIES, count))
    sides = np.stack([np.sqrt(area / ratio), np.sqrt(area * ratio)])
    limits = np.array([height, width])[:, None]
    # The first window that lies within the picture; none of ten is rare, and is then cut.
    inside = (sides <= limits[:, None]).all(axis=0)
    sides = np.minimum(sides[:, inside.argmax(axis=0), np.arange(count)], limits)
    corners = rng.random((2, count)) * (limits - sides)
    mirrored = rng.random((1, count)) < 0.5
    return np.concatenate([corners, sides, mirrored, rng.uniform(*COLOUR, (3, count))])


def vary(images: np.ndarray, variations: np.ndarray) -> np.ndarray:
    """The images with what `draw_variations` drew done to them."""
    varied = np.empty_like(images)
    for image, out, numbers in zip(images, varied, variations.T, strict=True):
        top, left, height, width, mirrored, brightness, contrast, saturation = numbers.tolist()
        x = _enlarge(_enlarge(image, top, height, 0), left, width, 1)
        x *= np.float32(brightness)
        mean = (x @ _LUMA).mean()
        x = mean + np.float32(contrast) * (x - mean)
        grey = (x @ _LUMA)[..., None]
        x = np.clip(grey + np.float32(saturation) * (x - grey), 0, 255)
        x = x[:, ::-1] if mirrored else x
        out[...] = np.rint(x) if images.dtype.kind in "iu" else x
    return varied


def _enlarge(image: np.ndarray, start: float, length: float, axis: int) -> np.ndarray:
    """Spread `length` pixels of an axis, from `start` on, over all of it, in float32."""
    size = image.shape[axis]
    # The centres of the new pixels, in pixels of the old ones; beyond the border is the border.
    places = np.clip(start + (np.arange(size) + 0.5) * length / size - 0.5, 0, size - 1)
    before = places.astype(int)
    share = np.expand_dims((places - before).astype(np.float32), (1 - axis, 2))
    low, high = (
        image.take(at, axis).astype(np.float32, copy=False)
        for at in (before, np.minimum(before + 1, size - 1))
    )
    return low + share * (high - low)


@checked(images="(N, H, W, C)", size=0)
def cutout(
    images: np.ndarray, rng: np.random.Generator, size: int = 8, fill: float = 0.0
) -> np.ndarray:
    """Overwrite one square of each image with `fill` (DeVries and Taylor, 2017).

    images: (N, H, W, C); returns a new array of the same shape and dtype. The square has `size`
    pixels a side and a uniformly random centre, so it may hang over the border. After the mean is
    subtracted, the default fill of 0 is the mean image.

    Raises ShapeError unless images has 4 axes and size >= 0.

    >>> ones = np.ones((1, 8, 8, 1))
    >>> int((data.cutout(ones, np.random.default_rng(0), size=2) == 0).sum())
    4
    """
    return hide_squares(images, draw_squares(images.shape, rng, size), size, fill)


def draw_squares(shape: tuple[int, ...], rng: np.random.Generator, size: int) -> np.ndarray:
    """Top and left of the squares of `cutout` in images of `shape` (N, H, W, C): (2, N)."""
    return np.stack([rng.integers(0, side, shape[0]) - size // 2 for side in shape[1:3]])


def hide_squares(
    images: np.ndarray, squares: np.ndarray, size: int, fill: float = 0.0
) -> np.ndarray:
    """The images with the squares that `draw_squares` drew overwritten."""
    (height, width), (top, left) = images.shape[1:3], squares[..., None]
    row, column = np.arange(height), np.arange(width)
    in_rows = (row >= top) & (row < top + size)
    in_columns = (column >= left) & (column < left + size)
    hidden = in_rows[:, :, None] & in_columns[:, None, :]
    return np.where(hidden[..., None], images.dtype.type(fill), images)


@checked()
def mixup(
    images: np.ndarray, targets: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blend every image, and its target, with another of the batch (Zhang et al., 2018).

    x' = t x_i + (1 - t) x_j and y' = t y_i + (1 - t) y_j, with one t ~ Beta(alpha, alpha) for the
    batch and j a random permutation. images: (N, H, W, C) floats; targets: (N, K) probabilities;
    returns both blended, in their own dtypes.

    Raises ShapeError when images are not floats, targets are not (N, K), or alpha <= 0.
    """
    kind, count = images.dtype, len(images)
    expect(kind.kind == "f", f"mixup: images must be floats (preprocess), got {kind}")
    good = targets.ndim == 2 and len(targets) == count and targets.dtype.kind == "f"
    found = f"{targets.shape} {targets.dtype}"
    expect(good, f"mixup: targets must be ({count}, K) probabilities, got {found}")
    expect(alpha > 0, f"mixup: alpha must be positive, got {alpha}")
    share = rng.beta(alpha, alpha)
    partner = rng.permutation(len(images))

    def blend(a: np.ndarray) -> np.ndarray:
        t = a.dtype.type(share)
        return t * a + (1 - t) * a[partner]

    return blend(images), blend(targets)


@checked(num_classes=1)
def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return y[n, k] = 1 if labels[n] = k else 0, as (N, K) float32.

    Raises ShapeError unless labels is (N,) integers in [0, K).

    >>> data.one_hot(np.array([1, 0]), 3)
    array([[0., 1., 0.],
           [1., 0., 0.]], dtype=float32)
    """
    message = f"one_hot: labels must be (N,) integers, got {labels.shape} {labels.dtype}"
    expect(labels.ndim == 1 and labels.dtype.kind in "iu", message)
    outside = (labels < 0) | (labels >= num_classes)
    message = f"one_hot: labels must lie in 0..{num_classes - 1}, got {labels[outside][:1]}"
    expect(not outside.any(), message)
    encoded = np.zeros((len(labels), num_classes), np.float32)
    encoded[np.arange(len(labels)), labels] = 1
    return encoded


@checked()
def per_pixel_mean(images: np.ndarray) -> np.ndarray:
    """Return the mean image, mean[h, w, c] = (1/N) sum_n images[n, h, w, c].

    images: (N, H, W, C) with N >= 1; returns (H, W, C) float32, summed in float64.

    >>> data.per_pixel_mean(np.array([0, 255], "uint8").reshape(2, 1, 1, 1)).item()
    127.5
    """
    message = f"per_pixel_mean: images must be (N, H, W, C) with N >= 1, got {images.shape}"
    expect(images.ndim == 4 and len(images) > 0, message)
    kind = images.dtype
    expect(kind.kind in "uif", f"per_pixel_mean: images must be numbers, got {kind}")
    return images.mean(axis=0, dtype=np.float64).astype(np.float32)


@checked(mean="(H, W, C)")
@dataclass(frozen=True)
class Preprocess:
    """Turn images into network inputs: (x - mean) / std, x in 0..255.

    mean: (H, W, C) float32, the training images' mean (`fit`); std: one number for all
    pixels. The paper does not divide: std = 1. Division by a constant does not change what its
    network can compute or how it trains, as batch normalisation follows the stem's convolution
    and takes it out again. With 64 the inputs have a spread of about 1, as He initialisation
    assumes.

    >>> images = data.load_shapes(count=20).images
    >>> prepare = data.Preprocess(data.per_pixel_mean(images))
    >>> prepare(images).dtype, bool(abs(prepare(images).mean()) < 1e-4)
    (dtype('float32'), True)
    """

    mean: np.ndarray
    std: float = DEFAULT_STD

    def __post_init__(self) -> None:
        expect(self.std > 0, f"Preprocess: std must be positive, got {self.std}", DataError)

    @classmethod
    def fit(cls, images: np.ndarray, std: float = DEFAULT_STD, mean: str = "pixel") -> Preprocess:
        """Take the statistics of the training images, (N, H, W, C) uint8.

        mean: of each "pixel", or of each "channel", the same at all positions: better where there
        are few images or large ones, whose mean image is mostly noise.
        """
        known = f'Preprocess: mean must be "pixel" or "channel", got {mean!r}'
        expect(mean in ("pixel", "channel"), known, DataError)
        picture = per_pixel_mean(images)
        if mean == "channel":
            picture[...] = picture.mean(axis=(0, 1), dtype=np.float64)
        return cls(picture, std)

    @checked()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return (images - mean) / std as float32; images: (N, H, W, C).

        Raises ShapeError when the images have another size than the mean.
        """
        self.expect_size(images)
        centred = np.subtract(images, self.mean, dtype=np.float32)
        centred /= np.float32(self.std)
        return centred

    def resized(self, size: int) -> Preprocess:
        """For square images of another size. Raises DataError unless the mean is a channel's."""
        mean = self.mean[:1, :1]
        message = f"the mean of each pixel was subtracted, so images of {size} pixels have none"
        expect(bool((self.mean == mean).all()), message, DataError)
        return replace(self, mean=np.tile(mean, (size, size, 1)))

    def expect_size(self, images: np.ndarray) -> None:
        """Raise ShapeError when the images have another size than the mean."""
        size, own = images.shape[1:], self.mean.shape
        expect(size == own, f"Preprocess: images of shape {own} expected, got {size}")

    @checked()
    def undo(self, inputs: np.ndarray) -> np.ndarray:
        """Return the uint8 images that gave network inputs, (N, H, W, C), to look at them."""
        self.expect_size(inputs)
        return np.clip(np.rint(inputs * self.std + self.mean), 0, 255).astype(np.uint8)

    def state(self) -> dict[str, np.ndarray]:
        """Return the statistics as a plain dictionary of arrays, for a checkpoint."""
        return {"mean": self.mean, "std": np.array(self.std)}

    @classmethod
    @checked()
    def from_state(cls, state: dict[str, Any]) -> Preprocess:
        """Make the Preprocess that `state()` described.

        Raises DataError when the dictionary lacks an entry or holds another one.
        """
        message = f"Preprocess: expected the entries mean and std, got {sorted(state)}"
        expect(set(state) == {"mean", "std"}, message, DataError)
        wrong = "Preprocess: mean and std must be numbers: "
        with explained(DataError, wrong, kinds=(TypeError, ValueError)):
            mean, std = np.asarray(state["mean"], dtype=np.float32), float(state["std"])
        return cls(mean, std)
