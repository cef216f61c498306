"""Maps in bfloat16: every kernel calculates as for float32, and rounds what it stores, once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import test_gpu_conv as fused
import torch
from emulation import EmulatedBackend, EmulatedDevice, RemoteDevice
from gpu_runs import assert_same, rows, run, tiny, using
from test_kernels import CASES, Case, relative_error

from minran import backend, create_model, inspect, ops
from minran.autograd import tensor
from minran.backend.gpu import engine, launch
from minran.errors import BackendError, ShapeError
from minran.train import build

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
ROUNDING = 2.0**-8
"""The most that one rounding to 8 bits can take, measured in the largest number of a map."""

DEVICES = ["emulated", pytest.param("cupy", marks=pytest.mark.gpu)]
MAPS = [case for case in CASES if "softmax" not in str(case) and "entropy" not in str(case)]


def short(array: np.ndarray) -> np.ndarray:
    return array.astype(BFLOAT16)


class Short:
    """A device's kernels on arrays of the host; what they return keeps its dtype."""

    def __init__(self, name: str) -> None:
        self.module: Any = EmulatedBackend() if name == "emulated" else backend.load(name)

    def __getattr__(self, kernel: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            return self.on_host(getattr(self.module, kernel)(*map(self.placed, args)))

        return call

    def placed(self, arg: Any) -> Any:
        return self.module.xp.asarray(arg) if isinstance(arg, np.ndarray) else arg

    def on_host(self, result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(map(self.on_host, result))
        return result.get() if hasattr(result, "get") else result


@pytest.fixture(params=DEVICES)
def kernels(request: pytest.FixtureRequest) -> Iterator[Short]:
    found = Short(request.param)
    found.module.set_precision("fp32")
    yield found
    found.module.set_precision(None)


@pytest.mark.parametrize("case", MAPS, ids=str)
def test_a_kernel(kernels: Short, case: Case) -> None:
    """As PyTorch in float64 on the same numbers, but for the rounding of maps."""
    wide = {"conv2d": [1], "batch_norm": [1, 2]}.get(case.run.__name__.removeprefix("run_"), [])
    inputs = [a if i in wide else short(a) for i, a in enumerate(case.inputs(np.float32))]
    exact = [array.astype(np.float64) for array in inputs]
    gy = short(case.cotangent(exact))
    truth = case.in_torch(gy.astype(np.float64), exact, torch.float64)
    for place, (mine, expected) in enumerate(
        zip(case.on(kernels, gy, inputs), truth, strict=True)  # type: ignore[arg-type]
    ):
        weights = case.run.__name__ == "run_conv2d" and place == 2
        assert mine.dtype == (np.float32 if weights else BFLOAT16)
        # What an attention sends back is the difference of two numbers, one made of its rounded y.
        roundings = 4 if "attention" in case.run.__name__ and place else 1
        assert relative_error(mine, expected) <= (1e-5 if weights else roundings * ROUNDING)


def hard_to_round() -> np.ndarray:
    """Floats of all kinds: halfway between two bfloat16, just beside it, and no numbers at all."""
    rng = np.random.default_rng(0)
    bits = rng.integers(2**32, size=5000, dtype=np.uint32)
    halfway = (bits[:1000] & np.uint32(0xFFFF0000)) | np.uint32(0x8000)
    beside = [halfway + np.uint32(1), halfway - np.uint32(1)]
    ends = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38], np.float32)
    return np.concatenate([*(part.view(np.float32) for part in (bits, halfway, *beside)), ends])


def test_conversion_rounds_to_the_nearest(kernels: Short) -> None:
    x = hard_to_round()
    with np.errstate(all="ignore"):
        expected = short(x)

    def converted(array: np.ndarray, dtype: Any) -> np.ndarray:
        emulated = isinstance(kernels.module, EmulatedBackend)
        with launch.using(kernels.module.device) if emulated else nullcontext():
            return np.asarray(kernels.on_host(launch.operand(kernels.placed(array), dtype)))

    rounded = converted(x, BFLOAT16)
    numbers = ~np.isnan(x)
    np.testing.assert_array_equal(rounded[numbers].view("u2"), expected[numbers].view("u2"))
    assert np.isnan(rounded[~numbers].astype(np.float32)).all()
    for dtype in (np.float32, np.float64):
        back = converted(expected[numbers], dtype)
        np.testing.assert_array_equal(back, expected[numbers].astype(dtype), strict=True)


def test_truncation_would_be_found() -> None:
    planted, right = Short("emulated"), "all + 0x7fff + (all >> 16 & 1)"
    truncating = EmulatedDevice(change=lambda source: source.replace(right, "all"))
    planted.module = EmulatedBackend(truncating)
    with pytest.raises(AssertionError):
        test_conversion_rounds_to_the_nearest(planted)


def stored(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    maps = ("x", "residual", "gy")
    return {name: short(array) if name in maps else array for name, array in arrays.items()}


@pytest.mark.parametrize("case", fused.CASES, ids=str)
@pytest.mark.parametrize("precision", fused.ENGINES)
def test_norm_relu_conv2d(case: fused.Case, precision: str) -> None:
    _check_fused(case, precision, EmulatedBackend(EmulatedDevice(**fused.ENGINES[precision])))


@pytest.mark.gpu
@pytest.mark.parametrize("case", fused.CASES, ids=str)
def test_norm_relu_conv2d_on_a_gpu(case: fused.Case) -> None:
    _check_fused(case, "tf32", backend.load("cupy"), on_a_gpu=True)


def _check_fused(case: fused.Case, precision: str, kernels: Any, on_a_gpu: bool = False) -> None:
    """Products of factors that the engine rounded, or that were stored so; they are exact.

    y is rounded once more, gx twice: when the gradient arrives at the ReLU, and behind the norm.
    """
    arrays = stored(case.arrays())
    truth = fused.expected(case, arrays, precision, on_a_gpu)
    actual = fused.actual(case, arrays, kernels)
    # The moments are those of the numbers that were stored.
    y = actual["y"].astype(np.float64)
    truth |= {"mean": y.mean((0, 1, 2)), "var": y.var((0, 1, 2))}
    allowed = {"y": ROUNDING, "gx": 2 * ROUNDING, "gx of constants": 2 * ROUNDING}
    for name, array in truth.items():
        fused.assert_close(actual, {name: array}, allowed.get(name, 1e-5))


@pytest.mark.parametrize("tile", fused.TILES)
@pytest.mark.parametrize(("case", "piece"), [(0, 8), (2, 4)])
def test_every_tensor_core_engine(
    case: int, piece: int, tile: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, width, parts = tile
    chosen = engine._tensor(rows, width, piece, "bfloat16", parts)
    assert chosen.name.startswith("Bf16")
    monkeypatch.setattr("minran.backend.gpu.conv.choose", lambda *_, **__: chosen)
    kernels = EmulatedBackend(EmulatedDevice(has_tf32=True))
    _check_fused(fused.CASES[case], "tf32", kernels)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("load<true>(of_b", "load<false>(of_b"),
        ("load_matrices<true>(words", "load_matrices<false>(words"),
        ("k + along * 8 + each", "k + each"),
    ],
)
def test_fragments_out_of_order_would_be_found(right: str, wrong: str) -> None:
    changes = 0

    def change(source: str) -> str:
        nonlocal changes
        changes += source.count(right)
        return source.replace(right, wrong)

    rng = np.random.default_rng(0)
    x, w = short(rng.standard_normal((1, 8, 8, 16))), rng.integers(-9, 9, (1, 1, 16, 16))
    kernels = EmulatedBackend(EmulatedDevice(change, has_tf32=True))
    y = kernels.conv2d(x, w.astype(np.float32), (1, 1), (0, 0), 1)
    exact = x.astype(np.float64) @ w[0, 0]
    assert changes == 1 and relative_error(y, exact) > ROUNDING


def test_a_norm_far_from_zero() -> None:
    """What moves the centre into the shift costs less than x's own rounding, however far it is."""
    rng = np.random.default_rng(0)
    x = short(1000 + 8 * rng.standard_normal((2, 9, 7, 8)))
    identity = np.eye(8, dtype=np.float32)[None, None]
    gamma, beta = rng.uniform(0.5, 2, 8).astype(np.float32), np.ones(8, np.float32)
    mean, inv_std = x.astype(np.float64).mean((0, 1, 2)), np.full(8, 1 / 8)
    kernels = EmulatedBackend(EmulatedDevice(has_tf32=True))
    y = kernels.norm_relu_conv2d(x, (gamma, beta, mean, inv_std), identity, 1, 0, None, False)[0]
    exact = np.maximum((x.astype(np.float64) - mean) * gamma * inv_std + beta, 0)
    # One rounding to bfloat16, and before it three of float32, to 24 bits, of numbers up to this.
    largest = np.abs(x.astype(np.float64)).max() * (gamma * inv_std).max() + 1
    bound = ROUNDING * exact + 3 * 2.0**-24 * largest * (1 + ROUNDING)
    assert (np.abs(y.astype(np.float64) - exact) <= bound).all()


def test_moments_of_what_was_not_stored_would_be_found() -> None:
    line = "engine.value(i, j + e) = out.number[e];"
    forgetful = EmulatedDevice(change=lambda source: source.replace(line, ""))
    with pytest.raises(AssertionError, match=r"mean|var"):
        _check_fused(fused.CASES[0], "fp32", EmulatedBackend(forgetful))


def test_the_classifier_answers_in_float32(kernels: Short) -> None:
    """Its features are few, and the loss wants digits."""
    rng = np.random.default_rng(0)
    x, w = short(rng.standard_normal((5, 12))), rng.standard_normal((12, 7)).astype(np.float32)
    gy = rng.standard_normal((5, 7)).astype(np.float32)
    y = kernels.linear(x, w)
    gx, gw = kernels.linear_backward(gy, x, w)
    wide = x.astype(np.float64)
    assert (y.dtype, gx.dtype, gw.dtype) == (np.float32, BFLOAT16, np.float32)
    np.testing.assert_allclose(y, wide @ w, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gw, wide.T @ gy, rtol=1e-5, atol=1e-5)
    assert relative_error(gx, gy.astype(np.float64) @ w.T) <= ROUNDING


def test_losses_take_no_bfloat16(kernels: Short) -> None:
    with pytest.raises(ShapeError, match="float32 or float64, got bfloat16"):
        kernels.softmax(short(np.ones((2, 3))))


@pytest.fixture(scope="module", params=DEVICES)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)

    def start(name: str) -> Any:
        changes = f"precision={name[:4]}"
        return run(request.param, folder / name, changes, capture="eager" not in name)

    return {name: start(name) for name in ("fp32", "bf16", "bf16, eager")}


def test_maps_are_counted_as_half() -> None:
    model = create_model("attention56_cifar")
    full = inspect.memory(model, 16, device="gpu")
    with using(EmulatedBackend(EmulatedDevice(has_tf32=True))) as kernels:
        kernels.set_precision("bf16")
        short = inspect.memory(model, 16, device="gpu")
    # But for the classifier, which calculates in float32.
    assert all(2 * short.maps[stage] == full.maps[stage] for stage in full.maps if stage != "fc")
    assert short.weights == full.weights and short.batches == full.batches


def test_training(runs: Any) -> None:
    """The same run but for rounding; recorded or not, bit for bit; weights in float32."""
    assert_same(runs["bf16, eager"], runs["bf16"])
    for mine, yours in zip(rows(runs["bf16"]), rows(runs["fp32"]), strict=True):
        losses = [name for name in mine if name.endswith("loss")]
        for name in losses:
            assert mine[name] == pytest.approx(yours[name], rel=0.05)
            assert mine[name] != yours[name]
        assert losses
    assert {array.dtype for array in runs["bf16"].state.values()} == {np.dtype(np.float32)}


def test_all_maps_of_a_step_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    with using(EmulatedBackend(RemoteDevice())) as kernels:
        parts = build(tiny("precision=bf16"))
        launched: list[str] = []
        original = kernels.device.launch

        def watch(program: Any, kernel: str, *rest: Any) -> None:
            launched.append(kernel)
            original(program, kernel, *rest)

        monkeypatch.setattr(kernels.device, "launch", watch)
        images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
        pictures = tensor(backend.activations(tensor(images).data))
        ops.cross_entropy(parts.model(pictures), [0, 1]).backward()
        grads = {parameter.grad.dtype for parameter in parts.model.parameters()}
    assert pictures.data.dtype == BFLOAT16
    assert grads == {np.dtype(np.float32)}
    # In float32: the classifier's three products, the loss, and vectors of C numbers.
    long = [name for name in launched if "bfloat16" not in name and name.startswith("conv_")]
    products = ["conv_filters", "conv_forward", "conv_input"]
    assert sorted(name.split("<")[0] for name in long) == products
    about_maps = ("relu", "max_pool", "upsample", "gate", "sigmoid", "batch_norm")
    assert not [name for name in launched if name.startswith(about_maps) and "<float" in name]
    # Two convolutions read the norm before a projection; the gradients of its vectors are added.
    projections = sum("shortcut" in name for name, _ in parts.model.named_parameters())
    assert launched.count("add<float, 4>") == 2 * projections > 0


def test_convolution_with_bias() -> None:
    rng = np.random.default_rng(0)
    with using(EmulatedBackend(RemoteDevice())):
        x = tensor(backend.current().xp.asarray(short(rng.standard_normal((2, 4, 4, 3)))))
        w, bias = (
            tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)
            for shape in ((1, 1, 3, 2), (2,))
        )
        y = ops.conv2d(x, w, bias)
        assert y.dtype == BFLOAT16
        assert y.numpy().dtype == np.float32  # for those who do not know bfloat16
        y.backward(np.ones(y.shape))
        assert bias.grad.dtype == np.float32
        np.testing.assert_array_equal(backend.to_host(bias.grad), 32)
        with pytest.raises(ShapeError, match="x is bfloat16 but w is float64"):
            ops.conv2d(x, tensor(np.ones((1, 1, 3, 2))))


def test_arithmetic_with_numbers_stays_short() -> None:
    with using(EmulatedBackend(RemoteDevice())):
        x = backend.current().xp.asarray(short(np.full((2, 3), 3.0)))
        m = tensor(x, requires_grad=True)
        y = (1 + m) * m / 2 - 0.5
        assert y.dtype == m.mean().dtype == BFLOAT16
        np.testing.assert_array_equal(y.numpy(), 5.5)
        y.backward(backend.current().xp.asarray(short(np.ones((2, 3)))))
        assert m.grad.dtype == BFLOAT16
        np.testing.assert_array_equal(backend.to_host(m.grad), 3.5)


def test_a_cupy_that_does_not_know_the_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def empty(self, *_: Any) -> None:
            raise ValueError("Unsupported dtype bfloat16")

    device = EmulatedDevice()
    device.xp = Old()
    with pytest.raises(BackendError, match=r"does not know the dtype.*NumPy 2\.1\.2"):
        EmulatedBackend(device).set_precision("bf16")


def test_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(BackendError, match=r"'bf16' needs the package ml_dtypes.*pip install"):
        EmulatedBackend().set_precision("bf16")


def test_on_a_cpu_it_is_said(tmp_path: Path) -> None:
    command = ["train", "--recipe", "quickstart", "--runs", str(tmp_path), "--quiet"]
    command += ["--precision", "bf16", "--set", "training.iterations=1"]
    command += ["--set", "data.test_count=9"]
    done = subprocess.run(
        [sys.executable, "-m", "minran", *command], capture_output=True, text=True, check=True
    )
    said = "minran: precision 'bf16' is for a GPU; on the CPU everything is float32\n"
    assert done.stderr == said
