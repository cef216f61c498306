"""The gradient checker: it passes what is right, and shows where what is wrong is wrong."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from op_cases import NOT_DIFFERENTIABLE

from minran import Op, Tensor, no_grad, ops, tensor, use
from minran.errors import GradientError, RecipeError
from minran.gradcheck import OPS, check_op, gradcheck

RNG = np.random.default_rng(11)
X = RNG.standard_normal((2, 4, 5, 3))


class Scaled(Op):
    """y = 2 x, whose backward multiplies by `factor` where `wrong` says, by 2 elsewhere."""

    def __init__(self, factor: float, wrong: Any = True) -> None:
        self.factor, self.wrong = factor, wrong

    def forward(self, x: Any) -> Any:
        return 2 * x

    def backward(self, gy: Any) -> tuple[Any]:
        return (gy * np.where(self.wrong, self.factor, 2.0),)


@pytest.mark.parametrize("backend", ["numpy", "naive"])
@pytest.mark.parametrize("name", OPS)
def test_every_operation_passes(name: str, backend: str) -> None:
    with use(backend):
        if name == "norm_relu_conv2d" and backend == "naive":
            pytest.skip(f"{backend} has no fused kernels")
        report = check_op(name, seed=3)
    assert report.passed, report
    assert report.relative_error < 1e-7
    assert all(one.checked == one.error.size for one in report.inputs)


def test_every_public_operation_has_a_check() -> None:
    assert {name for name in ops.__all__ if name.islower()} - NOT_DIFFERENTIABLE <= set(OPS)


def test_cases_are_ready_made() -> None:
    function, inputs = OPS["conv2d"](np.random.default_rng(0))
    assert isinstance(function(*map(tensor, inputs)), Tensor)


def test_an_unknown_operation_is_named_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"'conv2'; did you mean 'conv2d'\?"):
        check_op("conv2")


def test_seeds_change_the_inputs_and_only_seeds_do() -> None:
    first, same, other = (check_op("sigmoid", seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.inputs[0].numeric, same.inputs[0].numeric)
    assert (first.inputs[0].numeric != other.inputs[0].numeric).any()


def test_the_cotangent_is_not_an_input_of_the_same_seed() -> None:
    """With r = x, errors along x (a norm's, say) would be hidden or doubled."""
    x = np.random.default_rng(0).standard_normal(50)
    report = gradcheck(lambda x: x * 1, x, seed=0)
    assert abs(np.corrcoef(report.inputs[0].analytic, x)[0, 1]) < 0.5


def test_a_wrong_gradient_is_found_where_it_is() -> None:
    wrong = np.zeros(X.shape, bool)
    wrong[1, 2, 4, 0] = True
    report = gradcheck(lambda x: Scaled(3.0, wrong)(x), X)
    assert not report.passed
    assert not report
    name, worst = report.worst
    assert name == "x"
    assert worst.index == (1, 2, 4, 0)
    assert worst.analytic == pytest.approx(1.5 * worst.numeric)
    np.testing.assert_array_equal(report.inputs[0].error > report.tolerance, wrong)
    text = str(report)
    for part in ("FAILED", "WRONG", "worst at [1, 2, 4, 0]: backward", "1 of 120 entries"):
        assert part in text
    rows = [line.split() for line in text.splitlines() if line.strip().startswith(". . ")]
    good = ["."] * 5
    assert rows == [good, good, [*good[1:], "#"], good]  # the slice [1, :, :, 0]


def test_the_map_shows_how_wrong() -> None:
    wrong = np.arange(4).reshape(1, 4)
    factors = np.array([[2, 2 + 1e-5, 2 + 1e-3, 3]])

    class Graded(Scaled):
        def backward(self, gy: Any) -> tuple[Any]:
            return (gy * factors,)

    report = gradcheck(lambda x: Graded(0, wrong)(x), np.ones((1, 4)), seed=2)
    marks = set(report.inputs[0].text_map(report.tolerance).splitlines()[-1].split())
    assert marks == {".", ":", "+", "#"}


def test_a_constant_factor_is_named() -> None:
    report = gradcheck(lambda x: Scaled(3.0)(x), X)
    assert "backward is 1.5 times the differences everywhere" in str(report)


def test_a_missing_gradient_is_named() -> None:
    class Lost(Scaled):
        def backward(self, gy: Any) -> tuple[Any]:
            return (None,)

    report = gradcheck(lambda x, y: Lost(0)(x) + y, np.ones(3), np.ones(3))
    assert not report.passed
    assert "no gradient arrived at x" in str(report)
    assert report.inputs[1].relative_error < 1e-8


def test_an_infinite_gradient_fails() -> None:
    report = gradcheck(lambda x: Scaled(np.nan, [True, False])(x), np.ones(2))
    assert not report.passed
    assert "not finite" in str(report)


def test_a_gradient_of_zero_passes() -> None:
    """The sum of softmax is 1: both sides are rounding noise, which must not be compared."""
    assert gradcheck(lambda x: ops.softmax(x).sum(-1), RNG.standard_normal((3, 4))).passed


def test_small_errors_count_and_rounding_does_not() -> None:
    assert not gradcheck(lambda x: Scaled(2 + 1e-5)(x), X).passed
    assert gradcheck(lambda x: Scaled(2 + 1e-5)(x), X, tolerance=1e-4).passed
    assert gradcheck(lambda x: x * 1e-8, X).passed
    assert gradcheck(lambda x: x * 1e8, X).passed
    assert gradcheck(lambda x: x * x, 1e6 * X).passed
    assert gradcheck(lambda x: x**3, 1e-4 * X, eps=1e-9).passed


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_curvature_is_no_kink(scale: float) -> None:
    report = gradcheck(lambda x: (x * scale).exp(), np.linspace(-0.1, 0.1, 9), tolerance=1e-5)
    assert report.passed
    assert not report.inputs[0].kinks.any()


@pytest.mark.parametrize("distance", [0.0, 1e-8, 3e-7, 3.3e-7, 4.9e-7, 5e-7, 9e-7, -2e-7, -7e-7])
def test_kinks_of_relu(distance: float) -> None:
    """At the corner, or with the corner anywhere between the two sides of the difference."""
    x = X.copy()
    x[0, 1, 2, 0] = distance
    x[1, 0, 3, 2] = distance
    report = gradcheck(ops.relu, x)
    assert report.passed, report
    assert report.inputs[0].kink_indices() == [(0, 1, 2, 0), (1, 0, 3, 2)]
    assert report.inputs[0].checked == x.size - 2
    assert "a kink near 2 entries ([0, 1, 2, 0], [1, 0, 3, 2])" in str(report)
    assert not gradcheck(ops.relu, x, strict=True).passed


def test_just_outside_a_kink_is_judged() -> None:
    x = np.array([1.1e-6, -1.1e-6, 0.5])
    report = gradcheck(ops.relu, x)
    assert report.passed
    assert not report.inputs[0].kinks.any()


def test_ties_of_max_pool_are_kinks() -> None:
    x = RNG.permutation(48).reshape(1, 6, 8, 1).astype(np.float64)
    x[0, 0, 0, 0] = x[0, 1, 1, 0] = 100  # one window of 2 x 2 with two equal maxima
    report = gradcheck(lambda x: ops.max_pool2d(x, 2), x)
    assert report.passed
    assert report.inputs[0].kink_indices() == [(0, 0, 0, 0), (0, 1, 1, 0)]
    # Overlapping windows, every value many times: no tie may pass for an error.
    ties = RNG.integers(3, size=(2, 7, 7, 2)).astype(np.float64)
    report = gradcheck(lambda x: ops.max_pool2d(x, 3, 2, 1), ties)
    assert report.passed, report
    assert report.inputs[0].kinks.sum() > 20


def test_a_kink_is_no_excuse_for_a_larger_error() -> None:
    class Broken(Scaled):
        def forward(self, x: Any) -> Any:
            return np.maximum(x, 0)

        def backward(self, gy: Any) -> tuple[Any]:
            return (gy * 7.0,)

    assert not gradcheck(lambda x: Broken(0)(x), np.array([0.0, 1.0])).passed
    report = gradcheck(lambda x: Broken(0)(x), np.zeros(3))
    assert not report.passed


def test_nothing_but_kinks_is_no_pass() -> None:
    report = gradcheck(ops.relu, np.zeros(3))
    assert not report.passed
    assert "nothing could be judged" in str(report)


def test_large_inputs_are_sampled_and_probed_along_directions() -> None:
    x, w = RNG.standard_normal((2, 16, 16, 4)), RNG.standard_normal((3, 3, 4, 4))
    report = gradcheck(lambda x, w: ops.conv2d(x, w, padding=1), x, w, max_entries=50, directions=3)
    assert report.passed, report
    assert report.inputs[0].checked == report.inputs[1].checked == 50
    assert len(report.inputs[0].directions) == 3
    assert "50 of 2048 entries, 3 directions" in str(report)
    assert np.isnan(report.inputs[0].error).sum() == 2048 - 50


def test_directions_find_what_samples_miss() -> None:
    wrong = np.zeros(5000, bool)
    wrong[7] = True
    report = gradcheck(lambda x: Scaled(9.0, wrong)(x), np.ones(5000), max_entries=10)
    assert np.isnan(report.inputs[0].error[7])
    assert not report.passed


def test_directions_across_kinks_are_reported() -> None:
    x = RNG.standard_normal(3000)
    x[:40] = 0
    report = gradcheck(ops.relu, x, max_entries=10)
    assert report.passed, report
    assert "directions cross a kink" in str(report)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (1, 2, 3, 2, 2)])
def test_any_shape_in_and_out(shape: tuple[int, ...]) -> None:
    x = np.asarray(RNG.standard_normal(shape))
    good = gradcheck(lambda x: x.exp(), x)
    assert good.passed
    assert str(shape) in str(good)
    bad = gradcheck(lambda x: Scaled(1.0)(x), x)
    assert not bad.passed
    assert "FAILED" in str(bad)
    assert gradcheck(lambda x: x.exp().sum(), x).passed


def test_large_maps_are_cut_around_the_worst_entry() -> None:
    wrong = np.zeros((60, 150), bool)
    wrong[50, 140] = True
    report = gradcheck(lambda x: Scaled(9.0, wrong)(x), np.ones((60, 150)), max_entries=9000)
    lines = report.inputs[0].text_map(report.tolerance).splitlines()
    assert len(lines) <= 2 + 24
    assert max(map(len, lines)) <= 140
    assert sum("#" in line for line in lines[2:]) == 1


def test_float32_inputs_are_converted_and_said_so() -> None:
    x = X.astype(np.float32)
    report = gradcheck(ops.sigmoid, x)
    assert report.passed
    assert "x came as float32 and was converted" in str(report)
    assert x.dtype == np.float32


def test_tensors_lists_numbers_and_integers_as_inputs() -> None:
    rows = np.array([0, 2, 0])
    report = gradcheck(lambda x, rows, k: x[rows.data] * k, tensor(X[0, 0]), rows, 2.5)
    assert report.passed
    assert [one.name for one in report.inputs] == ["x", "k"]
    assert gradcheck(lambda x: x.exp(), [0.5, 1.5]).passed


def test_inputs_stay_as_they_are() -> None:
    x, leaf = X.copy(), tensor(X.copy(), requires_grad=True)
    gradcheck(lambda a, b: a * b, x, leaf)
    np.testing.assert_array_equal(x, X)
    assert leaf.grad is None


def test_functions_that_return_a_view_are_checked() -> None:
    assert gradcheck(lambda x: x, X).passed
    assert gradcheck(lambda x: x.reshape(-1)[::2], X).passed


def test_functions_that_cannot_be_checked() -> None:
    state = np.random.default_rng(0)
    with pytest.raises(GradientError, match=r"two calls of f .* differ"):
        gradcheck(lambda x: x * state.random(), X)
    with pytest.raises(GradientError, match="must return one Tensor, got tuple"):
        gradcheck(lambda x: (x, x), X)
    with pytest.raises(GradientError, match="depends on no input"):
        gradcheck(lambda x: tensor(np.ones(2)), X)
    with pytest.raises(GradientError, match="depends on no input"), no_grad():
        gradcheck(lambda x: x * 2, X)
    with pytest.raises(GradientError, match="at least one floating-point input"):
        gradcheck(lambda x: x, np.array([1, 2]))
    with pytest.raises(GradientError, match="eps and tolerance"):
        gradcheck(lambda x: x, X, eps=0)


def test_names_come_from_the_function() -> None:
    def blend(mask: Tensor, trunk: Tensor) -> Tensor:
        return mask * trunk

    report = gradcheck(blend, X, X)
    assert str(report).startswith("gradcheck blend: PASSED")
    assert [one.name for one in report.inputs] == ["mask", "trunk"]
    report = gradcheck(lambda *t: t[0] * t[1], X, X)
    assert [one.name for one in report.inputs] == ["input 0", "input 1"]


def test_plot_draws_three_maps_per_input() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    figure = check_op("conv2d").plot()
    images = [axis for axis in figure.axes if axis.images]
    assert len(images) == 9
    check_op("sum").plot()
    figure = gradcheck(lambda x: x.exp(), 1.0).plot()
    assert figure.axes


def test_importing_needs_no_matplotlib() -> None:
    code = "import sys, minran.gradcheck; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_progress_shows_only_when_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def bar(entries: Any, **options: Any) -> Any:
        started.append((options["desc"], options["delay"]))
        return entries

    monkeypatch.setattr("tqdm.tqdm", bar)
    gradcheck(ops.sigmoid, X)
    assert started == [("gradcheck x", 2)]
