"""Notebook 15's test of Eq. 2: what is measured, and the log that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minran import create_model, nn, tensor
from minran.models import AttentionModule
from minran.workshop.course import gate_runs, label_filter
from minran.workshop.course.label_filter import filtered_shares, share

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "label-filter"
RNG = np.random.default_rng(0)
IMAGES, LABELS, WRONG = (
    RNG.standard_normal((100, 32, 32, 3)),
    np.arange(100) % 10,
    RNG.random(100) < 0.4,
)


class Fixed(nn.Module):
    """A mask of its own for each image: 1 for those with right labels, less for the others."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def forward(self, u):  # type: ignore[no-untyped-def]
        return u * 0.0 + tensor(np.broadcast_to(self.values[:, None, None, None], u.shape).copy())


def network(learning: str, mask: str = "hourglass") -> nn.Module:
    return create_model("attention_nano", dtype="float64", learning=learning, mask=mask)


def test_a_share_is_one_of_lengths() -> None:
    gradients = np.array([[3.0, 4.0], [0.0, 15.0]])
    assert share(gradients, np.array([True, False])) == pytest.approx(5 / 20)


def test_without_a_mask_nothing_is_filtered() -> None:
    found = filtered_shares(network("residual", "none"), IMAGES, LABELS, WRONG)
    assert found["before"] == found["after"] == found["other"]
    assert found["update_before"] == found["update_after"]
    assert all(0.2 < each < 0.6 for each in found["before"])


@pytest.mark.parametrize("learning", ["naive", "residual"])
def test_a_mask_that_knows_the_wrong_labels_filters_them(learning: str) -> None:
    """Eq. 2 at work: the share falls as the factor says, and the trunk's update with it."""
    model = network(learning)
    low = 0.1
    values, plus = np.where(WRONG, low, 1.0), learning == "residual"
    for _, module in model.named_modules():
        if isinstance(module, AttentionModule):
            module.mask = Fixed(values)  # type: ignore[assignment]
    found = filtered_shares(model, IMAGES, LABELS, WRONG)
    ratio = (low + plus) / (1.0 + plus)
    for before, after in (("before", "after"), ("update_before", "update_after")):
        for one, other in zip(found[before], found[after]):
            assert other == pytest.approx(ratio * one / (ratio * one + 1 - one), rel=1e-9)
    assert found["other"] != found["after"]


def test_the_shipped_log_is_the_measured_one() -> None:
    runs = label_filter.label_filter()
    assert runs == gate_runs.collect(RESULTS, label_filter.names())
    assert [(run["kind"], run["seed"]) for run in runs] == list(label_filter.names().values())
    assert all(len(run["rows"]) == label_filter.EPOCHS + 1 for run in runs)
