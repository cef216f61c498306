"""minran and others: networks in PyTorch, weights carried both ways, ONNX files.

Importing this package imports neither PyTorch nor onnx; calling its functions does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minran.errors import CheckpointError, RecipeError
from minran.files import expect_ending
from minran.hints import checked
from minran.interop.onnx_export import export_onnx
from minran.interop.weights import (
    find_state_dict,
    from_arrays,
    from_torch_state_dict,
    read_npz,
    read_torch,
    renamed,
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
    "load_file",
    "load_torch",
    "to_torch_state_dict",
]


@checked(RecipeError, num_classes=1)
def create_twin(name: str, num_classes: int | None = None, **options: object) -> torch.nn.Module:
    """Build the PyTorch twin of `minran.create_model(name, num_classes, **options)`.

    Raises BackendError without PyTorch, RecipeError for an unknown name, option or choice
    (`minran.interop.twin.TwinSpec` lists the options).
    """
    if num_classes is not None:
        options["num_classes"] = num_classes
    require_torch()
    from minran.interop.twin import build

    return build(name, options)


@checked()
def load_torch(model: Module, state: Mapping[str, Any] | torch.nn.Module) -> Module:
    """Copy the weights of a network in PyTorch into minran's; returns it.

    The network is the twin (`create_twin`), or for resnet164_cifar osmr's preresnet164bn_cifar10
    (-100, -svhn) of the package pytorchcv.

    state: what `torch.load` returns: a state dict, a module, or a dict that holds one of them
    ({"state_dict": ..., "epoch": 3}). Prefixes of DataParallel and torch.compile are taken off.
    Weights in bfloat16, float16 or float64 take the dtype of the network.

    `torch_model.load_state_dict(to_torch_state_dict(model.state_dict()))` goes the other way.
    Raises BackendError without PyTorch, CheckpointError or ShapeError if the state does not fit.
    """
    own = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
    model.load_state_dict(from_torch_state_dict(renamed(find_state_dict(state, own))))
    return model


@checked(CheckpointError)
def load_file(model: Module, path: str | Path) -> Module:
    """Copy weights from a file of PyTorch (.pth, .pt) or Chainer (.npz) into `model`; returns it.

    Networks and names are those of `load_torch`. Nothing in the file is executed: a .npz file is
    read by NumPy without pickles, the others by `torch.load(weights_only=True)`. Every array of the
    file is used, and every one of the network set, or nothing changes and CheckpointError or
    ShapeError says why. Raises DataError for another ending, BackendError without PyTorch.
    """
    file = expect_ending(path, (".npz", ".pth", ".pt"), "load_file: the file")
    if file.suffix.lower() != ".npz":
        return load_torch(model, read_torch(file))
    model.load_state_dict(from_arrays("load_file", renamed(read_npz(file))))
    return model
