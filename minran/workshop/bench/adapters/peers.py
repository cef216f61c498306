"""Other frameworks: pre-activation units, written as their users would write them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minran import machine
from minran.workshop.bench.adapters import Adapter, Work, maps


class Jax(Adapter):
    """NHWC and HWIO, like minran; on the CPU."""

    packages = ("jax",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # XLA has no setting for this: it starts a thread for each core that it may use.
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(machine.cores())
            os.sched_setaffinity(0, cores[: self.threads])
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax

        self.jax = jax

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        jax, jnp = self.jax, self.jax.numpy
        x, gy = (jnp.asarray(maps(batch, size, size, width)) for _ in range(2))
        parameters = [_unit_parameters(width, seed) for seed in range(count)]

        def stack(parameters: Any, x: Any) -> tuple[Any, Any]:
            statistics = []
            for p in parameters:
                y = x
                for k in range(3):
                    mean, var = y.mean((0, 1, 2)), y.var((0, 1, 2))
                    statistics.append((mean, var))  # what a network would track
                    scale = p["gamma"][k] * jax.lax.rsqrt(var + 1e-5)
                    y = jnp.maximum((y - mean) * scale + p["beta"][k], 0)
                    y = jax.lax.conv_general_dilated(
                        y, p["w"][k], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                    )
                x = y + x
            return x, statistics

        @jax.jit
        def both(parameters: Any, x: Any, gy: Any) -> Any:
            _, pull, statistics = jax.vjp(stack, parameters, x, has_aux=True)
            return pull(gy), statistics

        return lambda: jax.block_until_ready(both(parameters, x, gy))


def _unit_parameters(width: int, seed: int) -> dict[str, list[np.ndarray]]:
    """1x1 to width/4, 3x3, 1x1 back, each behind a norm."""
    rng = np.random.default_rng(seed)
    narrow = width // 4
    shapes = [(1, 1, width, narrow), (3, 3, narrow, narrow), (1, 1, narrow, width)]
    return {
        "w": [0.05 * rng.standard_normal(shape, dtype=np.float32) for shape in shapes],
        "gamma": [np.ones(shape[2], np.float32) for shape in shapes],
        "beta": [np.zeros(shape[2], np.float32) for shape in shapes],
    }


class Tinygrad(Adapter):
    """NCHW, the layout of its layers; on its CPU device."""

    packages = ("tinygrad",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        os.environ.setdefault("DEV", "CPU")
        import tinygrad

        self.tinygrad = tinygrad

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


class DeZero(Adapter):
    """NCHW, the layout of its layers; BLAS with as many threads as the others have."""

    packages = ("dezero", "numpy")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # DeZero is older than NumPy 1.24, which took these names away.
        for name, kind in (("int", int), ("float", float), ("bool", bool)):
            if name not in vars(np):
                setattr(np, name, kind)
        import dezero

        self.dezero = dezero

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
