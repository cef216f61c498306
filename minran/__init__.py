"""minran: the Residual Attention Network (Wang et al., CVPR 2017) from nothing but arrays."""

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
    "nn",
    "no_grad",
    "ops",
    "optim",
    "tensor",
    "to_host",
    "use",
]
