"""Evaluation with batch norms folded into convolutions: the same numbers, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from minran import Tensor, backend, create_model, nn, no_grad, ops, tensor, use
from minran.errors import BackendError, ShapeError
from minran.models import PreActUnit
from minran.models.units import Build


def unit(cin: int, cout: int, stride: int, dtype: str) -> PreActUnit:
    """One whose norms are far from the identity, negative and zero gammas among them."""
    rng = np.random.default_rng(0)
    made = PreActUnit(Build(rng, np.dtype(dtype)), cin, cout, stride)
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
    """One entry for each run of the folded kernel."""
    kernels, names = backend.load("numpy"), []
    kernel = kernels.folded_unit
    monkeypatch.setattr(
        kernels, "folded_unit", lambda *arguments: (names.append("folded"), kernel(*arguments))[1]
    )
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
    expected = made(x).data
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
    with no_grad():
        y = model(x).data
    assert len(calls) == sum(isinstance(part, PreActUnit) for _, part in model.named_modules())
    assert np.abs(y - expected).max() < 1e-5 * np.abs(expected).max()


def test_nothing_is_folded_in_training_or_under_an_observer(calls: list[str]) -> None:
    made = unit(8, 8, 1, "float32")
    x = tensor(np.ones((2, 4, 4, 8)), dtype="float32")
    seen = []
    with no_grad():
        made.train()(x)
        with nn.observe(lambda *call: seen.append(call)):
            made.eval()(x)
    assert not calls
    assert len(seen) > 1


def test_nothing_is_folded_whose_parts_are_not_the_usual_ones(calls: list[str]) -> None:
    x = tensor(np.random.default_rng(1).standard_normal((2, 4, 4, 8)), dtype="float32")

    def outputs(made: PreActUnit) -> tuple[np.ndarray, np.ndarray]:
        with no_grad():
            y = made(x).data
        return y, made(x).data

    training = unit(8, 8, 1, "float32").eval()
    training.norm2.train()
    exchanged = unit(8, 8, 1, "float32").eval()
    exchanged.norm2 = nn.ReLU()
    biased = unit(8, 8, 1, "float32").eval()
    biased.conv1 = nn.Conv2d(8, 2, 1, bias=True)
    biased.conv1.bias.data[:] = 1
    for made in (training, exchanged, biased):
        np.testing.assert_array_equal(*outputs(made))
    assert not calls


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
