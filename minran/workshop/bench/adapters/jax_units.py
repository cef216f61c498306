"""JAX: the units written with `jax.lax`, compiled as one function with its gradient."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minran import machine
from minran.workshop.bench.adapters import Adapter, Work, maps


class Jax(Adapter):
    """NHWC and HWIO, like minran; on the CPU."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # XLA has no setting for this: it starts a thread for each core that it may use.
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(machine.cores())
            os.sched_setaffinity(0, cores[: self.threads])
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax

        self.jax = jax

    def versions(self) -> dict[str, str]:
        return {"jax": self.jax.__version__}

    def make_units(self, batch: int, width: int, size: int, count: int) -> Work:
        jax, jnp = self.jax, self.jax.numpy
        x, gy = (
            jnp.asarray(maps(batch, size, size, width)),
            jnp.asarray(maps(batch, size, size, width)),
        )
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
