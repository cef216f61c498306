"""minran beside PyTorch: the same networks in torch, and weights carried both ways.

Importing this package does not import PyTorch; calling its functions does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minran.interop.weights import from_torch_state_dict, require_torch, to_torch_state_dict

if TYPE_CHECKING:
    import torch

__all__ = ["create_twin", "from_torch_state_dict", "to_torch_state_dict"]


def create_twin(name: str, num_classes: int | None = None, **options: object) -> torch.nn.Module:
    """Build the PyTorch twin of `minran.create_model(name, num_classes, **options)`.

    Raises BackendError without PyTorch, RecipeError for an unknown name, option or choice
    (`minran.interop.twin.TwinSpec` lists the options).
    """
    require_torch()
    from minran.interop.twin import create_twin as create

    return create(name, num_classes, **options)
