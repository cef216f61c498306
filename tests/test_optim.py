from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from minran import nn, optim, tensor
from minran.errors import CheckpointError, GradientError, RecipeError
from minran.optim import SGD, FlatSGD

SHAPES = ((3, 4), (5,), (2, 3, 1, 2))


def parameters(dtype=np.float64):
    rng = np.random.default_rng(0)
    return [tensor(rng.normal(size=s).astype(dtype), requires_grad=True) for s in SHAPES]


def gradients(step, dtype=np.float64):
    rng = np.random.default_rng([1, step])
    return [rng.normal(size=s).astype(dtype) for s in SHAPES]


SETTINGS = [
    (lr, momentum, nesterov, decay)
    for lr, momentum, nesterov, decay in itertools.product(
        (0.0, 0.1, 1.5), (0.0, 0.5, 0.9), (False, True), (0.0, 1e-4, 0.3)
    )
    if momentum or not nesterov
]


@pytest.mark.parametrize(("lr", "momentum", "nesterov", "decay"), SETTINGS)
def test_sgd_is_pytorchs(lr, momentum, nesterov, decay):
    ours = parameters()
    theirs = [torch.nn.Parameter(torch.from_numpy(p.numpy().copy())) for p in ours]
    optimizer = SGD(ours, lr, momentum, nesterov, decay)
    twin = torch.optim.SGD(theirs, lr, momentum, nesterov=nesterov, weight_decay=decay)
    for step in range(6):
        # The loop changes the rate before each step: it is no part of the velocity.
        optimizer.lr = twin.param_groups[0]["lr"] = lr * (1 + step % 3)
        for p, q, g in zip(ours, theirs, gradients(step), strict=True):
            p.grad, q.grad = g.copy(), torch.from_numpy(g)
        optimizer.step()
        twin.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_only_the_rate_is_needed():
    """And then p - lr g it is, twice: nothing is remembered and nothing decays."""
    (p, *_), (g, *_) = parameters(), gradients(0)
    expected = p.numpy() - 2 * 0.1 * g
    optimizer = SGD([p], 0.1)
    for _ in range(2):
        p.grad = g.copy()
        optimizer.step()
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_float32_stays_float32_whatever_the_rate_is_made_of():
    plain, numpys = parameters(np.float32), parameters(np.float32)
    one = SGD(plain, 0.1, 0.9, True, 0.01)
    other = SGD(numpys, np.float64(0.1), np.float64(0.9), True, np.float64(0.01))
    for step in range(3):
        other.lr = np.float64(0.1)
        for p, q, g in zip(plain, numpys, gradients(step, np.float32), strict=True):
            p.grad, q.grad = g.copy(), g.copy()
        one.step()
        other.step()
    for p, q in zip(plain, numpys, strict=True):
        assert q.dtype == np.float32
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_a_step_moves_the_array_in_place_and_leaves_the_gradient():
    params = parameters()
    arrays = [p.data for p in params]
    for p, g in zip(params, gradients(0), strict=True):
        p.grad = g.copy()
    SGD(params, 0.1, 0.9, True, 0.1).step()
    for p, array, g in zip(params, arrays, gradients(0), strict=True):
        assert p.data is array
        np.testing.assert_array_equal(p.grad, g)


def test_zero_grad():
    params = parameters()
    for p, g in zip(params, gradients(0), strict=True):
        p.grad = g
    SGD(params, 0.1).zero_grad()
    assert all(p.grad is None for p in params)


def test_a_step_without_a_gradient_changes_nothing_and_says_so():
    params = parameters()
    before = [p.numpy().copy() for p in params]
    optimizer = SGD(params, 0.1)
    params[0].grad = gradients(0)[0]
    with pytest.raises(GradientError, match=r"parameter of shape \(5,\) has no gradient"):
        optimizer.step()
    for p, array in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.numpy(), array)


def test_state_goes_on_where_it_was():
    straight, broken = parameters(), parameters()
    one, other = SGD(straight, 0.1, 0.9, True), SGD(broken, 0.1, 0.9, True)
    for step in range(4):
        if step == 2:
            state = other.state_dict()
            other = SGD(broken, 0.1, 0.9, True)
            other.load_state_dict(state)
        for p, q, g in zip(straight, broken, gradients(step), strict=True):
            p.grad, q.grad = g.copy(), g.copy()
        one.step()
        other.step()
    for p, q in zip(straight, broken, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_a_state_is_a_copy():
    params = parameters()
    optimizer = SGD(params, 0.1, 0.9)
    state = optimizer.state_dict()
    for p, g in zip(params, gradients(0), strict=True):
        p.grad = g
    optimizer.step()
    assert not any(array.any() for array in state.values())


def test_a_state_of_other_parameters_is_refused():
    optimizer = SGD(parameters(), 0.1)
    with pytest.raises(CheckpointError, match=r"2 velocities.*3 parameters"):
        optimizer.load_state_dict(SGD(parameters()[:2], 0.1).state_dict())
    with pytest.raises(CheckpointError):
        optimizer.load_state_dict(SGD(parameters()[::-1], 0.1).state_dict())


# Schedules


def test_constant():
    assert [optim.constant(0.3)(step) for step in (0, 1, 10**6)] == [0.3] * 3


@pytest.mark.parametrize("milestones", [[], [1], [3, 7], [7, 3], [4, 4, 6]])
@pytest.mark.parametrize("factor", [0.1, 0.5])
def test_multistep_is_pytorchs(milestones, factor):
    twin = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.MultiStepLR(twin, milestones, factor)
    ours = optim.multistep(0.1, milestones, factor)
    for step in range(12):
        assert ours(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        twin.step()
        theirs.step()


def test_the_papers_schedule():
    schedule = optim.multistep(0.1, [64_000, 96_000])
    rates = [schedule(s) for s in (0, 63_999, 64_000, 95_999, 96_000, 159_999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rel=1e-12)


@pytest.mark.parametrize("final", [0.0, 0.01])
def test_cosine_is_pytorchs_without_warm_up(final):
    twin = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(twin, 20, eta_min=0.2 * final)
    ours = optim.cosine(0.2, 20, final=final)
    for step in range(21):
        assert ours(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-15)
        twin.step()
        theirs.step()


def test_cosine_with_warm_up():
    schedule = optim.cosine(0.2, 100, warmup=10, final=0.1)
    assert schedule(0) == pytest.approx(0.02)
    assert schedule(4) == pytest.approx(0.1)
    assert schedule(9) == schedule(10) == pytest.approx(0.2)
    assert schedule(55) == pytest.approx(0.2 * 0.55)  # half way: the middle of 1 and 0.1
    assert schedule(100) == schedule(1000) == pytest.approx(0.02)
    assert max(map(schedule, range(100))) == pytest.approx(0.2)


def test_one_cycle():
    schedule = optim.one_cycle(0.2, 100, warmup=0.25, start=0.04)
    assert schedule(0) == pytest.approx(0.008)
    assert schedule(12.5) == pytest.approx(0.2 * (1 - 0.96 / 2))
    assert schedule(25) == max(map(schedule, range(100))) == pytest.approx(0.2)
    assert schedule(62.5) == pytest.approx(0.1)
    assert schedule(100) == schedule(1000) == pytest.approx(0.2 * 1e-4)
    up, down = [*map(schedule, range(26))], [*map(schedule, range(25, 100))]
    assert up == sorted(up) and down == sorted(down, reverse=True)


def test_one_cycle_without_warm_up_starts_at_the_top():
    assert optim.one_cycle(0.2, 100, warmup=0.0)(0) == 0.2


@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_short_runs_have_finite_rates(total):
    for schedule in (
        optim.one_cycle(0.1, total),
        optim.cosine(0.1, total, warmup=total // 4),
        optim.cosine(0.1, total, warmup=total),
    ):
        assert all(0 <= schedule(step) < 0.1 + 1e-9 for step in range(total + 2))


def test_a_rate_that_is_set_later_is_looked_at_too():
    sgd = optim.SGD([nn.Parameter(np.ones(2))], lr=0.1)
    with pytest.raises(RecipeError, match="lr must be"):
        sgd.lr = math.nan
    assert sgd.lr == 0.1


def test_a_gradient_that_does_not_fit_is_named():
    p = nn.Parameter(np.ones(2))
    for wrong in (np.ones(3), [1.0, 1.0], np.float64(1.0)):
        p.grad = wrong
        with pytest.raises(GradientError, match=r"parameter of shape \(2,\) has the gradient"):
            optim.SGD([p], lr=0.1).step()
    np.testing.assert_array_equal(p.data, [1, 1])


@pytest.mark.parametrize("wrong", [np.array([np.nan, 1]), np.array([1, 2]), np.array(["a", "b"])])
def test_velocities_must_be_finite_floats(wrong):
    sgd = optim.SGD([nn.Parameter(np.ones(2))], lr=0.1)
    with pytest.raises(CheckpointError, match=r"velocity\.0: .* finite floating-point"):
        sgd.load_state_dict({"velocity.0": wrong})
    np.testing.assert_array_equal(sgd.velocity[0], [0, 0])


def test_flat_parameters_lie_side_by_side_each_from_16_bytes_on():
    params = [nn.Parameter(np.arange(1, n + 1, dtype=np.float32)) for n in (3, 5, 1)]
    flat = FlatSGD(params, 0.1, 0.9, True)
    assert flat.places.tolist() == [[0, 3], [4, 5], [12, 1]]
    assert flat.flat.tolist() == [1, 2, 3, 0, 1, 2, 3, 4, 5, 0, 0, 0, 1, 0, 0, 0]
    assert all(np.shares_memory(p.data, flat.flat) for p in params)
    assert FlatSGD.of(flat) is flat


def test_a_flat_optimiser_goes_on_with_the_velocities_of_another():
    params = parameters()
    plain = SGD(params, 0.1, 0.9, True, 0.01)
    for velocity, g in zip(plain.velocity, gradients(0), strict=True):
        velocity[...] = g
    flat = FlatSGD.of(plain)
    assert (flat.lr, flat.momentum, flat.nesterov, flat.weight_decay) == (0.1, 0.9, True, 0.01)
    for velocity, g in zip(flat.velocity, gradients(0), strict=True):
        np.testing.assert_array_equal(velocity, g)


def test_flat_parameters_have_one_precision():
    mixed = [nn.Parameter(np.ones(2, kind)) for kind in (np.float32, np.float64)]
    with pytest.raises(RecipeError, match="all parameters must be float32, as the first is"):
        FlatSGD(mixed, 0.1)
