"""Weights between minran's layout and names and PyTorch's, without either model at hand.

| what          | minran                         | PyTorch                            |
|---------------|--------------------------------|------------------------------------|
| convolution   | weight (KH, KW, Cin/g, Cout)   | weight (Cout, Cin/g, KH, KW)       |
| linear        | weight (in, out), bias (out,)  | weight (out, in), bias (out,)      |
| normalisation | gamma, beta (C,)               | weight, bias (C,)                  |
|               | running_mean, running_var (C,) | the same and num_batches_tracked   |

The number of dimensions and the last part of the name say what an array is, so gradients and
velocities convert by the same rules.

Of other people's networks, the pre-activation ResNets of osmr's imgclsmob (pytorchcv, chainercv2)
compute what minran's do; `OSMR` has their names.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from minran.errors import CheckpointError, expect, import_extra
from minran.files import explained
from minran.hints import checked

if TYPE_CHECKING:
    import torch

_TO_TORCH = {"gamma": "weight", "beta": "bias"}
_PASS = ("running_mean", "running_var", "bias")

KNOWN = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights")
"""Where a training script keeps the state dict among other things, most usual first."""

OSMR = {
    r"features\.init_block": "stem.0",
    r"features\.stage(\d+)\.unit(\d+)\.body\.conv(\d)\.bn": "stages.{}.{}.norm{}",
    r"features\.stage(\d+)\.unit(\d+)\.body\.conv(\d)\.conv": "stages.{}.{}.conv{}",
    r"features\.stage(\d+)\.unit(\d+)\.identity_conv": "stages.{}.{}.shortcut",
    r"features\.post_activ\.bn": "norm",
    r"output(?:\.fc)?": "fc",
}
"""osmr's names of layers, as patterns, and minran's. Stages and units count from 1 there."""

CHAINER = {
    "W": "weight",
    "b": "bias",
    "gamma": "weight",
    "beta": "bias",
    "avg_mean": "running_mean",
    "avg_var": "running_var",
    "N": "num_batches_tracked",
}
"""The last parts of names in Chainer's .npz files, and PyTorch's. The layouts are PyTorch's."""

TRUNK_IN_MASK = re.compile(r"\.trunk_branches\.|\.hg\.skip_seq\.")
"""Names in ports whose masks add the trunk's output: their sums have no weights to convert."""

MAX_BYTES = 1 << 31
"""Of all arrays in a .npz file; Attention-92 for ImageNet has a tenth of that."""


def require_torch() -> Any:
    """Import PyTorch, or raise BackendError that says how to install it."""
    return import_extra("torch", "test", "minran.interop needs PyTorch, which is not installed")


@checked(CheckpointError)
def to_torch_state_dict(state: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Convert a minran state dict (or parameters, or gradients) to PyTorch's names and layouts.

    Every `running_mean` brings a `num_batches_tracked` of 0. Arrays are copied, dtypes kept.
    Raises CheckpointError for an array whose name or number of dimensions fits no layer.
    """
    torch = require_torch()
    converted = {}
    for name, array in state.items():
        prefix, kind = _split(name)
        array = _turned("to_torch_state_dict", name, np.asarray(array), (*_TO_TORCH, *_PASS))
        converted[prefix + _TO_TORCH.get(kind, kind)] = torch.from_numpy(array)
        if kind == "running_mean":
            converted[prefix + "num_batches_tracked"] = torch.tensor(0)
    return converted


@checked(CheckpointError)
def from_torch_state_dict(state: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Convert a PyTorch state dict (or parameters, or gradients) to minran's names and layouts.

    `num_batches_tracked` is dropped. A 1-D `bias` is a `beta` where the `weight` next to it is 1-D.
    Raises CheckpointError for a tensor whose name or number of dimensions fits no layer, and for
    what is no dense tensor of numbers (sparse, quantized, complex, on the device "meta").
    """
    torch = require_torch()
    expect(
        isinstance(state, Mapping) and all(isinstance(name, str) for name in state),
        f"from_torch_state_dict: state must hold tensors by name, got {type(state).__name__}",
        CheckpointError,
    )
    kept = {name: x for name, x in state.items() if _split(name)[1] != "num_batches_tracked"}
    arrays = {name: _to_array(torch, name, tensor) for name, tensor in kept.items()}
    return from_arrays("from_torch_state_dict", arrays)


def from_arrays(who: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert arrays with PyTorch's names and layouts, except `num_batches_tracked`."""
    converted = {}
    for name, array in state.items():
        prefix, kind = _split(name)
        array = _turned(who, name, array, ("weight", *_PASS))
        # Beside a weight of one axis: a normalisation's.
        if array.ndim == 1 and getattr(state.get(prefix + "weight"), "ndim", 0) == 1:
            kind = {"weight": "gamma", "bias": "beta"}.get(kind, kind)
        converted[prefix + kind] = array
    return converted


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by PyTorch's names, as Chainer writes it; nothing is unpickled."""
    kinds = (ValueError, OSError, KeyError, TypeError, MemoryError, EOFError, zipfile.BadZipFile)
    with explained(CheckpointError, f"{path} is no .npz file of arrays: ", kinds=kinds):
        with zipfile.ZipFile(path) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
        large = f"{path} would take {size:,} bytes of memory; expected at most {MAX_BYTES:,}"
        expect(size <= MAX_BYTES, large, CheckpointError)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name.replace("/", "."): file[name] for name in file.files}
    named = _each_once(arrays, lambda layer, kind: layer + CHAINER.get(kind, kind))
    return {name: x for name, x in named.items() if _split(name)[1] != "num_batches_tracked"}


def read_torch(path: Path) -> Any:
    """What `torch.save` wrote, if it is weights and plain values: nothing in it is executed."""
    torch = require_torch()
    expect(path.is_file(), f"there is no file {path}", CheckpointError)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken pickle makes PyTorch raise
        raise CheckpointError(
            f"{path} cannot be read by torch.load(weights_only=True): it is damaged, no file of "
            "torch.save, or holds objects that would have to be executed"
        ) from error


def renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same under minran's names of layers, if the names are osmr's.

    Raises CheckpointError for the weights of a port whose masks compute something else.
    """
    foreign = next(filter(TRUNK_IN_MASK.search, state), "")
    expect(
        not foreign,
        f"{foreign:.99} is of a port that adds the trunk's output inside the mask: its weights are "
        "for another network than the paper's, see docs/paper/faq.md",
        CheckpointError,
    )
    return _each_once(state, _ours)


def _ours(layer: str, kind: str) -> str:
    """('features.stage1.unit2.body.conv3.bn.', 'bias') -> 'stages.0.1.norm3.bias'."""
    for pattern, ours in OSMR.items():
        if found := re.fullmatch(pattern + r"\.", layer):
            numbers = [int(number) for number in found.groups()]
            layer = ours.format(*(number - 1 for number in numbers[:2]), *numbers[2:]) + "."
    return layer + kind


def _each_once(state: Mapping[str, Any], rename: Callable[[str, str], str]) -> dict[str, Any]:
    """The same with new names, made of a name's layer and its last part; no two may be one."""
    named = {rename(*_split(name)): value for name, value in state.items()}
    twice = f"{len(state) - len(named)} of the {len(state)} arrays have another's name in minran"
    expect(len(named) == len(state), twice, CheckpointError)
    return named


def find_state_dict(found: Any, own: Collection[str] = ()) -> Mapping[str, torch.Tensor]:
    """The state dict in what `torch.load` returns: itself, a module, or a dict that holds one.

    The prefixes of DataParallel ("module.") and torch.compile ("_orig_mod.") are taken off, the
    first only if no name in `own`, those of the network to load, begins so. Raises
    CheckpointError if there is none, or several under names that say nothing.
    """
    state = _state_in(require_torch(), found)
    wrong = [name for name in state if not isinstance(name, str)]
    expect(not wrong, f"load_torch: names must be text, got {wrong[:3]}", CheckpointError)
    names = [name.replace("_orig_mod.", "") for name in state]
    parallel = not any(name.startswith("module.") for name in own)
    while parallel and all(name.startswith("module.") for name in names):
        names = [name.removeprefix("module.") for name in names]
    return dict(zip(names, state.values(), strict=True))


def _state_in(torch: ModuleType, found: Any) -> Mapping[Any, Any]:
    """The only mapping of tensors in `found`, or the one with a usual name."""
    if isinstance(found, torch.nn.Module):
        return dict(found.state_dict())
    what = "load_torch: expected a state dict, a module or a dict with one, got "
    expect(isinstance(found, Mapping), what + type(found).__name__, CheckpointError)
    if any(isinstance(value, torch.Tensor) for value in found.values()):
        return found
    inner = [key for key, value in found.items() if _holds(torch, value)]
    keys = [key for key in KNOWN if key in inner][:1] or inner
    expect(
        len(keys) == 1,
        f"load_torch: {'several entries hold' if keys else 'no entry holds'} tensors by name, of "
        f"{', '.join(map(repr, keys or list(found)[:8])) or 'none'}; pass the state dict itself",
        CheckpointError,
    )
    return _state_in(torch, found[keys[0]])


def _holds(torch: ModuleType, value: Any) -> bool:
    """Whether a module or tensors by name are in there; an optimiser's have numbers for names."""
    if isinstance(value, Mapping):
        named = [one for name, one in value.items() if isinstance(name, str)]
        return any(isinstance(one, torch.Tensor) or _holds(torch, one) for one in named)
    return isinstance(value, torch.nn.Module)


def _to_array(torch: ModuleType, name: str, tensor: Any) -> np.ndarray:
    """The numbers of a tensor; bfloat16 and smaller become float32, which holds them exactly."""
    what = f"from_torch_state_dict: {name}"
    no_tensor = f"{what} is no tensor, but {type(tensor).__name__}"
    expect(isinstance(tensor, torch.Tensor), no_tensor, CheckpointError)
    kinds = {
        "without values (on the device meta)": tensor.is_meta,
        "sparse": tensor.layout != torch.strided,
        "quantized": tensor.is_quantized,
        "complex": tensor.is_complex(),
    }
    for kind, applies in kinds.items():
        wanted = f"{what} is {kind}; expected a dense tensor of numbers"
        expect(not applies, wanted, CheckpointError)
    with explained(
        CheckpointError, f"{what} cannot be read: ", kinds=(RuntimeError, TypeError, ValueError)
    ):
        tensor, known = tensor.detach().cpu(), (torch.float16, torch.float32, torch.float64)
        if tensor.is_floating_point() and tensor.dtype not in known:
            tensor = tensor.float()
        return np.asarray(tensor.resolve_neg().numpy())


def _split(name: str) -> tuple[str, str]:
    """'tail.0.norm1.gamma' -> ('tail.0.norm1.', 'gamma')."""
    head, dot, kind = name.rpartition(".")
    return head + dot, kind


def _turned(who: str, name: str, array: np.ndarray, known: Collection[str]) -> np.ndarray:
    """A copy in the other layout; vectors, whose names are `known`, stay as they are."""
    kind = _split(name)[1]
    if kind == "weight" and array.ndim == 4:
        array = array.transpose((3, 2, 0, 1) if who == "to_torch_state_dict" else (2, 3, 1, 0))
    elif kind == "weight" and array.ndim == 2:
        array = array.T
    else:
        expect(
            kind in known and array.ndim == 1,
            f"{who}: expected a convolution (4-D weight), a linear layer (2-D weight, bias) or a "
            f"normalisation (1-D); got {name} of shape {array.shape}",
            CheckpointError,
        )
    return array.copy(order="C")
