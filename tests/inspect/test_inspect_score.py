"""Scores by hand on small maps, and of a network's masks beside Grad-CAM."""

from __future__ import annotations

import numpy as np
import pytest

from minran import create_model
from minran.data import Preprocess, load_shapes
from minran.errors import ShapeError
from minran.inspect import centre_map, score, score_attention, score_table
from minran.inspect.masks import score_halves


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
    for part in ("IoU", "centre baseline", "whole set, not per image", "inverted", "pointing"):
        assert part in words


def test_threshold_and_direction_come_from_the_first_half() -> None:
    masks = objects(8, 6)
    dark = np.where(masks, 0.0, 1.0)
    found = score_halves(dark, masks)
    assert (found.iou, found.inverted, found.pictures) == (1, True, 4)
    # Dark marks the object in the first half and bright in the second: the score must suffer.
    dark[4:] = 1 - dark[4:]
    found = score_halves(dark, masks)
    assert found.inverted and found.iou < 0.3
    assert score(dark[4:], masks[4:]).iou == 1, "chosen on the same images, it would be perfect"


def test_every_map_is_scored() -> None:
    model, test = create_model("attention_nano"), load_shapes("test", count=12)
    inputs = Preprocess.fit(test.images)(test.images)
    scores = score_attention(model, inputs, test.masks, rule="variance")
    means = [f"stage {s}, channel mean" for s in (1, 2)]
    assert list(scores)[::2] == [*means, "Grad-CAM of the answer"]
    assert all(found.pictures == 6 and found.threshold_given for found in scores.values())
    lines = score_table(scores).splitlines()
    assert len(lines) == 7 and lines[-1].startswith("centre of the image")
    with pytest.raises(ShapeError, match="a mask for each"):
        score_attention(model, inputs, test.masks[:3])
