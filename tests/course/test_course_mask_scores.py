"""What notebook 13 measures: parts of a variance, replaced masks, pixels that go and come."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from minran import nn
from minran.data import load_shapes
from minran.inspect import class_probabilities
from minran.train import load_pretrained
from minran.workshop.course import mask_scores
from minran.workshop.course.mask_scores import (
    REPLACEMENTS,
    SHARES,
    border_colour,
    inside_outside,
    pixel_curves,
    random_network,
    replaced_masks,
    right_answers,
    variance_parts,
)

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "quickstart" / "masks.json"
SHAPES = load_shapes("test", count=24)


def test_four_parts_of_a_variance() -> None:
    """One part alone has all of it; of noise the shares follow from the counts."""
    rng = np.random.default_rng(0)
    whole = np.zeros((6, 4, 5, 3))
    for place, one in enumerate(
        (
            whole + rng.standard_normal(3),
            whole + rng.permuted(np.tile(np.arange(6.0), (3, 1)), axis=1).T[:, None, None, :],
            whole + rng.permuted(np.tile(np.arange(20.0), (3, 1)), axis=1).T.reshape(1, 4, 5, 3),
        )
    ):
        parts = variance_parts(one)
        assert parts[place] == pytest.approx(1) and sum(parts) == pytest.approx(1)
    assert sum(variance_parts(rng.random((6, 4, 5, 3)))) == pytest.approx(1)


def test_darker_inside() -> None:
    outlines = np.zeros((4, 8, 8), bool)
    outlines[:, 2:5, 2:5] = True
    mask = np.where(outlines, 0.25, 0.75)[..., None] + np.zeros(3)
    difference, error = inside_outside(mask, outlines)
    assert difference == pytest.approx(-0.5) and error == pytest.approx(0)


def test_the_colour_of_the_border() -> None:
    images = np.full((2, 8, 8, 3), 40, np.uint8)
    images[:, 3, 4] = 43, 44, 40
    found = border_colour(images)
    assert found[0, 3, 4] == 5 and found.sum() == 10


def test_replaced_masks_are_put_back_and_change_the_answers() -> None:
    network, preprocess, _ = load_pretrained("quickstart")
    inputs = preprocess(SHAPES.images)
    before, masks = class_probabilities(network, inputs), [s[1].mask for s in network.stages]
    found = replaced_masks(network, inputs, SHAPES.labels)
    assert found["intact"] == np.mean(before.argmax(axis=1) == SHAPES.labels)
    assert len(found) == 1 + 4 * len(REPLACEMENTS)
    assert min(found.values()) < found["intact"]
    assert all(s[1].mask is mask for s, mask in zip(network.stages, masks))
    same = right_answers(network, inputs, SHAPES.labels, lambda m: m)
    assert same == found["intact"]
    with pytest.raises(ZeroDivisionError):
        right_answers(network, inputs, SHAPES.labels, lambda m: m * (1 // 0))
    assert all(s[1].mask is mask for s, mask in zip(network.stages, masks))


def test_replacements_keep_what_they_say() -> None:
    mask = np.random.default_rng(1).random((5, 2, 3, 4))
    means, numbers, other = (change(mask) for change in REPLACEMENTS.values())
    np.testing.assert_allclose(means[:, 0, 0], mask.mean(axis=(1, 2)))
    np.testing.assert_allclose(numbers[3, 1, 2], mask.mean(axis=(0, 1, 2)))
    assert np.array_equal(other[1], mask[0]) and np.array_equal(other[0], mask[4])


class Bright(nn.Module):
    """Two classes: the mean of all pixels as the logit of class 1."""

    def __init__(self) -> None:
        self.fc = nn.Linear(1, 2, dtype=np.float64)
        self.fc.weight.data[...] = [[0.0, 1.0]]

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.fc(x.mean(axis=(1, 2, 3)).reshape((len(x), 1)))


def test_pixels_go_and_come_in_the_order_of_the_map() -> None:
    """Four bright pixels in 100: found first by a map that knows them, last by its opposite."""
    images = np.zeros((3, 10, 10, 3), np.uint8)
    images[:, 4:6, 4:6] = 200
    maps = (images[..., 0] > 0).astype(np.float64)

    def curves(maps: np.ndarray) -> dict[str, list[float]]:
        labels = np.ones(3, np.int64)
        return pixel_curves(Bright(), lambda x: x.astype(np.float64), images, labels, maps)

    first, last = curves(maps), curves(-maps)
    whole = 1 / (1 + np.exp(-8.0))
    assert first["deletion"] == pytest.approx([whole] + [0.5] * (len(SHARES) - 1))
    assert first["insertion"] == pytest.approx([0.5] + [whole] * (len(SHARES) - 1))
    assert last["deletion"] == pytest.approx([whole] * (len(SHARES) - 1) + [0.5])


def test_random_weights_know_nothing_and_are_ready() -> None:
    network, preprocess, _ = load_pretrained("quickstart")
    inputs = preprocess(SHAPES.images)
    one, two = (random_network(inputs, seed) for seed in (0, 1))
    shapes = [{n: a.shape for n, a in m.state_dict().items()} for m in (one, two, network)]
    assert shapes[0] == shapes[1] == shapes[2] and not one.training
    assert not np.allclose(class_probabilities(one, inputs), class_probabilities(two, inputs))


def test_the_shipped_log_is_the_measured_one() -> None:
    log = mask_scores.mask_scores()
    assert log == json.loads(RESULTS.read_text())
    network, preprocess, _ = load_pretrained("quickstart")
    many = load_shapes("test", count=1000)
    accuracy = right_answers(network, preprocess(many.images), many.labels)
    # Rounding may turn an image that lies on the border of two classes, not more than a few.
    assert abs(accuracy - log["accuracy"]["seed 0"]["intact"]) <= 3 / 1000
