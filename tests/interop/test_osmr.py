"""Weights of osmr's pre-activation ResNets (pytorchcv, chainercv2), read by their names."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

import minran
from minran import interop, tensor
from minran.errors import CheckpointError, MinranError

# Of the names and shapes of preresnet164bn_cifar10 in pytorchcv 0.0.74, counters included.
FACTS = 983, 0x7A471FC6


def block(cin: int, cout: int, kernel: int, stride: int = 1) -> nn.ModuleDict:
    conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False)
    return nn.ModuleDict({"bn": nn.BatchNorm2d(cin), "conv": conv})


class Unit(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        c = cout // 4
        blocks = block(cin, c, 1), block(c, c, 3, stride), block(c, cout, 1)
        self.body = nn.ModuleDict({f"conv{k}": one for k, one in enumerate(blocks, 1)})
        if cin != cout:
            self.identity_conv = nn.Conv2d(cin, cout, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number, one in enumerate(self.body.values()):
            y = relu(one["bn"](y))
            if not number and hasattr(self, "identity_conv"):
                x = self.identity_conv(y)
            y = one["conv"](y)
        return x + y


class Theirs(nn.Module):
    """A pre-activation ResNet of plain layers with osmr's names."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("init_block", nn.Conv2d(3, 16, 3, padding=1, bias=False))
        width = 16
        for s, channels in enumerate((64, 128, 256), 1):
            stage = nn.Sequential()
            for u in range(1, count + 1):
                stage.add_module(f"unit{u}", Unit(width, channels, 2 if u == 1 < s else 1))
                width = channels
            self.features.add_module(f"stage{s}", stage)
        last = nn.Sequential()
        last.add_module("bn", nn.BatchNorm2d(width))
        last.add_module("activ", nn.ReLU())
        self.features.add_module("post_activ", last)
        self.output = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.features(x).mean((2, 3)))


def packaged(count: int) -> nn.Module:
    name = "pytorchcv.models.preresnet_cifar"
    return pytest.importorskip(name).CIFARPreResNet([[w] * count for w in (64, 128, 256)], 16, True)


def trained(make: Callable[[int], nn.Module], count: int, dtype: torch.dtype) -> nn.Module:
    """A network whose batch norms are not as they begin."""
    torch.manual_seed(0)
    net = make(count).to(dtype).eval()
    for name, x in net.state_dict().items():
        if ".bn." in name and x.is_floating_point():
            x.uniform_(0.5, 1) if name.endswith(("weight", "var")) else x.normal_(std=0.1)
    return net


def logits(path: Path, theirs: nn.Module, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """minran's with the weights of a file, and theirs."""
    units = (len(theirs.features.stage1),) * 3
    ours = minran.create_model("resnet164_cifar", units=units, dtype=str(dtype)[6:]).eval()
    assert interop.load_file(ours, path) is ours
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(str(dtype)[6:])
    with minran.no_grad(), torch.no_grad():
        return ours(tensor(x)).numpy(), theirs(torch.tensor(x).permute(0, 3, 1, 2)).numpy()


def chainer(theirs: nn.Module) -> dict[str, np.ndarray]:
    """A state dict as Chainer's save_npz writes it."""
    kinds = {"running_mean": "avg_mean", "running_var": "avg_var", "num_batches_tracked": "N"}
    found = {}
    for name, x in theirs.state_dict().items():
        layer, _, kind = name.replace("output.", "output.fc.").rpartition(".")
        usual = ("gamma", "beta") if layer.endswith("bn") else ("W", "b")
        kind = kinds.get(kind) or usual[kind == "bias"]
        found[f"{layer}.{kind}".replace(".", "/")] = x.numpy()
    return found


def test_names_and_shapes_are_those_of_the_package() -> None:
    shapes = [(name, tuple(x.shape)) for name, x in Theirs(18).state_dict().items()]
    assert (len(shapes), zlib.crc32(repr(sorted(shapes)).encode())) == FACTS


@pytest.mark.parametrize("make", [Theirs, packaged])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("ending", [".pth", ".npz"])
def test_the_same_logits(
    make: Any, dtype: torch.dtype, limit: float, ending: str, tmp_path: Path
) -> None:
    theirs, path = trained(make, 2, dtype), tmp_path / f"theirs{ending}"
    if ending == ".npz":
        np.savez(path, **chainer(theirs))
    else:
        torch.save(theirs.state_dict(), path)
    ours, expected = logits(path, theirs, dtype)
    assert abs(ours - expected).max() <= limit * abs(expected).max()


def test_every_array_has_its_place(tmp_path: Path) -> None:
    arrays = chainer(Theirs(2))
    for value, array in enumerate(arrays.values()):
        array[...] = value
    np.savez(tmp_path / "theirs.npz", **arrays)
    ours = minran.create_model("resnet164_cifar", units=(2, 2, 2))
    found = interop.load_file(ours, tmp_path / "theirs.npz").state_dict().values()
    counters = {value for value, name in enumerate(arrays) if name.endswith("/N")}
    assert {float(array.max()) for array in found} | counters == set(range(len(arrays)))


WRONG: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "missing": (".npz", lambda a: a.pop("features/stage2/unit1/body/conv1/bn/avg_var"), "norm1"),
    "unknown": (".npz", lambda a: a.update({"features/extra/W": a["output/fc/W"]}), "extra"),
    "a layer too many": (
        ".pth",
        lambda s: s.update({"features.stage1.unit2.identity_conv.weight": torch.ones(2, 2, 1, 1)}),
        "stages.0.1.shortcut",
    ),
    "twice": (".pth", lambda s: s.update({"fc.bias": torch.ones(10)}), "another's name"),
    "shape": (".npz", lambda a: a.update({"output/fc/b": np.ones(9)}), "(9,)"),
    "a number": (".npz", lambda a: a.update({"output/fc/b": np.array(1.0)}), "shape ()"),
    "variance": (
        ".npz",
        lambda a: a.update({"features/post_activ/bn/avg_var": -np.ones(256)}),
        "variance",
    ),
    "NaN": (".npz", lambda a: a.update({"output/fc/b": np.full(10, np.nan)}), "finite"),
    "objects": (".npz", lambda a: a.update(x=np.array([{}], object)), "no .npz file"),
    "trunk in mask": (
        ".npz",
        lambda a: a.update({"attention_module1/trunk_branches/0/conv1/W": np.ones(1)}),
        "inside the mask",
    ),
    "code": (".pth", lambda s: s.update(x=logits), "executed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_a_sentence_and_changes_nothing(case: str, tmp_path: Path) -> None:
    ending, change, words = WRONG[case]
    path, theirs = tmp_path / f"theirs{ending}", Theirs(2)
    state: Any = chainer(theirs) if ending == ".npz" else dict(theirs.state_dict())
    change(state)
    np.savez(path, **state) if ending == ".npz" else torch.save(state, path)
    ours = minran.create_model("resnet164_cifar", units=(2, 2, 2))
    before = ours.state_dict()
    with pytest.raises(MinranError) as caught:
        interop.load_file(ours, path)
    assert words in str(caught.value)
    for name, array in ours.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("ending", [".npz", ".pth"])
@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04" + bytes(60), bytes(300)])
def test_what_is_no_such_file(ending: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / f"weights{ending}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="weights"):
        interop.load_file(minran.create_model("attention_nano"), path)


def test_a_file_that_unpacks_to_more_than_any_network_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minran.interop.weights.MAX_BYTES", 1000)
    np.savez_compressed(tmp_path / "large.npz", a=np.zeros(1000))
    with pytest.raises(CheckpointError, match="bytes of memory"):
        interop.load_file(minran.create_model("attention_nano"), tmp_path / "large.npz")
