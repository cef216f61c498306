"""Notebook 09's experiment: its gates, what is measured of them, and the log that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minran import create_model, nn, tensor
from minran.models import AttentionModule
from minran.workshop.course import gate_runs
from minran.workshop.course.gate_runs import (
    GATES,
    correlation,
    gate_options,
    measure_gates,
    put_gates,
)

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "gates"


def network(kind: str) -> nn.Module:
    made = create_model("attention_nano", modules=(2, 2), dtype="float64", **gate_options(kind))
    return put_gates(made, kind)


@pytest.mark.parametrize("kind", GATES)
def test_a_gate_computes_what_is_said_of_it(kind: str) -> None:
    module = next(m for _, m in network(kind).named_modules() if isinstance(m, AttentionModule))
    x = tensor(np.random.default_rng(0).standard_normal((2, 8, 8, 16)))
    module.eval()(x)
    trunk = module.trunk(module.before(x)).numpy()
    mask = np.zeros_like(trunk)
    if kind in ("residual", "naive", "doubled"):
        inner = module.mask.mask if kind == "doubled" else module.mask
        mask = inner(module.before(x)).numpy()
        assert 0 < mask.min() < mask.max() < 1
    said = {
        "residual": (1 + mask) * trunk,
        "naive": mask * trunk,
        "no mask": trunk,
        "doubled": 2 * mask * trunk,
        "half": trunk / 2,
    }
    np.testing.assert_allclose(module(x).numpy(), module.after(tensor(said[kind])).numpy(), 1e-10)


def test_the_measures_of_a_network_whose_units_are_silent() -> None:
    """Units return their input: what is left of the entry is exactly what the gates leave."""
    pictures = np.random.default_rng(1).standard_normal((6, 32, 32, 3))
    for kind, factor in (("half", 0.5), ("no mask", 1.0)):
        model = network(kind)
        for _, module in model.named_modules():
            if isinstance(module, AttentionModule):
                for unit in (*module.before, *module.trunk, *module.after):
                    unit.conv3.weight.data[...] = 0
        before = model.eval().state_dict()
        found = measure_gates(model, pictures, np.arange(6))
        np.testing.assert_allclose(found["past"], 1, rtol=1e-10)
        assert max(np.abs(found["others"])) < 0.9
        for values, ratio in ((found["features"], factor), (found["gradients"], 1 / factor)):
            np.testing.assert_allclose(values[1::2], np.multiply(values[::2], ratio), 1e-10)
        assert ("means" in found) == (kind == "half")
        assert not model.training and all(p.grad is None for p in model.parameters())
        assert all(np.array_equal(a, before[n]) for n, a in model.state_dict().items())


def test_the_correlation() -> None:
    x, y = np.random.default_rng(2).standard_normal((2, 5, 4, 4, 3))
    assert correlation(x, 3 * x + [1.0, 2.0, 3.0]) == pytest.approx(1)
    flat = [(z - z.mean(axis=(0, 1, 2))).ravel() for z in (x, y)]
    assert correlation(x, y) == pytest.approx(np.corrcoef(*flat)[0, 1])


def test_the_shipped_log_is_the_measured_one() -> None:
    runs = gate_runs.gate_runs()
    assert runs == gate_runs.collect(RESULTS, gate_runs.names())
    wanted = [(kind, rate, seed) for (kind, rate) in gate_runs.RUNS for seed in gate_runs.SEEDS]
    assert [(run["kind"], run["rate"], run["seed"]) for run in runs] == wanted
    assert all(len(run["rows"]) == 5 for run in runs)
