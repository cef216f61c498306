"""Checks of notebook 17: intensity of a convolution, a sum by a block of threads, a faster op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import ops, tensor
from minran.errors import MinranError
from minran.workshop.course.blocks import run_block
from minran.workshop.course.checking import Wrong, beside, compare, expect_function, generator
from minran.workshop.course.stopwatch import passes_and_bytes

MOST_PASSES = 3.2
SHARE_OF_BYTES = 16


def check_17_1(answer: Callable[..., Any]) -> None:
    """conv_intensity(pixels, channels_in, channels_out, kernel) -> FLOP per byte."""
    expect_function("conv_intensity", answer)
    hint = (
        "(17.2): 2 operations for each weight at each pixel; 4 bytes for each number of x, of y "
        "and of the weights, each moved once"
    )
    for pixels, cin, cout, kernel in ((65536, 64, 16, 1), (65536, 16, 16, 3), (64, 256, 64, 1)):
        where = f"{pixels} pixels, {cin} to {cout} channels, {kernel}x{kernel}"
        weights = kernel * kernel * cin * cout
        expected = 2 * pixels * weights / (4 * (pixels * (cin + cout) + weights))
        compare("the intensity", answer(pixels, cin, cout, kernel), expected, hint, 1e-9, where)


def check_17_2(answer: Callable[..., Any]) -> None:
    """line_sum(thread, threads, cells, values): a generator; cells[0] holds the sum at the end."""
    expect_function("line_sum", answer)
    for threads, count in ((8, 8), (8, 29), (16, 5), (64, 256)):
        where = f"{threads} threads, {count} numbers"
        values = generator(17, count).standard_normal(count)
        sums = []
        for seed in range(8):
            try:
                block = run_block(answer, threads, values, seed=seed)
            except MinranError as error:
                hint = "every thread must reach every `yield`: keep it outside of the `if`"
                raise Wrong(str(error).removeprefix("run_block: "), where, hint) from error
            sums.append(float(block.shared[0]))
        if np.ptp(sums) > 1e-9 or (np.isnan(sums).any() and not np.isnan(sums).all()):
            text = f"{where}: cells[0] is {sums[0]:.6g} for one order and {max(sums):.6g} for other"
            hint = "who reads a cell that another thread wrote must wait at a barrier in between"
            raise Wrong("the sum depends on the order in which the threads run", text, hint)
        hint = (
            "first each thread adds values[thread], values[thread + threads], ...; then half of "
            "the threads add the other half's cells, then half of those"
        )
        compare("cells[0]", sums[0], values.sum(), hint, 1e-9, where)
        levels = int(np.log2(threads))
        if not levels <= block.barriers <= levels + 3:
            raise Wrong(
                f"the threads met at {block.barriers} barriers, expected {levels} "
                f"(and at most {levels + 3})",
                where,
                "a tree halves the number of cells at each level: one barrier a level",
            )


def check_17_3(answer: Callable[..., Any]) -> None:
    """fast_norm_relu(x, gamma, beta, mean, var, eps, out) writes into out."""
    expect_function("fast_norm_relu", answer)
    for shape in ((2, 5, 4, 8), (4, 16, 16, 32)):
        x, vectors = _case(shape)
        wanted = _reference(x, vectors)
        given, out = x.copy(), np.full(shape, np.nan, np.float32)
        answer(given, **vectors, eps=1e-5, out=out)
        where = f"x {shape}, float32"
        hint = "gamma (x - mean) / sqrt(var + eps) + beta, then max(., 0), written into out"
        compare("out", out, wanted, hint, 2e-6, where)
        compare("x, after the call,", given, x, "x belongs to the caller: write to out", 0, where)
    _check_cost(answer)


def _check_cost(answer: Callable[..., Any]) -> None:
    shape = (8, 32, 32, 64)
    x, vectors = _case(shape)
    arrays = {"x": x, **vectors, "out": np.empty(shape, np.float32)}
    passes, fresh = beside(measure, answer, arrays, x.size)
    where = f"x {shape}: {x.nbytes / 1e6:.1f} MB; it made {passes:.1f} passes, {fresh / 1e6:.1f} MB"
    if passes < 0.9:
        hint = "work with NumPy's functions on x itself, not on np.asarray(x)"
        raise Wrong("the check sees no pass over x", where, hint)
    if fresh > x.nbytes // SHARE_OF_BYTES:
        raise Wrong(
            f"it takes {fresh / 1e6:.1f} MB of fresh memory, expected at most "
            f"{x.nbytes / SHARE_OF_BYTES / 1e6:.1f} MB",
            where,
            "every expression such as x * scale makes a new map; np.multiply(x, scale, out=out) "
            "does not",
        )
    if passes > MOST_PASSES:
        raise Wrong(
            f"it goes over the map {passes:.1f} times, expected 3",
            where,
            "put gamma, beta, mean and var into two vectors first: y = x scale + shift",
        )


def measure(answer: Callable[..., Any], arrays: Any, whole: int) -> tuple[float, int]:
    """Passes over the map, and bytes of fresh memory; seen from the process that it runs in."""
    return passes_and_bytes(lambda **given: answer(**given, eps=1e-5), arrays, whole)


def _case(shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = generator(173, shape[-1])
    x = rng.standard_normal(shape).astype(np.float32)
    names = {
        "gamma": rng.uniform(0.5, 2, shape[-1]),
        "beta": rng.standard_normal(shape[-1]),
        "mean": rng.standard_normal(shape[-1]),
        "var": np.append(rng.uniform(0.5, 2, shape[-1] - 1), 1e-5),
    }
    return x, {name: vector.astype(np.float32) for name, vector in names.items()}


def _reference(x: np.ndarray, vectors: dict[str, np.ndarray]) -> np.ndarray:
    """The library's op on the same numbers in float64."""
    exact = {name: vector.astype(np.float64) for name, vector in vectors.items()}
    y = ops.batch_norm_relu(
        tensor(x.astype(np.float64)),
        tensor(exact["gamma"]),
        tensor(exact["beta"]),
        exact["mean"],
        exact["var"],
        False,
        0.1,
        1e-5,
    )
    return y.numpy()
