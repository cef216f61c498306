"""What a GPU's step launches, counted without a GPU."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from bench_helpers import arguments

from minran.bench import run
from minran.errors import BackendError
from minran.workshop.bench import static

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "gpu"
# By a profiler on an H200, of a commit whose step did the same with other kernels of norms.
UNCHANGED = (
    "conv_forward", "conv_input", "conv_filters", "max_pool_backward",
    "upsample", "gather", "sgd_update",
)  # fmt: skip


@pytest.fixture(scope="module")
def launches() -> list[static.Launch]:
    return static.launches_of_step("attention56_cifar", 128)


def test_as_many_launches_as_a_profiler_saw(launches: list[static.Launch]) -> None:
    counts = Counter(each.kernel for each in launches)
    lines = (RESULTS / "kernels-128.txt").read_text().splitlines()
    seen = [re.match(r" +[\d.]+ ms +(\d+) x +[\d.]+ us +(?:void )?(\w+)", line) for line in lines]
    profiled = {each[2]: int(each[1]) for each in reversed(seen) if each}
    assert {name: counts[name] for name in UNCHANGED} == {
        name: profiled[name] for name in UNCHANGED
    }
    assert counts["sigmoid_gate_backward"] == profiled["gate_backward"] == profiled["sigmoid"]
    # The norm before each of three projections is part of both convolutions that read it.
    for name in ("batch_norm", "moments", "moments_of_chunk"):
        assert counts[name] == profiled[name] - 3
    # Nearly all norms go back within a convolution's launch.
    through = sum(each.kernel == "conv_input" and ", true>" in each.instance for each in launches)
    assert through == counts["finish_norm"] - 1 + 3
    assert counts["batch_norm_backward_input"] == 1


def test_launches_and_bytes_stay_below_their_limits(launches: list[static.Launch]) -> None:
    assert len(launches) <= 637
    assert sum(each.bytes for each in launches) <= 7.86e9
    short = static.launches_of_step("attention56_cifar", 128, "bf16")
    assert len(short) <= 641
    assert sum(each.bytes for each in short) <= 4.13e9


def test_maps_are_read_and_written_once(launches: list[static.Launch]) -> None:
    """The first unit's first 1x1 convolution: 16 channels in and out, 128 maps of 32 x 32.

    With its weights, a norm as three numbers a channel, and two for the moments of each tile.
    """
    first = next(each for each in launches if "POINTWISE" in each.instance)
    pixels, tiles = 128 * 32 * 32, 128 * 32 * 32 // 128
    assert first.bytes == 4 * (2 * pixels * 16 + 16 * 16 + 3 * 16 + tiles * 2 * 16)
    assert first.steps == 1 and first.blocks == tiles


LIMITS = {
    "conv_forward<Tf32<64, 64, 32, 4>, 4,": 150,
    "conv_forward<Tf32<128, 64, 16>, 4,": 200,
    "conv_filters<Tf32<64, 64, 32, 4>, 4,": 180,
    "conv_input<Tf32<64, 64, 32, 4>, 4,": 150,
    "conv_input<Tf32<128, 64, 16>, 4,": 280,
    "conv_input<Tf32<128, 64, 16>, 4, float, POINTWISE,": 105,
    # Twice as many steps of k.
    "conv_forward<Bf16<64, 64, 64, 4>, 8,": 160,
    "conv_forward<Bf16<128, 64, 32>, 8,": 200,
    "conv_filters<Bf16<64, 64, 64, 4>, 8,": 180,
    "conv_input<Bf16<64, 64, 64, 4>, 8,": 150,
    "conv_input<Bf16<128, 64, 32>, 8,": 280,
    "conv_input<Bf16<128, 64, 32>, 8, bfloat16, POINTWISE,": 95,
}
"""Instructions of the main loop, with pieces of 16 bytes, whatever the windows are."""


def test_instructions_stay_below_their_limits(launches: list[static.Launch]) -> None:
    short = static.launches_of_step("attention56_cifar", 128, "bf16")
    try:
        loops = static.loops(sorted({each.instance for each in launches + short if each.steps}))
    except BackendError as error:
        pytest.skip(str(error))
    met = set()
    for instance, loop in loops.items():
        assert loop.spills == 0, instance
        for start, most in LIMITS.items():
            if instance.startswith(start):
                assert 0 < loop.instructions <= most, instance
                met.add(start)
    assert met == set(LIMITS)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "counts.json"
    try:
        assert run(arguments("--static", "--model", "attention_nano", "--json", str(file))) == 0
    except BackendError as error:
        pytest.skip(str(error))
    (step,) = json.loads(file.read_text())["steps"]
    assert (step["model"], step["batch"], step["precision"]) == ("attention_nano", 128, "tf32")
    for key in ("launches", "bytes"):
        assert step[key] == sum(row[key] for row in step["kernels"]) > 0
    printed = capsys.readouterr().out
    assert "together" in printed and "main loop" in printed


def test_more_instructions_take_longer() -> None:
    card = static.CARDS["H200"]
    each = static.Launch("conv_forward<Tf32<64, 16, 32>, 4, float, ANY>", 512, 64, 10**6, 9)
    times = [
        static.seconds(each, {each.instance: static.Loop(length, 16, 0)}, card)
        for length in (1, 400, 800)
    ]
    assert times[0] == pytest.approx(10**6 / card.bytes_per_second + card.gap)
    # 512 blocks of two warps: four on a multiprocessor, all at once.
    assert times[2] == pytest.approx(9 * 800 * card.cycles / card.clock + card.gap)
    assert times[2] - card.gap == pytest.approx(2 * (times[1] - card.gap))
