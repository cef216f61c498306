"""The three backends keep the contract: names, arguments and their order, nothing beyond it."""

from __future__ import annotations

import importlib
import inspect
import types
from typing import Any

import pytest

from minran import backend
from minran.backend import contract
from minran.errors import BackendError

REQUIRED = {signature.partition("(")[0] for signature in contract.REQUIRED}


@pytest.fixture(params=["naive", "cpu", "gpu"])
def module(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(f"minran.backend.{request.param}")


def breaches(module: Any) -> list[str]:
    """In what a backend differs from the contract."""
    public = {
        name: thing
        for name, thing in vars(module).items()
        if name[0] != "_" and inspect.isfunction(thing) and thing is not contract.kernels_of
    }
    found = [f"{name} is missing" for name in sorted(REQUIRED - set(public))]
    for name, thing in public.items():
        arguments = inspect.signature(thing).parameters.values()
        plain = ", ".join(str(each.replace(annotation=each.empty)) for each in arguments)
        listed = contract.SIGNATURES.get(name, "no kernel")
        if listed != f"{name}({plain})":
            found.append(f"{name}({plain}) is listed as {listed}")
    return found


def test_a_backend_keeps_the_contract(module: Any) -> None:
    assert not breaches(module)


def test_breaches_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("minran.backend.naive")
    monkeypatch.delattr(module, "conv2d")
    monkeypatch.setattr(module, "relu_backward", lambda y, gy: gy)
    monkeypatch.setattr(module, "swish", lambda x: x, raising=False)
    assert breaches(module) == [
        "conv2d is missing",
        "relu_backward(y, gy) is listed as relu_backward(gy, y)",
        "swish(x) is listed as no kernel",
    ]


def test_each_name_stands_once() -> None:
    tables = contract.REQUIRED, contract.OPTIONAL, contract.MACHINE
    assert len(contract.SIGNATURES) == sum(map(len, tables))
    assert set(contract.KERNELS) < set(contract.SIGNATURES)


def test_a_backend_is_asked_what_it_has() -> None:
    assert backend.has("norm_relu_conv2d") and not backend.has("record_step")
    with backend.use("naive"):
        assert not backend.has("norm_relu_conv2d")
    assert backend.has("relu", types.SimpleNamespace(relu=max))
    with pytest.raises(BackendError, match="no 'norm_relu_conv2'"):
        backend.has("norm_relu_conv2")
