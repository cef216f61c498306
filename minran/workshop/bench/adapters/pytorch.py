"""PyTorch: the twin of the network, eager in both layouts, or compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from minran.interop import create_twin
from minran.interop.twin import PreActUnit, chain
from minran.workshop.bench.adapters import Adapter, Work, both_passes, maps, pictures


def _norm_relu(x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> torch.Tensor:
    return F.relu(F.batch_norm(x, mean, var, gamma, beta, True), inplace=True)


OPS: dict[str, Callable[..., torch.Tensor]] = {
    "conv2d": lambda x, w, out, kernel, stride: F.conv2d(x, w, None, stride, kernel // 2),
    "norm_relu_conv2d": lambda x, gamma, beta, w, mean, var, x_mean, x_var, out, kernel, stride: (
        F.conv2d(_norm_relu(x, gamma, beta, mean, var), w, None, stride, kernel // 2)
    ),
    "batch_norm_relu": _norm_relu,
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    "upsample_bilinear2d": lambda x, out: F.interpolate(
        x, (out, out), mode="bilinear", align_corners=True
    ),
    "sigmoid": lambda x: torch.sigmoid(x),
    "gate": lambda x, mask: (1 + mask) * x,
    "global_avg_pool": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "linear": lambda x, w, out: F.linear(x, w),
    "cross_entropy": lambda x, labels: F.cross_entropy(x, labels),
}


class PyTorch(Adapter):
    """channels_last: PyTorch's NHWC; compiled: torch.compile(mode="max-autotune")."""

    ops = OPS
    no_grad = torch.no_grad
    event = staticmethod(partial(torch.cuda.Event, enable_timing=True))
    elapsed = staticmethod(torch.cuda.Event.elapsed_time)

    def __init__(self, channels_last: bool = False, compiled: bool = False, **options: Any) -> None:
        super().__init__(**options)
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        self.compile: Callable[[Any], Any] = lambda function: function
        if compiled:
            self.compile = partial(torch.compile, mode="max-autotune")
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.where = torch.device("cuda" if self.device == "gpu" else "cpu")
        # PyTorch's own way to store maps in bfloat16, if that is asked for.
        short = self.device == "gpu" and self.precision == "bf16"
        self.autocast = partial(torch.autocast, self.where.type, torch.bfloat16, enabled=short)
        if self.device == "gpu":
            tf32 = self.precision != "fp32"
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            # Plain NCHW is measured as a user gets it without asking for anything.
            torch.backends.cudnn.benchmark = channels_last
            torch.zeros((), device=self.where)

    def versions(self) -> dict[str, str]:
        versions = {"torch": str(torch.__version__)}
        if self.device == "gpu":
            versions["cudnn"] = str(torch.backends.cudnn.version())
            versions["gpu"] = torch.cuda.get_device_name()
        return versions

    def make_step(self, model: str, batch: int, size: int, classes: int) -> Work:
        network = self._network(model)
        optimizer = torch.optim.SGD(
            network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4
        )
        x, labels = map(self.place, pictures(batch, size, classes))

        @self.compile
        def loss_of(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            with self.autocast():
                return F.cross_entropy(network(x), labels)

        def step() -> object:
            loss = loss_of(x, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item() if self.device == "cpu" else None

        return step

    def make_inference(self, model: str, batch: int, size: int, classes: int) -> Work:
        network = self.compile(self._network(model).eval())
        x = self.place(pictures(batch, size, classes)[0])

        def forward() -> object:
            with torch.inference_mode(), self.autocast():
                return network(x)

        return forward

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        stack = self._settle(chain(PreActUnit, width, count))
        x = self.leaf("x", maps(batch, size, size, width))
        gy = self.place(maps(batch, size, size, width))
        return both_passes(lambda: stack(x), [x, *stack.parameters()], gy)

    def leaf(self, name: str, array: np.ndarray) -> torch.Tensor:
        if name == "w":  # (KH, KW, C, out) or (C, out), which is the other way round here
            array = array.transpose((3, 2, 0, 1) if array.ndim == 4 else (1, 0))
            return self._settled(torch.from_numpy(array)).requires_grad_()
        return self.place(array).requires_grad_()

    def place(self, array: np.ndarray) -> torch.Tensor:
        """(N, H, W, C) to PyTorch's axes, in the memory order of this contender."""
        x = torch.from_numpy(array)
        return self._settled(x.permute(0, 3, 1, 2) if x.ndim == 4 else x)

    def copy(self, y: torch.Tensor) -> torch.Tensor:
        return y.detach().clone()

    def device_bytes(self) -> int | None:
        """The most that PyTorch's pool ever took from the GPU."""
        return None if self.device == "cpu" else int(torch.cuda.max_memory_reserved())

    def _settled(self, x: torch.Tensor) -> torch.Tensor:
        format = self.format if x.ndim == 4 else torch.contiguous_format
        return x.to(self.where).contiguous(memory_format=format)

    def _settle(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module on the device, its weights in this contender's memory order."""
        # PyTorch's stubs do not know that a Module takes a memory format.
        return module.to(self.where, memory_format=self.format)  # type: ignore[call-overload,no-any-return]

    def _network(self, model: str) -> torch.nn.Module:
        network = self._settle(create_twin(model))
        self.parameters = sum(p.numel() for p in network.parameters())
        return network
