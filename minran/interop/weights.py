"""Weights between minran's layout and names and PyTorch's, without either model at hand.

| what          | minran                         | PyTorch                            |
|---------------|--------------------------------|------------------------------------|
| convolution   | weight (KH, KW, Cin/g, Cout)   | weight (Cout, Cin/g, KH, KW)       |
| linear        | weight (in, out), bias (out,)  | weight (out, in), bias (out,)      |
| normalisation | gamma, beta (C,)               | weight, bias (C,)                  |
|               | running_mean, running_var (C,) | the same and num_batches_tracked   |

The number of dimensions and the last part of the name say what an array is, so gradients and
velocities convert by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from minran.errors import BackendError, CheckpointError, expect

if TYPE_CHECKING:
    import torch

_TO_TORCH = {"gamma": "weight", "beta": "bias"}
_PASS = ("running_mean", "running_var", "bias")


def require_torch() -> ModuleType:
    """Import PyTorch, or raise BackendError that says how to install it."""
    try:
        import torch
    except ImportError as error:
        raise BackendError(
            'minran.interop needs PyTorch, which is not installed: pip install "minran[test]"'
        ) from error
    return torch


def to_torch_state_dict(state: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Convert a minran state dict (or parameters, or gradients) to PyTorch's names and layouts.

    Every `running_mean` brings a `num_batches_tracked` of 0. Arrays are copied, dtypes kept.
    Raises CheckpointError for an array whose name or number of dimensions fits no layer.
    """
    torch = require_torch()
    converted = {}
    for name, array in state.items():
        prefix, kind = _split(name)
        array = np.asarray(array)
        if kind == "weight" and array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif kind == "weight" and array.ndim == 2:
            array = array.transpose()
        else:
            known = array.ndim == 1 and (kind in _TO_TORCH or kind in _PASS)
            expect(known, _unknown("to_torch_state_dict", name, array.shape), CheckpointError)
        converted[prefix + _TO_TORCH.get(kind, kind)] = torch.from_numpy(array.copy(order="C"))
        if kind == "running_mean":
            converted[prefix + "num_batches_tracked"] = torch.tensor(0)
    return converted


def from_torch_state_dict(state: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Convert a PyTorch state dict (or parameters, or gradients) to minran's names and layouts.

    `num_batches_tracked` is dropped. A 1-D `bias` is a `beta` where the `weight` beside it is 1-D.
    Raises CheckpointError for a tensor whose name or number of dimensions fits no layer.
    """
    require_torch()
    converted = {}
    for name, tensor in state.items():
        prefix, kind = _split(name)
        if kind == "num_batches_tracked":
            continue
        array = tensor.detach().cpu().numpy()
        if kind == "weight" and array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif kind == "weight" and array.ndim == 2:
            array = array.transpose()
        else:
            known = array.ndim == 1 and (kind == "weight" or kind in _PASS)
            expect(known, _unknown("from_torch_state_dict", name, array.shape), CheckpointError)
            sibling = state.get(prefix + "weight")
            if kind == "weight":
                kind = "gamma"
            elif kind == "bias" and sibling is not None and sibling.ndim == 1:
                kind = "beta"
        converted[prefix + kind] = array.copy(order="C")
    return converted


def _split(name: str) -> tuple[str, str]:
    """'tail.0.norm1.gamma' -> ('tail.0.norm1.', 'gamma')."""
    head, dot, kind = name.rpartition(".")
    return head + dot, kind


def _unknown(function: str, name: str, shape: tuple[int, ...]) -> str:
    return (
        f"{function}: expected a convolution (4-D weight), a linear layer (2-D weight, bias) or a "
        f"normalisation (1-D); got {name} of shape {shape}"
    )
