"""The fused and the folded form of a unit: the plain one's numbers, and only where they fit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from minran import Tensor, backend, create_model, nn, no_grad, ops, tensor, use
from minran.errors import BackendError, ShapeError
from minran.models import PreActUnit
from minran.models.attention import Head
from minran.models.fused import FusedBuild, FusedHead, FusedPreActUnit, Summed, moments_of
from minran.models.units import Build


def unit(
    cin: int, cout: int, stride: int, dtype: Any, kind: type[PreActUnit] = FusedPreActUnit
) -> PreActUnit:
    """One whose norms are far from the identity, negative and zero gammas among them."""
    rng = np.random.default_rng(0)
    made = kind(FusedBuild(rng, np.dtype(dtype)), cin, cout, stride)
    randomise_norms(made, rng)
    return made


def randomise_norms(module: nn.Module, rng: np.random.Generator) -> None:
    for _, part in module.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            part.gamma.data[:] = rng.uniform(-0.5, 1.5, part.gamma.shape)
            part.gamma.data[0] = 0
            part.beta.data[:] = rng.standard_normal(part.beta.shape)
            part.running_mean[:] = rng.standard_normal(part.beta.shape)
            part.running_var[:] = rng.uniform(0.5, 2, part.beta.shape)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs of the fused and the folded kernel, by name."""
    kernels, names = backend.load("numpy"), []

    def counted(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: (names.append(name), kernel(*arguments))[1]

    for name, kernel in (
        ("folded", "folded_unit"),
        ("fused", "norm_relu_conv2d"),
        ("moments", "batch_moments"),
    ):
        monkeypatch.setattr(kernels, kernel, counted(name, getattr(kernels, kernel)))
    return names


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5)])
@pytest.mark.parametrize(
    ("cin", "cout", "stride", "size"),
    [
        (8, 8, 1, (5, 4)),
        (8, 16, 1, (5, 4)),
        (8, 16, 2, (5, 4)),
        (8, 8, 2, (7, 8)),
        (64, 64, 1, (32, 32)),
    ],
)
def test_a_folded_unit_is_the_unit(
    cin: int,
    cout: int,
    stride: int,
    size: tuple[int, int],
    dtype: str,
    tolerance: float,
    calls: list[str],
) -> None:
    made = unit(cin, cout, stride, dtype).eval()
    x = tensor(np.random.default_rng(1).standard_normal((9, *size, cin)), dtype=dtype)
    expected = unit(cin, cout, stride, dtype, PreActUnit).eval()(x).data
    assert not calls
    with no_grad():
        y = made(x).data
    assert calls == ["folded"]
    assert y.dtype == dtype
    assert np.abs(y - expected).max() < tolerance * np.abs(expected).max()


def test_a_folded_network_is_the_network(calls: list[str]) -> None:
    model = create_model("attention56_cifar", seed=0)
    randomise_norms(model, np.random.default_rng(0))
    model.eval()
    x = tensor(np.random.default_rng(1).standard_normal((4, 32, 32, 3)), dtype="float32")
    expected = model(x).data
    calls.clear()
    with no_grad():
        y = model(x).data
    units = sum(isinstance(part, PreActUnit) for _, part in model.named_modules())
    heads = sum(isinstance(part, Head) for _, part in model.named_modules())
    assert (calls.count("folded"), calls.count("fused")) == (units, 2 * heads)
    assert np.abs(y - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_unit_is_fused_in_training_and_plain_under_an_observer(calls: list[str]) -> None:
    made = unit(8, 8, 1, "float32")
    x = tensor(np.ones((2, 4, 4, 8)), dtype="float32")
    seen: list[Any] = []
    with no_grad():
        made.train()(x)
        assert calls == ["moments", *["fused"] * 3]
        with nn.observe(lambda *call: seen.append(call)):
            made.eval()(x)
    assert len(calls) == 4
    assert [type(module).__name__ for module, *_ in seen] == [
        *["BatchNormReLU", "Conv2d"] * 3,
        "PreActUnit",
    ]


def run(module: nn.Module, x: np.ndarray) -> list[np.ndarray]:
    """Output, all gradients, and the running statistics after it."""
    leaf = tensor(x, requires_grad=True)
    y = module(leaf)
    y.backward(np.random.default_rng(2).standard_normal(y.shape))
    gradients = [p.grad for p in module.parameters()]
    return [y.numpy(), leaf.grad, *gradients, *(array for _, array in module.named_buffers())]


@pytest.mark.parametrize("name", ["numpy", "naive"])
@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("arguments", "fuses"),
    [
        ({"kernel_size": 1}, True),
        ({"kernel_size": 3, "padding": 1, "stride": 2}, False),
        ({"kernel_size": (3, 1), "padding": (1, 0)}, False),
        ({"kernel_size": 1, "groups": 3}, False),
        ({"kernel_size": 1, "bias": True}, False),
        ({"kernel_size": 1, "padding": 1}, False),
    ],
    ids=str,
)
def test_a_fused_head_is_the_head(
    arguments: dict[str, Any],
    fuses: bool,
    first: bool,
    observed: bool,
    name: str,
    calls: list[str],
) -> None:
    """Observed or not, with a convolution `first` or not, on a backend with the kernel or not."""
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 3))
    results = []
    with use(name):
        for kind in (FusedHead, Head):
            norm = nn.BatchNormReLU(3, dtype=np.float64)
            norm.gamma.data += np.linspace(-0.5, 0.5, 3)
            last = nn.Conv2d(3, 6, **arguments, dtype=np.float64, rng=np.random.default_rng(1))
            before = [nn.Conv2d(3, 3, 1, dtype=np.float64, rng=np.random.default_rng(0))]
            made = kind(*before[:first], norm, last, nn.Sigmoid())
            seen: list[nn.Module] = []
            look = nn.observe(lambda module, *_, seen=seen: seen.append(module))
            with look if observed else nullcontext():
                results.append(run(made, x))
            assert seen.count(norm) == observed
    assert calls.count("fused") == (fuses and not observed and name == "numpy")
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


def conv(cin: int, cout: int, kernel: int, kind: type = nn.Conv2d, **options: Any) -> nn.Conv2d:
    made = kind(cin, cout, kernel, **options, rng=np.random.default_rng(0))
    if made.bias is not None:
        made.bias.data += 1
    return made


EXCHANGES: dict[str, Callable[[], dict[str, nn.Module]]] = {
    "norm": lambda: {"norm2": nn.ReLU()},
    "bias": lambda: {"conv1": conv(8, 2, 1, bias=True)},
    "padding": lambda: {"conv1": conv(8, 2, 1, padding=1), "conv2": conv(2, 2, 3)},
    "own": lambda: {"conv3": conv(2, 8, 1, Doubled)},
    "nothing": lambda: {},
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_unit_whose_parts_are_not_the_usual_ones_is_plain(
    exchange: str, training: bool, calls: list[str]
) -> None:
    """With nothing exchanged but one norm in training, the unit is fused, not folded."""
    x = np.random.default_rng(1).standard_normal((2, 4, 4, 8)).astype(np.float32)
    results = []
    for kind in (FusedPreActUnit, PreActUnit):
        made = unit(8, 8, 1, "float32", kind).train(training)
        made.norm2.train()
        for name, part in EXCHANGES[exchange]().items():
            setattr(made, name, part)
        with no_grad():
            results.append(made(tensor(x)).data)
    usual = exchange == "nothing"
    assert (calls.count("folded"), calls.count("fused")) == (0, 3 * usual)
    np.testing.assert_allclose(*results, atol=1e-5 * usual)


@pytest.mark.parametrize(("cin", "stride"), [(8, 1), (4, 2)])
def test_moments_are_handed_on_from_unit_to_unit(cin: int, stride: int, calls: list[str]) -> None:
    """No norm sums again what was summed when its map was made, and the result is the plain one."""
    x = np.random.default_rng(1).standard_normal((3, 6, 6, cin))
    results = []
    for build in (FusedBuild, Build):
        made = build(np.random.default_rng(0), np.dtype("float64"))
        kind = made.kind(PreActUnit)
        chain = nn.Sequential(
            kind(made, cin, 8, stride), kind(made, 8, 8), kind(made, 8, 16), made.norm_relu(16)
        )
        randomise_norms(chain, np.random.default_rng(0))
        calls.clear()
        results.append(run(chain, x))
        if build is FusedBuild:  # the first norm has a picture before it
            assert calls.count("moments") == 1
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-10)


def test_moments_of_a_map_that_was_changed_are_gone() -> None:
    moments = np.ones(3), np.zeros(3)
    kept, changed, replaced = (Summed(ops.relu(tensor([1.0])), moments) for _ in range(3))
    changed.data += 1
    replaced.data = np.zeros(1)
    assert moments_of(kept) is moments
    assert moments_of(changed) is moments_of(replaced) is moments_of(kept.detach()) is None


def test_the_networks_are_built_of_the_faster_kinds() -> None:
    for name in ("attention_nano", "resnet164_cifar"):
        model = create_model(name)
        kinds = {type(part) for _, part in model.named_modules()}
        assert FusedPreActUnit in kinds
        assert not kinds & {PreActUnit, Head, nn.BatchNormReLU}
        assert "Fused" not in " ".join(kind.__name__ for kind in kinds)


def test_weights_that_change_are_seen() -> None:
    made = unit(8, 8, 1, "float64").eval()
    x = tensor(np.random.default_rng(1).standard_normal((2, 4, 4, 8)))
    with no_grad():
        made(x)
    made.conv2.weight.data *= 2
    made.norm3.running_mean += 1
    expected = made(x).data
    with no_grad():
        np.testing.assert_allclose(made(x).data, expected, rtol=1e-12, atol=1e-12)


def arguments(
    x: tuple[int, ...] = (2, 4, 4, 8),
    inner: int = 2,
    out: int = 8,
    projection: int = 0,
    stride: int = 1,
    normed: int = 2,
) -> tuple:
    def ones(*shape: int) -> Tensor:
        return tensor(np.ones(shape), dtype="float32")

    def norm(c: int) -> tuple:
        return ones(c), ones(c), np.zeros(c), np.ones(c), 1e-5

    weights = [ones(1, 1, 8, 2), ones(3, 3, 2, inner), ones(1, 1, 2, out)]
    shortcut = ones(1, 1, projection, out) if projection else None
    return ones(*x), [norm(8), norm(2), norm(normed)], weights, shortcut, stride


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": (2, 4, 4, 6)}, r"got x \(2, 4, 4, 6\)"),
        ({"x": (2, 4, 8)}, r"got x \(2, 4, 8\)"),
        ({"inner": 3}, r"\(3, 3, D, D\)"),
        ({"out": 12}, r"8 channels must stay 8 with stride 1, got 12 channels with stride 1"),
        ({"stride": 2}, r"8 channels must stay 8 with stride 1, got 8 channels with stride 2"),
        ({"normed": 3}, r"expected norms of 8, 2 and 2 channels, got \[\(8,\), \(2,\), \(3,\)\]"),
        ({"projection": 4}, r"expected a projection \(1, 1, 8, 8\), got \(1, 1, 4, 8\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(changed: dict, message: str) -> None:
    with no_grad(), pytest.raises(ShapeError, match=message):
        ops.folded_unit(*arguments(**changed))


def test_gradients_cannot_be_recorded_through_it() -> None:
    with pytest.raises(BackendError, match="no_grad"):
        ops.folded_unit(*arguments())
    with no_grad(), use("naive"), pytest.raises(BackendError, match="numpy backend"):
        ops.folded_unit(*arguments())
