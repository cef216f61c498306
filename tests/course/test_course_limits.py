"""What notebooks 17 and 18 use: kernels shown, blocks of threads, counted passes, timed kernels."""

from __future__ import annotations

import numpy as np
import pytest

from minran import backend, create_model, ops, tensor
from minran.errors import MinranError
from minran.workshop.course.checking import judge
from minran.workshop.course.figures import owners_figure, tree_figure
from minran.workshop.course.gates import SqueezeExciteParts, cost, replace_masks
from minran.workshop.course.kernels import passes_and_bytes, run_block, timed_kernels
from minran.workshop.course.show import read_kernel

SHOWN = [
    ("elementwise.cu", "gate"),
    ("attention.cu", "channel_attention"),
    ("common.cuh", "sum_over_line"),
    ("norm.cu", "batch_norm"),
]


@pytest.mark.parametrize(("file", "name"), SHOWN)
def test_a_kernel_is_found_by_its_name(file: str, name: str) -> None:
    found = read_kernel(file, name)
    text = found.text
    assert f" {name}(" in text and text.startswith("//") and text.endswith("\n}")
    assert text.count("{") == text.count("}")
    assert text.count("__global__") + text.count("__device__") == 1


def test_notes_stand_beside_their_line_or_are_marked() -> None:
    found = read_kernel("elementwise.cu", "gate", {"__global__": "here", "no such line": "gone"})
    assert any(line.endswith("<- here") and "gate(" in line for line in repr(found).splitlines())
    assert "no longer in the source: 'no such line': gone" in repr(found)
    assert "no longer in the source" in found._repr_html_()


def test_unknown_kernels_are_named() -> None:
    with pytest.raises(MinranError, match=r"no file 'pools\.cu'.*pool\.cu"):
        read_kernel("pools.cu", "max_pool")
    with pytest.raises(MinranError, match=r"has no 'gates'.*gate"):
        read_kernel("elementwise.cu", "gates")


def test_a_missing_barrier_shows() -> None:
    def hasty(thread, threads, cells):  # type: ignore[no-untyped-def]
        cells[thread] = thread
        if thread == 0:
            cells[0] += cells[1]
        yield

    assert len({str(run_block(hasty, 2, seed=seed).shared[0]) for seed in range(10)}) == 2


def test_blocks_that_would_hang_are_named() -> None:
    def divergent(thread, threads, cells):  # type: ignore[no-untyped-def]
        if thread:
            yield

    with pytest.raises(MinranError, match="3 of 4 threads wait"):
        run_block(divergent, 4)
    with pytest.raises(MinranError, match="no `yield`"):
        run_block(lambda thread, threads, cells: None, 4)


def test_passes_and_bytes() -> None:
    x = np.ones((64, 1024), np.float32)
    arrays = {"x": x, "out": np.empty_like(x)}
    passes, fresh = passes_and_bytes(lambda x, out: np.add(x * 2, 1, out=out), arrays, x.size)
    assert passes == 2 and x.nbytes <= fresh < 1.1 * x.nbytes

    def halves(x, out):  # type: ignore[no-untyped-def]
        for part in (slice(0, 32), slice(32, 64)):
            np.multiply(x[part], 2, out=out[part])
            np.maximum(out[part], 0, out=out[part])

    passes, fresh = passes_and_bytes(halves, arrays, x.size)
    assert passes == 2 and fresh < 0.1 * x.nbytes


def blocked(x, gamma, beta, mean, var, eps, out):  # type: ignore[no-untyped-def]
    scale = gamma / np.sqrt(var + eps)
    pixels, results = (np.reshape(one, (-1, x.shape[-1])) for one in (x, out))
    for start in range(0, len(pixels), 64):
        part = results[start : start + 64]
        np.multiply(pixels[start : start + 64], scale, out=part)
        np.add(part, beta - mean * scale, out=part)
        np.maximum(part, 0, out=part)


def in_a_register(thread, threads, cells, values):  # type: ignore[no-untyped-def]
    total = cells[thread] = np.sum(values[thread::threads])
    half = threads // 2
    while half:
        yield
        if thread < half:
            total = cells[thread] = total + cells[thread + half]
        half //= 2


def as_floats(channels, size, reduction=4):  # type: ignore[no-untyped-def]
    return (
        channels**2 * 2 / reduction + channels / reduction + channels,
        channels**2 * 2 / reduction,
    )


OTHER_WAYS = {"17.2": in_a_register, "17.3": blocked, "18.1": as_floats}


@pytest.mark.parametrize("task", OTHER_WAYS)
def test_other_right_answers_pass(task: str) -> None:
    assert judge(task, OTHER_WAYS[task]).passed, judge(task, OTHER_WAYS[task])


def test_timed_kernels_count_the_products_and_leave_no_trace() -> None:
    module = backend.current()
    before = module.conv2d
    x = tensor(np.ones((2, 8, 8, 4), np.float32))
    w = tensor(np.ones((3, 3, 4, 5), np.float32), requires_grad=True)
    with timed_kernels() as spent:
        ops.conv2d(x, w, padding=1).sum().backward()
    products = 2 * 2 * 8 * 8 * 9 * 4 * 5
    assert spent["conv2d"].flops == products and spent["conv2d"].calls == 1
    assert spent["conv2d_backward"].flops == 2 * products
    assert spent["conv2d"].bytes == 4 * (2 * 64 * 4 + 180 + 2 * 64 * 5)
    assert module.conv2d is before


def test_gates() -> None:
    network = replace_masks(
        create_model("attention_nano"), lambda channels: SqueezeExciteParts(channels, 4)
    )
    module = network.stages[0][1]
    assert isinstance(module.mask, SqueezeExciteParts)
    assert module.mask.reduce.weight.shape == (16, 4)
    unit = create_model("attention_nano").stages[0][1].trunk[0]
    assert cost(unit, 8, 16) == (17 * 16 * 16 // 16 + 48, 17 * 16 * 16 // 16 * 64)


def test_figures_are_drawn() -> None:
    def line(thread, threads, cells):  # type: ignore[no-untyped-def]
        cells[thread] = thread
        yield

    assert owners_figure()._repr_png_()
    assert tree_figure(run_block(line, 4))._repr_png_()
