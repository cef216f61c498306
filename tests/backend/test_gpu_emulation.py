"""The emulated GPU finds what it is there to find: planted bugs, and results left to luck."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedBackend, EmulatedDevice
from test_kernels import CASES, Case, Kernels, assert_agrees

from minran import backend
from minran.backend import cpu
from minran.backend.gpu import launch


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_order_of_threads_changes_no_bit(case: Case) -> None:
    """Between two barriers threads run in any order: upwards or downwards must be the same."""
    inputs = case.inputs(np.float32)
    gy = case.cotangent(inputs)
    results = []
    for downwards in (False, True):
        kernels = Kernels("emulated")
        kernels.module = EmulatedBackend(EmulatedDevice(downwards=downwards))
        results.append(case.on(kernels, gy, inputs))
    for upwards, other in zip(*results, strict=True):
        np.testing.assert_array_equal(upwards, other)


@pytest.mark.parametrize("case", [case for case in CASES if len(case.shapes[0]) == 4][::4], ids=str)
def test_few_blocks_do_all_the_work(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grid-stride loops go on where the grid ends; elsewhere in the tests it never does."""
    monkeypatch.setattr(launch, "MAX_BLOCKS", 1)
    monkeypatch.setattr(launch, "THREADS", 8)
    assert_agrees(case, Kernels("emulated"))


def run_conv(kernels: Any) -> Any:
    return (kernels.conv2d(noise((2, 9, 7, 4)), noise((3, 3, 4, 20)), (2, 2), (1, 1), 1),)


def run_pointwise(kernels: Any) -> Any:
    return (kernels.conv2d(noise((2, 9, 7, 4)), noise((1, 1, 4, 20)), (1, 1), (0, 0), 1),)


def run_input_gradient(kernels: Any) -> Any:
    x, w, gy = (noise(shape) for shape in ((2, 9, 7, 4), (3, 3, 4, 20), (2, 5, 4, 20)))
    return kernels.conv2d_backward(gy, x, w, (2, 2), (1, 1), 1)[:1]


def run_filter_gradient(kernels: Any) -> Any:
    x, w, gy = (noise(shape) for shape in ((2, 13, 11, 4), (1, 1, 4, 4), (2, 13, 11, 4)))
    return kernels.conv2d_backward(gy, x, w, (1, 1), (0, 0), 1, False)[1:]


def run_fused(kernels: Any) -> Any:
    """What a convolution sums on the way, forwards and backwards."""
    x, w, gy = noise((3, 9, 7, 4)), noise((3, 3, 4, 20)), noise((3, 9, 7, 20))
    gamma, beta = 1 + noise((4,)) / 9, noise((4,))
    norm = gamma, beta, beta.astype(np.float64), np.ones(4)
    moments = kernels.norm_relu_conv2d(x, norm, w, 1, 1, None, True)[1]
    count = x.size // x.shape[3]
    gradients = kernels.norm_relu_conv2d_backward(
        gy, x, norm, w, 1, 1, lambda *sums: (*sums, count), x
    )
    return *moments, *gradients


def run_through_norm(kernels: Any) -> Any:
    """A pointwise convolution, back through the batch norm; some of x are the mean itself."""
    x, w, gy = np.rint(noise((3, 9, 7, 20))), noise((1, 1, 20, 84)), noise((3, 9, 7, 84))
    gamma, beta, mean = 1 + noise((20,)) / 9, noise((20,)), np.rint(noise((20,))).astype(np.float64)
    norm = gamma, beta, mean, 1 + mean**2
    return kernels.norm_relu_conv2d_backward(
        gy, x, norm, w, 1, 0, lambda *sums: (*sums, x.size // x.shape[3]), x
    )


def run_sigmoid_gate(kernels: Any) -> Any:
    """A sigmoid and a gate, in one kernel where there is one."""
    x, trunk, gy = noise((2, 3, 5, 4)), noise((2, 3, 5, 4)) + 1, noise((2, 3, 5, 4)) + 2
    if hasattr(kernels, "sigmoid_gate"):
        h = kernels.sigmoid_gate(x, trunk, True)
        return h, *kernels.sigmoid_gate_backward(gy, x, trunk, True)
    mask = kernels.sigmoid(x)
    gmask, gtrunk = kernels.gate_backward(gy, mask, trunk, True)
    return kernels.gate(mask, trunk, True), kernels.sigmoid_backward(gmask, mask), gtrunk


def run_shared_tile(kernels: Any) -> Any:
    """Tensor cores whose warps share a tile; whole numbers, which are not rounded."""
    if kernels is not cpu:
        kernels.device.has_tf32 = True
    x, w = np.rint(4 * noise((2, 9, 7, 16))), np.rint(4 * noise((3, 3, 16, 40)))
    return (kernels.conv2d(x, w, (1, 1), (1, 1), 1),)


def run_max_pool(kernels: Any) -> Any:
    x = np.round(noise((2, 7, 6, 3)))  # with ties
    y = kernels.max_pool2d(x, (3, 3), (2, 2), (1, 1), True)
    return y, kernels.max_pool2d_backward(noise(y.shape), x, y, (3, 3), (2, 2), (1, 1))


def run_upsample(kernels: Any) -> Any:
    x, gy = noise((1, 3, 4, 2)), noise((1, 7, 5, 2))
    return [
        result
        for corners in (True, False)
        for result in (
            kernels.upsample_bilinear2d(x, (7, 5), corners),
            kernels.upsample_bilinear2d_backward(gy, x.shape, corners),
        )
    ]


def run_moments(kernels: Any) -> Any:
    return kernels.batch_moments(1e6 + noise((5, 7, 9, 3)).astype(np.float64))


def run_softmax(kernels: Any) -> Any:
    return kernels.softmax(noise((3, 100)))


def run_global_pool(kernels: Any) -> Any:
    return (kernels.global_avg_pool(noise((2, 5, 7, 18))),)


def run_spatial_attention(kernels: Any) -> Any:
    return kernels.spatial_attention(noise((2, 5, 7, 18)), 1e-5)


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


BUGS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "missing barrier before the product": (
        run_conv,
        "__syncthreads();  // the tiles are complete, and everybody is done with the other pair",
        "",
    ),
    "one pair of tiles for two steps": (run_conv, "turn ^= 1", "turn ^= 0"),
    "tiles that are overwritten while others multiply": (
        run_shared_tile,
        "__syncthreads();  // everybody is done with the memory",
        "",
    ),
    "parts that are not there yet": (
        run_shared_tile,
        "__syncthreads();  // all parts are there",
        "",
    ),
    "a part forgotten": (run_shared_tile, "other < PARTS; other++", "other < PARTS - 1; other++"),
    "each part with the steps of the first": (
        run_shared_tile,
        "part() * (DEPTH / PARTS) + step",
        "step",
    ),
    "missing barrier in the tree over rows": (
        run_global_pool,
        "__syncthreads();\n    if (row < half)",
        "if (row < half)",
    ),
    "missing barrier behind the tree over rows": (
        run_spatial_attention,
        "__syncthreads();\n  return cells[0][column];",
        "return cells[0][column];",
    ),
    "missing barrier in the tree over a line": (
        run_softmax,
        "__syncthreads();\n    if (row < half)",
        "if (row < half)",
    ),
    "missing barrier in the sums of columns": (
        run_fused,
        "__syncthreads();  // the sums are complete",
        "",
    ),
    "moments of rows that are not there": (
        run_fused,
        "if (engine.row(i) < rows) squares[j] += d * d;",
        "squares[j] += d * d;",
    ),
    "tiles left out of the sums": (
        run_fused,
        "t < tiles; t += TILE_ROWS",
        "t < tiles - 1; t += TILE_ROWS",
    ),
    "ReLU forgotten on the way back": (run_fused, "norm.passes(in.number[e], e) ?", "true ?"),
    "ReLU forgotten in the sums": (run_fused, "norm.passes(x, e) ?", "true ?"),
    "barrier that some threads never reach": (
        run_global_pool,
        "  const Real<T> sum = sum_of_rows<Real<T>>(",
        "  if (threadIdx.x % 2) return;\n  const Real<T> sum = sum_of_rows<Real<T>>(",
    ),
    "convolution without padding": (run_conv, "p.row * s.SH - s.PH + t.a", "p.row * s.SH + t.a"),
    "wrong padding of the input gradient": (
        run_input_gradient,
        "p.column + s.PW - t.b",
        "p.column + s.PW - 1 - t.b",
    ),
    "stride forgotten in the input gradient": (
        run_input_gradient,
        " && i * s.SH == down && j * s.SW == across",
        "",
    ),
    "tile one row too short": (
        run_conv,
        "pixel < N * OH * OW && o < s.OG",
        "pixel < N * OH * OW - 1 && o < s.OG",
    ),
    "tile one row too long": (
        run_conv,
        "pixel < N * OH * OW && o < s.OG",
        "pixel < N * OH * OW + 1 && o < s.OG",
    ),
    "tile one column too long": (
        run_input_gradient,
        "if (column + first >= s.CG) continue;",
        "if (column + first > s.CG) continue;",
    ),
    "slice one pixel too long": (
        run_filter_gradient,
        "min(first + slice_pixels, N * OH * OW)",
        "min(first + slice_pixels + 1, N * OH * OW)",
    ),
    "numbers behind the last one of k": (
        run_filter_gradient,
        "exists(p) && k + (ALONG_K ? 0 : p * LEAP) < last",
        "exists(p)",
    ),
    "the channels of another pixel": (
        run_pointwise,
        "(ALONG_K ? k : k * pitch)",
        "(ALONG_K ? k + 1 : k * pitch)",
    ),
    "a window that never comes to the next image": (
        run_fused,
        "if (++p.row == rows) p.row = 0, p.n++;",
        "if (++p.row == rows) p.row = 0;",
    ),
    "what has arrived before forgotten": (
        run_through_norm,
        "if (earlier) more =",
        "if (false) more =",
    ),
    "the variance forgotten on the way through the norm": (
        run_through_norm,
        "slope[j] = T(-factor * along);",
        "slope[j] = 0;",
    ),
    "the mean forgotten on the way through the norm": (
        run_through_norm,
        "along - gbeta[c]));",
        "along));",
    ),
    "a mean not subtracted on the way through the norm": (
        run_through_norm,
        "(in.number[e] - middle.number[e])",
        "(in.number[e] + middle.number[e])",
    ),
    "a tile one row too long on the way through the norm": (
        run_through_norm,
        "if (pixel >= N * H * W) continue;\n      const int index",
        "if (pixel > N * H * W) continue;\n      const int index",
    ),
    "the mean itself taken for what is cut": (run_through_norm, " + TINY : T(0)", " : T(0)"),
    "sums of the norm without the filters": (
        run_through_norm,
        "sum[i] += filters.number[e] * of_gy;",
        "sum[i] += of_gy;",
    ),
    "filters' gradient without the shift": (
        run_through_norm,
        "+ factors.shift.number[0] * of_gy",
        "",
    ),
    "one tile of columns for all sums of the norm": (
        run_through_norm,
        "(slice * gridDim.y + blockIdx.y) * KH",
        "(slice * gridDim.y) * KH",
    ),
    "one position of the window for all sums of the norm": (
        run_fused,
        "place = k / s.CG * 2 * C + k % s.CG;",
        "place = k % s.CG;",
    ),
    "sums of a row without its other columns": (
        run_fused,
        "for (int other = 0; other < SHARES; other++)",
        "for (int other = 0; other < 1; other++)",
    ),
    "the mask not squeezed": (run_sigmoid_gate, "(one + logistic(x)) * trunk", "(one + x) * trunk"),
    "the sigmoid's slope forgotten": (
        run_sigmoid_gate,
        "gradient * weight * (1 - weight)",
        "gradient",
    ),
    "the trunk's gradient without the 1": (
        run_sigmoid_gate,
        "g.number[e] * (one + weight)",
        "g.number[e] * (one * weight)",
    ),
    "slice forgotten": (
        run_filter_gradient,
        "index < size && slice < count;",
        "index < size && slice < count - 1;",
    ),
    "pool that reads above the image": (run_max_pool, "return {max(start, 0),", "return {start,"),
    "pool that reads below the image": (
        run_max_pool,
        "min(start + kernel, size)};",
        "start + kernel};",
    ),
    "gradient to every maximum": (
        run_max_pool,
        "mine[e] && before.number[e] != largest.number[e]",
        "mine[e] && before.number[e] == before.number[e]",
    ),
    "one reader forgotten": (
        run_upsample,
        "min(before / a.slope + 1, a.target)",
        "min(before / a.slope, a.target)",
    ),
    "half a pixel off": (run_upsample, "source - target, 2 * target", "source, 2 * target"),
    "moments of raw numbers": (
        run_moments,
        "const double shift = c < channels ? double(x[c]) : 0.0;",
        "const double shift = 0;",
    ),
}


def is_caught(run: Callable[..., Any], change: Callable[[str], str]) -> bool:
    """Does the emulation complain, or a result differ from NumPy's, in either order of threads?"""
    truth = run(cpu)
    for downwards in (False, True):
        try:
            results = run(EmulatedBackend(EmulatedDevice(change, downwards)))
        except AssertionError:
            return True
        for result, expected in zip(results, truth, strict=True):
            error = np.abs(backend.to_host(result) - expected).max()
            if not error <= 1e-4 * np.abs(expected).max():
                return True
    return False


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bug_is_caught(bug: str) -> None:
    run, right, wrong = BUGS[bug]
    changes = 0

    def plant(source: str) -> str:
        nonlocal changes
        changes += source.count(right)
        return source.replace(right, wrong)

    caught = is_caught(run, plant)
    assert changes, f"the kernels no longer contain {right!r}"
    assert caught


@pytest.mark.parametrize("run", sorted({bug[0] for bug in BUGS.values()}, key=str))
def test_without_a_bug_nothing_is_caught(run: Callable[..., Any]) -> None:
    assert not is_caught(run, lambda source: source)


def test_wrong_arguments_are_refused() -> None:
    """What a GPU would take for numbers of another kind, without a word."""
    device = EmulatedDevice()
    x = np.zeros(4, np.float32)
    good: list[Any] = [x, x.copy(), x.copy(), np.float32(0), np.uintp(0), *[np.float32(0)] * 2]
    good += [np.int32(0), np.int32(4)]

    def run(**changes: Any) -> None:
        args = list(good)
        for place, value in changes.items():
            args[int(place[1:])] = value
        device.launch("optim.cu", "sgd_update<float>", (1,), (32,), args)

    run()
    frozen = x.copy()
    frozen.flags.writeable = False
    for wrong, message in [
        ({"_0": x.astype(np.float64)}, "argument 0"),
        ({"_1": np.zeros(8, np.float32)[::2]}, "not contiguous"),
        ({"_0": frozen}, "may not be written"),
        ({"_3": 0.1}, "argument 3"),
        ({"_8": 4}, "argument 8"),
        ({"_8": np.int32(5)}, "outside an array"),
    ]:
        with pytest.raises(AssertionError, match=message):
            run(**wrong)


def test_what_is_not_written_is_nan() -> None:
    assert np.isnan(EmulatedDevice().empty((3,), np.float32)).all()
