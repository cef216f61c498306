"""Other frameworks, with pre-activation units as their users would write them; a fresh Python."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np

from minran import machine
from minran.workshop.bench.adapters import Adapter, Work, bottleneck, maps


class Start(Adapter):
    """A fresh Python that imports a module; its memory is not looked at."""

    packages = ()

    def __init__(self, module: str, **options: Any) -> None:
        super().__init__(**options)
        self.command = [sys.executable, "-c", f"import {module}"]

    def make_import(self) -> Work:
        return lambda: subprocess.run(self.command, check=True)


class Jax(Adapter):
    """NHWC and HWIO, like minran; on the CPU."""

    packages = ("jax",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # XLA has no setting for this: it starts a thread for each core that it may use.
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(machine.cores())[: self.threads])
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax

        self.jax = jax

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        jax, jnp = self.jax, self.jax.numpy
        x, gy = (jnp.asarray(maps(batch, size, size, width)) for _ in range(2))

        def stack(parameters: Any, x: Any) -> tuple[Any, Any]:
            statistics = []
            for unit in parameters:
                y = x
                for w, gamma, beta in unit:
                    mean, var = y.mean((0, 1, 2)), y.var((0, 1, 2))
                    statistics.append((mean, var))  # what a network would track
                    y = jnp.maximum((y - mean) * (gamma * jax.lax.rsqrt(var + 1e-5)) + beta, 0)
                    y = jax.lax.conv_general_dilated(
                        y, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                    )
                x = y + x
            return x, statistics

        @jax.jit
        def both(parameters: Any, x: Any, gy: Any) -> Any:
            _, pull, statistics = jax.vjp(stack, parameters, x, has_aux=True)
            return pull(gy), statistics

        layers = [
            (0.05 * maps(k, k, cin, cout), np.ones(cin, np.float32), np.zeros(cin, np.float32))
            for cin, cout, k in bottleneck(width)
        ]
        parameters = [layers] * count
        return lambda: jax.block_until_ready(both(parameters, x, gy))


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

        stack = [
            [
                (nn.BatchNorm(cin), nn.Conv2d(cin, cout, k, padding=k // 2, bias=False))
                for cin, cout, k in bottleneck(width)
            ]
            for _ in range(count)
        ]
        layers = [pair for unit in stack for pair in unit]
        x, gy = (Tensor(_nchw(batch, size, width)).realize() for _ in range(2))
        leaves = [x, *(leaf for n, c in layers for leaf in (n.weight, n.bias, c.weight))]
        for leaf in leaves:
            leaf.realize()

        @TinyJit
        def both() -> Any:
            y = x
            for unit in stack:
                shortcut = y
                for norm, conv in unit:
                    y = conv(norm(y).relu())
                y = y + shortcut
            gradients = (y * gy).sum().gradient(*leaves)
            running = [each for n, _ in layers for each in (n.running_mean, n.running_var)]
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
        for kind in (int, float, bool):
            vars(np).setdefault(kind.__name__, kind)
        import dezero

        self.dezero = dezero

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        from dezero import functions, layers

        stack = [
            [
                (layers.BatchNorm(), layers.Conv2d(cout, k, 1, k // 2, nobias=True))
                for _, cout, k in bottleneck(width)
            ]
            for _ in range(count)
        ]
        x, gy = (self.dezero.Variable(_nchw(batch, size, width)) for _ in range(2))

        def both() -> object:
            x.cleargrad()
            y = x
            for unit in stack:
                shortcut = y
                for norm, conv in unit:
                    norm.cleargrads()
                    conv.cleargrads()
                    y = conv(functions.relu(norm(y)))
                y = y + shortcut
            y.grad = gy
            y.backward()
            return x.grad

        return both


def _nchw(batch: int, size: int, width: int) -> np.ndarray:
    return maps(batch, size, size, width).transpose(0, 3, 1, 2).copy()
