"""minran: the Residual Attention Network (Wang et al., CVPR 2017) from nothing but arrays."""

from minran import nn, ops
from minran._version import __version__
from minran.autograd import Op, Tensor, no_grad, tensor
from minran.backend import to_host, use
from minran.models import create_model, list_models

__all__ = [
    "Op",
    "Tensor",
    "__version__",
    "create_model",
    "list_models",
    "nn",
    "no_grad",
    "ops",
    "tensor",
    "to_host",
    "use",
]
