from __future__ import annotations

import numpy as np
import pytest

import minran
from minran.errors import ShapeError
from minran.live import look
from minran.models import AttentionModule
from minran.nn import Module

PICTURE = np.random.default_rng(0).normal(size=(32, 32, 3)).astype(np.float32)


def network(**options: object) -> Module:
    return minran.create_model("attention_nano", 10, seed=0, **options).eval()


def test_the_steps_are_those_of_the_equations() -> None:
    model = network()
    shown = look(model, PICTURE)
    assert shown.probabilities == pytest.approx(
        minran.inspect.class_probabilities(model, PICTURE[None])[0], abs=1e-5
    )
    for attention in minran.inspect.attention_maps(model, PICTURE[None]):
        steps = {step.key: step.values for step in shown.modules[attention.name]}
        np.testing.assert_array_equal(steps["M"], attention.mask[0])
        np.testing.assert_array_equal(steps["T"], attention.trunk[0])
        np.testing.assert_array_equal(steps["H"], attention.output[0])
        sigmoid = 0.5 + 0.5 * np.tanh(steps["logits"] / 2)
        np.testing.assert_allclose(steps["M"], sigmoid, atol=1e-6)
        sides = [steps[key].shape[0] for key in steps if key.startswith("pool")]
        rises = [steps[key].shape[0] for key in steps if key.startswith("up")]
        assert rises == [*sides[-2::-1], steps["u"].shape[0]]
        assert steps["smallest"].shape == steps[f"pool {len(sides)}"].shape


@pytest.mark.parametrize("learning", ["residual", "naive"])
def test_a_painted_mask_takes_the_place_of_the_networks_own(learning: str) -> None:
    model = network(learning=learning)
    name, module = next(m for m in model.named_modules() if isinstance(m[1], AttentionModule))
    before, own = look(model, PICTURE), module.mask
    values = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    shown = look(model, PICTURE, {name: values})
    steps = {step.key: step for step in shown.modules[name]}
    mask, trunk = steps["M"].values, steps["T"].values
    assert (mask == mask[..., :1]).all()
    assert mask.min() == 0 and mask.max() == 1
    gated = mask * trunk if learning == "naive" else (1 + mask) * trunk
    np.testing.assert_allclose(steps["H"].values, gated, rtol=1e-6, atol=1e-6)
    assert steps["H"].equation == ("H = M T" if learning == "naive" else "H = (1 + M) T")
    assert "logits" not in steps
    # The network is left as it was.
    assert module.mask is own
    np.testing.assert_array_equal(look(model, PICTURE).probabilities, before.probabilities)


def test_masks_of_units_without_pooling_are_shown_too() -> None:
    shown = look(network(mask="local"), PICTURE)
    assert [step.key for step in next(iter(shown.modules.values()))] == [
        "u",
        "logits",
        "M",
        "T",
        "H",
    ]


@pytest.mark.parametrize(
    ("picture", "masks", "sentence"),
    [
        (PICTURE[None], {}, "a picture must be (H, W, C), got shape (1, 32, 32, 3)"),
        (PICTURE, {"stem": np.ones((2, 2))}, "no attention module 'stem'"),
        (PICTURE, {"stages.0.1": np.ones(2)}, "finite numbers (h, w), got (2,)"),
        (PICTURE, {"stages.0.1": np.ones((0, 2))}, "finite numbers (h, w), got (0, 2)"),
        (PICTURE, {"stages.0.1": np.full((2, 2), np.nan)}, "finite numbers"),
        ((PICTURE * 255).astype(np.uint8), {}, "raw pixels"),
    ],
)
def test_what_does_not_fit_is_said(picture: np.ndarray, masks: dict, sentence: str) -> None:
    model = network()
    masked = [m.mask for _, m in model.named_modules() if isinstance(m, AttentionModule)]
    with pytest.raises(ShapeError) as caught:
        look(model, picture, masks)
    assert sentence in str(caught.value)
    assert [m.mask for _, m in model.named_modules() if isinstance(m, AttentionModule)] == masked


def test_a_network_without_masks_is_refused() -> None:
    with pytest.raises(ShapeError, match="mask"):
        look(network(mask="none"), PICTURE)
