"""Whole networks against their PyTorch twins, in float64, to ten digits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from parity import assert_network_parity, randomise_norms  # noqa: E402

import minran  # noqa: E402
from minran.interop import create_twin  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def check(
    name: str, batch: int = 4, size: int = 32, classes: int = 10, steps: int = 0, **options: Any
) -> None:
    """Build both networks with the same options and compare them on random images."""
    rng = np.random.default_rng(7)
    model = minran.create_model(name, classes, dtype="float64", seed=1, **options)
    twin = create_twin(name, classes, **options)
    randomise_norms(model, rng)
    images = rng.normal(size=(batch, size, size, 3))
    assert_network_parity(model, twin, images, rng.integers(0, classes, batch), steps)


def test_attention56_cifar_and_three_nesterov_steps() -> None:
    check("attention56_cifar", steps=3)


def test_attention92_cifar_has_two_modules_a_stage() -> None:
    check("attention92_cifar", batch=2)


@pytest.mark.parametrize("name", ["attention_small_cifar", "attention_nano"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"learning": "naive"},
        {"attention": "channel"},
        {"attention": "spatial"},
        {"mask": "local"},
        {"mask": "none"},
        {"unit": "inception"},
        {"p": 2, "t": 3, "r": 2},
        {"learning": "naive", "attention": "channel", "mask": "local"},
    ],
    ids=lambda options: "-".join(f"{key}={value}" for key, value in options.items()) or "default",
)
def test_every_option(name: str, options: dict[str, Any]) -> None:
    check(name, steps=1, **options)


def test_odd_sizes() -> None:
    check("attention_small_cifar", size=43)


def test_resnext_units_on_cifar() -> None:
    check("attention56_cifar", batch=2, unit="resnext")


@pytest.mark.parametrize("name", ["attentionnext56", "attentioninception56"])
def test_post_activation_networks_at_small_width(name: str) -> None:
    check(name, batch=3, size=96, classes=5, steps=1, widths=(64, 64, 128), tail_width=128)


def test_modules_per_stage_of_attention92_at_small_width() -> None:
    check("attention92", batch=2, size=96, classes=5, widths=(16, 32, 64), tail_width=64)


def test_resnet164_cifar() -> None:
    check("resnet164_cifar", batch=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention56", "attentionnext56"])
def test_imagenet_network_at_full_size(name: str) -> None:
    check(name, batch=1, size=224, classes=1000)
