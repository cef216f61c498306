"""Training batches made on the GPU, from images that stay there: `augment.cu`.

Chance comes from a hash of (seed, step, place in the batch) instead of a generator with a state:
batches are the same on every GPU, made in any order.
"""

from __future__ import annotations

import numpy as np

from minran.backend.gpu.launch import Array, Program, empty
from minran.errors import expect

_PROGRAM = Program("augment.cu")


def augmented_batch(
    images: Array,
    order: Array,
    mean: Array,
    std: float,
    seed_and_step: Array,
    batch: int,
    pad: int = 4,
    mirror: bool = True,
    cutout: int = 0,
    share: slice | None = None,
) -> Array:
    """Batch number `step` of an epoch, padded, cropped, mirrored, normalised: (batch, H, W, C).

    images: (M, H, W, C) uint8; order: (P,) int32, the epoch's images in their order, P >= batch;
    mean: (H, W, C) float32; seed_and_step: (2,) uint32. All are on the device and are read when
    the kernel runs, so a captured step finds what they hold then. Images after the last full
    batch are left out. pad=0 and mirror=False only pick and normalise; cutout is the side of a
    square that is hidden (0: none).

    Raises ShapeError if an array has another shape or dtype than that.
    """
    _check(images, order, seed_and_step, batch, "augmented_batch")
    expect(
        images.ndim == 4 and mean.shape == images.shape[1:] and mean.dtype == np.float32,
        f"augmented_batch: for images {images.shape} mean must be float32 {images.shape[1:]}, "
        f"got {mean.dtype} {mean.shape}",
    )
    first, count = _places(share, batch)
    y = empty((count, *images.shape[1:]), np.float32)
    how = np.float32(std), pad, mirror, cutout
    args = images, order, mean, seed_and_step, y, *how, len(order), batch, first, *y.shape
    _PROGRAM.map("augment", y.size, *args)
    return y


def one_hot_batch(
    labels: Array,
    order: Array,
    seed_and_step: Array,
    batch: int,
    classes: int,
    share: slice | None = None,
) -> Array:
    """The targets of the same batch, (batch, classes) float32; labels: (M,) uint8 on the device."""
    _check(labels, order, seed_and_step, batch, "one_hot_batch")
    first, count = _places(share, batch)
    y = empty((count, classes), np.float32)
    args = labels, order, seed_and_step, y, len(order), batch, first, count, classes
    _PROGRAM.map("one_hot", y.size, *args)
    return y


def _places(share: slice | None, batch: int) -> tuple[int, int]:
    """The first place of a share of the batch, and how many it has: all of them if None."""
    first, stop, _ = (share or slice(None)).indices(batch)
    return first, stop - first


def _check(items: Array, order: Array, seed_and_step: Array, batch: int, name: str) -> None:
    expect(
        items.dtype == np.uint8 and items.flags.c_contiguous,
        f"{name}: images or labels must be uint8 and contiguous, got {items.dtype} {items.shape}",
    )
    expect(
        order.dtype == np.int32 and order.ndim == 1 and len(order) >= batch,
        f"{name}: order must be int32 with at least {batch} entries (a batch), got "
        f"{order.dtype} {order.shape}",
    )
    expect(
        seed_and_step.dtype == np.uint32 and seed_and_step.shape == (2,),
        f"{name}: seed_and_step must be (2,) uint32, got "
        f"{seed_and_step.dtype} {seed_and_step.shape}",
    )
