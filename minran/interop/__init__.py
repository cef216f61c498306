"""minran beside others: networks in PyTorch, weights carried both ways, ONNX files.

Importing this package imports neither PyTorch nor onnx; calling its functions does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from minran.interop.onnx_export import export_onnx
from minran.interop.weights import from_torch_state_dict, require_torch, to_torch_state_dict
from minran.nn import Module

if TYPE_CHECKING:
    import torch

__all__ = [
    "create_twin",
    "export_onnx",
    "from_torch_state_dict",
    "load_torch",
    "to_torch_state_dict",
]


def create_twin(name: str, num_classes: int | None = None, **options: object) -> torch.nn.Module:
    """Build the PyTorch twin of `minran.create_model(name, num_classes, **options)`.

    Raises BackendError without PyTorch, RecipeError for an unknown name, option or choice
    (`minran.interop.twin.TwinSpec` lists the options).
    """
    require_torch()
    from minran.interop.twin import create_twin as create

    return create(name, num_classes, **options)


def load_torch(model: Module, state: Mapping[str, torch.Tensor]) -> Module:
    """Copy the state dict of a network's PyTorch twin into the network; returns it.

    `torch_model.load_state_dict(to_torch_state_dict(model.state_dict()))` goes the other way.
    Raises BackendError without PyTorch, CheckpointError or ShapeError if the state does not fit.
    """
    model.load_state_dict(from_torch_state_dict(state))
    return model
