"""The masks of a network as arrays: take them out, reduce them to maps, lay them over images.

And the score: how well do masks, and Grad-CAM, mark the objects, against true object masks?
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Tensor
from minran.errors import expect, expect_number
from minran.hints import checked
from minran.inspect.gradients import gradcam
from minran.inspect.probe import as_pictures, attention_modules, watch
from minran.inspect.themes import MAP_COLOURS
from minran.nn import Module
from minran.streams import text_table


@dataclass(frozen=True)
class Attention:
    """What one attention module did to N images (paper section 3).

    mask: M (N, h, w, C); trunk: T (N, h, w, C); output: the gated features
    H = (1 + M) T, or M T under naive attention learning (N, h, w, C).
    """

    name: str
    mask: np.ndarray
    trunk: np.ndarray
    output: np.ndarray

    @property
    def title(self) -> str:
        """Words for figures, see `module_title`."""
        return module_title(self.name)


def module_title(name: str) -> str:
    """Words for a module's name: "stage 1" for stages.0.1, "stage 2, module 3" for stages.1.3."""
    found = re.fullmatch(r"stages\.(\d+)\.(\w+)", name)
    if found is None:
        return name or "attention"
    return f"stage {int(found[1]) + 1}" + ("" if found[2] == "1" else f", module {found[2]}")


@checked()
def attention_maps(model: Module, images: Any, batch_size: int = 64) -> list[Attention]:
    """The mask, trunk and output of every attention module, in order, for some images.

    images: (N, H, W, C) floating-point, prepared as for training. The model runs in evaluation
    mode without gradients, `batch_size` images at a time, and is left as it was. All maps are
    kept: for thousands of images call it in parts. Raises ShapeError if the model has no mask,
    or the images do not fit.

    >>> model = minran.create_model("attention_nano")
    >>> images = np.zeros((2, 32, 32, 3), "float32")
    >>> [(a.name, a.mask.shape) for a in inspect.attention_maps(model, images)]
    [('stages.0.1', (2, 16, 16, 16)), ('stages.1.1', (2, 8, 8, 32))]
    """
    found = attention_modules(model, "attention_maps")
    # `after` reads what the gate put out: the module's H.
    parts = [(name, (id(m.mask), id(m.trunk), id(m.after))) for name, m in found]
    seen: dict[int, list[np.ndarray]] = {part: [] for _, three in parts for part in three}
    gated = {three[2] for _, three in parts}

    def keep(module: Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if id(module) in seen:
            seen[id(module)].append((inputs[0] if id(module) in gated else output).numpy())

    watch(model, images, keep, "attention_maps", batch_size)
    return [
        Attention(name, *(np.concatenate(seen[part]) for part in three)) for name, three in parts
    ]


@checked(mask="(N, h, w, C)")
def channel_mean(mask: np.ndarray) -> np.ndarray:
    """The mean over channels: (N, h, w, C) -> (N, h, w)."""
    return mask.mean(axis=3)


@checked()
def added(attention: Attention) -> np.ndarray:
    """What the mask adds to the trunk under residual learning, H - T = M T, as one map (N, h, w).

    The mean over channels of |M T|: unlike M it is small where there is nothing to weight.
    """
    return np.abs(attention.mask * attention.trunk).mean(axis=3)


@dataclass(frozen=True)
class Channels:
    """Chosen channels of a mask: indices (k,), maps (N, h, w, k), and the rule in words."""

    indices: tuple[int, ...]
    maps: np.ndarray
    rule: str


RULES = {
    "variance": "largest variance over positions, averaged over the images",
    "mean": "largest mean over positions and images",
    "range": "largest difference between highest and lowest position, averaged over the images",
    "spots": "largest skewness over positions (few bright ones), averaged over the images",
}


@checked(mask="(N, h, w, C)", rule=(*RULES, "given"))
def choose_channels(
    mask: np.ndarray, rule: str = "variance", count: int = 3, channels: Sequence[int] | None = None
) -> Channels:
    """The `count` channels of a mask (N, h, w, C) that rank first under a stated rule.

    rule: a key of `RULES` ("variance", "mean", "range", "spots": masks that pick out few
    positions) or "given", which takes `channels` as they are. (The paper does not say how those
    of its Figure 1 were chosen.) Raises ShapeError for an unknown rule or channel.

    >>> mask = np.zeros((1, 2, 2, 3))
    >>> mask[0, 0, 0, 2] = 1  # only channel 2 varies
    >>> inspect.choose_channels(mask, "variance", count=1).indices
    (2,)
    """
    total = mask.shape[3]
    if rule == "given" or channels is not None:
        chosen, words = list(map(int, channels or ())), "given by hand"
        expect(
            bool(chosen) and all(0 <= channel < total for channel in chosen),
            f"choose_channels: give channels from 0 to {total - 1}, got {channels}",
        )
    else:
        expect(1 <= count <= total, f"choose_channels: count must be 1 to {total}, got {count}")
        rank = _rank(np.asarray(mask, np.float64), rule)
        chosen, words = np.argsort(-rank, kind="stable")[:count].tolist(), RULES[rule]
    return Channels(tuple(chosen), mask[..., chosen], words)


def _rank(mask: np.ndarray, rule: str) -> np.ndarray:
    """What the rule compares, for each channel: (N, h, w, C) -> (C,)."""
    if rule == "mean":
        return mask.mean(axis=(0, 1, 2))
    if rule == "range":
        return (mask.max(axis=(1, 2)) - mask.min(axis=(1, 2))).mean(axis=0)
    variance = mask.var(axis=(1, 2))
    if rule == "variance":
        return variance.mean(axis=0)
    # Skewness: mean((m - mean)^3) / std^3. Maps without variance count as 0.
    third = ((mask - mask.mean(axis=(1, 2), keepdims=True)) ** 3).mean(axis=(1, 2))
    scale = variance**1.5
    return np.divide(third, scale, out=np.zeros_like(third), where=scale > 1e-12).mean(axis=0)


@checked(maps="(N, h, w)")
def resize_maps(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, h, w) -> (N, H, W), bilinear; a value stands at the middle of the patch it was made from.

    >>> inspect.resize_maps(np.array([[[0.0, 1.0]]]), (1, 4))
    array([[[0.  , 0.25, 0.75, 1.  ]]], dtype=float32)
    """
    if maps.shape[1:] == size:
        return maps
    array = np.ascontiguousarray(maps[..., None], np.float32)
    return backend.load("numpy").upsample_bilinear2d(array, size, False)[..., 0]


def stretch(maps: np.ndarray) -> np.ndarray:
    """Each map of (N, h, w) from its own lowest to its highest value onto 0..1; a flat one to 0."""
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    return (maps - low) / np.where(span > 0, span, 1)


@checked()
def overlay(
    image: np.ndarray,
    values: np.ndarray,
    strength: float = 0.6,
    limits: tuple[float, float] | None = None,
) -> np.ndarray:
    """An image with a map laid over it: colours for the map, brightness from the image.

    image: (H, W, 3), uint8 or between 0 and 1; values: (h, w), resized to the image. limits:
    the values of the darkest and the brightest colour, None for the map's own lowest and highest.
    strength: 0 shows the image alone, 1 the map alone. Returns (H, W, 3) between 0 and 1.
    Raises ShapeError if the shapes do not fit, or limits fall.
    """
    from matplotlib import colormaps

    expect_number(strength, "overlay: strength", 0, np.nextafter(1, 2))
    picture = as_colours(image)
    expect(values.ndim == 2, f"overlay: the map must be (h, w), got {values.shape}")
    resized = resize_maps(values[None], picture.shape[:2])
    if limits is None:
        level = stretch(resized)[0]
    else:
        low, high = limits
        rising = f"overlay: limits must be two numbers, the lower one first, got {limits}"
        expect(-np.inf < low <= high < np.inf, rising)
        level = np.clip((resized[0] - low) / (high - low or 1), 0, 1)
    heat = colormaps[MAP_COLOURS](level)[..., :3]
    grey = picture @ np.array([0.299, 0.587, 0.114])
    return np.clip((1 - strength) * grey[..., None] + strength * heat, 0, 1)


def as_colours(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) or (H, W, 1) as colours between 0 and 1 (uint8 is divided by 255)."""
    expect(
        image.ndim == 3 and image.shape[2] in (1, 3),
        f"an image must be (H, W, 3) or (H, W, 1), got {image.shape}",
    )
    picture = image / 255 if image.dtype == np.uint8 else np.asarray(image, np.float64)
    expect(
        float(picture.min()) >= -1e-6 and float(picture.max()) <= 1 + 1e-6,
        "an image to show must be uint8 or between 0 and 1; pass the images as they were "
        f"before preparation (got values {picture.min():.3g} to {picture.max():.3g})",
    )
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


@dataclass(frozen=True)
class Scores:
    """Scores of maps over a set of images; `str(scores)` says them in words.

    iou: mean over images of |map and object| / |map or object|, the map cut at `threshold`,
    with its standard error `iou_error`. pointing: share of images whose brightest pixel lies
    in the object. centre_iou, centre_pointing: of a Gaussian around the middle of the image,
    treated in the same way: what one gets without looking.
    """

    iou: float
    iou_error: float
    threshold: float
    pointing: float
    centre_iou: float
    centre_pointing: float
    pictures: int
    inverted: bool
    threshold_given: bool

    def __str__(self) -> str:
        how = "given" if self.threshold_given else "best for the whole set, not per image"
        how = f"(threshold {self.threshold:.2f}, {how}{', map inverted' if self.inverted else ''})"
        where = "(brightest pixel inside the object)"
        iou, centre = f"{self.iou:.3f} ± {self.iou_error:.3f}", f"{self.centre_iou:.3f}"
        pointing, middle = f"{self.pointing:.1%}", f"{self.centre_pointing:.1%}"
        return (
            f"IoU            {iou}   centre baseline {centre}   {how}\n"
            f"pointing game  {pointing}           centre baseline {middle}   {where}\n"
            f"images         {self.pictures:,}"
        )


@checked()
def score(
    maps: np.ndarray, true_masks: np.ndarray, invert: bool = False, threshold: float | None = None
) -> Scores:
    """Score maps (N, h, w) against true object masks (N, H, W) bool.

    Each map is resized to the object masks and stretched to 0..1 (inverted: one minus that).
    One threshold is chosen for the whole set: of 101 from 0 to 1, the one with the highest mean
    IoU. It is chosen on the set that it is scored on, for the maps and for the baseline alike;
    pass the `threshold` found on other images for a score without that favour. Raises
    ShapeError if the shapes do not fit, or an object mask is empty.

    >>> truth = data.load_shapes("test", 20).masks
    >>> round(inspect.score(truth.astype("float64"), truth).iou, 2)  # a perfect map
    1.0
    """
    expect(
        maps.ndim == 3 and true_masks.ndim == 3 and len(maps) == len(true_masks) >= 1,
        f"score: maps must be (N, h, w) and true_masks (N, H, W), got {maps.shape} and "
        f"{true_masks.shape}",
    )
    expect(true_masks.dtype == np.bool_, f"score: true_masks must be bool, got {true_masks.dtype}")
    expect(bool(true_masks.any(axis=(1, 2)).all()), "score: a true mask has no object pixel at all")
    expect(
        threshold is None or 0 <= threshold <= 1,
        f"score: the threshold must be between 0 and 1, got {threshold}",
    )
    size = (int(true_masks.shape[1]), int(true_masks.shape[2]))
    level = stretch(resize_maps(maps, size))
    centre = np.broadcast_to(centre_map(size), true_masks.shape)
    best, ious, pointing = _judge(1 - level if invert else level, true_masks, threshold)
    _, centre_ious, centre_pointing = _judge(centre, true_masks, None)
    return Scores(
        iou=float(ious.mean()),
        iou_error=float(ious.std(ddof=1) / np.sqrt(len(ious))) if len(ious) > 1 else 0.0,
        threshold=best,
        pointing=pointing,
        centre_iou=float(centre_ious.mean()),
        centre_pointing=centre_pointing,
        pictures=len(maps),
        inverted=invert,
        threshold_given=threshold is not None,
    )


def _judge(
    level: np.ndarray, true_masks: np.ndarray, given: float | None
) -> tuple[float, np.ndarray, float]:
    """The threshold of the highest mean IoU, each image's IoU with it, and the pointing game."""
    best, best_ious = 0.0, np.full(len(level), -1.0)
    for candidate in np.linspace(0, 1, 101) if given is None else [given]:
        cut = level >= candidate
        ious = (cut & true_masks).sum(axis=(1, 2)) / (cut | true_masks).sum(axis=(1, 2))
        if ious.mean() > best_ious.mean():
            best, best_ious = float(candidate), ious
    # Equal maxima each count in part.
    top = level == level.max(axis=(1, 2), keepdims=True)
    hits = (top & true_masks).sum(axis=(1, 2)) / top.sum(axis=(1, 2))
    return best, best_ious, float(hits.mean())


@checked()
def centre_map(size: tuple[int, int], spread: float = 0.25) -> np.ndarray:
    """A Gaussian, (H, W), stretched to 0..1: exp(-(d / spread)^2 / 2).

    d: distance from the middle as a share of the image's height and width.
    """
    expect(min(size) >= 1, f"centre_map: size must be positive, got {size}")
    expect(spread > 0, f"centre_map: spread must be positive, got {spread}")
    rows, columns = ((np.arange(n) + 0.5) / n - 0.5 for n in size)
    square = (rows[:, None] ** 2 + columns[None, :] ** 2) / spread**2
    return stretch(np.exp(-square / 2)[None])[0]


@checked()
def score_attention(
    model: Module, images: Any, true_masks: np.ndarray, rule: str | None = None
) -> dict[str, Scores]:
    """How well each mask, and Grad-CAM, mark the objects, by name.

    images: (N, H, W, C) prepared as for training, N at least 4; true_masks: (N, H, W) bool. Each
    map's threshold, and whether bright or dark marks the object, is chosen on the first half of
    the images and scored on the second, where nothing is chosen. rule: also scores the first
    channel of each mask under this rule of `choose_channels`, which sees no object masks. Raises
    ShapeError if the model has no mask, or shapes do not fit.
    """
    images = as_pictures(model, images, "score_attention")
    expect(
        len(images) == len(true_masks) >= 4,
        f"score_attention: needs at least 4 images and a mask for each, got {len(images)} and "
        f"{len(true_masks)}",
    )
    maps: dict[str, np.ndarray] = {}
    for attention in attention_maps(model, images):
        maps[f"{attention.title}, channel mean"] = attention.mask.mean(axis=3)
        if rule is not None:
            chosen = choose_channels(attention.mask, rule, 1)
            maps[f"{attention.title}, channel {chosen.indices[0]}"] = chosen.maps[..., 0]
    maps["Grad-CAM of the answer"] = gradcam(model, images)
    return {name: score_halves(values, true_masks) for name, values in maps.items()}


def score_halves(maps: np.ndarray, true_masks: np.ndarray) -> Scores:
    """Chosen on the first half, scored on the second."""
    half = len(maps) // 2
    plain, turned = (score(maps[:half], true_masks[:half], invert) for invert in (False, True))
    best = plain if plain.iou >= turned.iou else turned
    return score(maps[half:], true_masks[half:], best.inverted, best.threshold)


@checked()
def score_table(scores: dict[str, Scores]) -> str:
    """The scores of several maps, one a line, then the centre baseline of the same images."""
    expect(bool(scores), "score_table: there are no scores")
    lines = [("map", "IoU", "", "pointing game", "threshold")]
    for name, found in scores.items():
        words = f"{found.threshold:.2f}{' inverted' if found.inverted else ''}"
        iou, error = f"{found.iou:.3f}", f"± {found.iou_error:.3f}"
        lines.append((name, iou, error, f"{found.pointing:.1%}", words))
    # Its threshold is the best for these very pictures: a favour that the maps do not get.
    iou, pointing = f"{found.centre_iou:.3f}", f"{found.centre_pointing:.1%}"
    lines.append(("centre of the image", iou, "", pointing, "best"))
    return "\n".join(text_table(lines, right=(1, 3)))
