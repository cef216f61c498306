"""Whole networks on the GPU backend: the losses, gradients and weights of the NumPy backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from emulation import DeviceArray, EmulatedBackend, Library, RemoteDevice

from minran import backend, nn, ops
from minran.autograd import Tensor, no_grad, tensor
from minran.models import create_model
from minran.optim import SGD

Arrays = dict[str, np.ndarray]

NETWORKS: dict[str, dict[str, Any]] = {
    "pre-activation": {},
    "channel attention": {"attention": "channel"},
    "spatial attention, no skip of the gate": {"attention": "spatial", "learning": "naive"},
    "no skip of the gate": {"learning": "naive"},
    "ResNeXt": {"unit": "resnext", "groups": 4},
    "Inception": {"unit": "inception"},
    "local mask": {"mask": "local"},
}


@pytest.fixture(params=["emulated", pytest.param("cupy", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A backend, not in use yet."""
    if request.param == "emulated":
        yield EmulatedBackend(RemoteDevice())
        return
    kernels: Any = backend.load("cupy")
    kernels.set_precision("fp32")
    yield kernels
    kernels.set_precision(None)


def build(options: dict[str, Any], dtype: str = "float64") -> Any:
    return create_model("attention_nano", 4, dtype=dtype, **options)


def pictures(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((2, 16, 16, 3)), rng.integers(0, 4, 2)


def train(options: dict[str, Any], steps: int = 2) -> tuple[list[float], Arrays]:
    """Losses of some steps on the current backend, and what the network is afterwards."""
    rng = np.random.default_rng(0)
    model = build(options)
    optimizer = SGD(model.parameters(), 0.05, 0.9, nesterov=True, weight_decay=1e-3)
    losses = []
    for _ in range(steps):
        images, labels = pictures(rng)
        loss = ops.cross_entropy(model(tensor(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


@pytest.mark.parametrize("network", NETWORKS)
def test_training_as_on_the_cpu(device: Any, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, state = train(NETWORKS[network])
    monkeypatch.setattr(backend, "_current", device)
    device_losses, device_state = train(NETWORKS[network])
    np.testing.assert_allclose(device_losses, losses, rtol=1e-9)
    assert device_state.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_allclose(device_state[name], array, rtol=0, atol=1e-9, err_msg=name)


def test_a_mask_is_there_for_who_observes(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its sigmoid and the gate are one launch."""
    monkeypatch.setattr(backend, "_current", device)
    model, x = build({}), tensor(pictures(np.random.default_rng(0))[0])
    ran: list[type] = []
    monkeypatch.setattr(
        nn.Sigmoid, "forward", lambda _, x: (ran.append(nn.Sigmoid), ops.sigmoid(x))[1]
    )
    alone = model(x).numpy()
    assert not ran
    with nn.observe(lambda module, inputs, output: None):
        observed = model(x).numpy()
    assert ran
    np.testing.assert_allclose(observed, alone, rtol=1e-12)


def test_weights_move_between_backends(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = pictures(np.random.default_rng(0))

    def scores(model: Any) -> np.ndarray:
        with no_grad():
            return model.eval()(tensor(images)).numpy()

    there = build({})
    monkeypatch.setattr(backend, "_current", device)
    here = build({})
    here.load_state_dict(there.state_dict())
    on_device = scores(here)
    state = here.state_dict()
    monkeypatch.setattr(backend, "_current", backend.load("numpy"))
    np.testing.assert_allclose(on_device, scores(there), rtol=1e-9)
    there.load_state_dict(state)


def test_float32_stays_float32(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_current", device)
    images, labels = pictures(np.random.default_rng(0))
    model = build({}, "float32")
    loss = ops.cross_entropy(model(tensor(images.astype(np.float32))), labels)
    loss.backward()
    assert loss.dtype == np.float32
    assert {parameter.grad.dtype for parameter in model.parameters()} == {np.dtype(np.float32)}


def test_a_step_neither_waits_nor_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A captured step can do neither: between its inputs and its loss all stays on the device."""
    monkeypatch.setattr(backend, "_current", EmulatedBackend(RemoteDevice()))
    images, labels = pictures(np.random.default_rng(0))
    model = build({}, "float32")
    optimizer = SGD(model.parameters(), 0.05, 0.9, nesterov=True)
    x, targets = tensor(images.astype(np.float32)), tensor(np.eye(4, dtype=np.float32)[labels])
    before = DeviceArray.waits, Library.copies
    loss = ops.cross_entropy(model(x), targets)
    loss.backward()
    optimizer.step()
    assert (DeviceArray.waits, Library.copies) == before
    assert isinstance(loss, Tensor) and np.isfinite(loss.item())
