"""tinygrad: the units from its own layers, compiled by TinyJit."""

from __future__ import annotations

import importlib.metadata
import os
from typing import Any

from minran.workshop.bench.adapters import Adapter, Work, maps


class Tinygrad(Adapter):
    """NCHW, the layout of its layers; on its CPU device."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        os.environ.setdefault("DEV", "CPU")
        import tinygrad

        self.tinygrad = tinygrad

    def versions(self) -> dict[str, str]:
        return {"tinygrad": importlib.metadata.version("tinygrad")}

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        from tinygrad import Device, Tensor, TinyJit, nn
        from tinygrad.helpers import Context

        def unit() -> list[tuple[Any, Any]]:
            narrow = width // 4
            convs = [
                nn.Conv2d(width, narrow, 1, bias=False),
                nn.Conv2d(narrow, narrow, 3, padding=1, bias=False),
                nn.Conv2d(narrow, width, 1, bias=False),
            ]
            return [(nn.BatchNorm(c), conv) for c, conv in zip((width, narrow, narrow), convs)]

        stack = [unit() for _ in range(count)]
        picture = maps(batch, size, size, width).transpose(0, 3, 1, 2).copy()
        x, gy = Tensor(picture).realize(), Tensor(picture).realize()
        layers = [pair for each in stack for pair in each]
        leaves = [x]
        for norm, conv in layers:
            leaves += [norm.weight, norm.bias, conv.weight]
        for leaf in leaves:
            leaf.realize()

        @TinyJit
        def both() -> Any:
            y = x
            for each in stack:
                shortcut = y
                for norm, conv in each:
                    y = conv(norm(y).relu())
                y = y + shortcut
            gradients = (y * gy).sum().gradient(*leaves)
            running = [
                array for norm, _ in layers for array in (norm.running_mean, norm.running_var)
            ]
            return Tensor.realize(*gradients, *running)

        def work() -> object:
            with Context(TRAINING=1):
                both()
                Device[Device.DEFAULT].synchronize()
            return None

        work()  # TinyJit records on the second call and replays from the third on
        return work
