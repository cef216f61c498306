"""Taking masks out of a network, reducing and resizing them."""

from __future__ import annotations

import numpy as np
import pytest

from minran import create_model
from minran.errors import ShapeError
from minran.inspect import added, attention_maps, channel_mean, choose_channels, overlay
from minran.inspect.masks import resize_maps, stretch

PICTURES = np.random.default_rng(0).standard_normal((5, 32, 32, 3)).astype(np.float32)


@pytest.mark.parametrize("learning", ["residual", "naive"])
def test_attention_maps_obey_the_equation(learning: str) -> None:
    model = create_model("attention_small_cifar", learning=learning)
    found = attention_maps(model, PICTURES, batch_size=2)
    assert [a.name for a in found] == ["stages.0.1", "stages.1.1", "stages.2.1"]
    assert [a.title for a in found] == ["stage 1", "stage 2", "stage 3"]
    assert [a.mask.shape for a in found] == [(5, 16, 16, 32), (5, 8, 8, 64), (5, 4, 4, 128)]
    for a in found:
        factor = a.mask + 1 if learning == "residual" else a.mask
        np.testing.assert_allclose(a.output, factor * a.trunk, rtol=1e-6)
        # (0, 1), but an untrained network's logits are so large that float32 rounds to the ends
        assert a.mask.min() >= 0 and a.mask.max() <= 1


def test_attention_maps_of_batches_are_those_of_the_whole() -> None:
    # In float64: other batches are other products of matrices, which round otherwise, and logits
    # near -60 pass the absolute error of a logit on as the relative error of its mask. 1e-9 is
    # a million roundings.
    model = create_model("attention_small_cifar", dtype="float64")
    found = attention_maps(model, PICTURES.astype(np.float64), batch_size=2)
    whole = attention_maps(model, PICTURES.astype(np.float64))
    for a, b in zip(whole, found, strict=True):
        np.testing.assert_allclose(a.mask, b.mask, rtol=1e-9)


def test_the_model_is_left_as_it_was() -> None:
    model = create_model("attention_nano")
    model.tail.eval()
    before = model.state_dict()
    attention_maps(model, PICTURES)
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training and model.stem.training and not model.tail.training
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ShapeError):
        attention_maps(model, PICTURES[..., :2])
    assert model.training and not model.tail.training


def test_a_network_without_masks() -> None:
    with pytest.raises(ShapeError, match="no attention module with a mask"):
        attention_maps(create_model("attention_nano", mask="none"), PICTURES)


def test_choose_channels_by_each_rule() -> None:
    mask = np.full((2, 4, 4, 5), 0.5)
    mask[..., 1] += 0.4  # largest mean, no variance
    mask[:, :2, :, 2] += 0.2  # half high: largest variance
    mask[:, 0, 0, 3] += 0.35  # one bright spot: largest range and skewness
    mask[:, 1:, :, 4] += 0.1
    for rule, first in (("mean", 1), ("variance", 2), ("range", 3), ("spots", 3)):
        chosen = choose_channels(mask, rule, count=2)
        assert chosen.indices[0] == first, rule
        assert chosen.maps.shape == (2, 4, 4, 2) and rule != chosen.rule
    given = choose_channels(mask, "given", channels=[4, 0])
    assert given.indices == (4, 0) and given.rule == "given by hand"
    np.testing.assert_array_equal(given.maps, mask[..., [4, 0]])
    np.testing.assert_allclose(channel_mean(mask), mask.mean(-1))


def test_resize_puts_values_at_the_middle_of_their_pixels() -> None:
    maps = np.arange(4.0).reshape(1, 1, 4).repeat(4, axis=1)
    wide = resize_maps(maps, (8, 8))
    np.testing.assert_allclose(wide[0, 3], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)


def test_stretch_and_overlay() -> None:
    maps = np.stack([np.full((2, 2), 0.3), np.array([[0.2, 0.4], [0.6, 0.7]])])
    np.testing.assert_allclose(stretch(maps), [[[0, 0]] * 2, [[0, 0.4], [0.8, 1]]], atol=1e-12)
    image = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    laid = overlay(image, maps[1])
    assert laid.shape == (8, 8, 3) and laid.min() >= 0 and laid.max() <= 1
    grey = overlay(image, maps[1], strength=0)
    np.testing.assert_allclose(grey[..., 0], grey[..., 2])
    assert overlay(image, maps[1], 1)[-1, -1].sum() > overlay(image, maps[1], 1)[0, 0].sum()
    with pytest.raises(ShapeError, match="uint8 or between 0 and 1"):
        overlay(image.astype(np.float32), maps[1])


def test_limits_of_an_overlay_fix_what_a_colour_means() -> None:
    image, maps = np.zeros((2, 2, 3), np.uint8), np.array([[0.2, 0.4], [0.6, 0.7]])
    own = overlay(image, maps, 1)
    np.testing.assert_array_equal(overlay(image, maps, 1, (0.2, 0.7)), own)
    wide = overlay(image, maps, 1, (0.2, 1.2))
    np.testing.assert_array_equal(wide, overlay(image, (maps + 0.2) / 2, 1, (0.2, 0.7)))
    # What lies outside has the colour of the end; a scale of one value is no division by zero.
    np.testing.assert_array_equal(overlay(image, maps, 1, (0.6, 0.7))[0], [own[0, 0]] * 2)
    assert np.isfinite(overlay(image, np.full((2, 2), 0.3), 1, (0.3, 0.3))).all()


def test_added_is_the_difference_that_the_mask_makes() -> None:
    (first, _) = attention_maps(create_model("attention_nano"), PICTURES[:2])
    difference = np.abs(first.output - first.trunk).mean(axis=3)
    np.testing.assert_allclose(added(first), difference, rtol=1e-4, atol=1e-6)
