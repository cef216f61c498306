from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minran.data import load_shapes
from minran.data.shapes import CLASS_NAMES, OUTLINES


@pytest.fixture(scope="module")
def train():
    return load_shapes("train", 3000)


@pytest.fixture(scope="module")
def test():
    return load_shapes("test", 1000)


def test_arrays(train):
    assert train.images.shape == (3000, 32, 32, 3) and train.images.dtype == np.uint8
    assert train.labels.dtype == np.int64 and train.masks.dtype == np.bool_
    assert np.bincount(train.labels).tolist() == [300] * 10
    assert train.num_classes == 10 and len(set(train.class_names)) == 10


def test_same_seed_same_bytes():
    first, second = load_shapes("train", 150, seed=3), load_shapes("train", 150, seed=3)
    for name in ("images", "labels", "masks"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert (load_shapes("train", 150, seed=4).images != first.images).any()


@given(count=st.integers(1, 230), split=st.sampled_from(["train", "test"]))
@settings(max_examples=10, deadline=None)
def test_fewer_pictures_are_the_first_of_more(count, split):
    whole, part = load_shapes(split, 230, seed=1), load_shapes(split, count, seed=1)
    np.testing.assert_array_equal(part.images, whole.images[:count])
    np.testing.assert_array_equal(part.masks, whole.masks[:count])
    np.testing.assert_array_equal(part.labels, whole.labels[:count])


def test_no_picture_comes_twice(train, test):
    seen = {image.tobytes() for data in (train, test) for image in data.images}
    assert len(seen) == len(train) + len(test)
    # The streams of (split, seed) and (seed, split) must not be one.
    other = load_shapes("train", 100, seed=1)
    assert not seen & {image.tobytes() for image in other.images}


def test_masks_show_the_object(train):
    area = train.masks.mean(axis=(1, 2))
    assert area.min() > 0.02 and area.max() < 0.4
    # The objects lie inside the picture ...
    border = np.ones((32, 32), bool)
    border[1:-1, 1:-1] = False
    assert train.masks[:, border].mean() < 0.02
    # ... anywhere in it ...
    places = train.masks.mean(axis=0)
    assert places[8:24, 8:24].min() > 0.5 * places.max() / 3
    # ... and inside the mask the picture has one colour, up to noise and shading.
    pixels = train.images.astype(float)
    for n in range(200):
        inner = pixels[n][train.masks[n]]
        inner = inner[np.abs(inner - np.median(inner, axis=0)).max(axis=1) < 60]
        assert len(inner) > 0.75 * train.masks[n].sum()


def test_object_and_background_differ_in_lightness(train):
    grey = train.images.mean(axis=3)
    inside = np.array([grey[n][train.masks[n]].mean() for n in range(500)])
    outside = np.array([grey[n][~train.masks[n]].mean() for n in range(500)])
    assert (np.abs(inside - outside) > 20).mean() > 0.97
    assert 0.3 < (inside > outside).mean() < 0.7  # but not always in one direction


def test_mask_edges_are_where_the_picture_changes(train):
    """A mask shifted by two pixels would explain the picture worse: image and mask agree."""

    def contrast(shift):
        masks = np.roll(train.masks[:300], shift, axis=2)
        grey = train.images[:300].mean(axis=3)
        spread = [grey[n][masks[n]].std() for n in range(300)]
        return np.mean(spread)

    assert contrast(0) < 0.8 * min(contrast(2), contrast(-2))


def test_outlines_stay_in_the_unit_disc_and_differ():
    grid = np.linspace(-1.5, 1.5, 301, dtype=np.float32)
    u, v = np.meshgrid(grid, grid)
    outside = u * u + v * v > 1.01
    drawn = [outline(u, v) for outline in OUTLINES.values()]
    for inside in drawn:
        assert inside.dtype == np.bool_ and inside.any() and not (inside & outside).any()
    # The share of a circle of radius r that is inside does not depend on rotation, and differs
    # between any two outlines at some r.
    radius = np.sqrt(u * u + v * v)
    bands = [(radius > r - 0.05) & (radius <= r + 0.05) for r in np.arange(0.1, 1.0, 0.1)]
    profiles = np.array([[inside[band].mean() for band in bands] for inside in drawn])
    for i in range(10):
        for j in range(i):
            assert np.abs(profiles[i] - profiles[j]).max() > 0.1, (CLASS_NAMES[i], CLASS_NAMES[j])


def compactness(mask):
    """Area over the mean squared distance from the centroid: 2 pi for a disc, less for others."""
    rows, columns = np.nonzero(mask)
    reach = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    return len(rows) / reach.mean()


def test_masks_have_the_outline_of_their_label():
    data = load_shapes("test", 200, size=96)
    grid = np.linspace(-1.1, 1.1, 221, dtype=np.float32)
    u, v = np.meshgrid(grid, grid)
    for label, outline in enumerate(OUTLINES.values()):
        drawn = [compactness(mask) for mask in data.masks[data.labels == label]]
        np.testing.assert_allclose(np.mean(drawn), compactness(outline(u, v)), rtol=0.05)


def ridge_accuracy(train_x, train_y, test_x, test_y, decay):
    mean = train_x.mean(axis=0)
    x, targets = train_x - mean, np.eye(10)[train_y] - 0.1
    # The dual form: N x N is smaller than pixels x pixels.
    dual = np.linalg.solve(x @ x.T + decay * np.eye(len(x)), targets)
    scores = (test_x - mean) @ (x.T @ dual)
    return (scores.argmax(axis=1) == test_y).mean()


def flat(data):
    return data.images.reshape(len(data), -1) / 255.0


def test_a_linear_classifier_fails(train, test):
    few = train.subset(slice(0, 1500))
    for decay in (30, 1000):
        accuracy = ridge_accuracy(flat(few), few.labels, flat(test), test.labels, decay)
        assert accuracy < 0.3
    # The same classifier learns what is linear, so its failure says something about the data.
    easy = flat(few)
    easy[np.arange(1500), few.labels] += 10
    easy_test = flat(test)
    easy_test[np.arange(1000), test.labels] += 10
    assert ridge_accuracy(easy, few.labels, easy_test, test.labels, 30) > 0.95


def test_drawing_is_fast():
    start = time.process_time()
    load_shapes("train", 1200)
    assert time.process_time() - start < 3


def test_other_sizes():
    data = load_shapes("test", 20, size=48)
    assert data.images.shape == (20, 48, 48, 3) and data.masks.shape == (20, 48, 48)
