"""The PyTorch twin is the network of the paper: counts to the unit, and the details ports miss."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from minran.errors import RecipeError
from minran.interop import create_twin
from minran.interop.twin import (
    AttentionModule,
    BatchNormReLU,
    ChannelAttention,
    Hourglass,
    InceptionUnit,
    PreActUnit,
    ResNeXtUnit,
    SpatialAttention,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def on_meta(name: str, **options: object) -> nn.Module:
    """The network with shapes but no values: building Attention-92 costs nothing."""
    with torch.device("meta"):
        return create_twin(name, **options)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def observe(module: nn.Module, x: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Run the module; return (first input, output) of each of its submodules by name."""
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    hooks = []
    for path, child in module.named_modules():

        def hook(_m: nn.Module, inputs: tuple, output: torch.Tensor, path: str = path) -> None:
            seen[path] = (inputs[0].detach(), output.detach())

        hooks.append(child.register_forward_hook(hook))
    module(x)
    for handle in hooks:
        handle.remove()
    return seen


COUNTS = {
    "attention56": 31_810_728,
    "attention92": 52_466_344,
    "attentionnext56": 31_318_824,
    "attentionnext92": 52_102_952,
    "attention_small_cifar": 239_786,
}
MILLIONS = {
    "attention56_cifar": (1.133, 1.149),
    "attention92_cifar": (1.932, 1.960),
    "attention128_cifar": (2.730, None),
    "attention164_cifar": (3.529, None),
    "attention236_cifar": (5.127, 5.203),
    "attention452_cifar": (10.14, None),
}
"""Without the norms, and with them."""


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_to_the_unit(name: str) -> None:
    assert parameters(on_meta(name)) == COUNTS[name]


@pytest.mark.parametrize("name", MILLIONS)
def test_cifar_parameters(name: str) -> None:
    without, total = MILLIONS[name]
    model = on_meta(name)
    norms = sum(parameters(m) for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    digits = 2 if without > 10 else 3
    assert round((parameters(model) - norms) / 1e6, digits) == without
    assert total is None or round(parameters(model) / 1e6, 3) == total


@pytest.mark.parametrize(
    ("name", "size", "giga", "digits"),
    [
        ("attention56", 224, 6.271, 3),
        ("attention92", 224, 10.53, 2),
        ("attention56_cifar", 32, 0.12, 2),
    ],
)
def test_multiply_adds(name: str, size: int, giga: float, digits: int) -> None:
    """Of convolutions and linear layers; on `meta` there are shapes but no values."""
    model = on_meta(name)
    seen = observe(model, torch.empty(1, 3, size, size, device="meta"))
    counts = [
        layer.weight.numel() * seen[path][1].shape[2:].numel()
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    assert round(sum(counts) / 1e9, digits) == giga


@pytest.mark.parametrize(("modules", "depth"), [(1, 56), (2, 92), (3, 128), (4, 164), (6, 236)])
def test_trunk_depth_is_36_m_plus_20(modules: int, depth: int) -> None:
    model = on_meta(f"attention{depth}_cifar")
    counted = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and ".mask." not in name and "shortcut" not in name
    ]
    assert len(counted) + 1 == 36 * modules + 20 == depth


def test_names_of_the_tree() -> None:
    names = set(on_meta("attention56_cifar").state_dict())
    for name in [
        "stem.0.weight",
        "stages.0.0.norm1.weight",
        "stages.0.0.shortcut.weight",
        "stages.0.1.before.0.conv1.weight",
        "stages.0.1.trunk.1.conv3.weight",
        "stages.0.1.mask.body.down.0.norm1.running_mean",
        "stages.0.1.mask.body.skip.conv2.weight",
        "stages.0.1.mask.body.inner.inner.bottom.0.conv1.weight",
        "stages.0.1.mask.body.up.0.norm3.bias",
        "stages.0.1.mask.head.0.weight",
        "stages.0.1.mask.head.3.weight",
        "stages.0.1.after.0.conv1.weight",
        "stages.2.1.mask.body.bottom.0.conv1.weight",
        "tail.2.conv3.weight",
        "norm.weight",
        "fc.bias",
    ]:
        assert name in names, name
    assert not any("inner" in name for name in names if name.startswith("stages.2."))
    assert not any(name.endswith("conv1.bias") for name in names)


@pytest.mark.parametrize("unit", ["resnext", "inception"])
def test_post_activation_units_have_no_last_norm_and_a_head_that_starts_with_a_convolution(
    unit: str,
) -> None:
    model = on_meta("attention56", unit=unit)
    head = model.get_submodule("stages.0.1.mask.head")
    kinds = [type(layer) for layer in head.children()]
    assert kinds == [nn.Conv2d, BatchNormReLU, nn.Conv2d, nn.Sigmoid]
    assert not any(name.startswith("norm.") for name in model.state_dict())


def test_pre_activation_head_has_no_norm_before_the_sigmoid() -> None:
    head = on_meta("attention56").get_submodule("stages.0.1.mask.head")
    kinds = [type(layer) for layer in head.children()]
    assert kinds == [BatchNormReLU, nn.Conv2d, BatchNormReLU, nn.Conv2d, nn.Sigmoid]


@pytest.mark.parametrize("unit", [PreActUnit, ResNeXtUnit, InceptionUnit])
def test_a_unit_has_a_projection_only_where_the_shape_changes(unit: type[nn.Module]) -> None:
    assert unit(64, 64).shortcut is None
    for channels, stride in [(32, 1), (64, 2)]:
        changing = unit(channels, 64, stride=stride)
        assert changing.shortcut is not None
        assert changing(torch.randn(2, channels, 7, 5)).shape == (
            2,
            64,
            -(-7 // stride),
            -(-5 // stride),
        )


@pytest.mark.parametrize(
    ("name", "size", "stage_shapes", "tail_shape"),
    [
        ("attention56", 224, [(256, 56), (512, 28), (1024, 14)], (2048, 7)),
        ("attentionnext56", 224, [(256, 56), (512, 28), (1024, 14)], (2048, 7)),
        ("attention92_cifar", 32, [(64, 32), (128, 16), (256, 8)], (256, 8)),
        ("attention_small_cifar", 32, [(32, 16), (64, 8), (128, 4)], (128, 4)),
        ("attention_nano", 32, [(16, 16), (32, 8)], (32, 8)),
    ],
)
def test_shapes_of_the_stages(
    name: str, size: int, stage_shapes: list[tuple[int, int]], tail_shape: tuple[int, int]
) -> None:
    model = on_meta(name)
    x = model.get_submodule("stem")(torch.empty(2, 3, size, size, device="meta"))
    for stage, (channels, side) in zip(model.stages, stage_shapes, strict=True):
        x = stage(x)
        assert x.shape == (2, channels, side, side)
    assert model.tail(x).shape == (2, tail_shape[0], tail_shape[1], tail_shape[1])


@pytest.mark.parametrize(
    ("name", "size", "smallest"), [("attention56", 224, 7), ("attention56_cifar", 32, 4)]
)
def test_every_mask_goes_down_to_the_same_smallest_map(name: str, size: int, smallest: int) -> None:
    seen = observe(on_meta(name), torch.empty(1, 3, size, size, device="meta"))
    for stage, depth in enumerate((3, 2, 1)):
        pools = [path for path in seen if path.startswith(f"stages.{stage}.") and "pool" in path]
        assert len(pools) == depth
        assert min(seen[path][1].shape[-1] for path in pools) == smallest


def attention_module(**options: object) -> AttentionModule:
    """The first attention module of the small network: a mask of two levels, 32 channels."""
    module = create_twin("attention_small_cifar", **options).get_submodule("stages.0.1")
    assert isinstance(module, AttentionModule)
    return module


def test_nothing_of_the_trunk_enters_the_mask() -> None:
    module = attention_module()
    x = torch.randn(2, 32, 16, 16)
    before = observe(module, x)
    for parameter in module.trunk.parameters():
        nn.init.normal_(parameter)
    after = observe(module, x)
    assert not torch.equal(before["trunk"][1], after["trunk"][1])
    assert torch.equal(before["mask"][1], after["mask"][1])
    assert torch.equal(before["mask"][0], before["trunk"][0])  # both read the split


def test_each_pool_reads_what_the_level_above_gave() -> None:
    seen = observe(attention_module(), torch.randn(2, 32, 16, 16))
    assert torch.equal(seen["mask.body.pool"][0], seen["mask"][0])
    assert torch.equal(seen["mask.body.inner.pool"][0], seen["mask.body.down"][1])
    assert torch.equal(seen["mask.body.skip"][0], seen["mask.body.down"][1])


def test_the_sum_of_skip_and_interpolated_map_alone_goes_on() -> None:
    seen = observe(attention_module(), torch.randn(2, 32, 16, 16))
    expected = seen["mask.body.skip"][1] + seen["mask.body.inner"][1]
    assert torch.equal(seen["mask.body.up"][0], expected)


def test_r_counts_the_units_of_every_level_but_the_skip_is_one() -> None:
    body = attention_module(r=3).get_submodule("mask.body")
    assert [len(body.down), len(body.up)] == [3, 3]
    assert isinstance(body.skip, PreActUnit)
    assert [len(body.inner.down), len(body.inner.bottom)] == [3, 3]


def test_interpolation_aligns_the_corners() -> None:
    hourglass = Hourglass(lambda *_: nn.Identity(), channels=1, depth=1, r=1)
    hourglass.pool = nn.Identity()
    hourglass.bottom = nn.AvgPool2d(3, stride=3)  # 6x6 -> 2x2
    x = torch.kron(torch.tensor([[0.0, 3.0], [6.0, 9.0]]), torch.ones(3, 3))[None, None]
    y = hourglass(x)[0, 0]
    assert torch.allclose(y[0], torch.linspace(0, 3, 6))
    assert torch.allclose(y[:, 0], torch.linspace(0, 6, 6))
    assert y[-1, -1] == 9


def test_pools_round_up_and_never_read_padding() -> None:
    pool = Hourglass(PreActUnit, channels=4, depth=1, r=1).pool
    x = -1 - torch.rand(1, 4, 56, 56)
    for side in (28, 14, 7):
        x = pool(x)
        assert x.shape[2:] == (side, side)
    assert x.max() < -1  # a padded zero would have won


@pytest.mark.parametrize("learning", ["residual", "naive"])
def test_the_gate(learning: str) -> None:
    seen = observe(attention_module(learning=learning), torch.randn(2, 32, 16, 16))
    mask, trunk = seen["mask"][1], seen["trunk"][1]
    expected = (1 + mask) * trunk if learning == "residual" else mask * trunk
    assert torch.equal(seen["after"][0], expected)


def test_channel_attention_has_unit_length_at_every_position() -> None:
    y = ChannelAttention()(torch.randn(2, 5, 3, 4, dtype=torch.float64))
    assert torch.allclose((y * y).sum(dim=1), torch.ones(2, 3, 4, dtype=torch.float64))
    assert y.min() < 0


def test_spatial_attention_standardises_each_map_then_squashes() -> None:
    y = SpatialAttention()(3 + 10 * torch.randn(2, 5, 8, 9, dtype=torch.float64))
    z = torch.logit(y)
    assert z.mean(dim=(2, 3)).abs().max() < 1e-12
    assert (z.var(dim=(2, 3), correction=0) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("unit", ["preact", "resnext", "inception"])
@pytest.mark.parametrize("mask", ["hourglass", "local", "none"])
@pytest.mark.parametrize("attention", ["mixed", "channel", "spatial"])
@pytest.mark.parametrize("learning", ["residual", "naive"])
def test_every_option_runs_and_every_parameter_gets_a_gradient(
    unit: str, mask: str, attention: str, learning: str
) -> None:
    model = create_twin(
        "attention_nano", unit=unit, mask=mask, attention=attention, learning=learning, groups=4
    )
    logits = model(torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last))
    assert logits.shape == (4, 10)
    (logits * torch.randn(4, 10)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("name", ["attention56_cifar", "attentionnext56", "attentioninception56"])
def test_channels_last_memory_gives_the_same_network(name: str) -> None:
    model = create_twin(name, num_classes=7, widths=(64, 64, 64), tail_width=64).double().eval()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = model(x)
        model.to(memory_format=torch.channels_last)
        got = model(x.to(memory_format=torch.channels_last))
    assert expected.shape == (2, 7)
    assert torch.allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_resnet164_is_164_layers_deep() -> None:
    model = on_meta("resnet164_cifar")
    convolutions = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and "shortcut" not in name
    ]
    assert len(convolutions) + 1 == 164
    assert "stages.2.17.conv3.weight" in model.state_dict()
    assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("attention57", {}, "no network 'attention57'"),
        ("attention56", {"colour": 3}, "no option colour"),
        ("attention56", {"attention": "sigmoid"}, "attention must be one of mixed"),
        ("attention56", {"widths": (16, 32)}, "same number of stages"),
        ("resnet164_cifar", {"mask": "none"}, "no option mask"),
    ],
)
def test_wrong_names_and_options(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        create_twin(name, **options)


@pytest.mark.parametrize(
    "name", ["attention56", "attention56_cifar", "attention_nano", "resnet164_cifar"]
)
def test_num_classes(name: str) -> None:
    default = 1000 if name == "attention56" else 10
    assert on_meta(name).get_submodule("fc").out_features == default
    assert on_meta(name, num_classes=3).get_submodule("fc").out_features == 3
