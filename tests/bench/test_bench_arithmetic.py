"""Medians, ratios, the guard and the choice of rounds: no clock is read here."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from bench_helpers import ScriptedMachine

from minran.errors import ShapeError
from minran.machine import peak_bytes
from minran.workshop.bench.rounds import (
    Machine,
    Round,
    Settings,
    in_turn,
    paired_ratios,
    spread,
)


def test_the_spread_of_a_few_values() -> None:
    result = spread([4.0, 1.0, 3.0, 2.0, 10.0])
    quartiles = {"first_quartile": 2.0, "median": 3.0, "third_quartile": 4.0}
    assert result == {"low": 1.0, **quartiles, "high": 10.0, "n": 5}
    assert spread([1.0, 2.0])["median"] == 1.5
    with pytest.raises(ShapeError, match="no values"):
        spread([])


def test_ratios_are_taken_pair_by_pair() -> None:
    # The machine was three times slower in the second round, for both of them.
    ours, theirs = [2.0, 6.0, 2.2], [1.0, 3.0, 1.0]
    assert paired_ratios(ours, theirs) == [2.0, 2.0, 2.2]
    with pytest.raises(ShapeError, match="3 rounds on one side, 2 on the other"):
        paired_ratios(ours, theirs[:2])


def test_the_watch_subtracts_what_was_watched() -> None:
    # 10 s passed; all cores worked 14 s, the watched process 11 s of them.
    machine = ScriptedMachine(busy=[100.0, 114.0], used=[20.0, 31.0])
    clock = iter([0.0, 10.0])
    with machine.watch(7, lambda: next(clock)) as seen:
        pass
    assert seen.others == pytest.approx(0.3)


def test_the_watch_never_sees_less_than_nobody_and_may_not_see_at_all() -> None:
    clock = iter([0.0, 1.0])
    with ScriptedMachine([5.0, 6.0], [1.0, 2.02]).watch(7, lambda: next(clock)) as seen:
        pass
    assert seen.others == 0.0
    with ScriptedMachine().watch(7) as blind:
        pass
    assert blind.others is None


BURN = "import time, os\nwhile sum(os.times()[:2]) < 0.3: pass\n"
FAMILY = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN!r}])
child = subprocess.Popen([sys.executable, "-c", {BURN + "input()"!r}])
print(child.pid, flush=True)
child.wait()
"""


def test_a_process_counts_with_its_children_those_that_ended_included() -> None:
    pytest.importorskip("psutil")
    machine = Machine()
    before = machine.busy()
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        deadline = time.monotonic() + 60
        while machine.used(child) < 0.3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert machine.used(parent.pid) >= 0.6
        assert 0.3 <= machine.used(child) < machine.used(parent.pid) - 0.25
        assert machine.busy() - before >= 0.5
        parent.communicate(b"\n")
    assert machine.used(child) == 0, "it has ended"


def test_waiting_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    machine = Machine()
    names = "user nice system idle iowait irq softirq steal guest guest_nice"
    numbers = (1.0, 0.2, 0.3, 99.99, 8.88, 0.04, 0.05, 0.06, 0.5, 0.0)
    linux = SimpleNamespace(**dict(zip(names.split(), numbers, strict=True)))
    windows = SimpleNamespace(user=1.0, system=2.0, idle=9.0)
    for times, busy in ((linux, 1.65), (windows, 3.0)):
        monkeypatch.setattr(machine.psutil, "cpu_times", lambda times=times: times)
        assert machine.busy() == pytest.approx(busy)


def test_this_machine_counts_or_is_none() -> None:
    machine = Machine()
    assert machine.psutil is None or machine.busy() > 0


def test_waiting_for_a_quiet_moment() -> None:
    slept: list[float] = []
    # Readings come in pairs; the third half second is the first quiet one.
    machine = ScriptedMachine(busy=[0, 9e9, 0, 9e9, 0, 0], used=[0, 0, 0, 0, 0, 0])
    assert machine.wait_until_quiet(10.0, 0.1, slept.append)
    assert slept == [0.5, 0.5, 0.5]
    loud = ScriptedMachine(busy=[0, 9e9] * 4, used=[0] * 8)
    assert not loud.wait_until_quiet(1.0, 0.1, slept.append)
    assert loud.wait_until_quiet(0.0, 0.1, slept.append)
    assert ScriptedMachine().wait_until_quiet(10.0, 0.1)


def run_rounds(others: list[float | None], rounds: int, repeats: int) -> tuple[list, list[Round]]:
    """Two contenders; `others` says what is seen in the turns of b, round by round."""
    order: list[str] = []
    seen = iter(others)

    def work(name: str) -> float:
        order.append(name)
        return float(len(order))

    done = in_turn(
        ["a", "b"],
        work,
        lambda name: nullcontext(SimpleNamespace(others=next(seen) if name == "b" else 0.0)),
        Settings(rounds=rounds, extra_rounds=repeats, limit=0.1),
    )
    return order, done


def test_contenders_take_turns() -> None:
    order, done = run_rounds([0.0, 0.05, 0.0], rounds=3, repeats=5)
    assert order == ["a", "b"] * 3
    assert [each["kept"] for each in done] == [True] * 3
    assert done[1]["seconds"] == {"a": 3.0, "b": 4.0}
    assert done[1]["others_cores"] == {"a": 0.0, "b": 0.05}


def test_disturbed_rounds_are_measured_again() -> None:
    _, done = run_rounds([0.0, 1.2, 0.3, 0.0, 0.0], rounds=3, repeats=5)
    assert [each["disturbed"] for each in done] == [False, True, True, False, False]
    assert [each["kept"] for each in done] == [True, False, False, True, True]


def test_when_it_never_gets_quiet_the_least_disturbed_rounds_stay_marked() -> None:
    _, done = run_rounds([1.2, 0.3, 0.0, 0.9, 0.2], rounds=3, repeats=2)
    assert len(done) == 5
    assert [each["kept"] for each in done] == [False, True, True, False, True]
    assert [each["disturbed"] for each in done if each["kept"]] == [True, False, True]
    assert done[0] == {
        "seconds": {"a": 1.0, "b": 2.0},
        "others_cores": {"a": 0.0, "b": 1.2},
        "disturbed": True,
        "kept": False,
    }


def test_where_nobody_watches_every_round_counts() -> None:
    _, done = run_rounds([None, None], rounds=2, repeats=5)
    assert [each["kept"] for each in done] == [True, True]


def test_the_peak_holds_what_was_once_held() -> None:
    before = peak_bytes()
    array = np.ones(100_000_000, np.uint8)
    held = peak_bytes()
    del array
    # The peak may have been higher before; and Linux counts pages in batches, for each thread.
    slack = 2_000_000
    assert peak_bytes() + slack >= held
    assert held + slack >= before
    assert held > 100_000_000
