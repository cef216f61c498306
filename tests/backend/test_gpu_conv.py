"""The GPU's convolution beyond `conv2d`: what it fuses, its tensor cores, its choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedBackend, EmulatedDevice

from minran import backend
from minran.backend import cpu
from minran.backend.gpu import engine, launch, plain
from minran.errors import BackendError


@dataclass(frozen=True)
class Case:
    """A convolution with a batch norm and a ReLU before it, and a sum behind."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: int = 1
    padding: int = 0

    @property
    def options(self) -> tuple[Any, ...]:
        return (self.stride,) * 2, (self.padding,) * 2, 1

    def arrays(self, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        x, w = rng.standard_normal(self.x), rng.standard_normal(self.w)
        shape = cpu.conv2d(x, w, *self.options).shape
        channels = self.x[3]
        vectors = rng.uniform(0.5, 2, channels), rng.standard_normal(channels)
        vectors[0][1:3] = 0, -1  # its gradient must be right there, too
        arrays = (x, w, *vectors, rng.standard_normal(shape), rng.standard_normal(shape))
        names = ("x", "w", "gamma", "beta", "residual", "gy")
        # Statistics that are not x's own: no one may count on xhat having mean 0.
        statistics = {"mean": rng.standard_normal(channels), "inv_std": rng.random(channels) + 0.5}
        return {n: a.astype(dtype) for n, a in zip(names, arrays, strict=True)} | statistics


# On both sides of a tile's edge, with pieces of 1 and of 4, and several slices.
CASES = [
    Case((2, 9, 7, 16), (3, 3, 16, 16), padding=1),
    Case((3, 5, 5, 4), (1, 1, 4, 20)),
    Case((2, 8, 9, 36), (1, 1, 36, 68), stride=2),
    Case((1, 11, 6, 8), (3, 3, 8, 24), stride=2, padding=1),
    Case((2, 6, 5, 3), (3, 3, 3, 16), padding=1),
    Case((1, 7, 5, 5), (2, 2, 5, 70), padding=1),
    Case((2, 13, 12, 4), (1, 1, 4, 4)),
    Case((3, 7, 5, 36), (1, 1, 36, 12)),
    Case((1, 5, 13, 7), (1, 1, 7, 3)),
]

ENGINES: dict[str, dict[str, Any]] = {"fp32": {}, "tf32": {"has_tf32": True}}


def rounded(x: np.ndarray, bits: int, to_even: bool) -> np.ndarray:
    """The nearest number with so many bits; ties away from zero, or to the even one."""
    mantissa, exponent = np.frexp(x)
    scaled = np.abs(mantissa) * 2**bits
    whole = np.rint(scaled) if to_even else np.floor(scaled + 0.5)
    return np.copysign(whole, x) * np.exp2(exponent - float(bits))


def expected(
    case: Case, arrays: dict[str, np.ndarray], precision: str, capability: int = 0
) -> dict[str, np.ndarray]:
    """Step by step in float64, with the factors of a product rounded as the engine does it.

    In bfloat16 if `arrays` are maps of it ("x" says so), by tensor cores (not "fp32").
    """
    short = arrays["x"].dtype.itemsize == 2
    x, w, gamma, beta, residual, gy, mean, inv_std = (
        array.astype(np.float64) for array in arrays.values()
    )
    dtype = arrays["w"].dtype
    centre, scale = mean.astype(dtype), (gamma * inv_std).astype(dtype)
    shift = (beta - (mean - centre) * gamma * inv_std).astype(dtype)
    # The kernel normalises in the dtype of x, and TF32 rounds what came of that: where that is
    # half-way between two numbers, a last bit decides. A GPU multiplies and adds in one rounding.
    exact = np.float64 if capability else dtype
    if short:  # nothing is subtracted from bfloat16: shift takes that over
        shift = (shift - scale.astype(exact) * centre.astype(exact)).astype(dtype)
        centre = np.zeros_like(centre)
    deviation = (x - centre).astype(dtype).astype(exact)
    normal = (scale.astype(exact) * deviation + shift).astype(dtype)
    normal = np.maximum(normal, 0).astype(np.float64)
    passes, deviation = (normal > 0).astype(np.float64), deviation.astype(np.float64)
    if precision == "tf32":
        bits, to_even = (8, True) if short else (11, capability >= 90)
        normal, deviation, w, gy = (
            rounded(array, bits, to_even) for array in (normal, deviation, w, gy)
        )
    y = cpu.conv2d(normal, w, *case.options) + residual
    # Back, what is rounded is not what the ReLU made, but what the norm made it of.
    g, along = cpu.conv2d_backward(gy, passes * deviation, w, *case.options)
    _, passed = cpu.conv2d_backward(gy, passes, w, *case.options)
    g, by_channel = g * passes, (slice(None), None)
    gw = scale[by_channel] * along + shift[by_channel] * passed
    gbeta = g.sum((0, 1, 2))
    ggamma = ((g * deviation).sum((0, 1, 2)) - (mean - centre) * gbeta) * inv_std
    sums = gamma, mean, inv_std, ggamma, gbeta
    return {
        "y": y,
        "mean": y.mean((0, 1, 2)),
        "var": y.var((0, 1, 2)),
        "gw": gw,
        "ggamma": ggamma,
        "gbeta": gbeta,
        "gx": cpu.batch_norm_backward_input(g, x, None, *sums, x.size // x.shape[3]) + x,
        "gx of constants": cpu.batch_norm_backward_input(g, x, None, *sums, None),
    }


def actual(case: Case, arrays: dict[str, np.ndarray], kernels: Any) -> dict[str, np.ndarray]:
    placed = map(kernels.xp.asarray, arrays.values())
    x, w, gamma, beta, residual, gy, mean, inv_std = placed
    norm = gamma, beta, mean, inv_std
    window = case.stride, case.padding
    y, moments = kernels.norm_relu_conv2d(x, norm, w, *window, residual, True)
    constants, gradients = (
        kernels.norm_relu_conv2d_backward(
            gy, x, norm, w, *window, lambda *sums, count=count: (*sums, count), earlier
        )
        for count, earlier in ((None, None), (x.size // x.shape[3], x))
    )
    assert kernels.norm_relu_conv2d(x, norm, w, *window, residual, False)[1] is None
    results = y, *moments, *gradients, constants[0]
    names = ("y", "mean", "var", "gx", "gw", "ggamma", "gbeta", "gx of constants")
    return {name: backend.to_host(array) for name, array in zip(names, results, strict=True)}


def assert_close(
    actual: dict[str, np.ndarray], truth: dict[str, np.ndarray], allowed: float
) -> None:
    for name, array in truth.items():
        error = np.abs(actual[name] - array).max() / np.abs(array).max()
        assert error <= allowed, f"{name} is off by {error:.1e}"


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("precision", ENGINES)
def test_norm_relu_conv2d(case: Case, precision: str) -> None:
    kernels = EmulatedBackend(EmulatedDevice(**ENGINES[precision]))
    assert kernels.precision() == precision
    arrays = case.arrays()
    assert_close(actual(case, arrays, kernels), expected(case, arrays, precision), 1e-5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("where", ["emulated", pytest.param("cupy", marks=pytest.mark.gpu)])
def test_one_thread_a_number(where: str, case: Case, dtype: Any, groups: int) -> None:
    arrays = case.arrays(np.float64)
    x, w, gy = (arrays[name].astype(dtype) for name in ("x", "w", "gy"))
    if case.w[2] % groups or case.w[3] % groups:
        pytest.skip("these channels have no two groups")
    w, window = w[:, :, : case.w[2] // groups], (*case.options[:2], groups)
    with launch.using(EmulatedDevice()) if where == "emulated" else backend.use(where):
        made = plain.conv2d(x, w, *window), *plain.conv2d_backward(gy, x, w, *window)
        made = tuple(map(backend.to_host, made))
    exact = [array.astype(np.float64) for array in (x, w, gy)]
    truth = cpu.conv2d(*exact[:2], *window), *cpu.conv2d_backward(exact[2], *exact[:2], *window)
    names, terms = ("y", "gx", "gw"), max(w[..., 0].size, w[0, 0, 0].size * 9, gy[..., 0].size)
    # A sum of n products in order: its error is below n times the unit roundoff of its terms' sum.
    allowed = terms * np.finfo(dtype).eps
    assert_close(dict(zip(names, made)), dict(zip(names, truth)), allowed)
    assert all(array.dtype == dtype for array in made)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", ["emulated", "cpu"])
def test_norm_relu_conv2d_in_float64(case: Case, name: str) -> None:
    kernels = cpu if name == "cpu" else EmulatedBackend(EmulatedDevice(has_tf32=True))
    arrays = case.arrays(np.float64)
    assert_close(actual(case, arrays, kernels), expected(case, arrays, "fp64"), 1e-12)


TILES = [
    (rows, width, parts)
    for rows in (64, 128)
    for width in (16, 32, 64)
    for parts in (1, 2, 4)
    if 8 * parts <= width and (rows == 64 or parts == 1)
]
"""Rows and columns of all tiles of tensor cores, and how many parts of a block share them."""


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[7]], ids=str)
def test_every_tensor_core_engine(
    case: Case, tile: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, width, parts = tile
    chosen = engine._tensor(rows, width, 4, parts=parts)
    monkeypatch.setattr("minran.backend.gpu.conv.choose", lambda *_, **__: chosen)
    kernels = EmulatedBackend(EmulatedDevice(has_tf32=True))
    arrays = case.arrays()
    assert_close(actual(case, arrays, kernels), expected(case, arrays, "tf32"), 1e-5)


def test_moments_far_from_zero() -> None:
    """The tiles' moments keep their digits where mean(x^2) - mean(x)^2 would lose all."""
    rng = np.random.default_rng(0)
    x = (1000 + rng.standard_normal((3, 9, 7, 4))).astype(np.float32)
    identity = np.eye(4, dtype=np.float32)[None, None]
    norm = np.ones(4, np.float32), np.zeros(4, np.float32), np.zeros(4), np.ones(4)
    _, (mean, var) = EmulatedBackend().norm_relu_conv2d(x, norm, identity, 1, 0, None, True)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-5)


def test_pieces_of_four_only_where_aligned() -> None:
    """A filter that starts one number into a buffer must not be read four numbers at a time."""
    case = CASES[0]
    arrays = case.arrays()
    kernels = EmulatedBackend()
    buffer = np.empty(arrays["w"].size + 8, np.float32)
    offset = next(i for i in range(8) if buffer[i:].ctypes.data % 16 == 4)
    w = buffer[offset : offset + arrays["w"].size].reshape(case.w)
    w[...] = arrays["w"]
    launched: list[str] = []
    kernels.device.launch = lambda program, kernel, *rest: launched.append(kernel)
    kernels.conv2d(arrays["x"], w, *case.options)
    kernels.conv2d(arrays["x"], arrays["w"], *case.options)
    assert [kernel.split(", ")[-4] for kernel in launched] == ["1", "4"]


def test_large_products_take_tall_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minran.backend.gpu.launch._device", EmulatedDevice(has_tf32=True))
    assert engine.choose(np.float32, 131072, 16, 4).rows == 128
    assert engine.choose(np.float32, 131072, 16, 1).rows == 64
    assert engine.choose(np.float64, 131072, 16, 4).name == "Simt<double, 64, 16>"


def test_many_threads_share_the_tiles_of_small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minran.backend.gpu.launch._device", EmulatedDevice(has_tf32=True))
    shared = engine.choose(np.float32, 8192, 64, 4)
    assert (shared.name, shared.threads) == ("Tf32<64, 64, 32, 4>", 512)
    assert engine.choose(np.float32, 8192, 64, 1).parts == 1
    assert engine.choose(np.float32, 32768, 32, 4).parts == 2
    for rows in (1, 8192, 2**20):
        assert engine.choose(np.float32, rows, 16, 4, sliced=True).parts <= 2


def test_precision_is_checked() -> None:
    kernels = EmulatedBackend()
    with pytest.raises(BackendError, match="fp16"):
        kernels.set_precision("fp16")
    with pytest.raises(BackendError, match="no TF32"):
        kernels.set_precision("tf32")
    capable = EmulatedBackend(EmulatedDevice(has_tf32=True))
    assert capable.precision() == "tf32"
    try:
        capable.set_precision("fp32")
        assert capable.precision() == "fp32"
    finally:
        capable.set_precision(None)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("precision", ENGINES)
def test_norm_relu_conv2d_on_a_gpu(case: Case, precision: str) -> None:
    kernels: Any = backend.load("cupy")
    arrays = case.arrays()
    try:
        kernels.set_precision(precision)
        capability = int(kernels.xp.cuda.Device().compute_capability)
        truth = expected(case, arrays, precision, capability)
        assert_close(actual(case, arrays, kernels), truth, 2e-5)
    finally:
        kernels.set_precision(None)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_moments_in_parts_are_finished_as_moments_that_are_summed(name: str) -> None:
    """By the norm that reads a map first, by a second one, and by who asks for them before."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 9, 7, 20)).astype(name)
    identity, kernels = np.eye(20, dtype=name)[None, None], EmulatedBackend()
    gamma, beta = rng.standard_normal((2, 20)).astype(name)
    plain = gamma, beta, np.zeros(20), np.ones(20)

    def parts() -> Any:
        return kernels.norm_relu_conv2d(x, plain, identity, 1, 0, None, True)[1]

    def finished(moments: Any) -> tuple[list[np.ndarray], np.ndarray]:
        running = rng_running.copy()
        norm = kernels.finish_norm(moments, gamma, beta, *running, 0.1, 1e-5, 189)
        return list(norm), running

    rng_running = rng.random((2, 20)).astype(name)
    first = parts()
    once, twice = finished(first), finished(first)
    summed = finished(tuple(parts()))
    assert len(once[0]) == 7 and once[0][0] is gamma
    for other in (twice, summed):
        for one, another in zip([*once[0], once[1]], [*other[0], other[1]], strict=True):
            np.testing.assert_array_equal(one, another)
    # The scale and shift that come with the norm are those that a convolution makes of it.
    results = [
        kernels.norm_relu_conv2d(x, norm, identity, 1, 0, None, False)[0]
        for norm in (once[0], once[0][:4])
    ]
    np.testing.assert_array_equal(*results)
