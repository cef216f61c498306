"""Masks beside Grad-CAM, and scores that were chosen on other pictures."""

from __future__ import annotations

import numpy as np
import pytest

from minran import create_model
from minran.data import Preprocess, load_shapes
from minran.errors import ShapeError
from minran.inspect import (
    attention_maps,
    gradcam,
    gradcam_figure,
    score,
    score_attention,
    score_table,
)
from minran.inspect.score import _honest

TEST = load_shapes("test", count=12)
INPUTS = Preprocess.fit(TEST.images)(TEST.images)


def test_threshold_and_direction_come_from_the_first_half() -> None:
    masks = np.zeros((8, 6, 6), np.bool_)
    masks[:, :3, :3] = True
    dark = np.where(masks, 0.0, 1.0)
    found = _honest(dark, masks)
    assert (found.iou, found.inverted, found.pictures) == (1, True, 4)
    # Dark marks the object in the first half and bright in the second: the score must suffer.
    dark[4:] = 1 - dark[4:]
    found = _honest(dark, masks)
    assert found.inverted and found.iou < 0.3
    assert score(dark[4:], masks[4:]).iou == 1, "chosen on the same pictures, it would be perfect"


def test_every_map_is_scored() -> None:
    model = create_model("attention_nano")
    scores = score_attention(model, INPUTS, TEST.masks, rule="variance")
    means = [f"stage {s}, channel mean" for s in (1, 2)]
    assert list(scores)[::2] == [*means, "Grad-CAM of the answer"]
    assert all(found.pictures == 6 and found.threshold_given for found in scores.values())
    lines = score_table(scores).splitlines()
    assert len(lines) == 7 and lines[-1].startswith("centre of the picture")
    with pytest.raises(ShapeError, match="at least 4 pictures"):
        score_attention(model, INPUTS[:3], TEST.masks[:3])
    with pytest.raises(ShapeError, match="a mask for each"):
        score_attention(model, INPUTS, TEST.masks[:3])


@pytest.mark.parametrize("dark", [False, True])
def test_figure_of_gradcam(dark: bool, tmp_path) -> None:
    model = create_model("attention_nano")
    maps, attentions = gradcam(model, INPUTS[:2]), attention_maps(model, INPUTS[:2])
    whole = gradcam_figure(TEST.images[:2], maps, ["a", "b"], attentions, TEST.masks[:2], dark)
    assert len(whole.axes) == 2 * 5
    whole.savefig(tmp_path / "figure.png")
    assert len(gradcam_figure(TEST.images[:2], maps, ["a", "b"]).axes) == 2 * 2
    with pytest.raises(ShapeError, match="as many"):
        gradcam_figure(TEST.images[:2], maps, ["a"])
