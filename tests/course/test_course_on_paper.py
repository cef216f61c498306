"""The module on paper: numbers worked out by hand, compared with those of the library."""

from __future__ import annotations

import numpy as np
import pytest

from minran.course import paper_frames
from minran.workshop.course.on_paper import _short, worked

VALUES, SLOPES = worked()
LOG = np.log(3)


def table(text: str) -> np.ndarray:
    return np.array([[eval(word) for word in row.split()] for row in text.split(",")], float)


@pytest.mark.parametrize(
    ("found", "by_hand"),
    [
        (VALUES["pool"][..., 0], "3 0, 6 3"),
        (VALUES["pool"][..., 1], "3 3, 3 3"),
        (VALUES["up"][..., 0], "3 2 1 0, 4 3 2 1, 5 4 3 2, 6 5 4 3"),
        (VALUES["logits"][..., 0] / LOG, "0 -1 -2 -3, 1 0 -1 -2, 2 1 0 -1, 3 2 1 0"),
        (VALUES["logits"][..., 1] / LOG, "0 1 2 3, -1 0 1 2, -2 -1 0 1, -3 -2 -1 0"),
        (VALUES["M"][0:2, :, 0], "1/2 1/4 1/10 1/28, 3/4 1/2 1/4 1/10"),
        (VALUES["H"][0:2, :, 0], "9/2 5/4 -11/10 0, 7/4 3 -5/2 -11/10"),
        (SLOPES["T"][0:2, 0], "6 0, 28 0"),
        (SLOPES["M"][0:2, 0], "12 0, 16 0"),
        (SLOPES["logits"][0:3:2, 0:3:2, 1], "0 0, 0 -9"),
        (SLOPES["up"][0:3, 0:3, 0] / LOG, "3 0 0, 3 0 0, 0 0 9"),
        (SLOPES["pool"][..., 0] / LOG, "6 2, 3 4"),
        (SLOPES["pool"][..., 1] / LOG, "-6 -2, -3 -4"),
        (SLOPES["u, by the mask"][..., 0] / LOG, "6 0 0 2, 0 0 0 0, 0 0 0 0, 3 0 0 4"),
        (SLOPES["u, by the mask"][2:, 2:, 1] / LOG, "-15 0, 0 0"),
    ],
)
def test_by_hand(found: np.ndarray, by_hand: str) -> None:
    np.testing.assert_allclose(found, table(by_hand), rtol=1e-12, atol=1e-12)


def test_the_frames_show_them() -> None:
    forward, backward = paper_frames(), paper_frames(backward=True)
    assert len(forward.pictures) == 6 and len(backward.pictures) == 8

    def texts(picture) -> list[str]:  # type: ignore[no-untyped-def]
        return [text.get_text() for axes in picture.axes for text in axes.texts]

    assert {"9/2", "-11/10", "27/28"} <= set(texts(forward.pictures[-1]))
    assert "12.59" in texts(backward.pictures[-1])  # 6 + 6 ln 3
    assert backward.pictures[-1].axes[-2].get_title() == "g of u"


def test_short_fractions() -> None:
    assert [_short(x) for x in (0.0, -3.0, 1 / 28, 0.9, 6.592)] == [
        "0",
        "-3",
        "1/28",
        "9/10",
        "6.59",
    ]
