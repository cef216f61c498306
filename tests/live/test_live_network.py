from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minran
from minran.errors import ShapeError
from minran.live import load_network, look
from minran.live.network import about
from minran.live.server import COMPARED
from minran.models import AttentionModule
from minran.nn import Module

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "quickstart-compared"
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
    # What the network's own mask would have come from is shown all the same.
    for step in before.modules[name]:
        if step.key not in ("M", "H"):
            np.testing.assert_array_equal(steps[step.key].values, step.values)
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
        (PICTURE[None], {}, "an image must be (H, W, C), got shape (1, 32, 32, 3)"),
        (PICTURE, {"stem": np.ones((2, 2))}, "no attention module 'stem' with a mask"),
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


def test_a_network_without_masks_has_trunks_and_outputs() -> None:
    shown = look(network(mask="none"), PICTURE)
    for steps in shown.modules.values():
        parts = {step.key: step for step in steps}
        assert list(parts) == ["u", "T", "H"] and parts["H"].equation == "H = T"
        np.testing.assert_array_equal(parts["H"].values, parts["T"].values)
    assert len(shown.modules) == 2


def test_a_network_without_attention_modules_is_refused() -> None:
    with pytest.raises(ShapeError, match="ResNet has no attention module"):
        look(minran.create_model("resnet164_cifar"), PICTURE)


@pytest.mark.parametrize("kind", ["mixed", "channel", "spatial"])
def test_m_is_what_its_equation_says(kind: str) -> None:
    """The words of the page, computed by NumPy."""
    steps = next(iter(look(network(attention=kind), PICTURE).modules.values()))
    parts = {step.key: step for step in steps}
    logits, equation = parts["logits"].values.astype(np.float64), parts["M"].equation
    if kind == "channel":
        assert equation == "M = logits / length over the channels"
        mask = logits / np.sqrt((logits**2).sum(axis=2, keepdims=True))
    else:
        assert "sigmoid(" in equation
        if kind == "spatial":
            assert "(logits - mean) / deviation over the map" in equation
            logits = logits - logits.mean(axis=(0, 1))
            logits /= np.sqrt(logits.var(axis=(0, 1)) + 1e-5)  # eps of `ops.spatial_attention`
        mask = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(parts["M"].values, mask, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words", "least"),
    [
        ({}, "residual learning, H = (1 + M) T; mixed attention", 0),
        ({"learning": "naive"}, "naive learning, H = M T; mixed attention", 0),
        (
            {"attention": "channel"},
            "residual learning, H = (1 + M) T; channel attention",
            -1,
        ),
        (
            {"mask": "local"},
            "residual learning, H = (1 + M) T; mixed attention; masks without pooling",
            0,
        ),
        ({"mask": "none"}, "no mask: H = T", None),
    ],
)
def test_networks_say_what_they_differ_in(
    options: dict[str, str], words: str, least: int | None
) -> None:
    assert about(network(**options)) == {"words": words, "least": least}


@pytest.mark.parametrize("name", COMPARED[1:])
def test_shipped_networks_differ_in_one_setting_and_are_as_accurate_as_recorded(name: str) -> None:
    first, network = load_network("quickstart").recipe, load_network(name)
    own = network.recipe
    changed = own.model.options.keys() - first.model.options.keys()
    model = {k: v for k, v in own.model.options.items() if k not in changed}
    assert len(changed) == 1 and model == first.model.options
    # What a recipe leaves open is written down when a run begins.
    same = {"name": first.name, "description": first.description, "training": first.training}
    assert replace(own, model=first.model, **same) == first
    assert own.training == replace(first.training, precise_norm=0)
    test = minran.data.load_shapes("test")
    shares = minran.inspect.class_probabilities(network.trained, network.prepare(test.images[:]))
    log = RESULTS / f"{name.removeprefix('quickstart_')}.jsonl"
    recorded = json.loads(log.read_text().splitlines()[-1])["test_accuracy"]
    # Another machine rounds otherwise: a picture or two between two classes may go over.
    assert (shares.argmax(1) == test.labels).mean() == pytest.approx(recorded, abs=2.5 / 2000)
