"""Grad-CAM, responses by stage, reach of the masks."""

from __future__ import annotations

import numpy as np
import pytest

from minran import create_model, tensor
from minran.errors import ShapeError
from minran.inspect import gradcam, mask_reach, stage_responses

PICTURES = np.random.default_rng(0).standard_normal((3, 32, 32, 3))


def test_gradcam_at_the_last_norm_by_hand() -> None:
    """Behind it come only the mean over positions and fc: dz_k / dA = fc.weight[:, k] / (h w)."""
    model = create_model("attention_nano", dtype="float64", num_classes=4)
    kept = {}
    forward = model.norm.forward
    model.norm.forward = lambda x: kept.setdefault("features", forward(x))  # type: ignore[method-assign]
    maps = gradcam(model, PICTURES, classes=[3, 0, 2], layer="norm")
    features = kept["features"].numpy()
    weights = model.fc.weight.numpy()[:, [3, 0, 2]].T / (8 * 8)
    wanted = np.maximum((features * weights[:, None, None, :]).sum(-1), 0)
    np.testing.assert_allclose(maps, wanted, rtol=1e-12, atol=1e-15)
    assert maps.any()


def test_gradcam_defaults_and_side_effects() -> None:
    model = create_model("attention_nano")
    model(tensor(PICTURES.astype(np.float32))).sum().backward()
    before = [parameter.grad.copy() for parameter in model.parameters()]
    state = model.state_dict()
    maps = gradcam(model, PICTURES, batch_size=2)
    assert maps.shape == (3, 8, 8) and maps.dtype == np.float32 and maps.min() >= 0
    same = gradcam(model, PICTURES, layer="stages.1.1", batch_size=2)
    np.testing.assert_array_equal(maps, same)
    after = [parameter.grad for parameter in model.parameters()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(np.array_equal(state[name], value) for name, value in model.state_dict().items())
    assert model.training


def test_gradcam_of_batches_and_of_the_predicted_class() -> None:
    # In float64: other batches are other products of matrices, which round otherwise (in float32
    # a map is a difference of larger numbers and keeps four digits). The rest is under 1e-9.
    model = create_model("attention_nano", dtype="float64")
    predicted = model.eval()(tensor(PICTURES)).numpy().argmax(1)
    maps = gradcam(model, PICTURES, batch_size=2)
    assert maps.any()
    np.testing.assert_allclose(maps, gradcam(model, PICTURES, predicted), rtol=1e-9, atol=1e-12)


def test_gradcam_errors() -> None:
    model = create_model("attention_nano")
    with pytest.raises(ShapeError, match=r"must output maps"):
        gradcam(model, PICTURES, layer="fc")
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_responses_are_means_of_absolute_values() -> None:
    model = create_model("attention_nano")
    responses = stage_responses(model, PICTURES, batch_size=2)
    assert list(responses) == ["stem", "stage 1", "stage 2", "tail"]
    x = model.eval().stem(tensor(PICTURES.astype(np.float32)))
    assert responses["stem"] == pytest.approx(np.abs(x.numpy()).mean(), rel=1e-5)
    by_module = stage_responses(model, PICTURES, by="module")
    assert list(by_module) == ["stages.0.1", "stages.1.1"]
    assert by_module["stages.0.1"] == pytest.approx(responses["stage 1"], rel=1e-5)


def test_reach_of_a_local_mask_is_what_its_layers_allow() -> None:
    """Stage 1, local: two units before the mask and three in it, each with one 3x3
    convolution on the map after a 2x2 pool; the stem's 3x3 lies before the pool.
    """
    local, _ = mask_reach(create_model("attention_nano", mask="local"), pictures=16)
    assert (local.rows, local.columns) == (24, 24)  # (2 * 5 + 1) * 2 + 2
    deep, _ = mask_reach(create_model("attention_nano"), pictures=2)
    assert deep.rows == 32 and deep.covered == 1
    assert deep.effective >= local.effective
    assert deep.gradient.sum() == pytest.approx(1) and "100% of the image" in str(deep)
