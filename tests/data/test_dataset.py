from __future__ import annotations

import numpy as np
import pytest
from data_helpers import write_cifar10
from hypothesis import given, settings
from hypothesis import strategies as st

from minran.data import Dataset, corrupt_labels, in_turns, label_noise_matrix, load
from minran.errors import DataError


def arguments(**changes):
    right = {
        "images": np.zeros((4, 8, 8, 3), np.uint8),
        "labels": np.array([0, 1, 1, 0]),
        "class_names": ("a", "b"),
        "name": "toy",
        "masks": np.zeros((4, 8, 8), bool),
    }
    return right | changes


def test_subset_takes_everything_along():
    masks = np.zeros((4, 8, 8), bool)
    masks[2] = True
    data = Dataset(**arguments(masks=masks))
    part = data.subset([2, 0])
    assert part.labels.tolist() == [1, 0] and part.masks[0].all() and not part.masks[1].any()
    assert len(data.subset(slice(1, 3))) == 2 and part.class_names == ("a", "b")
    assert Dataset(**arguments(masks=None)).subset([1]).masks is None


@given(st.lists(st.integers(0, 5), max_size=30))
@settings(max_examples=40, deadline=None)
def test_classes_take_turns(labels):
    order = in_turns(np.array(labels, np.int64)).tolist()
    # By hand: from each class that has pictures left the next one, until none has.
    left = {k: [i for i, label in enumerate(labels) if label == k] for k in sorted(set(labels))}
    expected = [line.pop(0) for _ in labels for line in left.values() if line]
    assert order == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((4, 8, 8, 3), np.float32)}, "images must be"),
        ({"images": np.zeros((4, 8, 8), np.uint8)}, "images must be"),
        ({"labels": np.zeros(3, np.int64)}, r"labels must be \(4,\) int64"),
        ({"labels": np.zeros(4, np.int32)}, "labels must be"),
        ({"labels": np.array([0, 1, 2, 0])}, r"label 2 of record 2 .*0\.\.1"),
        ({"labels": np.array([0, 1, 1, -1])}, "label -1 of record 3"),
        ({"masks": np.zeros((4, 8, 9), bool)}, "masks must be"),
        ({"masks": np.zeros((4, 8, 8), np.uint8)}, "masks must be"),
    ],
)
def test_arrays_must_fit_together(change, message):
    with pytest.raises(DataError, match=message):
        Dataset(**arguments(**change))


def test_load_by_name(tmp_path, small):
    write_cifar10(tmp_path / "cifar-10-batches-bin", small)
    assert load("cifar10", "test", tmp_path, download=False).name == "cifar10"
    assert len(load("shapes", "test", tmp_path, count=7, seed=2)) == 7


@given(num_classes=st.integers(2, 100), clean_ratio=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_matrix_of_equation_7(num_classes, clean_ratio):
    matrix = label_noise_matrix(num_classes, clean_ratio)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_array_equal(np.diag(matrix), clean_ratio)
    off = matrix[~np.eye(num_classes, dtype=bool)]
    np.testing.assert_allclose(off, (1 - clean_ratio) / (num_classes - 1))


def test_labels_follow_their_rows():
    rng = np.random.default_rng(0)
    matrix = np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
    labels = np.repeat([0, 1, 2], 20_000)
    noisy = corrupt_labels(labels, matrix, rng)
    assert noisy.dtype == np.int64
    for label in range(3):
        share = np.bincount(noisy[labels == label], minlength=3) / 20_000
        np.testing.assert_allclose(share, matrix[label], atol=0.015)
        assert (share[matrix[label] == 0] == 0).all()


@given(num_classes=st.integers(2, 20), clean_ratio=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_labels_stay_in_range_and_repeat(num_classes, clean_ratio, seed):
    labels = np.arange(200) % num_classes
    matrix = label_noise_matrix(num_classes, clean_ratio)
    noisy = corrupt_labels(labels, matrix, np.random.default_rng(seed))
    assert noisy.min() >= 0 and noisy.max() < num_classes
    again = corrupt_labels(labels, matrix, np.random.default_rng(seed))
    np.testing.assert_array_equal(noisy, again)


def test_the_ends():
    labels = np.arange(1000) % 10
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(corrupt_labels(labels, label_noise_matrix(10, 1.0), rng), labels)
    assert (corrupt_labels(labels, label_noise_matrix(10, 0.0), rng) != labels).all()
    empty = np.array([], dtype=np.int64)
    assert corrupt_labels(empty, label_noise_matrix(10, 0.5), rng).shape == (0,)
