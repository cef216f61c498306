"""PyTorch: the twin of the network, eager in both layouts, or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from minran.interop import create_twin
from minran.interop.twin import PreActUnit, chain
from minran.workshop.bench.adapters import Adapter, NotHere, Work, launched, maps, pictures


class PyTorch(Adapter):
    """channels_last: PyTorch's NHWC; compiled: torch.compile(mode="max-autotune")."""

    def __init__(self, channels_last: bool = False, compiled: bool = False, **options: Any) -> None:
        super().__init__(**options)
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        self.compiled = compiled
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.place = torch.device("cuda" if self.device == "gpu" else "cpu")
        if self.device == "gpu":
            tf32 = self.precision != "fp32"
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            # Plain NCHW is measured as a user gets it without asking for anything.
            torch.backends.cudnn.benchmark = channels_last
            torch.zeros((), device=self.place)

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
        x, labels = self._batch(batch, size, classes)

        def loss_of(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            with self._autocast():
                return F.cross_entropy(network(x), labels)

        if self.compiled:
            loss_of = torch.compile(loss_of, mode="max-autotune")

        def step() -> object:
            loss = loss_of(x, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item() if self.device == "cpu" else None

        return step

    def make_inference(self, model: str, batch: int, size: int, classes: int) -> Work:
        network = self._network(model).eval()
        x, _ = self._batch(batch, size, classes)
        call = torch.compile(network, mode="max-autotune") if self.compiled else network

        def forward() -> object:
            with torch.inference_mode(), self._autocast():
                return call(x)

        return forward

    def _autocast(self) -> torch.autocast:
        """PyTorch's own way to store maps in bfloat16, if that is asked for."""
        short = self.device == "gpu" and self.precision == "bf16"
        return torch.autocast(self.place.type, torch.bfloat16, enabled=short)

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        stack = self._settle(chain(PreActUnit, width, count))
        x = self._maps(batch, size, size, width).requires_grad_()
        gy = self._maps(batch, size, size, width)

        def both() -> object:
            x.grad = None
            stack.zero_grad()
            stack(x).backward(gy)
            return x.grad

        return both

    def make_op(self, kind: str, shape: list[int], backward: bool, **options: Any) -> Work:
        if kind not in OPS:
            raise NotHere
        inputs = [self._maps(*shape).requires_grad_()]
        function = OPS[kind](inputs, **options)
        inputs[1:] = [leaf.to(self.place).detach().requires_grad_() for leaf in inputs[1:]]
        gy = torch.randn_like(function())

        def forward() -> object:
            with torch.no_grad():
                return function()

        def both() -> object:
            for leaf in inputs:
                leaf.grad = None
            function().backward(gy)
            return inputs[0].grad

        return both if backward else forward

    def timed(self, work: Work, repeat: int) -> float:
        if self.device == "cpu":
            return super().timed(work, repeat)
        start, end = launched(lambda: torch.cuda.Event(enable_timing=True), work, repeat)
        return float(start.elapsed_time(end)) / 1e3

    def device_bytes(self) -> int | None:
        """The most that PyTorch's pool ever took from the GPU."""
        return None if self.device == "cpu" else int(torch.cuda.max_memory_reserved())

    def _network(self, model: str) -> torch.nn.Module:
        network = self._settle(create_twin(model))
        self.parameters = sum(p.numel() for p in network.parameters())
        return network

    def _settle(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module on the device, its weights in this contender's memory order."""
        # PyTorch's stubs do not know that a Module takes a memory format.
        module.to(self.place, memory_format=self.format)  # type: ignore[call-overload]
        return module

    def _batch(self, batch: int, size: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = pictures(batch, size, classes)
        return self._place(images), torch.from_numpy(labels).to(self.place)

    def _maps(self, *shape: int) -> torch.Tensor:
        return self._place(maps(*shape))

    def _place(self, array: np.ndarray) -> torch.Tensor:
        """(N, H, W, C) to PyTorch's axes, in the memory order of this contender."""
        x = torch.from_numpy(array)
        if x.ndim == 4:
            return x.permute(0, 3, 1, 2).to(self.place).contiguous(memory_format=self.format)
        return x.to(self.place)


Inputs = list[torch.Tensor]
Function = Callable[[], torch.Tensor]
"""Both follow `adapters.ours`: leaves are appended to `inputs`, read from there."""


def _kernel(x: torch.Tensor, out: int, kernel: int) -> torch.Tensor:
    weight = 0.05 * torch.randn(out, x.shape[1], kernel, kernel)
    last = x.is_contiguous(memory_format=torch.channels_last)
    return weight.contiguous(memory_format=torch.channels_last) if last else weight


def _convolution(inputs: Inputs, out: int, kernel: int, stride: int) -> Function:
    inputs.append(_kernel(inputs[0], out, kernel))
    return lambda: F.conv2d(inputs[0], inputs[1], None, stride, kernel // 2)


def _batch_norm_relu(inputs: Inputs) -> Function:
    x = inputs[0]
    channels = x.shape[1]
    inputs += [torch.ones(channels), torch.zeros(channels)]
    running = torch.zeros(channels, device=x.device), torch.ones(channels, device=x.device)

    def function() -> torch.Tensor:
        x, gamma, beta = inputs[:3]
        return F.relu(F.batch_norm(x, *running, gamma, beta, True), inplace=True)

    return function


def _norm_relu_convolution(inputs: Inputs, out: int, kernel: int, stride: int) -> Function:
    normalise = _batch_norm_relu(inputs)
    inputs.append(_kernel(inputs[0], out, kernel))
    return lambda: F.conv2d(normalise(), inputs[3], None, stride, kernel // 2)


def _gate(inputs: Inputs) -> Function:
    inputs.append(inputs[0].detach().clone())
    return lambda: (1 + inputs[1]) * inputs[0]


def _cross_entropy(inputs: Inputs) -> Function:
    x = inputs[0]
    labels = torch.arange(len(x), device=x.device) % x.shape[1]
    return lambda: F.cross_entropy(inputs[0], labels)


def _linear(inputs: Inputs, out: int) -> Function:
    inputs.append(0.05 * torch.randn(out, inputs[0].shape[1]))
    return lambda: F.linear(inputs[0], inputs[1])


def _upsample(inputs: Inputs, out: int) -> Function:
    size = (out, out)
    return lambda: F.interpolate(inputs[0], size, mode="bilinear", align_corners=True)


OPS: dict[str, Callable[..., Function]] = {
    "conv2d": _convolution,
    "norm_relu_conv2d": _norm_relu_convolution,
    "batch_norm_relu": _batch_norm_relu,
    "max_pool2d": lambda inputs: lambda: F.max_pool2d(inputs[0], 3, 2, ceil_mode=True),
    "upsample_bilinear2d": _upsample,
    "sigmoid": lambda inputs: lambda: torch.sigmoid(inputs[0]),
    "gate": _gate,
    "global_avg_pool": lambda inputs: lambda: F.adaptive_avg_pool2d(inputs[0], 1).flatten(1),
    "linear": _linear,
    "cross_entropy": _cross_entropy,
}
