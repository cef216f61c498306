from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minran.data import (
    Preprocess,
    cutout,
    mixup,
    one_hot,
    pad_crop_flip,
    per_pixel_mean,
    scale_crop_flip,
)
from minran.data.augment import draw_variations, vary
from minran.errors import DataError, ShapeError


def pictures(count, height=7, width=5, channels=3, seed=0):
    """Pictures without zeros, all pixels of one picture different where a byte allows it."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (count, height, width, channels), dtype=np.uint8)


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    pad=st.integers(0, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_every_picture_is_a_window_of_its_padded_self(height, width, pad, seed):
    images = pictures(6, height, width, seed=seed)
    cropped = pad_crop_flip(images, np.random.default_rng(seed), pad)
    assert cropped.shape == images.shape and cropped.dtype == images.dtype
    for before, after in zip(images, cropped, strict=True):
        big = np.zeros((height + 2 * pad, width + 2 * pad, 3), np.uint8)
        big[pad : pad + height, pad : pad + width] = before
        windows = [
            big[i : i + height, j : j + width]
            for i in range(2 * pad + 1)
            for j in range(2 * pad + 1)
        ]
        assert any(np.array_equal(after, w) or np.array_equal(after, w[:, ::-1]) for w in windows)


def test_windows_and_mirrorings_are_uniform_and_independent():
    # One bright pixel in the middle: where it lands tells the window (and mirroring, if marked).
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 4, 4], image[0, 4, 5] = 2, 1
    count = 20_000
    cropped = pad_crop_flip(image.repeat(count, axis=0), np.random.default_rng(0), 2)
    _, row, column, _ = np.nonzero(cropped == 2)
    assert len(row) == count
    mirrored = cropped[np.arange(count), row, column - 1, 0] == 1
    table = np.zeros((2, 5, 5))
    np.add.at(table, (mirrored.astype(int), row - 2, column - 2), 1)
    assert (np.abs(table - count / 50) < 6 * np.sqrt(count / 50)).all()


def test_the_border_that_comes_in_is_black_before_the_mean_goes():
    images = np.full((64, 8, 8, 3), 200, np.uint8)
    cropped = pad_crop_flip(images, np.random.default_rng(0), 4)
    assert set(np.unique(cropped)) == {0, 200}
    inputs = Preprocess.fit(images, std=1.0)(cropped)
    assert set(np.unique(inputs)) == {-200, 0}


def test_pad_crop_flip_leaves_its_input_and_takes_floats():
    images = pictures(8)
    copy = images.copy()
    whole = pad_crop_flip(images, np.random.default_rng(1))
    floats = pad_crop_flip(images.astype(np.float32), np.random.default_rng(1))
    np.testing.assert_array_equal(images, copy)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(whole, floats)
    with pytest.raises(ShapeError, match="N, H, W, C"):
        pad_crop_flip(images[0], np.random.default_rng(1))


def test_a_mean_of_channels_is_one_for_every_size():
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    prepare = Preprocess.fit(images, 2.0, "channel").resized(12)
    larger = np.full((1, 12, 12, 3), 9, np.uint8)
    expected = (9 - images.mean((0, 1, 2))) / 2
    np.testing.assert_allclose(prepare(larger)[0, 11, 3], expected, rtol=1e-6)
    with pytest.raises(DataError, match="mean of each pixel"):
        Preprocess.fit(images).resized(12)


def test_windows_of_imagenet_have_the_areas_shapes_and_places_that_it_says():
    top, left, height, width, mirrored, *colours = draw_variations(
        (20_000, 40, 40, 3), np.random.default_rng(0)
    )
    area, ratio = height * width / 1600, width / height
    assert 0.08 <= area.min() < 0.09 and 0.99 < area.max() <= 1
    assert 0.74 < ratio.min() < 0.76 and 1.32 < ratio.max() < 1.34
    assert 0.47 < (area < 0.5).mean() < 0.53  # large windows of odd shapes are drawn again
    assert (np.minimum(top, left) >= 0).all()
    assert (np.maximum(top + height, left + width) <= 40 + 1e-9).all()
    assert 0.48 < mirrored.mean() < 0.52
    assert np.corrcoef([area, ratio, top / (41 - height), mirrored, *colours])[0, 1:].max() < 0.05
    for factor in colours:
        assert 0.6 <= factor.min() < 0.61 and 1.39 < factor.max() <= 1.4


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_window_is_what_bilinear_interpolation_and_colours_say(height, width, seed):
    images = pictures(1, height, width, seed=seed)
    drawn = draw_variations(images.shape, np.random.default_rng(seed))
    top, left, high, wide, mirrored, brightness, contrast, saturation = drawn[:, 0]
    x = images[0].astype(float)
    expected = np.empty_like(x)
    for i in range(height):
        for j in range(width):
            place = top + (i + 0.5) * high / height - 0.5, left + (j + 0.5) * wide / width - 0.5
            r, c = (min(max(p, 0), n - 1) for p, n in zip(place, x.shape))
            a, b = int(r), int(c)
            below, right = min(a + 1, height - 1), min(b + 1, width - 1)
            t, u = r - a, c - b
            expected[i, j] = (1 - t) * ((1 - u) * x[a, b] + u * x[a, right]) + t * (
                (1 - u) * x[below, b] + u * x[below, right]
            )
    luma = np.array([0.299, 0.587, 0.114])
    expected *= brightness
    mean = (expected @ luma).mean()
    expected = mean + contrast * (expected - mean)
    grey = (expected @ luma)[..., None]
    expected = np.clip(grey + saturation * (expected - grey), 0, 255)
    expected = expected[:, ::-1] if mirrored else expected
    floats = scale_crop_flip(images.astype(np.float32), np.random.default_rng(seed))
    np.testing.assert_allclose(floats[0], expected, atol=1e-2)
    whole = scale_crop_flip(images, np.random.default_rng(seed))
    assert whole.dtype == np.uint8 and np.abs(whole[0] - expected).max() <= 0.51
    untouched = np.array([[0, 0, height, width, 0, 1, 1, 1]]).T
    np.testing.assert_array_equal(vary(images, untouched), images)


@given(size=st.integers(0, 12), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_cutout_hides_one_square(size, seed):
    images = pictures(10, 8, 9).astype(np.float32)
    hidden = cutout(images, np.random.default_rng(seed), size)
    assert hidden.dtype == np.float32
    for before, after in zip(images, hidden, strict=True):
        gone = (after == 0).all(axis=2)
        np.testing.assert_array_equal(after[~gone], before[~gone])
        if size == 0:
            assert not gone.any()
            continue
        rows, columns = np.nonzero(gone.any(axis=1))[0], np.nonzero(gone.any(axis=0))[0]
        # A full rectangle, as large as the square unless the border cuts it (at most half away).
        assert gone.sum() == len(rows) * len(columns)
        assert gone[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        for line, length in ((rows, 8), (columns, 9)):
            touches = line[0] == 0 or line[-1] == length - 1
            assert len(line) == size or (touches and min(size // 2, 1) <= len(line) < size)


def test_mixup_blends_pictures_and_targets_alike():
    images = pictures(6).astype(np.float32)
    targets = one_hot(np.arange(6), 6)
    mixed, soft = mixup(images, targets, 0.4, np.random.default_rng(0))
    assert mixed.dtype == np.float32 and soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    # The targets were the identity, so the soft ones are the matrix that blended the batch.
    expected = np.tensordot(soft, images, axes=1)
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)
    assert 0 < (soft > 0).sum(axis=1).max() <= 2 and (mixed != images).any()


def test_mixup_share_follows_alpha():
    x, y = np.zeros((1, 1, 1, 1), np.float32), one_hot(np.array([0, 1]), 2)
    x = x.repeat(2, axis=0)
    for alpha in (0.2, 5.0):
        rng = np.random.default_rng(0)
        shares = [mixup(x, y, alpha, rng)[1][0, 0] for _ in range(4000)]
        shares = np.array([s for s in shares if s != 1])  # partner was another picture
        assert abs(shares.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_one_hot():
    encoded = one_hot(np.array([2, 0]), 3)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, [[0, 0, 1], [1, 0, 0]])


def test_per_pixel_mean_is_exact_for_many_pictures():
    # Summed in float32 this would be off: 2^24 is passed after 66,000 pictures of 255.
    images = np.full((70_000, 1, 1, 2), 255, np.uint8)
    images[::2, :, :, 1] = 254
    mean = per_pixel_mean(images)
    assert mean.shape == (1, 1, 2) and mean.dtype == np.float32
    np.testing.assert_array_equal(mean[0, 0], [255, 254.5])


def test_preprocess_is_per_pixel_and_float32():
    images = pictures(20)
    prepared = Preprocess.fit(images, std=2.0)(images)
    assert prepared.dtype == np.float32
    expected = (images - images.mean(axis=0)) / 2.0
    np.testing.assert_allclose(prepared, expected, atol=1e-4)
    np.testing.assert_allclose(prepared.mean(axis=0), 0, atol=1e-4)
    assert Preprocess.fit(images)(images.astype(np.float64)).dtype == np.float32


@given(seed=st.integers(0, 99), std=st.floats(0.1, 300))
@settings(max_examples=20, deadline=None)
def test_preprocess_state_and_undo_round_trip(seed, std):
    images = pictures(5, seed=seed)
    fitted = Preprocess.fit(images, std)
    state = fitted.state()
    assert set(state) == {"mean", "std"}
    assert all(isinstance(array, np.ndarray) for array in state.values())
    restored = Preprocess.from_state(state)
    np.testing.assert_array_equal(restored(images), fitted(images))
    np.testing.assert_array_equal(fitted.undo(fitted(images)), images)


def test_the_mean_of_a_channel_is_the_same_everywhere():
    images = pictures(5)
    fitted = Preprocess.fit(images, 1.0, mean="channel")
    assert fitted.mean.shape == images.shape[1:]
    channels = images.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(fitted.mean, np.broadcast_to(channels, fitted.mean.shape), rtol=1e-6)


def test_preprocess_errors():
    images = pictures(5)
    fitted = Preprocess.fit(images)
    with pytest.raises(ShapeError, match=r"\(7, 5, 3\) expected, got \(6, 5, 3\)"):
        fitted(images[:, 1:])
    with pytest.raises(ShapeError):
        fitted(images[:, :1, :1])  # must not broadcast
