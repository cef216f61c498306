from __future__ import annotations

import numpy as np
import pytest
from data_helpers import write_cifar10

from minran.data import Dataset, load
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
