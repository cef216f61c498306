"""What a step on the GPU does besides the network: batches, statistics, the optimiser's step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import EmulatedBackend

from minran import backend
from minran.errors import ShapeError


@pytest.fixture(params=["emulated", pytest.param("cupy", marks=pytest.mark.gpu)])
def kernels(request: pytest.FixtureRequest) -> Any:
    return EmulatedBackend() if request.param == "emulated" else backend.load("cupy")


def mixed(bits: np.ndarray) -> np.ndarray:
    # Products of uint32 arrays wrap around, as on the GPU.
    bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> np.uint32(15))) * np.uint32(0x846CA68B)
    return bits ^ (bits >> np.uint32(16))


def random_bits(seed: int, step: int, place: Any, draw: int) -> np.ndarray:
    """The bits of `random_bits` in augment.cu, with NumPy."""
    start = mixed(np.array([seed], np.uint32)) ^ np.uint32(step)
    return mixed(mixed(mixed(start) ^ np.asarray(place, np.uint32)) ^ np.uint32(draw))


def on_host(images, order, mean, std, seed_and_step, batch, pad=4, mirror=True, cutout=0):
    """`augmented_batch` in NumPy: the same arguments give the same batch."""
    height, width = images.shape[1:3]
    seed, step = map(int, seed_and_step)
    places, first = np.arange(batch), step % (len(order) // batch) * batch

    def drawn(draw: int, below: int) -> np.ndarray:
        return (random_bits(seed, step, places, draw) % np.uint32(below)).astype(int)[:, None]

    padded = np.pad(images[order[first : first + batch]], ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    columns = np.where(drawn(2, 2) & mirror, np.arange(width)[::-1], np.arange(width))
    columns, rows = columns + drawn(1, 2 * pad + 1), np.arange(height) + drawn(0, 2 * pad + 1)
    windows = padded[places[:, None, None], rows[:, :, None], columns[:, None, :]]
    down = np.arange(height) - drawn(3, height) + cutout // 2
    across = np.arange(width) - drawn(4, width) + cutout // 2
    low, high = ((offset >= 0) & (offset < cutout) for offset in (down, across))
    hidden = (low[:, :, None] & high[:, None, :])[..., None]
    return np.where(hidden, np.float32(0), (windows.astype(np.float32) - mean) / np.float32(std))


def arguments(step: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (23, 9, 7, 3), dtype=np.uint8)
    order = rng.permutation(23).astype(np.int32)
    mean = rng.uniform(0, 255, images.shape[1:]).astype(np.float32)
    return images, order, mean, 64.0, np.array([12345, step], np.uint32)


@pytest.mark.parametrize("step", [0, 3, 4, 4_000_000_000])
@pytest.mark.parametrize(("pad", "mirror"), [(4, True), (2, False), (0, True), (0, False)])
def test_gpu_and_numpy_make_the_same_batch(kernels: Any, step: int, pad: int, mirror: bool) -> None:
    arrays = arguments(step)
    placed = [kernels.xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays]
    batch = backend.to_host(kernels.augmented_batch(*placed, 5, pad, mirror))
    np.testing.assert_array_equal(batch, on_host(*arrays, 5, pad, mirror), strict=True)


def test_without_augmentation_pictures_come_in_order(kernels: Any) -> None:
    images, order, mean, std, seed_and_step = arguments(step=6)  # 4 steps an epoch: the third
    place = kernels.xp.asarray
    batch = kernels.augmented_batch(
        *map(place, (images, order, mean)), std, place(seed_and_step), 5, 0, False
    )
    truth = (images[order[10:15]] - mean) / np.float32(std)
    np.testing.assert_array_equal(backend.to_host(batch), truth)
    labels = np.arange(23, dtype=np.uint8)
    targets = kernels.one_hot_batch(*map(place, (labels, order, seed_and_step)), 5, 23)
    np.testing.assert_array_equal(backend.to_host(targets), np.eye(23)[order[10:15]])


def test_chance_is_fair_and_depends_on_everything() -> None:
    draws = random_bits(1, 2, np.arange(90_000), 0)
    shares = np.bincount(draws % 9) / len(draws)
    np.testing.assert_allclose(shares, 1 / 9, atol=0.004)
    for other in (random_bits(2, 2, np.arange(90_000), 0), random_bits(1, 3, np.arange(90_000), 0)):
        assert (other == draws).mean() < 0.001
        assert abs(np.corrcoef(other, draws)[0, 1]) < 0.02
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.02


def test_wrong_arrays_are_named(kernels: Any) -> None:
    place = kernels.xp.asarray
    given = (place(a) if isinstance(a, np.ndarray) else a for a in arguments(0))
    good: Any = dict(zip(("images", "order", "mean", "std", "seed_and_step"), given), batch=5)
    for name, wrong, message in [
        ("images", good["images"].astype("float32"), "uint8"),
        ("order", good["order"].astype("int64"), "order must be int32"),
        ("batch", 24, "at least 24"),
        ("mean", good["mean"][1:], "mean must be"),
        ("seed_and_step", good["seed_and_step"].astype("int32"), "seed_and_step must be"),
    ]:
        with pytest.raises(ShapeError, match=message):
            kernels.augmented_batch(**{**good, name: wrong})


@pytest.mark.parametrize("nesterov", [False, True])
def test_learning_rate_on_the_device(kernels: Any, nesterov: bool) -> None:
    """A learning rate in an array gives the same step, and the next one follows its change."""
    rng = np.random.default_rng(0)
    first = [rng.standard_normal(1000).astype(np.float32) for _ in range(3)]
    a, b = ([kernels.xp.asarray(array.copy()) for array in first] for _ in range(2))
    rate = kernels.xp.asarray(np.array(0.1, np.float32))
    for lr in (0.1, 0.01):
        rate[...] = lr
        kernels.sgd_update(*a, lr, 0.9, 1e-4, nesterov)
        kernels.sgd_update(*b, rate, 0.9, 1e-4, nesterov)
        np.testing.assert_array_equal(backend.to_host(a[0]), backend.to_host(b[0]))
        np.testing.assert_array_equal(backend.to_host(a[2]), backend.to_host(b[2]))
    assert np.abs(backend.to_host(a[0]) - first[0]).max() > 0


@pytest.mark.parametrize("cutout", [1, 4, 9])
def test_cutout(kernels: Any, cutout: int) -> None:
    arrays = arguments(step=5)
    placed = [kernels.xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays]
    batch = backend.to_host(kernels.augmented_batch(*placed, 5, cutout=cutout))
    expected = on_host(*arrays, 5, cutout=cutout)
    np.testing.assert_array_equal(batch, expected, strict=True)
    whole = on_host(*arrays, 5)
    hidden = (expected == 0).all(-1) & (whole != 0).any(-1)
    assert 0 < hidden.reshape(5, -1).sum(1).max() <= cutout**2
    np.testing.assert_array_equal(expected[~hidden], whole[~hidden])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 5, 130])
def test_the_record_of_a_step(kernels: Any, dtype: Any, rows: int) -> None:
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 4, (rows, 7)).astype(dtype)  # many ties: the first one counts
    labels = rng.integers(0, 7, rows)
    place = kernels.xp.asarray
    outcomes = place(np.full((4, 2), -1, dtype))
    arrays = place(np.array(0.75, dtype)), place(logits), place(np.eye(7, dtype=dtype)[labels])
    kernels.record_step(*arrays, place(np.array([9, 6], np.uint32)), outcomes)
    expected = np.full((4, 2), -1.0)
    expected[2] = 0.75, (logits.argmax(1) == labels).sum()
    np.testing.assert_array_equal(backend.to_host(outcomes), expected)
    with pytest.raises(ShapeError, match="outcomes must be"):
        kernels.record_step(*arrays, place(np.array([9, 6], np.uint32)), outcomes[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gather(kernels: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    sizes, starts = [3, 1, 70_000, 256], [0, 4, 8, 70_010]
    place = kernels.xp.asarray
    arrays = [place(rng.standard_normal(size).astype(dtype)) for size in sizes]
    flat = place(np.zeros(70_300, dtype))
    places = place(np.array([starts, sizes], np.int32).T.copy())
    kernels.gather(place(kernels.addresses(arrays)), places, flat)
    expected = np.zeros(70_300, dtype)
    for start, array in zip(starts, arrays, strict=True):
        expected[start : start + array.size] = backend.to_host(array)
    np.testing.assert_array_equal(backend.to_host(flat), expected)


def test_a_share_of_a_batch_is_that_part_of_the_whole(kernels: Any) -> None:
    """Several GPUs draw the windows that one would draw for the same places of the batch."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (12, 9, 8, 3)).astype(np.uint8)
    labels, order = rng.integers(0, 23, 12).astype(np.uint8), rng.permutation(12).astype(np.int32)
    mean = rng.standard_normal((9, 8, 3)).astype(np.float32)
    which = backend.to_device(np.array([7, 3], np.uint32))
    images, labels, order, mean = map(backend.to_device, (images, labels, order, mean))
    batches = [
        [
            backend.to_host(
                kernels.augmented_batch(images, order, mean, 60.0, which, 5, 4, True, 3, share)
            ),
            backend.to_host(kernels.one_hot_batch(labels, order, which, 5, 23, share)),
        ]
        for share in (None, slice(0, 2), slice(2, 5))
    ]
    for whole, *shares in zip(*batches, strict=True):
        np.testing.assert_array_equal(np.concatenate(shares), whole)
