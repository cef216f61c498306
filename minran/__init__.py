"""minran: the Residual Attention Network (Wang et al., CVPR 2017) from nothing but arrays."""

import importlib
from typing import Any

from minran import nn, ops, optim
from minran._version import __version__
from minran.autograd import Op, Tensor, no_grad, tensor
from minran.backend import to_host, use
from minran.gradcheck import gradcheck
from minran.models import create_model, list_models

__all__ = [
    "Op",
    "Tensor",
    "__version__",
    "create_model",
    "gradcheck",
    "list_models",
    "load_pretrained",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "tensor",
    "to_host",
    "use",
]

_SUBPACKAGES = ("data", "inspect", "interop", "train")


def __getattr__(name: str) -> Any:
    """Load what most programs do not need when it is first asked for: `import minran` is quick."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"minran.{name}")
    if name == "load_pretrained":
        return importlib.import_module("minran.train").load_pretrained
    raise AttributeError(f"module 'minran' has no attribute {name!r}")
