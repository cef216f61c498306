"""DeZero: the units from its layers, on NumPy as minran is."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np

from minran.workshop.bench.adapters import Adapter, Work, maps


class DeZero(Adapter):
    """NCHW, the layout of its layers; BLAS with as many threads as the others have."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # DeZero is older than NumPy 1.24, which took these names away.
        for name, kind in (("int", int), ("float", float), ("bool", bool)):
            if name not in vars(np):
                setattr(np, name, kind)
        import dezero

        self.dezero = dezero

    def versions(self) -> dict[str, str]:
        return {"dezero": importlib.metadata.version("dezero"), "numpy": np.__version__}

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        import dezero.functions as functions
        import dezero.layers as layers

        def unit() -> list[tuple[Any, Any]]:
            convs = [
                layers.Conv2d(width // 4, 1, 1, 0, nobias=True),
                layers.Conv2d(width // 4, 3, 1, 1, nobias=True),
                layers.Conv2d(width, 1, 1, 0, nobias=True),
            ]
            return [(layers.BatchNorm(), conv) for conv in convs]

        stack = [unit() for _ in range(count)]
        picture = maps(batch, size, size, width).transpose(0, 3, 1, 2).copy()
        x, gy = self.dezero.Variable(picture), self.dezero.Variable(picture)

        def both() -> object:
            x.cleargrad()
            y = x
            for each in stack:
                shortcut = y
                for norm, conv in each:
                    norm.cleargrads()
                    conv.cleargrads()
                    y = conv(functions.relu(norm(y)))
                y = y + shortcut
            y.grad = gy
            y.backward()
            return x.grad

        return both
