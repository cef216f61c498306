"""Counts against section 3 of the specification, and the table that is printed."""

from __future__ import annotations

import numpy as np
import pytest

from minran import create_model, nn, tensor
from minran.errors import ShapeError
from minran.inspect import summary
from minran.inspect.summary import quantity
from minran.models import AttentionModule
from minran.models.units import Build


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds", "depth"),
    [
        ("attention56", 31_810_728, "6.271 G", 56),
        ("attention92", 52_466_344, "10.534 G", 92),
    ],
)
def test_imagenet_counts(name: str, parameters: int, multiply_adds: str, depth: int) -> None:
    counted = summary(create_model(name))
    assert counted.parameters == parameters
    assert quantity(counted.multiply_adds) == multiply_adds
    assert counted.trunk_depth == depth
    assert counted.image_shape == (224, 224, 3)
    assert counted.rows["stages.0"].shape == (56, 56, 256)
    assert counted.rows["tail"].shape == (7, 7, 2048)


@pytest.mark.parametrize(
    ("name", "without_norm", "depth"),
    [
        ("attention56_cifar", 1.133, 56),
        ("attention92_cifar", 1.932, 92),
        ("attention128_cifar", 2.730, 128),
        ("attention164_cifar", 3.529, 164),
        ("attention236_cifar", 5.127, 236),
        ("attention452_cifar", 10.14, 452),
        ("resnet164_cifar", 1.679, 164),
    ],
)
def test_cifar_counts(name: str, without_norm: float, depth: int) -> None:
    counted = summary(create_model(name))
    digits = 2 if without_norm > 10 else 3
    assert round(counted.parameters_without_norm / 1e6, digits) == without_norm
    assert counted.trunk_depth == depth


def test_multiply_adds_by_hand() -> None:
    """3x3 convolution with stride 2 in 2 groups, then a linear layer."""
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.GlobalAvgPool(), nn.Linear(6, 5)
    )
    counted = summary(model, image_size=(7, 9))
    assert counted.multiply_adds == 4 * 5 * 9 * 2 * 6 + 30
    assert counted.rows["0"].shape == (4, 5, 6)
    assert counted.mask_parameters == 0 and counted.trunk_depth is None


def test_masks_share_and_sums() -> None:
    model = create_model("attention_nano")
    counted = summary(model)
    rows = counted.rows
    masks = [row for name, row in rows.items() if name.endswith(".mask")]
    assert len(masks) == 2 and {row.kind for row in masks} == {"MaskBranch"}
    assert counted.mask_parameters == sum(row.parameters for row in masks)
    assert counted.mask_multiply_adds == sum(row.multiply_adds for row in masks)
    parts = [rows[f"stages.0.1.{part}"] for part in ("before", "trunk", "mask", "after")]
    assert rows["stages.0.1"].parameters == sum(row.parameters for row in parts)
    assert rows["stages.0.1"].multiply_adds == sum(row.multiply_adds for row in parts)
    assert rows[""].parameters == counted.parameters == model.num_parameters()
    assert summary(create_model("attention_nano", mask="none")).mask_parameters == 0


def test_model_is_left_as_it_was() -> None:
    model = create_model("attention_nano")
    model.stages[0].eval()
    before = model.state_dict()
    summary(model)
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())
    modes = {name: module.training for name, module in model.named_modules()}
    assert modes["stem.0"] and not modes["stages.0.1.trunk"]
    # It still runs, and still records.
    model(tensor(np.zeros((1, 32, 32, 3), np.float32))).sum().backward()


def test_text_shows_parts_of_attention_modules_and_folds_equal_neighbours() -> None:
    text = str(summary(create_model("attention92_cifar")))
    lines = text.splitlines()
    assert any(line.split()[:2] == ["mask", "2"] for line in lines)
    assert any("1-2" in line and "2 x AttentionModule" in line for line in lines)
    assert not any("Hourglass" in line for line in lines)
    assert "36 m + 20 with m = 2" in text
    assert "without batch norm" in text and "masks" in text
    assert max(map(len, lines)) <= 100
    deep = summary(create_model("attention_nano")).text(depth=99)
    assert "Hourglass" in deep and "conv3" in deep
    shallow = summary(create_model("attention_nano")).text(depth=1)
    assert "AttentionModule" not in shallow and "stages" in shallow


def test_a_module_alone_needs_a_size() -> None:
    module = AttentionModule(Build(np.random.default_rng(0)), 16, depth=2)
    assert summary(module, 12).rows["mask"].shape == (12, 12, 16)
    with pytest.raises(ShapeError, match="give image_size"):
        summary(module)
