"""Scores by hand on small maps."""

from __future__ import annotations

import numpy as np
import pytest

from minran.errors import ShapeError
from minran.inspect import centre_map, score


def objects(count: int = 6, size: int = 8) -> np.ndarray:
    """A 3x3 object near a corner of each picture, away from the middle."""
    masks = np.zeros((count, size, size), np.bool_)
    masks[:, :3, :3] = True
    return masks


def test_a_perfect_map_and_its_inverse() -> None:
    masks = objects()
    perfect = score(masks.astype(np.float32), masks)
    assert (perfect.iou, perfect.pointing, perfect.iou_error) == (1, 1, 0)
    assert perfect.centre_pointing == 0 and perfect.centre_iou < 0.2
    inverse = score(1 - masks.astype(np.float32), masks)
    assert inverse.iou == pytest.approx(9 / 64) and inverse.pointing == 0
    assert score(1 - masks.astype(np.float32), masks, invert=True).iou == 1


def test_one_threshold_for_the_whole_set() -> None:
    """Two maps that each have a perfect threshold, but not the same one."""
    masks = objects(2)
    maps = np.where(masks, 1.0, 0.0)
    maps[0, 4:, :] = 0.5  # picture 0 needs a threshold above 0.5
    maps[1, 0, :2] = 0.4  # picture 1 one of at most 0.4
    result = score(maps, masks)
    # Above 0.5: IoU 1 and 7/9. Up to 0.4: 9/41 and 1. One threshold cannot have both.
    assert result.iou == pytest.approx((1 + 7 / 9) / 2) and 0.5 < result.threshold <= 1
    below = score(maps, masks, threshold=0.3)
    assert below.iou == pytest.approx((9 / 41 + 1) / 2) and "given" in str(below)


def test_pointing_counts_equal_maxima_in_part() -> None:
    masks = objects(1)
    maps = np.zeros((1, 8, 8))
    maps[0, 0, 0] = maps[0, 7, 7] = 1
    assert score(maps, masks).pointing == 0.5


def test_small_maps_are_resized() -> None:
    masks = np.zeros((3, 8, 8), np.bool_)
    masks[:, :4, 4:] = True
    maps = np.zeros((3, 2, 2))
    maps[:, 0, 1] = 1
    result = score(maps, masks)
    assert result.iou > 0.8 and result.pointing == 1


def test_centre_map_and_words() -> None:
    centre = centre_map((5, 9))
    assert np.unravel_index(centre.argmax(), centre.shape) == (2, 4)
    np.testing.assert_allclose(centre, centre[::-1, ::-1])
    words = str(score(objects().astype(float), objects(), invert=True))
    for part in ("IoU", "centre baseline", "whole set, not per picture", "inverted", "pointing"):
        assert part in words


def test_bad_input() -> None:
    masks = objects()
    with pytest.raises(ShapeError, match=r"\(N, h, w\)"):
        score(masks[:3].astype(float), masks)
    with pytest.raises(ShapeError, match="must be bool"):
        score(masks.astype(float), masks.astype(float))
    with pytest.raises(ShapeError, match="no object pixel"):
        score(masks.astype(float), np.zeros_like(masks))
    with pytest.raises(ShapeError, match="between 0 and 1"):
        score(masks.astype(float), masks, threshold=1.5)
