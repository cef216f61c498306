"""The networks: their parts, sizes, names, options, errors, and that they repeat themselves."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from model_checks import (
    IMAGENET,
    check_mask_reads_no_trunk,
    loss_of,
    outputs,
    pictures,
    small,
    training_step,
    watch,
    with_threads,
)

import minran
from minran import create_model, list_models, nn, no_grad, tensor
from minran.errors import RecipeError
from minran.models import AttentionModule, Hourglass, MaskBranch, PreActUnit, ran
from minran.optim import SGD

CIFAR = {"attention56_cifar": 1, "attention92_cifar": 2, "attention128_cifar": 3}
CIFAR |= {"attention164_cifar": 4, "attention236_cifar": 6}


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only shapes matter: weights of the large networks without drawing them."""
    monkeypatch.setattr(
        nn.init, "he_normal", lambda rng, shape, dtype: np.empty(shape, np.dtype(dtype))
    )


def test_list_models() -> None:
    assert set(IMAGENET) <= set(list_models())
    assert set(CIFAR) <= set(list_models())
    for name in ("attention452_cifar", "attention_small_cifar", "attention_nano"):
        assert name in list_models()
    assert list_models()[-1] == "resnet164_cifar"


# --- exact sizes


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("attention56", 31_810_728),
        ("attention92", 52_466_344),
        ("attentionnext56", 31_318_824),
        ("attentionnext92", 52_102_952),
        ("attention_small_cifar", 239_786),
    ],
)
def test_parameters_are_those_of_the_authors_files(name: str, count: int) -> None:
    assert create_model(name).num_parameters() == count


def test_resnet164_counted_by_hand() -> None:
    """54 pre-activation bottlenecks (He et al. 2016) behind a convolution of 16 channels."""
    count, width = 3 * 9 * 16, 16
    for channels in (64, 128, 256):
        inner = channels // 4
        for unit in range(18):
            norms = 2 * width + 2 * inner + 2 * inner
            convs = width * inner + 9 * inner * inner + inner * channels
            count += norms + convs + (width * channels if unit == 0 else 0)
            width = channels
    count += 2 * width + width * 10 + 10
    assert create_model("resnet164_cifar").num_parameters() == count


def convolutions(model: nn.Module) -> int:
    """Numbers in convolutions and the classifier: parameters without batch norm."""
    return sum(
        p.size for name, p in model.named_parameters() if not name.endswith(("gamma", "beta"))
    )


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize(
    ("name", "without", "with_norms"),
    [
        ("attention56_cifar", "1.133", "1.149"),
        ("attention92_cifar", "1.932", "1.960"),
        ("attention128_cifar", "2.730", None),
        ("attention164_cifar", "3.529", None),
        ("attention236_cifar", "5.127", "5.203"),
        ("attention452_cifar", "10.14", None),
    ],
)
def test_parameters_of_the_cifar_networks(name: str, without: str, with_norms: str | None) -> None:
    model = create_model(name)
    digits = len(without.partition(".")[2])
    assert f"{convolutions(model) / 1e6:.{digits}f}" == without
    if with_norms is not None:
        assert f"{model.num_parameters() / 1e6:.3f}" == with_norms


def unit_size(cin: int, c: int, stride: int = 1) -> int:
    """A pre-activation unit, by hand: three convolutions, three norms, perhaps a projection."""
    b = c // 4
    projection = cin * c if cin != c or stride != 1 else 0
    return cin * b + 9 * b * b + b * c + 2 * (cin + 2 * b) + projection


def cifar_size(m: int, p: int = 1, t: int = 2, r: int = 1, classes: int = 10) -> int:
    """Section 3 of the network's description, counted by hand."""
    total, width = 27 * 16, 16
    for stage, c in enumerate((64, 128, 256)):
        total += unit_size(width, c, 1 if stage == 0 else 2)
        depth = 3 - stage
        mask_units = depth * r + r + (depth - 1) * (1 + r)  # down, bottom, skip and up
        head = 2 * (c * c + 2 * c)
        total += m * ((2 * p + t + mask_units) * unit_size(c, c) + head)
        width = c
    return total + 3 * unit_size(256, 256) + 2 * 256 + 256 * classes + classes


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("name", [*CIFAR, "attention452_cifar"])
def test_every_single_parameter_is_accounted_for(name: str) -> None:
    size = cifar_size(6, 2, 4, 3) if "452" in name else cifar_size(CIFAR[name])
    assert create_model(name).num_parameters() == size
    assert create_model(name, 100).num_parameters() == size + 90 * 257


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize(
    "name", [*CIFAR, "attention56", "attention92", "attention452_cifar", "resnet164_cifar"]
)
def test_the_number_in_the_name_is_the_depth(name: str) -> None:
    """36 m + 20: layers on the way through the trunk, shortcuts and masks apart."""
    layers = [
        key
        for key, module in create_model(name).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
        and ".mask." not in key
        and not key.endswith("shortcut")
    ]
    assert len(layers) == int(re.search(r"\d+", name).group())


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("name", list_models())
def test_classes(name: str) -> None:
    default = 1000 if name in IMAGENET else 10
    assert create_model(name).fc.bias.shape == (default,)
    assert create_model(name, 7).fc.bias.shape == (7,)
    assert create_model(name, np.int64(7)).fc.bias.shape == (7,)


# --- structure


def test_names_of_the_tree() -> None:
    """Checkpoints and PyTorch's twin depend on these."""
    names = [name for name, _ in create_model("attention56_cifar").named_parameters()]
    expected = """
        stem.0.weight stages.0.0.norm1.gamma stages.0.0.shortcut.weight
        stages.0.1.before.0.conv1.weight stages.0.1.trunk.1.conv2.weight
        stages.0.1.mask.body.down.0.conv1.weight stages.0.1.mask.body.skip.conv1.weight
        stages.0.1.mask.body.inner.skip.conv1.weight
        stages.0.1.mask.body.inner.inner.bottom.0.conv1.weight
        stages.0.1.mask.body.up.0.conv1.weight stages.0.1.mask.head.0.gamma
        stages.0.1.mask.head.1.weight stages.0.1.mask.head.3.weight
        stages.2.1.after.0.conv3.weight tail.2.norm3.beta norm.gamma fc.weight fc.bias
    """
    assert not set(expected.split()) - set(names)
    assert len(names) == len(set(names))


def test_only_the_classifier_has_a_bias() -> None:
    for name in list_models():
        biases = [key for key, _ in small(name).named_parameters() if key.endswith("bias")]
        assert biases == ["fc.bias"]


def sizes_of_mask_maps(model: nn.Module, size: int) -> list[list[int]]:
    """The heights of the maps that each mask's hourglass goes through, mask by mask."""
    found: dict[str, list[int]] = {}
    with no_grad():
        for name, module, _, output in watch(model.eval(), pictures(1, size, size, 3)):
            where, inside, _ = name.partition(".mask.body")
            if inside and isinstance(module, nn.MaxPool2d | nn.UpsampleBilinear2d):
                assert output.shape[1] == output.shape[2]
                found.setdefault(where, []).append(output.shape[1])
    return list(found.values())


def test_the_smallest_mask_map_is_4x4_on_cifar() -> None:
    assert sizes_of_mask_maps(small("attention56_cifar"), 32) == [
        [16, 8, 4, 8, 16, 32],
        [8, 4, 8, 16],
        [4, 8],
    ]


def test_the_smallest_mask_map_is_7x7_on_imagenet() -> None:
    assert sizes_of_mask_maps(small("attention56"), 224) == [
        [28, 14, 7, 14, 28, 56],
        [14, 7, 14, 28],
        [7, 14],
    ]


@pytest.mark.parametrize("size", [32, 33, 43])
def test_masks_have_the_shape_of_their_trunk(size: int) -> None:
    model = small("attention56_cifar")
    for _, module, inputs, output in watch(model, pictures(2, size, size - 8, 3)):
        if isinstance(module, MaskBranch | Hourglass | AttentionModule):
            assert output.shape == inputs[0].shape


def test_the_trunk_leaks_nothing_into_the_mask() -> None:
    check_mask_reads_no_trunk()


def test_the_mask_reads_the_modules_split_point() -> None:
    model = small("attention56_cifar")
    calls = {name: (i, o) for name, _, i, o in watch(model, pictures(2, 32, 32, 3))}
    for stage in range(3):
        where = f"stages.{stage}.1"
        split = calls[f"{where}.before"][1]
        assert calls[f"{where}.mask"][0][0] is split
        assert calls[f"{where}.trunk"][0][0] is split


def test_the_skip_reads_the_down_output_and_is_added_once() -> None:
    model = small("attention56_cifar")
    calls = {name: (i, o) for name, _, i, o in watch(model, pictures(2, 32, 32, 3))}
    body = "stages.0.1.mask.body"
    for level in (body, f"{body}.inner"):
        down = calls[f"{level}.down"][1]
        assert calls[f"{level}.skip"][0][0] is down
        assert calls[f"{level}.inner"][0][0] is down
        total = calls[f"{level}.skip"][1].data + calls[f"{level}.inner"][1].data
        np.testing.assert_array_equal(calls[f"{level}.up"][0][0].data, total)
        assert calls[f"{level}.interpolate"][0][0] is calls[f"{level}.up"][1]


@pytest.mark.parametrize("learning", ["residual", "naive"])
def test_the_gate(learning: str) -> None:
    model = create_model("attention_nano", learning=learning)
    calls = {name: (i, o) for name, _, i, o in watch(model, pictures(2, 16, 16, 3))}
    mask, trunk = calls["stages.0.1.mask"][1].data, calls["stages.0.1.trunk"][1].data
    expected = (1 + mask) * trunk if learning == "residual" else mask * trunk
    np.testing.assert_allclose(calls["stages.0.1.after"][0][0].data, expected, rtol=1e-6)


def test_masks_by_their_attention() -> None:
    x = pictures(2, 16, 16, 3)
    for attention in ("mixed", "spatial"):
        model = create_model("attention_nano", attention=attention)
        for mask in outputs(model, x, MaskBranch).values():
            assert ((mask > 0) & (mask < 1)).all()
            assert mask.std() > 0.01
    for mask in outputs(
        create_model("attention_nano", attention="channel"), x, MaskBranch
    ).values():
        np.testing.assert_allclose((mask**2).sum(-1), 1, rtol=1e-5)
        assert (mask < 0).any()


def kinds(module: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in module]


@pytest.mark.parametrize(("unit", "first"), [("preact", ["BatchNormReLU"]), ("resnext", [])])
def test_heads_have_no_norm_before_the_activation(unit: str, first: list[str]) -> None:
    model = create_model("attention_nano", unit=unit, groups=4)
    head = model.stages[0][1].mask.head
    assert kinds(head) == [*first, "Conv2d", "BatchNormReLU", "Conv2d", "Sigmoid"]
    assert (model.norm is None) == (unit == "resnext")


def test_projections_exist_only_where_shapes_change() -> None:
    for name in ("attention56_cifar", "attentionnext56", "attentioninception56", "resnet164_cifar"):
        model = small(name, stem_width=4)
        for _, module in model.named_modules():
            if isinstance(module, Hourglass | AttentionModule):
                assert not [k for k, _ in module.named_modules() if "shortcut" in k]
        shortcuts = [k for k, m in model.named_modules() if k.endswith("shortcut")]
        tail = [] if name.endswith("cifar") else ["tail.0.shortcut"]
        # 16 -> 16 channels, but with stride 2 in the second stage; "tail.0" has stride 2 or not
        assert shortcuts == [f"stages.{s}.0.shortcut" for s in range(3)] + tail


def test_options_shape_the_network() -> None:
    model = create_model("attention_nano", p=2, t=3, r=2, modules=(2, 1))
    module = model.stages[0][2]
    assert [len(module.before), len(module.trunk), len(module.after)] == [2, 3, 2]
    body = module.mask.body
    assert [len(body.down), len(body.up), len(body.inner.down), len(body.inner.bottom)] == [2] * 4
    local = create_model("attention_nano", mask="local").stages[0][1].mask
    assert kinds(local.body) == ["PreActUnit"] * 3
    assert not any(isinstance(m, nn.MaxPool2d) for _, m in local.named_modules())
    assert create_model("attention_nano", mask="none").stages[0][1].mask is None


def test_fused_or_observed_a_network_computes_the_same() -> None:
    x = pictures(3, 16, 16, 3, dtype=np.float64)
    plain, watched = (create_model("attention_nano", dtype="float64") for _ in range(2))
    steps = [training_step(plain, x)]
    with nn.observe(lambda *_: None):
        steps.append(training_step(watched, x))
    for mine, theirs in zip(*steps, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-11 * max(1, abs(theirs).max()))


# --- every model, every option runs


@pytest.mark.parametrize("name", list_models())
def test_every_parameter_gets_a_gradient(name: str) -> None:
    """No unused weights: a gradient arrives everywhere, finite and not all zero."""
    model = small(name)
    size = 32 if name in IMAGENET else 16
    loss_of(model, pictures(4, size, size, 3)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name}: no gradient for {key}"
        assert parameter.grad.shape == parameter.shape
        assert np.isfinite(parameter.grad).all(), key
        assert parameter.grad.any(), f"{name}: the gradient of {key} is zero"


def test_every_parameter_of_attention56_cifar_gets_a_gradient() -> None:
    model = create_model("attention56_cifar")
    loss_of(model, pictures(2, 32, 32, 3)).backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"learning": "naive"},
        {"attention": "channel"},
        {"attention": "spatial"},
        {"mask": "local"},
        {"mask": "none"},
        {"unit": "resnext"},
        {"unit": "inception"},
        {"unit": "resnext", "attention": "spatial", "mask": "local", "learning": "naive"},
        {"unit": "inception", "attention": "channel", "mask": "none"},
        {"p": 2, "t": 1, "r": 2},
        {"modules": (0, 2)},
        {"depths": (1, 3)},
        {"widths": [32], "modules": [1], "depths": [1]},
        {"tail_units": 0},
        {"tail_stride": 2},
        {"stem": "cifar"},
        {"stem": "imagenet"},
        {"dtype": "float64"},
        {"dtype": np.float64},
        {"seed": 9},
    ],
    ids=str,
)
def test_every_option_runs(options: dict[str, Any]) -> None:
    model = create_model("attention_nano", 5, groups=4, **options)
    dtype = np.float64 if "dtype" in options else np.float32
    x = pictures(2, 32, 32, 3, dtype=dtype)
    loss = loss_of(model, x)
    loss.backward()
    assert loss.dtype == dtype
    assert all(np.isfinite(p.grad).all() and p.dtype == dtype for p in model.parameters())
    with no_grad():
        assert model.eval()(x).shape == (2, 5)


def test_evaluation_does_not_depend_on_the_batch() -> None:
    model = small("attention56_cifar")
    x = pictures(4, 16, 16, 3)
    for _ in range(2):
        model(x)
    model.eval()
    with no_grad():
        together = model(x).numpy()
        alone = [model(tensor(x.data[i : i + 1])).numpy()[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_a_few_steps_learn() -> None:
    model = create_model("attention_nano", 5)
    optimiser = SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    x = pictures(10, 16, 16, 3)
    losses = []
    for _ in range(25):
        loss = loss_of(model, x)
        losses.append(loss.item())
        loss.backward()
        optimiser.step()
        model.zero_grad()
    assert losses[-1] < 0.3 * losses[0]


# --- errors


NANO = "attention_nano"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("atention56_cifar", {}, "did you mean 'attention56_cifar'"),
        ("zzz", {}, "unknown model 'zzz'; known: attention56, "),
        (56, {}, "unknown model 56"),
        (NANO, {"lerning": "naive"}, "'lerning'; did you mean 'learning'"),
        (NANO, {"learning": "nave"}, "learning must be one of .*'nave'"),
        (NANO, {"attention": "x"}, "attention must be one of .*mixed"),
        (NANO, {"mask": "x"}, "mask must be one of .*hourglass"),
        (NANO, {"unit": "x"}, "unit must be one of .*preact"),
        (NANO, {"stem": "x"}, "stem must be one of .*imagenet"),
        (NANO, {"learning": 1}, "'learning' must be a word"),
        (NANO, {"p": 0}, "'p' must be a whole number of at least 1"),
        (NANO, {"t": 1.5}, "'t' must be a whole number .* got 1.5"),
        (NANO, {"r": True}, "'r' must be a whole number .* got True"),
        (NANO, {"groups": 0}, "'groups' must be a whole number"),
        (NANO, {"widths": 32}, "'widths' must be whole numbers"),
        (NANO, {"widths": (0, 32)}, "'widths' must be whole numbers"),
        (NANO, {"widths": (16, 1.5)}, "'widths' must be whole"),
        (NANO, {"modules": (-1, 1)}, "'modules' .* at least 0"),
        (NANO, {"widths": (16,)}, "one entry per stage each"),
        (NANO, {"widths": (16, 30)}, "must divide by 4, got 30"),
        (NANO, {"unit": "resnext"}, "divide into 32 groups"),
        (NANO, {"unit": "inception", "widths": (8, 32)}, "divide by 16"),
        (NANO, {"num_classes": 0}, "'num_classes' must be a whole number"),
        (NANO, {"num_classes": "10"}, "'num_classes' .* got '10'"),
        (NANO, {"dtype": "float16"}, "float32 or float64, got float16"),
        (NANO, {"dtype": "flaot32"}, "there is no dtype 'flaot32'"),
        ("resnet164_cifar", {"mask": "none"}, "unknown option 'mask'; known: "),
        ("resnet164_cifar", {"units": (1, 1)}, "one entry per stage each"),
    ],
)
def test_create_model_says_what_is_wrong(name: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        create_model(name, **options)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (pictures(2, 3, 32, 32), r"conv2d: x has 32 channels, w expects 3"),
        (pictures(32, 32, 3), r"x must be \(N, H, W, C\), got \(32, 32, 3\)"),
        (pictures(2, 32, 32, 3, dtype=np.float64), r"x is float64 but w is float32"),
        (np.zeros((2, 32, 32, 3), np.float32), r"expected a Tensor, got ndarray"),
    ],
)
def test_a_wrong_picture_is_named(x: Any, message: str) -> None:
    with pytest.raises(minran.errors.ShapeError, match=message):
        create_model("attention56_cifar")(x)


# --- repeating


def test_the_same_seed_gives_the_same_weights() -> None:
    first, same, other = (create_model("attention_nano", seed=s).state_dict() for s in (3, 3, 4))
    for name, array in first.items():
        np.testing.assert_array_equal(array, same[name])
    assert (first["stem.0.weight"] != other["stem.0.weight"]).any()
    weights = [v for k, v in first.items() if k.endswith("weight") and v.ndim == 4]
    for a, b in pairwise(weights):
        assert a.shape != b.shape or (a != b).any()


def test_the_same_seed_gives_the_same_weights_in_both_precisions() -> None:
    single = create_model("attention_nano", seed=3).state_dict()
    double = create_model("attention_nano", seed=3, dtype="float64").state_dict()
    for name, array in single.items():
        np.testing.assert_array_equal(array, double[name].astype(np.float32))


def test_creating_a_model_leaves_numpys_global_generator_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - it is this one that must not move
    create_model("attention_nano")
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_a_step_is_the_same_bit_for_bit_on_any_number_of_threads() -> None:
    """16 pictures of 32 x 32 make operands that are cut into several blocks."""
    x = pictures(16, 32, 32, 3)
    first, *others = (with_threads(n, "attention_small_cifar", x) for n in (1, 1, 2, 3))
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_the_table_of_specifications_is_what_the_paper_says() -> None:
    for name in IMAGENET:
        spec = ran.SPECS[name]
        assert (spec.widths, spec.depths, spec.tail_width) == ((256, 512, 1024), (3, 2, 1), 2048)
        assert (spec.p, spec.t, spec.r) == (1, 2, 1)
    assert isinstance(create_model("attention_nano").tail[0], PreActUnit)
