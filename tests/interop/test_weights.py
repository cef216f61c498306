"""Weights between minran and PyTorch: names, layouts, and that the numbers mean the same."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from minran.errors import CheckpointError
from minran.interop import create_twin, from_torch_state_dict, to_torch_state_dict


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_names_and_layouts(rng: np.random.Generator) -> None:
    norm = {name: rng.normal(size=4) for name in ("gamma", "beta", "running_mean", "running_var")}
    state = {
        "conv.weight": rng.normal(size=(5, 3, 2, 4)),
        "fc.weight": rng.normal(size=(7, 6)),
        "fc.bias": rng.normal(size=6),
        **{f"norm.{name}": array for name, array in norm.items()},
    }
    converted = to_torch_state_dict(state)
    assert {name: tuple(tensor.shape) for name, tensor in converted.items()} == {
        "conv.weight": (4, 2, 5, 3),
        "fc.weight": (6, 7),
        "fc.bias": (6,),
        "norm.weight": (4,),
        "norm.bias": (4,),
        "norm.running_mean": (4,),
        "norm.running_var": (4,),
        "norm.num_batches_tracked": (),
    }
    assert converted["conv.weight"][3, 1, 4, 2] == state["conv.weight"][4, 2, 1, 3]
    assert converted["fc.weight"][5, 6] == state["fc.weight"][6, 5]
    assert np.array_equal(converted["norm.bias"], norm["beta"])
    back = from_torch_state_dict(converted)
    assert list(back) == list(state)
    for name, array in state.items():
        assert np.array_equal(back[name], array), name


def test_a_grouped_convolution_means_the_same(rng: np.random.Generator) -> None:
    w = rng.normal(size=(3, 2, 4, 10))
    x = rng.normal(size=(2, 6, 5, 8))
    layer = nn.Conv2d(8, 10, (3, 2), groups=2, bias=False, dtype=torch.float64)
    layer.load_state_dict(to_torch_state_dict({"weight": w}))
    y = layer(torch.from_numpy(x.transpose(0, 3, 1, 2))).detach().numpy().transpose(0, 2, 3, 1)
    for group in range(2):
        channels, filters = slice(4 * group, 4 * group + 4), slice(5 * group, 5 * group + 5)
        expected = np.einsum("nklc,klco->no", x[:, 1:4, 2:4, channels], w[..., filters])
        assert np.allclose(y[:, 1, 2, filters], expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["attention_nano", "attentionnext56", "attentioninception56"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_whole_network_goes_there_and_back(name: str, dtype: torch.dtype) -> None:
    twin = create_twin(name, widths=(64, 64), modules=(1, 1), depths=(1, 1), tail_width=64).to(
        dtype
    )
    state = from_torch_state_dict(twin.state_dict())
    assert {array.dtype for array in state.values()} == {np.dtype(str(dtype).split(".")[1])}
    assert not any(key.endswith("num_batches_tracked") for key in state)
    twin.load_state_dict(to_torch_state_dict(state), strict=True)
    again = from_torch_state_dict(twin.state_dict())
    for key, array in state.items():
        assert np.array_equal(again[key], array), key


def test_converted_arrays_are_copies(rng: np.random.Generator) -> None:
    bias = rng.normal(size=3)
    tensor = to_torch_state_dict({"bias": bias})["bias"]
    tensor.zero_()
    assert np.all(bias != 0)
    array = from_torch_state_dict({"bias": tensor})["bias"]
    array += 1
    assert torch.all(tensor == 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("conv.weight", np.zeros((3, 3, 3))),
        ("norm.scale", np.zeros(3)),
        ("norm.gamma", np.zeros((3, 1))),
        ("norm.gamma", torch.zeros(3)),
    ],
)
def test_what_no_layer_has_is_named(name: str, value: np.ndarray | torch.Tensor) -> None:
    back = isinstance(value, torch.Tensor)
    convert = from_torch_state_dict if back else to_torch_state_dict
    with pytest.raises(CheckpointError, match=rf"{convert.__name__}: .* got {name} of shape"):
        convert({name: value})


def test_interop_imports_without_torch_and_says_what_to_install() -> None:
    program = """
import sys
sys.modules["torch"] = None  # what an absent package looks like to the import statement
import minran.interop as interop
from minran.errors import BackendError
calls = [lambda: interop.create_twin("attention_nano"), lambda: interop.to_torch_state_dict({})]
for call in calls:
    try:
        call()
    except BackendError as error:
        assert 'pip install "minran[test]"' in str(error), error
    else:
        raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
