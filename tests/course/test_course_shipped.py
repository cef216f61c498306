"""The results that notebooks read are those of `docs/results`, number by number."""

from __future__ import annotations

from pathlib import Path

import pytest

from minran.errors import DataError
from minran.workshop.course import shipped

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "ablations-nano"


def test_the_shipped_ablations_are_the_reported_ones() -> None:
    found = shipped.collect(RESULTS)
    assert set(found) == {"table1", "table3", "table4", "table5", "figure4"}
    for name, cells in found.items():
        assert shipped.ablation(name) == cells
        assert all(len(cell["values"]) == len(cell["seeds"]) >= 1 for cell in cells)


def test_an_unknown_ablation_is_named() -> None:
    with pytest.raises(DataError, match="'table2'; known: figure4, table1"):
        shipped.ablation("table2")
