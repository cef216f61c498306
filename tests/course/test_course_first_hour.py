"""What notebook 00b promises: images whose frame and signs no small window joins, and all words."""

from __future__ import annotations

import re

import numpy as np
import pytest
from course_helpers import NOTEBOOKS, command

from minran.course import framed_signs
from minran.errors import DataError
from minran.workshop.course.checking import judge, number_of
from minran.workshop.course.copies import read_notebook
from minran.workshop.course.first_hour import _FRAME, _PIXELS

SOURCE = NOTEBOOKS / "00b_first_hour.py"


def test_labels_corners_and_masks_agree() -> None:
    data = framed_signs(200, seed=3)
    smooth = data.images[..., 0]
    for image, label, mask, corners in zip(smooth, data.labels, data.masks, data.corners):
        kinds = []
        for row, column in corners:
            sign = image[row : row + 3, column : column + 3]
            errors = [np.square(sign - pixels).sum() for pixels in _PIXELS]
            kinds.append(int(np.argmin(errors)))
        assert kinds[0] == label and len(set(kinds)) == 3
        row, column = corners[0]
        expected = np.zeros((20, 20))
        expected[row - 1 : row + 4, column - 1 : column + 4] = 1
        np.testing.assert_array_equal(mask[..., 0], expected)
        frames = [(image[r - 3 : r + 6, c - 3 : c + 6] * _FRAME).sum() for r, c in corners]
        assert np.argmax(frames) == 0


def test_no_window_of_3_sees_a_frame_and_a_sign() -> None:
    """What the text says of the network without a mask, on images without noise."""
    for corners in framed_signs(500, seed=4).corners:
        row, column = corners[0]
        framed, signs = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
        framed[row - 3 : row + 6, column - 3 : column + 6] = _FRAME > 0
        for r, c in corners:
            signs[r : r + 3, c : c + 3] = True
        windows = [np.lib.stride_tricks.sliding_window_view(x, (3, 3)) for x in (framed, signs)]
        joined = windows[0].any(axis=(2, 3)) & windows[1].any(axis=(2, 3))
        assert not joined.any()


def test_the_same_seed_gives_the_same_images() -> None:
    one, two, other = framed_signs(3), framed_signs(3), framed_signs(3, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(one, two))
    assert not np.array_equal(one.images, other.images)


def test_every_word_of_notebook_00_is_in_the_list() -> None:
    start = (NOTEBOOKS / "00_start_here.py").read_text(encoding="utf-8").split("## 4 ·")[0]
    start = start.split("# ## 1 ·")[1]
    words = {
        word.strip().lower()
        for bold in re.findall(r"\*\*([^*]+)\*\*", start)
        for word in bold.split(",")
        if re.fullmatch(r"[a-zA-Z ]+", word.strip())
    }
    listed = SOURCE.read_text(encoding="utf-8").split("## 7 · The words")[1].split("## 8 ·")[0]
    known = {word.lower() for word in re.findall(r"\*\*([^*]+)\*\*", listed)}
    # Sentences and names of one drawing, no words of the field.
    told = {"before", "after", "shapes", "darker on the object", "each map is stretched"}
    told |= {"naive", "residual", "norm", "stages", "fc"}
    assert len(words & known) >= 14
    assert words - known - told == set()


def test_a_notebook_may_have_a_letter() -> None:
    assert [number_of(one) for one in (3, "3", "03", "00b")] == ["03", "03", "03", "00b"]
    notebook = read_notebook(SOURCE)
    assert notebook.number == "00b" and notebook.tasks[0].name == "00b.1"
    with pytest.raises(DataError, match=r"no check for task 00b\.9; notebook 00b has 00b\.1"):
        judge("00b.9", None)


def test_grading_takes_it(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    cells = ["painted = None", "def pointing(masks, true):\n    return true.mean()"]
    text = "\n\n".join(f"# %%\n{cell}" for cell in cells)
    named = tmp_path / "00b_mine.py"
    named.write_text(text + "\n", encoding="utf-8")
    assert command("course", "grade", str(named)) == 1
    assert "(notebook 00b)" in (first := capsys.readouterr().out) and "00b.4" in first
    other = tmp_path / "mine.py"
    other.write_text(text + "\n", encoding="utf-8")
    assert command("course", "grade", "--notebook", "00b", str(other)) == 1
    assert "(notebook 00b)" in capsys.readouterr().out
