"""minran beside others: networks in PyTorch, weights carried both ways, ONNX files.

Importing this package imports neither PyTorch nor onnx; calling its functions does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minran.errors import RecipeError, expect_whole
from minran.hints import checked
from minran.interop.onnx_export import export_onnx
from minran.interop.weights import (
    find_state_dict,
    from_torch_state_dict,
    require_torch,
    to_torch_state_dict,
)
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


@checked(RecipeError)
def create_twin(name: str, num_classes: int | None = None, **options: object) -> torch.nn.Module:
    """Build the PyTorch twin of `minran.create_model(name, num_classes, **options)`.

    Raises BackendError without PyTorch, RecipeError for an unknown name, option or choice
    (`minran.interop.twin.TwinSpec` lists the options).
    """
    if num_classes is not None:
        expect_whole(num_classes, "create_twin: num_classes", error=RecipeError)
        options["num_classes"] = num_classes
    require_torch()
    from minran.interop.twin import build

    return build(name, options)


@checked()
def load_torch(model: Module, state: Mapping[str, Any] | torch.nn.Module) -> Module:
    """Copy the weights of a network's PyTorch twin into the network; returns it.

    state: what `torch.load` returns: a state dict, a module, or a dict that holds one of them
    ({"state_dict": ..., "epoch": 3}). Prefixes of DataParallel and torch.compile are taken off.
    Weights in bfloat16, float16 or float64 take the dtype of the network.

    `torch_model.load_state_dict(to_torch_state_dict(model.state_dict()))` goes the other way.
    Raises BackendError without PyTorch, CheckpointError or ShapeError if the state does not fit.
    """
    own = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
    model.load_state_dict(from_torch_state_dict(find_state_dict(state, own)))
    return model
