"""Compare a minran network with its PyTorch twin, number by number: a helper of the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import minran
from minran import ops
from minran.interop import from_torch_state_dict, to_torch_state_dict
from minran.optim import SGD

RECIPE: dict[str, Any] = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "nesterov": True}


def randomise_norms(model: Any, rng: np.random.Generator) -> None:
    """Move gammas, betas, biases and running statistics off their initial 1, 0, 0, (0, 1).

    Fresh values hide mistakes: a forgotten gamma of 1 or a dropped beta of 0 changes nothing. The
    variances are large, so that an evaluation, whose statistics are then not those of its own
    activations, shrinks what passes through many layers rather than blowing it up.
    """
    state = model.state_dict()
    for name, array in state.items():
        kind = name.rpartition(".")[2]
        if kind == "gamma":
            state[name] = rng.uniform(0.5, 1.5, array.shape).astype(array.dtype)
        elif kind == "running_var":
            state[name] = rng.uniform(5, 15, array.shape).astype(array.dtype)
        elif kind in ("beta", "bias", "running_mean"):
            state[name] = rng.normal(0, 0.3, array.shape).astype(array.dtype)
    model.load_state_dict(state)


def assert_network_parity(
    minran_model: Any,
    twin: torch.nn.Module,
    x_nhwc: np.ndarray,
    labels: np.ndarray,
    steps: int = 0,
    tol: float = 1e-10,
) -> None:
    """Assert that both networks compute, learn and remember the same.

    Loads the minran model's weights into the twin, then compares, each relative to the largest
    magnitude of the twin's array: logits and loss in training mode, the gradient of every
    parameter, the running statistics, parameters and statistics after each of `steps` Nesterov
    steps, and last the logits in evaluation mode. Both models are changed by the steps.
    x_nhwc: (N, H, W, 3) float64; labels: (N,) integers. The AssertionError names the worst arrays.
    """
    twin = twin.double()
    twin.load_state_dict(to_torch_state_dict(minran_model.state_dict()), strict=True)
    parameters = [parameter for _, parameter in minran_model.named_parameters()]
    expect_same_names(minran_model, twin)
    optimiser = SGD(parameters, **RECIPE)
    twin_optimiser = torch.optim.SGD(twin.parameters(), **RECIPE)

    for step in range(max(steps, 1)):
        when = f"step {step}: "
        logits, loss = forward_backward(minran_model, x_nhwc, labels)
        twin_logits, twin_loss = twin_forward_backward(twin, x_nhwc, labels)
        compare(when, {"logits": logits, "loss": loss}, as_arrays(twin_logits, twin_loss), tol)
        if step == 0:
            compare(when + "gradient of ", gradients(minran_model), twin_gradients(twin), tol)
        if steps:
            optimiser.step()
            twin_optimiser.step()
        # Parameters and, as a state dict holds them too, running statistics.
        state, twin_state = minran_model.state_dict(), from_torch_state_dict(twin.state_dict())
        compare(when + "after it ", state, twin_state, tol)

    minran_model.eval()
    twin.eval()
    with minran.no_grad(), torch.no_grad():
        logits = minran_model(minran.tensor(x_nhwc)).numpy()
        twin_logits = twin(to_nchw(x_nhwc)).numpy()
    compare("evaluation: ", {"logits": logits}, {"logits": twin_logits}, tol)


def forward_backward(model: Any, x: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
    """One training pass of the minran model from cleared gradients: (logits, loss)."""
    model.train()
    model.zero_grad()
    logits = model(minran.tensor(x))
    loss = ops.cross_entropy(logits, labels)
    loss.backward()
    return logits.numpy(), loss.numpy()


def twin_forward_backward(
    twin: torch.nn.Module, x: np.ndarray, labels: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of the twin."""
    twin.train()
    twin.zero_grad()
    logits = twin(to_nchw(x))
    loss = F.cross_entropy(logits, torch.from_numpy(labels).long())
    loss.backward()
    return logits, loss


def to_nchw(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def as_arrays(logits: torch.Tensor, loss: torch.Tensor) -> dict[str, np.ndarray]:
    return {"logits": logits.detach().numpy(), "loss": loss.detach().numpy()}


def gradients(model: Any) -> dict[str, np.ndarray]:
    """The gradient of every parameter by its name; a parameter without one is an error."""
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    missing = [name for name, gradient in found.items() if gradient is None]
    assert not missing, f"no gradient reached {', '.join(missing)}"
    return found


def twin_gradients(twin: torch.nn.Module) -> dict[str, np.ndarray]:
    found = {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}
    return from_torch_state_dict(found)


def expect_same_names(model: Any, twin: torch.nn.Module) -> None:
    """Every parameter of one is a parameter of the other (not, say, a buffer)."""
    names = {name for name, _ in model.named_parameters()}
    twin_names = set(from_torch_state_dict(dict(twin.named_parameters())))
    assert names == twin_names, (
        f"only minran has {sorted(names - twin_names)}; only the twin {sorted(twin_names - names)}"
    )


def compare(
    what: str, got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tol: float
) -> None:
    """Compare arrays by name: max |got - expected| <= tol max |expected|, dtype and shape alike.

    Some gradients are exactly zero on paper (a beta whose every relu is open, before a convolution
    and a BN that takes the mean away), so what arrives is rounding noise: both sides below 1e-12 of
    the largest array compared count as equal.
    """
    zero = 1e-12 * max(np.abs(array).max() for array in expected.values())
    assert set(got) == set(expected), f"{what}{sorted(set(got) ^ set(expected))} on one side only"
    errors = {}
    for name, array in got.items():
        reference = expected[name]
        assert array.shape == reference.shape, f"{what}{name}: {array.shape}, {reference.shape}"
        assert array.dtype == reference.dtype, f"{what}{name}: {array.dtype}, {reference.dtype}"
        difference, scale = np.abs(array - reference).max(), np.abs(reference).max()
        nothing = scale <= zero and np.abs(array).max() <= zero
        errors[name] = 0.0 if nothing else float(difference / max(scale, zero))
    # `not <=` and the nan-aware key: a NaN anywhere is the worst of all.
    worst = sorted(errors, key=lambda name: -np.nan_to_num(errors[name], nan=np.inf))
    if not errors[worst[0]] <= tol:
        bad = [name for name in worst if not errors[name] <= tol]
        shown = ", ".join(f"{name} {errors[name]:.1e}" for name in bad[:5])
        raise AssertionError(
            f"{what}{worst[0]} differs by {errors[worst[0]]:.1e} of its largest magnitude "
            f"(allowed {tol:.0e}); {len(bad)} of {len(errors)} arrays differ: {shown}"
        )
