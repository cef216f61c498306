"""Checks of notebook 00b: a linear classifier, a painted mask, a gate and a pool, and pointing."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran.workshop.course.checking import Function, compare, generator, known_as, require
from minran.workshop.course.first_hour import SIZE, framed_signs

PAINTED = 10
"""The image of `framed_signs(1000, seed=1)` for which a mask is painted."""


def check_0b_1(linear_logits: Function) -> None:
    """a row of pixels for each image: x.reshape(len(x), -1); then one weight for each pixel and
    class, and a bias for each class
    """
    rng = generator(21)
    for count, size, channels, classes in ((5, 4, 1, 3), (1, 2, 3, 4), (4, 3, 1, 4)):
        x = rng.standard_normal((count, size, size, channels))
        weights = rng.standard_normal((size * size * channels, classes))
        bias = rng.standard_normal(classes)
        right = x.reshape(count, -1) @ weights + bias
        got = linear_logits(x.copy(), weights.copy(), bias.copy())
        odds = np.exp(right) / np.exp(right).sum(axis=1, keepdims=True)
        known = {
            "the bias is missing": right - bias,
            "the bias is added, not subtracted": right - 2 * bias,
            "logits are what comes before the softmax": odds,
        }
        where = f"{count} images of {size}x{size}x{channels}, {classes} classes"
        compare("the logits", got, right, known_as(got, right, known), where=where)


def check_0b_2(painted: Any) -> None:
    """read the rows and columns of the framed sign on the axes of the image"""
    corners = framed_signs(1000, seed=1).corners[PAINTED]
    mask = np.asarray(painted)
    hint = "painted = np.zeros((20, 20)), then ones in a part of it"
    numbers = mask.dtype.kind in "biuf"
    require(numbers, f"painted must hold numbers, got {type(painted).__name__}", "", hint)
    got = f"painted has shape {mask.shape}, expected ({SIZE}, {SIZE})"
    require(mask.shape == (SIZE, SIZE), got, "", hint)
    within = bool(np.isfinite(mask).all() and (mask >= 0).all() and (mask <= 1).all())
    require(within, "a mask holds numbers from 0 to 1", f"{mask.min():.3g} to {mask.max():.3g}")
    framed, *others = [mask[r : r + 3, c : c + 3] for r, c in corners.tolist()]
    swapped = mask.T[tuple(slice(one, one + 3) for one in corners[0].tolist())]
    rows = "an array is painted as painted[rows, columns]; rows count from the top"
    hint = rows * bool((swapped >= 0.9).all())
    low = "the mask is not high on all of the framed sign"
    require(bool((framed >= 0.9).all()), low, f"its lowest value there is {framed.min():.3g}", hint)
    highest = max(float(other.max()) for other in others)
    words = "the mask lets another sign through"
    hint = "0 where the network shall see nothing"
    require(highest <= 0.1, words, f"its highest value on another sign is {highest:.3g}", hint)


def check_0b_3(gate_and_pool: Function) -> None:
    """first the gate, M T or (1 + M) T at each position; then the largest over rows and columns"""
    rng = generator(23)
    for count, height, width, channels in ((2, 4, 4, 3), (3, 2, 5, 1), (1, 5, 3, 4)):
        mask = rng.uniform(0, 1, (count, height, width, 1))
        trunk = rng.standard_normal((count, height, width, channels))
        for learning in ("naive", "residual"):
            gated = (mask if learning == "naive" else 1 + mask) * trunk
            right = gated.max(axis=(1, 2))
            got = gate_and_pool(mask.copy(), trunk.copy(), learning)
            other = (1 + mask if learning == "naive" else mask) * trunk
            known = {
                "this is the other kind of learning": other.max(axis=(1, 2)),
                "this is the mean over positions; take the largest": gated.mean(axis=(1, 2)),
                "the gate comes before the pool": trunk.max(axis=(1, 2)),
            }
            hint = known_as(got, right, known)
            compare("the result", got, right, hint, where=f"{learning}, T {trunk.shape}")


def check_0b_4(pointing: Function) -> None:
    """for each image the position of the largest value of its mask, then what `true` says there"""
    rng = generator(24)
    for count, size in ((5, 4), (40, 6), (7, 3)):
        masks = rng.uniform(0, 1, (count, size, size, 1))
        true = (rng.random(masks.shape) < 0.4).astype(np.float32)
        flat = masks.reshape(count, -1)
        right = float(np.mean([t.ravel()[m.argmax()] for t, m in zip(true, flat, strict=True)]))
        lowest = np.mean([t.ravel()[m.argmin()] for t, m in zip(true, flat, strict=True)])
        known = {
            "a share is a mean, not a sum": right * count,
            "this is where the masks are lowest": lowest,
            "one place for each image, not one for all": true.ravel()[masks.argmax()],
            "this is the share of the mask inside; take its largest value only": np.mean(
                (masks * true).sum(axis=(1, 2, 3)) / masks.sum(axis=(1, 2, 3))
            ),
        }
        got = pointing(masks.copy(), true.copy())
        hint = known_as(got, right, known)
        compare("the share", got, right, hint, where=f"{count} masks of {size}x{size}")
